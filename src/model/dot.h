/* Dot product inside an MLTFR_KERNEL function.  Private to the layer model. */
#ifndef MLTFR_MODEL_DOT_H
#define MLTFR_MODEL_DOT_H

#include <mltfr/kernel.h>

#include <stdint.h>

MLTFR_INLINE float dot(int64_t n, const float *x, const float *y)
{
    float sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

#endif
