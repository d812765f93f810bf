/* Choice of an expert's pool (E11, C11).  Tokens are ranked by votes, falling, then by id.  Members
 * of rank <= floor(1.25 M) stay, so that the pool does not flutter; the best others fill up to
 * n_top = M - floor(explore M); exploration fills up to M.  The first floor(1.25 M) ranks always
 * hold enough tokens for n_top, so only they are put in order. */
#include "top_impl.h"

#include <mltfr/mem.h>
#include <mltfr/pool.h>

#include <math.h>

enum { MEMBER = 1, CHOSEN = 2 };

static mltfr_status mark_members(int64_t V, const int64_t *pool, int64_t old_size, uint8_t *flags)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t i = 0; i < old_size; i++) {
        if (pool[i] < 0 || pool[i] >= V)
            MLTFR_FAIL(MLTFR_E_DATA, "pool: member %lld is no token: allowed are 0 to %lld",
                       (long long)pool[i], (long long)V - 1);
        flags[pool[i]] = MEMBER;
    }
done:
    return st;
}

/* Choose tokens of state `from` (member or not) in rank order until `limit` are chosen. */
static int64_t choose_ranked(int64_t ranks, const int64_t *keys, int from, int64_t limit,
                             int64_t chosen, uint8_t *flags)
{
    for (int64_t i = 0; i < ranks && chosen < limit; i++) {
        int64_t id = mltfr_rank_index(keys[i]);

        if (flags[id] == from) {
            flags[id] |= CHOSEN;
            chosen++;
        }
    }
    return chosen;
}

/* Exploration in the order given; should that repeat ids, the lowest ids fill the rest. */
static mltfr_status explore_rest(int64_t V, int64_t M, int64_t chosen,
                                 mltfr_explore_order *next_explore, void *context, uint8_t *flags)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t i = 0; i < 2 * V && chosen < M; i++) {
        int64_t id = i < V ? next_explore(context, i) : i - V;

        if (id < 0 || id >= V)
            MLTFR_FAIL(MLTFR_E_INTERNAL, "pool: exploration gave %lld: allowed are 0 to %lld",
                       (long long)id, (long long)V - 1);
        chosen += !(flags[id] & CHOSEN);
        flags[id] |= CHOSEN;
    }
done:
    return st;
}

mltfr_status mltfr_pool_choose(int64_t V, int64_t M, double explore, const float *cbar,
                               const int64_t *pool, int64_t old_size,
                               mltfr_explore_order *next_explore, void *context, int64_t *out)
{
    mltfr_status st = MLTFR_OK;
    int64_t n_explore = (int64_t)floor(explore * (double)M + 1e-6); /* .29 * 100 is below 29 */
    int64_t n_top = M - n_explore, ranks = M + M / 4 < V ? M + M / 4 : V, chosen;
    int64_t *keys = NULL;
    uint8_t *flags = NULL;

    if (M < 1 || M > V)
        MLTFR_FAIL(MLTFR_E_USAGE, "filter.pool: %lld: allowed are 1 to %lld tokens", (long long)M,
                   (long long)V);
    MLTFR_TRY(MLTFR_NEW(keys, V));
    MLTFR_TRY(MLTFR_NEW(flags, V));
    MLTFR_TRY(mark_members(V, pool, old_size, flags));
    for (int64_t v = 0; v < V; v++)
        keys[v] = mltfr_rank_key(cbar[v], v);
    mltfr_rank_sort(V, ranks, keys);
    chosen = choose_ranked(ranks, keys, MEMBER, n_top, 0, flags);
    chosen = choose_ranked(ranks, keys, 0, n_top, chosen, flags);
    MLTFR_TRY(explore_rest(V, M, chosen, next_explore, context, flags));
    for (int64_t v = 0; v < V; v++)
        if (flags[v] & CHOSEN)
            *out++ = v;
done:
    MLTFR_FREE(keys);
    MLTFR_FREE(flags);
    return st;
}
