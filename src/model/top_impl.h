/* Order of "the largest first, ties to the lower index" (C2) as one 64-bit integer. */
#ifndef MLTFR_TOP_IMPL_H
#define MLTFR_TOP_IMPL_H

#include <stdint.h>
#include <string.h>

enum { MLTFR_TOP_FEW = 128 };

/** Key of value x at `index`: the earlier in the order, the larger.  -0 equals 0; NaN comes last.
 */
static inline int64_t mltfr_rank_key(float x, int64_t index)
{
    float unsigned_zero = x + 0.0f;
    int32_t bits;

    memcpy(&bits, &unsigned_zero, sizeof bits);
    bits = bits < 0 ? bits ^ INT32_MAX : bits;
    bits = x == x ? bits : INT32_MIN;
    return bits * (INT64_C(1) << 32) + (int64_t)(UINT32_MAX - (uint32_t)index);
}

static inline int64_t mltfr_rank_index(int64_t key)
{
    return UINT32_MAX - (uint32_t)key;
}

/** mltfr_top_m without top_few.c. */
void mltfr_top_m_plain(int64_t M, int64_t m, const float *scores, int32_t *J, float *s);

/** mltfr_scores_above without AVX-512. */
int64_t mltfr_scores_above_plain(int64_t n, const float *scores, float bound, int32_t *index);

/** Keys of the m largest scores and of few others, where that is quickly found (top_few.c).
 *  @param keys  [MLTFR_TOP_FEW]
 *  @return how many; 0: not found */
int64_t mltfr_top_few(int64_t M, int64_t m, const float *scores, int64_t *keys);

/** Bring the m largest of n distinct keys to the front, falling; the rest in any order. */
void mltfr_rank_sort(int64_t n, int64_t m, int64_t *keys);

#endif
