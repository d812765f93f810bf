#include <mltfr/kernel.h>
#include <mltfr/topk.h>

#include <math.h>
#include <stddef.h>

enum { RUN = 64 };

static bool better(mltfr_scored a, mltfr_scored b)
{
    return (a.score > b.score) | ((a.score == b.score) & (a.item < b.item));
}

/* Let the entry at `i` of n sink below those that are worse. */
static void sink(mltfr_scored *at, int64_t n, int64_t i)
{
    const mltfr_scored x = at[i];

    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        child += child + 1 < n && better(at[child], at[child + 1]);
        if (!better(x, at[child]))
            break;
        at[i] = at[child];
    }
    at[i] = x;
}

static void rise(mltfr_scored *at, int64_t i)
{
    const mltfr_scored x = at[i];

    for (; i > 0 && better(at[(i - 1) / 2], x); i = (i - 1) / 2)
        at[i] = at[(i - 1) / 2];
    at[i] = x;
}

void mltfr_topk_add(mltfr_topk *list, mltfr_scored offer)
{
    if (list->count < list->most) {
        list->at[list->count] = offer;
        rise(list->at, list->count++);
    } else if (list->most > 0 && better(offer, list->at[0])) {
        list->at[0] = offer;
        sink(list->at, list->count, 0);
    }
}

/* Scores that reach the bound, and those that are NaN or +inf, of one run. */
MLTFR_INLINE int32_t look(int64_t n, const float *scores, float bound, int32_t *bad)
{
    int32_t reach = 0, wrong = 0;

#pragma omp simd reduction(+ : reach, wrong)
    for (int64_t i = 0; i < n; i++) {
        reach += scores[i] >= bound;
        wrong += !(scores[i] < INFINITY);
    }
    *bad += wrong;
    return reach;
}

/* Offer the scores of one run that reach the bound; their places are collected without a branch
 * that would be guessed wrong. */
MLTFR_INLINE void offer_run(mltfr_topk *list, int64_t n, int64_t first, const float *scores,
                            float bound)
{
    int32_t place[RUN], found = 0;

    for (int32_t i = 0; i < n; i++) {
        place[found] = i;
        found += (scores[i] >= bound) & (scores[i] > -INFINITY);
    }
    for (int32_t i = 0; i < found; i++)
        mltfr_topk_add(list, (mltfr_scored){(int32_t)(first + place[i] + 1), scores[place[i]]});
}

MLTFR_KERNEL
bool mltfr_topk_scan(mltfr_topk *list, int64_t n, int64_t first, const float *scores)
{
    int32_t bad = 0;

    for (int64_t from = 0; from < n; from += RUN) {
        const int64_t rows = n - from < RUN ? n - from : RUN;
        const bool full = list->most > 0 && list->count == list->most;
        const float bound = full ? list->at[0].score : -INFINITY;

        if (look(rows, scores + from, bound, &bad) > 0)
            offer_run(list, rows, first + from, scores + from, bound);
    }
    return bad == 0;
}

void mltfr_topk_finish(mltfr_topk *list)
{
    for (int64_t n = list->count - 1; n > 0; n--) { /* heap sort: the worst goes to the end */
        const mltfr_scored worst = list->at[0];

        list->at[0] = list->at[n];
        list->at[n] = worst;
        sink(list->at, n, 0);
    }
}
