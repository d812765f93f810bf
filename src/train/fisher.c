/* Fisher statistics of a batch, reduced globally, and the consensus expert (E17-E19).
 *
 *      users     omega = w^2 of each kept routed row; its trace of Cov(E'); sums by user block
 *      experts   num_A of each routed block: sum of omega x x^T, canonical tree over user blocks
 *      all       EMA; every T_c steps phi and the solve, the same bits on every rank */
#include "engine.h"

#include <mltfr/grid.h>
#include <mltfr/linalg.h>
#include <mltfr/rng.h>

#include <math.h>
#include <string.h>

/* ---- E17 on the users' side ---------------------------------------------------------------- */

typedef struct {
    double omega, beta, rows;
} row_sums;

static bool is_kept(const mltfr_run *run, uint64_t key, int64_t query, int64_t k, double aim)
{
    const double load = (double)run->routed.load[k];

    return load <= aim || mltfr_rng_uniform(key, (uint64_t)(run->q0 + query)) < aim / load;
}

/* omega of every sent row (-1 where it is not kept) and the sums of each (own block, expert). */
static void weigh_rows(mltfr_engine *e, mltfr_run *run, double aim, float *omega, row_sums *sums)
{
    const mltfr_routed *r = &run->routed;
    const uint64_t key =
        mltfr_rng_key((uint64_t)e->set->train_seed, MLTFR_RNG_FISHER, (uint64_t)e->at.step);

    for (int64_t b = run->first; b < run->last; b++)
        for (int64_t k = 0; k < e->K; k++) {
            const int64_t from = r->send_at[(b - run->first) * e->K + k];
            row_sums *s = &sums[(b - run->first) * e->K + k];
            *s = (row_sums){0};
            for (int64_t i = from; i < from + r->count[b * e->K + k]; i++) {
                const int64_t q = r->row[i];
                const float w = (1.f - run->routes.gate[q]) * run->routes.g[q * e->K + k];
                omega[i] = is_kept(run, key, q, k, aim) ? w * w : -1.f;
                if (omega[i] < 0.f)
                    continue;
                s->omega += omega[i];
                s->beta += (double)omega[i] * run->p_e2[q];
                s->rows += 1.;
            }
        }
}

/* Sums over all blocks, in their order. */
static mltfr_status gather_sums(mltfr_engine *e, mltfr_run *run, const row_sums *mine,
                                mltfr_fisher *fresh)
{
    mltfr_status st = MLTFR_OK;
    const int64_t blocks = run->batch->blocks, K = e->K;
    row_sums *all = NULL;

    MLTFR_AGREE(e->comm, RUN_TAKE(run, all, blocks * K));
    mltfr_comm_allgather_shares(e->comm, mine, blocks, K * (int64_t)sizeof *all, all);
    for (int64_t k = 0; k < K; k++)
        fresh->sum_omega[k] = fresh->num_beta[k] = fresh->n_rows[k] = 0.;
    for (int64_t i = 0; i < blocks * K; i++) {
        fresh->sum_omega[i % K] += all[i].omega;
        fresh->num_beta[i % K] += all[i].beta;
        fresh->n_rows[i % K] += all[i].rows;
    }
done:
    return st;
}

/* ---- E17 on the experts' side -------------------------------------------------------------- */

/* sqrt(omega) x of the kept rows of one routed block; how many there are. */
static int64_t kept_rows(const mltfr_engine *e, const mltfr_routed *r, int64_t k, int64_t at,
                         int64_t n, const float *omega, float *x)
{
    const mltfr_token_space *s = &e->space[k];
    int64_t kept = 0;

    for (int64_t i = at; i < at + n; i++) {
        if (omega[i] < 0.f)
            continue;
        float *out = x + kept++ * e->r_c, scale = sqrtf(omega[i]);
        mltfr_filter_mix(1, e->m, r->J + i * e->m, r->a + i * e->m, s->Z_pool, s->width, e->r_c,
                         out);
        for (int64_t c = 0; c < e->r_c; c++)
            out[c] *= scale;
    }
    return kept;
}

/* A of expert k, on its owner.  before: as in experts.c, of the experts before k. */
static mltfr_status sum_A(mltfr_engine *e, mltfr_run *run, int64_t k, mltfr_status before,
                          const float *omega, float *x, float *A)
{
    mltfr_status st = before;
    const mltfr_routed *r = &run->routed;
    const mltfr_token_space *s = &e->space[k];
    const int64_t blocks = run->batch->blocks, r_c = e->r_c;
    const int64_t *first = r->first + k * (e->size + 1);

    if (st == MLTFR_OK)
        st = mltfr_treesum_take(blocks, first[e->rank], first[e->rank + 1], r_c * r_c, &run->sum);
    MLTFR_AGREE(s->group, st);
    for (int64_t b = first[e->rank]; b < first[e->rank + 1]; b++) {
        const int64_t at = r->recv_at[k * blocks + b];
        const int64_t n = kept_rows(e, r, k, at, r->count[b * e->K + k], omega, x);
        mltfr_gemm_tn(r_c, r_c, n, x, r_c, x, r_c, 0.f, mltfr_treesum_next(run->sum), r_c);
        mltfr_treesum_push(run->sum);
    }
    MLTFR_TRY(mltfr_reduce_to(s->group, blocks, first + s->first_rank, r_c * r_c,
                              mltfr_treesum_parts(run->sum, NULL), s->root, A));
done:
    return st;
}

static mltfr_status sum_all_A(mltfr_engine *e, mltfr_run *run, const float *omega,
                              mltfr_fisher *fresh)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = e->r_c * e->r_c;
    float *x = NULL, *A = NULL;

    st = RUN_TAKE(run, x, run->routed.received * e->r_c);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, A, e->K * n);
    MLTFR_AGREE(e->comm, st);
    for (int64_t k = 0; k < e->K; k++)
        if (e->space[k].group != NULL)
            st = sum_A(e, run, k, st, omega, x, A + k * n);
    MLTFR_AGREE(e->comm, st);
    for (int64_t k = 0; k < e->K; k++)
        mltfr_comm_bcast(e->comm, A + k * n, n * (int64_t)sizeof *A, e->space[k].owner);
    for (int64_t i = 0; i < e->K * n; i++)
        fresh->num_A[i] = A[i];
done:
    return st;
}

mltfr_status mltfr_fisher_sample(mltfr_engine *e, mltfr_run *run, double aim)
{
    mltfr_status st = MLTFR_OK;
    mltfr_routed *r = &run->routed;
    float *omega = NULL, *omega_in = NULL;
    row_sums *sums = NULL;

    st = RUN_TAKE(run, omega, mltfr_exchange_sent(r->plan));
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, omega_in, r->received);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, sums, (run->last - run->first) * e->K);
    MLTFR_AGREE(e->comm, st);
    weigh_rows(e, run, aim, omega, sums);
    mltfr_exchange_forward(r->plan, sizeof *omega, omega, omega_in);
    MLTFR_TRY(gather_sums(e, run, sums, e->fresh));
    MLTFR_TRY(sum_all_A(e, run, omega_in, e->fresh));
    mltfr_fisher_add(e->fisher, e->fresh, e->set->fisher_decay);
done:
    return st;
}

/* ---- E18, E19 ------------------------------------------------------------------------------ */

static mltfr_consensus_rule rule_of(const mltfr_engine *e)
{
    switch (e->set->fisher_rule) {
    case MLTFR_FISHER_RULE_DIAGONAL:
        return MLTFR_CONSENSUS_DIAGONAL;
    case MLTFR_FISHER_RULE_UNIFORM:
        return MLTFR_CONSENSUS_UNIFORM;
    default:
        return MLTFR_CONSENSUS_KRON;
    }
}

/* The shared blocks of all W_v,k on every rank. */
static void gather_shared(mltfr_engine *e, float *W, const float *view[])
{
    const int64_t n = e->r_c * e->spec.backbone.d;

    for (int64_t k = 0; k < e->K; k++) {
        float *at = W + k * n;
        if (e->rank == e->space[k].owner)
            memcpy(at, e->space[k].wv, (size_t)n * sizeof *at);
        mltfr_comm_bcast(e->comm, at, n * (int64_t)sizeof *at, e->space[k].owner);
        view[k] = at;
    }
}

/* lhs W* = W by pdposv on the grid of all ranks; W is overwritten everywhere. */
static mltfr_status solve_on_grid(mltfr_engine *e, const double *lhs, double *W)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = e->r_c, d = e->spec.backbone.d;
    mltfr_grid *grid = NULL;
    mltfr_matrix *S = NULL, *B = NULL;

    MLTFR_TRY(mltfr_grid_create(e->comm, n, &grid));
    MLTFR_TRY(mltfr_matrix_create(grid, n, n, &S));
    MLTFR_TRY(mltfr_matrix_create(grid, n, d, &B));
    mltfr_matrix_set(S, lhs);
    mltfr_matrix_set(B, W);
    MLTFR_TRY(mltfr_matrix_solve(S, B));
    MLTFR_TRY(mltfr_matrix_get(B, 0, d, W));
done:
    mltfr_matrix_destroy(&B);
    mltfr_matrix_destroy(&S);
    mltfr_grid_destroy(&grid);
    return st;
}

/* The same on each rank for itself. */
static mltfr_status solve_here(mltfr_engine *e, const double *lhs, double *W)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = e->r_c;
    double *S = NULL, *X = NULL;

    MLTFR_TRY(RUN_TAKE(&e->run, S, n * n));
    MLTFR_TRY(RUN_TAKE(&e->run, X, n * e->spec.backbone.d));
    memcpy(S, lhs, (size_t)(n * n) * sizeof *S);
    MLTFR_TRY(mltfr_spd_solve(n, e->spec.backbone.d, S, W, X));
done:
    return st;
}

static mltfr_status solve(mltfr_engine *e, const double *lhs, double *W)
{
    const int64_t least = e->set->fisher_scalapack_min_n;

    if (least > 0 && e->r_c >= least)
        return solve_on_grid(e, lhs, W);
    return mltfr_comm_agree(e->comm, solve_here(e, lhs, W));
}

typedef struct {
    float *W;
    double *lhs, *rhs, *star;
} system_rooms;

static mltfr_status solve_system(mltfr_engine *e, system_rooms *x, double *W_star)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d, n = e->r_c * d;
    const float *view[MLTFR_MAX_LLMS];
    float *W_c = e->space[e->K].wv;

    gather_shared(e, x->W, view);
    mltfr_fisher_phi(e->fisher, rule_of(e), e->set->fisher_kappa, e->set->fisher_clip, e->phi);
    mltfr_consensus_system(e->fisher, rule_of(e), e->phi, e->set->fisher_ridge, d, view, W_c,
                           x->lhs, x->rhs);
    memcpy(x->star, x->rhs, (size_t)n * sizeof *x->star);
    MLTFR_TRY(solve(e, x->lhs, x->star));
    e->residual = mltfr_consensus_residual(e->r_c, d, x->lhs, x->rhs, x->star);
    if (!(e->residual <= 1e-4))
        MLTFR_FAIL(MLTFR_E_NUMERIC,
                   "step %lld: the consensus solve has residual %g, at most 1e-4 "
                   "is allowed",
                   (long long)e->at.step, e->residual);
    mltfr_consensus_blend(n, e->set->fisher_blend, x->star, W_c);
    if (W_star != NULL)
        memcpy(W_star, x->star, (size_t)n * sizeof *W_star);
done:
    return st;
}

mltfr_status mltfr_consensus_update(mltfr_engine *e, double *W_star)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = e->r_c * e->spec.backbone.d;
    system_rooms x = {0};

    st = RUN_TAKE(&e->run, x.W, e->K * n);
    if (st == MLTFR_OK)
        st = RUN_TAKE(&e->run, x.lhs, e->r_c * e->r_c);
    if (st == MLTFR_OK)
        st = RUN_TAKE(&e->run, x.rhs, n);
    if (st == MLTFR_OK)
        st = RUN_TAKE(&e->run, x.star, n);
    MLTFR_AGREE(e->comm, st);
    MLTFR_TRY(solve_system(e, &x, W_star));
    e->at.consensus_started = true;
done:
    return st;
}

void mltfr_consensus_pull_all(mltfr_engine *e, double lr)
{
    const int64_t *load = e->run.routed.load;
    int64_t all = 0;

    for (int64_t k = 0; k < e->K; k++)
        all += load[k];
    for (int64_t k = 0; k < e->K; k++)
        if (e->rank == e->space[k].owner)
            mltfr_consensus_pull(e->r_c * e->spec.backbone.d, lr, e->set->fisher_pull,
                                 (double)load[k] < .5 * (double)all / (double)e->K,
                                 e->space[e->K].wv, e->space[k].wv);
}

/* |a - b| / |b|. */
static double distance(int64_t n, const float *a, const float *b)
{
    double off = 0., size = 0.;

    for (int64_t i = 0; i < n; i++) {
        off += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return size > 0. ? sqrt(off / size) : 0.;
}

void mltfr_consensus_distances(mltfr_engine *e, double *out)
{
    const int64_t n = e->r_c * e->spec.backbone.d;

    for (int64_t k = 0; k < e->K; k++) {
        const int owner = e->space[k].owner;
        out[k] = 0.;
        if (e->rank == owner)
            out[k] = distance(n, e->space[k].wv, e->space[e->K].wv);
        mltfr_comm_bcast(e->comm, &out[k], sizeof out[k], owner);
    }
}
