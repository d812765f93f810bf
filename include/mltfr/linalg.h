/** @file mltfr/linalg.h
 *  Dense products and solves on one rank.  Layer: num.  All functions are @local.  Matrices are
 *  row-major.  Products are this program's own (src/num/gemm.h says what their bits depend on);
 *  what BLAS and LAPACK compute has bits that depend on shape and kernel: callers keep shapes fixed
 *  by the problem, never by the number of ranks. */
#ifndef MLTFR_LINALG_H
#define MLTFR_LINALG_H

#include <mltfr/status.h>

#include <stdint.h>

/** C[m][n] = A[m][k] B[k][n] + beta C.  lda, ldb, ldc are the row lengths of A, B, C. */
void mltfr_gemm_nn(int64_t m, int64_t n, int64_t k, const float *A, int64_t lda, const float *B,
                   int64_t ldb, float beta, float *C, int64_t ldc);
/** C[m][n] = A[m][k] B[n][k]^T + beta C. */
void mltfr_gemm_nt(int64_t m, int64_t n, int64_t k, const float *A, int64_t lda, const float *B,
                   int64_t ldb, float beta, float *C, int64_t ldc);
/** C[m][n] = A[k][m]^T B[k][n] + beta C. */
void mltfr_gemm_tn(int64_t m, int64_t n, int64_t k, const float *A, int64_t lda, const float *B,
                   int64_t ldb, float beta, float *C, int64_t ldc);

/** C[m][n] = A[m][k] B[k][n] by BLAS's own sgemm: the limit that the products above are measured
 *  against. */
void mltfr_gemm_blas(int64_t m, int64_t n, int64_t k, const float *A, const float *B, float *C);

/** Solve S X = B for symmetric positive definite S[n][n] and B[n][rhs], both overwritten (B by X),
 *  by LAPACK's dposv.
 *  @param X  work space [n][rhs]
 *  @return MLTFR_E_NUMERIC if S is not positive definite or not finite */
mltfr_status mltfr_spd_solve(int64_t n, int64_t rhs, double *S, double *B, double *X);

#endif
