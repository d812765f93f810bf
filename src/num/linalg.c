/* Row-major products and the SPD solve of E18 by LAPACK's dposv.  OpenBLAS carries LAPACK
 * without its C interface, so the one routine we need is declared here. */
#include <mltfr/linalg.h>
#include <mltfr/mem.h>

#include "gemm.h"

#include <cblas.h>

#include <math.h>
#include <stdbool.h>

void dposv_(const char *uplo, const int *n, const int *nrhs, double *a, const int *lda, double *b,
            const int *ldb, int *info, size_t uplo_length);

void mltfr_gemm_nn(int64_t m, int64_t n, int64_t k, const float *A, int64_t lda, const float *B,
                   int64_t ldb, float beta, float *C, int64_t ldc)
{
    gemm_multiply((int64_t[]){m, n, k}, (gemm_left){A, lda, 1}, (gemm_right){B, ldb, false}, beta,
                  C, ldc);
}

void mltfr_gemm_nt(int64_t m, int64_t n, int64_t k, const float *A, int64_t lda, const float *B,
                   int64_t ldb, float beta, float *C, int64_t ldc)
{
    gemm_multiply((int64_t[]){m, n, k}, (gemm_left){A, lda, 1}, (gemm_right){B, ldb, true}, beta, C,
                  ldc);
}

void mltfr_gemm_tn(int64_t m, int64_t n, int64_t k, const float *A, int64_t lda, const float *B,
                   int64_t ldb, float beta, float *C, int64_t ldc)
{
    gemm_multiply((int64_t[]){m, n, k}, (gemm_left){A, 1, lda}, (gemm_right){B, ldb, false}, beta,
                  C, ldc);
}

void mltfr_gemm_blas(int64_t m, int64_t n, int64_t k, const float *A, const float *B, float *C)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1.f, A, (int)k,
                B, (int)n, 0.f, C, (int)n);
}

static bool finite_all(int64_t n, const double *x)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* out[cols][rows] = in[rows][cols]^T */
static void transpose(int64_t rows, int64_t cols, const double *in, double *out)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            out[j * rows + i] = in[i * cols + j];
}

mltfr_status mltfr_spd_solve(int64_t n, int64_t rhs, double *S, double *B, double *X)
{
    mltfr_status st = MLTFR_OK;
    const int order = (int)n, columns = (int)rhs;
    int info = 0;

    if (n == 0 || rhs == 0)
        return MLTFR_OK;
    if (!finite_all(n * n, S) || !finite_all(n * rhs, B))
        MLTFR_FAIL(MLTFR_E_NUMERIC, "SPD solve of order %d: the input is not finite", order);
    transpose(n, rhs, B, X); /* LAPACK reads columns */
    dposv_("L", &order, &columns, S, &order, X, &order, &info, 1);
    if (info != 0)
        MLTFR_FAIL(MLTFR_E_NUMERIC, "SPD solve of order %d: leading minor %d is not positive",
                   order, info);
    if (!finite_all(n * rhs, X))
        MLTFR_FAIL(MLTFR_E_NUMERIC, "SPD solve of order %d: the solution is not finite", order);
    transpose(rhs, n, X, B);
done:
    return st;
}
