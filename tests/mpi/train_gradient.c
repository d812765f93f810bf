/* Gradients of the whole model, as its ranks hold them, against central differences of the loss.
 *
 * Steps go along many entries at once, as the loss is float32 inside: along the gradient on a
 * random half of the entries of a tensor, where the slope must be the norm of that half.  Choices
 * of tokens and experts must stay as they are under such a step: a golden file gives a model that
 * has margins, planted examples keep every token of a small pool. */
#include "golden.h"
#include "planted_session.h"
#include "replay_impl.h"

#include <mltfr/log.h>
#include <mltfr/rng.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { HALVES = 3 };

typedef struct {
    mltfr_engine *e;
    const mltfr_batch *batch;
    const mltfr_tensor *t;
    mltfr_slab *slab;
    int64_t n;      /* elements here */
    int64_t first;  /* number of the first of them in the whole tensor */
    bool counts;    /* this rank's share enters sums: replicas once */
    float *w, *dir; /* [n] values, and the direction of the step */
} probe;

static double loss_of(probe *x)
{
    mltfr_engine *e = x->e;

    mltfr_experts_share(e);
    mltfr_experts_project(e);
    MUST(mltfr_inject_apply(e));
    MUST(mltfr_run_forward(e, x->batch, MLTFR_TRAIN_DRY));
    MUST(mltfr_run_backward(e, false));
    return e->run.loss;
}

/* Sum over the ranks of something of which replicas count once. */
static double sum_over_ranks(const probe *x, double mine)
{
    double all[x->e->size], sum = 0;

    mine = x->counts ? mine : 0;
    mltfr_comm_allgather(x->e->comm, &mine, sizeof mine, all);
    for (int p = 0; p < x->e->size; p++)
        sum += all[p];
    return sum;
}

/* The tensor's values and gradient at the start. */
static void begin(probe *x, const mltfr_tensor *t)
{
    const mltfr_engine *e = x->e;

    x->t = t;
    x->slab = mltfr_params_slab(e->params, t);
    x->n = mltfr_params_local(e->params, t);
    x->first = t->place == MLTFR_PLACE_ITEM ? e->item_first * t->dims[1] : 0;
    x->counts = t->place == MLTFR_PLACE_ITEM    ? true
                : t->place == MLTFR_PLACE_DENSE ? e->rank == 0
                                                : e->rank == e->space[t->expert].owner;
    MUST(MLTFR_NEW(x->w, x->n));
    MUST(MLTFR_NEW(x->dir, x->n));
    if (x->n > 0)
        memcpy(x->w, x->slab->w + t->offset, (size_t)x->n * sizeof *x->w);
}

static void end(probe *x)
{
    if (x->n > 0)
        memcpy(x->slab->w + x->t->offset, x->w, (size_t)x->n * sizeof *x->w);
    MLTFR_FREE(x->w);
    MLTFR_FREE(x->dir);
}

/* The gradient on a half of the entries, to length 1; its length is returned. */
static double take_half(probe *x, const float *gradient, uint64_t half)
{
    const uint64_t key = mltfr_rng_key(half, MLTFR_RNG_SYNTHETIC, 0);
    double sum = 0;

    for (int64_t i = 0; i < x->n; i++) {
        const bool in = x->t->dims[0] * x->t->dims[1] == 1 ||
                        mltfr_rng_uniform(key, (uint64_t)(x->first + i)) < .5;
        x->dir[i] = in ? gradient[i] : 0.f;
        sum += (double)x->dir[i] * x->dir[i];
    }
    sum = sqrt(sum_over_ranks(x, sum));
    for (int64_t i = 0; i < x->n; i++)
        x->dir[i] = sum > 0. ? (float)(x->dir[i] / sum) : 0.f;
    return sum;
}

static double loss_at(probe *x, double step)
{
    float *w = x->slab->w + x->t->offset;

    for (int64_t i = 0; i < x->n; i++)
        w[i] = x->w[i] + (float)step * x->dir[i];
    return loss_of(x);
}

static void check_tensor(probe *x, const float *gradient)
{
    const double eps = 1.6e-3;

    for (uint64_t half = 1; half <= HALVES; half++) {
        const double norm = take_half(x, gradient, half);
        const double slope = (loss_at(x, eps) - loss_at(x, -eps)) / (2. * eps);

        CHECK(fabs(slope - norm) <= 2e-3 * norm + 5e-5, "%s, half %d: slope %g, norm %g",
              x->t->name, (int)half, slope, norm);
    }
}

/* All gradients at the start, by tensor. */
static float **copy_gradients(probe *x)
{
    mltfr_params *p = x->e->params;
    float **g;

    MUST(MLTFR_NEW(g, p->count));
    for (int64_t i = 0; i < p->count; i++) {
        const mltfr_tensor *t = &p->tensor[i];
        const int64_t n = mltfr_params_local(p, t);

        MUST(MLTFR_NEW(g[i], n));
        if (n > 0)
            memcpy(g[i], mltfr_params_slab(p, t)->g + t->offset, (size_t)n * sizeof *g[i]);
    }
    return g;
}

static void check_all(mltfr_engine *e, const mltfr_batch *batch)
{
    probe x = {.e = e, .batch = batch};
    float **g;

    loss_of(&x);
    g = copy_gradients(&x);
    for (int64_t i = 0; i < e->params->count; i++) {
        if (e->params->tensor[i].trained) {
            begin(&x, &e->params->tensor[i]);
            check_tensor(&x, g[i]);
            end(&x);
        }
        MLTFR_FREE(g[i]);
    }
    MLTFR_FREE(g);
}

static void test_golden(mltfr_comm *comm, const char *name)
{
    mltfr_replay_case c = {.comm = comm};

    MUST(mltfr_file_open(comm, golden_path(name), &c.in));
    MUST(mltfr_replay_load(&c));
    check_all(c.e, c.batch);
    mltfr_replay_unload(&c);
    mltfr_file_destroy(&c.in);
}

/* After a few steps with experts, on a batch of the next epoch. */
static void test_planted(mltfr_comm *comm, const mltfr_settings *set)
{
    mltfr_session s;
    mltfr_batch *batch = NULL;

    MUST(mltfr_session_open(comm, set, &s));
    planted_steps(&s, 3 * mltfr_session_steps(&s), NULL);
    MUST(mltfr_session_batch(&s, 4, 0, &batch));
    check_all(s.engine, batch);
    mltfr_batch_destroy(&batch);
    mltfr_session_close(&s);
}

static void test_others(mltfr_comm *comm, const char *path)
{
    mltfr_settings set = planted_settings(path);
    planted p = planted_defaults();

    planted_write(comm, path, &p);
    set.train_batch = 60;
    set.train_lr = .02;
    set.filter_pool = set.filter_top_m = 12;
    set.filter_detach_query = false;
    set.item_inject = MLTFR_ITEM_INJECT_MIXTURE;
    test_planted(comm, &set);
    set.item_inject = MLTFR_ITEM_INJECT_STATIC;
    set.train_loss = MLTFR_TRAIN_LOSS_SAMPLED;
    set.train_negatives = 20;
    test_planted(comm, &set);
    set.fisher_rule = MLTFR_FISHER_RULE_NONE;
    set.train_loss = MLTFR_TRAIN_LOSS_BCE;
    test_planted(comm, &set);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0)
        unlink(path);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;
    char path[64];

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    snprintf(path, sizeof path, "train_gradient.np%d.h5", mltfr_comm_size(comm));
    test_golden(comm, "golden_mixed.h5");
    test_golden(comm, "golden_bsarec.h5");
    test_golden(comm, "golden_gru4rec.h5");
    test_others(comm, path);
    return mpi_test_end(&comm);
}
