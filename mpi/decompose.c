/* Eigenvectors and singular vectors of block-cyclic matrices, by ScaLAPACK; each result is probed.
 *
 * Eigenvectors come from pdsyevd, with more workspace than it asks for: with just that it returns
 * wrong vectors and info 0 for some small matrices.  pdsyevr, with info 0 too, has returned one
 * vector twice for a residual covariance of order 576 (E9).  So every result is tried on a few
 * vectors x, S x against V lam V^T x, A x against U s V^T x: a wrong basis would look like a bad
 * alignment and no more. */
#include "grid_impl.h"

#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/watchdog.h>

#include <limits.h>
#include <math.h>

void pdsyevd_(const char *, const char *, const int *, double *, const int *, const int *,
              const int *, double *, double *, const int *, const int *, const int *, double *,
              const int *, int *, const int *, int *, size_t, size_t);
void pdgesvd_(const char *, const char *, const int *, const int *, double *, const int *,
              const int *, const int *, double *, double *, const int *, const int *, const int *,
              double *, const int *, const int *, const int *, double *, const int *, int *, size_t,
              size_t);

/* ---- probes -------------------------------------------------------------------------------- */

/* A decomposition is tried on this many vectors of entries -1 and 1.  The bound is far above
 * rounding (n <= 10^5) and far below what a wrong vector makes. */
enum { PROBES = 4 };
static const double bound = 1e-9;

static mltfr_status make_signs(mltfr_grid *g, int64_t rows, mltfr_matrix **out)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_matrix_create(g, rows, PROBES, out));
    for (int64_t j = 0; j < (*out)->local_cols; j++)
        for (int64_t i = 0; i < (*out)->local_rows; i++) {
            int64_t row = mltfr_cyclic_global(i, g->block, g->row, g->down);
            int64_t col = mltfr_cyclic_global(j, g->block, g->col, g->across);
            uint64_t bits = mltfr_mix64((uint64_t)(row * PROBES + col) + 1);
            (*out)->data[j * (*out)->local_rows + i] = bits & 1 ? 1 : -1;
        }
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

/* Multiply row i by s[i]. */
static void scale_rows(mltfr_matrix *m, const double *s)
{
    const mltfr_grid *g = m->grid;

    for (int64_t j = 0; j < m->local_cols; j++)
        for (int64_t i = 0; i < m->local_rows; i++)
            m->data[j * m->local_rows + i] *= s[mltfr_cyclic_global(i, g->block, g->row, g->down)];
}

/* How far the columns (or rows) of Q are from orthonormal: |Q^T Q x - x|. */
static mltfr_status basis_error(mltfr_matrix *Q, bool of_rows, double *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *X = NULL, *W = NULL;
    mltfr_view q = mltfr_view_all(Q);

    MLTFR_TRY(make_signs(Q->grid, of_rows ? q.rows : q.cols, &X));
    MLTFR_TRY(mltfr_matrix_create(Q->grid, of_rows ? q.cols : q.rows, PROBES, &W));
    mltfr_matrix_multiply(1, q, of_rows, mltfr_view_all(X), 0, mltfr_view_all(W));
    mltfr_matrix_multiply(1, q, !of_rows, mltfr_view_all(W), -1, mltfr_view_all(X));
    *out = largest(X);
done:
    mltfr_matrix_destroy(&X);
    mltfr_matrix_destroy(&W);
    return st;
}

/* Y = A x, kept while A is overwritten. */
typedef struct {
    mltfr_matrix *X, *Y;
    double size;
} probe;

static void probe_destroy(probe *p)
{
    mltfr_matrix_destroy(&p->X);
    mltfr_matrix_destroy(&p->Y);
}

static mltfr_status probe_begin(mltfr_matrix *A, bool symmetric, probe *p)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(make_signs(A->grid, A->cols, &p->X));
    MLTFR_TRY(mltfr_matrix_create(A->grid, A->rows, PROBES, &p->Y));
    mltfr_view a = mltfr_view_all(A), x = mltfr_view_all(p->X), y = mltfr_view_all(p->Y);
    if (symmetric)
        mltfr_matrix_multiply_symmetric(a, x, y);
    else
        mltfr_matrix_multiply(1, a, false, x, 0, y);
    p->size = largest(p->Y);
done:
    return st;
}

/* |left diag(s) right x - Y|, where `right` may be given by its transpose. */
static mltfr_status probe_residual(probe *p, mltfr_matrix *left, const double *s,
                                   mltfr_matrix *right, bool transposed, double *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *W = NULL;

    MLTFR_TRY(mltfr_matrix_create(left->grid, left->cols, PROBES, &W));
    mltfr_matrix_multiply(1, mltfr_view_all(right), transposed, mltfr_view_all(p->X), 0,
                          mltfr_view_all(W));
    scale_rows(W, s);
    mltfr_matrix_multiply(1, mltfr_view_all(left), false, mltfr_view_all(W), -1,
                          mltfr_view_all(p->Y));
    *out = largest(p->Y);
done:
    mltfr_matrix_destroy(&W);
    return st;
}

static mltfr_status judge(const char *what, const mltfr_matrix *A, double residual, double size,
                          double basis)
{
    if (basis <= bound && residual <= bound * size)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_NUMERIC,
                      "%s of a matrix of %lld x %lld are wrong: residual %.1e of %.1e, "
                      "orthogonality %.1e",
                      what, (long long)A->rows, (long long)A->cols, residual, size, basis);
}

/* ---- eigenvectors -------------------------------------------------------------------------- */

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

/* What ScaLAPACK writes beyond the workspace it asks for. */
static int64_t extra_work(const mltfr_matrix *S)
{
    int64_t nb = S->grid->block;
    int64_t p = S->local_rows > nb ? S->local_rows : nb,
            q = S->local_cols > nb ? S->local_cols : nb;

    return 8 * (S->rows + S->cols) + p * (nb + q) + nb * (p + q + 2 * nb);
}

/* A rank's workspace.  It is taken before the call, which all ranks of the grid must come to. */
typedef struct {
    double *work;
    int *iwork, lwork, liwork;
} workspace;

static void workspace_free(workspace *w)
{
    MLTFR_FREE(w->work);
    MLTFR_FREE(w->iwork);
}

/* ScaLAPACK counts the workspace in ints, and does not look whether they overflow.  @local */
static mltfr_status check_order(const mltfr_matrix *S)
{
    if (2. * (double)S->local_rows * (double)S->local_cols + 16. * (double)S->rows +
            (double)extra_work(S) <=
        INT_MAX)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_USAGE,
                      "eigenvectors of a matrix of order %lld are more than ScaLAPACK can count on "
                      "%d ranks: more ranks, or fewer or narrower token tables, are needed",
                      (long long)S->rows, S->grid->down * S->grid->across);
}

/* Asks the other ranks of the grid what they need. */
static mltfr_status take_workspace(mltfr_matrix *S, double *lam, mltfr_matrix *V, workspace *w)
{
    mltfr_status st = MLTFR_OK;
    double need = 0;
    int ineed = 0;

    if (!mltfr_grid_inside(S->grid))
        return MLTFR_OK;
    call_pdsyevd(S, lam, V, &need, -1, &ineed, -1);
    w->lwork = mltfr_count_to_int((int64_t)need + extra_work(S));
    w->liwork = mltfr_count_to_int(ineed + 7 * S->rows + 8 * S->grid->across + 2);
    MLTFR_TRY(MLTFR_NEW(w->work, w->lwork));
    MLTFR_TRY(MLTFR_NEW(w->iwork, w->liwork));
done:
    return st;
}

/* What one rank does: -S gives the eigenvalues in falling order. */
static int decompose(mltfr_matrix *S, double *lam, mltfr_matrix *V, workspace *w)
{
    int info;

    if (!mltfr_grid_inside(S->grid))
        return 0;
    negate(S);
    info = call_pdsyevd(S, lam, V, w->work, w->lwork, w->iwork, w->liwork);
    for (int64_t i = 0; i < S->rows; i++)
        lam[i] = -lam[i];
    return info;
}

/* One call does it all and shows no progress: slow processors have a GF/s a rank. */
static void allow(const mltfr_grid *g, double flop)
{
    mltfr_watchdog_allow(flop / 1e9 / mltfr_comm_size(g->comm));
}

mltfr_status mltfr_matrix_eigen(mltfr_matrix *S, double *lam, mltfr_matrix *V)
{
    mltfr_status st = MLTFR_OK;
    mltfr_grid *g = S->grid;
    probe p = {0};
    workspace w = {0};
    double basis, residual, n = (double)S->rows;
    int info;

    MLTFR_AGREE(g->comm, mltfr_matrix_check_finite(S, "a symmetric matrix"));
    MLTFR_AGREE(g->comm, check_order(S));
    MLTFR_TRY(probe_begin(S, true, &p));
    MLTFR_AGREE(g->comm, take_workspace(S, lam, V, &w));
    allow(g, 6 * n * n * n);
    info = mltfr_grid_agree_info(g, decompose(S, lam, V, &w));
    mltfr_grid_count(g, 6 * n * n * n);
    if (info > 0)
        MLTFR_FAIL(MLTFR_E_NUMERIC, "eigenvalues of a matrix of order %lld: pdsyevd gives %d",
                   (long long)S->rows, info);
    mltfr_comm_bcast(g->comm, lam, S->rows * (int64_t)sizeof *lam, 0);
    MLTFR_TRY(basis_error(V, false, &basis));
    MLTFR_TRY(probe_residual(&p, V, lam, V, true, &residual));
    st = judge("eigenvectors", V, residual,
               fmax(p.size, fmax(fabs(lam[0]), fabs(lam[S->rows - 1]))), basis);
done:
    allow(g, 0);
    workspace_free(&w);
    probe_destroy(&p);
    return st;
}

/* ---- singular vectors ---------------------------------------------------------------------- */

static int call_pdgesvd(mltfr_matrix *A, double *s, mltfr_matrix *U, mltfr_matrix *Vt, double *work,
                        int lwork)
{
    int m = (int)A->rows, n = (int)A->cols, one = 1, info = 0;

    pdgesvd_("V", "V", &m, &n, A->data, &one, &one, A->desc, s, U->data, &one, &one, U->desc,
             Vt->data, &one, &one, Vt->desc, work, &lwork, &info, 1, 1);
    return info;
}

/* As take_workspace. */
static mltfr_status take_split_workspace(mltfr_matrix *A, double *s, mltfr_matrix *U,
                                         mltfr_matrix *Vt, workspace *w)
{
    double need = 0;

    if (!mltfr_grid_inside(A->grid))
        return MLTFR_OK;
    call_pdgesvd(A, s, U, Vt, &need, -1);
    w->lwork = mltfr_count_to_int((int64_t)need + extra_work(A));
    return MLTFR_NEW(w->work, w->lwork);
}

mltfr_status mltfr_matrix_svd(mltfr_matrix *A, double *s, mltfr_matrix *U, mltfr_matrix *Vt)
{
    mltfr_status st = MLTFR_OK;
    mltfr_grid *g = A->grid;
    probe p = {0};
    workspace w = {0};
    double left, right, residual, m = (double)A->rows, n = (double)U->cols;
    int info = 0;

    MLTFR_AGREE(g->comm, mltfr_matrix_check_finite(A, "a matrix"));
    MLTFR_TRY(probe_begin(A, false, &p));
    MLTFR_AGREE(g->comm, take_split_workspace(A, s, U, Vt, &w));
    allow(g, 20 * m * n * n);
    if (mltfr_grid_inside(g))
        info = call_pdgesvd(A, s, U, Vt, w.work, w.lwork);
    info = mltfr_grid_agree_info(g, info);
    mltfr_grid_count(g, 4 * m * m * n + 22 * n * n * n);
    if (info > 0)
        MLTFR_FAIL(MLTFR_E_NUMERIC, "singular values of a matrix of %lld x %lld: pdgesvd gives %d",
                   (long long)A->rows, (long long)A->cols, info);
    mltfr_comm_bcast(g->comm, s, U->cols * (int64_t)sizeof *s, 0);
    MLTFR_TRY(basis_error(U, false, &left));
    MLTFR_TRY(basis_error(Vt, true, &right));
    MLTFR_TRY(probe_residual(&p, U, s, Vt, false, &residual));
    st = judge("singular vectors", A, residual, fmax(p.size, s[0]), fmax(left, right));
done:
    allow(g, 0);
    workspace_free(&w);
    probe_destroy(&p);
    return st;
}
