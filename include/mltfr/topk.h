/** @file mltfr/topk.h
 *  The K best items of a user, gathered piece by piece: the highest scores, of equal ones the
 *  lowest item id.  The result does not depend on the order of the pieces.  Layer: model.  @local;
 *  none allocates. */
#ifndef MLTFR_TOPK_H
#define MLTFR_TOPK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int32_t item; /**< from 1; 0: nothing */
    float score;
} mltfr_scored;

/** A list under way: a heap with the worst entry at its root.  Starts as {most, 0, room}. */
typedef struct {
    int64_t most, count; /**< K; entries now */
    mltfr_scored *at;    /**< [most], the caller's */
} mltfr_topk;

/** Offer an item. */
void mltfr_topk_add(mltfr_topk *list, mltfr_scored offer);

/** Offer the items first + 1 .. first + n; a score of -inf is no offer.
 *  @return false where a score is NaN or +inf */
bool mltfr_topk_scan(mltfr_topk *list, int64_t n, int64_t first, const float *scores);

/** Put the entries in order, the best first; the list takes no more. */
void mltfr_topk_finish(mltfr_topk *list);

#endif
