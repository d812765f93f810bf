/* GRU4Rec (Hidasi et al. 2016): layers of gated recurrent units, with dropout behind each, and a
 * linear layer.  No positions.  The product with the inputs runs over all rows of a user block at
 * once, the recurrent one step by step over the users who have a row there; rows stay packed. */
#include "backbone_impl.h"

#include <mltfr/gru.h>

#include <stddef.h>
#include <string.h>

typedef struct {
    float *in;    /* [n][d] */
    float *gates; /* [n][3d]: r, z, n */
    float *hn;    /* [n][d]: of mltfr/gru.h */
    float *out;   /* [n][d]: the states, before dropout */
} layer_kept;

typedef struct {
    mltfr_norm_kept emb_ln;
    layer_kept layer[MLTFR_MAX_LAYERS];
    float *last; /* [n][d]: input of the linear layer */
} kept_view;

/* The rows of one step, one a user; at most n of them. */
typedef struct {
    float *before;    /* [n][d]: the states before the step */
    float *recurrent; /* [n][3d]: their product, or its gradient */
    float *carry;     /* [n][d]: gradient of `before` */
    float *dgates;    /* [n][3d]: of all rows of the block */
} scratch_view;

/* ---- memory -------------------------------------------------------------------------------- */

static int64_t cut_kept(const mltfr_backbone_shape *shape, int64_t n, float *kept, kept_view *k)
{
    mltfr_carver carver = {kept, 0};
    const int64_t d = shape->d;

    k->emb_ln = mltfr_carve_norm(&carver, n, d);
    for (int64_t b = 0; b < shape->layers; b++) {
        k->layer[b].in = mltfr_carve(&carver, n * d);
        k->layer[b].gates = mltfr_carve(&carver, n * 3 * d);
        k->layer[b].hn = mltfr_carve(&carver, n * d);
        k->layer[b].out = mltfr_carve(&carver, n * d);
    }
    k->last = mltfr_carve(&carver, n * d);
    return carver.used;
}

static int64_t cut_scratch(const mltfr_backbone_shape *shape, int64_t n, float *scratch,
                           scratch_view *s)
{
    mltfr_carver carver = {scratch, 0};

    s->before = mltfr_carve(&carver, n * shape->d);
    s->recurrent = mltfr_carve(&carver, n * 3 * shape->d);
    s->carry = mltfr_carve(&carver, n * shape->d);
    s->dgates = mltfr_carve(&carver, n * 3 * shape->d);
    return carver.used;
}

static int64_t kept_floats(const mltfr_backbone_shape *shape, int64_t n)
{
    kept_view k;

    return cut_kept(shape, n, NULL, &k);
}

static int64_t scratch_floats(const mltfr_backbone_shape *shape, int64_t n)
{
    scratch_view s;

    return cut_scratch(shape, n, NULL, &s);
}

/* ---- steps --------------------------------------------------------------------------------- */

static int64_t longest(const mltfr_user_block *block)
{
    int64_t most = 0;

    for (int64_t u = 0; u < block->users; u++)
        if (block->off[u + 1] - block->off[u] > most)
            most = block->off[u + 1] - block->off[u];
    return most;
}

/* The first user from u on who has a row of step t. */
static int64_t user_of_step(const mltfr_user_block *block, int64_t t, int64_t u)
{
    while (u < block->users && block->off[u + 1] - block->off[u] <= t)
        u++;
    return u;
}

/* The states before step t, side by side; returns how many. */
static int64_t gather(const mltfr_backbone_pass *pass, int64_t t, const layer_kept *kept,
                      float *before)
{
    const mltfr_user_block *block = pass->block;
    const int64_t d = pass->shape->d;
    int64_t m = 0;

    for (int64_t u = user_of_step(block, t, 0); u < block->users; m++) {
        if (t > 0)
            memcpy(before + m * d, kept->out + (block->off[u] + t - 1) * d,
                   (size_t)d * sizeof *before);
        u = user_of_step(block, t, u + 1);
    }
    return m;
}

static mltfr_gru_step step_of(const mltfr_backbone_pass *pass, const layer_kept *kept, int64_t row,
                              int64_t t)
{
    const int64_t d = pass->shape->d;

    return (mltfr_gru_step){d, kept->gates + row * 3 * d, kept->hn + row * d,
                            t > 0 ? kept->out + (row - 1) * d : NULL};
}

/* W_hh and b_hh in front of step t: before the first one the state is zero, and W_hh has no part.
 */
static mltfr_linear recurrent_of(const mltfr_backbone_pass *pass,
                                 const struct mltfr_layer_weights *w, int64_t t)
{
    const int64_t d = pass->shape->d;

    return (mltfr_linear){t > 0 ? d : 0, 3 * d, w->w_hh, w->b_hh};
}

/* ---- forward ------------------------------------------------------------------------------- */

static void layer(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                  const layer_kept *kept, const scratch_view *s)
{
    const mltfr_user_block *block = pass->block;
    const int64_t d = pass->shape->d, steps = longest(block);

    mltfr_linear_forward(pass->n, &(mltfr_linear){d, 3 * d, w->w_ih, w->b_ih}, kept->in,
                         kept->gates);
    for (int64_t t = 0; t < steps; t++) {
        const mltfr_linear recurrent = recurrent_of(pass, w, t);
        const float *g = s->recurrent;

        mltfr_linear_forward(gather(pass, t, kept, s->before), &recurrent, s->before, s->recurrent);
        for (int64_t u = user_of_step(block, t, 0); u < block->users; g += 3 * d) {
            const int64_t row = block->off[u] + t;
            const mltfr_gru_step step = step_of(pass, kept, row, t);

            mltfr_gru_forward(&step, g, kept->out + row * d);
            u = user_of_step(block, t, u + 1);
        }
    }
}

static void forward(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                    const float *x, float *kept, float *scratch, float *h)
{
    const int layers = (int)pass->shape->layers;
    const int64_t d = pass->shape->d;
    kept_view k;
    scratch_view s;

    cut_kept(pass->shape, pass->n, kept, &k);
    cut_scratch(pass->shape, pass->n, scratch, &s);
    mltfr_backbone_embed(pass, w, &k.emb_ln, x, layers > 0 ? k.layer[0].in : k.last);
    for (int b = 0; b < layers; b++) {
        layer(pass, &w->layer[b], &k.layer[b], &s);
        mltfr_backbone_drop(pass, MLTFR_SITE_OTHER(b), k.layer[b].out, NULL,
                            b + 1 < layers ? k.layer[b + 1].in : k.last);
    }
    mltfr_linear_forward(pass->n, &(mltfr_linear){d, d, w->dense_w, w->dense_b}, k.last, h);
}

/* ---- backward ------------------------------------------------------------------------------ */

/* Gates of the rows of step t; what flows to the states before goes to dh. */
static void step_back(const mltfr_backbone_pass *pass, const mltfr_linear linear[2],
                      const layer_kept *kept, const scratch_view *s, int64_t t, float *dh)
{
    const mltfr_user_block *block = pass->block;
    const int64_t d = pass->shape->d, m = gather(pass, t, kept, s->before);
    float *g = s->recurrent, *carry = s->carry;

    for (int64_t u = user_of_step(block, t, 0); u < block->users; g += 3 * d, carry += d) {
        const int64_t row = block->off[u] + t;
        const mltfr_gru_step step = step_of(pass, kept, row, t);

        mltfr_gru_backward(&step, dh + row * d, s->dgates + row * 3 * d, g, carry);
        u = user_of_step(block, t, u + 1);
    }
    mltfr_linear_backward(m, &linear[0], &linear[1], s->before, s->recurrent, 1.f, s->carry);
    carry = s->carry;
    for (int64_t u = user_of_step(block, t, 0); t > 0 && u < block->users; carry += d) {
        float *to = dh + (block->off[u] + t - 1) * d;

        for (int64_t j = 0; j < d; j++)
            to[j] += carry[j];
        u = user_of_step(block, t, u + 1);
    }
}

/* dh: gradient of the states, becomes that of the layer's input. */
static void layer_back(const mltfr_backbone_pass *pass, const struct mltfr_layer_weights *w,
                       const struct mltfr_layer_weights *dw, const layer_kept *kept,
                       const scratch_view *s, float *dh)
{
    const int64_t d = pass->shape->d;

    for (int64_t t = longest(pass->block) - 1; t >= 0; t--) {
        const mltfr_linear linear[2] = {recurrent_of(pass, w, t), recurrent_of(pass, dw, t)};

        step_back(pass, linear, kept, s, t, dh);
    }
    mltfr_linear_backward(pass->n, &(mltfr_linear){d, 3 * d, w->w_ih, w->b_ih},
                          &(mltfr_linear){d, 3 * d, dw->w_ih, dw->b_ih}, kept->in, s->dgates, 0.f,
                          dh);
}

static void backward(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                     const float *kept, float *scratch, float *dh, const mltfr_backbone_weights *dw,
                     float *dx)
{
    const int64_t d = pass->shape->d;
    kept_view k;
    scratch_view s;

    cut_kept(pass->shape, pass->n, (float *)kept, &k);
    cut_scratch(pass->shape, pass->n, scratch, &s);
    mltfr_linear_backward(pass->n, &(mltfr_linear){d, d, w->dense_w, w->dense_b},
                          &(mltfr_linear){d, d, dw->dense_w, dw->dense_b}, k.last, dh, 0.f, dx);
    for (int b = (int)pass->shape->layers - 1; b >= 0; b--) {
        mltfr_backbone_drop(pass, MLTFR_SITE_OTHER(b), dx, NULL, dx);
        layer_back(pass, &w->layer[b], &dw->layer[b], &k.layer[b], &s, dx);
    }
    memcpy(dh, dx, (size_t)(pass->n * d) * sizeof *dh);
    mltfr_backbone_embed_back(pass, w, &k.emb_ln, dh, dw, dx);
}

const mltfr_backbone_kind mltfr_gru4rec = {kept_floats, scratch_floats, forward, backward};
