/* Products in double; BLAS wants row lengths of at least 1, even of an empty matrix. */
#include <mltfr/product.h>

#include <cblas.h>

static int lead(int64_t n)
{
    return n > 1 ? (int)n : 1;
}

void mltfr_product_nn(int64_t m, int64_t n, int64_t k, const double *A, const double *B, double *C)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1, A, lead(k), B,
                lead(n), 0, C, lead(n));
}

void mltfr_product_nt(int64_t m, int64_t n, int64_t k, const double *A, const double *B, double *C)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, A, lead(k), B,
                lead(k), 0, C, lead(n));
}
