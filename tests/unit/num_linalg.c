/* Products against plain loops in double, also at size 0; the SPD solve against its definition; the
 * kernel of BLAS. */
#include <mltfr/linalg.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/versions.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LD = 13 };

static void fill(int64_t n, float *x, uint64_t salt)
{
    uint64_t key = mltfr_rng_key(salt, MLTFR_RNG_SYNTHETIC, 0);

    for (int64_t i = 0; i < n; i++)
        x[i] = (float)mltfr_rng_normal(key, (uint64_t)i);
}

typedef void (*product)(int64_t, int64_t, int64_t, const float *, int64_t, const float *, int64_t,
                        float, float *, int64_t);

/* Strides of A's (row, inner) and B's (inner, column) say which of the three forms it is. */
static void check_product(product multiply, const int64_t size[3], const int64_t sa[2],
                          const int64_t sb[2])
{
    float A[LD * LD], B[LD * LD], C[LD * LD], before[LD * LD];

    fill(LD * LD, A, 1);
    fill(LD * LD, B, 2);
    fill(LD * LD, C, 3);
    memcpy(before, C, sizeof C);
    multiply(size[0], size[1], size[2], A, LD, B, LD, .5f, C, LD);
    for (int64_t i = 0; i < LD; i++)
        for (int64_t j = 0; j < LD; j++) {
            double want = before[i * LD + j];

            if (i < size[0] && j < size[1]) {
                want *= .5;
                for (int64_t k = 0; k < size[2]; k++)
                    want += (double)A[i * sa[0] + k * sa[1]] * B[k * sb[0] + j * sb[1]];
            }
            assert_float_equal(C[i * LD + j], want, 1e-5);
        }
}

/* Larger than a panel and a stretch, with rows that are packed and rows that are not. */
static void large_products_match_loops(void **state)
{
    const int64_t sizes[][3] = {{40, 256, 150}, {7, 70, 129}, {25, 83, 260}, {64, 64, 64}};
    const product forms[] = {mltfr_gemm_nn, mltfr_gemm_nt, mltfr_gemm_tn};
    float *A = NULL, *B = NULL, *C = NULL;

    (void)state;
    for (int s = 0; s < 4; s++)
        for (int form = 0; form < 3; form++) {
            const int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
            const int64_t lda = form == 2 ? m : k, ldb = form == 1 ? k : n;

            assert_int_equal(MLTFR_NEW(A, m * k), MLTFR_OK);
            assert_int_equal(MLTFR_NEW(B, k * n), MLTFR_OK);
            assert_int_equal(MLTFR_NEW(C, m * n), MLTFR_OK);
            fill(m * k, A, 4);
            fill(k * n, B, 5);
            forms[form](m, n, k, A, lda, B, ldb, 0.f, C, n);
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j++) {
                    double want = 0.;

                    for (int64_t t = 0; t < k; t++)
                        want += (double)A[form == 2 ? t * m + i : i * k + t] *
                                B[form == 1 ? j * k + t : t * n + j];
                    assert_float_equal(C[i * n + j], want, 1e-4);
                }
            MLTFR_FREE(A);
            MLTFR_FREE(B);
            MLTFR_FREE(C);
        }
}

/* An entry has the same bits whatever is computed beside it. */
static void bits_do_not_depend_on_the_cut(void **state)
{
    enum { M = 23, N = 75, K = 140 };
    static float A[M * K], B[K * N], C[M * N], part[M * N];

    (void)state;
    fill(M * K, A, 6);
    fill(K * N, B, 7);
    mltfr_gemm_nn(M, N, K, A, K, B, N, 0.f, C, N);
    for (int64_t cut = 1; cut < M; cut += 3) {
        mltfr_gemm_nn(cut, N, K, A, K, B, N, 0.f, part, N);
        mltfr_gemm_nn(M - cut, N, K, A + cut * K, K, B, N, 0.f, part + cut * N, N);
        assert_memory_equal(C, part, sizeof C);
        mltfr_gemm_nn(M, cut, K, A, K, B, N, 0.f, part, N);
        mltfr_gemm_nn(M, N - cut, K, A, K, B + cut, N, 0.f, part + cut, N);
        assert_memory_equal(C, part, sizeof C);
    }
}

static void products_match_loops(void **state)
{
    const int64_t sizes[][3] = {{7, 5, 9}, {1, 13, 2}, {4, 4, 0}, {0, 3, 3}, {3, 0, 3}};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        check_product(mltfr_gemm_nn, sizes[s], (int64_t[]){LD, 1}, (int64_t[]){LD, 1});
        check_product(mltfr_gemm_nt, sizes[s], (int64_t[]){LD, 1}, (int64_t[]){1, LD});
        check_product(mltfr_gemm_tn, sizes[s], (int64_t[]){1, LD}, (int64_t[]){LD, 1});
    }
}

/* beta 0 must not read C: it may hold anything. */
static void beta_zero_ignores_old_values(void **state)
{
    float A[4] = {1.f, 0.f, 0.f, 1.f}, C[4] = {NAN, NAN, NAN, NAN};

    (void)state;
    mltfr_gemm_nn(2, 2, 2, A, 2, A, 2, 0.f, C, 2);
    assert_memory_equal(C, A, sizeof C);
    C[0] = NAN;
    mltfr_gemm_nn(1, 1, 0, A, 1, A, 1, 0.f, C, 1);
    assert_true(C[0] == 0.f);
}

/* S = G G^T + I of the given order, and right-hand sides. */
static void make_system(int n, int rhs, double *S, double *B)
{
    uint64_t key = mltfr_rng_key(9, MLTFR_RNG_SYNTHETIC, 0);

    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            S[i * n + j] = i == j;
            for (int k = 0; k < n; k++)
                S[i * n + j] += mltfr_rng_normal(key, (uint64_t)(i * n + k)) *
                                mltfr_rng_normal(key, (uint64_t)(j * n + k));
        }
    for (int i = 0; i < n * rhs; i++)
        B[i] = mltfr_rng_normal(key, (uint64_t)(n * n + i));
}

static void solve_solves(void **state)
{
    enum { N = 6, RHS = 3 };
    double S[N * N], B[N * RHS], keep[N * N], X[N * RHS], work[N * RHS];

    (void)state;
    make_system(N, RHS, S, B);
    memcpy(keep, S, sizeof S);
    memcpy(X, B, sizeof B);
    assert_int_equal(mltfr_spd_solve(N, RHS, S, X, work), MLTFR_OK);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < RHS; j++) {
            double sum = 0.;

            for (int k = 0; k < N; k++)
                sum += keep[i * N + k] * X[k * RHS + j];
            assert_true(fabs(sum - B[i * RHS + j]) < 1e-10);
        }
    assert_int_equal(mltfr_spd_solve(0, RHS, S, X, work), MLTFR_OK);
}

static void bad_systems_are_refused(void **state)
{
    double indefinite[4] = {1., 2., 2., 1.}, nan[4] = {1., 0., 0., NAN}, B[2] = {1., 1.};
    double one[1] = {1.}, inf[1] = {INFINITY}, work[2];

    (void)state;
    assert_int_equal(mltfr_spd_solve(2, 1, indefinite, B, work), MLTFR_E_NUMERIC);
    assert_non_null(strstr(mltfr_error_text, "not positive"));
    assert_int_equal(mltfr_spd_solve(2, 1, nan, B, work), MLTFR_E_NUMERIC);
    assert_int_equal(mltfr_spd_solve(1, 1, one, inf, work), MLTFR_E_NUMERIC);
    assert_non_null(strstr(mltfr_error_text, "not finite"));
}

/* Its kernels of 2004, which it takes for a processor it does not know. */
static void kernel_fits_the_processor(void **state)
{
    (void)state;
#if defined(__x86_64__) && defined(__GNUC__)
    if (getenv("OPENBLAS_CORETYPE") == NULL && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma"))
        assert_string_not_equal(mltfr_blas_kernel(), "Prescott");
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_match_loops),
        cmocka_unit_test(large_products_match_loops),
        cmocka_unit_test(bits_do_not_depend_on_the_cut),
        cmocka_unit_test(beta_zero_ignores_old_values),
        cmocka_unit_test(solve_solves),
        cmocka_unit_test(bad_systems_are_refused),
        cmocka_unit_test(kernel_fits_the_processor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
