/* run.trace: the timeline of all ranks in one file.  Private to the layer train. */
#ifndef MLTFR_TRACE_FILE_H
#define MLTFR_TRACE_FILE_H

#include <mltfr/comm.h>
#include <mltfr/settings.h>

/* Record from now on, where run.trace asks for it; times are from a common barrier.  @collective */
mltfr_status mltfr_trace_file_begin(mltfr_comm *comm, const mltfr_settings *set);

/* Write what was recorded, if anything; a run that has failed (st) writes none.  @collective
 *  @return st, or what went wrong here */
mltfr_status mltfr_trace_file_end(mltfr_comm *comm, const mltfr_settings *set, mltfr_status st);

#endif
