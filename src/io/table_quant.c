/* Stored number types and their decoders.  A block of a quantised type holds integers and one or
 * two half-precision scales; products of scale and integer are exact in float32 (but for a last
 * rounding in Q6_K), so the bits of a decoded value do not depend on FMA or the vector width.
 * Blocks are packed without alignment: fields are fetched by memcpy.  Inner loops name a length of
 * 16, since GCC by itself takes vectors as short as the bytes it loads. */
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

MLTFR_INLINE uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* IEEE half: exponent and fraction move into place, and the exponent by the difference of the
 * biases (twice for Inf and NaN); a subnormal is its fraction times 2^-24.  No arithmetic on
 * subnormal floats: processors take a hundred times as long for it. */
MLTFR_INLINE float half(uint16_t h)
{
    uint32_t magnitude = h & 0x7fff;
    uint32_t shift = magnitude < 0x7c00 ? UINT32_C(112) << 23 : UINT32_C(224) << 23;
    uint32_t normal = (magnitude << 13) + shift;
    uint32_t subnormal = bits_of((float)(int32_t)magnitude * 0x1p-24f);

    return float_of((magnitude < 0x400 ? subnormal : normal) | (uint32_t)(h & 0x8000) << 16);
}

static void decode_f32(const uint8_t *in, int64_t blocks, float *out)
{
    memcpy(out, in, (size_t)blocks * sizeof *out);
}

MLTFR_KERNEL static void decode_f64(const uint8_t *restrict in, int64_t blocks, float *restrict out)
{
    for (int64_t i = 0; i < blocks; i++) {
        double x;

        memcpy(&x, in + 8 * i, sizeof x);
        out[i] = (float)x;
    }
}

MLTFR_KERNEL static void decode_f16(const uint8_t *restrict in, int64_t blocks, float *restrict out)
{
    for (int64_t i = 0; i < blocks; i++)
        out[i] = half(load16(in + 2 * i));
}

MLTFR_KERNEL static void decode_bf16(const uint8_t *restrict in, int64_t blocks,
                                     float *restrict out)
{
    for (int64_t i = 0; i < blocks; i++)
        out[i] = float_of((uint32_t)load16(in + 2 * i) << 16);
}

MLTFR_KERNEL static void decode_q8_0(const uint8_t *restrict in, int64_t blocks,
                                     float *restrict out)
{
    for (int64_t b = 0; b < blocks; b++, in += 34, out += 32) {
        const int8_t *q = (const int8_t *)(in + 2);
        float d = half(load16(in));

        for (int j = 0; j < 32; j++)
            out[j] = d * (float)q[j];
    }
}

/* Two 4-bit numbers a byte: low halves are values 0..15 of the block, high ones 16..31. */
MLTFR_INLINE void nibbles(const uint8_t *restrict q, float d, float m, float *restrict out)
{
#pragma omp simd simdlen(16)
    for (int j = 0; j < 16; j++) {
        int b = q[j];

        out[j] = d * (float)(b & 15) + m;
        out[j + 16] = d * (float)(b >> 4) + m;
    }
}

/* The same with a fifth bit for each value in `high`. */
MLTFR_INLINE void nibbles5(const uint8_t *restrict q, uint32_t high, float d, float m,
                           float *restrict out)
{
#pragma omp simd simdlen(16)
    for (int j = 0; j < 16; j++) {
        int b = q[j], low5 = (int)(high >> j << 4 & 16), high5 = (int)(high >> (j + 12) & 16);

        out[j] = d * (float)((b & 15) | low5) + m;
        out[j + 16] = d * (float)(b >> 4 | high5) + m;
    }
}

MLTFR_KERNEL static void decode_q4_0(const uint8_t *restrict in, int64_t blocks,
                                     float *restrict out)
{
    for (int64_t b = 0; b < blocks; b++, in += 18, out += 32) {
        float d = half(load16(in));

        nibbles(in + 2, d, -8 * d, out);
    }
}

MLTFR_KERNEL static void decode_q4_1(const uint8_t *restrict in, int64_t blocks,
                                     float *restrict out)
{
    for (int64_t b = 0; b < blocks; b++, in += 20, out += 32)
        nibbles(in + 4, half(load16(in)), half(load16(in + 2)), out);
}

MLTFR_KERNEL static void decode_q5_0(const uint8_t *restrict in, int64_t blocks,
                                     float *restrict out)
{
    for (int64_t b = 0; b < blocks; b++, in += 22, out += 32) {
        float d = half(load16(in));

        nibbles5(in + 6, load32(in + 2), d, -16 * d, out);
    }
}

MLTFR_KERNEL static void decode_q5_1(const uint8_t *restrict in, int64_t blocks,
                                     float *restrict out)
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

/* Groups j and j + 1 of 32 values, j even: low and high halves of 32 bytes; bits j and j + 1 of
 * `high` (or NULL) are the fifth bits. */
MLTFR_INLINE void decode_groups(const uint8_t *restrict block, int j, const uint8_t *restrict high,
                                const uint8_t *restrict low, float *restrict out)
{
    float d = half(load16(block)), m = half(load16(block + 2)), scale[2], minimum[2];

    for (int k = 0; k < 2; k++) {
        int s, n;

        group_scale(block + 4, j + k, &s, &n);
        scale[k] = d * (float)s;
        minimum[k] = m * (float)n;
    }
#pragma omp simd simdlen(16)
    for (int l = 0; l < 32; l++) {
        int b = low[l], h = high != NULL ? high[l] >> j : 0;

        out[l] = scale[0] * (float)((b & 15) | (h & 1) << 4) - minimum[0];
        out[l + 32] = scale[1] * (float)(b >> 4 | (h & 2) << 3) - minimum[1];
    }
}

MLTFR_KERNEL static void decode_q4_k(const uint8_t *restrict in, int64_t blocks,
                                     float *restrict out)
{
    for (int64_t b = 0; b < blocks; b++, in += 144, out += 256)
        for (int j = 0; j < 8; j += 2)
            decode_groups(in, j, NULL, in + 16 + 16 * j, out + 32 * j);
}

MLTFR_KERNEL static void decode_q5_k(const uint8_t *restrict in, int64_t blocks,
                                     float *restrict out)
{
    for (int64_t b = 0; b < blocks; b++, in += 176, out += 256)
        for (int j = 0; j < 8; j += 2)
            decode_groups(in, j, in + 16, in + 48 + 16 * j, out + 32 * j);
}

/* 64 of the 128 values of half a block of Q6_K: four bits in `low`, two in `high`, and a signed
 * scale for each 16: those at 0, 2, 4 and 6 of `scale`. */
MLTFR_INLINE void decode_six(const uint8_t *restrict low, const uint8_t *restrict high,
                             const int8_t *restrict scale, float d, float *restrict out)
{
    float d0 = d * (float)scale[0], d1 = d * (float)scale[2];
    float d2 = d * (float)scale[4], d3 = d * (float)scale[6];

#pragma omp simd simdlen(16)
    for (int l = 0; l < 16; l++) {
        int a = low[l], b = low[l + 32], h = high[l];

        out[l] = d0 * (float)(((a & 15) | (h << 4 & 48)) - 32);
        out[l + 32] = d1 * (float)(((b & 15) | (h << 2 & 48)) - 32);
        out[l + 64] = d2 * (float)((a >> 4 | (h & 48)) - 32);
        out[l + 96] = d3 * (float)((b >> 4 | (h >> 2 & 48)) - 32);
    }
}

MLTFR_KERNEL static void decode_q6_k(const uint8_t *restrict in, int64_t blocks,
                                     float *restrict out)
{
    for (int64_t b = 0; b < blocks; b++, in += 210, out += 256) {
        const int8_t *scale = (const int8_t *)(in + 192);
        float d = half(load16(in + 208));

        for (int h = 0; h < 2; h++)
            for (int l = 0; l < 2; l++)
                decode_six(in + 64 * h + 16 * l, in + 128 + 32 * h + 16 * l, scale + 8 * h + l, d,
                           out + 128 * h + 16 * l);
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
