/* Gram matrices with the same bits for any number of ranks.
 *
 * The columns of S are made in panels of the block width.  A panel's sum travels the ranks in
 * order; each adds the products of its blocks, one after the other, and passes it on:
 *
 *      rank 0   panel 0   panel 1   panel 2 ...          time ->
 *      rank 1             panel 0   panel 1 ...          each + own blocks of X
 *      rank 2                       panel 0 ...  -> to the process column that owns the panel
 *
 * The pipeline is full after as many panels as there are ranks; no rank holds more of S than its
 * own part and one panel.  Receives are posted first, so the last rank's sends always arrive. */
#include "grid_impl.h"

#include <mltfr/mem.h>

#include <string.h>

void dgemm_(const char *, const char *, const int *, const int *, const int *, const double *,
            const double *, const int *, const double *, const int *, const double *, double *,
            const int *, size_t, size_t);

enum { TAG_CHAIN = 101, TAG_PANEL };

typedef struct {
    mltfr_matrix *S;
    const mltfr_row_blocks *blocks;
    double *X;    /* rows of one block */
    double *sum;  /* the panel, columns contiguous, rows [0, end) */
    double *part; /* its rows of one process row */
    MPI_Request *receives;
    int pending;
} gram;

/* Ask for this rank's part of each panel it owns. */
static void post_receives(gram *m)
{
    mltfr_matrix *S = m->S;
    const mltfr_grid *g = S->grid;
    MPI_Comm comm = g->comm->mpi;

    if (!mltfr_grid_inside(g) || S->local_rows == 0)
        return;
    for (int64_t j = 0; j < S->local_cols; j += g->block) {
        int64_t width = S->local_cols - j < g->block ? S->local_cols - j : g->block;
        MLTFR_MPI(MPI_Irecv(S->data + j * S->local_rows, mltfr_count_to_int(width * S->local_rows),
                            MPI_DOUBLE, g->comm->size - 1, TAG_PANEL, comm,
                            &m->receives[m->pending++]));
    }
}

static void add_blocks(gram *m, int64_t start, int64_t end)
{
    int rows = (int)end, cols = (int)(end - start);
    double one = 1;

    for (int64_t b = m->blocks->first; b < m->blocks->last; b++) {
        int k = (int)m->blocks->fill(m->blocks->context, b, end, m->X);
        if (k > 0)
            dgemm_("N", "T", &rows, &cols, &k, &one, m->X, &rows, m->X + start, &rows, &one, m->sum,
                   &rows, 1, 1);
    }
}

/* The last rank hands a finished panel to the processes of the column that owns it. */
static void deliver(gram *m, int64_t start, int64_t end)
{
    const mltfr_matrix *S = m->S;
    const mltfr_grid *g = S->grid;
    int c = (int)(start / g->block % g->across);

    for (int r = 0; r < g->down; r++) {
        int64_t rows = mltfr_cyclic_count(S->rows, g->block, r, g->down);
        int64_t filled = mltfr_cyclic_count(end, g->block, r, g->down);
        if (rows == 0)
            continue;
        for (int64_t j = 0; j < end - start; j++)
            for (int64_t i = 0; i < rows; i++)
                m->part[j * rows + i] =
                    i < filled ? m->sum[j * end + mltfr_cyclic_global(i, g->block, r, g->down)] : 0;
        MLTFR_MPI(MPI_Send(m->part, mltfr_count_to_int(rows * (end - start)), MPI_DOUBLE,
                           r * g->across + c, TAG_PANEL, g->comm->mpi));
    }
}

static void make_panel(gram *m, int64_t start, int64_t end)
{
    mltfr_comm *comm = m->S->grid->comm;
    int count = mltfr_count_to_int((end - start) * end);

    if (comm->rank > 0)
        MLTFR_MPI(MPI_Recv(m->sum, count, MPI_DOUBLE, comm->rank - 1, TAG_CHAIN, comm->mpi,
                           MPI_STATUS_IGNORE));
    else
        memset(m->sum, 0, (size_t)count * sizeof *m->sum);
    add_blocks(m, start, end);
    if (comm->rank < comm->size - 1)
        MLTFR_MPI(MPI_Send(m->sum, count, MPI_DOUBLE, comm->rank + 1, TAG_CHAIN, comm->mpi));
    else
        deliver(m, start, end);
}

mltfr_status mltfr_matrix_gram(mltfr_matrix *S, const mltfr_row_blocks *X, double scale)
{
    mltfr_status st = MLTFR_OK;
    mltfr_comm *comm = S->grid->comm;
    int64_t n = S->rows, block = S->grid->block;
    gram m = {.S = S, .blocks = X};

    MLTFR_AGREE(comm, MLTFR_NEW(m.X, X->max_rows * n));
    MLTFR_AGREE(comm, MLTFR_NEW(m.sum, n * block));
    MLTFR_AGREE(comm, MLTFR_NEW(m.part, n * block));
    MLTFR_AGREE(comm, MLTFR_NEW(m.receives, S->local_cols / block + 1));
    post_receives(&m);
    for (int64_t at = 0; at < n; at += block)
        make_panel(&m, at, at + block < n ? at + block : n);
    MLTFR_MPI(MPI_Waitall(m.pending, m.receives, MPI_STATUSES_IGNORE));
    for (int64_t i = 0; i < S->local_rows * S->local_cols; i++)
        S->data[i] *= scale;
done:
    MLTFR_FREE(m.X);
    MLTFR_FREE(m.sum);
    MLTFR_FREE(m.part);
    MLTFR_FREE(m.receives);
    return st;
}
