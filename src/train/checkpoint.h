/* What a checkpoint holds (docs/formats.md).  Private to the layer train.
 *
 *      /params/<name>, /adam/{m,v}/<name>      global arrays, layouts of the golden files
 *      /state/router_bias, /state/X_I, /state/space/<k>/{cbar,pool}, /state/fisher/...
 *      attributes of /: format, version, configuration, step, epoch, ...; behind it: the seal
 */
#ifndef MLTFR_CHECKPOINT_H
#define MLTFR_CHECKPOINT_H

#include "engine.h"

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

/* Seconds of the slowest write of this process so far, the same on every rank; 0 before the first.
 *  @local */
double mltfr_checkpoint_seconds(void);

/* Read into an engine whose spaces are loaded.  @collective
 *  digest: of the token spaces and data it must have been written with */
mltfr_status mltfr_checkpoint_read(mltfr_engine *e, mltfr_loop_state *loop, uint64_t digest,
                                   const char *path);

/* Is the file a whole and undamaged checkpoint?  @collective */
mltfr_status mltfr_checkpoint_check(mltfr_comm *comm, const char *path);

/* ---- checkpoint_dir.c: RUN/checkpoints ----------------------------------------------------- */

/* Path of the checkpoint of a step.  @local */
void mltfr_checkpoint_path(const char *run_dir, int64_t step, char *path, size_t bytes);

/* Path of the newest whole checkpoint, or an empty text; damaged ones are skipped with a warning.
 *  @collective */
mltfr_status mltfr_checkpoint_newest(mltfr_comm *comm, const char *run_dir, char *path,
                                     size_t bytes);

/* Remove all but the `keep` newest and the best.  Rank 0 acts.  @local */
void mltfr_checkpoint_prune(mltfr_comm *comm, const char *run_dir, int64_t keep, int64_t best_step);

/* Rename those of steps after `step`, so that they are not taken for this run's.  Rank 0 acts.
 *  @local */
void mltfr_checkpoint_set_aside(mltfr_comm *comm, const char *run_dir, int64_t step);

#endif
