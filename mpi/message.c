/* A message of any size between two ranks: MPI counts in int, so a large one goes as a number of
 * large pieces, one type, and the rest.
 *
 *      [ piece | piece | piece | rest ]     at most two requests whatever the size */
#include "comm_impl.h"

enum { TAG = 5901 };

int64_t mltfr_message_piece = INT64_C(1) << 30;

typedef struct {
    MPI_Datatype type; /* of a piece; to be freed where there are pieces */
    int pieces, rest;
    int64_t rest_at;
} parts;

static parts cut(int64_t bytes)
{
    const int64_t pieces = bytes > mltfr_message_piece ? bytes / mltfr_message_piece : 0;
    parts x = {.type = MPI_BYTE,
               .pieces = mltfr_count_to_int(pieces),
               .rest = mltfr_count_to_int(bytes - pieces * mltfr_message_piece),
               .rest_at = pieces * mltfr_message_piece};

    if (pieces > 0) {
        MLTFR_MPI(MPI_Type_contiguous((int)mltfr_message_piece, MPI_BYTE, &x.type));
        MLTFR_MPI(MPI_Type_commit(&x.type));
    }
    return x;
}

static void release(parts *x)
{
    if (x->pieces > 0)
        MLTFR_MPI(MPI_Type_free(&x->type));
}

int mltfr_message_send(mltfr_comm *comm, const void *data, int64_t bytes, int to,
                       MPI_Request requests[])
{
    parts x = cut(bytes);
    int n = 0;

    if (x.pieces > 0)
        MLTFR_MPI(MPI_Isend(data, x.pieces, x.type, to, TAG, comm->mpi, &requests[n++]));
    if (x.rest > 0)
        MLTFR_MPI(MPI_Isend((const char *)data + x.rest_at, x.rest, MPI_BYTE, to, TAG, comm->mpi,
                            &requests[n++]));
    release(&x);
    return n;
}

int mltfr_message_receive(mltfr_comm *comm, void *data, int64_t bytes, int from,
                          MPI_Request requests[])
{
    parts x = cut(bytes);
    int n = 0;

    if (x.pieces > 0)
        MLTFR_MPI(MPI_Irecv(data, x.pieces, x.type, from, TAG, comm->mpi, &requests[n++]));
    if (x.rest > 0)
        MLTFR_MPI(MPI_Irecv((char *)data + x.rest_at, x.rest, MPI_BYTE, from, TAG, comm->mpi,
                            &requests[n++]));
    release(&x);
    return n;
}

void mltfr_message_wait(int n, MPI_Request requests[])
{
    MLTFR_MPI(MPI_Waitall(n, requests, MPI_STATUSES_IGNORE));
}
