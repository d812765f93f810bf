/* The token filter of one expert on a block of routed rows (E12): scores by one product a tile of
 * rows, the exact m largest, softmax, dropout by counter, mixture. */
#include "filter_impl.h"

#include <mltfr/linalg.h>
#include <mltfr/softmax.h>

int64_t mltfr_filter_scratch(const mltfr_filter *filter)
{
    return MLTFR_FILTER_ROWS * filter->M;
}

/* a = softmax(tau s) for rows of falling scores. */
MLTFR_INLINE void soften(int64_t n, int64_t m, float tau, const float *s, float *a)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++)
            a[i * m + j] = tau * (s[i * m + j] - s[i * m]);
    mltfr_exp(n * m, a, a);
    for (int64_t i = 0; i < n; i++) {
        float sum = 0;

#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < m; j++)
            sum += a[i * m + j];
        for (int64_t j = 0; j < m; j++)
            a[i * m + j] /= sum;
    }
}

MLTFR_KERNEL
static void mix_rows(const mltfr_filter *filter, int64_t n, const int64_t *rows, const int32_t *J,
                     const float *a, float *y)
{
    int64_t d = filter->d, m = filter->m;
    float w[MLTFR_MAX_TOP];

    for (int64_t i = 0; i < n; i++) {
        draw_mask(filter, rows, i, w);
        for (int64_t j = 0; j < m; j++)
            w[j] *= a[i * m + j];
        mix_row(m, J + i * m, w, filter->Vt, d, d, y + i * d);
    }
}

MLTFR_KERNEL
void mltfr_filter_forward(const mltfr_filter *filter, int64_t n, const float *q,
                          const int64_t *rows, float *scratch, int32_t *J, float *s, float *a,
                          float *y)
{
    int64_t d = filter->d, M = filter->M, m = filter->m;

    for (int64_t i = 0; i < n; i += MLTFR_FILTER_ROWS) {
        int64_t tile = n - i < MLTFR_FILTER_ROWS ? n - i : MLTFR_FILTER_ROWS;

        mltfr_gemm_nt(tile, M, d, q + i * d, d, filter->Kt, d, 0, scratch, M);
        for (int64_t r = 0; r < tile; r++)
            mltfr_top_m(M, m, scratch + r * M, J + (i + r) * m, s + (i + r) * m);
        soften(tile, m, filter->tau, s + i * m, a + i * m);
    }
    mix_rows(filter, n, rows, J, a, y);
}

MLTFR_KERNEL
void mltfr_filter_mix(int64_t n, int64_t m, const int32_t *J, const float *a, const float *Z_pool,
                      int64_t ldz, int64_t width, float *x)
{
    for (int64_t i = 0; i < n; i++)
        mix_row(m, J + i * m, a + i * m, Z_pool, ldz, width, x + i * width);
}
