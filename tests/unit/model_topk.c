/* The K best against a full sort, in pieces of any size, with many equal scores. */
#include <mltfr/rng.h>
#include <mltfr/topk.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ITEMS = 777, MOST = 800 };

static float scores[ITEMS];

static int by_rank(const void *x, const void *y)
{
    const mltfr_scored *a = x, *b = y;

    if (a->score > b->score || a->score < b->score)
        return a->score > b->score ? -1 : 1;
    return a->item < b->item ? -1 : 1;
}

/* Scores of `levels` values; every ninth item is no candidate. */
static int64_t fill(uint64_t levels, mltfr_scored *sorted)
{
    int64_t n = 0;

    for (int64_t i = 0; i < ITEMS; i++) {
        scores[i] =
            i % 9 == 4 ? -INFINITY : (float)mltfr_rng_below(levels, (uint64_t)i, levels) - 3.f;
        if (scores[i] > -INFINITY)
            sorted[n++] = (mltfr_scored){(int32_t)i + 1, scores[i]};
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_rank);
    return n;
}

static void check(const mltfr_topk *list, const mltfr_scored *sorted, int64_t n)
{
    assert_int_equal(list->count, n < list->most ? n : list->most);
    for (int64_t i = 0; i < list->count; i++) {
        assert_int_equal(list->at[i].item, sorted[i].item);
        assert_true(list->at[i].score == sorted[i].score);
    }
}

static void test_scan(void **state)
{
    static const int64_t tops[] = {0, 1, 2, 10, 63, 64, 65, 500, MOST},
                         pieces[] = {1, 7, 64, 200, ITEMS};
    mltfr_scored sorted[ITEMS], room[MOST];

    (void)state;
    for (uint64_t levels = 1; levels < 100000; levels *= 7) {
        const int64_t n = fill(levels, sorted);

        for (size_t k = 0; k < sizeof tops / sizeof *tops; k++)
            for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
                mltfr_topk list = {tops[k], 0, room};

                for (int64_t at = 0; at < ITEMS; at += pieces[p])
                    assert_true(mltfr_topk_scan(
                        &list, ITEMS - at < pieces[p] ? ITEMS - at : pieces[p], at, scores + at));
                mltfr_topk_finish(&list);
                check(&list, sorted, n);
            }
    }
}

/* What a merge does: offers from the last to the first, twice as many lists as one. */
static void test_add_any_order(void **state)
{
    mltfr_scored sorted[ITEMS], room[10];
    const int64_t n = fill(5, sorted);
    mltfr_topk list = {10, 0, room};

    (void)state;
    for (int64_t i = n - 1; i >= 0; i--)
        mltfr_topk_add(&list, sorted[i]);
    mltfr_topk_finish(&list);
    check(&list, sorted, n);
}

static void test_not_finite(void **state)
{
    static const float bad[] = {NAN, INFINITY};
    mltfr_scored sorted[ITEMS], room[3];

    (void)state;
    for (int i = 0; i < 2; i++) {
        mltfr_topk list = {3, 0, room};

        fill(5, sorted);
        scores[ITEMS - 1] = bad[i];
        assert_false(mltfr_topk_scan(&list, ITEMS, 0, scores));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_add_any_order),
        cmocka_unit_test(test_not_finite),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
