/* What the canonical sum over user blocks costs beside MPI_Allreduce over the same data: from the
 * blocks' gradients to their sum on every rank.  Built by `cmake --build build --target
 * bench_reduce`:
 *
 *     mpirun -np 2 build/tests/bench_reduce [blocks width]
 *
 *      canonical   each block in a buffer of its own, added in the tree, mltfr_reduce_all
 *      allreduce   all blocks into one buffer, MPI_Allreduce */
#include <mltfr/comm.h>
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/reduce.h>

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 41 };

typedef struct {
    mltfr_comm *comm;
    int64_t blocks, width, first, last;
    float *block, *sum, *out; /* [width] each */
    mltfr_treesum *tree;
} bench;

static void must(mltfr_status st)
{
    if (st != MLTFR_OK)
        mltfr_panic("%s", mltfr_error_text);
}

static void add(int64_t n, float *restrict sum, const float *restrict x)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += x[i];
}

static void canonical(bench *b)
{
    must(mltfr_treesum_take(b->blocks, b->first, b->last, b->width, &b->tree));
    for (int64_t i = b->first; i < b->last; i++) {
        add(b->width, mltfr_treesum_next(b->tree), b->block);
        mltfr_treesum_push(b->tree);
    }
    must(
        mltfr_reduce_all(b->comm, b->blocks, b->width, mltfr_treesum_parts(b->tree, NULL), b->out));
}

static void allreduce(bench *b)
{
    memset(b->sum, 0, (size_t)b->width * sizeof *b->sum);
    for (int64_t i = b->first; i < b->last; i++)
        add(b->width, b->sum, b->block);
    MPI_Allreduce(b->sum, b->out, (int)b->width, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Median milliseconds of the slowest rank. */
static double median_ms(bench *b, void (*way)(bench *))
{
    double ms[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        mltfr_comm_barrier(b->comm);
        const double begin = mltfr_seconds();

        way(b);
        ms[i] = 1e3 * (mltfr_seconds() - begin);
        mltfr_comm_max_f64(b->comm, &ms[i], 1);
    }
    qsort(ms, ROUNDS, sizeof *ms, by_value);
    return ms[ROUNDS / 2];
}

static void compare(mltfr_comm *comm, int64_t blocks, int64_t width)
{
    const int size = mltfr_comm_size(comm), rank = mltfr_comm_rank(comm);
    bench b = {.comm = comm,
               .blocks = blocks,
               .width = width,
               .first = mltfr_share_first(blocks, size, rank),
               .last = mltfr_share_first(blocks, size, rank + 1)};

    must(MLTFR_NEW(b.block, width));
    must(MLTFR_NEW(b.sum, width));
    must(MLTFR_NEW(b.out, width));
    must(mltfr_treesum_create(blocks, b.first, b.last, width, &b.tree));
    for (int64_t i = 0; i < width; i++)
        b.block[i] = (float)i;
    const double ours = median_ms(&b, canonical), theirs = median_ms(&b, allreduce);

    if (rank == 0)
        printf("ranks %d blocks %lld floats %lld  canonical %.3f ms  allreduce %.3f ms  more %.3f "
               "ms\n",
               size, (long long)blocks, (long long)width, ours, theirs, ours - theirs);
    mltfr_treesum_destroy(&b.tree);
    MLTFR_FREE(b.block);
    MLTFR_FREE(b.sum);
    MLTFR_FREE(b.out);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;

    must(mltfr_comm_start(&argc, &argv, &comm));
    if (argc == 3) {
        compare(comm, strtoll(argv[1], NULL, 10), strtoll(argv[2], NULL, 10));
    } else { /* backbone of d 64 on Beauty and ML-100K; mixture with the consensus's keys */
        compare(comm, 8, 103296);
        compare(comm, 44, 103296);
        compare(comm, 44, 139586);
    }
    mltfr_comm_finish(&comm);
    return 0;
}
