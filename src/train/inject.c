/* Item-side injection (method, section 6), by item block on the item ranges.
 *
 * static    E' = E + X_I W_I; X_I are the items' own token mixtures, renewed with the pools.
 * mixture   the same with X_I anew in each step and gradients through its weights.  As X_I W_I =
 *           sum a_j (Z_j W_I), it is a filter whose values are Vt_I = Z_pool W_I, and E13 gives its
 *           backward: dKt_c, dW_I from dVt_I, dtau_c, and dE by the query where it is attached. */
#include "engine.h"

#include <mltfr/linalg.h>

#include <string.h>

static bool is_mixture(const mltfr_engine *e)
{
    return e->J_I != NULL;
}

static float *dense(const mltfr_engine *e, float *slab, const char *name)
{
    return slab + mltfr_params_offset(e->params, name);
}

/* ---- forward ------------------------------------------------------------------------------- */

typedef struct {
    float *q, *scratch, *y, *s, *a; /* of one item block */
    int32_t *J;
    int64_t *uses; /* backward only */
} block_rooms;

static mltfr_status make_rooms(mltfr_engine *e, const mltfr_filter *f, block_rooms *r)
{
    mltfr_status st = MLTFR_OK;
    mltfr_room *rooms = e->item_rooms;
    const int64_t n = e->item_block, d = f->d, m = f->m;

    MLTFR_TRY(MLTFR_TAKE(&rooms[0], r->q, n * d));
    MLTFR_TRY(MLTFR_TAKE(&rooms[1], r->y, n * d));
    MLTFR_TRY(MLTFR_TAKE(&rooms[2], r->s, n * m));
    MLTFR_TRY(MLTFR_TAKE(&rooms[3], r->a, n * m));
    MLTFR_TRY(MLTFR_TAKE(&rooms[4], r->J, n * m));
    MLTFR_TRY(MLTFR_TAKE(&rooms[5], r->scratch, mltfr_filter_scratch(f)));
done:
    return st;
}

/* The filter of the items: the consensus's keys, without dropout. */
static mltfr_filter item_filter(const mltfr_engine *e)
{
    mltfr_filter f = mltfr_expert_filter(e, e->K, false);

    if (is_mixture(e))
        f.Vt = e->Vt_I;
    return f;
}

static void filter_block(const mltfr_engine *e, const mltfr_filter *f, int64_t at, int64_t n,
                         block_rooms *r)
{
    mltfr_rmsnorm_forward(n, f->d, e->rms_eps, e->params->item.w + at * f->d, r->q);
    mltfr_filter_forward(f, n, r->q, NULL, r->scratch, r->J, r->s, r->a, r->y);
}

mltfr_status mltfr_inject_refresh(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;
    block_rooms r = {0};

    if (!e->spec.inject)
        return MLTFR_OK;
    if (is_mixture(e)) /* its choices are of the old pool */
        return mltfr_inject_apply(e);
    const mltfr_token_space *s = &e->space[e->K];
    const mltfr_filter f = item_filter(e);

    MLTFR_AGREE(e->comm, make_rooms(e, &f, &r));
    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t at = mltfr_item_block_at(e, j), n = mltfr_item_block_rows(e, j);
        filter_block(e, &f, at, n, &r);
        mltfr_filter_mix(n, e->m, r.J, r.a, s->Z_pool, s->width, e->r_c, e->X_I + at * e->r_c);
    }
    MLTFR_TRY(mltfr_inject_apply(e));
done:
    return st;
}

static void apply_static(mltfr_engine *e)
{
    const int64_t d = e->spec.backbone.d;
    const float *W = dense(e, e->params->dense.w, "inject.w");

    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t at = mltfr_item_block_at(e, j);
        mltfr_gemm_nn(mltfr_item_block_rows(e, j), d, e->r_c, e->X_I + at * e->r_c, e->r_c, W, d,
                      1.f, e->E + at * d, d);
    }
}

static mltfr_status apply_mixture(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_token_space *s = &e->space[e->K];
    const mltfr_filter f = item_filter(e);
    const int64_t d = f.d, m = f.m;
    block_rooms r = {0};

    mltfr_gemm_nn(s->M, d, s->width, s->Z_pool, s->width, dense(e, e->params->dense.w, "inject.w"),
                  d, 0.f, e->Vt_I, d);
    MLTFR_TRY(make_rooms(e, &f, &r));
    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t at = mltfr_item_block_at(e, j), n = mltfr_item_block_rows(e, j);
        filter_block(e, &f, at, n, &r);
        memcpy(e->J_I + at * m, r.J, (size_t)(n * m) * sizeof *r.J);
        memcpy(e->s_I + at * m, r.s, (size_t)(n * m) * sizeof *r.s);
        memcpy(e->a_I + at * m, r.a, (size_t)(n * m) * sizeof *r.a);
        for (int64_t i = 0; i < n * d; i++)
            e->E[at * d + i] += r.y[i];
    }
done:
    return st;
}

mltfr_status mltfr_inject_apply(mltfr_engine *e)
{
    if (!e->spec.inject)
        return MLTFR_OK;
    memcpy(e->E, e->params->item.w, (size_t)e->params->item.n * sizeof *e->E);
    if (is_mixture(e))
        return mltfr_comm_agree(e->comm, mltfr_experts_on(e) ? apply_mixture(e) : MLTFR_OK);
    apply_static(e);
    return MLTFR_OK;
}

/* ---- backward ------------------------------------------------------------------------------ */

static mltfr_status backward_static(mltfr_engine *e, mltfr_treesum *sum)
{
    const int64_t d = e->spec.backbone.d;

    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t at = mltfr_item_block_at(e, j);
        mltfr_gemm_tn(e->r_c, d, mltfr_item_block_rows(e, j), e->X_I + at * e->r_c, e->r_c,
                      e->dE + at * d, d, 0.f, mltfr_treesum_next(sum), d);
        mltfr_treesum_push(sum);
    }
    return mltfr_reduce_all(e->comm, e->item_blocks, e->r_c * d, mltfr_treesum_parts(sum, NULL),
                            dense(e, e->params->dense.g, "inject.w"));
}

/* A leaf is [dKt | dVt_I | dlogtau] of one item block. */
static mltfr_status mixture_blocks(mltfr_engine *e, mltfr_treesum *sum)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_filter f = item_filter(e);
    const int64_t d = f.d, m = f.m;
    block_rooms r = {0};

    MLTFR_TRY(make_rooms(e, &f, &r));
    MLTFR_TRY(
        MLTFR_TAKE(&e->item_rooms[7], r.uses, mltfr_filter_backward_scratch(&f, 1, e->item_block)));
    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t at = mltfr_item_block_at(e, j), n = mltfr_item_block_rows(e, j);
        float *leaf = mltfr_treesum_next(sum), *dE = e->dE + at * d;
        const float *E = e->params->item.w + at * d;
        float *dq = e->set->filter_detach_query ? NULL : r.y;
        const int64_t first = 0;
        const mltfr_filter_rows rows = {.blocks = 1,
                                        .at = &first,
                                        .count = &n,
                                        .q = r.q,
                                        .dy = dE,
                                        .J = e->J_I + at * m,
                                        .s = e->s_I + at * m,
                                        .a = e->a_I + at * m};

        mltfr_rmsnorm_forward(n, d, e->rms_eps, E, r.q);
        mltfr_filter_backward(&f, &rows, r.uses, dq);
        mltfr_filter_sum(&f, &rows, r.uses, (mltfr_span){0, 1}, true, leaf);
        if (dq != NULL)
            mltfr_rmsnorm_backward(n, d, e->rms_eps, E, dq, dE);
        mltfr_treesum_push(sum);
    }
done:
    return st;
}

static mltfr_status backward_mixture(mltfr_engine *e, int64_t width, mltfr_treesum *sum)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_token_space *s = &e->space[e->K];
    const int64_t d = e->spec.backbone.d, Md = s->M * d;
    float *g = e->params->dense.g, *total = NULL;

    st = MLTFR_TAKE(&e->item_rooms[6], total, width);
    if (st == MLTFR_OK)
        st = mixture_blocks(e, sum);
    MLTFR_AGREE(e->comm, st);
    MLTFR_TRY(
        mltfr_reduce_all(e->comm, e->item_blocks, width, mltfr_treesum_parts(sum, NULL), total));
    mltfr_gemm_tn(d, s->width, s->M, total, d, s->Zh_pool, s->width, 1.f,
                  dense(e, g, "consensus.wq"), s->width);
    mltfr_gemm_tn(s->width, d, s->M, s->Z_pool, s->width, total + Md, d, 0.f,
                  dense(e, g, "inject.w"), d);
    *dense(e, g, "consensus.log_tau") += total[2 * Md];
done:
    return st;
}

mltfr_status mltfr_inject_backward(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;
    mltfr_treesum **sum = &e->run.sum;

    if (!e->spec.inject || !mltfr_experts_on(e))
        return MLTFR_OK;
    const int64_t d = e->spec.backbone.d;
    const int64_t width = is_mixture(e) ? 2 * e->space[e->K].M * d + 1 : e->r_c * d;

    MLTFR_AGREE(e->comm,
                mltfr_treesum_take(e->item_blocks, e->first_block, e->last_block, width, sum));
    MLTFR_TRY(is_mixture(e) ? backward_mixture(e, width, *sum) : backward_static(e, *sum));
done:
    return st;
}
