/* Tiles of the full softmax (E4): columns are rows of the batch, so maxima and sums are those of
 * columns and run down the tile in vectors.  Each column adds in the order of the tile's rows. */
#include <mltfr/kernel.h>
#include <mltfr/softmax.h>

#include "vexp.h"

#include <math.h>

/* Columns that pass together: a stretch of them stays in the first cache between the two passes. */
enum { STRETCH = 32 };

MLTFR_INLINE void stretch_exp(int64_t rows, int64_t cols, float *restrict tile, int64_t ld,
                              float *restrict top, float *restrict sum)
{
    float t[STRETCH], s[STRETCH];

    for (int64_t j = 0; j < STRETCH; j++) {
        t[j] = -INFINITY;
        s[j] = 0.f;
    }
    for (int64_t i = 0; i < rows; i++)
#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < cols; j++)
            t[j] = tile[i * ld + j] > t[j] ? tile[i * ld + j] : t[j];
    for (int64_t j = 0; j < cols; j++) {
        top[j] = t[j];
        /* A column of nothing but -Inf (all masked) has no maximum to subtract. */
        t[j] = t[j] == -INFINITY ? 0.f : t[j];
    }
    for (int64_t i = 0; i < rows; i++)
#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < cols; j++) {
            float e = mltfr_vexp(tile[i * ld + j] - t[j]);

            tile[i * ld + j] = e;
            s[j] += e;
        }
    for (int64_t j = 0; j < cols; j++)
        sum[j] = s[j];
}

MLTFR_KERNEL
void mltfr_tile_exp(int64_t rows, int64_t cols, float *tile, int64_t ld, float *top, float *sum)
{
    int64_t j = 0;

    for (; j + STRETCH <= cols; j += STRETCH)
        stretch_exp(rows, STRETCH, tile + j, ld, top + j, sum + j);
    if (j + STRETCH / 2 <= cols) {
        stretch_exp(rows, STRETCH / 2, tile + j, ld, top + j, sum + j);
        j += STRETCH / 2;
    }
    if (j < cols)
        stretch_exp(rows, cols - j, tile + j, ld, top + j, sum + j);
}

MLTFR_KERNEL
void mltfr_scale_rows(int64_t n, int64_t d, const float *scale, const float *restrict x,
                      float *restrict y)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < d; c++)
            y[i * d + c] = scale[i] * x[i * d + c];
}

MLTFR_KERNEL
void mltfr_add_scaled_rows(int64_t n, int64_t d, const float *scale, const float *restrict x,
                           float *restrict y)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < d; c++)
            y[i * d + c] += scale[i] * x[i * d + c];
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
