#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

mltfr_status mltfr_plan_create(const mltfr_session *s, mltfr_plan *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_batch *batch = NULL;

    *out = (mltfr_plan){.set = s->set,
                        .spec = mltfr_session_spec(s),
                        .data = s->data,
                        .steps = mltfr_session_steps(s)};
    for (int64_t i = 0; i < s->count; i++)
        out->epoch_rows += s->examples[i].n;
    for (int64_t k = 0; s->spaces != NULL && k <= out->spec.K; k++)
        out->space_rows[k] = s->spaces->rows[k];
    for (int64_t i = 0; i < out->steps && i < PLAN_BATCHES; i++) {
        MLTFR_TRY(mltfr_session_batch(s, 1, i, &batch));
        if (out->batch == NULL || batch->rows > out->batch->rows) {
            mltfr_batch_destroy(&out->batch);
            out->batch = batch;
            batch = NULL;
        }
        mltfr_batch_destroy(&batch);
    }
done:
    if (st != MLTFR_OK)
        mltfr_plan_destroy(out);
    return st;
}

static void displace(mltfr_plan *plan)
{
    for (int64_t k = 0; k <= plan->outline.K; k++)
        MLTFR_FREE(plan->space[k].first);
    MLTFR_FREE(plan->routed_first);
    MLTFR_FREE(plan->routed);
}

void mltfr_plan_destroy(mltfr_plan *plan)
{
    displace(plan);
    mltfr_batch_destroy(&plan->batch);
}

/* ---- placement ----------------------------------------------------------------------------- */

static int64_t block_rows(const mltfr_batch *b, int64_t i)
{
    return b->off[b->block_user[i + 1]] - b->off[b->block_user[i]];
}

static mltfr_status place_routed(mltfr_plan *plan)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_batch *b = plan->batch;
    const mltfr_engine *e = &plan->outline;
    const double share = (double)e->k_r / (double)e->K * (1. - plan->set->router_dropout);
    double load[e->size], most = 0., all = 0.;

    MLTFR_TRY(MLTFR_NEW(plan->routed, b->blocks * e->K));
    MLTFR_TRY(MLTFR_NEW(plan->routed_first, e->K * (e->size + 1)));
    for (int64_t i = 0; i < b->blocks * e->K; i++)
        plan->routed[i] = (int32_t)lround((double)block_rows(b, i / e->K) * share);
    mltfr_hold_routed(e, b->blocks, plan->routed, plan->routed_first, load);
    for (int p = 0; p < e->size; p++) {
        most = fmax(most, load[p]);
        all += load[p];
    }
    plan->fullest_experts = most * e->size / all;
done:
    return st;
}

mltfr_status mltfr_plan_place(mltfr_plan *plan, int size)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = &plan->outline;

    displace(plan);
    mltfr_engine_outline(e, plan->set, &plan->spec, 0, size);
    e->space = plan->space;
    if (e->K == 0)
        goto done;
    MLTFR_TRY(mltfr_hold_spaces(e, plan->space_rows));
    MLTFR_TRY(place_routed(plan));
done:
    return st;
}

/* ---- the share of a rank ------------------------------------------------------------------- */

static void share_users(const mltfr_plan *plan, mltfr_plan_share *x)
{
    const mltfr_batch *b = plan->batch;
    const int size = x->outline.size, rank = x->outline.rank;
    const int64_t first = mltfr_share_first(b->blocks, size, rank);
    const int64_t last = mltfr_share_first(b->blocks, size, rank + 1);

    x->blocks = last - first;
    x->rows = b->off[b->block_user[last]] - b->off[b->block_user[first]];
    for (int64_t u = b->block_user[first]; u < b->block_user[last]; u++) {
        const double n = b->off[u + 1] - b->off[u];
        x->pairs += n * (n + 1.) / 2.;
    }
    for (int64_t i = 0; i < b->blocks; i++)
        x->block_rows = block_rows(b, i) > x->block_rows ? block_rows(b, i) : x->block_rows;
}

/* Distinct inputs and targets of the own rows. */
static mltfr_status count_distinct(const mltfr_plan *plan, mltfr_plan_share *x)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_batch *b = plan->batch;
    const int64_t n = (int64_t)x->rows;
    const int64_t at =
        b->off[b->block_user[mltfr_share_first(b->blocks, x->outline.size, x->outline.rank)]];
    int32_t *ids = NULL;

    MLTFR_TRY(MLTFR_NEW(ids, 2 * n));
    memcpy(ids, b->items + at, (size_t)n * sizeof *ids);
    memcpy(ids + n, b->targets + at, (size_t)n * sizeof *ids);
    x->distinct = (double)mltfr_sort_distinct(ids, 2 * n);
done:
    MLTFR_FREE(ids);
    return st;
}

static void share_experts(const mltfr_plan *plan, mltfr_plan_share *x)
{
    const mltfr_engine *e = &x->outline;

    for (int64_t k = 0; k < mltfr_space_count(e); k++) {
        x->space[k] = plan->space[k];
        mltfr_hold_rows(e, k);
        x->holds[k] = e->rank >= x->space[k].first_rank && e->rank <= x->space[k].last_rank;
    }
    for (int64_t k = 0; k < e->K; k++) {
        const int64_t *first = plan->routed_first + k * (e->size + 1);
        for (int64_t b = first[e->rank]; b < first[e->rank + 1]; b++)
            x->routed[k] += plan->routed[b * e->K + k];
        for (int p = 0; p < e->size; p++)
            x->helpers[k] += p != x->space[k].owner && first[p] < first[p + 1];
        x->parts[k] = e->rank == x->space[k].owner;
        for (int p = 0; p < e->size; p++)
            if (p == e->rank || (e->rank == x->space[k].owner && x->helpers[k] > 0.))
                x->parts[k] += mltfr_tree_cover(plan->batch->blocks, first[p], first[p + 1], NULL);
        x->received += x->routed[k];
    }
    if (e->K > 0)
        x->parts[e->K] =
            1. + mltfr_tree_cover(
                     plan->batch->blocks, mltfr_share_first(plan->batch->blocks, e->size, e->rank),
                     mltfr_share_first(plan->batch->blocks, e->size, e->rank + 1), NULL);
    x->sent = e->K > 0 ? x->rows * (double)e->k_r * (1. - plan->set->router_dropout) : 0.;
}

static void count_spans(mltfr_plan_share *x)
{
    const mltfr_engine *e = &x->outline;
    mltfr_span spans[MLTFR_TREE_SPANS];

    for (int p = 0; p < e->size; p++) {
        const int n =
            mltfr_tree_cover(e->item_blocks, mltfr_share_first(e->item_blocks, e->size, p),
                             mltfr_share_first(e->item_blocks, e->size, p + 1), spans);
        x->all_spans += n;
        if (p == e->rank)
            x->spans = n;
    }
}

mltfr_status mltfr_plan_share_of(const mltfr_plan *plan, int rank, mltfr_plan_share *x)
{
    memset(x, 0, sizeof *x);
    mltfr_engine_outline(&x->outline, plan->set, &plan->spec, rank, plan->outline.size);
    x->outline.space = x->space;
    x->outline.run.batch = plan->batch;
    share_users(plan, x);
    share_experts(plan, x);
    count_spans(x);
    return count_distinct(plan, x);
}
