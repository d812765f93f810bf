/* Tiles of the full softmax (E4).  A row is read twice while it is in the first cache: once for its
 * maximum, once for exp and sum.  The sums of a row run in 16 lanes, whose order depends on the
 * number of columns only. */
#include <mltfr/kernel.h>
#include <mltfr/softmax.h>

#include "vexp.h"

#include <math.h>

MLTFR_KERNEL
void mltfr_tile_exp(int64_t rows, int64_t cols, float *tile, int64_t ld, float *top, float *sum)
{
    for (int64_t i = 0; i < rows; i++) {
        float t = mltfr_row_max(cols, tile + i * ld);

        top[i] = t;
        /* A row of nothing but -Inf (all masked) has no maximum to subtract. */
        sum[i] = mltfr_row_exp(cols, tile + i * ld, t == -INFINITY ? 0.f : t);
    }
}

MLTFR_KERNEL
void mltfr_tile_scale(int64_t rows, int64_t cols, float *tile, int64_t ld, const float *scale)
{
    for (int64_t i = 0; i < rows; i++) {
        float *row = tile + i * ld, s = scale[i];

#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < cols; j++)
            row[j] *= s;
    }
}

MLTFR_KERNEL
void mltfr_lse_merge(int64_t n, float *top, float *sum, const float *top2, const float *sum2)
{
#pragma omp simd simdlen(16)
    for (int64_t i = 0; i < n; i++) {
        float a = top[i], b = top2[i], t = a > b ? a : b;
        float ea = mltfr_vexp(a - t), eb = mltfr_vexp(b - t);

        /* Equal tops: weight 1 exactly, also where both are -Inf. */
        sum[i] = sum[i] * (a == t ? 1.f : ea) + sum2[i] * (b == t ? 1.f : eb);
        top[i] = t;
    }
}

MLTFR_KERNEL
void mltfr_exp(int64_t n, const float *x, float *out)
{
#pragma omp simd simdlen(16)
    for (int64_t i = 0; i < n; i++) {
        /* The last power of two below Inf is taken in two factors. */
        float high = x[i] > 88.f ? 1.f : 0.f, rest = x[i] - high;

        out[i] = mltfr_vexp(rest > 88.f ? 88.f : rest) * (high > 0.f ? 2.71828182845904523f : 1.f);
    }
}
