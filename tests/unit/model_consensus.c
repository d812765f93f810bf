/* Fisher statistics and the consensus expert (E17-E19, C8, C9). */
#include <mltfr/consensus.h>
#include <mltfr/linalg.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { K = 3, R = 6, D = 5, SAMPLES = 20 };

static const double lam = .05;

static void assert_near(double x, double y, double tolerance)
{
    if (!(fabs(x - y) <= tolerance * (1 + fabs(y))))
        fail_msg("%.12g is not within %g of %.12g", x, tolerance, y);
}

/* Sums over SAMPLES rows an expert; expert k's omega is scale[k], 0 for none. */
static mltfr_fisher *statistics(const double scale[K])
{
    mltfr_fisher *fisher;

    assert_int_equal(mltfr_fisher_create(K, R, &fisher), MLTFR_OK);
    for (int64_t k = 0; k < K; k++)
        for (int64_t t = 0; t < SAMPLES; t++) {
            double x[R];

            for (int64_t i = 0; i < R; i++)
                x[i] = mltfr_rng_normal(17, (uint64_t)((k * SAMPLES + t) * R + i));
            for (int64_t i = 0; i < R * R; i++)
                fisher->num_A[k * R * R + i] += scale[k] * x[i / R] * x[i % R];
            fisher->sum_omega[k] += scale[k];
            fisher->num_beta[k] += scale[k] * 2;
            fisher->n_rows[k] += 1;
        }
    return fisher;
}

static void sums_decay_and_give_ratios(void **state)
{
    const double scale[K] = {1, 3, 0};
    mltfr_fisher *old = statistics(scale), *fresh = statistics(scale);
    double A[K * R * R], s[K], beta[K];

    (void)state;
    fresh->n_rows[0] = 7;
    mltfr_fisher_add(old, fresh, .95);
    assert_near(old->n_rows[0], .95 * SAMPLES + 7, 1e-14);
    assert_near(old->sum_omega[1], 1.95 * 3 * SAMPLES, 1e-14);
    assert_near(old->num_beta[1], 1.95 * 6 * SAMPLES, 1e-14);
    assert_near(old->num_A[R * R + 8], 1.95 * fresh->num_A[R * R + 8], 1e-14);
    mltfr_fisher_ratios(old, A, s, beta);
    assert_near(s[0], 1.95 * SAMPLES / (.95 * SAMPLES + 7), 1e-14);
    assert_near(beta[1], 2, 1e-14);
    assert_near(A[R * R + 8], fresh->num_A[R * R + 8] / (3 * SAMPLES), 1e-14);
    for (int64_t i = 0; i < R * R; i++)
        assert_true(A[2 * R * R + i] == 0);
    assert_true(s[2] == 0 && beta[2] == 0);
    mltfr_fisher_ratios(old, NULL, NULL, NULL);
    mltfr_fisher_destroy(&old);
    mltfr_fisher_destroy(&fresh);
    assert_int_equal(mltfr_mem_now(), 0);
}

static void phi_of(const double scale[K], mltfr_consensus_rule rule, double kappa, double *phi)
{
    mltfr_fisher *fisher = statistics(scale);

    mltfr_fisher_phi(fisher, rule, kappa, 2, phi);
    mltfr_fisher_destroy(&fisher);
}

static void phi_is_tempered_and_bounded(void **state)
{
    double phi[K], A[K * R * R], raw[K];

    (void)state;
    { /* moderate: within the bounds, so in proportion to (s beta tr A)^kappa */
        mltfr_fisher *fisher = statistics((const double[K]){1, 1.5, 2});

        mltfr_fisher_ratios(fisher, A, NULL, NULL);
        for (int64_t k = 0; k < K; k++) {
            double tr = 0;

            for (int64_t i = 0; i < R; i++)
                tr += A[k * R * R + i * R + i];
            raw[k] = sqrt((1 + .5 * (double)k) * 2 * tr);
        }
        mltfr_fisher_phi(fisher, MLTFR_CONSENSUS_KRON, .5, 2, phi);
        assert_near(phi[1] / phi[0], raw[1] / raw[0], 1e-12);
        assert_near(phi[2] / phi[0], raw[2] / raw[0], 1e-12);
        assert_near(phi[0] + phi[1] + phi[2], 1, 1e-12);
        mltfr_fisher_destroy(&fisher);
    }
    { /* raw: without a bound the weights are what they are */
        mltfr_fisher *one = statistics((const double[K]){1, 1, 1});
        mltfr_fisher *fisher = statistics((const double[K]){1, 100, 1});

        mltfr_fisher_phi(one, MLTFR_CONSENSUS_KRON, 1, 1e9, raw);
        mltfr_fisher_phi(fisher, MLTFR_CONSENSUS_KRON, 1, 1e9, phi);
        assert_near(phi[1] / phi[0] / (raw[1] / raw[0]), 100, 1e-9);
        assert_near(phi[0] + phi[1] + phi[2], 1, 1e-12);
        mltfr_fisher_destroy(&one);
        mltfr_fisher_destroy(&fisher);
    }
    phi_of((const double[K]){1, 100, 1}, MLTFR_CONSENSUS_KRON, .5, phi); /* domination by x100 */
    assert_near(phi[1], 2. / K, 1e-12);
    assert_near(phi[0] + phi[1] + phi[2], 1, 1e-12);
    phi_of((const double[K]){1e-9, 1e12, 1}, MLTFR_CONSENSUS_KRON, 1, phi);
    for (int64_t k = 0; k < K; k++)
        assert_true(phi[k] >= .5 / K - 1e-12 && phi[k] <= 2. / K + 1e-12);
    assert_near(phi[0] + phi[1] + phi[2], 1, 1e-12);
}

static void experts_without_statistics_have_no_weight(void **state)
{
    double phi[K];

    (void)state;
    phi_of((const double[K]){1, 0, 1000}, MLTFR_CONSENSUS_DIAGONAL, .5, phi);
    assert_true(phi[1] == 0);
    assert_near(phi[0] + phi[2], 1, 1e-12);
    assert_near(phi[0], .25, 1e-12); /* the bounds count two experts */
    phi_of((const double[K]){0, 4, 0}, MLTFR_CONSENSUS_KRON, .5, phi);
    assert_true(phi[0] == 0 && phi[2] == 0);
    assert_near(phi[1], 1, 1e-12);
    phi_of((const double[K]){0, 0, 0}, MLTFR_CONSENSUS_KRON, .5, phi);
    assert_true(phi[0] == 0 && phi[1] == 0 && phi[2] == 0);
    phi_of((const double[K]){0, 0, 9}, MLTFR_CONSENSUS_UNIFORM, .5, phi);
    assert_true(phi[0] == 1. / K && phi[1] == 1. / K && phi[2] == 1. / K);
}

typedef struct {
    float W[K][R * D], W_c[R * D];
    const float *W_k[K];
    double lhs[R * R], rhs[R * D], solved[R * D], phi[K];
} problem;

/* Build and solve E18; returns the residual of E19. */
static double solve(problem *p, const mltfr_fisher *fisher, mltfr_consensus_rule rule)
{
    double lhs[R * R], work[R * D];

    for (int64_t k = 0; k < K; k++) {
        p->W_k[k] = p->W[k];
        for (int64_t i = 0; i < R * D; i++)
            p->W[k][i] = (float)mltfr_rng_normal(31 + (uint64_t)k, (uint64_t)i);
    }
    for (int64_t i = 0; i < R * D; i++)
        p->W_c[i] = (float)mltfr_rng_normal(41, (uint64_t)i);
    mltfr_fisher_phi(fisher, rule, .5, 2, p->phi);
    mltfr_consensus_system(fisher, rule, p->phi, lam, D, p->W_k, p->W_c, p->lhs, p->rhs);
    memcpy(lhs, p->lhs, sizeof lhs);
    memcpy(p->solved, p->rhs, sizeof p->solved);
    assert_int_equal(mltfr_spd_solve(R, D, lhs, p->solved, work), MLTFR_OK);
    return mltfr_consensus_residual(R, D, p->lhs, p->rhs, p->solved);
}

/* Largest entry of sum phi Ah (W - W_k) + lam (W - W_c), with Ah from the ratios. */
static double imbalance(const problem *p, const mltfr_fisher *fisher)
{
    double A[K * R * R], worst = 0;

    mltfr_fisher_ratios(fisher, A, NULL, NULL);
    for (int64_t e = 0; e < R * D; e++) {
        int64_t i = e / D, c = e % D;
        double sum = lam * (p->solved[e] - p->W_c[e]);

        for (int64_t k = 0; k < K; k++) {
            const double *Ak = A + k * R * R;
            double tr = 0;

            for (int64_t j = 0; j < R; j++)
                tr += Ak[j * R + j];
            for (int64_t j = 0; tr > 0 && j < R; j++)
                sum += p->phi[k] * R / tr * Ak[i * R + j] *
                       (p->solved[j * D + c] - p->W[k][j * D + c]);
        }
        worst = fmax(worst, fabs(sum));
    }
    return worst;
}

static void kron_balances_the_experts(void **state)
{
    mltfr_fisher *fisher = statistics((const double[K]){1, 0, 5});
    problem p;

    (void)state;
    assert_true(solve(&p, fisher, MLTFR_CONSENSUS_KRON) < 1e-13);
    assert_true(imbalance(&p, fisher) < 1e-12);
    p.solved[3] += 1e-2;
    assert_true(mltfr_consensus_residual(R, D, p.lhs, p.rhs, p.solved) > 1e-4);
    mltfr_fisher_destroy(&fisher);
}

static void diagonal_and_uniform_are_elementwise(void **state)
{
    mltfr_fisher *fisher = statistics((const double[K]){1, 2, 5});
    problem p;

    (void)state;
    assert_true(solve(&p, fisher, MLTFR_CONSENSUS_DIAGONAL) < 1e-13);
    for (int64_t e = 0; e < R * D; e++) {
        int64_t i = e / D;
        double top = lam * p.W_c[e], bottom = lam;

        for (int64_t k = 0; k < K; k++) {
            const double *A = fisher->num_A + k * R * R;
            double tr = 0;

            for (int64_t j = 0; j < R; j++)
                tr += A[j * R + j];
            top += p.phi[k] * A[i * R + i] * R / tr * p.W[k][e];
            bottom += p.phi[k] * A[i * R + i] * R / tr;
        }
        assert_near(p.solved[e], top / bottom, 1e-12);
    }
    solve(&p, fisher, MLTFR_CONSENSUS_UNIFORM);
    for (int64_t e = 0; e < R * D; e++)
        assert_near(p.solved[e],
                    (((double)p.W[0][e] + p.W[1][e] + p.W[2][e]) / 3 + lam * p.W_c[e]) / (1 + lam),
                    1e-12);
    mltfr_fisher_destroy(&fisher);
}

static void without_statistics_the_consensus_stays(void **state)
{
    mltfr_fisher *fisher = statistics((const double[K]){0, 0, 0});
    double zero[R * D] = {0};
    problem p;

    (void)state;
    solve(&p, fisher, MLTFR_CONSENSUS_KRON);
    for (int64_t e = 0; e < R * D; e++)
        assert_near(p.solved[e], p.W_c[e], 1e-12);
    assert_true(mltfr_consensus_residual(R, D, p.lhs, zero, zero) == 0);
    mltfr_fisher_destroy(&fisher);
    assert_int_equal(mltfr_mem_now(), 0);
}

static void blend_and_pull(void **state)
{
    float W_c[2] = {1, -2}, W_k[2] = {3, 0}, low[2] = {3, 0};
    const double W[2] = {2, 2};

    (void)state;
    mltfr_consensus_blend(2, .25, W, W_c);
    assert_near(W_c[0], 1.25, 1e-7);
    assert_near(W_c[1], -1, 1e-7);
    mltfr_consensus_pull(2, .1, .5, 0, W_c, W_k);
    mltfr_consensus_pull(2, .1, .5, 1, W_c, low);
    assert_near(W_k[0], 3 - .05 * 1.75, 1e-7);
    assert_near(W_k[1], -.05, 1e-7);
    assert_near(low[0], 3 - .1 * 1.75, 1e-7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_decay_and_give_ratios),
        cmocka_unit_test(phi_is_tempered_and_bounded),
        cmocka_unit_test(experts_without_statistics_have_no_weight),
        cmocka_unit_test(kron_balances_the_experts),
        cmocka_unit_test(diagonal_and_uniform_are_elementwise),
        cmocka_unit_test(without_statistics_the_consensus_stays),
        cmocka_unit_test(blend_and_pull),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
