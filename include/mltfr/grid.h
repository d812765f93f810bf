/** @file mltfr/grid.h
 *  Dense linear algebra in double over all ranks, by ScaLAPACK.  Layer: comm (mpi/).
 *
 *  Matrices lie block-cyclic on a grid of processes; some ranks may stand outside the grid (a
 *  small matrix gains nothing from many), yet every call marked collective is made by all.
 *  Matrices that meet in one call belong to one grid.  Symmetric matrices are held by their upper
 *  triangle; below it is anything.  A Gram matrix has the same bits for any number of ranks, all
 *  other results agree to rounding. */
#ifndef MLTFR_GRID_H
#define MLTFR_GRID_H

#include <mltfr/comm.h>

typedef struct mltfr_grid mltfr_grid;
typedef struct mltfr_matrix mltfr_matrix;

/** Arrange the ranks for matrices of order n and above.  @collective{comm}
 *  @param comm  kept: must outlive the grid
 *  @param n     n >= 1; the smallest order of interest
 *  @param out   owned by the caller; all its matrices are to be destroyed before it */
mltfr_status mltfr_grid_create(mltfr_comm *comm, int64_t n, mltfr_grid **out);

/** Free and set to NULL; NULL is allowed.  @collective{comm} */
void mltfr_grid_destroy(mltfr_grid **grid);

/** Processes down and across, and the order of a block.  @local */
void mltfr_grid_shape(const mltfr_grid *grid, int *down, int *across, int *block);

/** Floating-point operations counted on this rank so far; the sum over the ranks is what the calls
 *  on the grid's matrices have cost, by the usual counts (an eigen-decomposition 6 n^3).  @local */
double mltfr_grid_operations(const mltfr_grid *grid);

/** A zero matrix.  @collective{grid}
 *  @param rows, cols  >= 0, the same on every rank
 *  @param out  owned by the caller
 *  @return MLTFR_E_NOMEM on every rank where one has no room for its part */
mltfr_status mltfr_matrix_create(mltfr_grid *grid, int64_t rows, int64_t cols, mltfr_matrix **out);

/** Free and set to NULL; NULL is allowed.  @local */
void mltfr_matrix_destroy(mltfr_matrix **matrix);

/** Set all elements from a copy that every rank has.  @local
 *  @param full  [rows][cols], row-major */
void mltfr_matrix_set(mltfr_matrix *matrix, const double *full);

/** Columns [first, first + count) for every rank.  @collective{grid}
 *  @param out  [rows][count], row-major
 *  @return MLTFR_E_NOMEM, MLTFR_E_NUMERIC if an element is not finite; the same on every rank */
mltfr_status mltfr_matrix_get(const mltfr_matrix *matrix, int64_t first, int64_t count,
                              double *out);

/** Multiply column j by scale[j].  @local  @param scale  [cols], the same on every rank */
void mltfr_matrix_scale(mltfr_matrix *matrix, const double *scale);

/** Turn each column so that its entry of largest magnitude (the first of equals) is positive
 *  (method C18).  @collective{grid} */
mltfr_status mltfr_matrix_fix_signs(mltfr_matrix *matrix);

/** A tall matrix X in numbered blocks of rows: rank p holds consecutive blocks, rank p + 1 the
 *  next ones. */
typedef struct {
    void *context;
    int64_t first, last; /**< this rank's blocks [first, last) */
    int64_t max_rows;    /**< no block has more */
    /** Columns [0, cols) of a block's rows, row-major.  @local
     *  @param X  [rows][cols], room for max_rows  @return rows of the block */
    int64_t (*fill)(void *context, int64_t block, int64_t cols, double *X);
} mltfr_row_blocks;

/** S = scale X^T X, the blocks added in order.  @collective{grid}
 *  @param S  square, its order is the width of X */
mltfr_status mltfr_matrix_gram(mltfr_matrix *S, const mltfr_row_blocks *X, double scale);

/** Eigenvalues of symmetric S, falling, and their vectors as the columns of V (pdsyevd).
 *  @collective{grid}
 *  @param S    overwritten
 *  @param lam  [n]
 *  @param V    of the same order
 *  @return MLTFR_E_NUMERIC if S is not finite, or if S x = V lam V^T x does not hold for probes x
 */
mltfr_status mltfr_matrix_eigen(mltfr_matrix *S, double *lam, mltfr_matrix *V);

/** A = U diag(s) Vt with falling singular values s (pdgesvd), m = min(rows, cols) of them.
 *  @collective{grid}
 *  @param A   overwritten
 *  @param s   [m]
 *  @param U   rows x m
 *  @param Vt  m x cols
 *  @return MLTFR_E_NUMERIC if A is not finite, or if the result does not hold for probes */
mltfr_status mltfr_matrix_svd(mltfr_matrix *A, double *s, mltfr_matrix *U, mltfr_matrix *Vt);

/** Solve S X = B for symmetric positive definite S (pdposv); both are overwritten, B by X.
 *  @collective{grid}
 *  @return MLTFR_E_NUMERIC if S is not positive definite or a number is not finite */
mltfr_status mltfr_matrix_solve(mltfr_matrix *S, mltfr_matrix *B);

/** A rectangle of a matrix. */
typedef struct {
    mltfr_matrix *matrix;
    int64_t row, col, rows, cols;
} mltfr_view;

/** The whole matrix; its leading columns.  @local */
mltfr_view mltfr_view_all(mltfr_matrix *matrix);
mltfr_view mltfr_view_columns(mltfr_matrix *matrix, int64_t count);

/** C = alpha A B + beta C, with the transpose of A where `transposed`.  @collective{grid} */
void mltfr_matrix_multiply(double alpha, mltfr_view A, bool transposed, mltfr_view B, double beta,
                           mltfr_view C);

/** C = A B with A symmetric, its upper triangle given.  @collective{grid} */
void mltfr_matrix_multiply_symmetric(mltfr_view A, mltfr_view B, mltfr_view C);

/** C = alpha A + beta C.  @collective{grid} */
void mltfr_matrix_add(double alpha, mltfr_view A, double beta, mltfr_view C);

/** C = A^T.  @collective{grid} */
void mltfr_matrix_transpose(mltfr_view A, mltfr_view C);

#endif
