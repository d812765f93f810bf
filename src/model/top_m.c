/* Exact m largest scores of M (E11, E12; ties by C2).  The maxima of strided groups are vector
 * operations, and any value that m of them reach bounds the m-th largest score from below.  Only
 * groups that reach the bound are searched; for m = 32 of 2048 that leaves about 35 candidates,
 * which are put in order as integer keys.  top_few.c does the search for the usual sizes where the
 * processor can compress vectors. */
#include "top_impl.h"

#include <mltfr/filter.h>
#include <mltfr/kernel.h>

#include <math.h>

enum { SMALL = 64, MAX_GROUPS = 4096, RUN = 1024, ROOM = 4 * RUN, BISECTIONS = 24 };

_Static_assert(MLTFR_MAX_TOP <= ROOM - RUN, "a full run must fit behind the m best so far");

/* The position of a key is the number of larger ones. */
MLTFR_INLINE void sort_small(int64_t n, int64_t *keys)
{
    int64_t copy[SMALL], place[SMALL] = {0};
    int64_t padded = (n + 7) / 8 * 8;

    for (int64_t i = 0; i < padded; i++)
        copy[i] = i < n ? keys[i] : INT64_MIN;
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < padded; i++)
            place[i] += copy[j] > copy[i];
    for (int64_t i = 0; i < n; i++)
        keys[place[i]] = copy[i];
}

MLTFR_INLINE int64_t median(int64_t a, int64_t b, int64_t c)
{
    int64_t low = a < b ? a : b, high = a < b ? b : a;

    return c < low ? low : c > high ? high : c;
}

/* Hoare's partition: keys[0, split) are >= the pivot, the others <=; neither part is empty. */
MLTFR_INLINE int64_t split_keys(int64_t n, int64_t *keys)
{
    int64_t pivot = median(keys[0], keys[n / 2], keys[n - 1]), i = -1, j = n;

    for (;;) {
        do
            i++;
        while (keys[i] > pivot);
        do
            j--;
        while (keys[j] < pivot);
        if (i >= j)
            return j + 1;
        int64_t key = keys[i];

        keys[i] = keys[j];
        keys[j] = key;
    }
}

MLTFR_KERNEL
void mltfr_rank_sort(int64_t n, int64_t m, int64_t *keys)
{
    while (n > SMALL) {
        int64_t split = split_keys(n, keys);

        if (split >= m) {
            n = split;
            continue;
        }
        mltfr_rank_sort(split, split, keys);
        keys += split;
        n -= split;
        m -= split;
    }
    sort_small(n, keys);
}

/* A power of two near sqrt(M m): the maxima and the search then cost about the same. */
static int64_t group_count(int64_t M, int64_t m)
{
    int64_t G = 64;

    while (G < MAX_GROUPS && (G * G < M * m || G < 2 * m))
        G *= 2;
    return G < M ? G : M;
}

/* top[g] = the largest of scores g, g + G, ...; a NaN counts for nothing. */
MLTFR_INLINE void group_maxima(int64_t M, int64_t G, const float *scores, float *top)
{
    for (int64_t g = 0; g < G; g++)
        top[g] = -INFINITY;
    for (int64_t base = 0; base < M; base += G) {
        int64_t width = M - base < G ? M - base : G;

        for (int64_t g = 0; g < width; g++)
            top[g] = scores[base + g] > top[g] ? scores[base + g] : top[g];
    }
}

MLTFR_INLINE int64_t count_reaching(int64_t G, const float *top, float bound)
{
    int32_t count = 0;

#pragma omp simd reduction(+ : count)
    for (int64_t g = 0; g < G; g++)
        count += top[g] >= bound;
    return count;
}

/* A value that at least m maxima reach, and not many more; -inf where too few are finite. */
MLTFR_INLINE float lower_bound(int64_t G, int64_t m, const float *top)
{
    float low = INFINITY, high = -INFINITY;

#pragma omp simd reduction(min : low) reduction(max : high)
    for (int64_t g = 0; g < G; g++) {
        float finite = top[g] > -INFINITY ? top[g] : INFINITY;

        low = finite < low ? finite : low;
        high = top[g] > high ? top[g] : high;
    }
    if (count_reaching(G, top, low) < m)
        return -INFINITY;
    for (int i = 0; i < BISECTIONS; i++) {
        float middle = .5f * low + .5f * high;
        int64_t count = count_reaching(G, top, middle);

        if (count < m) {
            high = middle;
            continue;
        }
        low = middle;
        if (count <= m + m / 8)
            break;
    }
    return low;
}

/* Keep the m best of n candidates; returns the score of the last of them, the new bound. */
static float compact(int64_t n, int64_t m, const float *scores, int64_t *keys)
{
    mltfr_rank_sort(n, m, keys);
    return scores[mltfr_rank_index(keys[m - 1])];
}

/* Keys of all scores >= bound, or at least of the m best of them. */
MLTFR_INLINE int64_t collect(int64_t M, int64_t m, int64_t G, const float *scores, const float *top,
                             int64_t *keys)
{
    float bound = lower_bound(G, m, top);
    int32_t hit[MAX_GROUPS];
    int64_t hits = 0, n = 0;

    for (int64_t g = 0; g < G; g++) {
        hit[hits] = (int32_t)g;
        hits += top[g] >= bound;
    }
    for (int64_t base = 0; base < M; base += G)
        for (int64_t from = 0; from < hits; from += RUN) {
            int64_t to = hits - from < RUN ? hits : from + RUN, old = n;

            while (to > from && base + hit[to - 1] >= M)
                to--;
            for (int64_t h = from; h < to; h++) {
                keys[n] = base + hit[h];
                n += scores[base + hit[h]] >= bound;
            }
            for (int64_t c = old; c < n; c++)
                keys[c] = mltfr_rank_key(scores[keys[c]], keys[c]);
            if (n > ROOM - RUN) {
                bound = compact(n, m, scores, keys);
                n = m;
            }
        }
    return n;
}

/* Where fewer than m scores are numbers, NaNs take the rest by rising index. */
static int64_t add_nans(int64_t M, int64_t m, const float *scores, int64_t n, int64_t *keys)
{
    for (int64_t i = 0; i < M && n < m; i++)
        if (isnan(scores[i]))
            keys[n++] = mltfr_rank_key(scores[i], i);
    return n;
}

MLTFR_KERNEL
static int64_t find_candidates(int64_t M, int64_t m, const float *scores, int64_t *keys)
{
    float top[MAX_GROUPS];
    const int64_t G = group_count(M, m);

    group_maxima(M, G, scores, top);
    const int64_t n = collect(M, m, G, scores, top, keys);

    return n < m ? add_nans(M, m, scores, n, keys) : n;
}

static void finish(int64_t n, int64_t m, const float *scores, int64_t *keys, int32_t *J, float *s)
{
    mltfr_rank_sort(n, m, keys);
    for (int64_t j = 0; j < m; j++) {
        J[j] = (int32_t)mltfr_rank_index(keys[j]);
        s[j] = scores[J[j]];
    }
}

void mltfr_top_m_plain(int64_t M, int64_t m, const float *scores, int32_t *J, float *s)
{
    int64_t keys[ROOM];

    finish(find_candidates(M, m, scores, keys), m, scores, keys, J, s);
}

void mltfr_top_m(int64_t M, int64_t m, const float *scores, int32_t *J, float *s)
{
    int64_t keys[ROOM], n = mltfr_top_few(M, m, scores, keys);

    if (n < m)
        n = find_candidates(M, m, scores, keys);
    finish(n, m, scores, keys, J, s);
}
