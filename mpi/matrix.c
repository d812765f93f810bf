/* Products, solves and eigenvectors of block-cyclic matrices, by PBLAS and ScaLAPACK.
 *
 * Eigenvectors come from pdsyevd, with more workspace than it asks for: with just that it returns
 * wrong vectors and info 0 for some small matrices.  pdsyevr, with info 0 too, has returned one
 * vector twice for a residual covariance of order 576 (E9).  So every result is probed, S x against
 * V lam V^T x: a wrong basis would look like a bad alignment and no more.  An illegal
 * argument would only be printed by ScaLAPACK: pxerbla_ below takes its place and ends the
 * program.  NaN passes a factorisation with info 0: results are looked at, not trusted. */
#include "grid_impl.h"

#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include <math.h>

void pdgemm_(const char *, const char *, const int *, const int *, const int *, const double *,
             const double *, const int *, const int *, const int *, const double *, const int *,
             const int *, const int *, const double *, double *, const int *, const int *,
             const int *);
void pdsymm_(const char *, const char *, const int *, const int *, const double *, const double *,
             const int *, const int *, const int *, const double *, const int *, const int *,
             const int *, const double *, double *, const int *, const int *, const int *);
void pdtran_(const int *, const int *, const double *, const double *, const int *, const int *,
             const int *, const double *, double *, const int *, const int *, const int *);
void pdposv_(const char *, const int *, const int *, double *, const int *, const int *,
             const int *, double *, const int *, const int *, const int *, int *, size_t);
void pdsyevd_(const char *, const char *, const int *, double *, const int *, const int *,
              const int *, double *, double *, const int *, const int *, const int *, double *,
              const int *, int *, const int *, int *, size_t, size_t);
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

    if (!nothing(C))
        pdgemm_(transposed ? "T" : "N", "N", &m, &n, &k, &alpha, a.data, &a.i, &a.j, a.desc, b.data,
                &b.i, &b.j, b.desc, &beta, c.data, &c.i, &c.j, c.desc);
}

void mltfr_matrix_multiply_symmetric(mltfr_view A, mltfr_view B, mltfr_view C)
{
    place a = place_of(A), b = place_of(B), c = place_of(C);
    int m = (int)C.rows, n = (int)C.cols;
    double one = 1, zero = 0;

    if (!nothing(C))
        pdsymm_("L", "U", &m, &n, &one, a.data, &a.i, &a.j, a.desc, b.data, &b.i, &b.j, b.desc,
                &zero, c.data, &c.i, &c.j, c.desc);
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

static mltfr_status check_finite(const mltfr_matrix *m, const char *what)
{
    double sum = 0;

    for (int64_t i = 0; i < m->local_rows * m->local_cols; i++)
        sum += m->data[i] - m->data[i]; /* NaN from NaN and Inf */
    if (sum == 0)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_NUMERIC, "%s of %lld x %lld has elements that are not finite", what,
                      (long long)m->rows, (long long)m->cols);
}

/* Ranks outside the grid learn what the others got: info > 0 is the larger. */
static int agree_info(const mltfr_grid *g, int info)
{
    int64_t worst = mltfr_grid_inside(g) ? info : 0;

    mltfr_comm_max_i64(g->comm, &worst, 1);
    return (int)worst;
}

/* ---- symmetric positive definite ------------------------------------------------------------ */

mltfr_status mltfr_matrix_solve(mltfr_matrix *S, mltfr_matrix *B)
{
    mltfr_status st = MLTFR_OK;
    mltfr_grid *g = S->grid;
    int n = (int)S->rows, rhs = (int)B->cols, one = 1, info = 0;

    MLTFR_AGREE(g->comm, check_finite(S, "a matrix"));
    if (mltfr_grid_inside(g) && n > 0 && rhs > 0)
        pdposv_("U", &n, &rhs, S->data, &one, &one, S->desc, B->data, &one, &one, B->desc, &info,
                1);
    info = agree_info(g, info);
    if (info > 0)
        MLTFR_FAIL(MLTFR_E_NUMERIC, "a matrix of order %d is not positive definite (minor %d)", n,
                   info);
    MLTFR_AGREE(g->comm, check_finite(B, "a solution"));
done:
    return st;
}

/* ---- eigenvectors --------------------------------------------------------------------------- */

/* Vectors that a decomposition is tried on: X has entries -1 and 1, Y = S X. */
enum { PROBES = 4 };

typedef struct {
    mltfr_matrix *X, *Y, *W;
} probe;

static void probe_destroy(probe *p)
{
    mltfr_matrix_destroy(&p->X);
    mltfr_matrix_destroy(&p->Y);
    mltfr_matrix_destroy(&p->W);
}

static mltfr_status probe_begin(mltfr_matrix *S, probe *p)
{
    mltfr_status st = MLTFR_OK;
    mltfr_grid *g = S->grid;

    MLTFR_TRY(mltfr_matrix_create(g, S->rows, PROBES, &p->X));
    MLTFR_TRY(mltfr_matrix_create(g, S->rows, PROBES, &p->Y));
    MLTFR_TRY(mltfr_matrix_create(g, S->rows, PROBES, &p->W));
    for (int64_t j = 0; j < p->X->local_cols; j++)
        for (int64_t i = 0; i < p->X->local_rows; i++) {
            int64_t row = mltfr_cyclic_global(i, g->block, g->row, g->down);
            int64_t col = mltfr_cyclic_global(j, g->block, g->col, g->across);
            uint64_t bits = mltfr_mix64((uint64_t)(row * PROBES + col) + 1);
            p->X->data[j * p->X->local_rows + i] = bits & 1 ? 1 : -1;
        }
    mltfr_matrix_multiply_symmetric(mltfr_view_all(S), mltfr_view_all(p->X), mltfr_view_all(p->Y));
done:
    return st;
}

static double largest(const mltfr_matrix *m)
{
    double most = 0;

    for (int64_t i = 0; i < m->local_rows * m->local_cols; i++)
        most = fmax(most, isfinite(m->data[i]) ? fabs(m->data[i]) : INFINITY);
    mltfr_comm_max_f64(m->grid->comm, &most, 1);
    return most;
}

/* Multiply row i by lam[i]. */
static void scale_rows(mltfr_matrix *m, const double *lam)
{
    const mltfr_grid *g = m->grid;

    for (int64_t j = 0; j < m->local_cols; j++)
        for (int64_t i = 0; i < m->local_rows; i++)
            m->data[j * m->local_rows + i] *=
                lam[mltfr_cyclic_global(i, g->block, g->row, g->down)];
}

/* V V^T X = X and V lam V^T X = Y, to rounding.  The bound is far above rounding (n <= 10^5) and
 * far below what a wrong vector makes. */
static mltfr_status probe_end(probe *p, const double *lam, mltfr_matrix *V)
{
    const double bound = 1e-9;
    double size = fmax(largest(p->Y), fmax(fabs(lam[0]), fabs(lam[V->rows - 1])));
    mltfr_view X = mltfr_view_all(p->X), Y = mltfr_view_all(p->Y), W = mltfr_view_all(p->W);

    mltfr_matrix_multiply(1, mltfr_view_all(V), true, X, 0, W);
    mltfr_matrix_multiply(1, mltfr_view_all(V), false, W, -1, X);
    scale_rows(p->W, lam);
    mltfr_matrix_multiply(1, mltfr_view_all(V), false, W, -1, Y);
    double basis = largest(p->X), residual = largest(p->Y);
    if (basis <= bound && residual <= bound * size)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_NUMERIC,
                      "eigenvectors of a matrix of order %lld are wrong: residual %.1e of %.1e, "
                      "orthogonality %.1e",
                      (long long)V->rows, residual, size, basis);
}

static void negate(mltfr_matrix *m)
{
    for (int64_t i = 0; i < m->local_rows * m->local_cols; i++)
        m->data[i] = -m->data[i];
}

/* One call of pdsyevd; with lwork = -1 it only says the workspace it asks for. */
static int call_pdsyevd(mltfr_matrix *S, double *lam, mltfr_matrix *V, double *work, int lwork,
                        int *iwork, int liwork)
{
    int n = (int)S->rows, one = 1, info = 0;

    pdsyevd_("V", "U", &n, S->data, &one, &one, S->desc, lam, V->data, &one, &one, V->desc, work,
             &lwork, iwork, &liwork, &info, 1, 1);
    return info;
}

/* What pdsyevd writes beyond the workspace it asks for. */
static int64_t extra_work(const mltfr_matrix *S)
{
    int64_t nb = S->grid->block;
    int64_t p = S->local_rows > nb ? S->local_rows : nb,
            q = S->local_cols > nb ? S->local_cols : nb;

    return 8 * S->rows + p * (nb + q) + nb * (p + q + 2 * nb);
}

/* What one rank does: -S gives the eigenvalues in falling order. */
static mltfr_status decompose(mltfr_matrix *S, double *lam, mltfr_matrix *V, int *info)
{
    mltfr_status st = MLTFR_OK;
    double *work = NULL, need = 0;
    int *iwork = NULL, ineed = 0;

    if (!mltfr_grid_inside(S->grid))
        goto done;
    negate(S);
    *info = call_pdsyevd(S, lam, V, &need, -1, &ineed, -1);
    int lwork = mltfr_count_to_int((int64_t)need + extra_work(S));
    int liwork = mltfr_count_to_int(ineed + 7 * S->rows + 8 * S->grid->across + 2);
    MLTFR_TRY(MLTFR_NEW(work, lwork));
    MLTFR_TRY(MLTFR_NEW(iwork, liwork));
    *info = call_pdsyevd(S, lam, V, work, lwork, iwork, liwork);
    for (int64_t i = 0; i < S->rows; i++)
        lam[i] = -lam[i];
done:
    MLTFR_FREE(work);
    MLTFR_FREE(iwork);
    return st;
}

mltfr_status mltfr_matrix_eigen(mltfr_matrix *S, double *lam, mltfr_matrix *V)
{
    mltfr_status st = MLTFR_OK;
    mltfr_grid *g = S->grid;
    probe p = {0};
    int info = 0;

    MLTFR_AGREE(g->comm, check_finite(S, "a symmetric matrix"));
    MLTFR_TRY(probe_begin(S, &p));
    MLTFR_AGREE(g->comm, decompose(S, lam, V, &info));
    info = agree_info(g, info);
    if (info > 0)
        MLTFR_FAIL(MLTFR_E_NUMERIC, "eigenvalues of a matrix of order %lld: pdsyevd gives %d",
                   (long long)S->rows, info);
    mltfr_comm_bcast(g->comm, lam, S->rows * (int64_t)sizeof *lam, 0);
    MLTFR_TRY(probe_end(&p, lam, V));
done:
    probe_destroy(&p);
    return st;
}
