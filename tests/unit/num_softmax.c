/* exp against libm; tiles that are combined give the log-sum-exp and the softmax of whole columns.
 */
#include <mltfr/rng.h>
#include <mltfr/softmax.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 75, COLS = 21, CUT = 48 };

static void exp_is_accurate(void **state)
{
    double worst = 0.;

    (void)state;
    for (float x = -86.99f; x < 88.72f; x += .00217f) {
        float y = 0.f;
        double e = exp((double)x);

        mltfr_exp(1, &x, &y);
        worst = fmax(worst, fabs(y - e) / e);
    }
    assert_true(worst < 3e-7);
}

static void exp_at_the_edges(void **state)
{
    const float x[] = {-87.5f, -INFINITY, -3e38f, 0.f, 89.f, INFINITY, NAN};
    float y[7];

    (void)state;
    mltfr_exp(7, x, y);
    assert_true(y[0] == 0.f && y[1] == 0.f && y[2] == 0.f && y[3] == 1.f);
    assert_true(isinf(y[4]) && isinf(y[5]) && isnan(y[6]));
}

static void fill(float *x, float spread)
{
    uint64_t key = mltfr_rng_key(3, MLTFR_RNG_SYNTHETIC, 0);

    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = spread * (float)mltfr_rng_normal(key, (uint64_t)i);
}

static double column_lse(const float *x)
{
    double top = -INFINITY, sum = 0.;

    for (int i = 0; i < ROWS; i++)
        top = fmax(top, x[i * COLS]);
    for (int i = 0; i < ROWS; i++)
        sum += exp(x[i * COLS] - top);
    return top + log(sum);
}

/* Two tiles, one below the other, merged, scaled: the softmax of the whole column. */
static void check_tiles(float spread)
{
    float x[ROWS * COLS], e[ROWS * COLS], top[2][COLS], sum[2][COLS], own[2][COLS];

    fill(x, spread);
    memcpy(e, x, sizeof e);
    mltfr_tile_exp(CUT, COLS, e, COLS, top[0], sum[0]);
    mltfr_tile_exp(ROWS - CUT, COLS, e + CUT * COLS, COLS, top[1], sum[1]);
    memcpy(own, top, sizeof own);
    mltfr_lse_merge(COLS, top[0], sum[0], top[1], sum[1]);
    for (int j = 0; j < COLS; j++) {
        double lse = column_lse(x + j);

        assert_true(fabs(top[0][j] + log(sum[0][j]) - lse) < 2e-6 * fmax(1., fabs(lse)));
        for (int i = 0; i < ROWS; i++) {
            float scale = expf(own[i >= CUT][j] - top[0][j]) / sum[0][j];

            assert_true(fabs(e[i * COLS + j] * scale - exp(x[i * COLS + j] - lse)) < 1e-6);
        }
    }
}

static void tiles_make_a_softmax(void **state)
{
    (void)state;
    check_tiles(1.f);
    check_tiles(30.f);
}

/* A tile that is wholly masked contributes nothing, and no NaN. */
static void masked_tiles_vanish(void **state)
{
    float tile[20], top[2], sum[2], top2[2] = {3.f, -INFINITY}, sum2[2] = {2.f, 0.f};

    (void)state;
    for (int i = 0; i < 20; i++)
        tile[i] = -INFINITY;
    mltfr_tile_exp(10, 2, tile, 2, top, sum);
    for (int i = 0; i < 20; i++)
        assert_true(tile[i] == 0.f);
    assert_true(top[0] == -INFINITY && sum[0] == 0.f);
    mltfr_lse_merge(2, top, sum, top2, sum2);
    assert_true(top[0] == 3.f && sum[0] == 2.f);
    assert_true(top[1] == -INFINITY && sum[1] == 0.f);
    mltfr_tile_exp(0, 2, tile, 2, top, sum);
    assert_true(top[0] == -INFINITY && sum[0] == 0.f);
}

/* What is not finite is not hidden: the caller's check of the loss must see it. */
static void nan_stays_visible(void **state)
{
    float tile[18] = {0}, top[3], sum[3];

    (void)state;
    for (int at = 0; at < 18; at++) {
        memset(tile, 0, sizeof tile);
        tile[at] = NAN;
        mltfr_tile_exp(6, 3, tile, 3, top, sum);
        for (int j = 0; j < 3; j++)
            assert_true(isnan(sum[j]) == (at % 3 == j));
    }
}

static void rows_are_scaled(void **state)
{
    const float x[] = {1, 2, 3, 4, 5, 6}, scale[] = {2, -1};
    float y[6];

    (void)state;
    mltfr_scale_rows(2, 3, scale, x, y);
    for (int i = 0; i < 6; i++)
        assert_true(y[i] == scale[i / 3] * x[i]);
    mltfr_add_scaled_rows(2, 3, scale, x, y);
    for (int i = 0; i < 6; i++)
        assert_true(y[i] == 2 * scale[i / 3] * x[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_accurate),      cmocka_unit_test(exp_at_the_edges),
        cmocka_unit_test(tiles_make_a_softmax), cmocka_unit_test(masked_tiles_vanish),
        cmocka_unit_test(nan_stays_visible),    cmocka_unit_test(rows_are_scaled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
