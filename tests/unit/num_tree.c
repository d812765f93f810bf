/* The canonical sum: any split of the blocks into ranges gives the bits of one range. */
#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/tree.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { WIDTH = 5, MOST = 70 };

/* Values of mixed magnitude: a sum in another order has other bits. */
static float value(int64_t block, int64_t i)
{
    uint64_t key = mltfr_rng_key(1, MLTFR_RNG_SYNTHETIC, 0), at = (uint64_t)(block * WIDTH + i);

    return (float)(mltfr_rng_normal(key, at) * pow(10., (double)(at % 7)));
}

/* Node by node as the header defines it. */
static float expected(int64_t lo, int64_t hi, int64_t i)
{
    int64_t mid = lo + (hi - lo + 1) / 2;

    return hi - lo == 1 ? value(lo, i) : expected(lo, mid, i) + expected(mid, hi, i);
}

static void sum_range(mltfr_treesum *sum, int64_t first, int64_t last)
{
    for (int64_t b = first; b < last; b++) {
        float *next = mltfr_treesum_next(sum);

        for (int64_t i = 0; i < WIDTH; i++) {
            assert_true(next[i] == 0.f);
            next[i] = value(b, i);
        }
        mltfr_treesum_push(sum);
    }
}

/* Append the partial sums of [first, last); check that they are the maximal nodes. */
static int append_parts(mltfr_treesum *sum, int64_t n, const int64_t range[2], mltfr_span *spans,
                        float *parts)
{
    int count = 0;
    const float *mine = mltfr_treesum_parts(sum, &count);

    assert_int_equal(mltfr_tree_cover(n, range[0], range[1], NULL), count);
    assert_int_equal(mltfr_tree_cover(n, range[0], range[1], spans), count);
    memcpy(parts, mine, sizeof(float) * WIDTH * (size_t)count);
    return count;
}

static void check_split(int64_t n, int ranks, uint64_t salt)
{
    static mltfr_span spans[MOST + 1];
    static float parts[(MOST + 1) * WIDTH];
    uint64_t key = mltfr_rng_key(salt, MLTFR_RNG_SYNTHETIC, (uint64_t)n);
    mltfr_treesum *sum = NULL;
    float out[WIDTH];
    int64_t first = 0;
    int count = 0;

    assert_int_equal(mltfr_treesum_create(n, 0, 0, WIDTH, &sum), MLTFR_OK);
    for (int p = 0; p < ranks; p++) {
        int64_t left = n - first;
        int64_t last = p == ranks - 1
                           ? n
                           : first + (int64_t)mltfr_rng_below(key, (uint64_t)p, (uint64_t)left + 1);

        assert_int_equal(mltfr_treesum_take(n, first, last, WIDTH, &sum), MLTFR_OK);
        sum_range(sum, first, last);
        count +=
            append_parts(sum, n, (int64_t[]){first, last}, spans + count, parts + count * WIDTH);
        first = last;
    }
    mltfr_tree_fold(n, spans, count, WIDTH, parts, out);
    for (int64_t i = 0; i < WIDTH; i++) {
        float want = expected(0, n, i);

        assert_memory_equal(&out[i], &want, sizeof want);
    }
    mltfr_treesum_destroy(&sum);
    assert_null(sum);
}

static void splits_give_the_same_bits(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= MOST; n++)
        for (int ranks = 1; ranks <= 9; ranks++)
            for (uint64_t salt = 0; salt < 6; salt++)
                check_split(n, ranks, salt);
    assert_int_equal(mltfr_mem_now(), 0);
}

static void an_empty_tree_is_zero(void **state)
{
    float out[2] = {1.f, 2.f};
    mltfr_treesum *sum = NULL;
    int count = 1;

    (void)state;
    assert_int_equal(mltfr_tree_cover(0, 0, 0, NULL), 0);
    mltfr_tree_fold(0, NULL, 0, 2, NULL, out);
    assert_true(out[0] == 0.f && out[1] == 0.f);
    assert_int_equal(mltfr_treesum_create(0, 0, 0, 2, &sum), MLTFR_OK);
    mltfr_treesum_parts(sum, &count);
    assert_int_equal(count, 0);
    mltfr_treesum_destroy(&sum);
    mltfr_treesum_destroy(&sum);
    assert_int_equal(mltfr_mem_now(), 0);
}

/* The order matters: the test above would not notice its loss with values that add exactly. */
static void another_order_has_other_bits(void **state)
{
    int differ = 0;

    (void)state;
    for (int64_t i = 0; i < WIDTH; i++) {
        float run = 0.f;

        for (int64_t b = 0; b < MOST; b++)
            run += value(b, i);
        differ += run != expected(0, MOST, i);
    }
    assert_true(differ > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_give_the_same_bits),
        cmocka_unit_test(an_empty_tree_is_zero),
        cmocka_unit_test(another_order_has_other_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
