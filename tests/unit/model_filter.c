/* The token filter (E12, E13, C2, C13) against a stable sort and formulas in double. */
#include <mltfr/filter.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include "top_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    D = 80,
    POOL = 300,
    TOP = 7,
    ROWS = MLTFR_FILTER_ROWS + 9,
    BLOCKS = 6,
    SUMS = 2 * POOL * D + 1
};

static void assert_near(double x, double y, double tolerance)
{
    if (!(fabs(x - y) <= tolerance * (1 + fabs(y))))
        fail_msg("%.9g is not within %g of %.9g", x, tolerance, y);
}

static float *room(int64_t n)
{
    float *p;

    assert_int_equal(mltfr_alloc(&p, (size_t)n, sizeof *p), MLTFR_OK);
    return p;
}

static float *normal(int64_t n, uint64_t key)
{
    float *p = room(n);

    for (int64_t i = 0; i < n; i++)
        p[i] = (float)mltfr_rng_normal(key, (uint64_t)i);
    return p;
}

static const float *sorted_scores;

/* Falling, NaN last, ties to the lower index. */
static int by_rank(const void *x, const void *y)
{
    int32_t i = *(const int32_t *)x, j = *(const int32_t *)y;
    float a = sorted_scores[i], b = sorted_scores[j];

    if (isnan(a) != isnan(b))
        return isnan(a) ? 1 : -1;
    if (a > b || a < b)
        return a > b ? -1 : 1;
    return i < j ? -1 : 1;
}

static void check_top(int64_t M, int64_t m, const float *scores)
{
    int32_t *order, *J;
    float *s = room(m);

    assert_int_equal(MLTFR_NEW(order, M), MLTFR_OK);
    assert_int_equal(MLTFR_NEW(J, m), MLTFR_OK);
    for (int64_t i = 0; i < M; i++)
        order[i] = (int32_t)i;
    sorted_scores = scores;
    qsort(order, (size_t)M, sizeof *order, by_rank);
    for (int plain = 0; plain < 2; plain++) {
        (plain ? mltfr_top_m_plain : mltfr_top_m)(M, m, scores, J, s);
        for (int64_t j = 0; j < m; j++) {
            if (J[j] != order[j])
                fail_msg("M=%d m=%d plain=%d: place %d has %d, not %d", (int)M, (int)m, plain,
                         (int)j, J[j], order[j]);
            assert_memory_equal(&s[j], &scores[order[j]], sizeof *s);
        }
    }
    MLTFR_FREE(order);
    MLTFR_FREE(J);
    MLTFR_FREE(s);
}

/* Every kind of row that the shortcut through group maxima could get wrong. */
static void fill(int kind, int64_t M, uint64_t key, float *x)
{
    for (int64_t i = 0; i < M; i++) {
        float u = (float)mltfr_rng_normal(key, (uint64_t)i);
        uint64_t r = mltfr_rng_below(key + 1, (uint64_t)i, 10);
        float kinds[] = {u,
                         rintf(2 * u),           /* many ties */
                         1.5f,                   /* nothing but ties */
                         r < 9 ? -INFINITY : u,  /* most are -inf */
                         r < 9 ? NAN : u,        /* most are NaN */
                         r & 1 ? 0.0f : -0.0f,   /* zeros of both signs tie */
                         i == M / 2 ? 1e30f : u, /* one giant */
                         (float)i,               /* rising */
                         -(float)i,              /* falling */
                         r < 1   ? INFINITY
                         : r < 2 ? NAN
                                 : 1e-30f * u,
                         i % 64 == 3 ? 10 + u : u}; /* all large ones in one group */

        x[i] = kinds[kind];
    }
}

static void top_m_is_exact(void **state)
{
    static const int64_t sizes[][2] = {{1, 1},     {5, 5},       {33, 32},     {64, 64},
                                       {65, 32},   {2048, 32},   {2048, 1},    {2100, 32},
                                       {4096, 64}, {2048, 1024}, {1024, 1024}, {30011, 32}};

    (void)state;
    for (size_t t = 0; t < sizeof sizes / sizeof *sizes; t++)
        for (int kind = 0; kind < 11; kind++) {
            int64_t M = sizes[t][0];
            float *x = room(M);

            fill(kind, M, 100 * t + (uint64_t)kind, x);
            check_top(M, sizes[t][1], x);
            MLTFR_FREE(x);
        }
    assert_int_equal(mltfr_mem_now(), 0);
}

/* Many shapes: the bound must hold wherever its bisection happens to stop. */
static void top_m_is_exact_for_many_shapes(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1500; i++) {
        int64_t m = 1 + (int64_t)mltfr_rng_below(71, i, 40);
        int64_t M = m + (int64_t)mltfr_rng_below(72, i, i % 2 == 0 ? 600 : 4200);
        float *x = room(M);

        fill((int)(i % 3 == 0), M, i, x);
        check_top(M, m, x);
        MLTFR_FREE(x);
    }
}

static void scores_above_a_bound(void **state)
{
    (void)state;
    for (int kind = 0; kind < 11; kind++)
        for (int64_t n = 0; n < 1100; n += n < 40 ? 1 : 331) {
            float *x = room(n + 1);
            int32_t got[2][1200];
            int64_t found[2], want = 0;

            fill(kind, n, 7 + (uint64_t)n, x);
            found[0] = mltfr_scores_above(n, x, .7f, got[0]);
            found[1] = mltfr_scores_above_plain(n, x, .7f, got[1]);
            for (int64_t i = 0; i < n; i++)
                if (x[i] > .7f) {
                    assert_int_equal(got[0][want], i);
                    assert_int_equal(got[1][want++], i);
                }
            assert_int_equal(found[0], want);
            assert_int_equal(found[1], want);
            MLTFR_FREE(x);
        }
}

typedef struct {
    mltfr_filter filter;
    float *Kt, *Vt, *q, *dy, *s, *a, *y, *dq, *scratch;
    float *sums; /* dKt, dVt, dlogtau */
    int32_t *J;
    int64_t rows[ROWS], *uses;
} block;

static void set_up(block *b, float dropout)
{
    b->Kt = normal(POOL * D, 1);
    b->Vt = normal(POOL * D, 2);
    b->q = normal(ROWS * D, 3);
    b->dy = normal(ROWS * D, 4);
    b->filter = (mltfr_filter){D, POOL, TOP, b->Kt, b->Vt, .13f, dropout, 99};
    b->s = room(ROWS * TOP);
    b->a = room(ROWS * TOP);
    b->y = room(ROWS * D);
    b->sums = normal(SUMS, 5); /* output, must be written everywhere */
    b->dq = room(ROWS * D);
    b->scratch = room(mltfr_filter_scratch(&b->filter));
    assert_int_equal(MLTFR_NEW(b->J, ROWS * TOP), MLTFR_OK);
    for (int64_t i = 0; i < ROWS; i++)
        b->rows[i] = 11 * i + 5;
    assert_int_equal(MLTFR_NEW(b->uses, mltfr_filter_backward_scratch(&b->filter, BLOCKS, ROWS)),
                     MLTFR_OK);
    mltfr_filter_forward(&b->filter, ROWS, b->q, b->rows, b->scratch, b->J, b->s, b->a, b->y);
}

static void tear_down(block *b)
{
    float **all[] = {&b->Kt, &b->Vt, &b->q,  &b->dy,      &b->s,
                     &b->a,  &b->y,  &b->dq, &b->scratch, &b->sums};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mltfr_release(all[i]);
    MLTFR_FREE(b->J);
    MLTFR_FREE(b->uses);
    assert_int_equal(mltfr_mem_now(), 0);
}

/* The dropout factor of entry j of row i, by the definition. */
static double factor(const block *b, int64_t i, int64_t j)
{
    uint32_t key = (uint32_t)mltfr_rng_bits(b->filter.key, (uint64_t)b->rows[i]);
    double u = mltfr_rng_bits32(key, (uint32_t)j) * 0x1p-32;

    return u < (double)b->filter.dropout ? 0 : 1 / (1 - (double)b->filter.dropout);
}

static double score(const block *b, int64_t i, int64_t v)
{
    double sum = 0;

    for (int64_t c = 0; c < D; c++)
        sum += (double)b->q[i * D + c] * b->Kt[v * D + c];
    return sum;
}

/* Weights before dropout of row i over its J. */
static void softmax(const block *b, int64_t i, double tau, double *a)
{
    double sum = 0, top = score(b, i, b->J[i * TOP]);

    for (int64_t j = 0; j < TOP; j++)
        sum += a[j] = exp(tau * (score(b, i, b->J[i * TOP + j]) - top));
    for (int64_t j = 0; j < TOP; j++)
        a[j] /= sum;
}

static void forward_follows_the_formula(void **state)
{
    block b;
    double a[TOP];
    int64_t zeros = 0;

    (void)state;
    set_up(&b, .3f);
    for (int64_t i = 0; i < ROWS; i++) {
        double least = score(&b, i, b.J[i * TOP + TOP - 1]);
        int64_t better = 0;

        for (int64_t v = 0; v < POOL; v++)
            better += score(&b, i, v) > least - 1e-4;
        assert_true(better >= TOP && better <= TOP + 1);
        softmax(&b, i, b.filter.tau, a);
        for (int64_t j = 0; j < TOP; j++) {
            assert_near(b.s[i * TOP + j], score(&b, i, b.J[i * TOP + j]), 1e-5);
            assert_near(b.a[i * TOP + j], a[j], 1e-5);
            zeros += factor(&b, i, j) == 0;
        }
        for (int64_t c = 0; c < D; c++) {
            double y = 0;

            for (int64_t j = 0; j < TOP; j++)
                y += factor(&b, i, j) * a[j] * b.Vt[b.J[i * TOP + j] * D + c];
            assert_near(b.y[i * D + c], y, 1e-5);
        }
    }
    assert_true(zeros > .2 * ROWS * TOP && zeros < .4 * ROWS * TOP);
    tear_down(&b);
}

/* sum dy . y of row i in double, J and masks fixed, for a trial tau. */
static double row_loss(const block *b, int64_t i, double tau)
{
    double a[TOP], loss = 0;

    softmax(b, i, tau, a);
    for (int64_t j = 0; j < TOP; j++)
        for (int64_t c = 0; c < D; c++)
            loss += factor(b, i, j) * a[j] * b->dy[i * D + c] * b->Vt[b->J[i * TOP + j] * D + c];
    return loss;
}

static double loss(const block *b, double tau)
{
    double sum = 0;

    for (int64_t i = 0; i < ROWS; i++)
        sum += row_loss(b, i, tau);
    return sum;
}

/* Central difference in one float, with the step that was really made. */
static double slope(const block *b, float *x)
{
    float old = *x, up = old + 1e-3f, down = old - 1e-3f;
    double high, low;

    *x = up;
    high = loss(b, b->filter.tau);
    *x = down;
    low = loss(b, b->filter.tau);
    *x = old;
    return (high - low) / ((double)up - down);
}

/* Blocks of rows for the canonical sum: some empty, of unlike sizes. */
static const int64_t block_at[BLOCKS] = {0, 0, 50, 51, 51, 100},
                     block_count[BLOCKS] = {0, 50, 1, 0, 49, ROWS - 100};

static mltfr_filter_rows rows_of(const block *b)
{
    return (mltfr_filter_rows){BLOCKS,  block_at, block_count, b->q, b->dy,
                               b->rows, b->J,     b->s,        b->a};
}

static void backward_matches_differences(void **state)
{
    block b;
    double tau, h = 1e-4;

    (void)state;
    set_up(&b, .3f);
    tau = b.filter.tau;
    const mltfr_filter_rows rows = rows_of(&b);

    mltfr_filter_backward(&b.filter, &rows, b.uses, b.dq);
    mltfr_filter_sum(&b.filter, &rows, b.uses, (mltfr_span){0, BLOCKS}, true, b.sums);
    assert_near(b.sums[SUMS - 1], (loss(&b, tau * exp(h)) - loss(&b, tau * exp(-h))) / (2 * h),
                1e-4);
    for (int64_t t = 0; t < 40; t++) {
        int64_t i = 2 * t % ROWS, c = 7 * t % D, v = b.J[i * TOP + t % TOP] * D + c;

        assert_near(b.dq[i * D + c], slope(&b, &b.q[i * D + c]), 1e-4);
        assert_near(b.sums[v], slope(&b, &b.Kt[v]), 1e-4);
        assert_near(b.sums[POOL * D + v], slope(&b, &b.Vt[v]), 1e-4);
    }
    tear_down(&b);
}

/* A row gives the same gradients with and without the outputs that may be absent. */
static void backward_without_query_and_values(void **state)
{
    block b;
    float *keys = room(POOL * D + 1);

    (void)state;
    set_up(&b, .1f);
    const mltfr_filter_rows rows = rows_of(&b);

    mltfr_filter_backward(&b.filter, &rows, b.uses, b.dq);
    mltfr_filter_sum(&b.filter, &rows, b.uses, (mltfr_span){0, BLOCKS}, true, b.sums);
    mltfr_filter_backward(&b.filter, &rows, b.uses, NULL);
    mltfr_filter_sum(&b.filter, &rows, b.uses, (mltfr_span){0, BLOCKS}, false, keys);
    assert_memory_equal(keys, b.sums, POOL * D * sizeof *keys);
    assert_true(keys[POOL * D] == b.sums[SUMS - 1]);
    MLTFR_FREE(keys);
    tear_down(&b);
}

/* The nodes of any cut of the blocks fold into the same bits as the whole. */
static void sums_are_canonical(void **state)
{
    block b;
    float *parts = room(BLOCKS * SUMS), *folded = room(SUMS);

    (void)state;
    set_up(&b, .1f);
    const mltfr_filter_rows rows = rows_of(&b);

    mltfr_filter_backward(&b.filter, &rows, b.uses, NULL);
    mltfr_filter_sum(&b.filter, &rows, b.uses, (mltfr_span){0, BLOCKS}, true, b.sums);
    for (int64_t cut = 0; cut <= BLOCKS; cut++) {
        mltfr_span spans[2 * MLTFR_TREE_SPANS];
        int count = mltfr_tree_cover(BLOCKS, 0, cut, spans);

        count += mltfr_tree_cover(BLOCKS, cut, BLOCKS, spans + count);
        for (int i = 0; i < count; i++)
            mltfr_filter_sum(&b.filter, &rows, b.uses, spans[i], true, parts + i * SUMS);
        mltfr_tree_fold(BLOCKS, spans, count, SUMS, parts, folded);
        assert_memory_equal(folded, b.sums, SUMS * sizeof *folded);
    }
    MLTFR_FREE(parts);
    MLTFR_FREE(folded);
    tear_down(&b);
}

/* A permutation of the pool's rows changes nothing but the numbers of the tokens. */
static void pool_order_is_irrelevant(void **state)
{
    block b;
    float *Kt = room(POOL * D), *Vt = room(POOL * D), *y = room(ROWS * D);

    (void)state;
    set_up(&b, 0);
    for (int64_t v = 0; v < POOL; v++) { /* 7 and 300 have no common factor */
        memcpy(Kt + 7 * v % POOL * D, b.Kt + v * D, D * sizeof *Kt);
        memcpy(Vt + 7 * v % POOL * D, b.Vt + v * D, D * sizeof *Vt);
    }
    memcpy(y, b.y, ROWS * D * sizeof *y);
    b.filter.Kt = Kt;
    b.filter.Vt = Vt;
    mltfr_filter_forward(&b.filter, ROWS, b.q, NULL, b.scratch, b.J, b.s, b.a, b.y);
    for (int64_t i = 0; i < ROWS * D; i++)
        assert_near(b.y[i], y[i], 1e-6);
    MLTFR_FREE(Kt);
    MLTFR_FREE(Vt);
    MLTFR_FREE(y);
    tear_down(&b);
}

static void mix_reads_a_strided_block(void **state)
{
    enum { LDZ = 24, WIDTH = 17 };
    block b;
    float *Z = normal(POOL * LDZ, 8), *x = room(ROWS * WIDTH);

    (void)state;
    set_up(&b, .5f);
    mltfr_filter_mix(ROWS, TOP, b.J, b.a, Z, LDZ, WIDTH, x);
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t c = 0; c < WIDTH; c++) {
            double sum = 0;

            for (int64_t j = 0; j < TOP; j++)
                sum += (double)b.a[i * TOP + j] * Z[b.J[i * TOP + j] * LDZ + c];
            assert_near(x[i * WIDTH + c], sum, 1e-6);
        }
    MLTFR_FREE(Z);
    MLTFR_FREE(x);
    tear_down(&b);
}

static double mean_entropy(void *context, double log_tau)
{
    const block *b = context;

    return mltfr_filter_entropy(ROWS, TOP, b->s, exp(log_tau)) / ROWS;
}

static void tau_reaches_the_entropy(void **state)
{
    block b;
    double target = .7 * log(TOP), a[TOP], direct = 0, log_tau;

    (void)state;
    set_up(&b, 0);
    assert_near(mean_entropy(&b, -12), log(TOP), 1e-6);
    log_tau = mltfr_filter_calibrate(mean_entropy, &b, target);
    for (int64_t i = 0; i < ROWS; i++) {
        softmax(&b, i, exp(log_tau), a);
        for (int64_t j = 0; j < TOP; j++)
            direct -= a[j] * log(a[j]) / ROWS;
    }
    assert_near(direct, target, 1e-5);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_m_is_exact),
        cmocka_unit_test(top_m_is_exact_for_many_shapes),
        cmocka_unit_test(scores_above_a_bound),
        cmocka_unit_test(forward_follows_the_formula),
        cmocka_unit_test(backward_matches_differences),
        cmocka_unit_test(backward_without_query_and_values),
        cmocka_unit_test(sums_are_canonical),
        cmocka_unit_test(pool_order_is_irrelevant),
        cmocka_unit_test(mix_reads_a_strided_block),
        cmocka_unit_test(tau_reaches_the_entropy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
