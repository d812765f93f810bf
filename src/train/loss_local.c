/* Losses over a few items, computed where the rows are: sampled softmax and binary cross-entropy
 * (E4).  E' of targets and negatives came with the inputs; their gradients go back with them.
 *
 * sampled  negatives are drawn for a user block by hash; with q_i the chance of item i, a
 * negative's logit is lowered by log(negatives q_i), so that the sum estimates the full softmax's;
 *          a negative that is the row's target is masked.
 * bce      one negative a row, drawn outside the row's own sequence (a few tries). */
#include "engine.h"

#include <mltfr/linalg.h>
#include <mltfr/rng.h>

#include <math.h>
#include <string.h>

enum { TRIES = 16 };

/* ---- negatives ----------------------------------------------------------------------------- */

int64_t mltfr_negatives_count(const mltfr_engine *e, const mltfr_run *run)
{
    switch (e->set->train_loss) {
    case MLTFR_TRAIN_LOSS_SAMPLED:
        return (run->last - run->first) * e->set->train_negatives;
    case MLTFR_TRAIN_LOSS_BCE:
        return run->rows;
    default:
        return 0;
    }
}

/* The item whose stretch of cumulative counts holds `at`. */
static int32_t by_frequency(const int64_t *f, int64_t items, int64_t at)
{
    int64_t lo = 0, hi = items;

    while (hi - lo > 1) {
        const int64_t mid = (lo + hi) / 2;
        if (f[mid] <= at)
            lo = mid;
        else
            hi = mid;
    }
    return (int32_t)(lo + 1);
}

static int32_t draw(const mltfr_engine *e, uint64_t key, int64_t i)
{
    const int64_t I = e->spec.items;

    if (e->frequency == NULL)
        return 1 + (int32_t)mltfr_rng_below(key, (uint64_t)i, (uint64_t)I);
    return by_frequency(e->frequency, I,
                        (int64_t)(mltfr_rng_uniform(key, (uint64_t)i) * (double)e->frequency[I]));
}

static bool in_sequence(const mltfr_batch *b, int64_t user, int32_t id)
{
    for (int32_t i = b->off[user]; i < b->off[user + 1]; i++)
        if (b->items[i] == id || b->targets[i] == id)
            return true;
    return false;
}

static void draw_rows(const mltfr_engine *e, const mltfr_run *run, uint64_t key, int32_t *ids)
{
    const mltfr_batch *b = run->batch;

    for (int64_t u = b->block_user[run->first]; u < b->block_user[run->last]; u++)
        for (int64_t row = b->off[u]; row < b->off[u + 1]; row++) {
            int32_t id = draw(e, key, row * TRIES);
            for (int64_t t = 1; t < TRIES && in_sequence(b, u, id); t++)
                id = draw(e, key, row * TRIES + t);
            *ids++ = id;
        }
}

void mltfr_negatives_draw(const mltfr_engine *e, const mltfr_run *run, int32_t *ids)
{
    const uint64_t key =
        mltfr_rng_key((uint64_t)e->set->train_seed, MLTFR_RNG_NEGATIVES, (uint64_t)e->at.step);
    const int64_t n = e->set->train_negatives;

    if (!run->keeps)
        return;
    if (e->set->train_loss == MLTFR_TRAIN_LOSS_BCE)
        draw_rows(e, run, key, ids);
    else if (e->set->train_loss == MLTFR_TRAIN_LOSS_SAMPLED)
        for (int64_t i = 0; i < (run->last - run->first) * n; i++)
            ids[i] = draw(e, key, run->first * n + i);
}

/* ---- sampled softmax ----------------------------------------------------------------------- */

static float dot(int64_t d, const float *a, const float *b)
{
    float sum = 0.f;

    for (int64_t c = 0; c < d; c++)
        sum += a[c] * b[c];
    return sum;
}

typedef struct {
    mltfr_engine *e;
    mltfr_run *run;
    int64_t d, n; /* width; negatives of a block */
    float inv_rows;
    float *N;         /* [n][d] E' of the block's negatives */
    float *logq, *e2; /* [n] log(n q_i); |E'_i|^2 */
    float *logits;    /* [rows of a block][n] */
} sampled;

static void load_negatives(sampled *x, int64_t b)
{
    const mltfr_engine *e = x->e;
    const mltfr_item_rows *item = &x->run->item;
    const int32_t *slot = item->negative_slot + (b - x->run->first) * x->n;

    for (int64_t i = 0; i < x->n; i++) {
        const float *row = item->E + slot[i] * x->d;
        double q = 1. / (double)e->spec.items;
        if (e->frequency != NULL) {
            const int64_t *f = e->frequency + item->ids[slot[i]];
            q = (double)(f[0] - f[-1]) / (double)e->frequency[e->spec.items];
        }
        memcpy(x->N + i * x->d, row, (size_t)x->d * sizeof *row);
        x->logq[i] = (float)log((double)x->n * q);
        x->e2[i] = dot(x->d, row, row);
    }
}

/* One row: loss, p - [target] times 1/N in place of the logits; the target's goes to *dt. */
static float sampled_row(const sampled *x, float *l, float target, const int32_t *slot, int32_t own,
                         float *dt, float *p_e2)
{
    float top = target, sum;

    for (int64_t i = 0; i < x->n; i++) {
        l[i] = slot[i] == own ? -INFINITY : l[i] - x->logq[i];
        top = l[i] > top ? l[i] : top;
    }
    sum = expf(target - top);
    *p_e2 = sum * *p_e2;
    *dt = sum;
    for (int64_t i = 0; i < x->n; i++) {
        l[i] = expf(l[i] - top);
        sum += l[i];
        *p_e2 += l[i] * x->e2[i];
    }
    *p_e2 /= sum;
    for (int64_t i = 0; i < x->n; i++)
        l[i] *= x->inv_rows / sum;
    *dt = (*dt / sum - 1.f) * x->inv_rows;
    return logf(sum) + (top - target);
}

static void sampled_block(sampled *x, int64_t b)
{
    mltfr_run *run = x->run;
    mltfr_item_rows *item = &run->item;
    const int64_t d = x->d, from = run->q_off[b] - run->q0;
    const int64_t rows = mltfr_block_queries(run, b), at = (b - run->first) * x->n;
    const float *H = run->H + run->q_off[b] * d;
    float *dh = run->dh + from * d;

    load_negatives(x, b);
    mltfr_gemm_nt(rows, x->n, d, H, d, x->N, d, 0.f, x->logits, x->n);
    for (int64_t i = 0; i < rows; i++) {
        const int32_t own = item->target_slot[from + i];
        const float *E = item->E + own * d;
        run->p_e2[from + i] = dot(d, E, E);
        run->row_loss[from + i] =
            sampled_row(x, x->logits + i * x->n, dot(d, H + i * d, E), item->negative_slot + at,
                        own, &item->target_grad[from + i], &run->p_e2[from + i]);
    }
    mltfr_gemm_nn(rows, d, x->n, x->logits, x->n, x->N, d, 0.f, dh, d);
    mltfr_gemm_tn(x->n, d, rows, x->logits, x->n, H, d, 0.f, item->negative_grad + at * d, d);
    for (int64_t i = 0; i < rows; i++) {
        const float *E = item->E + item->target_slot[from + i] * d;
        for (int64_t c = 0; c < d; c++)
            dh[i * d + c] += item->target_grad[from + i] * E[c];
    }
}

static mltfr_status loss_sampled(mltfr_engine *e, mltfr_run *run, float inv_rows)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = e->set->train_negatives, d = e->spec.backbone.d;
    sampled x = {.e = e, .run = run, .d = d, .n = n, .inv_rows = inv_rows};

    run->item.negatives = n;
    MLTFR_TRY(RUN_TAKE(run, run->item.target_grad, run->rows));
    MLTFR_TRY(RUN_TAKE(run, run->item.negative_grad, (run->last - run->first) * n * d));
    MLTFR_TRY(RUN_TAKE(run, x.N, n * d));
    MLTFR_TRY(RUN_TAKE(run, x.logq, n));
    MLTFR_TRY(RUN_TAKE(run, x.e2, n));
    MLTFR_TRY(RUN_TAKE(run, x.logits, mltfr_most_queries(run, run->first, run->last) * n));
    for (int64_t b = run->first; b < run->last; b++)
        sampled_block(&x, b);
done:
    return st;
}

/* ---- binary cross-entropy ------------------------------------------------------------------ */

/* log(1 + e^x) without overflow. */
static float softplus(float x)
{
    return x > 0.f ? x + log1pf(expf(-x)) : log1pf(expf(x));
}

static mltfr_status loss_bce(mltfr_engine *e, mltfr_run *run, float inv_rows)
{
    mltfr_status st = MLTFR_OK;
    mltfr_item_rows *item = &run->item;
    const int64_t d = e->spec.backbone.d;

    item->negatives = 1;
    MLTFR_TRY(RUN_TAKE(run, item->target_grad, run->rows));
    MLTFR_TRY(RUN_TAKE(run, item->negative_grad, run->rows));
    for (int64_t i = 0; i < run->rows; i++) {
        const float *h = run->H + (run->q0 + i) * d, *E = item->E + item->target_slot[i] * d;
        const float *N = item->E + item->negative_slot[i] * d;
        const float up = dot(d, h, E), down = dot(d, h, N);
        const float du = -inv_rows / (1.f + expf(up)), dn = inv_rows / (1.f + expf(-down));

        run->row_loss[i] = softplus(-up) + softplus(down);
        run->p_e2[i] = 1.f; /* beta_k = 1 */
        item->target_grad[i] = du;
        item->negative_grad[i] = dn;
        for (int64_t c = 0; c < d; c++)
            run->dh[i * d + c] = du * E[c] + dn * N[c];
    }
done:
    return st;
}

mltfr_status mltfr_loss_local(mltfr_engine *e, mltfr_run *run)
{
    const float inv_rows = 1.f / (float)run->q_off[run->batch->blocks];

    return mltfr_comm_agree(e->comm, e->set->train_loss == MLTFR_TRAIN_LOSS_BCE
                                         ? loss_bce(e, run, inv_rows)
                                         : loss_sampled(e, run, inv_rows));
}
