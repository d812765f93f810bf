/** @file mltfr/trainer.h
 *  Train, evaluate, replay: what the verbs of those names do.  Layer: train. */
#ifndef MLTFR_TRAINER_H
#define MLTFR_TRAINER_H

#include <mltfr/evaluate.h>
#include <mltfr/spaces.h>
#include <mltfr/text.h>

typedef struct {
    const char *resume; /**< "auto", "no" or a checkpoint */
    const char *init;   /**< a checkpoint whose parameters a fresh start takes over, or NULL */
    const char *config; /**< the resolved configuration as text: goes into checkpoints */
} mltfr_train_options;

/** Train by the settings into settings->run_dir, which exists; prints the test line last.
 *  Token spaces: settings->tokens_path, or those inside an HDF5 data file.
 *  @collective{comm}
 *  @return MLTFR_STOPPED where it was asked to stop early and has a checkpoint; the same on every
 *  rank */
mltfr_status mltfr_train(mltfr_comm *comm, const mltfr_settings *settings,
                         const mltfr_train_options *options);

/** SIGUSR1 and SIGTERM ask for a stop from now on, not only within mltfr_train.  @local */
void mltfr_train_listen(void);

/** Path of the best checkpoint of a finished run, else of its newest one.  @collective{comm}
 *  @return MLTFR_E_DATA where there is none */
mltfr_status mltfr_run_checkpoint(mltfr_comm *comm, const char *run_dir, char *path, size_t bytes);

/** Say what training by the settings would take on other numbers of ranks: memory, who holds what,
 *  seconds; from the data and a short measurement.  Nothing is written.  @collective{comm}
 *  @param spaces  sizes of the token spaces (mltfr_spaces_imagine), or NULL: those of a file
 *  @param ranks   [count] numbers of ranks, 1 to 4096; a table where there are several */
mltfr_status mltfr_dry_run(mltfr_comm *comm, const mltfr_settings *settings,
                           const mltfr_spaces *spaces, int count, const int ranks[]);

/** Measure this machine and the parts of the program on it; a line each is printed.  A checkpoint
 * is written into settings->run_dir, which exists, and removed.  @collective{comm}
 *  @param quick  take a tenth of the time, or less: rough figures
 *  @param json   the same lines as one JSON object are appended (rank 0's are those to keep) */
mltfr_status mltfr_bench(mltfr_comm *comm, const mltfr_settings *settings, bool quick,
                         mltfr_text *json);

/** One step, or the conditioning, of a golden file: writes what its `expect` groups ask for.
 *  @collective{comm} */
mltfr_status mltfr_replay(mltfr_comm *comm, const char *in, const char *out);

#endif
