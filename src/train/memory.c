/* Bytes of a rank by formula: the table of docs/architecture.md, row by row.  mltfr_train prints
 * what was really held. */
#include "plan.h"

#include <mltfr/tree.h>

#include <math.h>
#include <string.h>

/* For 256 users, scores are kept of so many items, of more items only those of a tile (evaluate.c).
 */
enum { KEPT_ITEMS = 65536, TILE_ITEMS = 4096 };

/* Numbers of a dense slab behind the backbone. */
static double mixture_numbers(const mltfr_params_spec *s)
{
    const double d = (double)s->backbone.d, r_c = (double)s->r_c;

    return s->experts ? 2. * d * r_c + d + 2. + d * (double)s->K + (s->inject ? d * r_c : 0.) : 0.;
}

static double data_bytes(const mltfr_interactions *data)
{
    double names = 9. * (double)(data->users + data->items);

    for (int64_t u = 0; u < data->users; u++)
        names += (double)strlen(data->user_names[u]);
    for (int64_t i = 0; i < data->items; i++)
        names += (double)strlen(data->item_names[i]);
    return 4. * (double)data->count + 24. * (double)data->users + names;
}

/* E' of its own, and X_I or J, s, a and Vt_I, where items carry a mixture. */
static double injected_bytes(const mltfr_engine *e)
{
    const double d = (double)e->spec.backbone.d, rows = (double)e->item_rows;

    if (!e->spec.inject)
        return 0.;
    if (e->set->item_inject == MLTFR_ITEM_INJECT_MIXTURE)
        return rows * (4. * d + 12. * (double)e->m) + 4. * (double)e->set->filter_pool * d;
    return rows * 4. * (d + (double)e->r_c);
}

static void add_spaces(const mltfr_plan_share *x, double bytes[])
{
    const mltfr_engine *e = &x->outline;
    const double d = (double)e->spec.backbone.d;

    for (int64_t k = 0; k < mltfr_space_count(e); k++) {
        const mltfr_token_space *s = &x->space[k];
        const double r = (double)s->width, M = (double)s->M;

        if (!x->holds[k])
            continue;
        bytes[MLTFR_MEMORY_TOKENS] += (4. * r + 8.) * (double)s->row_count;
        bytes[MLTFR_MEMORY_POOLS] += M * (8. * r + 8. * d + 8.);
        if (k < e->K)
            bytes[MLTFR_MEMORY_PARAMS] += 16. * (2. * d * r + 1.);
    }
}

/* A running sum over blocks of so many numbers. */
static double running_bytes(int64_t blocks, double width)
{
    return 4. * (2. * ceil(log2((double)blocks)) + 2.) * width;
}

/* Of the gradients of injected items, over item blocks. */
static double injected_sum_bytes(const mltfr_plan_share *x)
{
    const mltfr_engine *e = &x->outline;
    const double d = (double)e->spec.backbone.d;

    if (!e->spec.inject)
        return 0.;
    return running_bytes(e->item_blocks, e->set->item_inject == MLTFR_ITEM_INJECT_MIXTURE
                                             ? 2. * (double)x->space[e->K].M * d + 1.
                                             : (double)e->r_c * d);
}

/* One running sum over the user blocks, of the backbone, the mixture and A of an expert (E16) in
 * turn, and over item blocks; then nodes and sums of the consensus and of all experts, in one room.
 */
static double sum_bytes(const mltfr_plan *plan, const mltfr_plan_share *x)
{
    const mltfr_engine *e = &x->outline;
    const double d = (double)e->spec.backbone.d, r_c = (double)e->r_c;
    double width = (double)mltfr_backbone_numbers(&e->spec.backbone), experts = 0.;

    if (e->K == 0)
        return running_bytes(plan->batch->blocks, width);
    width = fmax(width, fmax(mixture_numbers(&e->spec), r_c * r_c));
    for (int64_t k = 0; k < e->K; k++)
        experts += x->parts[k] * 2. * (double)x->space[k].M * d;
    return fmax(running_bytes(plan->batch->blocks, width), injected_sum_bytes(x)) +
           4. * fmax(experts, x->parts[e->K] * (double)x->space[e->K].M * d);
}

/* Scores of a tile of rows; backward, the uses of the tokens of the filter with most rows. */
static double filter_bytes(const mltfr_plan *plan, const mltfr_plan_share *x)
{
    const mltfr_engine *e = &x->outline;
    double rows = x->rows;

    if (e->K == 0)
        return 0.;
    for (int64_t k = 0; k < e->K; k++)
        rows = fmax(rows, x->routed[k]);
    return fmax(512. * (double)plan->set->filter_pool,
                8. * (double)plan->set->filter_pool + 12. * (double)e->m * rows);
}

/* How many items n uniform draws of `items` are expected to meet. */
static double met(double items, double n)
{
    return items * (1. - exp(-n / items));
}

/* Negatives of a local loss, over those of other losses: E' fetched and sent; gradient rows with
 * room for all draws, and those of a block's distinct items sent and received.  `sampled` also has
 * the gradients of all draws, and rows and logits of a user block. */
static double negatives_bytes(const mltfr_plan *plan, const mltfr_plan_share *x)
{
    const double d = (double)x->outline.spec.backbone.d, items = (double)x->outline.spec.items;
    const bool sampled = plan->set->train_loss == MLTFR_TRAIN_LOSS_SAMPLED;
    const double blocks = (double)x->blocks, n = (double)plan->set->train_negatives;
    const double each = sampled ? n : x->rows / fmax(blocks, 1.), draws = blocks * each;
    const double bytes = 8. * d * (met(items, x->distinct + draws) - met(items, x->distinct)) +
                         4. * (d + 1.) * (draws + 2. * blocks * met(items, each));

    return bytes + (sampled ? 4. * d * draws + 4. * n * (d + (double)x->block_rows) : 0.);
}

static double loss_bytes(const mltfr_plan *plan, const mltfr_plan_share *x)
{
    const mltfr_engine *e = &x->outline;
    const double d = (double)e->spec.backbone.d, N = (double)plan->batch->rows;
    const double n = (double)mltfr_softmax_columns(x->block_rows), I = (double)e->item_rows;
    const double gradient_rows = 8. * x->rows * (d + 1.) + 8. * (d + 1.) * x->distinct;

    if (plan->set->train_loss != MLTFR_TRAIN_LOSS_SOFTMAX)
        return gradient_rows + negatives_bytes(plan, x);
    return 8. * n * I + 4. * (d + 1.) * (N * x->spans + x->rows * x->all_spans) + gradient_rows;
}

void mltfr_memory_of(const mltfr_plan *plan, const mltfr_plan_share *x,
                     double bytes[MLTFR_MEMORY_COUNT])
{
    const mltfr_engine *e = &x->outline;
    const mltfr_backbone_shape *shape = &e->spec.backbone;
    const double d = (double)shape->d, m = (double)e->m, R = x->rows, I = (double)e->item_rows;

    memset(bytes, 0, MLTFR_MEMORY_COUNT * sizeof *bytes);
    add_spaces(x, bytes);
    bytes[MLTFR_MEMORY_ITEMS] = 16. * d * I + injected_bytes(e);
    bytes[MLTFR_MEMORY_PARAMS] +=
        16. * ((double)mltfr_backbone_numbers(&e->spec.backbone) + mixture_numbers(&e->spec));
    bytes[MLTFR_MEMORY_ACTIVATIONS] = 4. * (double)(mltfr_backbone_kept(shape, (int64_t)R) +
                                                    mltfr_backbone_scratch(shape, x->block_rows));
    bytes[MLTFR_MEMORY_ROWS] = 8. * d * x->distinct + 24. * d * R +
                               4. * d * (double)plan->batch->rows +
                               (e->K > 0 ? R * (20. * d + 12. * m + 14. * (double)e->K + 28.) : 0.);
    bytes[MLTFR_MEMORY_ROUTED] =
        x->sent * (12. * d + 12.) + x->received * (12. * d + 12. * m + 8. + 4. * (double)e->r_c);
    bytes[MLTFR_MEMORY_SUMS] = sum_bytes(plan, x);
    bytes[MLTFR_MEMORY_LOSS] = loss_bytes(plan, x);
    bytes[MLTFR_MEMORY_SCRATCH] =
        1024. * (I <= KEPT_ITEMS ? I : TILE_ITEMS) + filter_bytes(plan, x);
    if (plan->set->checkpoint_async) /* a copy of what it writes */
        bytes[MLTFR_MEMORY_SCRATCH] +=
            .75 * (bytes[MLTFR_MEMORY_ITEMS] + bytes[MLTFR_MEMORY_PARAMS]);
    bytes[MLTFR_MEMORY_DATA] = data_bytes(plan->data);
}
