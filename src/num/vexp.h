/* exp of one lane, to be inlined into loops that the compiler vectorises (no branch, no call), and
 * the two passes of a softmax over one row. */
#ifndef MLTFR_NUM_VEXP_H
#define MLTFR_NUM_VEXP_H

#include <mltfr/kernel.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 2^n for whole n in [-126, 127], given as n + 1.5 * 2^23: there n stands in the low bits. */
MLTFR_INLINE float mltfr_pow2_shifted(float shifted)
{
    uint32_t bits;
    float power;

    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + UINT32_C(0x3f800000);
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* exp(x) for x <= 88; 0 below -87; NaN stays NaN.  x = n ln 2 + r, |r| <= ln 2 / 2, and a
 * polynomial for exp(r) (coefficients of Cephes' expf). */
MLTFR_INLINE float mltfr_vexp(float x)
{
    const float shift = 12582912.f; /* 1.5 * 2^23: adding it rounds to a whole number */
    float shifted = x * 1.44269504088896341f + shift, n = shifted - shift;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;

    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r) * r + r + 1.f;
    p *= mltfr_pow2_shifted(shifted);
    return x < -87.f ? 0.f : p;
}

/* Largest of n values, -Inf for none; a NaN may be passed over. */
MLTFR_INLINE float mltfr_row_max(int64_t n, const float *x)
{
    float top = -INFINITY;

#pragma omp simd simdlen(16) reduction(max : top)
    for (int64_t j = 0; j < n; j++)
        top = x[j] > top ? x[j] : top;
    return top;
}

/* x becomes exp(x - top); its sum is returned. */
MLTFR_INLINE float mltfr_row_exp(int64_t n, float *x, float top)
{
    float sum = 0.f;

#pragma omp simd simdlen(16) reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        float e = mltfr_vexp(x[j] - top);

        x[j] = e;
        sum += e;
    }
    return sum;
}

#endif
