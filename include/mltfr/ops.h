/** @file mltfr/ops.h
 *  Layers of the backbone on rows, each with its backward (method E1, E2).  Layer: num.
 *  All functions are @local; none allocates.  Matrices are row-major and without gaps; gradients of
 *  weights are added to, in the order of the rows.  A row's result depends on that row alone. */
#ifndef MLTFR_OPS_H
#define MLTFR_OPS_H

#include <stdbool.h>
#include <stdint.h>

/** y = x W^T + b; the same type holds the gradients of both. */
typedef struct {
    int64_t in, out;
    float *w; /**< [out][in] */
    float *b; /**< [out] */
} mltfr_linear;

/** @param x  [n][in]
 *  @param y  [n][out], output */
void mltfr_linear_forward(int64_t n, const mltfr_linear *linear, const float *x, float *y);

/** @param grad  w and b are added to
 *  @param dx    [n][in], becomes beta dx + dy W */
void mltfr_linear_backward(int64_t n, const mltfr_linear *linear, const mltfr_linear *grad,
                           const float *x, const float *dy, float beta, float *dx);

/** y = (x - mean) / sqrt(var + eps) * w + b, var with 1/d; the same type holds the gradients. */
typedef struct {
    int64_t d;
    float eps;
    float *w, *b; /**< [d] */
} mltfr_norm;

/** @param hat   [n][d], output, for backward: (x - mean) / sqrt(var + eps)
 *  @param rstd  [n], output, for backward: 1 / sqrt(var + eps)
 *  @param y     [n][d], output; may be x */
void mltfr_norm_forward(int64_t n, const mltfr_norm *norm, const float *x, float *hat, float *rstd,
                        float *y);

/** @param grad  w and b are added to
 *  @param add   the gradient is added to dx, else it is stored there
 *  @param dx    [n][d]; may be dy where it is stored */
void mltfr_norm_backward(int64_t n, const mltfr_norm *norm, const mltfr_norm *grad,
                         const float *hat, const float *rstd, const float *dy, bool add, float *dx);

/** In place: x becomes gelu(x) = x Phi(x) (erf form; absolute error of Phi < 2e-7).
 *  @param slope  [n], output: gelu'(x), all that backward needs */
void mltfr_gelu_forward(int64_t n, float *x, float *slope);

/** In place: dy becomes dy slope. */
void mltfr_gelu_backward(int64_t n, const float *slope, float *dy);

/** Which entries a dropout keeps: a hash of (key, global row, column), so that the cut of the rows
 *  into blocks does not matter and backward finds the same ones again. */
typedef struct {
    uint64_t key;       /**< mltfr_rng_key of seed, step and site */
    int64_t row0;       /**< global number of the first row */
    uint32_t threshold; /**< an entry whose 32 bits lie below is dropped; 0 keeps all */
    float scale;        /**< of the entries kept: 1 / (1 - rate) */
} mltfr_dropout;

/** Set threshold and scale for a rate in [0, 1). */
void mltfr_dropout_rate(mltfr_dropout *drop, float rate);

/** y = base + drop(x); with dy for x it is the backward.
 *  @param base  [n][d], or NULL for zero; may be y
 *  @param y     [n][d], output; may be x */
void mltfr_dropout_apply(int64_t n, int64_t d, const mltfr_dropout *drop, const float *x,
                         const float *base, float *y);

#endif
