/* Shared inside the comm layer. */
#ifndef MLTFR_COMM_IMPL_H
#define MLTFR_COMM_IMPL_H

#include <mltfr/comm.h>

#include <mpi.h>

struct mltfr_comm {
    MPI_Comm mpi;
    int rank, size;
};

/** Seconds spent inside MPI so far. */
extern double mltfr_mpi_seconds;

/** Any failure of MPI ends the program with its text. */
#define MLTFR_MPI(call)                                                                            \
    do {                                                                                           \
        const double begin_ = MPI_Wtime();                                                         \
        int code_ = (call);                                                                        \
        mltfr_mpi_seconds += MPI_Wtime() - begin_;                                                 \
        if (code_ != MPI_SUCCESS)                                                                  \
            mltfr_panic("%s: MPI error %d (%s:%d)", #call, code_, __FILE__, __LINE__);             \
    } while (0)

/** A count that MPI takes as int; larger ones end the program.  @local */
int mltfr_count_to_int(int64_t count);

/** A type of `bytes` bytes, so that counts are those of rows; to be freed by MPI_Type_free.
 *  @local */
MPI_Datatype mltfr_row_type(int64_t bytes);

#endif
