/* Figures about the experts for metrics.jsonl, each against another way to it: |Delta| from h and
 * h', entropies from the scores in place of the weights, norms of parts from the norm of the whole,
 * what is new in a pool from the pools before and after. */
#include "planted_session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 64 };

static char path[PATH];

/* The sum of everybody's x, which need not have the same bits: through an integer. */
static double sum_all(mltfr_comm *comm, double x)
{
    int64_t n = llround(x * 1e9);

    mltfr_comm_sum_i64(comm, &n, 1);
    return (double)n / 1e9;
}

static void check_near(const char *what, double seen, double wanted)
{
    CHECK(fabs(seen - wanted) <= 1e-4 * fabs(wanted) + 1e-7, "%s: %.9g, not %.9g", what, seen,
          wanted);
}

static void check_delta(mltfr_engine *e, const mltfr_diagnosis *seen)
{
    const mltfr_run *run = &e->run;
    const int64_t d = e->spec.backbone.d;
    double off = 0, size = 0;

    for (int64_t i = 0; i < run->queries * d; i++) {
        const double h = run->h[i], delta = run->H[run->q0 * d + i] - h;
        off += delta * delta;
        size += h * h;
    }
    check_near("delta", seen->delta, sqrt(sum_all(e->comm, off) / sum_all(e->comm, size)));
    CHECK(seen->delta > 0, "no Delta");
}

static void check_entropy(mltfr_engine *e, const mltfr_diagnosis *seen)
{
    const mltfr_run *run = &e->run;
    const mltfr_routed *r = &run->routed;
    const int64_t blocks = run->batch->blocks, m = e->m;
    const double whole = log((double)m);
    double rows, sum;

    sum = mltfr_filter_entropy(run->queries, m, run->s_c, mltfr_expert_filter(e, e->K, false).tau);
    check_near("entropy of the consensus", seen->entropy[e->K],
               sum_all(e->comm, sum) / whole / (double)run->q_off[blocks]);
    for (int64_t k = 0; k < e->K; k++) {
        rows = sum = 0;
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t at = r->recv_at[k * blocks + b], n = r->count[b * e->K + k];
            if (at >= 0)
                sum +=
                    mltfr_filter_entropy(n, m, r->s + at * m, mltfr_expert_filter(e, k, false).tau);
            rows += (double)n;
        }
        check_near("entropy of an expert", seen->entropy[k], sum_all(e->comm, sum) / whole / rows);
        CHECK(seen->entropy[k] > .05 && seen->entropy[k] < 1, "entropy %g", seen->entropy[k]);
    }
}

static void check_norms(const mltfr_engine *e, const mltfr_diagnosis *seen)
{
    double sum = seen->grad_item * seen->grad_item + seen->grad_backbone * seen->grad_backbone +
                 seen->grad_mixture * seen->grad_mixture;

    for (int64_t k = 0; k < e->K; k++) {
        CHECK(seen->grad_expert[k] > 0, "expert %d has no gradient", (int)k);
        sum += seen->grad_expert[k] * seen->grad_expert[k];
    }
    CHECK(fabs(sqrt(sum) / e->grad_norm - 1) < 1e-12, "norm %.17g, not %.17g", sqrt(sum),
          e->grad_norm);
    CHECK(seen->grad_backbone > 0 && seen->grad_mixture > 0, "a part has no gradient");
}

static void check_pools(mltfr_session *s)
{
    mltfr_engine *e = s->engine;
    const mltfr_token_space *space = &e->space[e->K]; /* the consensus's, which all ranks have */
    const int64_t M = space->M;
    double share[MLTFR_MAX_LLMS + 1];
    int64_t old[M], same = 0;

    mltfr_pools_new(e, share);
    for (int64_t k = 0; k <= e->K; k++)
        CHECK(share[k] == 1, "the first pool: %g", share[k]);
    memcpy(old, space->pool, sizeof old);
    MUST(mltfr_schedule_epoch(s, e->at.epoch + 1));
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < M; j++)
            same += old[i] == space->pool[j];
    mltfr_pools_new(e, share);
    CHECK(share[e->K] == (double)(M - same) / (double)M && same < M, "%g is new, %d of %d stay",
          share[e->K], (int)same, (int)M);
}

int main(int argc, char **argv)
{
    const planted p = planted_defaults();
    mltfr_comm *comm;
    mltfr_session s;
    mltfr_diagnosis seen;
    mltfr_batch *batch = NULL;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    snprintf(path, PATH, "train_diagnose.np%d.h5", mltfr_comm_size(comm));
    planted_write(comm, path, &p);
    mltfr_settings set = planted_settings(path);

    set.train_warmup_epochs = 0;
    set.train_lr = 0; /* tau of the step is still there after it */
    MUST(mltfr_session_open(comm, &set, &s));
    for (int64_t k = 0; k < s.engine->K; k++) /* W_v = 0 would add nothing */
        for (int64_t i = 0; s.engine->space[k].wv != NULL &&
                            i < s.engine->space[k].width * s.engine->spec.backbone.d;
             i++)
            s.engine->space[k].wv[i] = .01f * (float)(i % 7);
    planted_steps(&s, 1, NULL);
    MUST(mltfr_session_batch(&s, 1, 1, &batch));
    MUST(mltfr_schedule_step(&s, batch));
    MUST(mltfr_diagnose(s.engine, &seen));
    check_delta(s.engine, &seen);
    check_entropy(s.engine, &seen);
    check_norms(s.engine, &seen);
    check_pools(&s);
    mltfr_batch_destroy(&batch);
    mltfr_session_close(&s);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0)
        unlink(path);
    return mpi_test_end(&comm);
}
