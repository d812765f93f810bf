/* The formulas of work.h. */
#include "work.h"

double mltfr_flop_backbone(const mltfr_backbone_shape *shape, double rows, double pairs)
{
    const double d = (double)shape->d;

    if (shape->kind == MLTFR_MODEL_BACKBONE_GRU4REC)
        return 3. * rows * (double)(6 * shape->layers + 1) * 2. * d * d;
    return 3. * (double)shape->layers * (24. * d * d * rows + 4. * d * pairs);
}

double mltfr_flop_loss(const mltfr_settings *set, double rows, double items, double d)
{
    switch (set->train_loss) {
    case MLTFR_TRAIN_LOSS_SAMPLED:
        return 6. * rows * (1. + (double)set->train_negatives) * d;
    case MLTFR_TRAIN_LOSS_BCE:
        return 6. * rows * 2. * d;
    default:
        return 6. * rows * items * d;
    }
}

double mltfr_flop_filter(const mltfr_engine *e, int64_t k, double rows)
{
    const double d = (double)e->spec.backbone.d, m = (double)e->m, M = (double)e->space[k].M;
    const int backward = 2 + (k < e->K) + !e->set->filter_detach_query;

    return rows * 2. * d * (M + m + backward * m);
}

double mltfr_flop_weights(const mltfr_engine *e, int64_t k)
{
    const int products = k < e->K || e->spec.train_consensus_wv ? 4 : 3;

    return products * 2. * (double)(e->space[k].M * e->space[k].width * e->spec.backbone.d);
}

double mltfr_flop_router(const mltfr_engine *e, double rows)
{
    return 6. * (double)(e->spec.backbone.d * (e->K + 1)) * rows;
}

double mltfr_flop_level_a(const mltfr_engine *e, double n)
{
    double sum = 0.;

    for (int64_t k = 0; k < mltfr_space_count(e); k++)
        sum +=
            2. * (double)(e->space[k].rows * e->spec.backbone.d) * (n + (double)e->space[k].width);
    return sum;
}

double mltfr_batch_pairs(const mltfr_batch *batch)
{
    double sum = 0.;

    for (int64_t u = 0; u < batch->users; u++) {
        const double n = batch->off[u + 1] - batch->off[u];
        sum += n * (n + 1.) / 2.;
    }
    return sum;
}

static double experts_of_step(const mltfr_engine *e, double rows)
{
    const mltfr_run *run = &e->run;
    double sum = mltfr_flop_router(e, rows);

    for (int64_t k = 0; k < e->K; k++) {
        double routed = 0.;
        for (int64_t b = 0; b < run->batch->blocks; b++)
            routed += run->routed.count[b * e->K + k];
        sum += mltfr_flop_filter(e, k, routed) + mltfr_flop_weights(e, k);
    }
    return sum + mltfr_flop_filter(e, e->K, rows) + mltfr_flop_weights(e, e->K);
}

mltfr_work mltfr_work_of_step(const mltfr_engine *e)
{
    const double rows = (double)e->run.batch->rows;

    return (mltfr_work){
        mltfr_flop_backbone(&e->spec.backbone, rows, mltfr_batch_pairs(e->run.batch)),
        mltfr_flop_loss(e->set, rows, (double)e->spec.items, (double)e->spec.backbone.d),
        e->run.mixes ? experts_of_step(e, rows) : 0.};
}
