/** @file mltfr/softmax.h
 *  Tiles of the full softmax over items (method E4): the logits of some items, one a row, for the
 *  rows of a user block, one a column.  Layer: num.  @local; none allocates.
 *
 *  A tile keeps e = exp(logit - top) with the maximum `top` and the sum `sum` of each column; the
 *  caller combines the (top, sum) pairs of all tiles in canonical order into the log-sum-exp. */
#ifndef MLTFR_SOFTMAX_H
#define MLTFR_SOFTMAX_H

#include <stdint.h>

/** In place: logits [rows][cols] (row length ld) become exp(logit - top[column]).
 *  @param top, sum  [cols], output */
void mltfr_tile_exp(int64_t rows, int64_t cols, float *tile, int64_t ld, float *top, float *sum);

/** y[i] = scale[i] x[i], and y[i] += scale[i] x[i]; x and y are [n][d]. */
void mltfr_scale_rows(int64_t n, int64_t d, const float *scale, const float *x, float *y);
void mltfr_add_scaled_rows(int64_t n, int64_t d, const float *scale, const float *x, float *y);

/** Combine two (top, sum) pairs of n rows into the first: canonical, as a tree node does it. */
void mltfr_lse_merge(int64_t n, float *top, float *sum, const float *top2, const float *sum2);

/** exp(x), vectorised, relative error < 3e-7, 0 below -87. */
void mltfr_exp(int64_t n, const float *x, float *out);

#endif
