/* What a golden file asks of a model before the step: E11, tau (C13), X_I (C12), ranking (C14). */
#include "evaluate_impl.h"
#include "replay_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- level A and tau ----------------------------------------------------------------------- */

typedef struct {
    int64_t **ids; /* [K + 1] exploration order of each space */
} exploration;

static int64_t explore(void *context, int64_t k, int64_t i)
{
    return ((const exploration *)context)->ids[k][i];
}

static mltfr_status load_level_a(mltfr_replay_case *c, exploration *x)
{
    mltfr_status st = MLTFR_OK;
    int64_t n;

    for (int64_t k = 0; k <= c->e->K; k++) {
        mltfr_token_space *s = &c->e->space[k];
        char name[24], path[80];
        mltfr_replay_space_name(c->e->K, k, name);
        snprintf(path, sizeof path, "level_a/%s/cbar_before", name);
        MLTFR_TRY(
            mltfr_file_read_list(c->in, path, MLTFR_F32, s->row_first, s->row_count, s->cbar));
        snprintf(path, sizeof path, "level_a/%s/pool_before", name);
        MLTFR_TRY(
            mltfr_file_read_list(c->in, path, MLTFR_I64, 0, s->group != NULL ? s->M : 0, s->pool));
        MLTFR_TRY(mltfr_replay_get(c, MLTFR_I64, &x->ids[k], &n, "level_a/%s/explore_ids", name));
        if (n != s->rows)
            MLTFR_FAIL(MLTFR_E_DATA, "%s: level_a/%s/explore_ids: %lld of %lld tokens",
                       mltfr_file_path(c->in), name, (long long)n, (long long)s->rows);
    }
done:
    return st;
}

static mltfr_status put_level_a(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t k = 0; k <= c->e->K; k++) {
        const mltfr_token_space *s = &c->e->space[k];
        const int64_t own = c->e->rank == s->owner ? s->M : 0;
        char name[24];
        mltfr_replay_space_name(c->e->K, k, name);
        MLTFR_TRY(mltfr_replay_put(c, MLTFR_F32, 1, &s->rows, s->row_first, s->row_count, s->cbar,
                                   "level_a/%s/expect/cbar", name));
        MLTFR_TRY(mltfr_replay_put(c, MLTFR_I64, 1, &s->M, 0, own, s->pool,
                                   "level_a/%s/expect/pool", name));
    }
done:
    return st;
}

static mltfr_status probe_level_a(mltfr_replay_case *c, const float *q)
{
    mltfr_status st = MLTFR_OK;
    int64_t *ids[MLTFR_MAX_LLMS + 1] = {0};
    exploration x = {ids};

    MLTFR_TRY(load_level_a(c, &x));
    MLTFR_TRY(mltfr_refresh_pools(c->e, c->batch->rows, q, explore, &x));
    MLTFR_TRY(put_level_a(c));
    MLTFR_TRY(mltfr_replay_restore(c));
done:
    for (int64_t k = 0; k <= MLTFR_MAX_LLMS; k++)
        MLTFR_FREE(ids[k]);
    return st;
}

static mltfr_status probe_tau(mltfr_replay_case *c, const int64_t *at, const float *q)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;
    const int64_t n = e->K + 1;
    double tau[MLTFR_MAX_LLMS + 1];
    float before[MLTFR_MAX_LLMS + 1] = {0};

    for (int64_t k = 0; k < n; k++)
        if (e->space[k].group != NULL)
            before[k] = *e->space[k].log_tau;
    MLTFR_TRY(mltfr_calibrate(e, c->batch->rows, at, c->batch->blocks, q, tau));
    for (int64_t k = 0; k < n; k++)
        if (e->space[k].group != NULL)
            *e->space[k].log_tau = before[k];
    MLTFR_TRY(mltfr_replay_put(c, MLTFR_F64, 1, &n, 0, e->rank == 0 ? n : 0, tau,
                               "expect/tau_calibrated"));
done:
    return st;
}

static mltfr_status probe_filters(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;
    const int64_t d = e->spec.backbone.d, n = c->batch->rows, blocks = c->batch->blocks;
    float *q = NULL;
    int64_t *at = NULL;

    MLTFR_TRY(mltfr_run_forward(e, c->batch, MLTFR_STATES));
    st = MLTFR_NEW(q, n * d);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(at, blocks + 1);
    MLTFR_AGREE(e->comm, st);
    memcpy(at, e->run.q_off, (size_t)(blocks + 1) * sizeof *at);
    mltfr_rmsnorm_forward(n, d, e->rms_eps, e->run.H, q);
    MLTFR_TRY(probe_tau(c, at, q));
    MLTFR_TRY(probe_level_a(c, q));
done:
    MLTFR_FREE(q);
    MLTFR_FREE(at);
    return st;
}

/* ---- items --------------------------------------------------------------------------------- */

static mltfr_status probe_items(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;
    const int64_t dims[] = {e->spec.items, e->r_c};

    if (!e->spec.inject)
        return MLTFR_OK;
    MLTFR_TRY(mltfr_inject_refresh(e));
    MLTFR_TRY(
        mltfr_replay_put(c, MLTFR_F32, 2, dims, e->item_first, e->item_rows, e->X_I, "expect/X_I"));
    MLTFR_TRY(mltfr_replay_restore(c));
done:
    return st;
}

/* ---- ranking ------------------------------------------------------------------------------- */

typedef struct {
    int64_t users, *seen_off, *none, *rank;
    int32_t *targets, *seen;
    mltfr_batch *batch;
    float *tiles, *all, *scores;
} rank_case;

static mltfr_status put_ranks(mltfr_replay_case *c, const rank_case *x, const char *where,
                              const char *suffix)
{
    mltfr_status st = MLTFR_OK;
    const int64_t own = c->e->rank == 0, three = 3;
    mltfr_metrics m;

    mltfr_metrics_of(x->users, x->rank, &m);
    MLTFR_TRY(mltfr_replay_put(c, MLTFR_I64, 1, &x->users, 0, own * x->users, x->rank,
                               "%s/expect/ranks%s", where, suffix));
    MLTFR_TRY(mltfr_replay_put(c, MLTFR_F64, 1, &three, 0, own * 3, m.hr, "%s/expect/hr%s", where,
                               suffix));
    MLTFR_TRY(mltfr_replay_put(c, MLTFR_F64, 1, &three, 0, own * 3, m.ndcg, "%s/expect/ndcg%s",
                               where, suffix));
    MLTFR_TRY(
        mltfr_replay_put(c, MLTFR_F64, 0, NULL, 0, own, &m.mrr, "%s/expect/mrr%s", where, suffix));
done:
    return st;
}

static mltfr_status misfit(const mltfr_replay_case *c, const char *where)
{
    return mltfr_fail(MLTFR_E_DATA, "%s: %s: sequences, targets, seen items and scores do not fit",
                      mltfr_file_path(c->in), where);
}

/* Offsets that rise to the number of seen items. */
static mltfr_status check_seen(const mltfr_replay_case *c, const char *where, const rank_case *x,
                               int64_t offsets, int64_t seen)
{
    bool good = x->users > 0 && offsets == x->users + 1 && x->seen_off[0] == 0 &&
                x->seen_off[x->users] <= seen;

    for (int64_t u = 0; good && u < x->users; u++)
        good = x->seen_off[u] <= x->seen_off[u + 1];
    return good ? MLTFR_OK : misfit(c, where);
}

/* A target of each of `users` users among so many items. */
static mltfr_status check_targets(const mltfr_replay_case *c, const char *where, const rank_case *x,
                                  int64_t users, int64_t items)
{
    bool good = x->users == users;

    for (int64_t u = 0; good && u < users; u++)
        good = x->targets[u] >= 1 && x->targets[u] <= items;
    return good ? MLTFR_OK : misfit(c, where);
}

static mltfr_status load_ranking(mltfr_replay_case *c, const char *where, rank_case *x)
{
    mltfr_status st = MLTFR_OK;
    int64_t offsets, seen;

    MLTFR_TRY(mltfr_replay_get(c, MLTFR_I32, &x->targets, &x->users, "%s/targets", where));
    MLTFR_TRY(mltfr_replay_get(c, MLTFR_I64, &x->seen_off, &offsets, "%s/seen_offsets", where));
    MLTFR_TRY(mltfr_replay_get(c, MLTFR_I32, &x->seen, &seen, "%s/seen_items", where));
    MLTFR_AGREE(c->comm, check_seen(c, where, x, offsets, seen));
    st = MLTFR_NEW(x->none, x->users + 1);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(x->rank, x->users);
    MLTFR_AGREE(c->comm, st);
done:
    return st;
}

/* The tiles of all ranks, in the order of item blocks, as one matrix on rank 0. */
static mltfr_status put_scores(mltfr_replay_case *c, rank_case *x)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;
    const int64_t I = e->spec.items, dims[] = {x->users, I};
    int64_t bytes[e->size], mine = x->users * e->item_rows * (int64_t)sizeof(float);

    mltfr_comm_allgather(e->comm, &mine, sizeof mine, bytes);
    st = MLTFR_NEW(x->all, x->users * I);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(x->scores, x->users * I);
    MLTFR_AGREE(e->comm, st);
    mltfr_comm_gatherv(e->comm, x->tiles, bytes, x->all, 0);
    const float *from = x->all;

    for (int64_t at = 0; at < I; at += e->item_block) {
        const int64_t cols = I - at < e->item_block ? I - at : e->item_block;
        for (int64_t u = 0; u < x->users; u++, from += cols)
            memcpy(x->scores + u * I + at, from, (size_t)cols * sizeof *from);
    }
    MLTFR_TRY(mltfr_replay_put(c, MLTFR_F32, 2, dims, 0, e->rank == 0 ? x->users : 0, x->scores,
                               "eval/expect/scores"));
done:
    return st;
}

static void free_ranking(rank_case *x)
{
    MLTFR_FREE(x->seen_off);
    MLTFR_FREE(x->none);
    MLTFR_FREE(x->rank);
    MLTFR_FREE(x->targets);
    MLTFR_FREE(x->seen);
    MLTFR_FREE(x->tiles);
    MLTFR_FREE(x->all);
    MLTFR_FREE(x->scores);
    mltfr_batch_destroy(&x->batch);
}

static mltfr_status probe_ranking(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    rank_case x = {0};

    MLTFR_TRY(load_ranking(c, "eval", &x));
    MLTFR_TRY(mltfr_replay_sequences(c, "eval", &x.batch));
    MLTFR_AGREE(c->comm, check_targets(c, "eval", &x, x.batch->users, c->e->spec.items));
    MLTFR_AGREE(c->comm, MLTFR_NEW(x.tiles, x.users * c->e->item_rows));
    MLTFR_TRY(mltfr_rank_batch(c->e, x.batch, x.targets, x.seen_off, x.seen, x.rank, x.tiles));
    MLTFR_TRY(put_ranks(c, &x, "eval", ""));
    MLTFR_TRY(put_scores(c, &x));
    MLTFR_TRY(mltfr_rank_batch(c->e, x.batch, x.targets, x.none, x.seen, x.rank, x.tiles));
    MLTFR_TRY(put_ranks(c, &x, "eval", "_unfiltered"));
done:
    free_ranking(&x);
    return st;
}

/* Given scores full of ties: the counting alone, every row in one tile. */
static void rank_given(rank_case *x, const int64_t *seen_off, int64_t items)
{
    for (int64_t u = 0; u < x->users; u++) {
        const float *row = x->scores + u * items;
        x->rank[u] = 1 + mltfr_rank_tile(items, 0, row, row[x->targets[u] - 1], x->targets[u],
                                         x->seen + seen_off[u], seen_off[u + 1] - seen_off[u]);
    }
}

static mltfr_status probe_ties(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    rank_case x = {0};
    int64_t n;

    MLTFR_TRY(load_ranking(c, "eval/ties", &x));
    MLTFR_TRY(mltfr_replay_get(c, MLTFR_F32, &x.scores, &n, "eval/ties/scores"));
    MLTFR_AGREE(c->comm, check_targets(c, "eval/ties", &x, x.users, n / x.users));
    rank_given(&x, x.seen_off, n / x.users);
    MLTFR_TRY(put_ranks(c, &x, "eval/ties", ""));
    rank_given(&x, x.none, n / x.users);
    MLTFR_TRY(put_ranks(c, &x, "eval/ties", "_unfiltered"));
done:
    free_ranking(&x);
    return st;
}

mltfr_status mltfr_replay_probes(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(probe_filters(c));
    MLTFR_TRY(probe_items(c));
    MLTFR_TRY(probe_ranking(c));
    MLTFR_TRY(probe_ties(c));
done:
    return st;
}
