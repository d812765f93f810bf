/* Figures of the last training step for kind "experts" of metrics.jsonl, once an epoch: nothing is
 * computed for them in a step.  Sums go over the rows of a block in order, then over the blocks in
 * order, whoever has them. */
#include "engine.h"

#include <mltfr/optim.h>

#include <math.h>

/* Sums over the batch: squares of h and Delta; entropy of the consensus's weights. */
enum { H, DELTA, ENTROPY, SUMS };

/* Sum over n rows of the entropy of their weights [n][m]. */
static double entropy_of(int64_t n, int64_t m, const float *a)
{
    double sum = 0.;

    for (int64_t i = 0; i < n * m; i++)
        sum -= a[i] > 0.f ? (double)a[i] * log((double)a[i]) : 0.;
    return sum;
}

static void sum_users(const mltfr_engine *e, const mltfr_run *run, int64_t b, double *out)
{
    const int64_t d = e->spec.backbone.d, at = run->q_off[b] - run->q0;
    const int64_t n = mltfr_block_queries(run, b);

    out[H] = out[DELTA] = 0.;
    for (int64_t i = at * d; i < (at + n) * d; i++) {
        out[H] += (double)run->h[i] * (double)run->h[i];
        out[DELTA] += (double)run->delta[i] * (double)run->delta[i];
    }
    out[ENTROPY] = entropy_of(n, e->m, run->a_c + at * e->m);
}

/* The users' side: sizes of h and Delta, the consensus's weights. */
static mltfr_status diagnose_users(mltfr_engine *e, mltfr_run *run, mltfr_diagnosis *out)
{
    mltfr_status st = MLTFR_OK;
    double total[SUMS];

    MLTFR_TRY(mltfr_sum_blocks(e, run, SUMS, sum_users, total));
    out->delta = total[H] > 0. ? sqrt(total[DELTA] / total[H]) : 0.;
    out->entropy[e->K] = total[ENTROPY] / (double)run->q_off[run->batch->blocks];
done:
    return st;
}

/* The experts' side.  A routed block is computed by one rank, and 0 on the others: the largest is
 * its sum. */
static mltfr_status diagnose_experts(mltfr_engine *e, mltfr_run *run, mltfr_diagnosis *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_routed *r = &run->routed;
    const int64_t blocks = run->batch->blocks, K = e->K;
    double *sums = NULL;

    MLTFR_AGREE(e->comm, RUN_TAKE(run, sums, K * blocks));
    for (int64_t k = 0; k < K; k++)
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t at = r->recv_at[k * blocks + b];
            sums[k * blocks + b] =
                at < 0 ? 0. : entropy_of(r->count[b * K + k], e->m, r->a + at * e->m);
        }
    mltfr_comm_max_f64(e->comm, sums, K * blocks);
    for (int64_t k = 0; k < K; k++) {
        int64_t rows = 0;
        out->entropy[k] = 0.;
        for (int64_t b = 0; b < blocks; b++) {
            out->entropy[k] += sums[k * blocks + b];
            rows += r->count[b * K + k];
        }
        out->entropy[k] /= rows > 0 ? (double)rows : 1.;
    }
done:
    return st;
}

static void diagnose_gradients(const mltfr_engine *e, mltfr_diagnosis *out)
{
    const mltfr_slab *dense = &e->params->dense;
    const int64_t split = mltfr_params_backbone_end(e->params);

    out->grad_item = sqrt(e->item_squares);
    out->grad_backbone = sqrt(mltfr_sum_squares(split, dense->g));
    out->grad_mixture = sqrt(mltfr_sum_squares(dense->n - split, dense->g + split));
    for (int64_t k = 0; k < e->K; k++)
        out->grad_expert[k] = sqrt(e->expert_squares[k]);
}

mltfr_status mltfr_diagnose(mltfr_engine *e, mltfr_diagnosis *out)
{
    mltfr_status st = MLTFR_OK;
    const double whole = e->m > 1 ? log((double)e->m) : 1.;

    MLTFR_TRY(diagnose_users(e, &e->run, out));
    MLTFR_TRY(diagnose_experts(e, &e->run, out));
    for (int64_t k = 0; k <= e->K; k++)
        out->entropy[k] /= whole;
    diagnose_gradients(e, out);
done:
    return st;
}

void mltfr_pools_new(mltfr_engine *e, double *out)
{
    for (int64_t k = 0; k < mltfr_space_count(e); k++) {
        const mltfr_token_space *s = &e->space[k];
        out[k] = (double)s->pool_new / (double)s->M;
        mltfr_comm_bcast(e->comm, &out[k], sizeof out[k], s->owner);
    }
}
