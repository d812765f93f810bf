#include "comm_impl.h"

#include <mltfr/mem.h>
#include <mltfr/trace.h>

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int world_rank = -1;
static double mpi_seconds, hidden_seconds;
static const double trace_least = 2e-6; /* shorter calls, polls above all, are not on a timeline */

/* An error inside MPI, also where HDF5 or ScaLAPACK called it on a copy of our group. */
static void on_mpi_error(MPI_Comm *mpi, int *code, ...)
{
    char text[MPI_MAX_ERROR_STRING];
    int length;

    (void)mpi;
    MPI_Error_string(*code, text, &length);
    mltfr_panic("%s", text);
}

mltfr_status mltfr_comm_start(int *argc, char ***argv, mltfr_comm **out)
{
    MPI_Errhandler handler;
    mltfr_comm *c = NULL;
    int threads; /* FUNNELED: others write files, this one alone calls MPI */

    *out = NULL;
    mltfr_file_setup();
    if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &threads) != MPI_SUCCESS)
        mltfr_panic("MPI cannot be started");
    MLTFR_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &world_rank));
    MLTFR_MPI(MPI_Comm_create_errhandler(on_mpi_error, &handler));
    MLTFR_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, handler)); /* copies of it inherit this */
    MLTFR_MPI(MPI_Errhandler_free(&handler));
    if (mltfr_alloc(&c, 1, sizeof *c) != MLTFR_OK)
        mltfr_panic("%s", mltfr_error_text);
    MLTFR_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &c->mpi));
    MLTFR_MPI(MPI_Comm_rank(c->mpi, &c->rank));
    MLTFR_MPI(MPI_Comm_size(c->mpi, &c->size));
    c->rooms = &c->own;
    *out = c;
    return MLTFR_OK;
}

void mltfr_comm_finish(mltfr_comm **comm)
{
    if (*comm == NULL)
        return;
    mltfr_comm_unwatch();
    mltfr_comm_destroy(comm);
    MPI_Finalize();
}

mltfr_status mltfr_comm_group(mltfr_comm *comm, int first, int last, mltfr_comm **out)
{
    bool member = comm->rank >= first && comm->rank <= last;
    mltfr_status st = MLTFR_OK;
    mltfr_comm *c = NULL;
    MPI_Comm mpi;

    *out = NULL;
    MLTFR_AGREE(comm, member ? MLTFR_NEW(c, 1) : MLTFR_OK);
    MLTFR_MPI(MPI_Comm_split(comm->mpi, member ? 0 : MPI_UNDEFINED, comm->rank, &mpi));
    if (member) {
        c->mpi = mpi;
        c->rank = comm->rank - first;
        c->size = last - first + 1;
        c->first = comm->first + first;
        c->rooms = comm->rooms;
    }
    *out = c;
    c = NULL;
done:
    MLTFR_FREE(c);
    return st;
}

void mltfr_comm_destroy(mltfr_comm **group)
{
    if (*group == NULL)
        return;
    MLTFR_MPI(MPI_Comm_free(&(*group)->mpi));
    mltfr_exchange_free_spare(*group);
    mltfr_room_release(&(*group)->own.spans);
    mltfr_room_release(&(*group)->own.send);
    mltfr_room_release(&(*group)->own.recv);
    MLTFR_FREE(*group);
}

_Noreturn void mltfr_panic(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fprintf(stderr, "mltfr_dist: error: rank %d: ", world_rank);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang 14 loses sight of va_start */
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    fflush(stderr);
    mltfr_watchdog_leave();
    if (world_rank >= 0)
        MPI_Abort(MPI_COMM_WORLD, mltfr_status_exit(MLTFR_E_INTERNAL));
    exit(mltfr_status_exit(MLTFR_E_INTERNAL));
}

void mltfr_mpi_spent(const char *call, double begin)
{
    const double end = mltfr_seconds();

    mpi_seconds += end - begin;
    if (mltfr_trace_on && end - begin >= trace_least)
        mltfr_trace_add("mpi", call, begin, end);
}

mltfr_flight mltfr_flight_begin(void)
{
    return (mltfr_flight){mltfr_seconds(), mpi_seconds};
}

void mltfr_flight_end(mltfr_flight flight)
{
    hidden_seconds += mltfr_seconds() - flight.begin - (mpi_seconds - flight.inside);
}

double mltfr_comm_seconds(void)
{
    return mpi_seconds;
}

double mltfr_comm_hidden_seconds(void)
{
    return hidden_seconds;
}

int mltfr_comm_rank(const mltfr_comm *comm)
{
    return comm->rank;
}

int mltfr_comm_size(const mltfr_comm *comm)
{
    return comm->size;
}

int mltfr_count_to_int(int64_t count)
{
    if (count < 0 || count > INT_MAX)
        mltfr_panic("a message of %lld elements is more than MPI takes", (long long)count);
    return (int)count;
}

/* The ranks do not make the same calls: name one of the fewest. */
static _Noreturn void out_of_step(const mltfr_comm *comm)
{
    int64_t all[comm->size];
    int odd = 0, least = comm->size + 1;

    MLTFR_MPI(MPI_Allgather(&comm->agreements, 1, MPI_INT64_T, all, 1, MPI_INT64_T, comm->mpi));
    for (int p = comm->size - 1; p >= 0; p--) {
        int alike = 0;
        for (int q = 0; q < comm->size; q++)
            alike += all[q] == all[p];
        if (alike < least) {
            least = alike;
            odd = p;
        }
    }
    if (comm->rank != 0) /* one message is enough */
        MPI_Barrier(comm->mpi);
    mltfr_panic("rank %d is out of step: its agreement %lld meets others with another number",
                comm->first + odd, (long long)all[odd]);
}

/* Trouble of one machine has to be found there. */
static void name_rank(int rank)
{
    char text[MLTFR_ERROR_BYTES];

    if (strncmp(mltfr_error_text, "rank ", 5) == 0)
        return;
    memcpy(text, mltfr_error_text, sizeof text);
    snprintf(mltfr_error_text, sizeof mltfr_error_text, "rank %d: %.*s", rank,
             (int)sizeof text - 24, text);
}

mltfr_status mltfr_comm_agree(mltfr_comm *comm, mltfr_status mine)
{
    const int size = comm->size, reverse = size - 1 - comm->rank;
    int64_t x[] = {(int64_t)mine * size + reverse, -(int64_t)mine, ++comm->agreements,
                   -comm->agreements};

    MLTFR_MPI(MPI_Allreduce(MPI_IN_PLACE, x, 4, MPI_INT64_T, MPI_MAX, comm->mpi));
    if (x[2] != -x[3])
        out_of_step(comm);
    const mltfr_status worst = (mltfr_status)(x[0] / size), best = (mltfr_status)-x[1];
    const int from = size - 1 - (int)(x[0] % size);

    if (worst == MLTFR_OK)
        return MLTFR_OK;
    if (best == MLTFR_OK && (worst == MLTFR_E_IO || worst == MLTFR_E_NOMEM))
        name_rank(comm->first + from);
    MLTFR_MPI(MPI_Bcast(mltfr_error_text, MLTFR_ERROR_BYTES, MPI_BYTE, from, comm->mpi));
    return worst;
}

void mltfr_comm_barrier(mltfr_comm *comm)
{
    MLTFR_MPI(MPI_Barrier(comm->mpi));
}

void mltfr_comm_bcast(mltfr_comm *comm, void *data, int64_t bytes, int root)
{
    const int64_t most = 1 << 30;

    for (int64_t at = 0; at < bytes; at += most) {
        int64_t n = bytes - at < most ? bytes - at : most;
        MLTFR_MPI(MPI_Bcast((char *)data + at, (int)n, MPI_BYTE, root, comm->mpi));
    }
}

void mltfr_comm_sum_i64(mltfr_comm *comm, int64_t *x, int64_t n)
{
    MLTFR_MPI(
        MPI_Allreduce(MPI_IN_PLACE, x, mltfr_count_to_int(n), MPI_INT64_T, MPI_SUM, comm->mpi));
}

void mltfr_comm_max_i64(mltfr_comm *comm, int64_t *x, int64_t n)
{
    MLTFR_MPI(
        MPI_Allreduce(MPI_IN_PLACE, x, mltfr_count_to_int(n), MPI_INT64_T, MPI_MAX, comm->mpi));
}

void mltfr_comm_max_f64(mltfr_comm *comm, double *x, int64_t n)
{
    MLTFR_MPI(
        MPI_Allreduce(MPI_IN_PLACE, x, mltfr_count_to_int(n), MPI_DOUBLE, MPI_MAX, comm->mpi));
}

void mltfr_comm_max_f32(mltfr_comm *comm, float *x, int64_t n)
{
    MLTFR_MPI(MPI_Allreduce(MPI_IN_PLACE, x, mltfr_count_to_int(n), MPI_FLOAT, MPI_MAX, comm->mpi));
}

void mltfr_comm_allgather(mltfr_comm *comm, const void *mine, int64_t bytes, void *all)
{
    int n = mltfr_count_to_int(bytes);

    MLTFR_MPI(MPI_Allgather(mine, n, MPI_BYTE, all, n, MPI_BYTE, comm->mpi));
}

/* MPI counts and displacements of byte ranges in rank order. */
static void layout(const mltfr_comm *comm, const int64_t bytes[], int counts[], int at[])
{
    int64_t sum = 0;

    for (int p = 0; p < comm->size; p++) {
        counts[p] = mltfr_count_to_int(bytes[p]);
        at[p] = mltfr_count_to_int(sum);
        sum += bytes[p];
    }
}

/* More than MPI's collectives can count? */
static bool is_large(const mltfr_comm *comm, const int64_t bytes[])
{
    int64_t sum = 0;

    for (int p = 0; p < comm->size; p++)
        sum += bytes[p];
    return sum > mltfr_message_piece;
}

/* A gather by messages: everybody's bytes to the ranks [first, last], in rank order. */
static void gather_large(mltfr_comm *comm, const void *mine, const int64_t bytes[], void *all,
                         int first, int last)
{
    MPI_Request requests[2 * comm->size * MLTFR_MESSAGE_PARTS];
    const bool receives = comm->rank >= first && comm->rank <= last;
    char *in = all, *own = NULL;
    int n = 0;

    for (int p = 0; receives && p < comm->size; in += bytes[p++])
        if (p == comm->rank)
            own = in;
        else
            n += mltfr_message_receive(comm, in, bytes[p], p, requests + n);
    for (int p = first; p <= last; p++)
        if (p != comm->rank)
            n += mltfr_message_send(comm, mine, bytes[comm->rank], p, requests + n);
    if (own != NULL && bytes[comm->rank] > 0)
        memcpy(own, mine, (size_t)bytes[comm->rank]);
    mltfr_message_wait(n, requests);
}

void mltfr_comm_allgatherv(mltfr_comm *comm, const void *mine, const int64_t bytes[], void *all)
{
    int counts[comm->size], at[comm->size];

    if (is_large(comm, bytes)) {
        gather_large(comm, mine, bytes, all, 0, comm->size - 1);
        return;
    }
    layout(comm, bytes, counts, at);
    MLTFR_MPI(
        MPI_Allgatherv(mine, counts[comm->rank], MPI_BYTE, all, counts, at, MPI_BYTE, comm->mpi));
}

void mltfr_comm_allgather_shares(mltfr_comm *comm, const void *mine, int64_t n, int64_t bytes,
                                 void *all)
{
    int64_t of[comm->size];

    for (int p = 0; p < comm->size; p++)
        of[p] =
            bytes * (mltfr_share_first(n, comm->size, p + 1) - mltfr_share_first(n, comm->size, p));
    mltfr_comm_allgatherv(comm, mine, of, all);
}

void mltfr_comm_gatherv(mltfr_comm *comm, const void *mine, const int64_t bytes[], void *all,
                        int root)
{
    int counts[comm->size], at[comm->size];

    if (is_large(comm, bytes)) {
        gather_large(comm, mine, bytes, all, root, root);
        return;
    }
    layout(comm, bytes, counts, at);
    MLTFR_MPI(MPI_Gatherv(mine, counts[comm->rank], MPI_BYTE, all, counts, at, MPI_BYTE, root,
                          comm->mpi));
}

/* ---- a gather in the background ------------------------------------------------------------ */

struct mltfr_gather {
    mltfr_comm *comm;
    MPI_Request request;
    int *counts, *at; /* [size] each: MPI reads them until the end */
    mltfr_flight flight;
};

mltfr_status mltfr_gather_create(mltfr_comm *comm, mltfr_gather **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_gather *g = NULL;

    *out = NULL;
    MLTFR_TRY(MLTFR_NEW(g, 1));
    g->comm = comm;
    g->request = MPI_REQUEST_NULL;
    MLTFR_TRY(MLTFR_NEW(g->counts, comm->size));
    MLTFR_TRY(MLTFR_NEW(g->at, comm->size));
    *out = g;
    g = NULL;
done:
    mltfr_gather_destroy(&g);
    return st;
}

void mltfr_gather_begin(mltfr_gather *gather, const void *mine, const int64_t bytes[], void *all)
{
    mltfr_comm *comm = gather->comm;

    layout(comm, bytes, gather->counts, gather->at);
    MLTFR_MPI(MPI_Iallgatherv(mine, gather->counts[comm->rank], MPI_BYTE, all, gather->counts,
                              gather->at, MPI_BYTE, comm->mpi, &gather->request));
    gather->flight = mltfr_flight_begin();
}

void mltfr_gather_poll(mltfr_gather *gather)
{
    int done = 0;

    if (gather->request != MPI_REQUEST_NULL)
        MLTFR_MPI(MPI_Test(&gather->request, &done, MPI_STATUS_IGNORE));
    if (done && gather->comm->size > 1)
        mltfr_flight_end(gather->flight);
}

void mltfr_gather_end(mltfr_gather *gather)
{
    const bool open = gather->request != MPI_REQUEST_NULL;

    /* NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): mltfr_gather_begin made the request */
    MLTFR_MPI(MPI_Wait(&gather->request, MPI_STATUS_IGNORE));
    if (open && gather->comm->size > 1)
        mltfr_flight_end(gather->flight);
}

void mltfr_gather_destroy(mltfr_gather **gather)
{
    if (*gather == NULL)
        return;
    MLTFR_FREE((*gather)->counts);
    MLTFR_FREE((*gather)->at);
    MLTFR_FREE(*gather);
}
