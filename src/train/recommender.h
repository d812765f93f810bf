/* A recommender is a session with the parameters of a checkpoint.  Private to the layer train. */
#ifndef MLTFR_TRAIN_RECOMMENDER_H
#define MLTFR_TRAIN_RECOMMENDER_H

#include "session.h"

#include <mltfr/recommender.h>

struct mltfr_recommender {
    mltfr_session session;
};

/* The last max_len items of each history as a batch; targets stay zero.  @local */
mltfr_status mltfr_history_batch(const mltfr_engine *e, int64_t n, const mltfr_history histories[],
                                 mltfr_batch **out);

#endif
