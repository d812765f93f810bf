/* Evaluation of a model in memory.  Private to the layer train. */
#ifndef MLTFR_EVALUATE_IMPL_H
#define MLTFR_EVALUATE_IMPL_H

#include "engine.h"

#include <mltfr/evaluate.h>

/* Ranks of the targets after the sequences of a batch.  @collective
 *  seen_off, seen: ids to exclude, by user, rising and distinct
 *  tiles: [batch users x own items] to receive the scores, or NULL */
mltfr_status mltfr_rank_batch(mltfr_engine *e, const mltfr_batch *batch, const int32_t *targets,
                              const int64_t *seen_off, const int32_t *seen, int64_t *rank,
                              float *tiles);

/* Metrics of a split.  @collective */
mltfr_status mltfr_evaluate_engine(mltfr_engine *e, const mltfr_interactions *data,
                                   mltfr_split split, mltfr_metrics *out);

#endif
