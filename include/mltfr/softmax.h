/** @file mltfr/softmax.h
 *  Tiles of the full softmax over items (method E4): the logits of one user block against one item
 *  block.  Layer: num.  @local; none allocates.
 *
 *  A tile keeps e = exp(logit - top) with its own row maximum `top` and row sum `sum`; the caller
 *  combines the (top, sum) pairs of all tiles in canonical order into the log-sum-exp. */
#ifndef MLTFR_SOFTMAX_H
#define MLTFR_SOFTMAX_H

#include <stdint.h>

/** In place: logits [rows][cols] (row length ld) become exp(logit - top[row]).
 *  @param top, sum  [rows], output */
void mltfr_tile_exp(int64_t rows, int64_t cols, float *tile, int64_t ld, float *top, float *sum);

/** In place: row i becomes tile * scale[i]  (scale = exp(top - total_top) / total_sum / N). */
void mltfr_tile_scale(int64_t rows, int64_t cols, float *tile, int64_t ld, const float *scale);

/** Combine two (top, sum) pairs of n rows into the first: canonical, as a tree node does it. */
void mltfr_lse_merge(int64_t n, float *top, float *sum, const float *top2, const float *sum2);

/** exp(x), vectorised, relative error < 3e-7, 0 below -87. */
void mltfr_exp(int64_t n, const float *x, float *out);

#endif
