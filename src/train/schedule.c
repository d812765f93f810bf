/* What is due when: epochs 1 .. E_w train the backbone alone; then pools, tau and experts; Fisher
 * samples every T_F steps and the consensus every T_c steps of the experts (method 5, 7; C6). */
#include "session.h"

#include <mltfr/log.h>
#include <mltfr/rng.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- level A ------------------------------------------------------------------------------- */

typedef struct {
    uint64_t hash;
    int64_t example;
} candidate;

static int by_hash(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->example > y->example) - (x->example < y->example);
}

/* The users who vote: smallest hash of (seed, epoch, user), by their newest window. */
static mltfr_status choose_voters(const mltfr_session *s, int64_t epoch, candidate **out,
                                  int64_t *count)
{
    mltfr_status st = MLTFR_OK;
    const uint64_t key =
        mltfr_rng_key((uint64_t)s->set->train_seed, MLTFR_RNG_LEVEL_A_USERS, (uint64_t)epoch);
    candidate *c = NULL;
    int64_t n = 0;

    MLTFR_TRY(MLTFR_NEW(c, s->count));
    for (int64_t i = 0; i < s->count; i++)
        if (i == 0 || s->examples[i].user != s->examples[i - 1].user)
            c[n++] = (candidate){mltfr_rng_bits(key, (uint64_t)s->examples[i].user), i};
    qsort(c, (size_t)n, sizeof *c, by_hash);
    *count = n < s->set->filter_users ? n : s->set->filter_users;
    *out = c;
done:
    return st;
}

/* Voters [first, first + n): each sequence ends at the position that votes. */
static mltfr_status voter_batch(const mltfr_session *s, int64_t epoch, const candidate *voters,
                                int64_t n, mltfr_batch **out)
{
    mltfr_status st = MLTFR_OK;
    const uint64_t key =
        mltfr_rng_key((uint64_t)s->set->train_seed, MLTFR_RNG_LEVEL_A_ROWS, (uint64_t)epoch);
    int32_t *lengths = NULL;

    MLTFR_TRY(MLTFR_NEW(lengths, n));
    for (int64_t i = 0; i < n; i++) {
        const mltfr_example *x = &s->examples[voters[i].example];
        lengths[i] = 1 + (int32_t)mltfr_rng_below(key, (uint64_t)x->user, (uint64_t)x->n);
    }
    MLTFR_TRY(mltfr_batch_create(n, lengths, out));
    for (int64_t i = 0; i < n; i++)
        memcpy((*out)->items + (*out)->off[i], s->data->ids + s->examples[voters[i].example].first,
               (size_t)lengths[i] * sizeof(int32_t));
done:
    MLTFR_FREE(lengths);
    return st;
}

typedef struct {
    uint64_t seed, epoch;
    const mltfr_engine *e;
} exploration;

static int64_t explore(void *context, int64_t k, int64_t i)
{
    const exploration *x = context;
    const uint64_t V = (uint64_t)x->e->space[k].rows;
    const uint64_t key = mltfr_rng_key(x->seed, MLTFR_RNG_EXPLORE, x->epoch);

    return (int64_t)mltfr_rng_permute(mltfr_mix64(key + (uint64_t)k), V, (uint64_t)i % V);
}

/* Queries of all voters on every rank, then new pools. */
static mltfr_status vote(mltfr_session *s, int64_t epoch)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = s->engine;
    const int64_t d = e->spec.backbone.d;
    exploration x = {(uint64_t)s->set->train_seed, (uint64_t)epoch, e};
    candidate *voters = NULL;
    mltfr_batch *batch = NULL;
    float *q = NULL;
    int64_t n = 0;

    st = choose_voters(s, epoch, &voters, &n);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(q, n * d);
    MLTFR_AGREE(s->comm, st);
    for (int64_t i = 0; i < n; i += QUERY_BLOCK) {
        const int64_t users = n - i < QUERY_BLOCK ? n - i : QUERY_BLOCK;
        MLTFR_AGREE(s->comm, voter_batch(s, epoch, voters + i, users, &batch));
        MLTFR_TRY(mltfr_run_forward(e, batch, MLTFR_LAST_STATES));
        mltfr_rmsnorm_forward(users, d, e->rms_eps, e->run.H, q + i * d);
        mltfr_batch_destroy(&batch);
    }
    MLTFR_TRY(mltfr_refresh_pools(e, n, q, explore, &x));
    e->pools_changed = true;
done:
    mltfr_batch_destroy(&batch);
    MLTFR_FREE(q);
    MLTFR_FREE(voters);
    return st;
}

/* ---- start of the experts ------------------------------------------------------------------ */

static mltfr_status calibrate(mltfr_session *s, int64_t epoch)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = s->engine;
    mltfr_batch *batch = NULL;
    int64_t *at = NULL;
    float *q = NULL;

    MLTFR_AGREE(s->comm, mltfr_session_batch(s, epoch, 0, &batch));
    MLTFR_TRY(mltfr_run_forward(e, batch, MLTFR_STATES));
    st = MLTFR_NEW(at, batch->blocks + 1);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(q, batch->rows * e->spec.backbone.d);
    MLTFR_AGREE(s->comm, st);
    memcpy(at, e->run.q_off, (size_t)(batch->blocks + 1) * sizeof *at);
    mltfr_rmsnorm_forward(batch->rows, e->spec.backbone.d, e->rms_eps, e->run.H, q);
    MLTFR_TRY(mltfr_calibrate(e, batch->rows, at, batch->blocks, q, NULL));
done:
    MLTFR_FREE(at);
    MLTFR_FREE(q);
    mltfr_batch_destroy(&batch);
    return st;
}

mltfr_status mltfr_schedule_epoch(mltfr_session *s, int64_t epoch)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = s->engine;
    const int64_t since = epoch - s->set->train_warmup_epochs - 1;
    const bool starts = e->K > 0 && e->at.expert_start < 0 && since >= 0;

    e->at.epoch = epoch;
    if (!starts && (!mltfr_experts_on(e) || since % s->set->filter_refresh != 0))
        return MLTFR_OK;
    MLTFR_TIMED(POOLS, vote(s, epoch));
    if (starts) {
        MLTFR_TIMED(POOLS, calibrate(s, epoch));
        e->at.expert_start = e->at.step;
        mltfr_note("epoch %lld: the experts start", (long long)epoch);
    }
    MLTFR_TIMED(POOLS, mltfr_inject_refresh(e));
done:
    return st;
}

/* ---- one step ------------------------------------------------------------------------------ */

static double learning_rate(const mltfr_session *s, int64_t step)
{
    const mltfr_settings *set = s->set;
    double lr = set->train_lr, all = (double)(set->train_epochs * mltfr_session_steps(s));

    if (set->train_max_steps > 0 && (double)set->train_max_steps < all)
        all = (double)set->train_max_steps;
    if (step <= set->train_warmup_steps)
        return lr * (double)step / (double)set->train_warmup_steps;
    if (set->train_schedule == MLTFR_TRAIN_SCHEDULE_COSINE) {
        const double past = (double)(step - set->train_warmup_steps);
        const double length = all - (double)set->train_warmup_steps;
        lr *= .5 * (1. + cos(3.14159265358979323846 * (past < length ? past / length : 1.)));
    }
    return lr;
}

static int64_t first_consensus(const mltfr_session *s)
{
    const int64_t epoch = mltfr_session_steps(s), given = s->set->fisher_start;

    return given > 0 ? given : (epoch < 200 ? epoch : 200);
}

/* What follows from the experts' new weights. */
static mltfr_status renew_experts(mltfr_engine *e, bool pulls, double lr)
{
    const mltfr_settings *set = e->set;

    if (pulls)
        mltfr_consensus_pull_all(e, lr);
    mltfr_experts_share(e);
    mltfr_experts_project(e);
    if (set->router_balance == MLTFR_ROUTER_BALANCE_BIAS)
        mltfr_router_balance(e->K, e->run.routed.load, (float)set->router_bias_rate,
                             e->at.router_bias);
    return MLTFR_OK;
}

mltfr_status mltfr_schedule_step(mltfr_session *s, const mltfr_batch *batch)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = s->engine;
    const mltfr_settings *set = s->set;
    const int64_t step = ++e->at.step, own = step - e->at.expert_start;
    const double lr = learning_rate(s, step);
    const bool on = mltfr_experts_on(e), fisher = on && set->fisher_rule != MLTFR_FISHER_RULE_NONE;
    const bool samples = fisher && (own - 1) % set->fisher_sample_every == 0;
    const int64_t since = own - first_consensus(s);

    MLTFR_TRY(mltfr_run_forward(e, batch, MLTFR_TRAIN));
    MLTFR_TRY(mltfr_run_backward(e, samples));
    if (samples)
        MLTFR_TIMED(FISHER, mltfr_fisher_sample(e, &e->run, (double)set->fisher_rows));
    MLTFR_TIMED(OPTIMISE, mltfr_optimise(e, lr, set->train_clip));
    if (fisher && since >= 0 && since % set->fisher_every == 0)
        MLTFR_TIMED(FISHER, mltfr_consensus_update(e, NULL));
    if (on)
        MLTFR_TIMED(OPTIMISE, renew_experts(e, fisher && e->at.consensus_started, lr));
    MLTFR_TIMED(ITEMS, mltfr_inject_apply(e));
done:
    return st;
}
