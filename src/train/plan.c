#include "plan.h"

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

void mltfr_plan_destroy(mltfr_plan *plan)
{
    mltfr_batch_destroy(&plan->batch);
}

/* ---- the share of a rank ------------------------------------------------------------------- */

static int64_t block_rows(const mltfr_batch *b, int64_t i)
{
    return b->off[b->block_user[i + 1]] - b->off[b->block_user[i]];
}

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

/* Routed rows as if all experts had the same load. */
static void share_experts(const mltfr_plan *plan, mltfr_plan_share *x)
{
    mltfr_engine *e = &x->outline;
    const double kept = 1. - plan->set->router_dropout;

    for (int64_t k = 0; k < e->K + e->spec.consensus; k++) {
        const int64_t blocks = plan->batch->blocks;
        const int64_t own =
            mltfr_space_first(e, k, blocks, e->rank + 1) - mltfr_space_first(e, k, blocks, e->rank);

        mltfr_space_place(e, k, plan->space_rows[k], &x->space[k]);
        x->holds[k] = e->rank >= x->space[k].first_rank && e->rank <= x->space[k].last_rank;
        if (k < e->K)
            x->received +=
                (double)(plan->batch->rows * e->k_r * own) * kept / (double)(blocks * e->K);
    }
    x->sent = e->K > 0 ? x->rows * (double)e->k_r * kept : 0.;
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

mltfr_status mltfr_plan_share_of(const mltfr_plan *plan, int size, int rank, mltfr_plan_share *x)
{
    memset(x, 0, sizeof *x);
    mltfr_engine_outline(&x->outline, plan->set, &plan->spec, rank, size);
    x->outline.space = x->space;
    x->outline.run.batch = plan->batch;
    share_users(plan, x);
    share_experts(plan, x);
    count_spans(x);
    return count_distinct(plan, x);
}
