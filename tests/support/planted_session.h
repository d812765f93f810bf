/* Training step by step, from inside the layer train. */
#ifndef MLTFR_TEST_PLANTED_SESSION_H
#define MLTFR_TEST_PLANTED_SESSION_H

#include "mpi_test.h"
#include "planted.h"
#include "session.h"

/* Go on for n steps as the training loop does; losses: [n], or NULL.  @collective */
static inline void planted_steps(mltfr_session *s, int64_t n, double *losses)
{
    const int64_t epoch_steps = mltfr_session_steps(s);

    for (int64_t i = 0; i < n; i++) {
        const int64_t done = s->engine->at.step, epoch = done / epoch_steps + 1;
        mltfr_batch *batch = NULL;

        if (done % epoch_steps == 0)
            MUST(mltfr_schedule_epoch(s, epoch));
        MUST(mltfr_session_batch(s, epoch, done % epoch_steps, &batch));
        MUST(mltfr_schedule_step(s, batch));
        if (losses != NULL)
            losses[i] = s->engine->run.loss;
        mltfr_batch_destroy(&batch);
    }
}

#endif
