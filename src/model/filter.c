/* The token filter of one expert on a block of routed rows (E12, E13): scores by one product a
 * tile of rows, the exact m largest, softmax, dropout by counter, mixture.  The backward pass holds
 * J fixed, draws the same dropout again and scatters in row order, so its sums do not depend on
 * who computes the block. */
#include <mltfr/filter.h>
#include <mltfr/kernel.h>
#include <mltfr/linalg.h>
#include <mltfr/rng.h>
#include <mltfr/softmax.h>

#include <math.h>
#include <string.h>

int64_t mltfr_filter_scratch(const mltfr_filter *filter)
{
    return MLTFR_FILTER_ROWS * filter->M;
}

/* mask[j] = 0 for a dropped entry, else 1 / (1 - dropout). */
MLTFR_INLINE void draw_mask(const mltfr_filter *filter, const int64_t *rows, int64_t i, float *mask)
{
    bool drops = filter->dropout > 0;
    uint32_t key = drops ? (uint32_t)mltfr_rng_bits(filter->key, (uint64_t)rows[i]) : 0;
    uint32_t limit = (uint32_t)(filter->dropout * 0x1p32);
    float kept = 1 / (1 - filter->dropout);

    for (int64_t j = 0; j < filter->m; j++)
        mask[j] = mltfr_rng_bits32(key, (uint32_t)j) < limit ? 0 : kept;
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

MLTFR_INLINE void add_scaled(int64_t n, float scale, const float *x, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] += scale * x[i];
}

/* out = sum_j w_j table[J_j][0, width); rows of `table` are ld apart. */
MLTFR_INLINE void mix_row(int64_t m, const int32_t *J, const float *w, const float *table,
                          int64_t ld, int64_t width, float *out)
{
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t j = 0; j < m; j++)
        add_scaled(width, w[j], table + J[j] * ld, out);
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

MLTFR_INLINE float dot(int64_t n, const float *x, const float *y)
{
    float sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* ds of one row; returns its share of dlogtau. */
MLTFR_INLINE double score_gradient(const mltfr_filter *filter, const int32_t *J, const float *s,
                                   const float *a, const float *mask, const float *dy, float *ds)
{
    int64_t d = filter->d, m = filter->m;
    float mean = 0;
    double dlogtau = 0;

    for (int64_t j = 0; j < m; j++) {
        ds[j] = mask[j] * dot(d, dy, filter->Vt + J[j] * d);
        mean += a[j] * ds[j];
    }
    for (int64_t j = 0; j < m; j++) {
        ds[j] = filter->tau * a[j] * (ds[j] - mean);
        dlogtau += a[j] > 0 ? ds[j] * s[j] : 0; /* a score of -inf has no weight */
    }
    return dlogtau;
}

MLTFR_KERNEL
void mltfr_filter_backward(const mltfr_filter *filter, int64_t n, const float *q,
                           const int64_t *rows, const int32_t *J, const float *s, const float *a,
                           const float *dy, float *dKt, float *dVt, float *dlogtau, float *dq)
{
    int64_t d = filter->d, m = filter->m;
    float mask[MLTFR_MAX_TOP], ds[MLTFR_MAX_TOP];
    double total = 0;

    for (int64_t i = 0; i < n; i++, J += m, s += m, a += m, q += d, dy += d) {
        draw_mask(filter, rows, i, mask);
        total += score_gradient(filter, J, s, a, mask, dy, ds);
        for (int64_t j = 0; j < m; j++)
            add_scaled(d, ds[j], q, dKt + J[j] * d);
        for (int64_t j = 0; dVt != NULL && j < m; j++)
            add_scaled(d, mask[j] * a[j], dy, dVt + J[j] * d);
        if (dq != NULL)
            mix_row(m, J, ds, filter->Kt, d, d, dq + i * d);
    }
    *dlogtau += (float)total;
}

MLTFR_KERNEL
void mltfr_filter_mix(int64_t n, int64_t m, const int32_t *J, const float *a, const float *Z_pool,
                      int64_t ldz, int64_t width, float *x)
{
    for (int64_t i = 0; i < n; i++)
        mix_row(m, J + i * m, a + i * m, Z_pool, ldz, width, x + i * width);
}
