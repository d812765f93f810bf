/* Replay of a training golden file.  Private to the layer train. */
#ifndef MLTFR_REPLAY_IMPL_H
#define MLTFR_REPLAY_IMPL_H

#include "engine.h"

#include <mltfr/file.h>

typedef struct {
    mltfr_comm *comm;
    mltfr_file *in, *out;
    mltfr_settings settings; /* what the file's attributes say */
    double lr, clip;
    mltfr_spaces spaces; /* a view of the input file's token spaces */
    mltfr_engine *e;
    mltfr_batch *batch;
} mltfr_replay_case;

/* The model and the batch of the file c->in, on the ranks of c->comm; free with unload, also after
 * a failure.  @collective */
mltfr_status mltfr_replay_load(mltfr_replay_case *c);
void mltfr_replay_unload(mltfr_replay_case *c);

/* What space k of K is called in the file: its number, or c for the consensus.  @local */
void mltfr_replay_space_name(int64_t K, int64_t k, char name[24]);

/* Read a whole array to every rank: a new one, owned by the caller.  @collective */
mltfr_status mltfr_replay_get(mltfr_replay_case *c, mltfr_dtype type, void *out, int64_t *count,
                              const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The sequences of a group (offsets, items) as a new batch, checked; without targets.  @collective
 */
mltfr_status mltfr_replay_sequences(mltfr_replay_case *c, const char *where, mltfr_batch **out);

/* Rows [first, first + own) of a global array of the output.  @collective */
mltfr_status mltfr_replay_put(mltfr_replay_case *c, mltfr_dtype type, int ndim,
                              const int64_t dims[], int64_t first, int64_t own, const void *data,
                              const char *format, ...) __attribute__((format(printf, 8, 9)));

/* Everything before the step: level A, tau, X_I, ranking; leaves the model as it was.  @collective
 */
mltfr_status mltfr_replay_probes(mltfr_replay_case *c);
/* The step itself.  @collective */
mltfr_status mltfr_replay_step(mltfr_replay_case *c);

/* Pools and item mixtures as the file gives them.  @collective */
mltfr_status mltfr_replay_restore(mltfr_replay_case *c);

#endif
