/* tau of each expert: the mean entropy of its token weights over all rows of a batch becomes a
 * given share of log m (C13).  Sharers split the blocks; entropies are summed in block order. */
#include "engine.h"

#include <math.h>
#include <string.h>

typedef struct {
    mltfr_engine *e;
    mltfr_token_space *s;
    int64_t n, blocks, first, last; /* rows and blocks in all; own blocks */
    const int64_t *at;              /* [blocks + 1] first row of each block */
    float *scores;                  /* [own rows][m] top scores */
    double *sums;                   /* [blocks] */
    int64_t *bytes;                 /* [sharers] */
} calibration;

static double mean_entropy(void *context, double log_tau)
{
    calibration *x = context;
    double mine[x->last - x->first + 1], sum = 0.;

    for (int64_t b = x->first; b < x->last; b++)
        mine[b - x->first] =
            mltfr_filter_entropy(x->at[b + 1] - x->at[b], x->e->m,
                                 x->scores + (x->at[b] - x->at[x->first]) * x->e->m, exp(log_tau));
    mltfr_comm_allgatherv(x->s->group, mine, x->bytes, x->sums);
    for (int64_t b = 0; b < x->blocks; b++)
        sum += x->sums[b];
    return sum / (double)x->n;
}

static mltfr_status own_scores(calibration *x, const float *q)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_filter f = mltfr_expert_filter(x->e, x->s->k, false);
    const int64_t rows = x->at[x->last] - x->at[x->first], d = f.d, m = f.m;
    float *scratch = NULL, *a = NULL, *y = NULL;
    int32_t *J = NULL;

    MLTFR_TRY(MLTFR_NEW(scratch, mltfr_filter_scratch(&f)));
    MLTFR_TRY(MLTFR_NEW(a, rows * m));
    MLTFR_TRY(MLTFR_NEW(J, rows * m));
    MLTFR_TRY(MLTFR_NEW(y, rows * d));
    for (int64_t b = x->first; b < x->last; b++) {
        const int64_t i = x->at[b] - x->at[x->first];
        mltfr_filter_forward(&f, x->at[b + 1] - x->at[b], q + x->at[b] * d, NULL, scratch,
                             J + i * m, x->scores + i * m, a + i * m, y + i * d);
    }
done:
    MLTFR_FREE(scratch);
    MLTFR_FREE(a);
    MLTFR_FREE(J);
    MLTFR_FREE(y);
    return st;
}

/* before: as in experts.c, of the spaces before this one. */
static mltfr_status calibrate_space(calibration *x, const float *q, mltfr_status before)
{
    mltfr_status st = before;
    mltfr_engine *e = x->e;
    mltfr_token_space *s = x->s;
    const int sharers = s->last_rank - s->first_rank + 1;

    x->first = mltfr_space_first(e, s->k, x->blocks, e->rank);
    x->last = mltfr_space_first(e, s->k, x->blocks, e->rank + 1);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(x->scores, (x->at[x->last] - x->at[x->first]) * e->m);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(x->sums, x->blocks);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(x->bytes, sharers);
    if (st == MLTFR_OK)
        st = own_scores(x, q);
    MLTFR_AGREE(s->group, st);
    for (int p = 0; p < sharers; p++)
        x->bytes[p] = (mltfr_space_first(e, s->k, x->blocks, s->first_rank + p + 1) -
                       mltfr_space_first(e, s->k, x->blocks, s->first_rank + p)) *
                      (int64_t)sizeof(double);
    *s->log_tau =
        (float)mltfr_filter_calibrate(mean_entropy, x, e->set->filter_entropy * log((double)e->m));
done:
    MLTFR_FREE(x->scores);
    MLTFR_FREE(x->sums);
    MLTFR_FREE(x->bytes);
    return st;
}

mltfr_status mltfr_calibrate(mltfr_engine *e, int64_t n, const int64_t *blocks_at, int64_t blocks,
                             const float *q, double *tau)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t k = 0; k < mltfr_space_count(e); k++) {
        calibration x = {.e = e, .s = &e->space[k], .n = n, .blocks = blocks, .at = blocks_at};
        if (x.s->group != NULL)
            st = calibrate_space(&x, q, st);
    }
    MLTFR_AGREE(e->comm, st);
    for (int64_t k = 0; tau != NULL && k < mltfr_space_count(e); k++) {
        float log_tau = e->space[k].group != NULL ? *e->space[k].log_tau : 0.f;
        mltfr_comm_bcast(e->comm, &log_tau, sizeof log_tau, e->space[k].owner);
        tau[k] = exp((double)log_tau);
    }
done:
    return st;
}
