/** @file mltfr/pool.h
 *  Choice of an expert's pool from the votes (method E11, C11).  Layer: model.  @local */
#ifndef MLTFR_POOL_H
#define MLTFR_POOL_H

#include <mltfr/status.h>

#include <stdint.h>

/** New pool of M of V tokens: members of rank <= floor(1.25 M) stay, the best others fill up to
 *  M - floor(explore M), then exploration ids in the order given.
 *  @param cbar     [V] votes (EMA)
 *  @param pool     [old_size] members so far, ascending; old_size may be 0
 *  @param next_explore  gives the i-th id of the exploration order, i = 0 .. V - 1 (a permutation,
 *                       or any sequence that reaches every id)
 *  @param out      [M], ascending; M <= V */
typedef int64_t mltfr_explore_order(void *context, int64_t i);
mltfr_status mltfr_pool_choose(int64_t V, int64_t M, double explore, const float *cbar,
                               const int64_t *pool, int64_t old_size,
                               mltfr_explore_order *next_explore, void *context, int64_t *out);

#endif
