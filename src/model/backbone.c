/* SASRec forward, E1 to E3, and its RMSNorm query (C1).  The rows of a user block are packed: every
 * product and norm runs over all of them at once, attention user by user.
 *
 *   post  x -> attention -> + x -> LN1 -> FFN -> + -> LN2        what LN1 gives is the FFN's input
 *   pre   x -> LN1 -> attention -> + x -> LN2 -> FFN -> +        and a last LN after the layers */
#include "backbone_impl.h"

#include <mltfr/kernel.h>
#include <mltfr/rng.h>

#include <math.h>
#include <string.h>

enum { LINE = 16, SITES = 64 };

float *mltfr_carve(mltfr_carver *carver, int64_t floats)
{
    float *part = carver->base ? carver->base + carver->used : NULL;

    carver->used += (floats + LINE - 1) / LINE * LINE;
    return part;
}

static mltfr_norm_kept cut_norm(mltfr_carver *carver, int64_t n, int64_t d)
{
    float *hat = mltfr_carve(carver, n * d);

    return (mltfr_norm_kept){hat, mltfr_carve(carver, n)};
}

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
    layer->ln1 = cut_norm(carver, n, d);
    layer->ln2 = cut_norm(carver, n, d);
}

int64_t mltfr_backbone_cut(const mltfr_backbone_shape *shape, int64_t n, float *kept,
                           mltfr_backbone_kept_view *view)
{
    mltfr_carver carver = {kept, 0};

    view->emb_ln = cut_norm(&carver, n, shape->d);
    for (int64_t b = 0; b < shape->layers; b++)
        cut_layer(&carver, shape, n, &view->layer[b]);
    if (shape->pre_norm)
        view->final_ln = cut_norm(&carver, n, shape->d);
    return carver.used;
}

int64_t mltfr_backbone_kept(const mltfr_backbone_shape *shape, int64_t n)
{
    mltfr_backbone_kept_view view;

    return mltfr_backbone_cut(shape, n, NULL, &view);
}

static int64_t attention_floats(const mltfr_backbone_shape *shape, int64_t n)
{
    return mltfr_attention_scratch(n < shape->max_len ? n : shape->max_len, shape->d, shape->heads);
}

/* Backward's need: gradients of q, k, v, of the branch, and of the FFN's inner rows. */
int64_t mltfr_backbone_scratch(const mltfr_backbone_shape *shape, int64_t n)
{
    mltfr_carver carver = {NULL, 0};

    mltfr_carve(&carver, attention_floats(shape, n));
    for (int i = 0; i < 5; i++)
        mltfr_carve(&carver, n * shape->d);
    mltfr_carve(&carver, n * 4 * shape->d);
    return carver.used;
}

mltfr_carver mltfr_backbone_start(mltfr_backbone_pass *pass, const mltfr_backbone_shape *shape,
                                  const mltfr_user_block *block, const float *kept, float *scratch)
{
    mltfr_carver carver = {scratch, 0};

    pass->shape = shape;
    pass->block = block;
    pass->n = block->users > 0 ? block->off[block->users] : 0;
    mltfr_backbone_cut(shape, pass->n, (float *)kept, &pass->kept);
    pass->attention = mltfr_carve(&carver, attention_floats(shape, pass->n));
    return carver;
}

void mltfr_backbone_drop(const mltfr_backbone_pass *pass, int site, const float *x,
                         const float *base, float *y)
{
    const mltfr_user_block *block = pass->block;
    mltfr_dropout drop = {.row0 = block->row0};

    mltfr_dropout_rate(&drop, block->train ? pass->shape->dropout : 0.f);
    drop.key = mltfr_rng_key(block->seed, MLTFR_RNG_DROPOUT, block->step * SITES + (uint64_t)site);
    mltfr_dropout_apply(pass->n, pass->shape->d, &drop, x, base, y);
}

mltfr_attention mltfr_backbone_attention(const mltfr_backbone_pass *pass,
                                         const mltfr_layer_kept *kept, int64_t u)
{
    const int32_t *off = pass->block->off;
    const int64_t at = off[u] * pass->shape->d;

    return (mltfr_attention){off[u + 1] - off[u], pass->shape->d, pass->shape->heads,
                             kept->q + at,        kept->k + at,   kept->v + at};
}

static void norm(const mltfr_backbone_pass *pass, float *w, float *b, const mltfr_norm_kept *kept,
                 const float *x, float *y)
{
    const mltfr_norm ln = {pass->shape->d, pass->shape->ln_eps, w, b};

    mltfr_norm_forward(pass->n, &ln, x, kept->hat, kept->rstd, y);
}

static void linear(const mltfr_backbone_pass *pass, const mltfr_linear *layer, const float *x,
                   float *y)
{
    mltfr_linear_forward(pass->n, layer, x, y);
}

/* x + pos of the right-aligned positions, normalised, dropped. */
static void embed(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w, const float *x,
                  float *out)
{
    const int64_t d = pass->shape->d;
    const int32_t *off = pass->block->off;

    for (int64_t u = 0; u < pass->block->users; u++) {
        const int64_t at = off[u] * d, count = (off[u + 1] - off[u]) * d;
        const float *pos = w->pos + pass->shape->max_len * d - count;

        for (int64_t i = 0; i < count; i++)
            out[at + i] = x[at + i] + pos[i];
    }
    norm(pass, w->emb_ln_w, w->emb_ln_b, &pass->kept.emb_ln, out, out);
    mltfr_backbone_drop(pass, 0, out, NULL, out);
}

static void attention(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                      const mltfr_layer_kept *kept, float *out)
{
    const int64_t d = pass->shape->d, stats = mltfr_attention_stats(pass->shape->heads);
    const int32_t *off = pass->block->off;

    linear(pass, &(mltfr_linear){d, d, w->wq, w->bq}, kept->in_att, kept->q);
    linear(pass, &(mltfr_linear){d, d, w->wk, w->bk}, kept->in_att, kept->k);
    linear(pass, &(mltfr_linear){d, d, w->wv, w->bv}, kept->in_att, kept->v);
    for (int64_t u = 0; u < pass->block->users; u++) {
        const mltfr_attention att = mltfr_backbone_attention(pass, kept, u);

        mltfr_attention_forward(&att, pass->attention, kept->stats + off[u] * stats,
                                kept->mix + off[u] * d);
    }
    linear(pass, &(mltfr_linear){d, d, w->wo, w->bo}, kept->mix, out);
}

static void ffn(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                const mltfr_layer_kept *kept, float *out)
{
    const int64_t d = pass->shape->d;

    linear(pass, &(mltfr_linear){d, 4 * d, w->w1, w->b1}, kept->in_ffn, kept->inner);
    mltfr_gelu_forward(pass->n * 4 * d, kept->inner, kept->inner_slope);
    linear(pass, &(mltfr_linear){4 * d, d, w->w2, w->b2}, kept->inner, out);
}

/* in_att is there; `out` receives the next layer's.  branch: scratch [n][d]. */
static void layer_post(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *weights,
                       int b, float *branch, float *out)
{
    const struct mltfr_layer_weights *w = &weights->layer[b];
    const mltfr_layer_kept *kept = &pass->kept.layer[b];

    attention(pass, w, kept, branch);
    mltfr_backbone_drop(pass, 1 + 2 * b, branch, kept->in_att, branch);
    norm(pass, w->ln1_w, w->ln1_b, &kept->ln1, branch, kept->in_ffn);
    ffn(pass, w, kept, branch);
    mltfr_backbone_drop(pass, 2 + 2 * b, branch, kept->in_ffn, branch);
    norm(pass, w->ln2_w, w->ln2_b, &kept->ln2, branch, out);
}

/* The residual stream x moves on in place. */
static void layer_pre(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *weights, int b,
                      float *branch, float *x)
{
    const struct mltfr_layer_weights *w = &weights->layer[b];
    const mltfr_layer_kept *kept = &pass->kept.layer[b];

    norm(pass, w->ln1_w, w->ln1_b, &kept->ln1, x, kept->in_att);
    attention(pass, w, kept, branch);
    mltfr_backbone_drop(pass, 1 + 2 * b, branch, x, x);
    norm(pass, w->ln2_w, w->ln2_b, &kept->ln2, x, kept->in_ffn);
    ffn(pass, w, kept, branch);
    mltfr_backbone_drop(pass, 2 + 2 * b, branch, x, x);
}

void mltfr_backbone_forward(const mltfr_backbone_shape *shape, const mltfr_backbone_weights *w,
                            const mltfr_user_block *block, const float *x, float *kept,
                            float *scratch, float *h)
{
    mltfr_backbone_pass pass;
    mltfr_carver carver = mltfr_backbone_start(&pass, shape, block, kept, scratch);
    float *branch = mltfr_carve(&carver, pass.n * shape->d);
    const int layers = (int)shape->layers;

    if (shape->pre_norm) {
        embed(&pass, w, x, h);
        for (int b = 0; b < layers; b++)
            layer_pre(&pass, w, b, branch, h);
        norm(&pass, w->final_ln_w, w->final_ln_b, &pass.kept.final_ln, h, h);
        return;
    }
    embed(&pass, w, x, layers > 0 ? pass.kept.layer[0].in_att : h);
    for (int b = 0; b < layers; b++)
        layer_post(&pass, w, b, branch, b + 1 < layers ? pass.kept.layer[b + 1].in_att : h);
}

MLTFR_INLINE float inverse_rms(int64_t d, float eps, const float *h)
{
    float squares = 0.f;

#pragma omp simd simdlen(16) reduction(+ : squares)
    for (int64_t j = 0; j < d; j++)
        squares += h[j] * h[j];
    return 1.f / sqrtf(squares / (float)d + eps);
}

MLTFR_KERNEL
void mltfr_rmsnorm_forward(int64_t n, int64_t d, float eps, const float *h, float *q)
{
    for (int64_t i = 0; i < n; i++) {
        const float r = inverse_rms(d, eps, h + i * d);

#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < d; j++)
            q[i * d + j] = h[i * d + j] * r;
    }
}

/* dh += r (dq - h mean(dq h) r^2) */
MLTFR_KERNEL
void mltfr_rmsnorm_backward(int64_t n, int64_t d, float eps, const float *h, const float *dq,
                            float *dh)
{
    for (int64_t i = 0; i < n; i++) {
        const float *x = h + i * d, *g = dq + i * d;
        const float r = inverse_rms(d, eps, x);
        float along = 0.f;

#pragma omp simd simdlen(16) reduction(+ : along)
        for (int64_t j = 0; j < d; j++)
            along += g[j] * x[j];
        along *= r * r / (float)d;
#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < d; j++)
            dh[i * d + j] += r * (g[j] - x[j] * along);
    }
}
