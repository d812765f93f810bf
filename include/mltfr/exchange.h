/** @file mltfr/exchange.h
 *  All-to-all exchange of rows: a plan says how many rows go to each rank, then any kind of row
 *  travels by it, there and back.  Layer: comm (mpi/). */
#ifndef MLTFR_EXCHANGE_H
#define MLTFR_EXCHANGE_H

#include <mltfr/comm.h>

typedef struct mltfr_exchange mltfr_exchange;

/** Plan: this rank sends counts[p] rows to rank p; the rows lie in the order of the ranks.
 *  @collective{comm}
 *  @param comm    kept: must outlive the plan
 *  @param counts  [size], borrowed for the call
 *  @param out     owned by the caller */
mltfr_status mltfr_exchange_create(mltfr_comm *comm, const int64_t counts[], mltfr_exchange **out);

/** The same where the ranks know already what comes: from[p] rows from rank p.  @local */
mltfr_status mltfr_exchange_create_known(mltfr_comm *comm, const int64_t counts[],
                                         const int64_t from[], mltfr_exchange **out);

/** Rows received and sent in all.  @local */
int64_t mltfr_exchange_received(const mltfr_exchange *plan);
int64_t mltfr_exchange_sent(const mltfr_exchange *plan);

/** Move rows of `bytes` bytes from their sender to their receiver.  @collective{comm}
 *  @param send  [sent][bytes], by rank of the receiver
 *  @param recv  [received][bytes], by rank of the sender */
void mltfr_exchange_forward(mltfr_exchange *plan, int64_t bytes, const void *send, void *recv);

/** The way back: an answer to each row received.  @collective{comm}
 *  @param send  [received][bytes]     @param recv  [sent][bytes] */
void mltfr_exchange_reverse(mltfr_exchange *plan, int64_t bytes, const void *send, void *recv);

/** The same in the background: send and recv are left alone until the end.  Two exchanges of a plan
 *  may be under way at a time.  @collective{comm}, begun in the same order on every rank */
void mltfr_exchange_begin_forward(mltfr_exchange *plan, int64_t bytes, const void *send,
                                  void *recv);
void mltfr_exchange_begin_reverse(mltfr_exchange *plan, int64_t bytes, const void *send,
                                  void *recv);
/** Give MPI a chance to move data.  @local */
void mltfr_exchange_poll(mltfr_exchange *plan);
/** Wait until all that was begun is over.  @collective{comm} */
void mltfr_exchange_end(mltfr_exchange *plan);

/** Wait for what is under way, free to NULL; NULL is allowed.  @local */
void mltfr_exchange_destroy(mltfr_exchange **plan);

#endif
