/* Full ranking over item ranges.  Cases go in batches: h' of the last positions is gathered by all,
 * each rank scores its own item blocks, the target's score is taken from its owner's tile (computed
 * elsewhere it would round otherwise and break ties), and the counts are summed as integers. */
#include "engine.h"
#include "evaluate_impl.h"
#include "session.h"

#include <mltfr/linalg.h>
#include <mltfr/trainer.h>

#include <math.h>
#include <string.h>

enum { CASES_A_BATCH = 256 };

typedef struct {
    mltfr_engine *e;
    int64_t users;
    const int32_t *targets;  /* [users] */
    const int64_t *seen_off; /* [users + 1] */
    const int32_t *seen;
    float *tiles;  /* [own items][users]: tile j is [users][cols_j] */
    float *target; /* [users] */
    int64_t *rank; /* [users] */
} ranking;

static void score_tiles(ranking *x)
{
    const mltfr_engine *e = x->e;
    const int64_t d = e->spec.backbone.d;
    float *tile = x->tiles;

    for (int64_t u = 0; u < x->users; u++)
        x->target[u] = -INFINITY;
    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t cols = mltfr_item_block_rows(e, j), first = j * e->item_block;
        mltfr_gemm_nt(x->users, cols, d, e->run.H, d, e->E + mltfr_item_block_at(e, j) * d, d, 0.f,
                      tile, cols);
        for (int64_t u = 0; u < x->users; u++) {
            const int64_t c = x->targets[u] - 1 - first;
            if (c >= 0 && c < cols)
                x->target[u] = tile[u * cols + c];
        }
        tile += x->users * cols;
    }
}

/* Each owner looks at its targets: what a maximum over ranks makes of a NaN is not defined. */
static mltfr_status check_targets(const ranking *x)
{
    const int64_t first = x->e->item_first, last = first + x->e->item_rows;

    for (int64_t u = 0; u < x->users; u++)
        if (x->targets[u] > first && x->targets[u] <= last && !isfinite(x->target[u]))
            return mltfr_fail(MLTFR_E_NUMERIC, "evaluation: the score of item %d is not finite",
                              (int)x->targets[u]);
    return MLTFR_OK;
}

static void count_tiles(ranking *x)
{
    const mltfr_engine *e = x->e;
    const float *tile = x->tiles;

    memset(x->rank, 0, (size_t)x->users * sizeof *x->rank);
    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t cols = mltfr_item_block_rows(e, j);
        for (int64_t u = 0; u < x->users; u++)
            x->rank[u] += mltfr_rank_tile(cols, j * e->item_block, tile + u * cols, x->target[u],
                                          x->targets[u], x->seen + x->seen_off[u],
                                          x->seen_off[u + 1] - x->seen_off[u]);
        tile += x->users * cols;
    }
    mltfr_comm_sum_i64(e->comm, x->rank, x->users);
    for (int64_t u = 0; u < x->users; u++)
        x->rank[u]++;
}

mltfr_status mltfr_rank_batch(mltfr_engine *e, const mltfr_batch *batch, const int32_t *targets,
                              const int64_t *seen_off, const int32_t *seen, int64_t *rank,
                              float *tiles)
{
    mltfr_status st = MLTFR_OK;
    ranking x = {e, batch->users, targets, seen_off, seen, tiles, NULL, rank};

    MLTFR_TRY(mltfr_run_forward(e, batch, MLTFR_RANK));
    if (tiles == NULL)
        st = RUN_TAKE(&e->run, x.tiles, batch->users * e->item_rows);
    if (st == MLTFR_OK)
        st = RUN_TAKE(&e->run, x.target, batch->users);
    MLTFR_AGREE(e->comm, st);
    score_tiles(&x);
    MLTFR_AGREE(e->comm, check_targets(&x));
    mltfr_comm_max_f32(e->comm, x.target, x.users);
    count_tiles(&x);
done:
    return st;
}

/* ---- cases --------------------------------------------------------------------------------- */

/* Everything the user had before the target, distinct and rising. */
static int64_t seen_before(const mltfr_interactions *data, const mltfr_case *c, int32_t *out)
{
    const int64_t from = data->offsets[c->user], to = c->first + c->n;

    memcpy(out, data->ids + from, (size_t)(to - from) * sizeof *out);
    return mltfr_sort_distinct(out, to - from);
}

typedef struct {
    mltfr_batch *batch;
    int32_t targets[CASES_A_BATCH], lengths[CASES_A_BATCH];
    int64_t seen_off[CASES_A_BATCH + 1];
    int32_t *seen;
} case_batch;

static mltfr_status fill_cases(const mltfr_interactions *data, int64_t n, const mltfr_case *cases,
                               bool exclude, case_batch *x)
{
    mltfr_status st = MLTFR_OK;
    int64_t most = 0;

    for (int64_t i = 0; i < n; i++) {
        x->lengths[i] = cases[i].n;
        x->targets[i] = cases[i].target;
        most += cases[i].first + cases[i].n - data->offsets[cases[i].user];
    }
    MLTFR_TRY(mltfr_batch_create(n, x->lengths, &x->batch));
    MLTFR_TRY(MLTFR_NEW(x->seen, most));
    for (int64_t i = 0; i < n; i++) {
        memcpy(x->batch->items + x->batch->off[i], data->ids + cases[i].first,
               (size_t)cases[i].n * sizeof(int32_t));
        x->seen_off[i + 1] = x->seen_off[i];
        if (exclude)
            x->seen_off[i + 1] += seen_before(data, &cases[i], x->seen + x->seen_off[i]);
    }
done:
    return st;
}

static mltfr_status rank_cases(mltfr_engine *e, const mltfr_interactions *data, int64_t n,
                               const mltfr_case *cases, int64_t *rank)
{
    mltfr_status st = MLTFR_OK;
    case_batch x = {0};

    MLTFR_AGREE(e->comm, fill_cases(data, n, cases, e->set->eval_exclude_seen, &x));
    MLTFR_TRY(mltfr_rank_batch(e, x.batch, x.targets, x.seen_off, x.seen, rank, NULL));
done:
    MLTFR_FREE(x.seen);
    mltfr_batch_destroy(&x.batch);
    return st;
}

mltfr_status mltfr_evaluate_engine(mltfr_engine *e, const mltfr_interactions *data,
                                   mltfr_split split, mltfr_metrics *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_case *cases = NULL;
    int64_t count = 0, *rank = NULL;

    st = mltfr_interactions_cases(data, e->spec.backbone.max_len, split, &cases, &count);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(rank, count);
    MLTFR_AGREE(e->comm, st);
    for (int64_t i = 0; i < count; i += CASES_A_BATCH)
        MLTFR_TRY(rank_cases(e, data, count - i < CASES_A_BATCH ? count - i : CASES_A_BATCH,
                             cases + i, rank + i));
    mltfr_metrics_of(count, rank, out);
done:
    MLTFR_FREE(rank);
    MLTFR_FREE(cases);
    return st;
}

mltfr_status mltfr_evaluate(mltfr_comm *comm, const mltfr_settings *settings,
                            const char *checkpoint, mltfr_split split, mltfr_metrics *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_session s = {0};
    mltfr_loop_state loop;

    MLTFR_TRY(mltfr_session_open(comm, settings, &s));
    MLTFR_TRY(mltfr_checkpoint_read(s.engine, &loop, s.digest, checkpoint));
    MLTFR_TRY(mltfr_evaluate_engine(s.engine, s.data, split, out));
done:
    mltfr_session_close(&s);
    return st;
}
