/* exp against libm; tiles that are combined give the log-sum-exp and the softmax of whole rows. */
#include <mltfr/rng.h>
#include <mltfr/softmax.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 5, COLS = 75, CUT = 48 };

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

static double row_lse(const float *x, int n)
{
    double top = -INFINITY, sum = 0.;

    for (int j = 0; j < n; j++)
        top = fmax(top, x[j]);
    for (int j = 0; j < n; j++)
        sum += exp(x[j] - top);
    return top + log(sum);
}

/* Two tiles side by side, merged, scaled: the softmax of the whole row. */
static void check_tiles(float spread)
{
    float x[ROWS * COLS], e[ROWS * COLS], top[2][ROWS], sum[2][ROWS], scale[ROWS];

    fill(x, spread);
    memcpy(e, x, sizeof e);
    mltfr_tile_exp(ROWS, CUT, e, COLS, top[0], sum[0]);
    mltfr_tile_exp(ROWS, COLS - CUT, e + CUT, COLS, top[1], sum[1]);
    float own[2][ROWS];

    memcpy(own, top, sizeof own);
    mltfr_lse_merge(ROWS, top[0], sum[0], top[1], sum[1]);
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < ROWS; i++)
            scale[i] = expf(own[side][i] - top[0][i]) / sum[0][i];
        mltfr_tile_scale(ROWS, side ? COLS - CUT : CUT, e + (side ? CUT : 0), COLS, scale);
    }
    for (int i = 0; i < ROWS; i++) {
        double lse = row_lse(x + i * COLS, COLS);

        assert_true(fabs(top[0][i] + log(sum[0][i]) - lse) < 2e-6 * fmax(1., fabs(lse)));
        for (int j = 0; j < COLS; j++)
            assert_true(fabs(e[i * COLS + j] - exp(x[i * COLS + j] - lse)) < 1e-6);
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
    mltfr_tile_exp(2, 10, tile, 10, top, sum);
    for (int i = 0; i < 20; i++)
        assert_true(tile[i] == 0.f);
    assert_true(top[0] == -INFINITY && sum[0] == 0.f);
    mltfr_lse_merge(2, top, sum, top2, sum2);
    assert_true(top[0] == 3.f && sum[0] == 2.f);
    assert_true(top[1] == -INFINITY && sum[1] == 0.f);
    mltfr_tile_exp(2, 0, tile, 10, top, sum);
    assert_true(top[0] == -INFINITY && sum[0] == 0.f);
}

/* What is not finite is not hidden: the caller's check of the loss must see it. */
static void nan_stays_visible(void **state)
{
    float tile[18] = {0}, top, sum;

    (void)state;
    for (int at = 0; at < 18; at++) {
        memset(tile, 0, sizeof tile);
        tile[at] = NAN;
        mltfr_tile_exp(1, 18, tile, 18, &top, &sum);
        assert_true(isnan(sum));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_accurate),      cmocka_unit_test(exp_at_the_edges),
        cmocka_unit_test(tiles_make_a_softmax), cmocka_unit_test(masked_tiles_vanish),
        cmocka_unit_test(nan_stays_visible),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
