/* Requests to stop early with a checkpoint: run.stop_after, the file RUN/stop, SIGUSR1, SIGTERM.
 * Private to the layer train. */
#ifndef MLTFR_STOP_H
#define MLTFR_STOP_H

#include <mltfr/comm.h>
#include <mltfr/settings.h>

typedef struct {
    mltfr_comm *comm;
    const char *run_dir;
    int64_t steps;         /* stop after so many steps of this start; 0: never */
    double begin, seconds; /* or so many seconds after begin; 0: never */
    const char *why;       /* NULL while nobody has asked */
} mltfr_stop;

/* Read run.stop_after and catch the signals from now on.  @local
 *  @return MLTFR_E_USAGE where run.stop_after is neither steps nor a time */
mltfr_status mltfr_stop_begin(mltfr_comm *comm, const mltfr_settings *set, mltfr_stop *out);

/* The signals act as before again.  @local */
void mltfr_stop_end(void);

/* Has any rank been asked to stop?  One word of any of them is enough, time and the file are rank
 * 0's to see; the file is removed.  @collective
 *  steps: done since begin */
bool mltfr_stop_asked(mltfr_stop *stop, int64_t steps);

#endif
