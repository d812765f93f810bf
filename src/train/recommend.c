/* Top-K lists.  h' of the histories is on every rank; each rank scores its own item blocks, keeps
 * the K best of each history, and rank 0 merges the lists:
 *
 *      rank p   H [n][d]  x  E' of own blocks  ->  K best a history  -- gatherv --> rank 0: K best
 *
 * A score has the same bits wherever its block is computed, and ties go by item id, so the lists
 * do not depend on the number of ranks. */
#include "recommender.h"

#include <mltfr/linalg.h>

#include <math.h>
#include <string.h>

typedef struct {
    mltfr_engine *e;
    int64_t n, top_k;
    const uint8_t *allowed;  /* [items] or NULL */
    int64_t *seen_off, *at;  /* [n + 1]; [n] first id not passed yet */
    int32_t *seen;           /* rising */
    float *tile;             /* [n][item_block] */
    mltfr_scored *own, *all; /* [n][top_k]; [ranks][n][top_k] on rank 0 */
    int64_t *count;          /* [n] */
} lists;

static mltfr_status take_rooms(lists *x, const mltfr_history histories[])
{
    mltfr_status st = MLTFR_OK;
    const mltfr_engine *e = x->e;
    int64_t seen = 0;

    for (int64_t u = 0; u < x->n; u++)
        seen += histories[u].n;
    MLTFR_TRY(MLTFR_NEW(x->seen_off, x->n + 1));
    MLTFR_TRY(MLTFR_NEW(x->at, x->n));
    MLTFR_TRY(MLTFR_NEW(x->seen, seen));
    MLTFR_TRY(MLTFR_NEW(x->tile, x->n * e->item_block));
    MLTFR_TRY(MLTFR_NEW(x->own, x->n * x->top_k));
    MLTFR_TRY(MLTFR_NEW(x->count, x->n));
    if (e->rank == 0)
        MLTFR_TRY(MLTFR_NEW(x->all, e->size * x->n * x->top_k));
done:
    return st;
}

static void free_rooms(lists *x)
{
    MLTFR_FREE(x->seen_off);
    MLTFR_FREE(x->at);
    MLTFR_FREE(x->seen);
    MLTFR_FREE(x->tile);
    MLTFR_FREE(x->own);
    MLTFR_FREE(x->count);
    MLTFR_FREE(x->all);
}

static void list_seen(lists *x, const mltfr_history histories[], bool exclude)
{
    for (int64_t u = 0; u < x->n; u++) {
        int32_t *ids = x->seen + x->seen_off[u];

        x->seen_off[u + 1] = x->seen_off[u];
        if (!exclude)
            continue;
        memcpy(ids, histories[u].items, (size_t)histories[u].n * sizeof *ids);
        x->seen_off[u + 1] += mltfr_sort_distinct(ids, histories[u].n);
        x->at[u] = x->seen_off[u];
        while (x->at[u] < x->seen_off[u + 1] && x->seen[x->at[u]] <= x->e->item_first)
            x->at[u]++;
    }
}

/* -inf for what is no candidate among the items first + 1 .. first + cols. */
static void mask(lists *x, int64_t u, int64_t first, int64_t cols, float *row)
{
    for (; x->at[u] < x->seen_off[u + 1] && x->seen[x->at[u]] <= first + cols; x->at[u]++)
        row[x->seen[x->at[u]] - 1 - first] = -INFINITY;
    if (x->allowed != NULL)
        for (int64_t c = 0; c < cols; c++)
            row[c] = x->allowed[first + c] ? row[c] : -INFINITY;
}

static mltfr_status scan_block(lists *x, int64_t j)
{
    const mltfr_engine *e = x->e;
    const int64_t d = e->spec.backbone.d, cols = mltfr_item_block_rows(e, j),
                  first = j * e->item_block;

    mltfr_gemm_nt(x->n, cols, d, e->run.H, d, e->E + mltfr_item_block_at(e, j) * d, d, 0.f, x->tile,
                  cols);
    for (int64_t u = 0; u < x->n; u++) {
        mltfr_topk list = {x->top_k, x->count[u], x->own + u * x->top_k};

        mask(x, u, first, cols, x->tile + u * cols);
        if (!mltfr_topk_scan(&list, cols, first, x->tile + u * cols))
            return mltfr_fail(MLTFR_E_NUMERIC,
                              "recommend: a score of items %lld to %lld is not finite",
                              (long long)first + 1, (long long)(first + cols));
        x->count[u] = list.count;
    }
    return MLTFR_OK;
}

static mltfr_status scan_blocks(lists *x)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t j = x->e->first_block; j < x->e->last_block; j++)
        MLTFR_TRY(scan_block(x, j));
done:
    return st;
}

/* All ranks' lists to rank 0, which keeps the best. */
static void merge(lists *x, mltfr_scored *out)
{
    const int64_t most = x->n * x->top_k;
    int64_t bytes[x->e->size];

    for (int p = 0; p < x->e->size; p++)
        bytes[p] = most * (int64_t)sizeof *x->own;
    mltfr_comm_gatherv(x->e->comm, x->own, bytes, x->all, 0);
    if (x->e->rank != 0)
        return;
    memset(out, 0, (size_t)most * sizeof *out);
    for (int64_t u = 0; u < x->n; u++) {
        mltfr_topk list = {x->top_k, 0, out + u * x->top_k};

        for (int p = 0; p < x->e->size; p++)
            for (int64_t i = 0; i < x->top_k; i++) {
                const mltfr_scored *s = &x->all[p * most + u * x->top_k + i];

                if (s->item > 0)
                    mltfr_topk_add(&list, *s);
            }
        mltfr_topk_finish(&list);
    }
}

mltfr_status mltfr_recommend(mltfr_recommender *recommender, int64_t n,
                             const mltfr_history histories[], bool exclude, const uint8_t *allowed,
                             int64_t top_k, mltfr_scored *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = recommender->session.engine;
    lists x = {.e = e, .n = n, .top_k = top_k, .allowed = allowed};
    mltfr_batch *batch = NULL;

    if (n == 0)
        return MLTFR_OK;
    st = mltfr_history_batch(e, n, histories, &batch);
    if (st == MLTFR_OK)
        st = take_rooms(&x, histories);
    MLTFR_AGREE(e->comm, st);
    MLTFR_TRY(mltfr_run_forward(e, batch, MLTFR_RANK));
    list_seen(&x, histories, exclude);
    MLTFR_AGREE(e->comm, scan_blocks(&x));
    merge(&x, out);
done:
    free_rooms(&x);
    mltfr_batch_destroy(&batch);
    return st;
}
