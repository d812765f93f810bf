/* Rows to every rank and back by MPI_Alltoallv.
 *
 *      rank 0 sends   [ to 0 | to 1 | to 2 ]        rank 1 receives [ from 0 | from 1 | from 2 ]
 *                          \______________________________________/
 */
#include "comm_impl.h"

#include <mltfr/exchange.h>
#include <mltfr/mem.h>

struct mltfr_exchange {
    mltfr_comm *comm;
    int *to, *to_at, *from, *from_at; /* [size]: rows and first rows */
    int64_t sent, received;
    int *store;
};

/* First rows of consecutive parts; their sum is returned. */
static int64_t place(int size, const int counts[], int at[])
{
    int64_t sum = 0;

    for (int p = 0; p < size; p++) {
        at[p] = mltfr_count_to_int(sum);
        sum += counts[p];
    }
    return sum;
}

static mltfr_status make(mltfr_comm *comm, const int64_t counts[], mltfr_exchange **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_exchange *x = NULL;

    *out = NULL;
    MLTFR_TRY(MLTFR_NEW(x, 1));
    MLTFR_TRY(MLTFR_NEW(x->store, 4 * comm->size));
    x->comm = comm;
    x->to = x->store;
    x->to_at = x->store + comm->size;
    x->from = x->store + 2 * comm->size;
    x->from_at = x->store + 3 * comm->size;
    for (int p = 0; p < comm->size; p++)
        x->to[p] = mltfr_count_to_int(counts[p]);
    x->sent = place(comm->size, x->to, x->to_at);
    *out = x;
    x = NULL;
done:
    mltfr_exchange_destroy(&x);
    return st;
}

mltfr_status mltfr_exchange_create(mltfr_comm *comm, const int64_t counts[], mltfr_exchange **out)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_AGREE(comm, make(comm, counts, out));
    MLTFR_MPI(MPI_Alltoall((*out)->to, 1, MPI_INT, (*out)->from, 1, MPI_INT, comm->mpi));
    (*out)->received = place(comm->size, (*out)->from, (*out)->from_at);
done:
    return st;
}

mltfr_status mltfr_exchange_create_known(mltfr_comm *comm, const int64_t counts[],
                                         const int64_t from[], mltfr_exchange **out)
{
    mltfr_status st = make(comm, counts, out);

    if (st != MLTFR_OK)
        return st;
    for (int p = 0; p < comm->size; p++)
        (*out)->from[p] = mltfr_count_to_int(from[p]);
    (*out)->received = place(comm->size, (*out)->from, (*out)->from_at);
    return st;
}

int64_t mltfr_exchange_received(const mltfr_exchange *plan)
{
    return plan->received;
}

const int *mltfr_exchange_from(const mltfr_exchange *plan)
{
    return plan->from;
}

int64_t mltfr_exchange_sent(const mltfr_exchange *plan)
{
    return plan->sent;
}

void mltfr_exchange_forward(mltfr_exchange *plan, int64_t bytes, const void *send, void *recv)
{
    MPI_Datatype row = mltfr_row_type(bytes);

    MLTFR_MPI(MPI_Alltoallv(send, plan->to, plan->to_at, row, recv, plan->from, plan->from_at, row,
                            plan->comm->mpi));
    MLTFR_MPI(MPI_Type_free(&row));
}

void mltfr_exchange_reverse(mltfr_exchange *plan, int64_t bytes, const void *send, void *recv)
{
    MPI_Datatype row = mltfr_row_type(bytes);

    MLTFR_MPI(MPI_Alltoallv(send, plan->from, plan->from_at, row, recv, plan->to, plan->to_at, row,
                            plan->comm->mpi));
    MLTFR_MPI(MPI_Type_free(&row));
}

void mltfr_exchange_destroy(mltfr_exchange **plan)
{
    if (*plan == NULL)
        return;
    MLTFR_FREE((*plan)->store);
    MLTFR_FREE(*plan);
}
