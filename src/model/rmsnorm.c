/* The query of E11 to E15: RMSNorm without gain (C1). */
#include <mltfr/backbone.h>
#include <mltfr/kernel.h>

#include <math.h>

MLTFR_INLINE float inverse_rms(int64_t d, float eps, const float *h)
{
    float squares = 0.f;

#pragma omp simd simdlen(16) reduction(+ : squares)
    for (int64_t j = 0; j < d; j++)
        squares += h[j] * h[j];
    return 1.f / sqrtf(squares / (float)d + eps);
}

MLTFR_KERNEL
void mltfr_rmsnorm_forward(int64_t n, int64_t d, float eps, const float *h, float *q)
{
    for (int64_t i = 0; i < n; i++) {
        const float r = inverse_rms(d, eps, h + i * d);

#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < d; j++)
            q[i * d + j] = h[i * d + j] * r;
    }
}

/* dh += r (dq - h mean(dq h) r^2) */
MLTFR_KERNEL
void mltfr_rmsnorm_backward(int64_t n, int64_t d, float eps, const float *h, const float *dq,
                            float *dh)
{
    for (int64_t i = 0; i < n; i++) {
        const float *x = h + i * d, *g = dq + i * d;
        const float r = inverse_rms(d, eps, x);
        float along = 0.f;

#pragma omp simd simdlen(16) reduction(+ : along)
        for (int64_t j = 0; j < d; j++)
            along += g[j] * x[j];
        along *= r * r / (float)d;
#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < d; j++)
            dh[i * d + j] += r * (g[j] - x[j] * along);
    }
}
