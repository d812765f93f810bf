/** @file mltfr/product.h
 *  Products in double on one rank, by OpenBLAS.  Layer: num.  All functions are @local.
 *  Matrices are row-major and contiguous. */
#ifndef MLTFR_PRODUCT_H
#define MLTFR_PRODUCT_H

#include <stdint.h>

/** C[m][n] = A[m][k] B[k][n]. */
void mltfr_product_nn(int64_t m, int64_t n, int64_t k, const double *A, const double *B, double *C);

/** C[m][n] = A[m][k] B[n][k]^T. */
void mltfr_product_nt(int64_t m, int64_t n, int64_t k, const double *A, const double *B, double *C);

#endif
