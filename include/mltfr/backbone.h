/** @file mltfr/backbone.h
 *  The sequence models on packed sequences, forward and backward, one user block at a time (method
 *  E1-E3).  Layer: model.  All functions are @local; none allocates.
 *
 *  A block holds whole users: user u has rows off[u] .. off[u + 1) of n = off[users] rows; no
 *  padded row exists.  Weights are [out][in] (y = x W^T + b). */
#ifndef MLTFR_BACKBONE_H
#define MLTFR_BACKBONE_H

#include <mltfr/settings.h>

enum { MLTFR_MAX_LAYERS = 16 };

typedef struct {
    int kind;                          /**< MLTFR_MODEL_BACKBONE_SASREC, .. */
    int64_t d, layers, heads, max_len; /**< d divisible by heads; max_len is L */
    bool pre_norm;                     /**< SASRec only */
    float ln_eps, dropout;             /**< 1e-5; share of entries that are dropped in training */
    int64_t average;                   /**< BSARec: positions in the moving average (w) */
    float alpha;                       /**< BSARec: share of the frequency branch */
} mltfr_backbone_shape;

/** Views into one slab of values, or of gradients; NULL where the model has no such tensor. */
typedef struct {
    float *pos; /**< [L][d]; not GRU4Rec */
    float *emb_ln_w, *emb_ln_b;
    struct mltfr_layer_weights {
        float *ln1_w, *ln1_b;     /**< [d] */
        float *wq, *wk, *wv, *wo; /**< [d][d] */
        float *bq, *bk, *bv, *bo; /**< [d] */
        float *ln2_w, *ln2_b;     /**< [d] */
        float *w1, *b1, *w2, *b2; /**< [4d][d], [4d], [d][4d], [d] */

        float *sqrt_beta, *ln_freq_w, *ln_freq_b; /**< BSARec: [d] */
        float *w_ih, *w_hh, *b_ih, *b_hh; /**< GRU4Rec: [3d][d], [3d][d], [3d], [3d]; r, z, n */
    } layer[MLTFR_MAX_LAYERS];
    float *final_ln_w, *final_ln_b; /**< pre-norm only */
    float *dense_w, *dense_b;       /**< GRU4Rec: [d][d], [d] */
} mltfr_backbone_weights;

/** The rows of one user block and where its random numbers start. */
typedef struct {
    int64_t users;
    const int32_t *off; /**< [users + 1], off[0] = 0 */
    int64_t row0;       /**< global number, in the batch, of the block's first row */
    uint64_t seed, step;
    bool train; /**< dropout acts */
} mltfr_user_block;

/** Floats of activations that forward leaves for backward, for n rows. */
int64_t mltfr_backbone_kept(const mltfr_backbone_shape *shape, int64_t n);
/** Floats of scratch that forward or backward needs for n rows. */
int64_t mltfr_backbone_scratch(const mltfr_backbone_shape *shape, int64_t n);

/** @param x     [n][d] rows of E' of the block's items
 *  @param kept  [mltfr_backbone_kept], written
 *  @param h     [n][d], output */
void mltfr_backbone_forward(const mltfr_backbone_shape *shape, const mltfr_backbone_weights *w,
                            const mltfr_user_block *block, const float *x, float *kept,
                            float *scratch, float *h);

/** @param dh  [n][d], overwritten
 *  @param dw  gradients, added to
 *  @param dx  [n][d], output: gradient of x */
void mltfr_backbone_backward(const mltfr_backbone_shape *shape, const mltfr_backbone_weights *w,
                             const mltfr_user_block *block, const float *kept, float *scratch,
                             float *dh, const mltfr_backbone_weights *dw, float *dx);

/** q = h / sqrt(mean(h^2) + eps), row by row (C1), and its backward: dh += dq. */
void mltfr_rmsnorm_forward(int64_t n, int64_t d, float eps, const float *h, float *q);
void mltfr_rmsnorm_backward(int64_t n, int64_t d, float eps, const float *h, const float *dq,
                            float *dh);

#endif
