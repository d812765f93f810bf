/* exp of one lane, to be inlined into loops that the compiler vectorises (no branch, no call), and
 * the two passes of a softmax over one row. */
#ifndef MLTFR_NUM_VEXP_H
#define MLTFR_NUM_VEXP_H

#include <mltfr/kernel.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

/* exp(x) for x <= 88; 0 below -87; NaN stays NaN.  x = n ln 2 + r, |r| <= ln 2 / 2; exp(r) is a
 * polynomial with the least relative error (1e-7) among those that give exp(0) = 1, and n is added
 * to the exponent of its value. */
MLTFR_INLINE float mltfr_vexp(float x)
{
    const float shift = 12582912.f; /* 1.5 * 2^23: adding it rounds to a whole number, which then
                                       stands in the low bits */
    float shifted = x * 1.44269504088896341f + shift, n = shifted - shift;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 8.312506601e-3f;
    uint32_t power, bits;

    p = p * r + 4.189033434e-2f;
    p = p * r + 1.666711569e-1f;
    p = p * r + 4.999923110e-1f;
    p = p * r + 1.f;
    p = p * r + 1.f;
    memcpy(&power, &shifted, sizeof power);
    memcpy(&bits, &p, sizeof bits);
    bits += power << 23;
    memcpy(&p, &bits, sizeof p);
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
