/* The grid of processes and block-cyclic matrices.
 *
 *      matrix, blocks of b x b        grid 2 x 2 of 5 ranks (rank 4 stands outside)
 *      0 1 0 1 0                      process (r, c) = rank r * across + c holds the blocks
 *      2 3 2 3 2                      (i, j) with i mod 2 = r, j mod 2 = c, columns contiguous
 *      0 1 0 1 0
 *
 * A BLACS context is a resource that runs out: each grid gives its own back. */
#include "grid_impl.h"

#include <mltfr/mem.h>

#include <math.h>

int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridmap(int *context, int *ranks, int ld, int down, int across);
void Cblacs_gridexit(int context);

/* ---- grid ---------------------------------------------------------------------------------- */

/* The block is small enough that matrices of order n reach several processes. */
static int choose_block(int64_t n)
{
    int block = 64;

    while (block > 8 && block > n / 4)
        block /= 2;
    return block;
}

/* Most processes with at least one block each way, at most four times as many across as down; of
 * equals the squarest. */
static void choose_shape(mltfr_grid *g, int64_t n)
{
    int64_t side = (n + g->block - 1) / g->block;
    int best = 0;

    for (int down = 1; down <= side && down * down <= g->comm->size; down++) {
        int across = g->comm->size / down;
        across = across > side ? (int)side : across;
        across = across > 4 * down ? 4 * down : across;
        if (down * across >= best) {
            best = down * across;
            g->down = down;
            g->across = across;
        }
    }
}

static void enter(mltfr_grid *g)
{
    int ranks[g->down * g->across];

    for (int c = 0; c < g->across; c++)
        for (int r = 0; r < g->down; r++)
            ranks[c * g->down + r] = r * g->across + c;
    g->handle = Csys2blacs_handle(g->comm->mpi);
    g->context = g->handle;
    Cblacs_gridmap(&g->context, ranks, g->down, g->down, g->across);
    g->row = g->col = -1;
    if (g->comm->rank < g->down * g->across) {
        g->row = g->comm->rank / g->across;
        g->col = g->comm->rank % g->across;
    } else {
        g->context = -1;
    }
}

mltfr_status mltfr_grid_create(mltfr_comm *comm, int64_t n, mltfr_grid **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_grid *g = NULL;

    *out = NULL;
    MLTFR_AGREE(comm, MLTFR_NEW(g, 1));
    g->comm = comm;
    g->block = choose_block(n);
    choose_shape(g, n);
    enter(g);
    *out = g;
    g = NULL;
done:
    MLTFR_FREE(g);
    return st;
}

void mltfr_grid_destroy(mltfr_grid **grid)
{
    if (*grid == NULL)
        return;
    if (mltfr_grid_inside(*grid))
        Cblacs_gridexit((*grid)->context);
    Cfree_blacs_system_handle((*grid)->handle);
    MLTFR_FREE(*grid);
}

void mltfr_grid_shape(const mltfr_grid *grid, int *down, int *across, int *block)
{
    *down = grid->down;
    *across = grid->across;
    *block = grid->block;
}

int mltfr_grid_agree_info(const mltfr_grid *g, int info)
{
    int64_t worst = mltfr_grid_inside(g) ? info : 0;

    mltfr_comm_max_i64(g->comm, &worst, 1);
    return (int)worst;
}

double mltfr_grid_operations(const mltfr_grid *grid)
{
    return grid->operations;
}

/* ---- matrix -------------------------------------------------------------------------------- */

int64_t mltfr_cyclic_count(int64_t n, int block, int p, int processes)
{
    int64_t whole = n / block, rounds = whole / processes;
    int extra = (int)(whole % processes);

    if (p < 0)
        return 0;
    return rounds * block + (p < extra ? block : p == extra ? n % block : 0);
}

static void describe(mltfr_matrix *m)
{
    const mltfr_grid *g = m->grid;
    int lead = mltfr_count_to_int(m->local_rows > 1 ? m->local_rows : 1);
    const int desc[9] = {1,
                         g->context,
                         mltfr_count_to_int(m->rows),
                         mltfr_count_to_int(m->cols),
                         g->block,
                         g->block,
                         0,
                         0,
                         lead};

    for (int i = 0; i < 9; i++)
        m->desc[i] = desc[i];
}

mltfr_status mltfr_matrix_create(mltfr_grid *grid, int64_t rows, int64_t cols, mltfr_matrix **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *m = NULL;

    *out = NULL;
    MLTFR_AGREE(grid->comm, MLTFR_NEW(m, 1));
    m->grid = grid;
    m->rows = rows;
    m->cols = cols;
    m->local_rows = mltfr_cyclic_count(rows, grid->block, grid->row, grid->down);
    m->local_cols = mltfr_cyclic_count(cols, grid->block, grid->col, grid->across);
    describe(m);
    MLTFR_AGREE(grid->comm, MLTFR_NEW(m->data, m->local_rows * m->local_cols));
    *out = m;
    m = NULL;
done:
    mltfr_matrix_destroy(&m);
    return st;
}

void mltfr_matrix_destroy(mltfr_matrix **matrix)
{
    if (*matrix == NULL)
        return;
    MLTFR_FREE((*matrix)->data);
    MLTFR_FREE(*matrix);
}

void mltfr_matrix_set(mltfr_matrix *m, const double *full)
{
    const mltfr_grid *g = m->grid;

    for (int64_t j = 0; j < m->local_cols; j++)
        for (int64_t i = 0; i < m->local_rows; i++)
            m->data[j * m->local_rows + i] =
                full[mltfr_cyclic_global(i, g->block, g->row, g->down) * m->cols +
                     mltfr_cyclic_global(j, g->block, g->col, g->across)];
}

/* Local columns of process column c that come before global column `col`. */
static int64_t columns_before(const mltfr_grid *g, int64_t col, int c)
{
    return mltfr_cyclic_count(col, g->block, c, g->across);
}

/* Put the part of rank p, columns [first, first + count), into the row-major result. */
static bool place(const mltfr_matrix *m, int p, int64_t first, int64_t count, const double *part,
                  double *out)
{
    const mltfr_grid *g = m->grid;
    int r = p / g->across, c = p % g->across;
    int64_t rows = mltfr_cyclic_count(m->rows, g->block, r, g->down);
    int64_t j0 = columns_before(g, first, c), j1 = columns_before(g, first + count, c);
    double sum = 0;

    for (int64_t j = j0; j < j1; j++) {
        int64_t to = mltfr_cyclic_global(j, g->block, c, g->across) - first;
        for (int64_t i = 0; i < rows; i++) {
            double x = *part++;
            out[mltfr_cyclic_global(i, g->block, r, g->down) * count + to] = x;
            sum += x - x; /* NaN from NaN and Inf */
        }
    }
    return sum == 0;
}

mltfr_status mltfr_matrix_get(const mltfr_matrix *m, int64_t first, int64_t count, double *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_grid *g = m->grid;
    int64_t bytes[g->comm->size], mine = 0, sum = 0;
    double *parts = NULL;

    for (int p = 0; p < g->comm->size; p++) {
        int c = p % g->across;
        bytes[p] = p >= g->down * g->across
                       ? 0
                       : (int64_t)sizeof *out *
                             mltfr_cyclic_count(m->rows, g->block, p / g->across, g->down) *
                             (columns_before(g, first + count, c) - columns_before(g, first, c));
        sum += bytes[p];
    }
    if (mltfr_grid_inside(g))
        mine = columns_before(g, first, g->col) * m->local_rows;
    MLTFR_AGREE(g->comm, mltfr_alloc(&parts, (size_t)sum, 1));
    mltfr_comm_allgatherv(g->comm, m->data + mine, bytes, parts);
    bool finite = true;
    const double *part = parts;
    for (int p = 0; p < g->down * g->across; p++) {
        finite &= place(m, p, first, count, part, out);
        part += bytes[p] / (int64_t)sizeof *out;
    }
    if (!finite)
        st = mltfr_fail(MLTFR_E_NUMERIC, "a matrix of %lld x %lld has elements that are not finite",
                        (long long)m->rows, (long long)m->cols);
done:
    MLTFR_FREE(parts);
    return st;
}

void mltfr_matrix_scale(mltfr_matrix *m, const double *scale)
{
    const mltfr_grid *g = m->grid;

    for (int64_t j = 0; j < m->local_cols; j++) {
        double s = scale[mltfr_cyclic_global(j, g->block, g->col, g->across)];
        for (int64_t i = 0; i < m->local_rows; i++)
            m->data[j * m->local_rows + i] *= s;
    }
}

/* For each own column the own entry of largest magnitude: its size and its global row. */
static void find_largest(const mltfr_matrix *m, double *size, int64_t *row)
{
    const mltfr_grid *g = m->grid;

    for (int64_t j = 0; j < m->local_cols; j++) {
        int64_t at = mltfr_cyclic_global(j, g->block, g->col, g->across);
        for (int64_t i = 0; i < m->local_rows; i++) {
            double x = fabs(m->data[j * m->local_rows + i]);
            if (x > size[at]) {
                size[at] = x;
                row[at] = i;
            }
        }
    }
}

/* The sign of the entry in row row[j] of each column, 0 where another rank has it. */
static void read_signs(const mltfr_matrix *m, const int64_t *row, int64_t *sign)
{
    const mltfr_grid *g = m->grid;

    for (int64_t j = 0; j < m->local_cols; j++) {
        int64_t at = mltfr_cyclic_global(j, g->block, g->col, g->across);
        int64_t tile = row[at] / g->block, i = tile / g->down * g->block + row[at] % g->block;
        if (tile % g->down == g->row && row[at] < m->rows)
            sign[at] = m->data[j * m->local_rows + i] < 0 ? -1 : 1;
    }
}

mltfr_status mltfr_matrix_fix_signs(mltfr_matrix *m)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_grid *g = m->grid;
    int64_t n = m->cols, *row = NULL, *sign = NULL;
    double *size = NULL, *best = NULL;

    MLTFR_AGREE(g->comm, MLTFR_NEW(row, n));
    MLTFR_AGREE(g->comm, MLTFR_NEW(sign, n));
    MLTFR_AGREE(g->comm, MLTFR_NEW(size, n));
    MLTFR_AGREE(g->comm, MLTFR_NEW(best, n));
    find_largest(m, size, row);
    for (int64_t j = 0; j < n; j++)
        best[j] = size[j];
    mltfr_comm_max_f64(g->comm, best, n);
    for (int64_t j = 0; j < n; j++) { /* the lowest row is the largest of -row */
        bool mine = mltfr_grid_inside(g) && size[j] == best[j] && size[j] > 0;
        row[j] = mine ? -mltfr_cyclic_global(row[j], g->block, g->row, g->down) : -m->rows;
    }
    mltfr_comm_max_i64(g->comm, row, n);
    for (int64_t j = 0; j < n; j++)
        row[j] = -row[j];
    read_signs(m, row, sign);
    mltfr_comm_sum_i64(g->comm, sign, n);
    for (int64_t j = 0; j < n; j++)
        size[j] = sign[j] < 0 ? -1 : 1;
    mltfr_matrix_scale(m, size);
done:
    MLTFR_FREE(row);
    MLTFR_FREE(sign);
    MLTFR_FREE(size);
    MLTFR_FREE(best);
    return st;
}
