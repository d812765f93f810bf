/* The choice of a pool (E11, C11) against the rule done literally. */
#include <mltfr/mem.h>
#include <mltfr/pool.h>
#include <mltfr/rng.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 600 };

static const float *votes;

static int by_votes(const void *x, const void *y)
{
    int64_t i = *(const int64_t *)x, j = *(const int64_t *)y;

    if (votes[i] > votes[j] || votes[i] < votes[j])
        return votes[i] > votes[j] ? -1 : 1;
    return i < j ? -1 : 1;
}

/* A permutation of V: multiplication by a number without a common factor. */
static int64_t stride(void *context, int64_t i)
{
    const int64_t *p = context;

    return (i * p[1] + 5) % p[0];
}

static int64_t always_three(void *context, int64_t i)
{
    (void)context;
    (void)i;
    return 3;
}

static int64_t outside(void *context, int64_t i)
{
    (void)i;
    return *(const int64_t *)context;
}

/* C11, step by step, with n_explore given. */
static void literal(int64_t V, int64_t M, int64_t n_explore, const float *cbar, const int64_t *pool,
                    int64_t old_size, int64_t *permutation, int64_t *out)
{
    int64_t order[MOST], count = 0, keep = 5 * M / 4 < V ? 5 * M / 4 : V, n_top = M - n_explore;
    char member[MOST] = {0}, chosen[MOST] = {0};

    for (int64_t i = 0; i < old_size; i++)
        member[pool[i]] = 1;
    for (int64_t i = 0; i < V; i++)
        order[i] = i;
    votes = cbar;
    qsort(order, (size_t)V, sizeof *order, by_votes);
    for (int64_t i = 0; i < keep && count < n_top; i++)
        if (member[order[i]])
            count += chosen[order[i]] = 1;
    for (int64_t i = 0; i < V && count < n_top; i++)
        if (!member[order[i]])
            count += chosen[order[i]] = 1;
    for (int64_t i = 0; i < V && count < M; i++) {
        int64_t v = stride(permutation, i);

        count += !chosen[v];
        chosen[v] = 1;
    }
    for (int64_t v = 0; v < V; v++)
        if (chosen[v])
            *out++ = v;
}

static void check(int64_t V, int64_t M, double explore, int64_t n_explore, uint64_t key)
{
    float cbar[MOST];
    int64_t pool[MOST], want[MOST], got[MOST], permutation[2] = {V, 7}, size = 0;

    for (int round = 0; round < 4; round++) {
        for (int64_t v = 0; v < V; v++) /* few different values: many ties */
            cbar[v] = .25f * (float)mltfr_rng_below(key + (uint64_t)round, (uint64_t)v, 20);
        literal(V, M, n_explore, cbar, pool, size, permutation, want);
        assert_int_equal(
            mltfr_pool_choose(V, M, explore, cbar, pool, size, stride, permutation, got), MLTFR_OK);
        assert_memory_equal(got, want, (size_t)M * sizeof *got);
        size = M;
        memcpy(pool, got, (size_t)M * sizeof *pool);
    }
}

static void follows_the_rule(void **state)
{
    (void)state;
    check(500, 60, .05, 3, 1);
    check(500, 100, .29, 29, 2); /* .29 * 100 is 28.999999999999996 */
    check(500, 41, .05, 2, 3);
    check(500, 100, 0, 0, 4);
    check(500, 100, 1, 100, 5);
    check(110, 100, .05, 5, 6); /* fewer tokens than ranks that may stay */
    check(100, 100, .05, 5, 7);
    check(1, 1, .05, 0, 8);
    assert_int_equal(mltfr_mem_now(), 0);
}

/* A member just inside rank floor(1.25 M) stays, one just outside leaves. */
static void hysteresis_ends_at_its_rank(void **state)
{
    float cbar[100];
    int64_t inside[1] = {9}, outside_of[1] = {10}, out[8], permutation[2] = {100, 7};

    (void)state;
    for (int64_t v = 0; v < 100; v++)
        cbar[v] = (float)(100 - v);
    assert_int_equal(mltfr_pool_choose(100, 8, 0, cbar, inside, 1, stride, permutation, out),
                     MLTFR_OK);
    assert_int_equal(out[7], 9);
    assert_int_equal(out[6], 6);
    assert_int_equal(mltfr_pool_choose(100, 8, 0, cbar, outside_of, 1, stride, permutation, out),
                     MLTFR_OK);
    assert_int_equal(out[7], 7);
}

static void poor_exploration_still_fills_the_pool(void **state)
{
    float cbar[10] = {0};
    int64_t out[4];

    (void)state;
    assert_int_equal(mltfr_pool_choose(10, 4, 1, cbar, NULL, 0, always_three, NULL, out), MLTFR_OK);
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(out[i], i);
}

static void bad_arguments_are_refused(void **state)
{
    float cbar[10] = {0};
    int64_t bad[2] = {-1, 10}, out[10], permutation[2] = {10, 7};

    (void)state;
    assert_int_equal(mltfr_pool_choose(10, 11, 0, cbar, NULL, 0, stride, permutation, out),
                     MLTFR_E_USAGE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mltfr_pool_choose(10, 4, 0, cbar, bad + i, 1, stride, permutation, out),
                         MLTFR_E_DATA);
        assert_int_equal(mltfr_pool_choose(10, 4, 1, cbar, NULL, 0, outside, bad + i, out),
                         MLTFR_E_INTERNAL);
    }
    assert_int_equal(mltfr_mem_now(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_rule),
        cmocka_unit_test(hysteresis_ends_at_its_rank),
        cmocka_unit_test(poor_exploration_still_fills_the_pool),
        cmocka_unit_test(bad_arguments_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
