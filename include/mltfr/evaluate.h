/** @file mltfr/evaluate.h
 *  Full ranking: every item is scored for every held-out case (method, Protocol; C14).
 *  Layer: train. */
#ifndef MLTFR_EVALUATE_H
#define MLTFR_EVALUATE_H

#include <mltfr/interactions.h>

#include <math.h>

typedef struct {
    int64_t users;
    double hr[3], ndcg[3], mrr; /**< at 5, 10, 20; means over users */
    double ndcg_se[3], mrr_se;  /**< standard errors of these means */
} mltfr_metrics;

/** Candidates of one tile of scores that rank at or above the target (ties count against it).
 *  @param scores   [n] of the items first + 1 .. first + n
 *  @param at_least score of the target
 *  @param target   its id, never counted
 *  @param seen     [seen_count] ids that are no candidates, rising, distinct
 *  @local */
int64_t mltfr_rank_tile(int64_t n, int64_t first, const float *scores, float at_least,
                        int32_t target, const int32_t *seen, int64_t seen_count);

/** NDCG of a user with one held-out item at `rank` (1-based), uncut.  @local */
static inline double mltfr_ndcg_of(int64_t rank)
{
    return 1. / log2(1. + (double)rank);
}

/** Metrics of given ranks (1-based).  @local */
void mltfr_metrics_of(int64_t users, const int64_t *rank, mltfr_metrics *out);

/** `"hr@5":0.1,...` of the metrics, as the inside of a JSON object.  @local */
void mltfr_metrics_json(const mltfr_metrics *metrics, char *text, size_t bytes);

#endif
