/* Gram matrices with the same bits for any number of ranks.
 *
 * The columns of S are made in panels.  A block of rows adds X^T X to a panel; the blocks are added
 * up along the canonical tree (mltfr/tree.h), so the order of additions is a property of their
 * number alone.  Each rank sums the maximal nodes inside its range, and one rank a panel, another
 * each time, finishes the tree and hands the panel to the processes that own its columns:
 *
 *      rank 0   nodes of panel 0   nodes of panel 1 ...         all ranks work on one panel
 *      rank 1   nodes of panel 0   nodes of panel 1
 *                   \ rank 0 finishes  \ rank 1 finishes  -> owners of the columns
 *
 * A wide panel fills X less often, a narrow one takes less room; no rank holds more of S than its
 * own part and a few panels.  What is below the diagonal of a panel is never looked at.  Receives
 * of the finished columns are posted first, so the sends of the finishing rank always arrive. */
#include "grid_impl.h"

#include <mltfr/kernel.h>
#include <mltfr/mem.h>
#include <mltfr/tree.h>

#include <string.h>

void dgemm_(const char *, const char *, const int *, const int *, const int *, const double *,
            const double *, const int *, const double *, const int *, const double *, double *,
            const int *, size_t, size_t);
void dsyrk_(const char *, const char *, const int *, const int *, const double *, const double *,
            const int *, const double *, double *, const int *, size_t, size_t);

enum { TAG_NODE = 101, TAG_PANEL };

/* Bytes of a panel, unless one block of the grid takes more. */
static const int64_t panel_bytes = 8 << 20;

typedef struct {
    mltfr_matrix *S;
    const mltfr_row_blocks *blocks;
    int64_t count;           /* blocks of all ranks */
    int64_t *first;          /* [size + 1] first block of each rank */
    int64_t width;           /* of a panel, a multiple of the grid's block */
    int64_t start, end, len; /* the panel now: columns [start, end), rows [0, end); its elements */
    double *X;               /* rows of one block */
    double *nodes;           /* panels: the own nodes, then work space of the tree's depth */
    double *part;            /* columns of one process */
    MPI_Request *receives;
    int pending, own;
    double rows; /* of the own blocks */
    mltfr_span spans[MLTFR_TREE_SPANS];
} gram;

/* ---- sums ---------------------------------------------------------------------------------- */

/* The panel of one block. */
static void leaf(gram *m, int64_t block, double *out)
{
    const int above = (int)m->start, wide = (int)(m->end - m->start), lead = (int)m->end;
    int k = (int)m->blocks->fill(m->blocks->context, block, m->end, m->X);
    double one = 1, zero = 0;

    if (k == 0) {
        memset(out, 0, (size_t)m->len * sizeof *out);
        return;
    }
    m->rows += m->start == 0 ? k : 0;
    if (above > 0)
        dgemm_("N", "T", &above, &wide, &k, &one, m->X, &lead, m->X + above, &lead, &zero, out,
               &lead, 1, 1);
    dsyrk_("U", "N", &wide, &k, &one, m->X + above, &lead, &zero, out + above, &lead, 1, 1);
}

/* Add the columns [start, end) of a panel down to the diagonal. */
MLTFR_KERNEL
static void add(int64_t start, int64_t end, const double *restrict x, double *restrict sum)
{
    for (int64_t j = start; j < end; j++, x += end, sum += end)
        for (int64_t i = 0; i <= j; i++)
            sum[i] += x[i];
}

/* The node [lo, hi) of own blocks into `out`; the panels after `work` are free. */
static void sum_node(gram *m, int64_t lo, int64_t hi, double *out, double *work)
{
    if (hi - lo == 1) {
        leaf(m, lo, out);
        return;
    }
    int64_t mid = lo + (hi - lo + 1) / 2;
    sum_node(m, lo, mid, out, work);
    sum_node(m, mid, hi, work, work + m->len);
    add(m->start, m->end, work, out);
}

static double *node_at(const gram *m, int i)
{
    return m->nodes + i * m->len;
}

/* The rank that has all of [lo, hi), -1 where it is split. */
static int holder(const gram *m, int64_t lo, int64_t hi)
{
    int p = 0;

    while (m->first[p + 1] <= lo)
        p++;
    return hi <= m->first[p + 1] ? p : -1;
}

/* The rest of the tree, on the finishing rank: nodes come in the order they are sent. */
static void fold(gram *m, int64_t lo, int64_t hi, int *used, double *out, double *work)
{
    const mltfr_comm *comm = m->S->grid->comm;
    int p = holder(m, lo, hi);

    if (p == comm->rank) {
        memcpy(out, node_at(m, (*used)++), (size_t)m->len * sizeof *out);
    } else if (p >= 0) {
        MLTFR_MPI(MPI_Recv(out, mltfr_count_to_int(m->len), MPI_DOUBLE, p, TAG_NODE, comm->mpi,
                           MPI_STATUS_IGNORE));
    } else {
        int64_t mid = lo + (hi - lo + 1) / 2;
        fold(m, lo, mid, used, out, work);
        fold(m, mid, hi, used, work, work + m->len);
        add(m->start, m->end, work, out);
    }
}

/* ---- panels -------------------------------------------------------------------------------- */

/* Ask for this rank's part of each block of columns it owns. */
static void post_receives(gram *m)
{
    mltfr_matrix *S = m->S;
    const mltfr_grid *g = S->grid;

    if (!mltfr_grid_inside(g) || S->local_rows == 0)
        return;
    for (int64_t j = 0; j < S->local_cols; j += g->block) {
        int64_t width = S->local_cols - j < g->block ? S->local_cols - j : g->block;
        int64_t panel = mltfr_cyclic_global(j, g->block, g->col, g->across) / m->width;
        MLTFR_MPI(MPI_Irecv(S->data + j * S->local_rows, mltfr_count_to_int(width * S->local_rows),
                            MPI_DOUBLE, (int)(panel % g->comm->size), TAG_PANEL, g->comm->mpi,
                            &m->receives[m->pending++]));
    }
}

/* Columns [at, at + width) of the finished panel to the process column that owns them. */
static void deliver(gram *m, const double *panel, int64_t at, int64_t width)
{
    const mltfr_matrix *S = m->S;
    const mltfr_grid *g = S->grid;
    int c = (int)(at / g->block % g->across);

    for (int r = 0; r < g->down; r++) {
        int64_t rows = mltfr_cyclic_count(S->rows, g->block, r, g->down);
        if (rows == 0)
            continue;
        for (int64_t j = 0; j < width; j++)
            for (int64_t i = 0; i < rows; i++) {
                int64_t row = mltfr_cyclic_global(i, g->block, r, g->down);
                m->part[j * rows + i] =
                    row <= at + j ? panel[(at - m->start + j) * m->end + row] : 0;
            }
        MLTFR_MPI(MPI_Send(m->part, mltfr_count_to_int(rows * width), MPI_DOUBLE, r * g->across + c,
                           TAG_PANEL, g->comm->mpi));
    }
}

static void finish(gram *m)
{
    double *sum = node_at(m, m->own);
    int64_t block = m->S->grid->block;
    int used = 0;

    if (m->count > 0)
        fold(m, 0, m->count, &used, sum, sum + m->len);
    else
        memset(sum, 0, (size_t)m->len * sizeof *sum);
    for (int64_t at = m->start; at < m->end; at += block)
        deliver(m, sum, at, at + block < m->end ? block : m->end - at);
}

static void make_panel(gram *m, int64_t number)
{
    const mltfr_comm *comm = m->S->grid->comm;
    int finisher = (int)(number % comm->size);

    m->start = number * m->width;
    m->end = m->start + m->width < m->S->rows ? m->start + m->width : m->S->rows;
    m->len = (m->end - m->start) * m->end;
    for (int i = 0; i < m->own; i++)
        sum_node(m, m->spans[i].lo, m->spans[i].hi, node_at(m, i), node_at(m, m->own));
    if (comm->rank == finisher)
        finish(m);
    else
        for (int i = 0; i < m->own; i++)
            MLTFR_MPI(MPI_Send(node_at(m, i), mltfr_count_to_int(m->len), MPI_DOUBLE, finisher,
                               TAG_NODE, comm->mpi));
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* As many columns as take panel_bytes, at least one block. */
static int64_t choose_width(const mltfr_matrix *S)
{
    int64_t block = S->grid->block, fits = panel_bytes / 8 / S->rows / block;
    int64_t all = (S->rows + block - 1) / block, blocks = fits < all ? fits : all;

    return block * (blocks > 1 ? blocks : 1);
}

/* Panels that sums along the tree take beside the node they go to. */
static int depth(int64_t count)
{
    int levels = 1;

    for (; count > 1; count = (count + 1) / 2)
        levels++;
    return levels;
}

static mltfr_status prepare(gram *m)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_matrix *S = m->S;
    mltfr_comm *comm = S->grid->comm;
    int64_t panel;

    MLTFR_AGREE(comm, MLTFR_NEW(m->first, comm->size + 1));
    mltfr_comm_allgather(comm, &m->blocks->last, sizeof m->blocks->last, m->first + 1);
    m->count = m->first[comm->size];
    m->own = mltfr_tree_cover(m->count, m->blocks->first, m->blocks->last, m->spans);
    m->width = choose_width(S);
    panel = m->width * S->rows;
    MLTFR_AGREE(comm, MLTFR_NEW(m->X, m->blocks->max_rows * S->rows));
    MLTFR_AGREE(comm, MLTFR_NEW(m->nodes, (m->own + 1 + depth(m->count)) * panel));
    MLTFR_AGREE(comm, MLTFR_NEW(m->part, S->rows * S->grid->block));
    MLTFR_AGREE(comm, MLTFR_NEW(m->receives, S->local_cols / S->grid->block + 1));
done:
    return st;
}

mltfr_status mltfr_matrix_gram(mltfr_matrix *S, const mltfr_row_blocks *X, double scale)
{
    mltfr_status st = MLTFR_OK;
    gram m = {.S = S, .blocks = X};

    MLTFR_TRY(prepare(&m));
    post_receives(&m);
    for (int64_t i = 0; i * m.width < S->rows; i++)
        make_panel(&m, i);
    MLTFR_MPI(MPI_Waitall(m.pending, m.receives, MPI_STATUSES_IGNORE));
    for (int64_t i = 0; i < S->local_rows * S->local_cols; i++)
        S->data[i] *= scale;
    S->grid->operations += m.rows * (double)S->rows * (double)S->rows;
done:
    MLTFR_FREE(m.first);
    MLTFR_FREE(m.X);
    MLTFR_FREE(m.nodes);
    MLTFR_FREE(m.part);
    MLTFR_FREE(m.receives);
    return st;
}
