/* Attention and feed-forward, forward and backward, E2.  Products run over all rows of a user block
 * at once, attention user by user. */
#include "backbone_layers.h"

#include <mltfr/attention.h>

#include <stddef.h>

/* ---- memory -------------------------------------------------------------------------------- */

static void cut_layer(mltfr_carver *carver, const mltfr_backbone_shape *shape, int64_t n,
                      mltfr_layer_kept *layer)
{
    const int64_t d = shape->d;
    float **rows[] = {&layer->in_att, &layer->in_ffn, &layer->q, &layer->k, &layer->v, &layer->mix};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        *rows[i] = mltfr_carve(carver, n * d);
    layer->stats = mltfr_carve(carver, n * mltfr_attention_stats(shape->heads));
    layer->inner = mltfr_carve(carver, n * 4 * d);
    layer->inner_slope = mltfr_carve(carver, n * 4 * d);
    layer->ln1 = mltfr_carve_norm(carver, n, d);
    layer->ln2 = mltfr_carve_norm(carver, n, d);
    if (shape->kind == MLTFR_MODEL_BACKBONE_BSAREC)
        layer->ln_freq = mltfr_carve_norm(carver, n, d);
}

static int64_t cut_kept(const mltfr_backbone_shape *shape, int64_t n, float *kept,
                        mltfr_layers_kept *k)
{
    mltfr_carver carver = {kept, 0};

    k->emb_ln = mltfr_carve_norm(&carver, n, shape->d);
    for (int64_t b = 0; b < shape->layers; b++)
        cut_layer(&carver, shape, n, &k->layer[b]);
    if (shape->pre_norm)
        k->final_ln = mltfr_carve_norm(&carver, n, shape->d);
    return carver.used;
}

static int64_t cut_scratch(const mltfr_backbone_shape *shape, int64_t n, float *scratch,
                           mltfr_layers_scratch *s)
{
    mltfr_carver carver = {scratch, 0};
    const int64_t longest = n < shape->max_len ? n : shape->max_len;
    float **rows[] = {&s->branch, &s->mix, &s->q, &s->k, &s->v};

    s->attention = mltfr_carve(&carver, mltfr_attention_scratch(longest, shape->d, shape->heads));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        *rows[i] = mltfr_carve(&carver, n * shape->d);
    s->inner = mltfr_carve(&carver, n * 4 * shape->d);
    return carver.used;
}

int64_t mltfr_layers_kept_floats(const mltfr_backbone_shape *shape, int64_t n)
{
    mltfr_layers_kept k;

    return cut_kept(shape, n, NULL, &k);
}

int64_t mltfr_layers_scratch_floats(const mltfr_backbone_shape *shape, int64_t n)
{
    mltfr_layers_scratch s;

    return cut_scratch(shape, n, NULL, &s);
}

void mltfr_layers_cut(const mltfr_backbone_pass *pass, const float *kept, float *scratch,
                      mltfr_layers_kept *k, mltfr_layers_scratch *s)
{
    cut_kept(pass->shape, pass->n, (float *)kept, k);
    cut_scratch(pass->shape, pass->n, scratch, s);
}

/* ---- attention ----------------------------------------------------------------------------- */

static void linear(const mltfr_backbone_pass *pass, const mltfr_linear *layer, const float *x,
                   float *y)
{
    mltfr_linear_forward(pass->n, layer, x, y);
}

/* That of user u, rows off[u] .. off[u + 1). */
static mltfr_attention attention_of(const mltfr_backbone_pass *pass, const mltfr_layer_kept *kept,
                                    int64_t u)
{
    const int32_t *off = pass->block->off;
    const int64_t at = off[u] * pass->shape->d;

    return (mltfr_attention){off[u + 1] - off[u], pass->shape->d, pass->shape->heads,
                             kept->q + at,        kept->k + at,   kept->v + at};
}

void mltfr_attention_layer(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                           const mltfr_layer_kept *kept, const mltfr_layers_scratch *s)
{
    const int64_t d = pass->shape->d, stats = mltfr_attention_stats(pass->shape->heads);
    const int32_t *off = pass->block->off;

    linear(pass, &(mltfr_linear){d, d, w->wq, w->bq}, kept->in_att, kept->q);
    linear(pass, &(mltfr_linear){d, d, w->wk, w->bk}, kept->in_att, kept->k);
    linear(pass, &(mltfr_linear){d, d, w->wv, w->bv}, kept->in_att, kept->v);
    for (int64_t u = 0; u < pass->block->users; u++) {
        const mltfr_attention att = attention_of(pass, kept, u);

        mltfr_attention_forward(&att, s->attention, kept->stats + off[u] * stats,
                                kept->mix + off[u] * d);
    }
    linear(pass, &(mltfr_linear){d, d, w->wo, w->bo}, kept->mix, s->branch);
}

static void users_back(const mltfr_backbone_pass *pass, const mltfr_layer_kept *kept,
                       const mltfr_layers_scratch *s)
{
    const int64_t d = pass->shape->d, stats = mltfr_attention_stats(pass->shape->heads);

    for (int64_t u = 0; u < pass->block->users; u++) {
        const int64_t row = pass->block->off[u], at = row * d;
        const mltfr_attention att = attention_of(pass, kept, u);
        const mltfr_attention_grad grad = {s->q + at, s->k + at, s->v + at};

        mltfr_attention_backward(&att, kept->stats + row * stats, kept->mix + at, s->mix + at,
                                 s->attention, &grad);
    }
}

void mltfr_attention_layer_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                                const mltfr_layers_scratch *s, float beta, float *dx)
{
    const struct mltfr_layer_weights *w = l->w, *dw = l->dw;
    const mltfr_layer_kept *kept = l->kept;
    const int64_t n = pass->n, d = pass->shape->d;

    mltfr_linear_backward(n, &(mltfr_linear){d, d, w->wo, w->bo},
                          &(mltfr_linear){d, d, dw->wo, dw->bo}, kept->mix, s->branch, 0.f, s->mix);
    users_back(pass, kept, s);
    mltfr_linear_backward(n, &(mltfr_linear){d, d, w->wq, w->bq},
                          &(mltfr_linear){d, d, dw->wq, dw->bq}, kept->in_att, s->q, beta, dx);
    mltfr_linear_backward(n, &(mltfr_linear){d, d, w->wk, w->bk},
                          &(mltfr_linear){d, d, dw->wk, dw->bk}, kept->in_att, s->k, 1.f, dx);
    mltfr_linear_backward(n, &(mltfr_linear){d, d, w->wv, w->bv},
                          &(mltfr_linear){d, d, dw->wv, dw->bv}, kept->in_att, s->v, 1.f, dx);
}

/* ---- feed-forward -------------------------------------------------------------------------- */

void mltfr_ffn_layer(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                     const mltfr_layer_kept *kept, const mltfr_layers_scratch *s)
{
    const int64_t d = pass->shape->d;

    linear(pass, &(mltfr_linear){d, 4 * d, w->w1, w->b1}, kept->in_ffn, kept->inner);
    mltfr_gelu_forward(pass->n * 4 * d, kept->inner, kept->inner_slope);
    linear(pass, &(mltfr_linear){4 * d, d, w->w2, w->b2}, kept->inner, s->branch);
}

void mltfr_ffn_layer_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                          const mltfr_layers_scratch *s, float beta, float *dx)
{
    const struct mltfr_layer_weights *w = l->w, *dw = l->dw;
    const int64_t n = pass->n, d = pass->shape->d;

    mltfr_linear_backward(n, &(mltfr_linear){4 * d, d, w->w2, w->b2},
                          &(mltfr_linear){4 * d, d, dw->w2, dw->b2}, l->kept->inner, s->branch, 0.f,
                          s->inner);
    mltfr_gelu_backward(n * 4 * d, l->kept->inner_slope, s->inner);
    mltfr_linear_backward(n, &(mltfr_linear){d, 4 * d, w->w1, w->b1},
                          &(mltfr_linear){d, 4 * d, dw->w1, dw->b1}, l->kept->in_ffn, s->inner,
                          beta, dx);
}

/* ---- post-norm ----------------------------------------------------------------------------- */

void mltfr_attention_post(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *weights,
                          int b, const mltfr_layer_kept *kept, const mltfr_layers_scratch *s)
{
    const struct mltfr_layer_weights *w = &weights->layer[b];

    mltfr_attention_layer(pass, w, kept, s);
    mltfr_backbone_drop(pass, MLTFR_SITE_ATTENTION(b), s->branch, kept->in_att, s->branch);
    mltfr_backbone_norm(pass, w->ln1_w, w->ln1_b, &kept->ln1, s->branch, kept->in_ffn);
}

void mltfr_ffn_post(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *weights, int b,
                    const mltfr_layer_kept *kept, const mltfr_layers_scratch *s, float *out)
{
    const struct mltfr_layer_weights *w = &weights->layer[b];

    mltfr_ffn_layer(pass, w, kept, s);
    mltfr_backbone_drop(pass, MLTFR_SITE_FFN(b), s->branch, kept->in_ffn, s->branch);
    mltfr_backbone_norm(pass, w->ln2_w, w->ln2_b, &kept->ln2, s->branch, out);
}

void mltfr_attention_post_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                               const mltfr_layers_scratch *s, float *dy)
{
    mltfr_backbone_norm_back(pass, mltfr_ln1(l), &l->kept->ln1, dy, false, dy);
    mltfr_backbone_drop(pass, MLTFR_SITE_ATTENTION(l->b), dy, NULL, s->branch);
    mltfr_attention_layer_back(pass, l, s, 1.f, dy);
}

void mltfr_ffn_post_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                         const mltfr_layers_scratch *s, float *dy)
{
    mltfr_backbone_norm_back(pass, mltfr_ln2(l), &l->kept->ln2, dy, false, dy);
    mltfr_backbone_drop(pass, MLTFR_SITE_FFN(l->b), dy, NULL, s->branch);
    mltfr_ffn_layer_back(pass, l, s, 1.f, dy);
}

/* ---- all layers ---------------------------------------------------------------------------- */

void mltfr_layers_post(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                       const mltfr_layers_kept *k, const mltfr_layers_scratch *s,
                       mltfr_layer_forward *layer, const float *x, float *h)
{
    const int layers = (int)pass->shape->layers;

    mltfr_backbone_embed(pass, w, &k->emb_ln, x, layers > 0 ? k->layer[0].in_att : h);
    for (int b = 0; b < layers; b++)
        layer(pass, w, b, &k->layer[b], s, b + 1 < layers ? k->layer[b + 1].in_att : h);
}

void mltfr_layers_back(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                       const mltfr_backbone_weights *dw, const mltfr_layers_kept *k,
                       const mltfr_layers_scratch *s, mltfr_layer_backward *layer_back, float *dh)
{
    for (int b = (int)pass->shape->layers - 1; b >= 0; b--) {
        const mltfr_layer_view l = {b, &w->layer[b], &dw->layer[b], &k->layer[b]};

        layer_back(pass, &l, s, dh);
    }
}
