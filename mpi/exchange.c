/* Rows to every rank and back, in the background if the caller has something to compute meanwhile.
 *
 *      rank 0 sends   [ to 0 | to 1 | to 2 ]        rank 1 receives [ from 0 | from 1 | from 2 ]
 *                          \______________________________________/
 *
 * One message for each pair of ranks with rows to move.  Open MPI moves data only while the program
 * is inside MPI, so a caller that computes has to poll now and then. */
#include "comm_impl.h"

#include <mltfr/exchange.h>
#include <mltfr/mem.h>

#include <string.h>

enum { AT_ONCE = 2 }; /* exchanges of one plan that may be under way */

struct mltfr_exchange {
    mltfr_comm *comm;
    int64_t *to, *from; /* [size] rows */
    int64_t sent, received;
    int64_t *store;
    int begun, open;       /* exchanges under way; their requests */
    MPI_Request *requests; /* [AT_ONCE][2 size][MLTFR_MESSAGE_PARTS] */
    mltfr_flight flight;   /* since the first one of them */
    mltfr_exchange *next;  /* where it is spare */
};

static int64_t sum(int size, const int64_t counts[])
{
    int64_t n = 0;

    for (int p = 0; p < size; p++)
        n += counts[p];
    return n;
}

static void release(mltfr_exchange **plan)
{
    if (*plan == NULL)
        return;
    MLTFR_FREE((*plan)->requests);
    MLTFR_FREE((*plan)->store);
    MLTFR_FREE(*plan);
}

static mltfr_status make_new(mltfr_comm *comm, mltfr_exchange **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_exchange *x = NULL;

    MLTFR_TRY(MLTFR_NEW(x, 1));
    MLTFR_TRY(MLTFR_NEW(x->store, 2 * comm->size));
    MLTFR_TRY(MLTFR_NEW(x->requests, AT_ONCE * 2 * comm->size * MLTFR_MESSAGE_PARTS));
    x->comm = comm;
    x->to = x->store;
    x->from = x->store + comm->size;
    *out = x;
    x = NULL;
done:
    release(&x);
    return st;
}

static mltfr_status make(mltfr_comm *comm, const int64_t counts[], mltfr_exchange **out)
{
    mltfr_status st = MLTFR_OK;

    *out = comm->spare;
    if (*out != NULL)
        comm->spare = (*out)->next;
    else
        MLTFR_TRY(make_new(comm, out));
    memcpy((*out)->to, counts, (size_t)comm->size * sizeof *counts);
    (*out)->sent = sum(comm->size, counts);
done:
    return st;
}

mltfr_status mltfr_exchange_create(mltfr_comm *comm, const int64_t counts[], mltfr_exchange **out)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_AGREE(comm, make(comm, counts, out));
    MLTFR_MPI(MPI_Alltoall((*out)->to, 1, MPI_INT64_T, (*out)->from, 1, MPI_INT64_T, comm->mpi));
    (*out)->received = sum(comm->size, (*out)->from);
done:
    if (st != MLTFR_OK)
        mltfr_exchange_destroy(out);
    return st;
}

mltfr_status mltfr_exchange_create_known(mltfr_comm *comm, const int64_t counts[],
                                         const int64_t from[], mltfr_exchange **out)
{
    mltfr_status st = make(comm, counts, out);

    if (st != MLTFR_OK)
        return st;
    memcpy((*out)->from, from, (size_t)comm->size * sizeof *from);
    (*out)->received = sum(comm->size, (*out)->from);
    return st;
}

int64_t mltfr_exchange_received(const mltfr_exchange *plan)
{
    return plan->received;
}

int64_t mltfr_exchange_sent(const mltfr_exchange *plan)
{
    return plan->sent;
}

/* to, from: [size] rows that go and come; those of this rank itself are copied at once. */
static void begin(mltfr_exchange *x, int64_t bytes, const int64_t to[], const void *send,
                  const int64_t from[], void *recv)
{
    const char *out = send;
    char *in = recv, *own = NULL;

    if (x->open == 0)
        x->flight = mltfr_flight_begin();
    if (x->begun++ == AT_ONCE)
        mltfr_panic("more than %d exchanges of one plan are under way", AT_ONCE);
    for (int p = 0; p < x->comm->size; in += from[p++] * bytes)
        if (p == x->comm->rank)
            own = in;
        else
            x->open +=
                mltfr_message_receive(x->comm, in, from[p] * bytes, p, x->requests + x->open);
    for (int p = 0; p < x->comm->size; out += to[p++] * bytes)
        if (p != x->comm->rank)
            x->open += mltfr_message_send(x->comm, out, to[p] * bytes, p, x->requests + x->open);
        else if (to[p] > 0)
            memcpy(own, out, (size_t)(to[p] * bytes));
}

void mltfr_exchange_begin_forward(mltfr_exchange *plan, int64_t bytes, const void *send, void *recv)
{
    begin(plan, bytes, plan->to, send, plan->from, recv);
}

void mltfr_exchange_begin_reverse(mltfr_exchange *plan, int64_t bytes, const void *send, void *recv)
{
    begin(plan, bytes, plan->from, send, plan->to, recv);
}

static void over(mltfr_exchange *plan)
{
    plan->open = 0;
    mltfr_flight_end(plan->flight);
}

void mltfr_exchange_poll(mltfr_exchange *plan)
{
    int done = 0;

    if (plan->open > 0)
        MLTFR_MPI(MPI_Testall(plan->open, plan->requests, &done, MPI_STATUSES_IGNORE));
    if (done)
        over(plan);
}

void mltfr_exchange_end(mltfr_exchange *plan)
{
    if (plan->open > 0) {
        MLTFR_MPI(MPI_Waitall(plan->open, plan->requests, MPI_STATUSES_IGNORE));
        over(plan);
    }
    plan->begun = 0;
}

void mltfr_exchange_forward(mltfr_exchange *plan, int64_t bytes, const void *send, void *recv)
{
    mltfr_exchange_begin_forward(plan, bytes, send, recv);
    mltfr_exchange_end(plan);
}

void mltfr_exchange_reverse(mltfr_exchange *plan, int64_t bytes, const void *send, void *recv)
{
    mltfr_exchange_begin_reverse(plan, bytes, send, recv);
    mltfr_exchange_end(plan);
}

void mltfr_exchange_destroy(mltfr_exchange **plan)
{
    mltfr_exchange *x = *plan;

    if (x == NULL)
        return;
    mltfr_exchange_end(x);
    x->next = x->comm->spare;
    x->comm->spare = x;
    *plan = NULL;
}

void mltfr_exchange_free_spare(mltfr_comm *comm)
{
    while (comm->spare != NULL) {
        mltfr_exchange *next = comm->spare->next;
        release(&comm->spare);
        comm->spare = next;
    }
}
