/* Requests to stop early with a checkpoint: the end of the job, run.stop_after, the file RUN/stop,
 * SIGUSR1, SIGTERM.  Each rank looks for itself before a step; what it finds travels with the
 * agreement on that step's batch.  Private to the layer train. */
#ifndef MLTFR_STOP_H
#define MLTFR_STOP_H

#include <mltfr/settings.h>
#include <mltfr/status.h>

#include <stdbool.h>

typedef struct {
    bool leads; /* rank 0: the clock and the file are its to watch */
    const char *run_dir;
    int64_t steps;     /* stop after so many steps of this start; 0: never */
    double end;        /* by mltfr_seconds(): all is over by then; INFINITY: never */
    double margin;     /* seconds kept free before it */
    const char *clock; /* who sets the end */
    double looked;     /* when mltfr_stop_look was last called */
    double slowest_step, slowest_save; /* seconds, so far */
} mltfr_stop;

/* Note the end of the job and run.stop_after, and catch the signals from now on.  @local
 *  leads: is this rank 0?
 *  @return MLTFR_E_USAGE where run.stop_after is neither steps nor a time */
mltfr_status mltfr_stop_begin(const mltfr_settings *set, bool leads, mltfr_stop *out);

/* Forget the signals so far.  They stay caught: a second one, while the program ends, does no harm.
 *  @local */
void mltfr_stop_end(void);

/* A checkpoint kept the run for `seconds`, and the slowest one took `slowest`.  @local */
void mltfr_stop_saved(mltfr_stop *stop, double seconds, double slowest);

/* Has this rank been asked to stop, or would one more step leave no time for a checkpoint?  The
 * file is removed.  @local
 *  steps: done since this start
 *  @return MLTFR_STOPPED, the reason being the error text; else MLTFR_OK */
mltfr_status mltfr_stop_look(mltfr_stop *stop, int64_t steps);

#endif
