/* Rows of E' travel from the item ranges to the user blocks that read them, and their gradients
 * travel back:
 *
 *      users  -- distinct ids, rising -->  owners           once a batch
 *      users  <--    rows of E'       --   owners
 *      users  -- (block, item) rows   -->  owners           added in block order
 */
#include "engine.h"

#include <mltfr/linalg.h>

#include <stdlib.h>
#include <string.h>

/* ---- E' ------------------------------------------------------------------------------------ */

static int64_t block_rows(const mltfr_engine *e, int64_t j)
{
    int64_t end = (j + 1) * e->item_block < e->spec.items ? (j + 1) * e->item_block : e->spec.items;

    return end - j * e->item_block;
}

mltfr_status mltfr_items_refresh(mltfr_engine *e)
{
    const int64_t d = e->spec.backbone.d;

    if (!e->spec.inject)
        return MLTFR_OK;
    const float *W = e->params->dense.w + mltfr_params_offset(e->params, "inject.w");

    memcpy(e->E, e->params->item.w, (size_t)(e->item_rows * d) * sizeof(float));
    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t at = j * e->item_block - e->item_first;
        mltfr_gemm_nn(block_rows(e, j), d, e->r_c, e->X_I + at * e->r_c, e->r_c, W, d, 1.f,
                      e->E + at * d, d);
    }
    return MLTFR_OK;
}

mltfr_status mltfr_items_inject_backward(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d, width = e->r_c * d;
    mltfr_treesum *sum = NULL;

    if (!e->spec.inject || !mltfr_experts_on(e))
        return MLTFR_OK;
    float *dW = e->params->dense.g + mltfr_params_offset(e->params, "inject.w");

    MLTFR_AGREE(e->comm, mltfr_treesum_create(e->item_blocks, e->first_block, e->last_block, width,
                                              &sum));
    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t at = j * e->item_block - e->item_first;
        mltfr_gemm_tn(e->r_c, d, block_rows(e, j), e->X_I + at * e->r_c, e->r_c, e->dE + at * d, d,
                      0.f, mltfr_treesum_next(sum), d);
        mltfr_treesum_push(sum);
    }
    MLTFR_TRY(mltfr_reduce_all(e->comm, e->item_blocks, width, sum, dW));
done:
    mltfr_treesum_destroy(&sum);
    return st;
}

/* ---- fetch --------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

static int64_t sort_distinct(int32_t *ids, int64_t n)
{
    int64_t kept = 0;

    qsort(ids, (size_t)n, sizeof *ids, by_id);
    for (int64_t i = 0; i < n; i++)
        if (kept == 0 || ids[kept - 1] != ids[i])
            ids[kept++] = ids[i];
    return kept;
}

static int32_t find_slot(const mltfr_item_rows *x, int32_t id)
{
    int64_t lo = 0, hi = x->count;

    while (hi - lo > 1) {
        int64_t mid = (lo + hi) / 2;
        if (x->ids[mid] <= id)
            lo = mid;
        else
            hi = mid;
    }
    return (int32_t)lo;
}

static mltfr_status collect_ids(mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_item_rows *x = &run->item;
    const int32_t *items = run->batch->items + run->row0;
    const int32_t *targets = run->batch->targets + run->row0;

    MLTFR_TRY(RUN_TAKE(run, x->ids, 2 * run->rows));
    MLTFR_TRY(RUN_TAKE(run, x->slot, run->rows));
    MLTFR_TRY(RUN_TAKE(run, x->target_slot, run->rows));
    memcpy(x->ids, items, (size_t)run->rows * sizeof *items);
    if (run->keeps)
        memcpy(x->ids + run->rows, targets, (size_t)run->rows * sizeof *targets);
    x->count = sort_distinct(x->ids, run->keeps ? 2 * run->rows : run->rows);
    for (int64_t i = 0; i < run->rows; i++) {
        x->slot[i] = find_slot(x, items[i]);
        x->target_slot[i] = run->keeps ? find_slot(x, targets[i]) : 0;
    }
done:
    return st;
}

static int owner_of(const mltfr_engine *e, int32_t id)
{
    return mltfr_share_owner(e->item_blocks, e->size, (id - 1) / e->item_block);
}

mltfr_status mltfr_items_fetch(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_item_rows *x = &run->item;
    const int64_t d = e->spec.backbone.d, bytes = d * (int64_t)sizeof(float);
    int64_t counts[e->size];
    float *answer = NULL;

    memset(counts, 0, sizeof counts);
    MLTFR_AGREE(e->comm, collect_ids(run));
    for (int64_t i = 0; i < x->count; i++)
        counts[owner_of(e, x->ids[i])]++;
    mltfr_exchange_destroy(&x->plan);
    MLTFR_TRY(mltfr_exchange_create(e->comm, counts, &x->plan));
    const int64_t asked = mltfr_exchange_received(x->plan);

    st = RUN_TAKE(run, x->E, x->count * d);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, x->asked, asked);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, answer, asked * d);
    MLTFR_AGREE(e->comm, st);
    mltfr_exchange_forward(x->plan, sizeof(int32_t), x->ids, x->asked);
    for (int64_t i = 0; i < asked; i++)
        memcpy(answer + i * d, e->E + (x->asked[i] - 1 - e->item_first) * d, (size_t)bytes);
    mltfr_exchange_reverse(x->plan, bytes, answer, x->E);
done:
    return st;
}

/* ---- return -------------------------------------------------------------------------------- */

/* Gradient rows of the user blocks: one a (block, item), blocks in order, by owner. */
typedef struct {
    int64_t count;
    int32_t *id;  /* in order of (block, first appearance), then sorted by owner */
    float *row;   /* [count][d] */
} outbox;

/* Add the rows of one block to its (block, item) sums; `last` says in which block of the rank an
 * item was met last, and where its sum is. */
static void gather_block(const mltfr_run *run, int64_t from, int64_t to, int64_t d, const float *dx,
                         int64_t *met_in, int64_t *met_at, int64_t mark, outbox *box)
{
    for (int64_t i = from; i < to; i++) {
        const int32_t slot = run->item.slot[i];
        if (met_in[slot] != mark) {
            met_in[slot] = mark;
            met_at[slot] = box->count;
            box->id[box->count] = run->item.ids[slot];
            memset(box->row + box->count * d, 0, (size_t)d * sizeof(float));
            box->count++;
        }
        float *sum = box->row + met_at[slot] * d;
        for (int64_t c = 0; c < d; c++)
            sum[c] += dx[i * d + c];
    }
}

static mltfr_status fill_outbox(mltfr_engine *e, mltfr_run *run, const float *dx, outbox *box)
{
    mltfr_status st = MLTFR_OK;
    int64_t *met_in, *met_at;

    MLTFR_TRY(RUN_TAKE(run, met_in, run->item.count));
    MLTFR_TRY(RUN_TAKE(run, met_at, run->item.count));
    MLTFR_TRY(RUN_TAKE(run, box->id, run->rows));
    MLTFR_TRY(RUN_TAKE(run, box->row, run->rows * e->spec.backbone.d));
    for (int64_t i = 0; i < run->item.count; i++)
        met_in[i] = -1;
    for (int64_t b = run->first; b < run->last; b++) {
        const int32_t *off = run->batch->off;
        const int64_t from = off[run->batch->block_user[b]] - run->row0;
        const int64_t to = off[run->batch->block_user[b + 1]] - run->row0;
        gather_block(run, from, to, e->spec.backbone.d, dx, met_in, met_at, b, box);
    }
done:
    return st;
}

/* Stable order by owner: what goes to one owner stays in block order. */
static void sort_outbox(const mltfr_engine *e, const outbox *box, const int64_t counts[],
                        int32_t *id, float *row)
{
    const int64_t d = e->spec.backbone.d;
    int64_t at[e->size];

    at[0] = 0;
    for (int p = 1; p < e->size; p++)
        at[p] = at[p - 1] + counts[p - 1];
    for (int64_t i = 0; i < box->count; i++) {
        const int64_t to = at[owner_of(e, box->id[i])]++;
        id[to] = box->id[i];
        memcpy(row + to * d, box->row + i * d, (size_t)d * sizeof(float));
    }
}

static void add_rows(mltfr_engine *e, int64_t n, const int32_t *id, const float *row)
{
    const int64_t d = e->spec.backbone.d;

    for (int64_t i = 0; i < n; i++) {
        const int64_t at = id[i] - 1 - e->item_first;
        e->touched[at] = 1;
        for (int64_t c = 0; c < d; c++)
            e->dE[at * d + c] += row[i * d + c];
    }
}

mltfr_status mltfr_items_return(mltfr_engine *e, mltfr_run *run, const float *dx)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d, bytes = d * (int64_t)sizeof(float);
    int64_t counts[e->size];
    outbox box = {0};
    mltfr_exchange *plan = NULL;
    int32_t *id = NULL, *id_in = NULL;
    float *row = NULL, *row_in = NULL;

    memset(counts, 0, sizeof counts);
    st = fill_outbox(e, run, dx, &box);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, id, box.count);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, row, box.count * d);
    MLTFR_AGREE(e->comm, st);
    for (int64_t i = 0; i < box.count; i++)
        counts[owner_of(e, box.id[i])]++;
    sort_outbox(e, &box, counts, id, row);
    MLTFR_TRY(mltfr_exchange_create(e->comm, counts, &plan));
    const int64_t n = mltfr_exchange_received(plan);

    st = RUN_TAKE(run, id_in, n);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, row_in, n * d);
    MLTFR_AGREE(e->comm, st);
    mltfr_exchange_forward(plan, sizeof *id, id, id_in);
    mltfr_exchange_forward(plan, bytes, row, row_in);
    add_rows(e, n, id_in, row_in);
done:
    mltfr_exchange_destroy(&plan);
    return st;
}
