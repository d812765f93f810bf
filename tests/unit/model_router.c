/* Router, gates and mixture (E14-E16), alone and with the token filter (E12, E13) behind them,
 * against formulas in double and their central differences. */
#include <mltfr/filter.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/router.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { K = 4, SPACES = K + 1, D = 12, N = 40, POOL = 30, TOP = 5, ROW0 = 1000 };

/* A whole mixture: filters of K experts and of the consensus (the last), router and gates. */
typedef struct {
    mltfr_router router;
    float q[N * D], dh[N * D], w[D * K], gate_w[D], gate_b, bias[K], share[K];
    float Kt[SPACES][POOL * D], Vt[SPACES][POOL * D], log_tau[SPACES];
    int64_t rows[N];
    float z[N * K], p[N * K], g[N * K], gate[N];
    uint8_t selected[N * K], dropped[N * K];
    int32_t J[SPACES][N * TOP];
    float s[SPACES][N * TOP], a[SPACES][N * TOP], y[SPACES][N * D], delta[N * D];
} net;

/* Gradients, and the pointers that the functions want. */
typedef struct {
    float w[D * K], gate_w[D], gate_b, q[N * D], dy[SPACES][N * D];
    float sums[SPACES][2 * POOL * D + 1]; /* dKt, dVt, dlogtau */
} gradients;

static net t; /* too large for the stack */
static gradients got;

static void assert_near(double x, double y, double tolerance)
{
    if (!(fabs(x - y) <= tolerance * (1 + fabs(y))))
        fail_msg("%.9g is not within %g of %.9g", x, tolerance, y);
}

static void normal(int64_t n, uint64_t key, float scale, float *x)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = scale * (float)mltfr_rng_normal(key, (uint64_t)i);
}

static mltfr_filter filter_of(int64_t e)
{
    return (mltfr_filter){
        D, POOL, TOP, t.Kt[e], t.Vt[e], expf(t.log_tau[e]), .2f, 50 + (uint64_t)e};
}

static mltfr_routes routes_of(void)
{
    return (mltfr_routes){t.z, t.p, t.g, t.selected, t.dropped, t.gate};
}

static const float *const *outputs(const float *y[K])
{
    for (int64_t k = 0; k < K; k++)
        y[k] = t.y[k];
    return y;
}

static void fill(mltfr_router router)
{
    memset(&t, 0, sizeof t);
    t.router = router;
    t.router.total_rows = 3 * N;
    normal(N * D, 1, 1, t.q);
    normal(N * D, 2, 1, t.dh);
    normal(D * K, 3, .5f, t.w);
    normal(D, 4, .5f, t.gate_w);
    normal(K, 5, .3f, t.bias);
    t.gate_b = .3f;
    for (int64_t k = 0; k < K; k++)
        t.share[k] = .1f * (float)(k + 1);
    for (int64_t e = 0; e < SPACES; e++) {
        normal(POOL * D, 10 + (uint64_t)e, 1, t.Kt[e]);
        normal(POOL * D, 20 + (uint64_t)e, 1, t.Vt[e]);
        t.log_tau[e] = -1 - .1f * (float)e;
    }
    for (int64_t i = 0; i < N; i++)
        t.rows[i] = ROW0 + i;
}

static void route(void)
{
    const mltfr_router_weights w = {t.w, t.gate_w, &t.gate_b};
    const mltfr_routes routes = routes_of();

    mltfr_router_forward(&t.router, &w, t.bias, N, t.q, ROW0, &routes);
}

static void forward(void)
{
    const mltfr_routes routes = routes_of();
    const float *y[K];
    static float scratch[MLTFR_FILTER_ROWS * POOL];

    route();
    for (int64_t e = 0; e < SPACES; e++) {
        mltfr_filter f = filter_of(e);

        assert_true(mltfr_filter_scratch(&f) <= MLTFR_FILTER_ROWS * POOL);
        mltfr_filter_forward(&f, N, t.q, t.rows, scratch, t.J[e], t.s[e], t.a[e], t.y[e]);
    }
    for (int64_t i = 0; i < N * K; i++) /* what is not routed must not matter */
        for (int64_t c = 0; !t.selected[i] && c < D; c++)
            t.y[i % K][i / K * D + c] = NAN;
    mltfr_mixture_forward(&t.router, N, &routes, outputs(y), t.y[K], t.delta);
}

/* dh . y_e of row i, in double from the parameters, with J and dropout fixed. */
static double along(int64_t e, int64_t i)
{
    double a[TOP], sum = 0, y = 0;
    uint32_t key = (uint32_t)mltfr_rng_bits(50 + (uint64_t)e, (uint64_t)t.rows[i]);

    for (int64_t j = 0; j < TOP; j++) {
        double s = 0;

        for (int64_t c = 0; c < D; c++)
            s += (double)t.q[i * D + c] * t.Kt[e][t.J[e][i * TOP + j] * D + c];
        sum += a[j] = exp(exp((double)t.log_tau[e]) * s);
    }
    for (int64_t j = 0; j < TOP; j++)
        for (int64_t c = 0; mltfr_rng_bits32(key, (uint32_t)j) * 0x1p-32 >= .2f && c < D; c++)
            y += a[j] / sum / (1 - (double).2f) * t.dh[i * D + c] *
                 t.Vt[e][t.J[e][i * TOP + j] * D + c];
    return y;
}

typedef struct {
    double p[K], g[K], gate, lse;
} row_weights;

/* E14 and the gate of E15 by the book, with the choice of experts given. */
static row_weights weights_of(int64_t i)
{
    row_weights r = {.gate = t.gate_b};
    double z[K] = {0}, sum = 0, active = 0;

    for (int64_t k = 0; k < K; k++) {
        for (int64_t c = 0; !t.router.uniform && c < D; c++)
            z[k] += (double)t.q[i * D + c] * t.w[c * K + k];
        sum += exp(z[k]);
    }
    for (int64_t k = 0; k < K; k++) {
        r.p[k] = exp(z[k]) / sum;
        r.g[k] = t.selected[i * K + k] && !t.dropped[i * K + k] ? r.p[k] : 0;
        active += r.g[k];
    }
    for (int64_t k = 0; t.router.k_r > 1 && active > 0 && k < K; k++)
        r.g[k] /= active;
    for (int64_t c = 0; c < D; c++)
        r.gate += (double)t.q[i * D + c] * t.gate_w[c];
    r.gate = t.router.uniform ? .5 : 1 / (1 + exp(-r.gate));
    r.lse = log(sum);
    return r;
}

static double balance_losses(void)
{
    double sum = 0;

    for (int64_t i = 0; i < N; i++) {
        row_weights r = weights_of(i);

        sum += t.router.z_weight * r.lse * r.lse;
        for (int64_t k = 0; k < K; k++)
            sum += t.router.switch_weight * K * t.share[k] * r.p[k];
    }
    return sum / (double)t.router.total_rows;
}

static double loss(void)
{
    double sum = balance_losses();

    for (int64_t i = 0; i < N; i++) {
        row_weights r = weights_of(i);

        sum += r.gate * along(K, i);
        for (int64_t k = 0; k < K; k++)
            if (r.g[k] > 0)
                sum += (1 - r.gate) * r.g[k] * along(k, i);
    }
    return sum;
}

static double slope(float *x)
{
    float old = *x, up = old + 1e-3f, down = old - 1e-3f;
    double high, low;

    *x = up;
    high = loss();
    *x = down;
    low = loss();
    *x = old;
    return (high - low) / ((double)up - down);
}

static void backward(void)
{
    const mltfr_router_weights w = {t.w, t.gate_w, &t.gate_b};
    const mltfr_router_weights dw = {got.w, got.gate_w, &got.gate_b};
    const mltfr_routes routes = routes_of();
    const float *y[K];
    float *dy[K], dq[N * D];

    memset(&got, 0, sizeof got);
    memset(got.dy, 0x7f, sizeof got.dy); /* outputs must be written everywhere */
    memset(got.q, 0x7f, sizeof got.q);
    for (int64_t k = 0; k < K; k++)
        dy[k] = got.dy[k];
    got.gate_b = 2; /* parameter gradients are added to */
    got.w[0] = 3;
    mltfr_router_backward(&t.router, &w, N, t.q, &routes, outputs(y), t.y[K], t.dh,
                          t.router.switch_weight > 0 ? t.share : NULL, dy, got.dy[K], &dw, got.q);
    got.gate_b -= 2;
    got.w[0] -= 3;
    for (int64_t e = 0; e < SPACES; e++) {
        const mltfr_filter f = filter_of(e);
        const int64_t first = 0, n = N;
        const mltfr_filter_rows rows = {1,      &first, &n,     t.q,   got.dy[e],
                                        t.rows, t.J[e], t.s[e], t.a[e]};
        int64_t *scratch;

        assert_int_equal(MLTFR_NEW(scratch, mltfr_filter_backward_scratch(&f, 1, N)), MLTFR_OK);
        mltfr_filter_backward(&f, &rows, scratch, dq);
        mltfr_filter_sum(&f, &rows, scratch, (mltfr_span){0, 1}, true, got.sums[e]);
        MLTFR_FREE(scratch);
        for (int64_t i = 0; i < N * D; i++)
            got.q[i] += dq[i];
    }
}

static void check_slopes(int64_t n, int64_t step, float *x, const float *gradient)
{
    for (int64_t i = 0; i < n; i += step)
        assert_near(gradient[i], slope(&x[i]), 2e-4);
}

static void check_forward(void)
{
    for (int64_t i = 0; i < N; i++) {
        row_weights r = weights_of(i);
        double delta = 0, mixed = r.gate * along(K, i);

        for (int64_t k = 0; k < K; k++) {
            assert_near(t.p[i * K + k], r.p[k], 1e-6);
            assert_near(t.g[i * K + k], r.g[k], 1e-6);
            mixed += r.g[k] > 0 ? (1 - r.gate) * r.g[k] * along(k, i) : 0;
        }
        assert_near(t.gate[i], r.gate, 1e-6);
        for (int64_t c = 0; c < D; c++)
            delta += (double)t.delta[i * D + c] * t.dh[i * D + c];
        assert_near(delta, mixed, 1e-5);
    }
}

static void check(mltfr_router router)
{
    fill(router);
    forward();
    check_forward();
    backward();
    check_slopes(N * D, 7, t.q, got.q);
    check_slopes(D * K, 1, t.w, got.w);
    check_slopes(D, 1, t.gate_w, got.gate_w);
    check_slopes(1, 1, &t.gate_b, &got.gate_b);
    for (int64_t e = 0; e < SPACES; e++) {
        check_slopes(POOL * D, 11, t.Kt[e], got.sums[e]);
        check_slopes(POOL * D, 11, t.Vt[e], got.sums[e] + POOL * D);
        check_slopes(1, 1, &t.log_tau[e], &got.sums[e][2 * POOL * D]);
    }
}

static void two_of_four(void **state)
{
    (void)state;
    check((mltfr_router){.d = D, .K = K, .k_r = 2, .dropout = .4f, .key = 9});
}

static void one_of_four(void **state)
{
    (void)state;
    check((mltfr_router){.d = D, .K = K, .k_r = 1, .dropout = .2f, .key = 9});
}

static void four_of_four(void **state)
{
    (void)state;
    check((mltfr_router){.d = D, .K = K, .k_r = K, .key = 9});
}

static void uniform_gates(void **state)
{
    (void)state;
    check((mltfr_router){.d = D, .K = K, .k_r = K, .uniform = true});
    for (int64_t i = 0; i < N; i++)
        assert_true(t.gate[i] == .5f && t.g[i * K] == 1.f / K && t.g[i * K + K - 1] == 1.f / K);
}

static void with_switch_loss(void **state)
{
    (void)state;
    check((mltfr_router){.d = D, .K = K, .k_r = 2, .switch_weight = .7f});
    check((mltfr_router){.d = D, .K = K, .k_r = 1, .switch_weight = .7f});
}

static void with_z_loss(void **state)
{
    (void)state;
    check((mltfr_router){.d = D, .K = K, .k_r = 2, .z_weight = .7f});
    check((mltfr_router){.d = D, .K = K, .k_r = 1, .z_weight = .7f});
}

static void the_bias_selects_and_never_weighs(void **state)
{
    float p[N * K];

    (void)state;
    fill((mltfr_router){.d = D, .K = K, .k_r = 2});
    route();
    for (int64_t i = 0; i < N * K; i++) { /* the choice is the two largest of z + b */
        int64_t before = 0, row = i / K * K, k = i % K;

        for (int64_t l = 0; l < K; l++)
            before += t.z[row + l] + t.bias[l] > t.z[row + k] + t.bias[k];
        assert_int_equal(t.selected[i], before < 2);
    }
    memcpy(p, t.p, sizeof p);
    t.bias[3] = 1e6f;
    route();
    assert_memory_equal(p, t.p, sizeof p);
    for (int64_t i = 0; i < N; i++)
        assert_true(t.selected[i * K + 3]);
    t.bias[3] = -1e6f; /* a dead expert: no load, no weight */
    route();
    for (int64_t i = 0; i < N; i++)
        assert_true(!t.selected[i * K + 3] && t.g[i * K + 3] == 0);
}

static void ties_go_to_the_lower_expert(void **state)
{
    (void)state;
    fill((mltfr_router){.d = D, .K = K, .k_r = 2});
    memset(t.w, 0, sizeof t.w);
    memset(t.bias, 0, sizeof t.bias);
    t.bias[0] = -1;
    route();
    for (int64_t i = 0; i < N * K; i++) {
        assert_int_equal(t.selected[i], i % K == 1 || i % K == 2);
        assert_near(t.g[i], t.selected[i] ? .5 : 0, 1e-7);
    }
}

/* Chosen by their biases although their p is 0 in float: the weights stay finite. */
static void vanishing_probabilities_are_renormalised(void **state)
{
    (void)state;
    fill((mltfr_router){.d = D, .K = K, .k_r = 2});
    memset(t.w, 0, sizeof t.w);
    for (int64_t i = 0; i < N; i++)
        t.q[i * D] = 1;
    t.w[0] = 500;
    t.bias[2] = t.bias[3] = 1000;
    route();
    for (int64_t i = 0; i < N; i++) {
        assert_true(t.p[i * K + 2] == 0);
        assert_near(t.g[i * K + 2], .5, 1e-6);
        assert_near(t.g[i * K + 3], .5, 1e-6);
    }
}

static void dropping_every_expert_leaves_the_consensus(void **state)
{
    (void)state;
    for (int64_t k_r = 1; k_r <= K; k_r++) {
        check((mltfr_router){.d = D, .K = K, .k_r = k_r, .dropout = .9999999f, .key = 4});
        for (int64_t i = 0; i < N * K; i++) {
            assert_int_equal(t.dropped[i], t.selected[i]);
            assert_true(t.g[i] == 0);
        }
        for (int64_t i = 0; i < N * D; i++)
            assert_near(t.delta[i], (double)t.gate[i / D] * t.y[K][i], 1e-6);
    }
}

/* The numbers of a row depend on its global number, not on the block it is in. */
static void dropout_belongs_to_the_row(void **state)
{
    const mltfr_router_weights w = {t.w, t.gate_w, &t.gate_b};
    mltfr_routes routes = routes_of();
    uint8_t whole[N * K];
    int64_t count = 0, half = N / 2;

    (void)state;
    fill((mltfr_router){.d = D, .K = K, .k_r = K, .dropout = .3f, .key = 4});
    route();
    memcpy(whole, t.dropped, sizeof whole);
    for (int64_t i = 0; i < N * K; i++)
        count += whole[i];
    assert_true(count > .15 * N * K && count < .45 * N * K);
    mltfr_router_forward(&t.router, &w, t.bias, half, t.q + half * D, ROW0 + half, &routes);
    assert_memory_equal(t.dropped, whole + half * K, (size_t)(half * K));
}

static void balance_moves_the_bias_by_the_sign(void **state)
{
    const int64_t load[3] = {5, 10, 15}, odd[3] = {3, 3, 4};
    float bias[3] = {0, 0, 0};

    (void)state;
    mltfr_router_balance(3, load, .5f, bias);
    assert_true(bias[0] == .5f && bias[1] == 0 && bias[2] == -.5f);
    mltfr_router_balance(3, odd, 1, bias);
    assert_true(bias[0] == 1.5f && bias[1] == 1 && bias[2] == -1.5f);
    assert_int_equal(mltfr_mem_now(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_of_four),
        cmocka_unit_test(one_of_four),
        cmocka_unit_test(four_of_four),
        cmocka_unit_test(uniform_gates),
        cmocka_unit_test(with_switch_loss),
        cmocka_unit_test(with_z_loss),
        cmocka_unit_test(the_bias_selects_and_never_weighs),
        cmocka_unit_test(ties_go_to_the_lower_expert),
        cmocka_unit_test(vanishing_probabilities_are_renormalised),
        cmocka_unit_test(dropping_every_expert_leaves_the_consensus),
        cmocka_unit_test(dropout_belongs_to_the_row),
        cmocka_unit_test(balance_moves_the_bias_by_the_sign),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
