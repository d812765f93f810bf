/* Full ranking over item ranges.  Cases go in batches: h' of the last positions is gathered by all,
 * each rank scores its own item blocks, the target's score is taken from its owner's tile (computed
 * elsewhere it would round otherwise and break ties), and the counts are summed as integers. */
#include "engine.h"
#include "evaluate_impl.h"
#include "recommender.h"

#include <mltfr/linalg.h>
#include <mltfr/progress.h>

#include <math.h>
#include <string.h>

enum {
    CASES_A_BATCH = 256,
    TILE_ITEMS = 4096,    /* of an item block are scored at a time */
    MOST_SCORES = 1 << 24 /* that are kept between looking for the targets and counting */
};

typedef struct {
    mltfr_engine *e;
    int64_t users;
    const int32_t *targets;  /* [users] */
    const int64_t *seen_off; /* [users + 1] */
    const int32_t *seen;
    bool keeps;    /* the scores of all own items are in tiles; else those of one tile */
    float *tiles;  /* item block j is [users][cols_j] */
    float *target; /* [users] */
    int64_t *rank; /* [users] */
} ranking;

/* Some columns of an item block. */
typedef struct {
    int64_t first, cols; /* first item, from 0 */
    int64_t row;         /* of E' here */
    int64_t stride;
    float *scores; /* [users][stride] */
} tile;

/* Tile t of item block j. */
static tile tile_at(const ranking *x, int64_t j, int64_t t)
{
    const int64_t all = mltfr_item_block_rows(x->e, j), at = t * TILE_ITEMS;
    const int64_t cols = all - at < TILE_ITEMS ? all - at : TILE_ITEMS;
    const int64_t row = mltfr_item_block_at(x->e, j);

    return (tile){.first = j * x->e->item_block + at,
                  .cols = cols,
                  .row = row + at,
                  .stride = x->keeps ? all : cols,
                  .scores = x->keeps ? x->tiles + x->users * row + at : x->tiles};
}

static void score(const ranking *x, const tile *t)
{
    const int64_t d = x->e->spec.backbone.d;

    mltfr_gemm_nt(x->users, t->cols, d, x->e->run.H, d, x->e->E + t->row * d, d, 0.f, t->scores,
                  t->stride);
}

static bool holds(const tile *t, int32_t id)
{
    return id > t->first && id <= t->first + t->cols;
}

static bool holds_target(const ranking *x, const tile *t)
{
    for (int64_t u = 0; u < x->users; u++)
        if (holds(t, x->targets[u]))
            return true;
    return false;
}

static void note_targets(const ranking *x, const tile *t)
{
    for (int64_t u = 0; u < x->users; u++)
        if (holds(t, x->targets[u]))
            x->target[u] = t->scores[u * t->stride + x->targets[u] - 1 - t->first];
}

static void count_tile(const ranking *x, const tile *t)
{
    for (int64_t u = 0; u < x->users; u++)
        x->rank[u] += mltfr_rank_tile(t->cols, t->first, t->scores + u * t->stride, x->target[u],
                                      x->targets[u], x->seen + x->seen_off[u],
                                      x->seen_off[u + 1] - x->seen_off[u]);
}

/* Where the scores are not kept, those of a tile are computed twice if it holds a target. */
static void score_tiles(ranking *x)
{
    const mltfr_engine *e = x->e;

    for (int64_t u = 0; u < x->users; u++)
        x->target[u] = -INFINITY;
    for (int64_t j = e->first_block; j < e->last_block; j++)
        for (int64_t i = 0; i * TILE_ITEMS < mltfr_item_block_rows(e, j); i++) {
            const tile t = tile_at(x, j, i);
            if (!x->keeps && !holds_target(x, &t))
                continue;
            score(x, &t);
            note_targets(x, &t);
        }
}

/* Each owner looks at its targets: what a maximum over ranks makes of a NaN is not defined. */
static mltfr_status check_targets(const ranking *x)
{
    const int64_t first = x->e->item_first, last = first + x->e->item_rows;

    for (int64_t u = 0; u < x->users; u++)
        if (x->targets[u] > first && x->targets[u] <= last && !isfinite(x->target[u]))
            return mltfr_fail(MLTFR_E_NUMERIC,
                              "step %lld, rank %d: the score of item %d is not finite",
                              (long long)x->e->at.step, x->e->rank, (int)x->targets[u]);
    return MLTFR_OK;
}

static void count_tiles(ranking *x)
{
    const mltfr_engine *e = x->e;

    memset(x->rank, 0, (size_t)x->users * sizeof *x->rank);
    for (int64_t j = e->first_block; j < e->last_block; j++)
        for (int64_t i = 0; i * TILE_ITEMS < mltfr_item_block_rows(e, j); i++) {
            const tile t = tile_at(x, j, i);
            if (!x->keeps)
                score(x, &t);
            count_tile(x, &t);
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
    ranking x = {.e = e,
                 .users = batch->users,
                 .targets = targets,
                 .seen_off = seen_off,
                 .seen = seen,
                 .keeps = tiles != NULL || batch->users * e->item_rows <= MOST_SCORES,
                 .tiles = tiles,
                 .rank = rank};

    MLTFR_TRY(mltfr_run_forward(e, batch, MLTFR_RANK));
    if (tiles == NULL)
        st = RUN_TAKE(&e->run, x.tiles, batch->users * (x.keeps ? e->item_rows : TILE_ITEMS));
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

static mltfr_status rank_split(mltfr_engine *e, const mltfr_interactions *data, mltfr_split split,
                               mltfr_ranked_split *out)
{
    mltfr_status st;

    *out = (mltfr_ranked_split){0};
    mltfr_watchdog_phase("evaluation");
    st = mltfr_interactions_cases(data, e->spec.backbone.max_len, split, &out->cases, &out->count);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(out->rank, out->count);
    MLTFR_AGREE(e->comm, st);
    mltfr_task task = mltfr_task_begin("evaluate", "users", out->count);

    for (int64_t i = 0; i < out->count; i += CASES_A_BATCH) {
        MLTFR_TRY(rank_cases(e, data,
                             out->count - i < CASES_A_BATCH ? out->count - i : CASES_A_BATCH,
                             out->cases + i, out->rank + i));
        mltfr_task_show(&task, i + CASES_A_BATCH);
    }
    mltfr_task_end(&task);
done:
    if (st != MLTFR_OK)
        mltfr_ranked_split_clear(out);
    return st;
}

void mltfr_ranked_split_clear(mltfr_ranked_split *ranked)
{
    MLTFR_FREE(ranked->cases);
    MLTFR_FREE(ranked->rank);
}

mltfr_status mltfr_rank_split(mltfr_recommender *recommender, mltfr_split split,
                              mltfr_ranked_split *out)
{
    return rank_split(recommender->session.engine, recommender->session.data, split, out);
}

mltfr_status mltfr_evaluate_engine(mltfr_engine *e, const mltfr_interactions *data,
                                   mltfr_split split, mltfr_metrics *out)
{
    mltfr_ranked_split ranked;
    const mltfr_status st = rank_split(e, data, split, &ranked);

    if (st == MLTFR_OK)
        mltfr_metrics_of(ranked.count, ranked.rank, out);
    mltfr_ranked_split_clear(&ranked);
    return st;
}
