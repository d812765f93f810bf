/** @file mltfr/average.h
 *  Causal moving average of the rows of one sequence (method E2, BSARec).  Layer: num.
 *  All functions are @local; none allocates.
 *
 *  Every sum is formed anew in the order of the rows: row i depends on rows i - w + 1 .. i only,
 *  to the bit. */
#ifndef MLTFR_AVERAGE_H
#define MLTFR_AVERAGE_H

#include <stdint.h>

/** y_i = mean of x_j over j = max(0, i - w + 1) .. i.
 *  @param w  >= 1
 *  @param y  [n][d], output; not x */
void mltfr_average_forward(int64_t n, int64_t d, int64_t w, const float *x, float *y);

/** @param dx  [n][d], added to; not dy */
void mltfr_average_backward(int64_t n, int64_t d, int64_t w, const float *dy, float *dx);

#endif
