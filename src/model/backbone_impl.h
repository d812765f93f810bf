/* What forward leaves for backward and how both cut their memory. */
#ifndef MLTFR_MODEL_BACKBONE_IMPL_H
#define MLTFR_MODEL_BACKBONE_IMPL_H

#include <mltfr/attention.h>
#include <mltfr/backbone.h>
#include <mltfr/ops.h>

/* A layer norm's output before gain and bias, and its 1 / sqrt(var + eps). */
typedef struct {
    float *hat, *rstd; /* [n][d], [n] */
} mltfr_norm_kept;

typedef struct {
    float *in_att, *in_ffn;     /* [n][d]: what attention and FFN read */
    float *q, *k, *v, *mix;     /* [n][d]: mix is the attention's output before W_o */
    float *stats;               /* of the attention */
    float *inner, *inner_slope; /* [n][4d]: gelu and gelu' */
    mltfr_norm_kept ln1, ln2;
} mltfr_layer_kept;

typedef struct {
    mltfr_norm_kept emb_ln, final_ln;
    mltfr_layer_kept layer[MLTFR_MAX_LAYERS];
} mltfr_backbone_kept_view;

/* Hands out parts of a buffer, or only counts where it is NULL. */
typedef struct {
    float *base;
    int64_t used;
} mltfr_carver;

float *mltfr_carve(mltfr_carver *carver, int64_t floats);

/* Cut the activations of n rows; returns their floats. */
int64_t mltfr_backbone_cut(const mltfr_backbone_shape *shape, int64_t n, float *kept,
                           mltfr_backbone_kept_view *view);

/* Where forward and backward are: the shape, the rows and what is kept of them. */
typedef struct {
    const mltfr_backbone_shape *shape;
    const mltfr_user_block *block;
    int64_t n;
    mltfr_backbone_kept_view kept;
    float *attention; /* scratch */
} mltfr_backbone_pass;

/* Start a pass; returns the scratch that is left. */
mltfr_carver mltfr_backbone_start(mltfr_backbone_pass *pass, const mltfr_backbone_shape *shape,
                                  const mltfr_user_block *block, const float *kept, float *scratch);

/* y = base + drop(x) at a site: 0 is the embedding, 1 + 2b and 2 + 2b are layer b's two.  The same
 * call with the gradient for x and NULL for base is the backward. */
void mltfr_backbone_drop(const mltfr_backbone_pass *pass, int site, const float *x,
                         const float *base, float *y);

/* One head-by-head attention of user u, rows off[u] .. off[u + 1). */
mltfr_attention mltfr_backbone_attention(const mltfr_backbone_pass *pass,
                                         const mltfr_layer_kept *kept, int64_t u);

#endif
