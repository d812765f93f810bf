/* The files of a run directory, written by rank 0.  Private to the layer train. */
#ifndef MLTFR_RUN_FILES_H
#define MLTFR_RUN_FILES_H

#include "checkpoint.h"
#include "evaluate_impl.h"

#include <stdio.h>

typedef struct {
    mltfr_comm *comm;
    const char *dir;
    FILE *metrics; /* rank 0 */
    bool failed;   /* a line could not be written; said once */
} mltfr_run_files;

/* Write config.yaml; open metrics.jsonl, cut back to lines of `step` and before; make checkpoints/.
 * @collective */
mltfr_status mltfr_run_files_open(mltfr_comm *comm, const char *dir, const char *config,
                                  int64_t step, mltfr_run_files *out);
void mltfr_run_files_close(mltfr_run_files *files);

/* One line of metrics.jsonl: a JSON object.  @local */
void mltfr_run_files_line(mltfr_run_files *files, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The last line of train and evaluate: `test  ndcg@10=... hr@10=... users=N`.  @local */
void mltfr_run_files_say(const char *split, const mltfr_metrics *metrics);

typedef struct {
    const mltfr_loop_state *loop;
    const mltfr_metrics *valid, *test;
    double seconds;
    int ranks;
} mltfr_result;

/* Write result.json: a whole one says that the run has ended.  @collective */
mltfr_status mltfr_run_files_result(mltfr_run_files *files, const mltfr_result *result);

/* Has the run ended?  Then its test metrics, and the best checkpoint's path.  @collective */
bool mltfr_run_files_ended(mltfr_comm *comm, const char *dir, mltfr_metrics *test, char *best,
                           size_t bytes);

#endif
