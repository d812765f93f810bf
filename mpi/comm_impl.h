/* Shared inside the comm layer. */
#ifndef MLTFR_COMM_IMPL_H
#define MLTFR_COMM_IMPL_H

#include <mltfr/comm.h>
#include <mltfr/exchange.h>
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/watchdog.h>

#include <mpi.h>

/** Kept between calls: sums over ranks and their plans come again in every step. */
typedef struct {
    mltfr_room spans, send, recv;
} mltfr_comm_rooms;

struct mltfr_comm {
    MPI_Comm mpi;
    int rank, size;
    int first;                    /* number among all processes of this group's rank 0 */
    int64_t agreements;           /* so far */
    mltfr_comm_rooms own, *rooms; /* a group's are those of what it is a group of */
    mltfr_exchange *spare;        /* plans that were given back */
};

/** Add the time since `begin` to what is spent inside MPI, and to the timeline. */
void mltfr_mpi_spent(const char *call, double begin);

/** Something in the background: when it began, and the seconds inside MPI then. */
typedef struct {
    double begin, inside;
} mltfr_flight;

mltfr_flight mltfr_flight_begin(void);
/** It is seen to be over: the time since, but for that inside MPI, was hidden. */
void mltfr_flight_end(mltfr_flight flight);

/** Any failure of MPI ends the program with its text. */
#define MLTFR_MPI(call)                                                                            \
    do {                                                                                           \
        const double begin_ = mltfr_seconds();                                                     \
        mltfr_watchdog_wait();                                                                     \
        int code_ = (call);                                                                        \
        mltfr_watchdog_go_on();                                                                    \
        mltfr_mpi_spent(#call, begin_);                                                            \
        if (code_ != MPI_SUCCESS)                                                                  \
            mltfr_panic("%s: MPI error %d (%s:%d)", #call, code_, __FILE__, __LINE__);             \
    } while (0)

/** Before MPI starts: HDF5 shall not clean up at the end of MPI or of the program, where it crashes
 *  on a file that it could not write.  All files are closed by then.  @local */
void mltfr_file_setup(void);

/** Free the plans that are kept.  @local */
void mltfr_exchange_free_spare(mltfr_comm *comm);

/** A count that MPI takes as int; larger ones end the program.  @local */
int mltfr_count_to_int(int64_t count);

enum { MLTFR_MESSAGE_PARTS = 2 }; /* requests of one message, at most */

/** Begin a message of any size to or from another rank; the requests it takes are returned.
 *  Messages between two ranks arrive in the order of their beginning.  @local
 *  @param requests  room for MLTFR_MESSAGE_PARTS */
int mltfr_message_send(mltfr_comm *comm, const void *data, int64_t bytes, int to,
                       MPI_Request requests[]);
int mltfr_message_receive(mltfr_comm *comm, void *data, int64_t bytes, int from,
                          MPI_Request requests[]);
/** Wait for n requests.  @local */
void mltfr_message_wait(int n, MPI_Request requests[]);

#endif
