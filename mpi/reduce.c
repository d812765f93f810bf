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

/* One sum over stretches of columns. */
typedef struct {
    int64_t mine;      /* columns of the own stretch */
    mltfr_span *spans; /* of all ranks; count of them */
    int count;
    mltfr_exchange *plan; /* floats */
    float *send, *recv;   /* recv ends with room for the sum */
} stretches;

static mltfr_status prepare(mltfr_comm *comm, int64_t n, const int64_t blocks[], int64_t width,
                            const float *parts, stretches *x)
{
    mltfr_status st = MLTFR_OK;
    const int size = comm->size, me = comm->rank;
    int64_t cols[size + 1], held[size], to[size], from[size];

    even_shares(width, size, cols);
    x->mine = cols[me + 1] - cols[me];
    MLTFR_TRY(MLTFR_TAKE(&comm->rooms->spans, x->spans, size * MLTFR_TREE_SPANS));
    x->count = cover_all(n, size, blocks, x->spans, held);
    for (int p = 0; p < size; p++) {
        to[p] = held[me] * (cols[p + 1] - cols[p]);
        from[p] = held[p] * x->mine;
    }
    MLTFR_TRY(MLTFR_TAKE(&comm->rooms->send, x->send, held[me] * width));
    MLTFR_TRY(MLTFR_TAKE(&comm->rooms->recv, x->recv, (x->count + 1) * x->mine));
    MLTFR_TRY(mltfr_exchange_create_known(comm, to, from, &x->plan));
    pack(parts, held[me], width, size, cols, x->send);
done:
    return st;
}

static mltfr_status reduce_stretches(mltfr_comm *comm, int64_t n, const int64_t blocks[],
                                     int64_t width, const float *parts, float *out)
{
    mltfr_status st = MLTFR_OK;
    stretches x = {0};

    MLTFR_AGREE(comm, prepare(comm, n, blocks, width, parts, &x));
    mltfr_exchange_forward(x.plan, sizeof(float), x.send, x.recv);
    float *sum = x.recv + x.count * x.mine;

    mltfr_tree_fold(n, x.spans, x.count, x.mine, x.recv, sum);
    mltfr_comm_allgather_shares(comm, sum, width, sizeof *sum, out);
done:
    mltfr_exchange_destroy(&x.plan);
    return st;
}

/* Of one rank: the tree is one part. */
static void whole_tree(int64_t n, int64_t width, const float *parts, float *out)
{
    if (n > 0)
        memcpy(out, parts, (size_t)width * sizeof *out);
    else
        memset(out, 0, (size_t)width * sizeof *out);
}

mltfr_status mltfr_reduce_all(mltfr_comm *comm, int64_t n, int64_t width, const float *parts,
                              float *out)
{
    int64_t blocks[comm->size + 1];

    if (comm->size == 1) {
        whole_tree(n, width, parts, out);
        return MLTFR_OK;
    }
    even_shares(n, comm->size, blocks);
    return reduce_stretches(comm, n, blocks, width, parts, out);
}

mltfr_status mltfr_reduce_to(mltfr_comm *comm, int64_t n, const int64_t first[], int64_t width,
                             const float *parts, int root, float *out)
{
    mltfr_status st = MLTFR_OK;
    int64_t held[comm->size], bytes[comm->size];
    mltfr_span *spans = NULL;
    float *all = NULL;
    int count = 0;

    if (first[root] == 0 && first[root + 1] == n) { /* the others have nothing to send */
        if (comm->rank == root)
            whole_tree(n, width, parts, out);
        return MLTFR_OK;
    }
    st = MLTFR_TAKE(&comm->rooms->spans, spans, comm->size * MLTFR_TREE_SPANS);
    if (st == MLTFR_OK)
        count = cover_all(n, comm->size, first, spans, held);
    if (st == MLTFR_OK && comm->rank == root)
        st = MLTFR_TAKE(&comm->rooms->recv, all, count * width);
    MLTFR_AGREE(comm, st);
    for (int p = 0; p < comm->size; p++)
        bytes[p] = held[p] * width * (int64_t)sizeof(float);
    mltfr_comm_gatherv(comm, parts, bytes, all, root);
    if (comm->rank == root)
        mltfr_tree_fold(n, spans, count, width, all, out);
done:
    return st;
}
