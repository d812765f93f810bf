/* What the method promises of a training, whatever the numbers: nothing looks ahead, experts start
 * as if they were not there, a single space has no order of tokens, no expert dominates, the solve
 * of the consensus is one, ranking is exact. */
#include "planted_session.h"

#include <mltfr/log.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 64, STEPS = 12 };

static char path_a[PATH], path_b[PATH];

static void open_trained(mltfr_comm *comm, const mltfr_settings *set, int64_t steps, double *losses,
                         mltfr_session *s)
{
    MUST(mltfr_session_open(comm, set, s));
    planted_steps(s, steps, losses);
}

/* ---- causality ----------------------------------------------------------------------------- */

/* What the forward pass says of the own rows. */
typedef struct {
    int64_t row0, rows, d, K;
    float *h, *q, *p, *g, *gate, *H; /* [rows][d or K or 1] */
    uint8_t *selected;
} states;

static void *copy(const void *from, int64_t count, size_t size)
{
    void *to;

    MUST(mltfr_alloc(&to, (size_t)count, size));
    memcpy(to, from, (size_t)count * size);
    return to;
}

static states run_forward(mltfr_engine *e, const mltfr_batch *batch, mltfr_purpose purpose)
{
    const mltfr_run *run = &e->run;
    const int64_t d = e->spec.backbone.d, K = e->K;

    MUST(mltfr_run_forward(e, batch, purpose));
    const int64_t n = run->rows;

    return (states){run->row0,
                    n,
                    d,
                    K,
                    copy(run->h, n * d, sizeof(float)),
                    copy(run->q, n * d, sizeof(float)),
                    copy(run->routes.p, n * K, sizeof(float)),
                    copy(run->routes.g, n * K, sizeof(float)),
                    copy(run->routes.gate, n, sizeof(float)),
                    copy(run->H + run->row0 * d, n * d, sizeof(float)),
                    copy(run->routes.selected, n * K, 1)};
}

static void free_states(states *x)
{
    MLTFR_FREE(x->h);
    MLTFR_FREE(x->q);
    MLTFR_FREE(x->p);
    MLTFR_FREE(x->g);
    MLTFR_FREE(x->gate);
    MLTFR_FREE(x->H);
    MLTFR_FREE(x->selected);
}

/* Row i of an array has the same bits in both. */
static bool same_row(const void *a, const void *b, int64_t i, int64_t width, size_t size)
{
    const size_t bytes = (size_t)width * size;

    return memcmp((const char *)a + (size_t)i * bytes, (const char *)b + (size_t)i * bytes,
                  bytes) == 0;
}

static bool close_row(const float *a, const float *b, int64_t i, int64_t width)
{
    for (int64_t c = i * width; c < (i + 1) * width; c++)
        if (!(fabsf(a[c] - b[c]) <= 1e-5f))
            return false;
    return true;
}

/* h' comes from products over all rows of a block that go to an expert.  Where their number
 * changes, a BLAS may round otherwise. */
static bool same_states(const states *a, const states *b, int64_t i, bool dense)
{
    return same_row(a->h, b->h, i, a->d, sizeof(float)) &&
           same_row(a->q, b->q, i, a->d, sizeof(float)) &&
           same_row(a->p, b->p, i, a->K, sizeof(float)) &&
           same_row(a->g, b->g, i, a->K, sizeof(float)) &&
           same_row(a->selected, b->selected, i, a->K, 1) &&
           same_row(a->gate, b->gate, i, 1, sizeof(float)) &&
           (dense ? same_row(a->H, b->H, i, a->d, sizeof(float)) : close_row(a->H, b->H, i, a->d));
}

/* Other items from position `from` of every sequence on. */
static void change_tails(mltfr_batch *batch, int64_t from, int64_t items)
{
    for (int64_t u = 0; u < batch->users; u++)
        for (int64_t i = batch->off[u] + from; i < batch->off[u + 1]; i++)
            batch->items[i] = (int32_t)((batch->items[i] + 16) % items + 1);
}

/* Rows before `from` are as they were; of the others most are not. */
static void compare_heads(const states *a, const states *b, const mltfr_batch *batch, int64_t from,
                          bool dense)
{
    int64_t tails = 0, changed = 0;

    for (int64_t u = 0; u < batch->users; u++)
        for (int64_t i = batch->off[u]; i < batch->off[u + 1]; i++) {
            const int64_t own = i - a->row0;
            if (own < 0 || own >= a->rows)
                continue;
            const bool same = same_states(a, b, own, dense);
            if (i - batch->off[u] < from)
                CHECK(same, "from %d: row %d of user %d", (int)from, (int)(i - batch->off[u]),
                      (int)u);
            else
                tails++, changed += !same;
        }
    CHECK(2 * changed >= tails, "from %d: %d of %d rows changed", (int)from, (int)changed,
          (int)tails);
}

static void test_causality(mltfr_comm *comm, const mltfr_settings *set)
{
    const mltfr_purpose purposes[] = {MLTFR_TRAIN_DRY, MLTFR_TRAIN};
    mltfr_session s;
    mltfr_batch *batch = NULL;

    open_trained(comm, set, STEPS, NULL, &s);
    for (size_t i = 0; i < sizeof purposes / sizeof *purposes; i++)
        for (int64_t from = 1; from < 12; from += 5) {
            MUST(mltfr_session_batch(&s, 1, 0, &batch));
            states a = run_forward(s.engine, batch, purposes[i]);
            change_tails(batch, from, s.data->items);
            states b = run_forward(s.engine, batch, purposes[i]);
            compare_heads(&a, &b, batch, from, s.engine->k_r == s.engine->K);
            free_states(&a);
            free_states(&b);
            mltfr_batch_destroy(&batch);
        }
    mltfr_session_close(&s);
}

/* Where later rows go to other experts, those before share their experts' blocks with other rows.
 */
static void test_sparse_causality(mltfr_comm *comm, mltfr_settings set)
{
    planted p = planted_defaults();

    p.synthetic.llms = 3;
    planted_write(comm, path_a, &p);
    set.router_top_k = 1;
    test_causality(comm, &set);
}

/* ---- the start ----------------------------------------------------------------------------- */

/* Up to the first step with experts, whose W_v are zero, the losses are those without; then they
 * part. */
static void test_start(mltfr_comm *comm, mltfr_settings set, int inject)
{
    double with[STEPS], without[STEPS];
    mltfr_session s;
    int64_t start;

    set.item_inject = inject;
    open_trained(comm, &set, STEPS, with, &s);
    start = s.engine->at.expert_start;
    CHECK(start == mltfr_session_steps(&s), "start at step %d", (int)start);
    mltfr_session_close(&s);
    set.model_experts = false;
    open_trained(comm, &set, STEPS, without, &s);
    mltfr_session_close(&s);
    for (int64_t i = 0; i <= start; i++)
        CHECK(with[i] == without[i], "step %d: %.17g, %.17g", (int)i + 1, with[i], without[i]);
    CHECK(with[start + 1] != without[start + 1], "the experts do nothing");
}

/* ---- one space, its rows in another order --------------------------------------------------- */

static void test_permuted(mltfr_comm *comm)
{
    double losses[2][STEPS], plain[STEPS];
    planted p = planted_defaults();
    mltfr_settings set = planted_settings(path_a);
    mltfr_session s;

    p.synthetic.llms = 1;
    planted_write(comm, path_a, &p);
    p.permuted = true;
    planted_write(comm, path_b, &p);
    set.filter_explore = 0;
    set.router_top_k = 1;
    for (int i = 0; i < 2; i++) {
        set.data_path = i == 0 ? path_a : path_b;
        open_trained(comm, &set, STEPS, losses[i], &s);
        mltfr_session_close(&s);
    }
    set.model_experts = false;
    open_trained(comm, &set, STEPS, plain, &s);
    mltfr_session_close(&s);
    for (int i = 0; i < STEPS; i++)
        CHECK(fabs(losses[0][i] - losses[1][i]) <= 1e-5, "step %d: %.9g, %.9g", i + 1, losses[0][i],
              losses[1][i]);
    CHECK(fabs(losses[0][STEPS - 1] - plain[STEPS - 1]) > 1e-3, "the expert does nothing");
}

/* ---- domination ---------------------------------------------------------------------------- */

/* (s beta tr A)^kappa of the scaled expert, as a share. */
static double raw_share(const mltfr_engine *e, int64_t k)
{
    const int64_t K = e->K, n = e->r_c;
    double A[K * n * n], s[K], beta[K], sum = 0, mine = 0;

    mltfr_fisher_ratios(e->fisher, A, s, beta);
    for (int64_t j = 0; j < K; j++) {
        double trace = 0;
        for (int64_t i = 0; i < n; i++)
            trace += A[(j * n + i) * n + i];
        const double w = pow(s[j] * beta[j] * trace, e->set->fisher_kappa);
        sum += w;
        mine = j == k ? w : mine;
    }
    return mine / sum;
}

static void check_phi(const mltfr_engine *e)
{
    const double n = (double)e->K;
    double sum = 0;

    for (int64_t k = 0; k < e->K; k++) {
        CHECK(e->phi[k] >= .5 / n - 1e-9 && e->phi[k] <= 2. / n + 1e-9, "step %d: phi %g",
              (int)e->at.step, e->phi[k]);
        sum += e->phi[k];
    }
    CHECK(fabs(sum - 1) < 1e-9, "step %d: sum of phi %g", (int)e->at.step, sum);
}

/* An expert whose space is ten times as large would have nearly all the weight. */
static void test_domination(mltfr_comm *comm)
{
    planted p = planted_defaults();
    mltfr_settings set = planted_settings(path_a);
    mltfr_session s;

    p.synthetic.llms = 3;
    p.scaled = 1;
    p.scale = 10;
    planted_write(comm, path_a, &p);
    set.router_top_k = 3;
    open_trained(comm, &set, mltfr_session_steps(&(mltfr_session){.set = &set, .count = 140}), NULL,
                 &s);
    for (int i = 0; i < 5; i++) {
        planted_steps(&s, set.fisher_every, NULL);
        check_phi(s.engine);
    }
    CHECK(raw_share(s.engine, 1) > 2. / 3., "raw share %g", raw_share(s.engine, 1));
    CHECK(fabs(s.engine->phi[1] - 2. / 3.) < 1e-6, "phi %g", s.engine->phi[1]);
    mltfr_session_close(&s);
}

/* ---- the consensus solve ------------------------------------------------------------------- */

/* The shared block of W_v of every expert on every rank: [K][r_c][d]. */
static float *shared_blocks(const mltfr_engine *e)
{
    const int64_t n = e->r_c * e->spec.backbone.d;
    float *W;

    MUST(MLTFR_NEW(W, e->K * n));
    for (int64_t k = 0; k < e->K; k++) {
        if (e->rank == e->space[k].owner)
            memcpy(W + k * n, e->space[k].wv, (size_t)n * sizeof *W);
        mltfr_comm_bcast(e->comm, W + k * n, n * (int64_t)sizeof *W, e->space[k].owner);
    }
    return W;
}

/* | sum phi Ah (W* - W_k) + lam (W* - W_c) | over | sum phi Ah W_k + lam W_c |, literally. */
static double residual(const mltfr_engine *e, const double *A, const float *W, const float *W_c,
                       const double *star)
{
    const int64_t n = e->r_c, d = e->spec.backbone.d;
    const double lam = e->set->fisher_ridge;
    double left = 0, right = 0;

    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < d; c++) {
            double l = lam * (star[i * d + c] - W_c[i * d + c]), r = lam * W_c[i * d + c];
            for (int64_t k = 0; k < e->K; k++) {
                const double *Ak = A + k * n * n;
                double trace = 0;
                for (int64_t j = 0; j < n; j++)
                    trace += Ak[j * n + j];
                for (int64_t j = 0; j < n; j++) {
                    const double a = e->phi[k] * Ak[i * n + j] * (double)n / trace;
                    const float w = W[(k * n + j) * d + c];
                    l += a * (star[j * d + c] - w);
                    r += a * w;
                }
            }
            left += l * l;
            right += r * r;
        }
    return sqrt(left / right);
}

static void test_residual(mltfr_comm *comm, const mltfr_settings *set)
{
    mltfr_session s;

    open_trained(comm, set, STEPS, NULL, &s);
    mltfr_engine *e = s.engine;
    const int64_t n = e->r_c * e->spec.backbone.d;
    float *W = shared_blocks(e), *W_c = copy(e->space[e->K].wv, n, sizeof *W_c);
    double *star, *A, found;

    MUST(MLTFR_NEW(star, n));
    MUST(MLTFR_NEW(A, e->K * e->r_c * e->r_c));
    mltfr_fisher_ratios(e->fisher, A, NULL, NULL);
    MUST(mltfr_consensus_update(e, star));
    found = residual(e, A, W, W_c, star);
    CHECK(found <= 1e-4, "residual %g", found);
    CHECK(e->residual <= 1e-4, "residual said to be %g", e->residual);
    star[0] += 1.;
    CHECK(residual(e, A, W, W_c, star) > 1e-4, "a wrong solution passes");
    MLTFR_FREE(W);
    MLTFR_FREE(W_c);
    MLTFR_FREE(star);
    MLTFR_FREE(A);
    mltfr_session_close(&s);
}

/* The solve on the process grid agrees to rounding. */
static void test_grid_solve(mltfr_comm *comm, mltfr_settings set)
{
    double lapack[STEPS], grid[STEPS];
    mltfr_session s;

    open_trained(comm, &set, STEPS, lapack, &s);
    CHECK(s.engine->at.consensus_started, "no consensus");
    mltfr_session_close(&s);
    set.fisher_scalapack_min_n = 1;
    open_trained(comm, &set, STEPS, grid, &s);
    mltfr_session_close(&s);
    for (int i = 0; i < STEPS; i++)
        CHECK(fabs(lapack[i] - grid[i]) <= 1e-6, "step %d: %.9g, %.9g", i + 1, lapack[i], grid[i]);
}

/* ---- skew ---------------------------------------------------------------------------------- */

/* Every row chooses the same expert: the ranks share its blocks, and the bits stay. */
static void test_skew(mltfr_comm *comm, mltfr_comm *self, mltfr_settings set)
{
    double all[2 * STEPS], one[2 * STEPS], placed;
    const int size = mltfr_comm_size(comm);
    mltfr_session s;

    set.router_top_k = 1;
    set.router_balance = MLTFR_ROUTER_BALANCE_NONE;
    set.filter_pool = 64;
    for (int i = 0; i < 2; i++) {
        mltfr_comm *c = i == 0 ? comm : self;
        if (c == NULL)
            continue;
        MUST(mltfr_session_open(c, &set, &s));
        s.engine->at.router_bias[1] = 100.f;
        planted_steps(&s, 2 * STEPS, i == 0 ? all : one);
        CHECK(s.engine->run.routed.load[0] == 0, "a row chose the other expert");
        placed = s.engine->balance.most / s.engine->balance.mean;
        CHECK(placed < (i == 0 && size > 1 ? .8 * size : 1.01), "load %g on %d ranks", placed,
              size);
        mltfr_session_close(&s);
    }
    CHECK(self == NULL || memcmp(all, one, sizeof all) == 0, "other bits than on one rank");
    mltfr_comm_barrier(comm);
}

/* ---- items --------------------------------------------------------------------------------- */

/* When pools are renewed, E' follows at once. */
static void test_renewed_items(mltfr_comm *comm, mltfr_settings set, int inject)
{
    mltfr_session s;

    set.item_inject = inject;
    MUST(mltfr_session_open(comm, &set, &s));
    const int64_t n = s.engine->item_rows * s.engine->spec.backbone.d;

    planted_steps(&s, 3 * mltfr_session_steps(&s), NULL);
    MUST(mltfr_schedule_epoch(&s, 4));
    float *E = copy(s.engine->E, n, sizeof *E);

    MUST(mltfr_inject_apply(s.engine));
    CHECK(memcmp(E, s.engine->E, (size_t)n * sizeof *E) == 0, "item.inject %d: E' is of old pools",
          inject);
    MLTFR_FREE(E);
    mltfr_session_close(&s);
}

/* ---- ranking ------------------------------------------------------------------------------- */

/* Ranks of the targets of every user's last position of a batch, nothing excluded. */
static int64_t *rank_batch(const mltfr_session *s, int64_t *users, float *tiles)
{
    mltfr_batch *batch = NULL;
    int64_t *rank, *none;
    int32_t *targets;

    MUST(mltfr_session_batch(s, 1, 0, &batch));
    *users = batch->users;
    MUST(MLTFR_NEW(rank, *users));
    MUST(MLTFR_NEW(none, *users + 1));
    MUST(MLTFR_NEW(targets, *users));
    for (int64_t u = 0; u < *users; u++)
        targets[u] = batch->targets[batch->off[u + 1] - 1];
    MUST(mltfr_rank_batch(s->engine, batch, targets, none, NULL, rank, tiles));
    mltfr_batch_destroy(&batch);
    MLTFR_FREE(none);
    MLTFR_FREE(targets);
    return rank;
}

/* All ranks and one alone (self: of rank 0) rank alike, to the integer. */
static void test_ranking(mltfr_comm *comm, mltfr_comm *self, const mltfr_settings *set)
{
    mltfr_session s;
    int64_t users, *all, *one;

    open_trained(comm, set, STEPS, NULL, &s);
    all = rank_batch(&s, &users, NULL);
    for (int64_t u = 0; u < users; u++)
        CHECK(all[u] >= 1 && all[u] <= s.data->items, "user %d: rank %d", (int)u, (int)all[u]);
    mltfr_session_close(&s);
    if (self != NULL) {
        open_trained(self, set, STEPS, NULL, &s);
        one = rank_batch(&s, &users, NULL);
        CHECK(memcmp(all, one, (size_t)users * sizeof *all) == 0, "other ranks than on one rank");
        MLTFR_FREE(one);
        mltfr_session_close(&s);
    }
    MLTFR_FREE(all);
    mltfr_comm_barrier(comm);
}

/* Tiles of scores that are computed twice give the ranks of those that are kept. */
static void test_streamed_ranking(mltfr_comm *comm, mltfr_settings set)
{
    enum { ITEMS = 90000, USERS = 250 };
    planted p = planted_defaults();
    mltfr_session s;
    int64_t users, *streamed, *kept;

    p.synthetic.items = ITEMS;
    p.synthetic.users = USERS;
    set.train_batch = USERS;
    planted_write(comm, path_b, &p);
    set.data_path = set.tokens_path = path_b;
    MUST(mltfr_session_open(comm, &set, &s));
    float *tiles;

    MUST(MLTFR_NEW(tiles, USERS * s.engine->item_rows));
    streamed = rank_batch(&s, &users, NULL);
    kept = rank_batch(&s, &users, tiles);
    CHECK(memcmp(streamed, kept, (size_t)users * sizeof *kept) == 0, "streamed ranks differ");
    MLTFR_FREE(tiles);
    MLTFR_FREE(streamed);
    MLTFR_FREE(kept);
    mltfr_session_close(&s);
}

static void test_all(mltfr_comm *comm, mltfr_comm *self)
{
    mltfr_settings set = planted_settings(path_a);
    planted p = planted_defaults();

    planted_write(comm, path_a, &p);
    test_causality(comm, &set);
    for (int inject = MLTFR_ITEM_INJECT_NONE; inject <= MLTFR_ITEM_INJECT_MIXTURE; inject++)
        test_start(comm, set, inject);
    test_residual(comm, &set);
    test_grid_solve(comm, set);
    test_renewed_items(comm, set, MLTFR_ITEM_INJECT_STATIC);
    test_renewed_items(comm, set, MLTFR_ITEM_INJECT_MIXTURE);
    test_ranking(comm, self, &set);
    test_streamed_ranking(comm, set);
    test_skew(comm, self, set);
    test_sparse_causality(comm, set);
    test_permuted(comm);
    test_domination(comm);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm, *self;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    MUST(mltfr_comm_group(comm, 0, 0, &self));
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    snprintf(path_a, PATH, "train_method.np%d.a.h5", mltfr_comm_size(comm));
    snprintf(path_b, PATH, "train_method.np%d.b.h5", mltfr_comm_size(comm));
    test_all(comm, self);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0) {
        unlink(path_a);
        unlink(path_b);
    }
    mltfr_comm_destroy(&self);
    return mpi_test_end(&comm);
}
