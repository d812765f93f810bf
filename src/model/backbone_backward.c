/* SASRec backward, E1 to E3: the layers in reverse.  The gradient of the residual stream moves
 * through one buffer (the caller's dh); each branch takes its share from it through the dropout
 * that forward drew, and adds back what flows into the branch's input. */
#include "backbone_impl.h"

#include <stddef.h>

/* Scratch of the backward pass, [n][d] each but for inner. */
typedef struct {
    float *branch; /* gradient of a branch's output, then of its input */
    float *mix;    /* of the attention before W_o */
    mltfr_attention_grad qkv;
    float *inner; /* [n][4d] */
} scratch_view;

static scratch_view cut_scratch(mltfr_carver *carver, int64_t n, int64_t d)
{
    scratch_view s;

    s.branch = mltfr_carve(carver, n * d);
    s.mix = mltfr_carve(carver, n * d);
    s.qkv.q = mltfr_carve(carver, n * d);
    s.qkv.k = mltfr_carve(carver, n * d);
    s.qkv.v = mltfr_carve(carver, n * d);
    s.inner = mltfr_carve(carver, n * 4 * d);
    return s;
}

/* A layer norm and its gradients: gain and bias of both. */
typedef struct {
    float *w, *b, *dw, *db;
} norm_pair;

static void norm_backward(const mltfr_backbone_pass *pass, norm_pair p, const mltfr_norm_kept *kept,
                          const float *dy, bool add, float *dx)
{
    const mltfr_norm ln = {pass->shape->d, pass->shape->ln_eps, p.w, p.b};
    const mltfr_norm grad = {pass->shape->d, pass->shape->ln_eps, p.dw, p.db};

    mltfr_norm_backward(pass->n, &ln, &grad, kept->hat, kept->rstd, dy, add, dx);
}

/* branch: gradient of the FFN's output; dx becomes beta dx + that of its input. */
static void ffn_backward(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                         const struct mltfr_layer_weights *dw, const mltfr_layer_kept *kept,
                         const scratch_view *s, float beta, float *dx)
{
    const int64_t n = pass->n, d = pass->shape->d;

    mltfr_linear_backward(n, &(mltfr_linear){4 * d, d, w->w2, w->b2},
                          &(mltfr_linear){4 * d, d, dw->w2, dw->b2}, kept->inner, s->branch, 0.f,
                          s->inner);
    mltfr_gelu_backward(n * 4 * d, kept->inner_slope, s->inner);
    mltfr_linear_backward(n, &(mltfr_linear){d, 4 * d, w->w1, w->b1},
                          &(mltfr_linear){d, 4 * d, dw->w1, dw->b1}, kept->in_ffn, s->inner, beta,
                          dx);
}

static void users_backward(const mltfr_backbone_pass *pass, const mltfr_layer_kept *kept,
                           const scratch_view *s)
{
    const int64_t d = pass->shape->d, stats = mltfr_attention_stats(pass->shape->heads);

    for (int64_t u = 0; u < pass->block->users; u++) {
        const int64_t row = pass->block->off[u], at = row * d;
        const mltfr_attention att = mltfr_backbone_attention(pass, kept, u);
        const mltfr_attention_grad grad = {s->qkv.q + at, s->qkv.k + at, s->qkv.v + at};

        mltfr_attention_backward(&att, kept->stats + row * stats, kept->mix + at, s->mix + at,
                                 pass->attention, &grad);
    }
}

/* branch: gradient of the attention's output; dx becomes beta dx + that of its input. */
static void attention_backward(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                               const struct mltfr_layer_weights *dw, const mltfr_layer_kept *kept,
                               const scratch_view *s, float beta, float *dx)
{
    const int64_t n = pass->n, d = pass->shape->d;

    mltfr_linear_backward(n, &(mltfr_linear){d, d, w->wo, w->bo},
                          &(mltfr_linear){d, d, dw->wo, dw->bo}, kept->mix, s->branch, 0.f, s->mix);
    users_backward(pass, kept, s);
    mltfr_linear_backward(n, &(mltfr_linear){d, d, w->wq, w->bq},
                          &(mltfr_linear){d, d, dw->wq, dw->bq}, kept->in_att, s->qkv.q, beta, dx);
    mltfr_linear_backward(n, &(mltfr_linear){d, d, w->wk, w->bk},
                          &(mltfr_linear){d, d, dw->wk, dw->bk}, kept->in_att, s->qkv.k, 1.f, dx);
    mltfr_linear_backward(n, &(mltfr_linear){d, d, w->wv, w->bv},
                          &(mltfr_linear){d, d, dw->wv, dw->bv}, kept->in_att, s->qkv.v, 1.f, dx);
}

static void layer_post(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                       const struct mltfr_layer_weights *dw, int b, const scratch_view *s,
                       float *dy)
{
    const mltfr_layer_kept *kept = &pass->kept.layer[b];

    norm_backward(pass, (norm_pair){w->ln2_w, w->ln2_b, dw->ln2_w, dw->ln2_b}, &kept->ln2, dy,
                  false, dy);
    mltfr_backbone_drop(pass, 2 + 2 * b, dy, NULL, s->branch);
    ffn_backward(pass, w, dw, kept, s, 1.f, dy);
    norm_backward(pass, (norm_pair){w->ln1_w, w->ln1_b, dw->ln1_w, dw->ln1_b}, &kept->ln1, dy,
                  false, dy);
    mltfr_backbone_drop(pass, 1 + 2 * b, dy, NULL, s->branch);
    attention_backward(pass, w, dw, kept, s, 1.f, dy);
}

static void layer_pre(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                      const struct mltfr_layer_weights *dw, int b, const scratch_view *s, float *dy)
{
    const mltfr_layer_kept *kept = &pass->kept.layer[b];

    mltfr_backbone_drop(pass, 2 + 2 * b, dy, NULL, s->branch);
    ffn_backward(pass, w, dw, kept, s, 0.f, s->mix);
    norm_backward(pass, (norm_pair){w->ln2_w, w->ln2_b, dw->ln2_w, dw->ln2_b}, &kept->ln2, s->mix,
                  true, dy);
    mltfr_backbone_drop(pass, 1 + 2 * b, dy, NULL, s->branch);
    attention_backward(pass, w, dw, kept, s, 0.f, s->branch);
    norm_backward(pass, (norm_pair){w->ln1_w, w->ln1_b, dw->ln1_w, dw->ln1_b}, &kept->ln1,
                  s->branch, true, dy);
}

/* Position rows take the sums over users, in their order. */
static void positions_backward(const mltfr_backbone_pass *pass, const float *dx, float *dpos)
{
    const int64_t d = pass->shape->d;
    const int32_t *off = pass->block->off;

    for (int64_t u = 0; u < pass->block->users; u++) {
        const int64_t count = (off[u + 1] - off[u]) * d;
        float *last = dpos + pass->shape->max_len * d - count;

        for (int64_t i = 0; i < count; i++)
            last[i] += dx[off[u] * d + i];
    }
}

void mltfr_backbone_backward(const mltfr_backbone_shape *shape, const mltfr_backbone_weights *w,
                             const mltfr_user_block *block, const float *kept, float *scratch,
                             float *dh, const mltfr_backbone_weights *dw, float *dx)
{
    mltfr_backbone_pass pass;
    mltfr_carver carver = mltfr_backbone_start(&pass, shape, block, kept, scratch);
    const scratch_view s = cut_scratch(&carver, pass.n, shape->d);

    if (shape->pre_norm)
        norm_backward(&pass,
                      (norm_pair){w->final_ln_w, w->final_ln_b, dw->final_ln_w, dw->final_ln_b},
                      &pass.kept.final_ln, dh, false, dh);
    for (int b = (int)shape->layers - 1; b >= 0; b--)
        (shape->pre_norm ? layer_pre : layer_post)(&pass, &w->layer[b], &dw->layer[b], b, &s, dh);
    mltfr_backbone_drop(&pass, 0, dh, NULL, dh);
    norm_backward(&pass, (norm_pair){w->emb_ln_w, w->emb_ln_b, dw->emb_ln_w, dw->emb_ln_b},
                  &pass.kept.emb_ln, dh, false, dx);
    positions_backward(&pass, dx, dw->pos);
}
