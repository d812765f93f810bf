/* Numbers are polynomials modulo P over GF(2), bit 31 being x^0; a byte more is a factor x^8.  The
 * processor has an instruction for 8 bytes, which takes three cycles but can start every cycle: so
 * three stripes are summed at a time and brought together. */
#include <mltfr/crc.h>

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>
#define HAS_INSTRUCTION __builtin_cpu_supports("sse4.2")
#else
#define HAS_INSTRUCTION false
#endif

enum { STRIPE = 4096 }; /* bytes */

static const uint32_t polynomial = UINT32_C(0x82f63b78);

/* a b modulo P. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (uint32_t bit = UINT32_C(1) << 31; bit != 0; bit >>= 1) {
        product ^= (a & bit) != 0 ? b : 0;
        b = (b >> 1) ^ ((b & 1) != 0 ? polynomial : 0);
    }
    return product;
}

/* x^(8 bytes). */
static uint32_t power(int64_t bytes)
{
    uint32_t result = UINT32_C(1) << 31, square = UINT32_C(1) << 23;

    for (; bytes > 0; bytes >>= 1) {
        if ((bytes & 1) != 0)
            result = multiply(result, square);
        square = multiply(square, square);
    }
    return result;
}

uint32_t mltfr_crc_shift(uint32_t crc, int64_t bytes)
{
    return crc == 0 ? 0 : multiply(crc, power(bytes));
}

uint32_t mltfr_crc_standard(uint32_t crc, int64_t bytes)
{
    return ~(crc ^ mltfr_crc_shift(UINT32_MAX, bytes));
}

static uint32_t sum_by_table(uint32_t crc, const uint8_t *p, int64_t bytes)
{
    uint32_t table[256]; /* small enough to be made each time: so threads share nothing */

    for (uint32_t i = 0; i < 256; i++)
        table[i] = mltfr_crc_shift(i, 1);
    for (; bytes > 0; bytes--, p++)
        crc = (crc >> 8) ^ table[(crc ^ *p) & 255];
    return crc;
}

#if defined(__x86_64__) && defined(__GNUC__)
static uint64_t load(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    return word;
}

__attribute__((target("sse4.2"))) static uint32_t sum_by_instruction(uint32_t crc, const uint8_t *p,
                                                                     int64_t bytes)
{
    const uint32_t one = power(STRIPE), two = multiply(one, one);
    uint64_t a = crc;

    for (; bytes >= 3 * STRIPE; bytes -= 3 * STRIPE, p += 3 * STRIPE) {
        uint64_t b = 0, c = 0;
        for (int i = 0; i < STRIPE; i += 8) {
            a = _mm_crc32_u64(a, load(p + i));
            b = _mm_crc32_u64(b, load(p + STRIPE + i));
            c = _mm_crc32_u64(c, load(p + 2 * STRIPE + i));
        }
        a = multiply((uint32_t)a, two) ^ multiply((uint32_t)b, one) ^ (uint32_t)c;
    }
    for (; bytes >= 8; bytes -= 8, p += 8)
        a = _mm_crc32_u64(a, load(p));
    for (; bytes > 0; bytes--, p++)
        a = _mm_crc32_u8((uint32_t)a, *p);
    return (uint32_t)a;
}
#else
#define sum_by_instruction sum_by_table
#endif

uint32_t mltfr_crc(uint32_t crc, const void *data, int64_t bytes)
{
    return HAS_INSTRUCTION ? sum_by_instruction(crc, data, bytes) : sum_by_table(crc, data, bytes);
}
