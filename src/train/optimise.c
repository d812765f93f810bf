/* Global norm, clip and Adam, each tensor where it lives (C5).  The norm is a sum in fixed order:
 * item blocks, then the dense slab, then the experts. */
#include "engine.h"

#include <mltfr/optim.h>

#include <math.h>
#include <string.h>

static bool is_active(const mltfr_engine *e, const mltfr_tensor *t)
{
    return t->trained && (t->part_of_sasrec || mltfr_experts_on(e));
}

static bool is_owner(const mltfr_engine *e, int64_t k)
{
    return e->space[k].group != NULL && e->rank == e->space[k].first_rank;
}

/* Squares of the item table, block by block. */
static mltfr_status item_squares(mltfr_engine *e, double *out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d;
    int64_t bytes[e->size];
    double mine[ITEM_BLOCKS + 1], all[ITEM_BLOCKS + 1];

    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t from = j * e->item_block - e->item_first;
        const int64_t to =
            from + e->item_block < e->item_rows ? from + e->item_block : e->item_rows;
        mine[j - e->first_block] = mltfr_sum_squares((to - from) * d, e->dE + from * d);
    }
    for (int p = 0; p < e->size; p++)
        bytes[p] = (mltfr_share_first(e->item_blocks, e->size, p + 1) -
                    mltfr_share_first(e->item_blocks, e->size, p)) *
                   (int64_t)sizeof *mine;
    mltfr_comm_allgatherv(e->comm, mine, bytes, all);
    *out = 0.;
    for (int64_t j = 0; j < e->item_blocks; j++)
        *out += all[j];
    return st;
}

static void global_norm(mltfr_engine *e)
{
    double sum = 0.;

    item_squares(e, &sum);
    sum += mltfr_sum_squares(e->params->dense.n, e->params->dense.g);
    for (int64_t k = 0; mltfr_experts_on(e) && k < e->K; k++) {
        double own = 0.;
        if (is_owner(e, k))
            own = mltfr_sum_squares(e->params->expert[k].n, e->params->expert[k].g);
        mltfr_comm_bcast(e->comm, &own, sizeof own, e->space[k].first_rank);
        sum += own;
    }
    e->grad_norm = sqrt(sum);
}

/* Lazy: only rows with a gradient move. */
static void adam_items(mltfr_engine *e, const mltfr_adam *adam)
{
    const int64_t d = e->spec.backbone.d;
    mltfr_slab *s = &e->params->item;

    if (e->set->train_adam == MLTFR_TRAIN_ADAM_DENSE) {
        mltfr_adam_step(adam, s->n, true, s->w, s->g, s->m, s->v);
        return;
    }
    for (int64_t i = 0; i < e->item_rows; i++)
        if (e->touched[i])
            mltfr_adam_step(adam, d, true, s->w + i * d, s->g + i * d, s->m + i * d, s->v + i * d);
}

static void adam_tensor(mltfr_engine *e, const mltfr_tensor *t, mltfr_adam adam)
{
    mltfr_slab *s = mltfr_params_slab(e->params, t);
    const int64_t at = t->offset;

    if (t->place == MLTFR_PLACE_EXPERT && !is_owner(e, t->expert))
        return;
    if (!t->part_of_sasrec)
        adam.step = e->at.step - e->at.expert_start;
    if (t->place == MLTFR_PLACE_ITEM)
        adam_items(e, &adam);
    else
        mltfr_adam_step(&adam, t->dims[0] * t->dims[1], t->ndim == 2, s->w + at, s->g + at,
                        s->m + at, s->v + at);
}

mltfr_status mltfr_optimise(mltfr_engine *e, double lr, double clip)
{
    const mltfr_settings *set = e->set;
    mltfr_adam adam = {.lr = lr,
                       .beta1 = set->train_beta1,
                       .beta2 = set->train_beta2,
                       .eps = set->train_adam_eps,
                       .weight_decay = set->train_weight_decay,
                       .step = e->at.step,
                       .scale = 1.};

    global_norm(e);
    if (!isfinite(e->grad_norm) || !isfinite(e->run.loss))
        return mltfr_fail(MLTFR_E_NUMERIC,
                          "step %lld: the %s is not finite (loss %g, gradient norm %g): a smaller "
                          "train.lr or a train.clip may help",
                          (long long)e->at.step, isfinite(e->run.loss) ? "gradient" : "loss",
                          e->run.loss, e->grad_norm);
    if (clip > 0. && e->grad_norm > clip)
        adam.scale = clip / e->grad_norm;
    e->clip_scale = adam.scale;
    for (int64_t i = 0; i < e->params->count; i++)
        if (is_active(e, &e->params->tensor[i]))
            adam_tensor(e, &e->params->tensor[i], adam);
    return MLTFR_OK;
}
