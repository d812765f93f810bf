/* Stored number types and their decoders.  A block of a quantised type holds integers and one or
 * two half-precision scales; products of scale and integer are exact in float32 (but for a last
 * rounding in Q6_K), so the bits of a decoded value do not depend on FMA or the vector width.
 * Blocks are packed without alignment: fields are fetched by memcpy. */
#include "table_impl.h"

#include <mltfr/kernel.h>

#include <string.h>

MLTFR_INLINE uint16_t load16(const uint8_t *p)
{
    uint16_t x;

    memcpy(&x, p, sizeof x);
    return x;
}

MLTFR_INLINE uint32_t load32(const uint8_t *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof x);
    return x;
}

MLTFR_INLINE float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* IEEE half: move exponent and fraction into place, then scale by 2^(127-15), which also makes
 * subnormals right; an exponent of all ones stays one (Inf, NaN). */
MLTFR_INLINE float half(uint16_t h)
{
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    uint32_t special = (h & 0x7c00) == 0x7c00 ? UINT32_C(0x7f800000) : 0;
    float x = float_of(magnitude) * 0x1p112f;
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return float_of(bits | special | (uint32_t)(h & 0x8000) << 16);
}

static void decode_f32(const uint8_t *in, int64_t blocks, float *out)
{
    memcpy(out, in, (size_t)blocks * sizeof *out);
}

MLTFR_KERNEL static void decode_f64(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t i = 0; i < blocks; i++) {
        double x;

        memcpy(&x, in + 8 * i, sizeof x);
        out[i] = (float)x;
    }
}

MLTFR_KERNEL static void decode_f16(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t i = 0; i < blocks; i++)
        out[i] = half(load16(in + 2 * i));
}

MLTFR_KERNEL static void decode_bf16(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t i = 0; i < blocks; i++)
        out[i] = float_of((uint32_t)load16(in + 2 * i) << 16);
}

MLTFR_KERNEL static void decode_q8_0(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t b = 0; b < blocks; b++, in += 34, out += 32) {
        const int8_t *q = (const int8_t *)(in + 2);
        float d = half(load16(in));

        for (int j = 0; j < 32; j++)
            out[j] = d * (float)q[j];
    }
}

/* Two 4-bit numbers a byte: low halves are values 0..15 of the block, high ones 16..31. */
MLTFR_INLINE void nibbles(const uint8_t *q, float d, float m, float *out)
{
    for (int j = 0; j < 16; j++)
        out[j] = d * (float)(q[j] & 15) + m;
    for (int j = 0; j < 16; j++)
        out[j + 16] = d * (float)(q[j] >> 4) + m;
}

/* The same with a fifth bit for each value in `high`. */
MLTFR_INLINE void nibbles5(const uint8_t *q, uint32_t high, float d, float m, float *out)
{
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)((q[j] & 15) | ((high >> j) << 4 & 16)) + m;
        out[j + 16] = d * (float)((q[j] >> 4) | (high >> (j + 12) & 16)) + m;
    }
}

MLTFR_KERNEL static void decode_q4_0(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t b = 0; b < blocks; b++, in += 18, out += 32) {
        float d = half(load16(in));

        nibbles(in + 2, d, -8 * d, out);
    }
}

MLTFR_KERNEL static void decode_q4_1(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t b = 0; b < blocks; b++, in += 20, out += 32)
        nibbles(in + 4, half(load16(in)), half(load16(in + 2)), out);
}

MLTFR_KERNEL static void decode_q5_0(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t b = 0; b < blocks; b++, in += 22, out += 32) {
        float d = half(load16(in));

        nibbles5(in + 6, load32(in + 2), d, -16 * d, out);
    }
}

MLTFR_KERNEL static void decode_q5_1(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t b = 0; b < blocks; b++, in += 24, out += 32)
        nibbles5(in + 8, load32(in + 4), half(load16(in)), half(load16(in + 2)), out);
}

/* Scale and minimum of group j of 8, six bits each, in the 12 bytes `s` of Q4_K and Q5_K. */
MLTFR_INLINE void group_scale(const uint8_t *s, int j, int *scale, int *minimum)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *minimum = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *minimum = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    }
}

/* Group j of 32 values: nibbles of 32 bytes, and bit j of `high` (or NULL) as the fifth. */
MLTFR_INLINE void decode_group(const uint8_t *block, int j, const uint8_t *high, const uint8_t *low,
                               float *out)
{
    int scale, minimum, shift = j % 2 * 4;

    group_scale(block + 4, j, &scale, &minimum);
    float d = half(load16(block)) * (float)scale;
    float m = half(load16(block + 2)) * (float)minimum;
    for (int l = 0; l < 32; l++) {
        int q = low[l] >> shift & 15;

        if (high != NULL)
            q |= (high[l] >> j & 1) << 4;
        out[l] = d * (float)q - m;
    }
}

MLTFR_KERNEL static void decode_q4_k(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t b = 0; b < blocks; b++, in += 144, out += 256)
        for (int j = 0; j < 8; j++)
            decode_group(in, j, NULL, in + 16 + j / 2 * 32, out + 32 * j);
}

MLTFR_KERNEL static void decode_q5_k(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t b = 0; b < blocks; b++, in += 176, out += 256)
        for (int j = 0; j < 8; j++)
            decode_group(in, j, in + 16, in + 48 + j / 2 * 32, out + 32 * j);
}

/* Half a block of Q6_K, 128 values: value l + 32 k has four bits in `low` (byte l + 32 (k % 2),
 * half k / 2) and two in `high` (byte l, pair k); a signed scale for each 16.  First all integers,
 * then all products: two loops that vectorise. */
MLTFR_INLINE void decode_six(const uint8_t *low, const uint8_t *high, const int8_t *scale, float d,
                             float *out)
{
    int8_t q[128];

    for (int l = 0; l < 32; l++) {
        q[l] = (int8_t)(((low[l] & 15) | (high[l] << 4 & 48)) - 32);
        q[l + 32] = (int8_t)(((low[l + 32] & 15) | (high[l] << 2 & 48)) - 32);
        q[l + 64] = (int8_t)((low[l] >> 4 | (high[l] & 48)) - 32);
        q[l + 96] = (int8_t)((low[l + 32] >> 4 | (high[l] >> 2 & 48)) - 32);
    }
    for (int g = 0; g < 8; g++) {
        float dg = d * (float)scale[g];

        for (int l = 0; l < 16; l++)
            out[16 * g + l] = dg * (float)q[16 * g + l];
    }
}

MLTFR_KERNEL static void decode_q6_k(const uint8_t *in, int64_t blocks, float *out)
{
    for (int64_t b = 0; b < blocks; b++, in += 210, out += 256) {
        const int8_t *scale = (const int8_t *)(in + 192);
        float d = half(load16(in + 208));

        decode_six(in, in + 128, scale, d, out);
        decode_six(in + 64, in + 160, scale + 8, d, out + 128);
    }
}

/* Every type of the two formats is known by its size, so that the layout of a whole file can be
 * checked; those with a decoder can be a table. */
static const mltfr_table_kind kinds[] = {
    {"F32", 0, true, 1, 4, decode_f32},
    {"F16", 1, true, 1, 2, decode_f16},
    {"BF16", 30, true, 1, 2, decode_bf16},
    {"F64", 28, true, 1, 8, decode_f64},
    {"Q4_0", 2, false, 32, 18, decode_q4_0},
    {"Q4_1", 3, false, 32, 20, decode_q4_1},
    {"Q5_0", 6, false, 32, 22, decode_q5_0},
    {"Q5_1", 7, false, 32, 24, decode_q5_1},
    {"Q8_0", 8, false, 32, 34, decode_q8_0},
    {"Q4_K", 12, false, 256, 144, decode_q4_k},
    {"Q5_K", 13, false, 256, 176, decode_q5_k},
    {"Q6_K", 14, false, 256, 210, decode_q6_k},
    {"Q8_1", 9, false, 32, 36, NULL},
    {"Q2_K", 10, false, 256, 84, NULL},
    {"Q3_K", 11, false, 256, 110, NULL},
    {"Q8_K", 15, false, 256, 292, NULL},
    {"IQ2_XXS", 16, false, 256, 66, NULL},
    {"IQ2_XS", 17, false, 256, 74, NULL},
    {"IQ3_XXS", 18, false, 256, 98, NULL},
    {"IQ1_S", 19, false, 256, 50, NULL},
    {"IQ4_NL", 20, false, 32, 18, NULL},
    {"IQ3_S", 21, false, 256, 110, NULL},
    {"IQ2_S", 22, false, 256, 82, NULL},
    {"IQ4_XS", 23, false, 256, 136, NULL},
    {"IQ1_M", 29, false, 256, 56, NULL},
    {"TQ1_0", 34, false, 256, 54, NULL},
    {"TQ2_0", 35, false, 256, 66, NULL},
    {"MXFP4", 39, false, 32, 17, NULL},
    {"I8", 24, true, 1, 1, NULL},
    {"I16", 25, true, 1, 2, NULL},
    {"I32", 26, true, 1, 4, NULL},
    {"I64", 27, true, 1, 8, NULL},
    {"BOOL", -1, true, 1, 1, NULL},
    {"U8", -1, true, 1, 1, NULL},
    {"U16", -1, true, 1, 2, NULL},
    {"U32", -1, true, 1, 4, NULL},
    {"U64", -1, true, 1, 8, NULL},
    {"C64", -1, true, 1, 8, NULL},
    {"F8_E5M2", -1, true, 1, 1, NULL},
    {"F8_E4M3", -1, true, 1, 1, NULL},
    {"F8_E8M0", -1, true, 1, 1, NULL},
    {"F6_E2M3", -1, true, 4, 3, NULL},
    {"F6_E3M2", -1, true, 4, 3, NULL},
    {"F4", -1, true, 2, 1, NULL},
};

const mltfr_table_kind *mltfr_table_kind_gguf(uint32_t number)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].gguf >= 0 && (uint32_t)kinds[i].gguf == number)
            return &kinds[i];
    return NULL;
}

const mltfr_table_kind *mltfr_table_kind_named(mltfr_slice name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].safetensors && mltfr_slice_is(name, kinds[i].name))
            return &kinds[i];
    return NULL;
}
