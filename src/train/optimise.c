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
    return e->space[k].group != NULL && e->rank == e->space[k].owner;
}

/* Squares of the touched rows in item blocks, one sum a block. */
static void touched_squares(const mltfr_engine *e, double sums[])
{
    const mltfr_touched *t = &e->touched;
    const int64_t d = e->spec.backbone.d;

    memset(sums, 0, (size_t)(e->last_block - e->first_block) * sizeof *sums);
    for (int64_t i = 0; i < t->count; i++)
        sums[t->row[i] / e->item_block] += mltfr_sum_squares(d, e->dE + t->row[i] * d);
}

/* Squares of the item table, block by block. */
static double item_squares(mltfr_engine *e)
{
    const int64_t d = e->spec.backbone.d;
    double mine[ITEM_BLOCKS + 1], all[ITEM_BLOCKS + 1], sum = 0.;

    for (int64_t j = e->first_block; e->touched.all && j < e->last_block; j++)
        mine[j - e->first_block] = mltfr_sum_squares(mltfr_item_block_rows(e, j) * d,
                                                     e->dE + mltfr_item_block_at(e, j) * d);
    if (!e->touched.all)
        touched_squares(e, mine);
    mltfr_comm_allgather_shares(e->comm, mine, e->item_blocks, sizeof *mine, all);
    for (int64_t j = 0; j < e->item_blocks; j++)
        sum += all[j];
    return sum;
}

static void global_norm(mltfr_engine *e)
{
    double sum = e->item_squares = item_squares(e);

    sum += mltfr_sum_squares(e->params->dense.n, e->params->dense.g);
    for (int64_t k = 0; mltfr_experts_on(e) && k < e->K; k++) {
        double own = 0.;
        if (is_owner(e, k))
            own = mltfr_sum_squares(e->params->expert[k].n, e->params->expert[k].g);
        mltfr_comm_bcast(e->comm, &own, sizeof own, e->space[k].owner);
        e->expert_squares[k] = own;
        sum += own;
    }
    e->grad_norm = sqrt(sum);
}

/* Lazy: only rows with a gradient move. */
static void adam_items(mltfr_engine *e, const mltfr_adam *adam)
{
    const int64_t d = e->spec.backbone.d;
    mltfr_slab *s = &e->params->item;

    if (e->touched.all || e->set->train_adam == MLTFR_TRAIN_ADAM_DENSE)
        mltfr_adam_step(adam, s->n, true, s->w, s->g, s->m, s->v);
    else
        mltfr_adam_rows(adam, e->touched.count, e->touched.row, d, s->w, s->g, s->m, s->v);
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

/* The first tensor of this rank that is not finite, or whose gradient is not. */
static mltfr_status find_culprit(const mltfr_engine *e, bool gradient)
{
    for (int64_t i = 0; i < e->params->count; i++) {
        const mltfr_tensor *t = &e->params->tensor[i];
        const mltfr_slab *s = mltfr_params_slab(e->params, t);
        if (!mltfr_all_finite(mltfr_params_local(e->params, t),
                              (gradient ? s->g : s->w) + t->offset))
            return mltfr_fail(MLTFR_E_NUMERIC,
                              "step %lld, rank %d: %s%s is not finite (loss %g): a smaller "
                              "train.lr or a train.clip may help",
                              (long long)e->at.step, e->rank, gradient ? "the gradient of " : "",
                              t->name, e->run.loss);
    }
    return MLTFR_OK;
}

mltfr_status mltfr_check_finite(const mltfr_engine *e)
{
    return mltfr_comm_agree(e->comm, find_culprit(e, false));
}

/* @collective: norm and loss are the same on every rank, so all of them get here.  A tensor spoils
 * all gradients, so it is looked for first. */
static mltfr_status not_finite(const mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_check_finite(e));
    MLTFR_AGREE(e->comm, find_culprit(e, true));
    st = mltfr_fail(MLTFR_E_NUMERIC, "step %lld: loss %g or gradient norm %g is not finite",
                    (long long)e->at.step, e->run.loss, e->grad_norm);
done:
    return st;
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
        return not_finite(e);
    if (clip > 0. && e->grad_norm > clip)
        adam.scale = clip / e->grad_norm;
    e->clip_scale = adam.scale;
    for (int64_t i = 0; i < e->params->count; i++)
        if (is_active(e, &e->params->tensor[i]))
            adam_tensor(e, &e->params->tensor[i], adam);
    return MLTFR_OK;
}
