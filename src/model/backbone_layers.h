/* Attention and feed-forward on packed rows, which SASRec and BSARec are made of: what forward
 * leaves for backward, and both ways of each. */
#ifndef MLTFR_MODEL_BACKBONE_LAYERS_H
#define MLTFR_MODEL_BACKBONE_LAYERS_H

#include "backbone_impl.h"

typedef struct {
    float *in_att, *in_ffn;            /* [n][d]: what attention and FFN read */
    float *q, *k, *v, *mix;            /* [n][d]: mix is the attention's output before W_o */
    float *stats;                      /* of the attention */
    float *inner, *inner_slope;        /* [n][4d]: gelu and gelu' */
    mltfr_norm_kept ln1, ln2, ln_freq; /* ln_freq: BSARec only */
} mltfr_layer_kept;

typedef struct {
    mltfr_norm_kept emb_ln, final_ln;
    mltfr_layer_kept layer[MLTFR_MAX_LAYERS];
} mltfr_layers_kept;

/* Scratch, [n][d] each but for the first and the last. */
typedef struct {
    float *attention; /* of one sequence */
    float *branch;    /* a branch's output; backward its gradient, then that of its input */
    float *mix;       /* backward: of the attention before W_o */
    float *q, *k, *v; /* backward: of these */
    float *inner;     /* backward, [n][4d] */
} mltfr_layers_scratch;

/* What the backward of layer b needs of it. */
typedef struct {
    int b;
    const struct mltfr_layer_weights *w, *dw;
    const mltfr_layer_kept *kept;
} mltfr_layer_view;

static inline mltfr_norm_pair mltfr_ln1(const mltfr_layer_view *l)
{
    return (mltfr_norm_pair){l->w->ln1_w, l->w->ln1_b, l->dw->ln1_w, l->dw->ln1_b};
}

static inline mltfr_norm_pair mltfr_ln2(const mltfr_layer_view *l)
{
    return (mltfr_norm_pair){l->w->ln2_w, l->w->ln2_b, l->dw->ln2_w, l->dw->ln2_b};
}

/* Floats of both. */
int64_t mltfr_layers_kept_floats(const mltfr_backbone_shape *shape, int64_t n);
int64_t mltfr_layers_scratch_floats(const mltfr_backbone_shape *shape, int64_t n);

/* Cut the memory of a pass. */
void mltfr_layers_cut(const mltfr_backbone_pass *pass, const float *kept, float *scratch,
                      mltfr_layers_kept *k, mltfr_layers_scratch *s);

/* branch = W_o attention(in_att) + b_o */
void mltfr_attention_layer(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                           const mltfr_layer_kept *kept, const mltfr_layers_scratch *s);
/* branch: gradient of the attention's output; dx becomes beta dx + that of its input. */
void mltfr_attention_layer_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                                const mltfr_layers_scratch *s, float beta, float *dx);

/* branch = W2 gelu(W1 in_ffn + b1) + b2 */
void mltfr_ffn_layer(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                     const mltfr_layer_kept *kept, const mltfr_layers_scratch *s);
/* branch: gradient of the FFN's output; dx becomes beta dx + that of its input. */
void mltfr_ffn_layer_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                          const mltfr_layers_scratch *s, float beta, float *dx);

/* Post-norm: in_ffn = LN1(in_att + drop(attention)); out = LN2(in_ffn + drop(FFN)). */
void mltfr_attention_post(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *weights,
                          int b, const mltfr_layer_kept *kept, const mltfr_layers_scratch *s);
void mltfr_ffn_post(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *weights, int b,
                    const mltfr_layer_kept *kept, const mltfr_layers_scratch *s, float *out);
/* dy: gradient of what they gave, becomes that of what they took. */
void mltfr_attention_post_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                               const mltfr_layers_scratch *s, float *dy);
void mltfr_ffn_post_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                         const mltfr_layers_scratch *s, float *dy);

/* One layer: in_att is there; `out` receives the next layer's, or h. */
typedef void mltfr_layer_forward(const mltfr_backbone_pass *pass,
                                 const mltfr_backbone_weights *weights, int b,
                                 const mltfr_layer_kept *kept, const mltfr_layers_scratch *s,
                                 float *out);
/* Its backward; dy: gradient of `out`, becomes that of in_att. */
typedef void mltfr_layer_backward(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                                  const mltfr_layers_scratch *s, float *dy);

/* The embedding and all layers, each giving the next one's in_att. */
void mltfr_layers_post(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                       const mltfr_layers_kept *k, const mltfr_layers_scratch *s,
                       mltfr_layer_forward *layer, const float *x, float *h);
/* The layers in reverse.  dh: gradient of the last one's output, becomes that of the embedding's.
 */
void mltfr_layers_back(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                       const mltfr_backbone_weights *dw, const mltfr_layers_kept *k,
                       const mltfr_layers_scratch *s, mltfr_layer_backward *layer_back, float *dh);

#endif
