/* The backbones by name, and what they have in common.  The rows of a user block are packed: every
 * product and norm runs over all of them at once. */
#include "backbone_impl.h"

#include <mltfr/rng.h>

#include <stddef.h>

enum { LINE = 16, SITES = 64 };

/* ---- dispatch ------------------------------------------------------------------------------ */

static const mltfr_backbone_kind *const kinds[] = {[MLTFR_MODEL_BACKBONE_SASREC] = &mltfr_sasrec,
                                                   [MLTFR_MODEL_BACKBONE_BSAREC] = &mltfr_bsarec,
                                                   [MLTFR_MODEL_BACKBONE_GRU4REC] = &mltfr_gru4rec};

int64_t mltfr_backbone_kept(const mltfr_backbone_shape *shape, int64_t n)
{
    return kinds[shape->kind]->kept(shape, n);
}

int64_t mltfr_backbone_scratch(const mltfr_backbone_shape *shape, int64_t n)
{
    return kinds[shape->kind]->scratch(shape, n);
}

static mltfr_backbone_pass start(const mltfr_backbone_shape *shape, const mltfr_user_block *block)
{
    return (mltfr_backbone_pass){shape, block, block->users > 0 ? block->off[block->users] : 0};
}

void mltfr_backbone_forward(const mltfr_backbone_shape *shape, const mltfr_backbone_weights *w,
                            const mltfr_user_block *block, const float *x, float *kept,
                            float *scratch, float *h)
{
    const mltfr_backbone_pass pass = start(shape, block);

    kinds[shape->kind]->forward(&pass, w, x, kept, scratch, h);
}

void mltfr_backbone_backward(const mltfr_backbone_shape *shape, const mltfr_backbone_weights *w,
                             const mltfr_user_block *block, const float *kept, float *scratch,
                             float *dh, const mltfr_backbone_weights *dw, float *dx)
{
    const mltfr_backbone_pass pass = start(shape, block);

    kinds[shape->kind]->backward(&pass, w, kept, scratch, dh, dw, dx);
}

/* ---- memory -------------------------------------------------------------------------------- */

float *mltfr_carve(mltfr_carver *carver, int64_t floats)
{
    float *part = carver->base ? carver->base + carver->used : NULL;

    carver->used += (floats + LINE - 1) / LINE * LINE;
    return part;
}

mltfr_norm_kept mltfr_carve_norm(mltfr_carver *carver, int64_t n, int64_t d)
{
    float *hat = mltfr_carve(carver, n * d);

    return (mltfr_norm_kept){hat, mltfr_carve(carver, n)};
}

/* ---- parts --------------------------------------------------------------------------------- */

void mltfr_backbone_norm(const mltfr_backbone_pass *pass, float *w, float *b,
                         const mltfr_norm_kept *kept, const float *x, float *y)
{
    const mltfr_norm ln = {pass->shape->d, pass->shape->ln_eps, w, b};

    mltfr_norm_forward(pass->n, &ln, x, kept->hat, kept->rstd, y);
}

void mltfr_backbone_norm_back(const mltfr_backbone_pass *pass, mltfr_norm_pair p,
                              const mltfr_norm_kept *kept, const float *dy, bool add, float *dx)
{
    const mltfr_norm ln = {pass->shape->d, pass->shape->ln_eps, p.w, p.b};
    const mltfr_norm grad = {pass->shape->d, pass->shape->ln_eps, p.dw, p.db};

    mltfr_norm_backward(pass->n, &ln, &grad, kept->hat, kept->rstd, dy, add, dx);
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

static void add_positions(const mltfr_backbone_pass *pass, const float *positions, const float *x,
                          float *out)
{
    const int64_t d = pass->shape->d;
    const int32_t *off = pass->block->off;

    for (int64_t u = 0; u < pass->block->users; u++) {
        const int64_t at = off[u] * d, count = (off[u + 1] - off[u]) * d;
        const float *pos = positions + pass->shape->max_len * d - count;

        for (int64_t i = 0; i < count; i++)
            out[at + i] = x[at + i] + pos[i];
    }
}

/* Position rows take the sums over users, in their order. */
static void positions_back(const mltfr_backbone_pass *pass, const float *dx, float *dpos)
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

void mltfr_backbone_embed(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                          const mltfr_norm_kept *kept, const float *x, float *out)
{
    if (w->pos != NULL)
        add_positions(pass, w->pos, x, out);
    mltfr_backbone_norm(pass, w->emb_ln_w, w->emb_ln_b, kept, w->pos != NULL ? out : x, out);
    mltfr_backbone_drop(pass, MLTFR_SITE_EMBEDDING, out, NULL, out);
}

void mltfr_backbone_embed_back(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                               const mltfr_norm_kept *kept, float *dh,
                               const mltfr_backbone_weights *dw, float *dx)
{
    mltfr_backbone_drop(pass, MLTFR_SITE_EMBEDDING, dh, NULL, dh);
    mltfr_backbone_norm_back(
        pass, (mltfr_norm_pair){w->emb_ln_w, w->emb_ln_b, dw->emb_ln_w, dw->emb_ln_b}, kept, dh,
        false, dx);
    if (dw->pos != NULL)
        positions_back(pass, dx, dw->pos);
}
