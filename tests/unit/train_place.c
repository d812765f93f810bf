/* Placement: everything has one place, ranks are balanced as far as the pieces allow, for more and
 * fewer experts than ranks; a skewed choice is shared by those who hold the expert. */
#include "place.h"

#include <mltfr/rng.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

enum { MOST = 13, BLOCKS = 40 };

static int64_t draw(uint64_t stream, int64_t i, int64_t below)
{
    return (int64_t)mltfr_rng_below(mltfr_rng_key(stream, MLTFR_RNG_SYNTHETIC, 0), (uint64_t)i,
                                    (uint64_t)below);
}

static double largest_of(int n, const double x[])
{
    double most = x[0];

    for (int i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* first: rising from 0 to n. */
static void check_cut(int P, const int64_t first[], int64_t n)
{
    assert_true(first[0] == 0);
    assert_true(first[P] == n);
    for (int p = 0; p < P; p++)
        assert_true(first[p] <= first[p + 1]);
}

static void spaces_are_balanced(void **state)
{
    (void)state;
    for (int K = 1; K <= MOST; K++)
        for (int P = 1; P <= MOST; P++) {
            int64_t first[MOST * (MOST + 1)], units[MOST];
            double cost[MOST], load[MOST], all = 0., piece = 0.;
            int owner[MOST];

            for (int k = 0; k < K; k++) {
                units[k] = 30 + draw((uint64_t)K, k, 200);
                cost[k] = (double)units[k] * (1. + (double)draw((uint64_t)P, k, 3));
                all += cost[k];
                piece = cost[k] / (double)units[k] > piece ? cost[k] / (double)units[k] : piece;
            }
            mltfr_place_spaces(K, cost, units, P, first, owner, load);
            for (int k = 0; k < K; k++) {
                const int64_t *cut = first + k * (P + 1);
                check_cut(P, cut, units[k]);
                assert_true(cut[owner[k]] < cut[owner[k] + 1]);
            }
            assert_true(largest_of(P, load) <= 1.1 * all / P + K * piece);
        }
}

static void whole_experts_go_longest_first(void **state)
{
    const double cost[] = {2., 4., 1., 3.};
    const int64_t units[] = {2, 4, 1, 3};
    int64_t first[4 * 3];
    int owner[4];
    double load[2];

    (void)state;
    mltfr_place_spaces(4, cost, units, 2, first, owner, load);
    assert_int_equal(owner[1], 0); /* 4, 1 | 3, 2 */
    assert_int_equal(owner[3], 1);
    assert_int_equal(owner[0], 1);
    assert_int_equal(owner[2], 0);
    assert_true(load[0] == 5. && load[1] == 5.);
}

/* Rows of K experts to be placed on P ranks; a row costs 1 + k % 3. */
typedef struct {
    int32_t rows[BLOCKS * MOST];
    double cost[MOST], fixed[MOST];
    int owner[MOST], holders[2 * MOST];
    mltfr_routed_rows x;
} routed;

static void fill(routed *r, int K, int P, double fixed)
{
    for (int k = 0; k < K; k++) {
        r->cost[k] = 1. + k % 3;
        r->fixed[k] = fixed;
        r->owner[k] = k % P;
        r->holders[2 * k] = 0;
        r->holders[2 * k + 1] = P - 1;
    }
    r->x = (mltfr_routed_rows){K, BLOCKS, P, r->rows, r->cost, r->fixed, r->owner, r->holders};
}

/* What a rank has to do by the cuts, counted anew. */
static double load_of(const routed *r, const int64_t first[], int p)
{
    double sum = 0.;

    for (int k = 0; k < r->x.K; k++) {
        const int64_t *cut = first + k * (r->x.P + 1) + p;
        if (cut[0] < cut[1] && p != r->owner[k])
            sum += r->fixed[k];
        for (int64_t b = cut[0]; b < cut[1]; b++)
            sum += r->cost[k] * r->rows[b * r->x.K + k];
    }
    return sum;
}

/* Every rank holds everything: no choice of the router leaves one behind by more than blocks, and
 * what it costs to share. */
static void any_skew_is_shared(void **state)
{
    static routed r;

    (void)state;
    for (int K = 1; K <= MOST; K++)
        for (int P = 1; P <= MOST; P++)
            for (int skew = 0; skew < 6; skew++) {
                const double fixed = skew < 3 ? 0. : 400.;
                int64_t first[MOST * (MOST + 1)];
                double load[MOST] = {0.}, all = 0.;

                fill(&r, K, P, fixed);
                for (int i = 0; i < BLOCKS * K; i++) {
                    const bool busy = skew % 3 == 0 || (i % K == 0 && skew % 3 == 1);
                    r.rows[i] = busy ? (int32_t)(200 + draw((uint64_t)K, i, 100)) : 0;
                    all += r.cost[i % K] * r.rows[i];
                }
                mltfr_place_rows(&r.x, first, load);
                for (int k = 0; k < K; k++)
                    check_cut(P, first + k * (P + 1), BLOCKS);
                for (int p = 0; p < P; p++)
                    assert_true(fabs(load[p] - load_of(&r, first, p)) < 1e-6 * (all + 1.));
                assert_true(largest_of(P, load) <= 1.1 * all / P + (900. + fixed) * K);
            }
}

static void a_balanced_choice_stays_with_the_owners(void **state)
{
    static routed r;
    int64_t first[2 * 3];
    double load[2] = {0.};

    (void)state;
    fill(&r, 2, 2, 0.);
    r.owner[0] = 1;
    r.owner[1] = 0;
    for (int i = 0; i < BLOCKS * 2; i++)
        r.rows[i] = i % 2 == 0 ? 210 : 105; /* of which each costs twice as much */
    mltfr_place_rows(&r.x, first, load);
    assert_true(first[1] == 0 && first[2] == BLOCKS);
    assert_true(first[4] == BLOCKS && first[5] == BLOCKS);
}

/* Rank 0 has other work; where sharing costs more than it brings, nothing is shared. */
static void other_work_and_fixed_costs_count(void **state)
{
    static routed r;
    int64_t first[3];
    double load[2] = {200., 0.};

    (void)state;
    fill(&r, 1, 2, 0.);
    for (int i = 0; i < BLOCKS; i++)
        r.rows[i] = 10;
    mltfr_place_rows(&r.x, first, load); /* 200 + 100 | 300 */
    assert_true(first[1] == BLOCKS / 4 && load[0] == 300. && load[1] == 300.);

    load[0] = load[1] = 0.;
    r.fixed[0] = 200.; /* 300 | 100 + 200 */
    mltfr_place_rows(&r.x, first, load);
    assert_true(first[1] == 3 * BLOCKS / 4 && load[0] == 300. && load[1] == 300.);

    load[0] = load[1] = 0.;
    r.fixed[0] = 401.;
    mltfr_place_rows(&r.x, first, load);
    assert_true(first[1] == BLOCKS && load[0] == 400. && load[1] == 0.);
}

static void others_than_holders_get_nothing(void **state)
{
    static routed r;
    int64_t first[6];
    double load[5] = {0.};

    (void)state;
    fill(&r, 1, 5, 0.);
    r.owner[0] = r.holders[0] = 2;
    r.holders[1] = 3;
    for (int i = 0; i < BLOCKS; i++)
        r.rows[i] = 10;
    mltfr_place_rows(&r.x, first, load);
    check_cut(5, first, BLOCKS);
    assert_true(first[2] == 0 && first[3] == BLOCKS / 2 && first[4] == BLOCKS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spaces_are_balanced),
        cmocka_unit_test(whole_experts_go_longest_first),
        cmocka_unit_test(any_skew_is_shared),
        cmocka_unit_test(a_balanced_choice_stays_with_the_owners),
        cmocka_unit_test(other_work_and_fixed_costs_count),
        cmocka_unit_test(others_than_holders_get_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
