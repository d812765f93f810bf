/* A canonical sum over ranks.
 *
 *      parts of rank 0   [a a a | b b b | c c c]        each rank owns a stretch of the columns,
 *      parts of rank 1   [a a a | b b b | c c c]   ->   receives that stretch of everybody's parts,
 *      parts of rank 2   [a a a | b b b | c c c]        finishes the tree on it; the stretches are
 *                          |       |       |            then gathered by all.
 *                        rank 0  rank 1  rank 2
 */
#include "comm_impl.h"

#include <mltfr/exchange.h>
#include <mltfr/mem.h>
#include <mltfr/reduce.h>

#include <string.h>

/* The nodes of all ranks in order, and how many each has. */
static int cover_all(int64_t n, int size, const int64_t first[], mltfr_span spans[], int64_t held[])
{
    int count = 0;

    for (int p = 0; p < size; p++) {
        held[p] = mltfr_tree_cover(n, first[p], first[p + 1], spans + count);
        count += (int)held[p];
    }
    return count;
}

static void even_shares(int64_t n, int size, int64_t first[])
{
    for (int p = 0; p <= size; p++)
        first[p] = mltfr_share_first(n, size, p);
}

/* Columns [first[p], first[p + 1]) of every part, by p. */
static void pack(const float *parts, int64_t held, int64_t width, int size, const int64_t first[],
                 float *out)
{
    for (int p = 0; p < size; p++)
        for (int64_t i = 0; i < held; i++) {
            size_t n = (size_t)(first[p + 1] - first[p]);
            memcpy(out, parts + i * width + first[p], n * sizeof *out);
            out += n;
        }
}

static mltfr_status reduce_stretches(mltfr_comm *comm, int64_t n, const int64_t blocks[],
                                     int64_t width, const float *parts, float *out)
{
    mltfr_status st = MLTFR_OK;
    const int size = comm->size, me = comm->rank;
    int64_t cols[size + 1], held[size], to[size], from[size], bytes[size];
    float *send = NULL, *recv = NULL;
    mltfr_span *spans = NULL;
    mltfr_exchange *plan = NULL;

    memset(held, 0, sizeof held);
    even_shares(width, size, cols);
    const int64_t mine = cols[me + 1] - cols[me];

    MLTFR_AGREE(comm, MLTFR_NEW(spans, (int64_t)size * MLTFR_TREE_SPANS));
    const int count = cover_all(n, size, blocks, spans, held);

    for (int p = 0; p < size; p++) {
        to[p] = held[me] * (cols[p + 1] - cols[p]);
        from[p] = held[p] * mine;
        bytes[p] = (cols[p + 1] - cols[p]) * (int64_t)sizeof(float);
    }
    MLTFR_AGREE(comm, MLTFR_NEW(send, held[me] * width));
    MLTFR_AGREE(comm, MLTFR_NEW(recv, count * mine + mine));
    MLTFR_AGREE(comm, mltfr_exchange_create_known(comm, to, from, &plan));
    pack(parts, held[me], width, size, cols, send);
    mltfr_exchange_forward(plan, sizeof(float), send, recv);
    float *sum = recv + count * mine;
    mltfr_tree_fold(n, spans, count, mine, recv, sum);
    mltfr_comm_allgatherv(comm, sum, bytes, out);
done:
    mltfr_exchange_destroy(&plan);
    MLTFR_FREE(spans);
    MLTFR_FREE(recv);
    MLTFR_FREE(send);
    return st;
}

mltfr_status mltfr_reduce_all(mltfr_comm *comm, int64_t n, int64_t width, mltfr_treesum *mine,
                              float *out)
{
    int64_t blocks[comm->size + 1];
    int held;
    float *parts = mltfr_treesum_parts(mine, &held);

    if (comm->size == 1) { /* the whole tree is one part */
        if (held == 1)
            memcpy(out, parts, (size_t)width * sizeof *out);
        else
            memset(out, 0, (size_t)width * sizeof *out);
        return MLTFR_OK;
    }
    even_shares(n, comm->size, blocks);
    return reduce_stretches(comm, n, blocks, width, parts, out);
}

mltfr_status mltfr_reduce_first(mltfr_comm *comm, int64_t n, const int64_t first[], int64_t width,
                                mltfr_treesum *mine, float *out)
{
    mltfr_status st = MLTFR_OK;
    int64_t held[comm->size], bytes[comm->size];
    mltfr_span *spans = NULL;
    float *all = NULL;
    int mine_held;
    float *parts = mltfr_treesum_parts(mine, &mine_held);

    MLTFR_AGREE(comm, MLTFR_NEW(spans, (int64_t)comm->size * MLTFR_TREE_SPANS));
    const int count = cover_all(n, comm->size, first, spans, held);

    for (int p = 0; p < comm->size; p++)
        bytes[p] = held[p] * width * (int64_t)sizeof(float);
    MLTFR_AGREE(comm, comm->rank == 0 ? MLTFR_NEW(all, count * width) : MLTFR_OK);
    mltfr_comm_gatherv(comm, parts, bytes, all, 0);
    if (comm->rank == 0)
        mltfr_tree_fold(n, spans, count, width, all, out);
done:
    MLTFR_FREE(all);
    MLTFR_FREE(spans);
    return st;
}
