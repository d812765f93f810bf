/* Adam against its formula in double (E4, C5); sums of squares; finiteness. */
#include <mltfr/optim.h>
#include <mltfr/rng.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { N = 37 };

static const mltfr_adam adam = {
    .lr = 1e-3, .beta1 = .9, .beta2 = .98, .eps = 1e-9, .weight_decay = .1, .step = 7, .scale = .5};

static double draw(uint64_t stream, int i)
{
    return mltfr_rng_normal(mltfr_rng_key(stream, MLTFR_RNG_SYNTHETIC, 0), (uint64_t)i);
}

static void check_adam(bool decays)
{
    float w[N], g[N], m[N], v[N];

    for (int i = 0; i < N; i++) {
        w[i] = (float)draw(1, i);
        g[i] = i == 3 ? 0.f : (float)draw(2, i);
        m[i] = (float)draw(3, i);
        v[i] = (float)fabs(draw(4, i));
    }
    mltfr_adam_step(&adam, N, decays, w, g, m, v);
    for (int i = 0; i < N; i++) {
        double gi = i == 3 ? 0. : (float)draw(2, i) * adam.scale;
        double mi = .9 * (float)draw(3, i) + .1 * gi;
        double vi = .98 * (float)fabs(draw(4, i)) + .02 * gi * gi;
        double wi = (float)draw(1, i) * (decays ? 1. - 1e-3 * .1 : 1.);

        wi -= 1e-3 * (mi / (1. - pow(.9, 7))) / (sqrt(vi / (1. - pow(.98, 7))) + 1e-9);
        assert_true(fabs(m[i] - mi) < 3e-7 && fabs(v[i] - vi) < 3e-7);
        assert_true(fabs(w[i] - wi) < 3e-7);
    }
}

static void adam_follows_its_formula(void **state)
{
    (void)state;
    check_adam(true);
    check_adam(false);
}

static void a_fresh_tensor_without_gradient_stays(void **state)
{
    float w[2] = {1.f, -2.f}, g[2] = {0}, m[2] = {0}, v[2] = {0};

    (void)state;
    mltfr_adam_step(&adam, 2, false, w, g, m, v);
    assert_true(w[0] == 1.f && w[1] == -2.f);
}

static void squares_are_summed_in_double(void **state)
{
    enum { LONG = 10001 };
    static float x[LONG];
    double want = 0.;

    (void)state;
    for (int i = 0; i < LONG; i++) {
        x[i] = (float)draw(5, i);
        want += (double)x[i] * x[i];
    }
    assert_true(fabs(mltfr_sum_squares(LONG, x) / want - 1.) < 1e-13);
    assert_true(mltfr_sum_squares(0, x) == 0.);
}

static void one_bad_value_is_found(void **state)
{
    const float bad[3] = {NAN, INFINITY, -INFINITY};

    (void)state;
    for (int at = 0; at < N; at++)
        for (int b = 0; b < 3; b++) {
            float x[N] = {0};

            x[(at + 1) % N] = 3.4e38f;
            assert_true(mltfr_all_finite(N, x));
            x[at] = bad[b];
            assert_false(mltfr_all_finite(N, x));
            assert_true(mltfr_all_finite(at, x));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_follows_its_formula),
        cmocka_unit_test(a_fresh_tensor_without_gradient_stays),
        cmocka_unit_test(squares_are_summed_in_double),
        cmocka_unit_test(one_bad_value_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
