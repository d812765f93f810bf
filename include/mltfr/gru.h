/** @file mltfr/gru.h
 *  One step of a gated recurrent unit on one row, behind its two products (method E2, GRU4Rec; the
 *  form of torch.nn.GRU).  Layer: num.  All functions are @local; none allocates.
 *
 *      r = sigmoid(i_r + h_r)   z = sigmoid(i_z + h_z)   n = tanh(i_n + r h_n)
 *      h = (1 - z) n + z h0      i = W_ih x + b_ih,  h_. = W_hh h0 + b_hh */
#ifndef MLTFR_GRU_H
#define MLTFR_GRU_H

#include <stdint.h>

/** What a step leaves for its backward. */
typedef struct {
    int64_t d;
    float *gates;    /**< [3d]: i_r, i_z, i_n; forward leaves r, z, n there */
    float *hn;       /**< [d], output of forward: h_n */
    const float *h0; /**< [d]: the state before; NULL is zero */
} mltfr_gru_step;

/** @param recurrent  [3d]: h_r, h_z, h_n
 *  @param h          [d], output */
void mltfr_gru_forward(const mltfr_gru_step *step, const float *recurrent, float *h);

/** @param dh          [d]
 *  @param dgates      [3d], output: gradient of i
 *  @param drecurrent  [3d], output: gradient of h_r, h_z, h_n
 *  @param dh0         [d], output: z dh, all that does not come through the product */
void mltfr_gru_backward(const mltfr_gru_step *step, const float *dh, float *dgates,
                        float *drecurrent, float *dh0);

#endif
