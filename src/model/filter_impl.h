/* What the filter's two directions share.  Private to the layer model. */
#ifndef MLTFR_FILTER_IMPL_H
#define MLTFR_FILTER_IMPL_H

#include <mltfr/filter.h>
#include <mltfr/kernel.h>
#include <mltfr/rng.h>

#include <string.h>

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

#endif
