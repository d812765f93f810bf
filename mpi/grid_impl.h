/* Shared by grid.c, matrix.c, decompose.c and gram.c. */
#ifndef MLTFR_GRID_IMPL_H
#define MLTFR_GRID_IMPL_H

#include "comm_impl.h"

#include <mltfr/grid.h>

struct mltfr_grid {
    mltfr_comm *comm;
    int handle, context; /**< of BLACS; context -1: this rank stands outside */
    int down, across;    /**< processes; process (r, c) is rank r * across + c */
    int row, col;        /**< this process, -1 outside */
    int block;
    double operations; /**< counted on this rank */
};

struct mltfr_matrix {
    mltfr_grid *grid;
    int64_t rows, cols;             /**< of the whole */
    int64_t local_rows, local_cols; /**< of this rank's part */
    double *data;                   /**< [local_cols][local_rows]: columns are contiguous */
    int desc[9];
};

/** How many of n rows (columns) process p of `processes` holds.  @local */
int64_t mltfr_cyclic_count(int64_t n, int block, int p, int processes);

/** Global number of local row (column) i of process p.  @local */
static inline int64_t mltfr_cyclic_global(int64_t i, int block, int p, int processes)
{
    return (i / block * processes + p) * block + i % block;
}

/** Is this rank part of the grid?  @local */
static inline bool mltfr_grid_inside(const mltfr_grid *grid)
{
    return grid->context >= 0;
}

/** Count what all processes do together: on rank 0.  @local */
static inline void mltfr_grid_count(mltfr_grid *grid, double operations)
{
    grid->operations += grid->comm->rank == 0 ? operations : 0;
}

/** Ranks outside the grid learn what the others got: info > 0 is the larger.
 *  @collective{grid} */
int mltfr_grid_agree_info(const mltfr_grid *grid, int info);

/** MLTFR_E_NUMERIC if a local element is not finite.  @local */
mltfr_status mltfr_matrix_check_finite(const mltfr_matrix *m, const char *what);

#endif
