/* Where an epoch's time went: the line "kind":"time" of metrics.jsonl.  Private to train. */
#ifndef MLTFR_TIMING_H
#define MLTFR_TIMING_H

#include "engine.h"

#include <mltfr/text.h>

typedef struct {
    double peak;               /* GF/s of all ranks together, measured at the start */
    double begin, mpi, hidden; /* clocks when the epoch began */
    double flop;               /* of its steps, on all ranks */
    int64_t load[MLTFR_MAX_LLMS];
} mltfr_timing;

/* Measure the peak, in some 30 ms.  @collective */
mltfr_status mltfr_timing_create(mltfr_comm *comm, mltfr_timing *timing);
/* An epoch begins; a step of it is done.  @local */
void mltfr_timing_begin(mltfr_timing *timing, mltfr_engine *e);
void mltfr_timing_step(mltfr_timing *timing, const mltfr_engine *e);
/* The line (docs/formats.md).  @collective */
void mltfr_timing_text(const mltfr_timing *timing, const mltfr_engine *e, double seconds,
                       mltfr_text *out);

#endif
