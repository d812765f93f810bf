/* MPI where there is one process and no MPI library: what the sources of libmltfr call, and no
 * more.  A message goes to the process itself only, so a collective is a copy, or nothing at all.
 * These are the names of the standard; the real header is used for the program mltfr_dist. */
#ifndef MLTFR_ONE_MPI_H
#define MLTFR_ONE_MPI_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int MPI_Comm, MPI_Errhandler, MPI_Request, MPI_Op;
typedef int MPI_Datatype; /* bytes of one element */
typedef void MPI_Comm_errhandler_function(MPI_Comm *, int *, ...);

enum { MPI_SUCCESS = 0, MPI_MAX_ERROR_STRING = 64, MPI_UNDEFINED = -1, MPI_COMM_TYPE_SHARED = 0 };
enum { MPI_COMM_WORLD = 1, MPI_REQUEST_NULL = 0, MPI_INFO_NULL = 0, MPI_THREAD_FUNNELED = 1 };
enum {
    MPI_BYTE = 1,
    MPI_INT = 4,
    MPI_FLOAT = 4,
    MPI_UINT32_T = 4,
    MPI_INT64_T = 8,
    MPI_UINT64_T = 8,
    MPI_DOUBLE = 8
};
enum { MPI_MAX, MPI_MIN, MPI_SUM, MPI_BXOR }; /* over one: the value itself */

#define MPI_IN_PLACE        ((void *)1)
#define MPI_STATUS_IGNORE   NULL
#define MPI_STATUSES_IGNORE NULL

static inline double MPI_Wtime(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline int MPI_Init_thread(int *argc, char ***argv, int needed, int *given)
{
    (void)argc;
    (void)argv;
    *given = needed;
    return MPI_SUCCESS;
}

static inline int MPI_Finalize(void)
{
    return MPI_SUCCESS;
}

static inline int MPI_Abort(MPI_Comm comm, int code)
{
    (void)comm;
    exit(code);
}

static inline int MPI_Error_string(int code, char *text, int *length)
{
    *length = snprintf(text, MPI_MAX_ERROR_STRING, "error %d", code);
    return MPI_SUCCESS;
}

/* ---- groups -------------------------------------------------------------------------------- */

static inline int MPI_Comm_create_errhandler(MPI_Comm_errhandler_function *call,
                                             MPI_Errhandler *out)
{
    (void)call;
    *out = 0;
    return MPI_SUCCESS;
}

static inline int MPI_Comm_set_errhandler(MPI_Comm comm, MPI_Errhandler handler)
{
    (void)comm;
    (void)handler;
    return MPI_SUCCESS;
}

static inline int MPI_Errhandler_free(MPI_Errhandler *handler)
{
    (void)handler;
    return MPI_SUCCESS;
}

static inline int MPI_Comm_rank(MPI_Comm comm, int *out)
{
    (void)comm;
    *out = 0;
    return MPI_SUCCESS;
}

static inline int MPI_Comm_size(MPI_Comm comm, int *out)
{
    (void)comm;
    *out = 1;
    return MPI_SUCCESS;
}

static inline int MPI_Comm_dup(MPI_Comm comm, MPI_Comm *out)
{
    *out = comm;
    return MPI_SUCCESS;
}

static inline int MPI_Comm_split(MPI_Comm comm, int color, int key, MPI_Comm *out)
{
    (void)color;
    (void)key;
    return MPI_Comm_dup(comm, out);
}

static inline int MPI_Comm_split_type(MPI_Comm comm, int type, int key, int info, MPI_Comm *out)
{
    (void)info;
    return MPI_Comm_split(comm, type, key, out);
}

static inline int MPI_Comm_free(MPI_Comm *comm)
{
    (void)comm;
    return MPI_SUCCESS;
}

/* ---- collectives --------------------------------------------------------------------------- */

static inline int MPI_Barrier(MPI_Comm comm)
{
    (void)comm;
    return MPI_SUCCESS;
}

static inline int MPI_Bcast(void *data, int n, MPI_Datatype type, int root, MPI_Comm comm)
{
    (void)data;
    (void)n;
    (void)type;
    (void)root;
    (void)comm;
    return MPI_SUCCESS;
}

/* The callers all use MPI_IN_PLACE. */
static inline int MPI_Allreduce(const void *in, void *out, int n, MPI_Datatype type, MPI_Op op,
                                MPI_Comm comm)
{
    (void)op;
    (void)comm;
    if (in != MPI_IN_PLACE)
        memcpy(out, in, (size_t)n * (size_t)type);
    return MPI_SUCCESS;
}

static inline int MPI_Allgather(const void *in, int n, MPI_Datatype type, void *out, int n_out,
                                MPI_Datatype type_out, MPI_Comm comm)
{
    (void)n_out;
    (void)type_out;
    return MPI_Allreduce(in, out, n, type, MPI_MAX, comm);
}

static inline int MPI_Alltoall(const void *in, int n, MPI_Datatype type, void *out, int n_out,
                               MPI_Datatype type_out, MPI_Comm comm)
{
    return MPI_Allgather(in, n, type, out, n_out, type_out, comm);
}

static inline int MPI_Allgatherv(const void *in, int n, MPI_Datatype type, void *out,
                                 const int counts[], const int at[], MPI_Datatype type_out,
                                 MPI_Comm comm)
{
    (void)counts;
    if (n > 0)
        memcpy((char *)out + at[0] * type_out, in, (size_t)n * (size_t)type);
    return MPI_Barrier(comm);
}

static inline int MPI_Iallgatherv(const void *in, int n, MPI_Datatype type, void *out,
                                  const int counts[], const int at[], MPI_Datatype type_out,
                                  MPI_Comm comm, MPI_Request *request)
{
    *request = MPI_REQUEST_NULL;
    return MPI_Allgatherv(in, n, type, out, counts, at, type_out, comm);
}

static inline int MPI_Gatherv(const void *in, int n, MPI_Datatype type, void *out,
                              const int counts[], const int at[], MPI_Datatype type_out, int root,
                              MPI_Comm comm)
{
    (void)root;
    return MPI_Allgatherv(in, n, type, out, counts, at, type_out, comm);
}

/* ---- messages: there is nobody to send one to ---------------------------------------------- */

static inline int MPI_Isend(const void *data, int n, MPI_Datatype type, int to, int tag,
                            MPI_Comm comm, MPI_Request *request)
{
    (void)data;
    (void)n;
    (void)type;
    (void)to;
    (void)tag;
    (void)request;
    return MPI_Abort(comm, 70);
}

static inline int MPI_Irecv(void *data, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm,
                            MPI_Request *request)
{
    return MPI_Isend(data, n, type, from, tag, comm, request);
}

static inline int MPI_Send(const void *data, int n, MPI_Datatype type, int to, int tag,
                           MPI_Comm comm)
{
    return MPI_Isend(data, n, type, to, tag, comm, NULL);
}

static inline int MPI_Recv(void *data, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm,
                           void *status)
{
    (void)status;
    return MPI_Isend(data, n, type, from, tag, comm, NULL);
}

static inline int MPI_Wait(MPI_Request *request, void *status)
{
    (void)request;
    (void)status;
    return MPI_SUCCESS;
}

static inline int MPI_Waitall(int n, MPI_Request requests[], void *statuses)
{
    (void)n;
    return MPI_Wait(requests, statuses);
}

static inline int MPI_Test(MPI_Request *request, int *done, void *status)
{
    *done = 1;
    /* NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): nothing is ever under way here */
    return MPI_Wait(request, status);
}

static inline int MPI_Testall(int n, MPI_Request requests[], int *done, void *statuses)
{
    (void)n;
    return MPI_Test(requests, done, statuses);
}

static inline int MPI_Type_contiguous(int n, MPI_Datatype type, MPI_Datatype *out)
{
    *out = n * type;
    return MPI_SUCCESS;
}

static inline int MPI_Type_commit(MPI_Datatype *type)
{
    (void)type;
    return MPI_SUCCESS;
}

static inline int MPI_Type_free(MPI_Datatype *type)
{
    (void)type;
    return MPI_SUCCESS;
}

#endif
