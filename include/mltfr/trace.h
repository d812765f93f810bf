/** @file mltfr/trace.h
 *  What this process did when, for a timeline.  Layer: base.  @local
 *
 *  Off until it is started; then the first MLTFR_TRACE_EVENTS are kept, 32 bytes each, and later
 *  ones counted. */
#ifndef MLTFR_TRACE_H
#define MLTFR_TRACE_H

#include <mltfr/status.h>

#include <stdbool.h>
#include <stdio.h>

enum { MLTFR_TRACE_EVENTS = 1 << 18 };

/** Is anything recorded? */
extern bool mltfr_trace_on;

/** Record from now on: this is the time 0.  @return MLTFR_E_NOMEM */
mltfr_status mltfr_trace_start(void);

/** Something that went on from `begin` to `end`, by mltfr_seconds; nothing while off.
 *  @param kind  "phase", "mpi", ...
 *  @param name  kept: a string constant; what follows a '(' is not shown */
void mltfr_trace_add(const char *kind, const char *name, double begin, double end);

/** The events as lines of Chrome's trace JSON, of a process with this number, each with a comma
 *  in front.  False where the file cannot be written. */
bool mltfr_trace_print(FILE *to, int process);

/** Forget the events and record no more. */
void mltfr_trace_stop(void);

#endif
