/* Products, copies and solves of block-cyclic matrices, by PBLAS and ScaLAPACK.
 *
 * An illegal argument would only be printed by ScaLAPACK: pxerbla_ below takes its place and ends
 * the program.  NaN passes a factorisation with info 0: results are looked at, not trusted. */
#include "grid_impl.h"

void pdgemm_(const char *, const char *, const int *, const int *, const int *, const double *,
             const double *, const int *, const int *, const int *, const double *, const int *,
             const int *, const int *, const double *, double *, const int *, const int *,
             const int *);
void pdsymm_(const char *, const char *, const int *, const int *, const double *, const double *,
             const int *, const int *, const int *, const double *, const int *, const int *,
             const int *, const double *, double *, const int *, const int *, const int *);
void pdgeadd_(const char *, const int *, const int *, const double *, const double *, const int *,
              const int *, const int *, const double *, double *, const int *, const int *,
              const int *);
void pdtran_(const int *, const int *, const double *, const double *, const int *, const int *,
             const int *, const double *, double *, const int *, const int *, const int *);
void pdposv_(const char *, const int *, const int *, double *, const int *, const int *,
             const int *, double *, const int *, const int *, const int *, int *, size_t);
void pxerbla_(const int *context, const char *routine, const int *info, size_t length);

__attribute__((visibility("default"))) void pxerbla_(const int *context, const char *routine,
                                                     const int *info, size_t length)
{
    (void)context;
    mltfr_panic("ScaLAPACK: parameter %d of %.*s is illegal", *info, (int)length, routine);
}

/* ---- products ------------------------------------------------------------------------------ */

mltfr_view mltfr_view_all(mltfr_matrix *m)
{
    return (mltfr_view){m, 0, 0, m->rows, m->cols};
}

mltfr_view mltfr_view_columns(mltfr_matrix *m, int64_t count)
{
    return (mltfr_view){m, 0, 0, m->rows, count};
}

/* A view as Fortran takes it: 1-based corner. */
typedef struct {
    double *data;
    const int *desc;
    int i, j;
} place;

static place place_of(mltfr_view v)
{
    return (place){v.matrix->data, v.matrix->desc, (int)v.row + 1, (int)v.col + 1};
}

static bool nothing(mltfr_view C)
{
    return !mltfr_grid_inside(C.matrix->grid) || C.rows == 0 || C.cols == 0;
}

void mltfr_matrix_multiply(double alpha, mltfr_view A, bool transposed, mltfr_view B, double beta,
                           mltfr_view C)
{
    place a = place_of(A), b = place_of(B), c = place_of(C);
    int m = (int)C.rows, n = (int)C.cols, k = (int)B.rows;

    mltfr_grid_count(C.matrix->grid, 2. * m * n * k);
    if (!nothing(C))
        pdgemm_(transposed ? "T" : "N", "N", &m, &n, &k, &alpha, a.data, &a.i, &a.j, a.desc, b.data,
                &b.i, &b.j, b.desc, &beta, c.data, &c.i, &c.j, c.desc);
}

void mltfr_matrix_multiply_symmetric(mltfr_view A, mltfr_view B, mltfr_view C)
{
    place a = place_of(A), b = place_of(B), c = place_of(C);
    int m = (int)C.rows, n = (int)C.cols;
    double one = 1, zero = 0;

    mltfr_grid_count(C.matrix->grid, 2. * m * n * m);
    if (!nothing(C))
        pdsymm_("L", "U", &m, &n, &one, a.data, &a.i, &a.j, a.desc, b.data, &b.i, &b.j, b.desc,
                &zero, c.data, &c.i, &c.j, c.desc);
}

void mltfr_matrix_add(double alpha, mltfr_view A, double beta, mltfr_view C)
{
    place a = place_of(A), c = place_of(C);
    int m = (int)C.rows, n = (int)C.cols;

    if (!nothing(C))
        pdgeadd_("N", &m, &n, &alpha, a.data, &a.i, &a.j, a.desc, &beta, c.data, &c.i, &c.j,
                 c.desc);
}

void mltfr_matrix_transpose(mltfr_view A, mltfr_view C)
{
    place a = place_of(A), c = place_of(C);
    int m = (int)C.rows, n = (int)C.cols;
    double one = 1, zero = 0;

    if (!nothing(C))
        pdtran_(&m, &n, &one, a.data, &a.i, &a.j, a.desc, &zero, c.data, &c.i, &c.j, c.desc);
}

/* ---- checks -------------------------------------------------------------------------------- */

mltfr_status mltfr_matrix_check_finite(const mltfr_matrix *m, const char *what)
{
    double sum = 0;

    for (int64_t i = 0; i < m->local_rows * m->local_cols; i++)
        sum += m->data[i] - m->data[i]; /* NaN from NaN and Inf */
    if (sum == 0)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_NUMERIC, "%s of %lld x %lld has elements that are not finite", what,
                      (long long)m->rows, (long long)m->cols);
}

/* ---- symmetric positive definite ------------------------------------------------------------ */

mltfr_status mltfr_matrix_solve(mltfr_matrix *S, mltfr_matrix *B)
{
    mltfr_status st = MLTFR_OK;
    mltfr_grid *g = S->grid;
    int n = (int)S->rows, rhs = (int)B->cols, one = 1, info = 0;

    MLTFR_AGREE(g->comm, mltfr_matrix_check_finite(S, "a matrix"));
    mltfr_grid_count(g, (double)n * n * n / 3 + 2. * n * n * rhs);
    if (mltfr_grid_inside(g) && n > 0 && rhs > 0)
        pdposv_("U", &n, &rhs, S->data, &one, &one, S->desc, B->data, &one, &one, B->desc, &info,
                1);
    info = mltfr_grid_agree_info(g, info);
    if (info > 0)
        MLTFR_FAIL(MLTFR_E_NUMERIC, "a matrix of order %d is not positive definite (minor %d)", n,
                   info);
    MLTFR_AGREE(g->comm, mltfr_matrix_check_finite(B, "a solution"));
done:
    return st;
}
