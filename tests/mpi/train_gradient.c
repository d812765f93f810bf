/* Gradients of the whole model, as its ranks hold them, against central differences of the loss.
 *
 * A golden file gives the model: its choices of tokens and experts have margins, so they stay as
 * they are under a small step.  The loss is float32 inside, so steps go along many entries at once:
 * along the gradient on a random half of the entries of a tensor, where the slope must be the norm
 * of that half. */
#include "golden.h"
#include "mpi_test.h"
#include "replay_impl.h"

#include <mltfr/rng.h>

#include <math.h>
#include <string.h>

enum { HALVES = 3 };

typedef struct {
    mltfr_replay_case c;
    const mltfr_tensor *t;
    mltfr_slab *slab;
    int64_t n;      /* elements here */
    int64_t first;  /* number of the first of them in the whole tensor */
    bool counts;    /* this rank's share enters sums: replicas once */
    float *w, *dir; /* [n] values, and the direction of the step */
} probe;

static double loss_of(probe *x)
{
    mltfr_engine *e = x->c.e;

    mltfr_experts_share(e);
    mltfr_experts_project(e);
    MUST(mltfr_inject_apply(e));
    MUST(mltfr_run_forward(e, x->c.batch, MLTFR_TRAIN_DRY));
    MUST(mltfr_run_backward(e, false));
    return e->run.loss;
}

/* Sum over the ranks of something of which replicas count once. */
static double sum_over_ranks(const probe *x, double mine)
{
    double all[x->c.e->size], sum = 0;

    mine = x->counts ? mine : 0;
    mltfr_comm_allgather(x->c.comm, &mine, sizeof mine, all);
    for (int p = 0; p < x->c.e->size; p++)
        sum += all[p];
    return sum;
}

/* The tensor's values and gradient at the start. */
static void begin(probe *x, const mltfr_tensor *t)
{
    const mltfr_engine *e = x->c.e;

    x->t = t;
    x->slab = mltfr_params_slab(e->params, t);
    x->n = mltfr_params_local(e->params, t);
    x->first = t->place == MLTFR_PLACE_ITEM ? e->item_first * t->dims[1] : 0;
    x->counts = t->place == MLTFR_PLACE_ITEM   ? true
                : t->place == MLTFR_PLACE_DENSE ? e->rank == 0
                                                : e->rank == e->space[t->expert].first_rank;
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
    for (uint64_t half = 1; half <= HALVES; half++) {
        const double norm = take_half(x, gradient, half);
        for (double eps = 1e-4; eps < 0.1; eps *= 4) {
        const double slope = (loss_at(x, eps) - loss_at(x, -eps)) / (2. * eps);
        if (x->c.e->rank == 0) printf("%s %g: %g %g  %g\n", x->t->name, eps, norm, slope, slope / norm - 1);
        }
    }
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;
    probe x = {0};

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    x.c.comm = comm;
    MUST(mltfr_file_open(comm, golden_path("golden_mixed.h5"), &x.c.in));
    MUST(mltfr_replay_load(&x.c));
    mltfr_params *p = x.c.e->params;

    loss_of(&x);
    float **g;
    MUST(MLTFR_NEW(g, p->count));
    for (int64_t i = 0; i < p->count; i++) {
        const mltfr_tensor *t = &p->tensor[i];
        const int64_t n = mltfr_params_local(p, t);
        MUST(MLTFR_NEW(g[i], n));
        if (n > 0)
            memcpy(g[i], mltfr_params_slab(p, t)->g + t->offset, (size_t)n * sizeof *g[i]);
    }
    for (int64_t i = 0; i < p->count; i++) {
        if (p->tensor[i].trained) {
            begin(&x, &p->tensor[i]);
            check_tensor(&x, g[i]);
            end(&x);
        }
        MLTFR_FREE(g[i]);
    }
    MLTFR_FREE(g);
    mltfr_replay_unload(&x.c);
    mltfr_file_destroy(&x.c.in);
    return mpi_test_end(&comm);
}
