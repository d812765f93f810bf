/* The product behind mltfr_gemm_nn, _nt and _tn. */
#ifndef MLTFR_NUM_GEMM_H
#define MLTFR_NUM_GEMM_H

#include <mltfr/kernel.h>

#include <stdbool.h>
#include <stdint.h>

/* A(i, k) = x[i row + k step] */
typedef struct {
    const float *x;
    int64_t row, step;
} gemm_left;

/* B(k, j) = x[k ld + j], turned: x[j ld + k] */
typedef struct {
    const float *x;
    int64_t ld;
    bool turned;
} gemm_right;

/* C[m][n] = A B + beta C for size m, n, k.  An entry is one chain of multiply-adds by rising k: its
 * bits do not depend on m and n. */
void gemm_multiply(const int64_t size[3], gemm_left A, gemm_right B, float beta, float *C,
                   int64_t ldc);

#endif
