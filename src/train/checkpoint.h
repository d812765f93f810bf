/* What a checkpoint holds (docs/formats.md).  Private to the layer train.
 *
 *      /params/<name>, /adam/{m,v}/<name>      global arrays, layouts of the golden files
 *      /state/router_bias, /state/X_I, /state/space/<k>/{cbar,pool}, /state/fisher/...
 *      attributes of /: format, version, configuration, step, epoch, ...; behind it: the seal
 */
#ifndef MLTFR_CHECKPOINT_H
#define MLTFR_CHECKPOINT_H

#include "engine.h"

#include <mltfr/file.h>

/* What the training loop adds to the model's own state. */
typedef struct {
    int64_t best_step, best_epoch, bad_evaluations;
    double best_ndcg;  /* -1 before the first validation */
    double epoch_loss; /* sum over the rows of the epoch so far */
    int64_t epoch_rows;
} mltfr_loop_state;

/* Write to path by way of path.part; on failure what was at path is still there.  @collective */
mltfr_status mltfr_checkpoint_write(mltfr_engine *e, const mltfr_loop_state *loop,
                                    const char *config, uint64_t digest, const char *path);

/* The same in two halves, with training in between. */
typedef struct {
    mltfr_comm *comm;
    mltfr_file *file; /* NULL: nothing is being written */
    double begin;
    char path[4096];
} mltfr_saving;

typedef struct {
    const char *path, *config;
    uint64_t digest;
    mltfr_room *copy; /* of the state, to be written in the background; NULL: all is written now */
} mltfr_saving_options;

/* The state may change once this returns.  On failure nothing is left.  @collective */
mltfr_status mltfr_saving_begin(mltfr_saving *s, mltfr_engine *e, const mltfr_loop_state *loop,
                                const mltfr_saving_options *options);
/* Wait, complete the file and give it its name.  @collective */
mltfr_status mltfr_saving_end(mltfr_saving *s);
/* Give up what is being written.  @collective */
void mltfr_saving_drop(mltfr_saving *s);

/* Seconds of the slowest write of this process so far, the same on every rank; 0 before the first.
 *  @local */
double mltfr_checkpoint_seconds(void);

/* Read into an engine whose spaces are loaded.  @collective
 *  config: of the run that goes on from here; NULL: it does not go on
 *  digest: of the token spaces and data it must have been written with
 *  Returns MLTFR_E_DATA or MLTFR_E_IO where the file is damaged; then a part of the engine may have
 *  been read.  MLTFR_E_USAGE where it is whole, but not of the run that goes on. */
mltfr_status mltfr_checkpoint_read(mltfr_engine *e, mltfr_loop_state *loop, const char *config,
                                   uint64_t digest, const char *path);

/* May a run whose configuration was `then` go on with `now`?  Both as mltfr_config_text writes
 * them; keys that one of them lacks are passed over.  @local Returns MLTFR_E_USAGE with the first
 * key that differs and may not, and both values. */
mltfr_status mltfr_checkpoint_compare(const char *path, const char *then, const char *now);

/* The same of a checkpoint file; one that is not there is no reason against.  @collective */
mltfr_status mltfr_checkpoint_of_run(mltfr_comm *comm, const char *path, const char *config);

/* Is the file a whole and undamaged checkpoint?  Reads all of it.  @collective */
mltfr_status mltfr_checkpoint_check(mltfr_comm *comm, const char *path);

/* ---- checkpoint_dir.c: RUN/checkpoints ----------------------------------------------------- */

/* Path of the checkpoint of a step.  @local */
void mltfr_checkpoint_path(const char *run_dir, int64_t step, char *path, size_t bytes);

/* Find the newest checkpoint that can be used: `use` is called with one after the other, the newest
 * first.  Those for which it returns MLTFR_E_DATA or MLTFR_E_IO are damaged: skipped with a
 * warning; another failure is the result.  path: of the one used, or an empty text.  @collective */
typedef mltfr_status mltfr_checkpoint_use(void *context, const char *path);
mltfr_status mltfr_checkpoint_newest(mltfr_comm *comm, const char *run_dir,
                                     mltfr_checkpoint_use *use, void *context, char *path,
                                     size_t bytes);

/* Remove all but the `keep` newest and the best, in the background: it can take as long as a write.
 * Rank 0 acts.  @local */
void mltfr_checkpoint_prune(mltfr_comm *comm, const char *run_dir, int64_t keep, int64_t best_step);
/* Wait until they are gone.  @local */
void mltfr_checkpoint_prune_end(void);

/* Remove what an interrupted write has left.  Rank 0 acts.  @local */
void mltfr_checkpoint_sweep(mltfr_comm *comm, const char *run_dir);

/* Rename those of steps after `step`, so that they are not taken for this run's.  Rank 0 acts.
 *  @local */
void mltfr_checkpoint_set_aside(mltfr_comm *comm, const char *run_dir, int64_t step);

/* ---- checkpoint_keep.c: the checkpoints of a run while it trains -------------------------- */

typedef struct {
    mltfr_comm *comm;
    const mltfr_settings *set;
    const char *config;
    uint64_t digest;
    mltfr_saving saving;
    int64_t saving_best; /* the best step when it began */
    mltfr_room copy;
    int64_t count, bytes; /* written since this start; bytes of the newest */
    double waited;        /* seconds that training waited for them */
} mltfr_keeper;

/* Write one: all of it, or its first half with checkpoint.async.  @collective */
mltfr_status mltfr_keeper_save(mltfr_keeper *k, mltfr_engine *e, const mltfr_loop_state *loop);
/* Complete one whose arrays are written; to be called each step.  @collective */
mltfr_status mltfr_keeper_look(mltfr_keeper *k);
/* Complete what has begun.  @collective */
mltfr_status mltfr_keeper_wait(mltfr_keeper *k);
/* Say what checkpoints cost.  @local */
void mltfr_keeper_say(const mltfr_keeper *k);
/* Complete what has begun, after a failure too; free.  @collective */
void mltfr_keeper_end(mltfr_keeper *k);

#endif
