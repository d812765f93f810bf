/* Rows as they are kept, and sums over fixed blocks of them.  A block is a property of the problem;
 * one partial sum a block goes to every rank and is added in the order of the blocks, so the bits
 * do not depend on the number of ranks. */
#include "conditioning_impl.h"

#include <mltfr/kernel.h>
#include <mltfr/mem.h>

#include <math.h>
#include <string.h>

/* ---- rows ---------------------------------------------------------------------------------- */

mltfr_status mltfr_rows_create(mltfr_rows *rows, int64_t count, int64_t width, bool wide)
{
    *rows = (mltfr_rows){count, width, wide, NULL};
    return mltfr_alloc(&rows->data, (size_t)(count * width), mltfr_rows_element(rows));
}

void mltfr_rows_destroy(mltfr_rows *rows)
{
    MLTFR_FREE(rows->data);
    rows->rows = 0;
}

size_t mltfr_rows_element(const mltfr_rows *rows)
{
    return rows->wide ? sizeof(double) : sizeof(float);
}

void *mltfr_rows_at(const mltfr_rows *rows, int64_t i)
{
    return (char *)rows->data + (size_t)(i * rows->width) * mltfr_rows_element(rows);
}

MLTFR_KERNEL
static void widen(int64_t n, const float *restrict in, double *restrict out)
{
    for (int64_t j = 0; j < n; j++)
        out[j] = (double)in[j];
}

MLTFR_KERNEL
static void centre_wide(int64_t n, const float *restrict in, const double *restrict centre,
                        double *restrict out)
{
    for (int64_t j = 0; j < n; j++)
        out[j] = (double)in[j] - centre[j];
}

MLTFR_KERNEL
static void centre_slim(int64_t n, const float *restrict in, const double *restrict centre,
                        float *restrict out)
{
    for (int64_t j = 0; j < n; j++)
        out[j] = (float)((double)in[j] - centre[j]);
}

MLTFR_KERNEL
static void narrow(int64_t n, const double *restrict in, float *restrict out)
{
    for (int64_t j = 0; j < n; j++)
        out[j] = (float)in[j];
}

MLTFR_KERNEL
static void subtract(int64_t n, const double *restrict x, double *restrict out)
{
    for (int64_t j = 0; j < n; j++)
        out[j] -= x[j];
}

void mltfr_rows_get(const mltfr_rows *rows, int64_t i, int64_t cols, const double *centre,
                    double *out)
{
    const void *row = mltfr_rows_at(rows, i);

    if (rows->wide)
        memcpy(out, row, (size_t)cols * sizeof *out);
    else if (centre == NULL)
        widen(cols, row, out);
    else
        centre_wide(cols, row, centre, out);
    if (rows->wide && centre != NULL)
        subtract(cols, centre, out);
}

void mltfr_rows_get_slim(const mltfr_rows *rows, int64_t i, const double *centre, float *out)
{
    centre_slim(rows->width, mltfr_rows_at(rows, i), centre, out);
}

void mltfr_rows_put(mltfr_rows *rows, int64_t i, const double *in)
{
    if (rows->wide)
        memcpy(mltfr_rows_at(rows, i), in, (size_t)rows->width * sizeof *in);
    else
        narrow(rows->width, in, mltfr_rows_at(rows, i));
}

void mltfr_rows_scale(mltfr_rows *rows, int64_t i, double factor)
{
    double *wide = mltfr_rows_at(rows, i);
    float *slim = mltfr_rows_at(rows, i);

    for (int64_t j = 0; j < rows->width; j++)
        if (rows->wide)
            wide[j] *= factor;
        else
            slim[j] = (float)(slim[j] * factor);
}

MLTFR_KERNEL
static double square_wide(int64_t n, const double *x)
{
    double sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++)
        sum += x[j] * x[j];
    return sum;
}

MLTFR_KERNEL
static double square_slim(int64_t n, const float *x)
{
    double sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++)
        sum += (double)x[j] * (double)x[j];
    return sum;
}

double mltfr_rows_norm(const mltfr_rows *rows, int64_t i)
{
    const void *row = mltfr_rows_at(rows, i);

    return sqrt(rows->wide ? square_wide(rows->width, row) : square_slim(rows->width, row));
}

MLTFR_KERNEL
void mltfr_vector_add(int64_t n, double factor, const double *restrict x, double *restrict sum)
{
    for (int64_t j = 0; j < n; j++)
        sum[j] += factor * x[j];
}

MLTFR_KERNEL
void mltfr_vector_add_squares(int64_t n, const double *restrict x, double *restrict sum)
{
    for (int64_t j = 0; j < n; j++)
        sum[j] += x[j] * x[j];
}

MLTFR_KERNEL
void mltfr_vector_multiply(int64_t n, const double *restrict factors, double *restrict x)
{
    for (int64_t j = 0; j < n; j++)
        x[j] *= factors[j];
}

/* ---- blocks -------------------------------------------------------------------------------- */

int64_t mltfr_blocks_begin(const mltfr_blocks *b, int64_t block)
{
    return block * b->size < b->count ? block * b->size : b->count;
}

int64_t mltfr_blocks_rank(const mltfr_blocks *b, const mltfr_comm *comm, int rank)
{
    return mltfr_blocks_begin(b, mltfr_share_first(b->blocks, mltfr_comm_size(comm), rank));
}

mltfr_blocks mltfr_blocks_of(const mltfr_comm *comm, int64_t count, int64_t size)
{
    mltfr_blocks b = {.count = count, .size = size, .blocks = (count + size - 1) / size};
    int rank = mltfr_comm_rank(comm);

    b.first = mltfr_share_first(b.blocks, mltfr_comm_size(comm), rank);
    b.last = mltfr_share_first(b.blocks, mltfr_comm_size(comm), rank + 1);
    b.begin = mltfr_blocks_rank(&b, comm, rank);
    b.end = mltfr_blocks_rank(&b, comm, rank + 1);
    return b;
}

mltfr_status mltfr_blocks_sum(mltfr_comm *comm, const mltfr_blocks *b, int64_t width,
                              const double *mine, double *total)
{
    mltfr_status st = MLTFR_OK;
    int size = mltfr_comm_size(comm);
    int64_t bytes[size];
    double *all = NULL;

    for (int p = 0; p < size; p++)
        bytes[p] =
            (mltfr_share_first(b->blocks, size, p + 1) - mltfr_share_first(b->blocks, size, p)) *
            width * (int64_t)sizeof *all;
    MLTFR_AGREE(comm, MLTFR_NEW(all, b->blocks * width));
    mltfr_comm_allgatherv(comm, mine, bytes, all);
    memset(total, 0, (size_t)width * sizeof *total);
    for (int64_t i = 0; i < b->blocks; i++)
        for (int64_t j = 0; j < width; j++)
            total[j] += all[i * width + j];
done:
    MLTFR_FREE(all);
    return st;
}
