/* Layers on rows against their formulas in double: values and gradients. */
#include <mltfr/attention.h>
#include <mltfr/mem.h>
#include <mltfr/ops.h>
#include <mltfr/rng.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void fill(int64_t n, float *x, uint64_t salt)
{
    uint64_t key = mltfr_rng_key(salt, MLTFR_RNG_SYNTHETIC, 0);

    for (int64_t i = 0; i < n; i++)
        x[i] = (float)mltfr_rng_normal(key, (uint64_t)i);
}

static void assert_close(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance * fmax(1., fabs(b))))
        fail_msg("%.9g is not %.9g (tolerance %g)", a, b, tolerance);
}

static void linear_matches_loops(void **state)
{
    enum { N = 5, IN = 7, OUT = 3 };
    float w[OUT * IN], b[OUT], x[N * IN], y[N * OUT], dy[N * OUT], dx[N * IN];
    float dw[OUT * IN] = {0}, db[OUT] = {1.f, 1.f, 1.f};
    const mltfr_linear layer = {IN, OUT, w, b}, grad = {IN, OUT, dw, db};

    (void)state;
    fill(OUT * IN, w, 1);
    fill(OUT, b, 2);
    fill(N * IN, x, 3);
    fill(N * OUT, dy, 4);
    mltfr_linear_forward(N, &layer, x, y);
    for (int k = 0; k < N * IN; k++)
        dx[k] = 1.f;
    mltfr_linear_backward(N, &layer, &grad, x, dy, .5f, dx);
    for (int o = 0; o < OUT; o++) {
        double sum = 1.;

        for (int i = 0; i < N; i++) {
            double value = b[o];

            for (int k = 0; k < IN; k++)
                value += (double)x[i * IN + k] * w[o * IN + k];
            assert_close(y[i * OUT + o], value, 1e-6);
            sum += dy[i * OUT + o];
        }
        assert_close(db[o], sum, 1e-6);
    }
    for (int k = 0; k < IN; k++) {
        double first = .5, corner = 0.;

        for (int o = 0; o < OUT; o++)
            first += (double)dy[o] * w[o * IN + k];
        for (int i = 0; i < N; i++)
            corner += (double)dy[i * OUT] * x[i * IN + k];
        assert_close(dx[k], first, 1e-6);
        assert_close(dw[k], corner, 1e-6);
    }
}

enum { D = 21 };

/* One row of layer norm in double: y, and dx for a given dy. */
static void norm_row(const mltfr_norm *norm, const float *x, const float *dy, double *y, double *dx)
{
    double mean = 0., var = 0., plain = 0., along = 0.;

    for (int j = 0; j < D; j++)
        mean += x[j] / (double)D;
    for (int j = 0; j < D; j++)
        var += (x[j] - mean) * (x[j] - mean) / D;
    const double rstd = 1. / sqrt(var + (double)norm->eps);

    for (int j = 0; j < D; j++) {
        y[j] = (x[j] - mean) * rstd * norm->w[j] + norm->b[j];
        plain += (double)dy[j] * norm->w[j] / D;
        along += (double)dy[j] * norm->w[j] * (x[j] - mean) * rstd / D;
    }
    for (int j = 0; j < D; j++)
        dx[j] = rstd * ((double)dy[j] * norm->w[j] - plain - (x[j] - mean) * rstd * along);
}

static void norm_matches_its_formula(void **state)
{
    enum { N = 4 };
    float w[D], b[D], x[N * D], hat[N * D], rstd[N], y[N * D], dy[N * D], dx[N * D];
    float dw[D] = {0}, db[D] = {0};
    double want[D], grad_want[D], dw_want[D] = {0};
    const mltfr_norm norm = {D, 1e-5f, w, b}, grad = {D, 1e-5f, dw, db};

    (void)state;
    fill(D, w, 1);
    fill(D, b, 2);
    fill(N * D, x, 3);
    fill(N * D, dy, 4);
    mltfr_norm_forward(N, &norm, x, hat, rstd, y);
    mltfr_norm_backward(N, &norm, &grad, hat, rstd, dy, false, dx);
    mltfr_norm_backward(N, &norm, &grad, hat, rstd, dy, true, dx);
    for (int i = 0; i < N; i++) {
        norm_row(&norm, x + i * D, dy + i * D, want, grad_want);
        for (int j = 0; j < D; j++) {
            assert_close(y[i * D + j], want[j], 2e-6);
            assert_close(dx[i * D + j], 2. * grad_want[j], 4e-6);
            dw_want[j] += 2. * (double)dy[i * D + j] * (want[j] - b[j]) / w[j];
        }
    }
    for (int j = 0; j < D; j++)
        assert_close(dw[j], dw_want[j], 4e-6);
}

static void gelu_matches_libm(void **state)
{
    enum { N = 4001 };
    static float x[N], slope[N], dy[N];
    const float edge[3] = {-30.f, 30.f, 0.f};
    float e[3], s[3];

    (void)state;
    for (int i = 0; i < N; i++) {
        x[i] = -8.f + .004f * (float)i;
        dy[i] = 2.f;
    }
    mltfr_gelu_forward(N, x, slope);
    mltfr_gelu_backward(N, slope, dy);
    for (int i = 0; i < N; i++) {
        double v = -8.f + .004f * (float)i, cdf = .5 * erfc(-v / sqrt(2.));
        double want = cdf + v * exp(-.5 * v * v) / sqrt(2. * acos(-1.));

        assert_true(fabs(x[i] - v * cdf) < 1e-6);
        assert_true(fabs(slope[i] - want) < 1e-6);
        assert_true(dy[i] == 2.f * slope[i]);
    }
    memcpy(e, edge, sizeof e);
    mltfr_gelu_forward(3, e, s);
    assert_true(e[0] == 0.f && e[1] == 30.f && e[2] == 0.f && s[0] == 0.f && s[1] == 1.f);
}

static void dropout_depends_on_global_rows_only(void **state)
{
    enum { N = 300, CUT = 113 };
    static float ones[N * D], whole[N * D], cut[N * D];
    mltfr_dropout drop = {.key = mltfr_rng_key(5, MLTFR_RNG_DROPOUT, 64), .row0 = 1000};
    int64_t dropped = 0;

    (void)state;
    mltfr_dropout_rate(&drop, .3f);
    for (int i = 0; i < N * D; i++)
        ones[i] = 1.f;
    mltfr_dropout_apply(N, D, &drop, ones, NULL, whole);
    mltfr_dropout_apply(CUT, D, &drop, ones, NULL, cut);
    drop.row0 += CUT;
    mltfr_dropout_apply(N - CUT, D, &drop, ones + CUT * D, NULL, cut + CUT * D);
    assert_memory_equal(whole, cut, sizeof whole);
    for (int i = 0; i < N * D; i++) {
        assert_true(whole[i] == 0.f || whole[i] == drop.scale);
        dropped += whole[i] == 0.f;
    }
    assert_true(fabs((double)dropped / (N * D) - .3) < .02);
    drop.key = mltfr_rng_key(5, MLTFR_RNG_DROPOUT, 65);
    drop.row0 = 1000;
    mltfr_dropout_apply(N, D, &drop, ones, ones, cut);
    assert_true(memcmp(whole, cut, sizeof whole) != 0 && (cut[0] == 1.f || cut[0] > 2.f));
}

static void no_dropout_changes_nothing(void **state)
{
    float x[D], base[D], y[D];
    mltfr_dropout drop = {.key = 1};

    (void)state;
    fill(D, x, 1);
    fill(D, base, 2);
    mltfr_dropout_rate(&drop, 0.f);
    mltfr_dropout_apply(1, D, &drop, x, NULL, y);
    assert_memory_equal(x, y, sizeof x);
    mltfr_dropout_apply(1, D, &drop, x, base, y);
    for (int j = 0; j < D; j++)
        assert_true(y[j] == base[j] + x[j]);
}

enum { MOST = 210, WIDE = 64 };

/* One case of attention: inputs, results and what they should be. */
static struct {
    float q[MOST * WIDE], k[MOST * WIDE], v[MOST * WIDE], out[MOST * WIDE], dout[MOST * WIDE];
    float dq[MOST * WIDE], dk[MOST * WIDE], dv[MOST * WIDE], stats[MOST * 8];
    double want[MOST * WIDE], wq[MOST * WIDE], wk[MOST * WIDE], wv[MOST * WIDE], p[MOST];
} a;

static void want_row(const mltfr_attention *att, int64_t i, int64_t column)
{
    const int64_t d = att->d, width = d / att->heads;
    const double scale = 1. / sqrt((double)width);
    double total = 0., along = 0.;

    for (int64_t j = 0; j <= i; j++) {
        double s = 0.;

        for (int64_t c = column; c < column + width; c++)
            s += (double)a.q[i * d + c] * a.k[j * d + c];
        total += a.p[j] = exp(s * scale);
    }
    for (int64_t c = column; c < column + width; c++) {
        for (int64_t j = 0; j <= i; j++)
            a.want[i * d + c] += a.p[j] / total * a.v[j * d + c];
        along += a.want[i * d + c] * a.dout[i * d + c];
    }
    for (int64_t j = 0; j <= i; j++) {
        double p = a.p[j] / total, dp = 0.;

        for (int64_t c = column; c < column + width; c++) {
            dp += (double)a.dout[i * d + c] * a.v[j * d + c];
            a.wv[j * d + c] += p * a.dout[i * d + c];
        }
        for (int64_t c = column; c < column + width; c++) {
            a.wq[i * d + c] += p * (dp - along) * scale * a.k[j * d + c];
            a.wk[j * d + c] += p * (dp - along) * scale * a.q[i * d + c];
        }
    }
}

static void check_attention(int64_t n, int64_t d, int64_t heads)
{
    const mltfr_attention att = {n, d, heads, a.q, a.k, a.v};
    float *scratch = NULL;

    memset(&a, 0, sizeof a);
    fill(n * d, a.q, 1);
    fill(n * d, a.k, 2);
    fill(n * d, a.v, 3);
    fill(n * d, a.dout, 4);
    assert_true(mltfr_attention_stats(heads) <= 8);
    assert_int_equal(MLTFR_NEW(scratch, mltfr_attention_scratch(n, d, heads)), MLTFR_OK);
    mltfr_attention_forward(&att, scratch, a.stats, a.out);
    mltfr_attention_backward(&att, a.stats, a.out, a.dout, scratch,
                             &(mltfr_attention_grad){a.dq, a.dk, a.dv});
    MLTFR_FREE(scratch);
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < n; i++)
            want_row(&att, i, h * (d / heads));
    for (int64_t i = 0; i < n * d; i++) {
        assert_close(a.out[i], a.want[i], 4e-6);
        assert_close(a.dq[i], a.wq[i], 1e-5);
        assert_close(a.dk[i], a.wk[i], 1e-5);
        assert_close(a.dv[i], a.wv[i], 1e-5);
    }
    for (int64_t i = n * d; i < MOST * WIDE; i++)
        assert_true(a.out[i] == 0.f && a.dq[i] == 0.f && a.dk[i] == 0.f && a.dv[i] == 0.f);
}

static void attention_matches_its_formula(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 40; n++) {
        check_attention(n, 32, 2);
        check_attention(n, 12, 2);
        check_attention(n, 48, 2);
    }
    check_attention(200, 64, 4);
    check_attention(MOST, 64, 1);
    check_attention(33, 50, 2);
    check_attention(17, 3, 3);
    assert_int_equal(mltfr_mem_now(), 0);
}

/* Later rows may hold anything, also what is not finite. */
static void attention_is_causal_to_the_bit(void **state)
{
    enum { N = 37, WIDTH = 32 };
    const mltfr_attention att = {N, WIDTH, 2, a.q, a.k, a.v};
    static float before[N * WIDTH];
    float *scratch = NULL;

    (void)state;
    assert_int_equal(MLTFR_NEW(scratch, mltfr_attention_scratch(N, WIDTH, 2)), MLTFR_OK);
    fill(N * WIDTH, a.q, 1);
    fill(N * WIDTH, a.k, 2);
    fill(N * WIDTH, a.v, 3);
    mltfr_attention_forward(&att, scratch, a.stats, before);
    for (int t = N - 1; t > 0; t--) {
        for (int c = 0; c < WIDTH; c++) {
            a.q[t * WIDTH + c] = NAN;
            a.k[t * WIDTH + c] = c % 2 ? INFINITY : NAN;
            a.v[t * WIDTH + c] = -INFINITY;
        }
        mltfr_attention_forward(&att, scratch, a.stats, a.out);
        assert_memory_equal(a.out, before, sizeof(float) * (size_t)t * WIDTH);
    }
    MLTFR_FREE(scratch);
    assert_int_equal(mltfr_mem_now(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_matches_loops),
        cmocka_unit_test(norm_matches_its_formula),
        cmocka_unit_test(gelu_matches_libm),
        cmocka_unit_test(dropout_depends_on_global_rows_only),
        cmocka_unit_test(no_dropout_changes_nothing),
        cmocka_unit_test(attention_matches_its_formula),
        cmocka_unit_test(attention_is_causal_to_the_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
