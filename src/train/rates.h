/* How fast this machine does the parts of a step: the parameters of the model of step time
 * (docs/scaling.md).  Private to the layer train. */
#ifndef MLTFR_RATES_H
#define MLTFR_RATES_H

#include "session.h"
#include "timing.h"
#include "work.h"

/* All of one rank while it computes; the time inside MPI is left out. */
typedef struct {
    double backbone, loss, experts; /* FLOP a second */
    double adam;                    /* seconds a parameter */
    double rest;                    /* seconds a row of its users: all that is not above */
    double latency, bandwidth;      /* exchange: seconds a message, bytes a second */
} mltfr_rates;

/* Some steps that were done. */
typedef struct {
    int64_t steps;
    double seconds;                           /* of all of them, of the slowest rank */
    mltfr_work work;                          /* of all of them, on all ranks */
    double rows;                              /* of all of them */
    double busy[MLTFR_SPENT_COUNT], all_busy; /* seconds outside MPI, sums over ranks */
    double wall[MLTFR_SPENT_COUNT];           /* seconds of the slowest rank */
    double mpi;                               /* seconds inside MPI, of the slowest rank */
} mltfr_steps_done;

/* Train on, one step at least and until the seconds are over, after one that is not measured.
 * @collective */
mltfr_status mltfr_measure_steps(mltfr_session *s, double seconds, mltfr_steps_done *out);

/* The experts begin with the next step, as at the end of the warm-up.  @collective */
mltfr_status mltfr_start_experts(mltfr_session *s);

/* Latency and bandwidth; on one rank, which exchanges nothing, those of a usual network.
 * @collective */
mltfr_status mltfr_measure_network(mltfr_comm *comm, double seconds, mltfr_rates *rates);

/* The other rates from steps without experts (plain) and with them (mixed, NULL: none). */
void mltfr_rates_of(const mltfr_session *s, const mltfr_steps_done *plain,
                    const mltfr_steps_done *mixed, mltfr_rates *rates);

#endif
