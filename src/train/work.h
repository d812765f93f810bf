/* Floating-point operations of a step, counted by formula: 2 for each multiply-add of its matrix
 * products and mixtures; exponentials, norms and Adam are not counted.  Private to the layer train.
 *
 *  d width, N rows, I items, M tokens of a pool, m kept, r width of a space.  A backward costs two
 *  products for each one forward; top-m and the choice of experts leave fewer.
 *
 *    backbone   3 layers (24 d^2 N + 4 d pairs)        pairs: sum over users of n (n + 1) / 2
 *    gru4rec    3 (12 layers + 2) d^2 N                as if first rows had a state before them
 *    softmax    6 N I d
 *    local      6 d (targets and negatives of all rows)
 *    filter     rows (2 M d + 2 m d) forward; rows 2 m d backward for each of weights, Kt, Vt
 *               (not of the consensus) and q (only where not detached)
 *    weights    2 M d r for each product: Kt, Vt, dW_q, dW_v (of the consensus: only where trained)
 *    router     6 d (K + 1) N                          with the gate
 *    level A    n (2 V d) and 2 V d r, of all spaces */
#ifndef MLTFR_WORK_H
#define MLTFR_WORK_H

#include "engine.h"

double mltfr_flop_backbone(const mltfr_backbone_shape *shape, double rows, double pairs);
/* Softmax over `items` items; for a local loss of the settings `items` does not matter. */
double mltfr_flop_loss(const mltfr_settings *set, double rows, double items, double d);
/* rows of space k through its filter, forward and backward. */
double mltfr_flop_filter(const mltfr_engine *e, int64_t k, double rows);
/* Products of space k's weights with its pool, each way. */
double mltfr_flop_weights(const mltfr_engine *e, int64_t k);
double mltfr_flop_router(const mltfr_engine *e, double rows);
/* n queries against the whole vocabulary of every space. */
double mltfr_flop_level_a(const mltfr_engine *e, double n);

/* Of a whole batch on all ranks. */
typedef struct {
    double backbone, loss, experts;
} mltfr_work;

/* Of the step that e->run has just done. */
mltfr_work mltfr_work_of_step(const mltfr_engine *e);
static inline double mltfr_work_sum(const mltfr_work *w)
{
    return w->backbone + w->loss + w->experts;
}
/* Pairs of positions that attention looks at, in all sequences of a batch. */
double mltfr_batch_pairs(const mltfr_batch *batch);

#endif
