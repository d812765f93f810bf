/* Scores above a bound; and the search of top_m.c with AVX-512, for up to 64 of a few thousand
 * scores: maxima of 128 strided groups stay in registers, and what reaches their bound is packed
 * without a branch. */
#include "top_impl.h"

#include <mltfr/filter.h>

#include <stdbool.h>

#if defined(MLTFR_CLONES) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

enum { LANES = 16, VECTORS = 8, GROUPS = LANES * VECTORS, BISECTIONS = 24 };

#define AVX512 __attribute__((target("arch=x86-64-v4")))

/* Scores `from` .. from + 15; -inf behind the last. */
AVX512 static inline __m512 load(int64_t M, const float *scores, int64_t from)
{
    const int64_t left = M - from;
    const __mmask16 valid = left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1);

    return _mm512_mask_loadu_ps(_mm512_set1_ps(-__builtin_inff()), valid, scores + from);
}

/* A NaN counts for nothing: the maximum takes its second operand then. */
AVX512 static inline void group_maxima(int64_t M, const float *scores, __m512 top[VECTORS])
{
    int64_t from = 0;

    for (int v = 0; v < VECTORS; v++)
        top[v] = _mm512_set1_ps(-__builtin_inff());
    for (; from + GROUPS <= M; from += GROUPS)
        for (int v = 0; v < VECTORS; v++)
            top[v] = _mm512_max_ps(_mm512_loadu_ps(scores + from + v * LANES), top[v]);
    for (int v = 0; from < M; from += LANES, v++)
        top[v] = _mm512_max_ps(load(M, scores, from), top[v]);
}

AVX512 static inline int64_t count_reaching(const __m512 top[VECTORS], float bound)
{
    const __m512 b = _mm512_set1_ps(bound);
    int64_t count = 0;

    for (int v = 0; v < VECTORS; v++)
        count += __builtin_popcount(_mm512_cmp_ps_mask(top[v], b, _CMP_GE_OQ));
    return count;
}

/* A value that at least m maxima reach, and not many more; -inf where too few are finite. */
AVX512 static inline float lower_bound(int64_t m, const __m512 top[VECTORS])
{
    __m512 least = top[0], most = top[0];

    for (int v = 1; v < VECTORS; v++) {
        least = _mm512_min_ps(least, top[v]);
        most = _mm512_max_ps(most, top[v]);
    }
    float low = _mm512_reduce_min_ps(least), high = _mm512_reduce_max_ps(most);

    for (int i = 0; low > -__builtin_inff() && i < BISECTIONS; i++) {
        const float middle = .5f * low + .5f * high;
        const int64_t count = count_reaching(top, middle);

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

/* Numbers of the scores that reach the bound, or are above it; stops when there are more than most.
 */
AVX512 static inline int64_t pack(int64_t n, const float *scores, float bound, const bool above,
                                  int64_t most, int32_t *index)
{
    const __m512 b = _mm512_set1_ps(bound);
    __m512i number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int64_t found = 0;

    for (int64_t from = 0; from < n && found <= most; from += LANES) {
        const __m512 x = load(n, scores, from);
        const __mmask16 reach =
            above ? _mm512_cmp_ps_mask(x, b, _CMP_GT_OQ) : _mm512_cmp_ps_mask(x, b, _CMP_GE_OQ);

        _mm512_storeu_si512(index + found, _mm512_maskz_compress_epi32(reach, number));
        number = _mm512_add_epi32(number, _mm512_set1_epi32(LANES));
        found += __builtin_popcount(reach);
    }
    return found;
}

AVX512 static int64_t above_avx512(int64_t n, const float *scores, float bound, int32_t *index)
{
    return pack(n, scores, bound, true, n, index);
}

AVX512 static int64_t find(int64_t M, int64_t m, const float *scores, int64_t *keys)
{
    __m512 top[VECTORS];
    int32_t index[MLTFR_TOP_FEW];

    group_maxima(M, scores, top);
    const float bound = lower_bound(m, top);
    const int64_t most = MLTFR_TOP_FEW - LANES;
    const int64_t n = bound > -__builtin_inff() ? pack(M, scores, bound, false, most, index) : 0;

    if (n > most)
        return 0;
    for (int64_t i = 0; i < n; i++)
        keys[i] = mltfr_rank_key(scores[index[i]], index[i]);
    return n;
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

int64_t mltfr_top_few(int64_t M, int64_t m, const float *scores, int64_t *keys)
{
    const bool usual = m <= GROUPS / 2 && M >= 4 * GROUPS && M <= 32 * GROUPS;

    return usual && has_avx512() ? find(M, m, scores, keys) : 0;
}
#else
static bool has_avx512(void)
{
    return false;
}

static int64_t above_avx512(int64_t n, const float *scores, float bound, int32_t *index)
{
    return mltfr_scores_above_plain(n, scores, bound, index);
}

int64_t mltfr_top_few(int64_t M, int64_t m, const float *scores, int64_t *keys)
{
    (void)M;
    (void)m;
    (void)scores;
    (void)keys;
    return 0;
}
#endif

int64_t mltfr_scores_above_plain(int64_t n, const float *scores, float bound, int32_t *index)
{
    int64_t found = 0;

    for (int64_t i = 0; i < n; i++) {
        index[found] = (int32_t)i;
        found += scores[i] > bound;
    }
    return found;
}

int64_t mltfr_scores_above(int64_t n, const float *scores, float bound, int32_t *index)
{
    return (has_avx512() ? above_avx512 : mltfr_scores_above_plain)(n, scores, bound, index);
}
