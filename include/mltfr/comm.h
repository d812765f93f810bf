/** @file mltfr/comm.h
 *  The group of ranks and its small collectives.  Layer: comm (mpi/).
 *
 *  A failure of MPI itself ends the program (mltfr_panic): it cannot be answered.  So the calls
 *  below return no status, except where a local fault must become everybody's. */
#ifndef MLTFR_COMM_H
#define MLTFR_COMM_H

#include <mltfr/status.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct mltfr_comm mltfr_comm;

/** Start MPI and make the group of all ranks.  @collective{all processes}
 *  @param out  owned by the caller, ended by mltfr_comm_finish */
mltfr_status mltfr_comm_start(int *argc, char ***argv, mltfr_comm **out);

/** End the group and MPI; sets *comm to NULL.  @collective{comm} */
void mltfr_comm_finish(mltfr_comm **comm);

/** Say what broke, with the rank, and end all ranks with status 70.  @local */
_Noreturn void mltfr_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** This process's number, and how many there are.  @local */
int mltfr_comm_rank(const mltfr_comm *comm);
int mltfr_comm_size(const mltfr_comm *comm);

/** Seconds this process has spent inside MPI: what of the communication was not hidden.  @local */
double mltfr_comm_seconds(void);

/** Seconds in which this process computed while a gather or an exchange in the background was under
 *  way: from its begin until it was seen to be over, but for the time inside MPI.  0 on one rank.
 *  @local */
double mltfr_comm_hidden_seconds(void);

/** From now on a rank that is gone, or `seconds` (0: any time) without progress, end the run
 *  (mltfr/watchdog.h).  @collective{comm} */
void mltfr_comm_watch(mltfr_comm *comm, int64_t seconds);
/** End that; without a watch nothing happens.  @local */
void mltfr_comm_unwatch(void);

/** The worst status of any rank, with its text, becomes that of all; the text names the rank where
 *  memory or a file failed on some ranks only.  Ranks that make different calls are noticed here,
 *  and end the program.  @collective{comm} */
mltfr_status mltfr_comm_agree(mltfr_comm *comm, mltfr_status mine);

/** Run a local fallible call, then agree; needs `st` and the label `done`. */
#define MLTFR_AGREE(comm, call)                                                                    \
    do {                                                                                           \
        st = mltfr_comm_agree((comm), (call));                                                     \
        if (st != MLTFR_OK)                                                                        \
            goto done;                                                                             \
    } while (0)

/** The group of the ranks [first, last] of comm, in their order; NULL on every other rank.
 *  @collective{comm}  @param out  owned by the caller, ended by mltfr_comm_destroy */
mltfr_status mltfr_comm_group(mltfr_comm *comm, int first, int last, mltfr_comm **out);

/** End a group made by mltfr_comm_group and set it to NULL; NULL is allowed.  @collective{*group}
 */
void mltfr_comm_destroy(mltfr_comm **group);

/** @collective{comm}, each of them. */
void mltfr_comm_barrier(mltfr_comm *comm);
void mltfr_comm_bcast(mltfr_comm *comm, void *data, int64_t bytes, int root);
/** Sums of integers are exact, so they are the same for every number of ranks. */
void mltfr_comm_sum_i64(mltfr_comm *comm, int64_t *x, int64_t n);
void mltfr_comm_max_i64(mltfr_comm *comm, int64_t *x, int64_t n);
void mltfr_comm_max_f64(mltfr_comm *comm, double *x, int64_t n);
void mltfr_comm_max_f32(mltfr_comm *comm, float *x, int64_t n);
/** Every rank gives `bytes`; `all` receives size * bytes in rank order. */
void mltfr_comm_allgather(mltfr_comm *comm, const void *mine, int64_t bytes, void *all);
/** Rank p gives bytes[p] (the same table on every rank); `all` receives them in rank order. */
void mltfr_comm_allgatherv(mltfr_comm *comm, const void *mine, const int64_t bytes[], void *all);
/** Rank p gives its share [first(p), first(p + 1)) of n things of `bytes` bytes; `all` receives the
 *  n things in order. */
void mltfr_comm_allgather_shares(mltfr_comm *comm, const void *mine, int64_t n, int64_t bytes,
                                 void *all);
/** mltfr_comm_allgatherv to one rank; `all` is read on `root` only. */
void mltfr_comm_gatherv(mltfr_comm *comm, const void *mine, const int64_t bytes[], void *all,
                        int root);

/** An allgatherv that goes on while this rank computes.  One at a time a handle. */
typedef struct mltfr_gather mltfr_gather;

/** @local  @param comm  kept: must outlive the handle */
mltfr_status mltfr_gather_create(mltfr_comm *comm, mltfr_gather **out);
/** Begin; mine and all are left alone until the end.  @collective{comm} */
void mltfr_gather_begin(mltfr_gather *gather, const void *mine, const int64_t bytes[], void *all);
/** Give MPI a chance to move data.  @local */
void mltfr_gather_poll(mltfr_gather *gather);
/** Wait until `all` is there.  @collective{comm} */
void mltfr_gather_end(mltfr_gather *gather);
/** Free and set to NULL; NULL is allowed.  @local */
void mltfr_gather_destroy(mltfr_gather **gather);

/** Most bytes that MPI is given as one piece; a message or gather of more goes in pieces.  The same
 *  on every rank; tests lower it. */
extern int64_t mltfr_message_piece;

/** Consecutive share of n things: rank p owns [first(p), first(p + 1)).  Shares differ by at most
 *  one and line up with the midpoint tree (mltfr/tree.h).  @local */
static inline int64_t mltfr_share_first(int64_t n, int size, int rank)
{
    return (n * rank + size - 1) / size;
}

/** The rank that owns thing `i` of `n`.  @local */
static inline int mltfr_share_owner(int64_t n, int size, int64_t i)
{
    return (int)(i * size / n);
}

#endif
