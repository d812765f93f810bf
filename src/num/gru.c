/* Gates of a recurrent unit: loops over the columns of one row. */
#include <mltfr/gru.h>
#include <mltfr/kernel.h>

#include "vexp.h"

#include <stddef.h>

/* 1 / (1 + exp(-x)); 0 below -88. */
MLTFR_INLINE float sigmoid(float x)
{
    return 1.f / (1.f + mltfr_vexp(x < -88.f ? 88.f : -x));
}

MLTFR_INLINE void forward(int64_t d, float *restrict gates, const float *restrict g,
                          const float *restrict h0, float *restrict hn, float *restrict h)
{
#pragma omp simd simdlen(16)
    for (int64_t j = 0; j < d; j++) {
        const float r = sigmoid(gates[j] + g[j]), z = sigmoid(gates[d + j] + g[d + j]);
        const float n = 2.f * sigmoid(2.f * (gates[2 * d + j] + r * g[2 * d + j])) - 1.f;

        gates[j] = r;
        gates[d + j] = z;
        gates[2 * d + j] = n;
        hn[j] = g[2 * d + j];
        h[j] = n + z * ((h0 != NULL ? h0[j] : 0.f) - n);
    }
}

MLTFR_KERNEL
void mltfr_gru_forward(const mltfr_gru_step *step, const float *recurrent, float *h)
{
    if (step->h0 != NULL)
        forward(step->d, step->gates, recurrent, step->h0, step->hn, h);
    else
        forward(step->d, step->gates, recurrent, NULL, step->hn, h);
}

MLTFR_KERNEL
void mltfr_gru_backward(const mltfr_gru_step *step, const float *restrict dh,
                        float *restrict dgates, float *restrict drecurrent, float *restrict dh0)
{
    const int64_t d = step->d;
    const float *gates = step->gates, *hn = step->hn, *h0 = step->h0;

#pragma omp simd simdlen(16)
    for (int64_t j = 0; j < d; j++) {
        const float r = gates[j], z = gates[d + j], n = gates[2 * d + j];
        const float before = h0 != NULL ? h0[j] : 0.f;
        const float dn = dh[j] * (1.f - z) * (1.f - n * n);
        const float dz = dh[j] * (before - n) * z * (1.f - z);
        const float dr = dn * hn[j] * r * (1.f - r);

        dgates[j] = drecurrent[j] = dr;
        dgates[d + j] = drecurrent[d + j] = dz;
        dgates[2 * d + j] = dn;
        drecurrent[2 * d + j] = dn * r;
        dh0[j] = dh[j] * z;
    }
}
