/* Rows of E' travel from the item ranges to the user blocks that read them, and their gradients
 * travel back:
 *
 *      users  -- distinct ids, rising -->  owners           once a batch
 *      users  <--    rows of E'       --   owners
 *      users  -- (block, item) rows   -->  owners           added in block order
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

/* ---- fetch --------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

int64_t mltfr_sort_distinct(int32_t *ids, int64_t n)
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

/* Inputs, and in training targets and negatives. */
static mltfr_status collect_ids(const mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_item_rows *x = &run->item;
    const int64_t n = run->rows, trains = run->keeps ? n : 0;
    const int64_t negatives = run->keeps ? mltfr_negatives_count(e, run) : 0;
    const int32_t *items = run->batch->items + run->row0;
    const int32_t *targets = run->batch->targets + run->row0;

    MLTFR_TRY(RUN_TAKE(run, x->ids, n + trains + negatives));
    MLTFR_TRY(RUN_TAKE(run, x->slot, n));
    MLTFR_TRY(RUN_TAKE(run, x->target_slot, trains));
    MLTFR_TRY(RUN_TAKE(run, x->negative_slot, negatives));
    memcpy(x->ids, items, (size_t)n * sizeof *items);
    memcpy(x->ids + n, targets, (size_t)trains * sizeof *targets);
    mltfr_negatives_draw(e, run, x->negative_slot);
    memcpy(x->ids + n + trains, x->negative_slot, (size_t)negatives * sizeof *targets);
    x->count = mltfr_sort_distinct(x->ids, n + trains + negatives);
    for (int64_t i = 0; i < n; i++)
        x->slot[i] = find_slot(x, items[i]);
    for (int64_t i = 0; i < trains; i++)
        x->target_slot[i] = find_slot(x, targets[i]);
    for (int64_t i = 0; i < negatives; i++)
        x->negative_slot[i] = find_slot(x, x->negative_slot[i]);
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
    MLTFR_AGREE(e->comm, collect_ids(e, run));
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

/* Gradient rows of the user blocks: one a (block, item), in the order of blocks. */
typedef struct {
    mltfr_run *run;
    int64_t d, count;
    int32_t *id;
    float *row;               /* [count][d] */
    int64_t *met_in, *met_at; /* [slots]: the block an item was met in last, and where its row is */
} outbox;

/* Add scale * x to the row of (block, slot). */
static void add_to(outbox *box, int64_t block, int32_t slot, float scale, const float *x)
{
    if (box->met_in[slot] != block) {
        box->met_in[slot] = block;
        box->met_at[slot] = box->count++;
        box->id[box->met_at[slot]] = box->run->item.ids[slot];
        memset(box->row + box->met_at[slot] * box->d, 0, (size_t)box->d * sizeof *x);
    }
    float *sum = box->row + box->met_at[slot] * box->d;

    for (int64_t c = 0; c < box->d; c++)
        sum[c] += scale * x[c];
}

/* What a local loss says of targets and negatives of one block (rows [from, to) of the rank). */
static void gather_loss(const mltfr_engine *e, outbox *box, int64_t b, int64_t from, int64_t to)
{
    const mltfr_run *run = box->run;
    const mltfr_item_rows *x = &run->item;
    const float *H = run->H + run->q0 * box->d;
    const int64_t n = x->negatives, at = (b - run->first) * n;

    if (n == 0 || from == to)
        return;
    for (int64_t i = from; i < to; i++)
        add_to(box, b, x->target_slot[i], x->target_grad[i], H + i * box->d);
    if (e->set->train_loss == MLTFR_TRAIN_LOSS_BCE)
        for (int64_t i = from; i < to; i++)
            add_to(box, b, x->negative_slot[i], x->negative_grad[i], H + i * box->d);
    else
        for (int64_t i = at; i < at + n; i++)
            add_to(box, b, x->negative_slot[i], 1.f, x->negative_grad + i * box->d);
}

static mltfr_status fill_outbox(mltfr_engine *e, mltfr_run *run, const float *dx, outbox *box)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d, most = 2 * run->rows + mltfr_negatives_count(e, run);

    box->run = run;
    box->d = d;
    MLTFR_TRY(RUN_TAKE(run, box->met_in, run->item.count));
    MLTFR_TRY(RUN_TAKE(run, box->met_at, run->item.count));
    MLTFR_TRY(RUN_TAKE(run, box->id, most));
    MLTFR_TRY(RUN_TAKE(run, box->row, most * d));
    for (int64_t i = 0; i < run->item.count; i++)
        box->met_in[i] = -1;
    for (int64_t b = run->first; b < run->last; b++) {
        const int32_t *off = run->batch->off;
        const int64_t from = off[run->batch->block_user[b]] - run->row0;
        const int64_t to = off[run->batch->block_user[b + 1]] - run->row0;
        for (int64_t i = from; i < to; i++)
            add_to(box, b, run->item.slot[i], 1.f, dx + i * d);
        gather_loss(e, box, b, from, to);
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

void mltfr_items_clear(mltfr_engine *e)
{
    mltfr_touched *t = &e->touched;
    const size_t row = (size_t)e->spec.backbone.d;

    if (t->all)
        memset(e->dE, 0, (size_t)e->item_rows * row * sizeof *e->dE);
    for (int64_t i = 0; i < t->count; i++)
        memset(e->dE + (size_t)t->row[i] * row, 0, row * sizeof *e->dE);
    t->all = false;
    t->count = 0;
}

static void add_rows(mltfr_engine *e, int64_t n, const int32_t *id, const float *row)
{
    const int64_t d = e->spec.backbone.d;
    mltfr_touched *t = &e->touched;

    for (int64_t i = 0; i < n; i++) {
        t->row[i] = id[i] - 1 - (int32_t)e->item_first;
        for (int64_t c = 0; c < d; c++)
            e->dE[t->row[i] * d + c] += row[i * d + c];
    }
    t->count = t->all ? 0 : mltfr_sort_distinct(t->row, n);
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
    if (st == MLTFR_OK)
        st = MLTFR_TAKE(&e->touched.room, e->touched.row, n);
    MLTFR_AGREE(e->comm, st);
    mltfr_exchange_forward(plan, sizeof *id, id, id_in);
    mltfr_exchange_forward(plan, bytes, row, row_in);
    add_rows(e, n, id_in, row_in);
done:
    mltfr_exchange_destroy(&plan);
    return st;
}
