/* SASRec, E1 to E3.
 *
 *   post  x -> attention -> + x -> LN1 -> FFN -> + -> LN2        what LN1 gives is the FFN's input
 *   pre   x -> LN1 -> attention -> + x -> LN2 -> FFN -> +        and a last LN after the layers
 *
 * Backward takes the layers in reverse.  The gradient of the residual stream moves through one
 * buffer (the caller's dh); each branch takes its share from it through the dropout that forward
 * drew, and adds back what flows into the branch's input. */
#include "backbone_layers.h"

#include <stddef.h>

static void post(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *weights, int b,
                 const mltfr_layer_kept *kept, const mltfr_layers_scratch *s, float *out)
{
    mltfr_attention_post(pass, weights, b, kept, s);
    mltfr_ffn_post(pass, weights, b, kept, s, out);
}

/* The residual stream x moves on in place. */
static void pre(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *weights, int b,
                const mltfr_layer_kept *kept, const mltfr_layers_scratch *s, float *x)
{
    const struct mltfr_layer_weights *w = &weights->layer[b];

    mltfr_backbone_norm(pass, w->ln1_w, w->ln1_b, &kept->ln1, x, kept->in_att);
    mltfr_attention_layer(pass, w, kept, s);
    mltfr_backbone_drop(pass, MLTFR_SITE_ATTENTION(b), s->branch, x, x);
    mltfr_backbone_norm(pass, w->ln2_w, w->ln2_b, &kept->ln2, x, kept->in_ffn);
    mltfr_ffn_layer(pass, w, kept, s);
    mltfr_backbone_drop(pass, MLTFR_SITE_FFN(b), s->branch, x, x);
}

static void forward(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                    const float *x, float *kept, float *scratch, float *h)
{
    mltfr_layers_kept k;
    mltfr_layers_scratch s;

    mltfr_layers_cut(pass, kept, scratch, &k, &s);
    if (!pass->shape->pre_norm) {
        mltfr_layers_post(pass, w, &k, &s, post, x, h);
        return;
    }
    mltfr_backbone_embed(pass, w, &k.emb_ln, x, h);
    for (int b = 0; b < (int)pass->shape->layers; b++)
        pre(pass, w, b, &k.layer[b], &s, h);
    mltfr_backbone_norm(pass, w->final_ln_w, w->final_ln_b, &k.final_ln, h, h);
}

static void post_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                      const mltfr_layers_scratch *s, float *dy)
{
    mltfr_ffn_post_back(pass, l, s, dy);
    mltfr_attention_post_back(pass, l, s, dy);
}

static void pre_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                     const mltfr_layers_scratch *s, float *dy)
{
    mltfr_backbone_drop(pass, MLTFR_SITE_FFN(l->b), dy, NULL, s->branch);
    mltfr_ffn_layer_back(pass, l, s, 0.f, s->mix);
    mltfr_backbone_norm_back(pass, mltfr_ln2(l), &l->kept->ln2, s->mix, true, dy);
    mltfr_backbone_drop(pass, MLTFR_SITE_ATTENTION(l->b), dy, NULL, s->branch);
    mltfr_attention_layer_back(pass, l, s, 0.f, s->branch);
    mltfr_backbone_norm_back(pass, mltfr_ln1(l), &l->kept->ln1, s->branch, true, dy);
}

static void backward(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                     const float *kept, float *scratch, float *dh, const mltfr_backbone_weights *dw,
                     float *dx)
{
    mltfr_layers_kept k;
    mltfr_layers_scratch s;

    mltfr_layers_cut(pass, kept, scratch, &k, &s);
    if (pass->shape->pre_norm)
        mltfr_backbone_norm_back(
            pass, (mltfr_norm_pair){w->final_ln_w, w->final_ln_b, dw->final_ln_w, dw->final_ln_b},
            &k.final_ln, dh, false, dh);
    mltfr_layers_back(pass, w, dw, &k, &s, pass->shape->pre_norm ? pre_back : post_back, dh);
    mltfr_backbone_embed_back(pass, w, &k.emb_ln, dh, dw, dx);
}

const mltfr_backbone_kind mltfr_sasrec = {mltfr_layers_kept_floats, mltfr_layers_scratch_floats,
                                          forward, backward};
