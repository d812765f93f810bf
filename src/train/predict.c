/* The model of step time (docs/scaling.md): each part at its measured rate on the rank that has
 * most of it, and the exchanges at measured latency and bandwidth, none of them hidden. */
#include "plan.h"

#include <math.h>
#include <string.h>

/* Router and consensus of the own users, routed rows with the weights they need; the owner of an
 * expert forms its gradients. */
static double expert_flop(const mltfr_plan_share *x)
{
    const mltfr_engine *e = &x->outline;
    double sum = 0.;

    if (e->K == 0)
        return 0.;
    for (int64_t k = 0; k < e->K; k++) {
        const double products =
            (x->routed[k] > 0. ? .5 : 0.) + (e->rank == x->space[k].owner ? .5 : 0.);
        sum += mltfr_flop_filter(e, k, x->routed[k]) + products * mltfr_flop_weights(e, k);
    }
    return sum + mltfr_flop_router(e, x->rows) + mltfr_flop_filter(e, e->K, x->rows) +
           mltfr_flop_weights(e, e->K);
}

static double parameters(const mltfr_plan *plan, const mltfr_plan_share *x)
{
    double bytes[MLTFR_MEMORY_COUNT];

    mltfr_memory_of(plan, x, bytes);
    return (bytes[MLTFR_MEMORY_ITEMS] + bytes[MLTFR_MEMORY_PARAMS]) / 16.;
}

/* Numbers in a sum over the user blocks. */
static double summed_numbers(const mltfr_plan_share *x)
{
    const mltfr_params_spec *s = &x->outline.spec;
    const double d = (double)s->backbone.d;
    const double backbone = (double)mltfr_backbone_numbers(&s->backbone);

    return x->outline.K > 0 ? backbone + d * (double)x->space[x->outline.K].M : backbone;
}

/* Sums of dKt and dVt to the owner; weights from there. */
static double expert_bytes(const mltfr_plan_share *x, int64_t k)
{
    const mltfr_token_space *s = &x->space[k];
    const double d = (double)x->outline.spec.backbone.d;

    if (x->outline.rank == s->owner)
        return 8. * (double)s->M * d * x->helpers[k];
    return x->holds[k] ? 8. * d * (double)s->width : 0.;
}

/* Bytes that a rank receives in a step, and the messages it waits for. */
static double exchange_seconds(const mltfr_plan *plan, const mltfr_plan_share *x,
                               const mltfr_rates *rates)
{
    const mltfr_engine *e = &x->outline;
    const double P = e->size, d = (double)e->spec.backbone.d, N = (double)plan->batch->rows;
    const double others = (P - 1.) / P, hops = ceil(log2(P));
    double bytes, all_to_all = 8., small = 16. + 2. * hops;

    if (e->size == 1)
        return 0.;
    bytes = others * (4. * d * N                               /* h' of all rows */
                      + 8. * (d + 1.) * x->distinct            /* rows of E', and their gradients */
                      + 8. * N * x->all_spans                  /* (top, sum) */
                      + 4. * (d + 1.) * x->rows * x->all_spans /* answers */
                      + 12. * summed_numbers(x));
    if (e->K > 0) {
        all_to_all += 5.;
        small += 4. + (double)e->K;
        bytes += others * (x->received * (8. * d + 8.) + x->sent * 4. * d);
        for (int64_t k = 0; k < e->K; k++)
            bytes += expert_bytes(x, k);
    }
    return rates->latency * (all_to_all * (P - 1.) + 2. * small * hops) + bytes / rates->bandwidth;
}

void mltfr_predict_rank(const mltfr_plan *plan, const mltfr_plan_share *x, const mltfr_rates *rates,
                        mltfr_step_time *out)
{
    const mltfr_engine *e = &x->outline;
    const bool softmax = plan->set->train_loss == MLTFR_TRAIN_LOSS_SOFTMAX;
    const double loss = mltfr_flop_loss(plan->set, softmax ? (double)plan->batch->rows : x->rows,
                                        (double)e->item_rows, (double)e->spec.backbone.d);

    out->backbone = mltfr_flop_backbone(&e->spec.backbone, x->rows, x->pairs) / rates->backbone;
    out->loss = loss / rates->loss;
    out->experts = e->K > 0 ? expert_flop(x) / rates->experts : 0.;
    out->optimise = parameters(plan, x) * rates->adam;
    out->rest = x->rows * rates->rest;
    out->exchange = exchange_seconds(plan, x, rates);
}

static void keep_most(mltfr_step_time *most, const mltfr_step_time *x)
{
    most->backbone = fmax(most->backbone, x->backbone);
    most->loss = fmax(most->loss, x->loss);
    most->experts = fmax(most->experts, x->experts);
    most->optimise = fmax(most->optimise, x->optimise);
    most->rest = fmax(most->rest, x->rest);
    most->exchange = fmax(most->exchange, x->exchange);
}

static void keep_most_memory(mltfr_prediction *most, const double bytes[])
{
    double sum = 0.;

    for (int i = 0; i < MLTFR_MEMORY_COUNT; i++)
        sum += bytes[i];
    if (sum <= most->memory)
        return;
    most->memory = sum;
    memcpy(most->bytes, bytes, sizeof most->bytes);
}

mltfr_status mltfr_predict(mltfr_plan *plan, const mltfr_rates *rates, int size,
                           mltfr_prediction *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_plan_share *x = NULL;

    *out = (mltfr_prediction){0};
    MLTFR_TRY(MLTFR_NEW(x, 1));
    MLTFR_TRY(mltfr_plan_place(plan, size));
    for (int p = 0; p < size; p++) {
        mltfr_step_time time;
        double bytes[MLTFR_MEMORY_COUNT];

        MLTFR_TRY(mltfr_plan_share_of(plan, p, x));
        mltfr_predict_rank(plan, x, rates, &time);
        mltfr_memory_of(plan, x, bytes);
        keep_most(&out->part, &time);
        keep_most_memory(out, bytes);
    }
    out->step = out->part.backbone + out->part.loss + out->part.experts + out->part.optimise +
                out->part.rest + out->part.exchange;
done:
    MLTFR_FREE(x);
    return st;
}
