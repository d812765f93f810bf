/* Everything a verb needs to work with a model: data, token spaces, engine.  Private to train. */
#ifndef MLTFR_SESSION_H
#define MLTFR_SESSION_H

#include "checkpoint.h"
#include "evaluate_impl.h"

typedef struct {
    mltfr_comm *comm;
    const mltfr_settings *set;
    mltfr_interactions *data;
    mltfr_spaces *spaces; /* NULL without experts */
    mltfr_engine *engine;
    uint64_t digest; /* of data and spaces */
    /* training */
    mltfr_example *examples;
    int64_t count; /* of examples */
} mltfr_session;

/* Read the inputs and make the engine with its start values.  @collective */
mltfr_status mltfr_session_open(mltfr_comm *comm, const mltfr_settings *set, mltfr_session *out);
void mltfr_session_close(mltfr_session *s);

/* Data, examples and spaces alone: for a plan.  spaces: stand for those of a file, and are copied;
 * without data.path the planted example stands for data.  @collective */
mltfr_status mltfr_session_peek(mltfr_comm *comm, const mltfr_settings *set,
                                const mltfr_spaces *spaces, mltfr_session *out);

/* Sizes of a session that nothing is read for: planted sequences of 6 to 30 items, token spaces of
 * random numbers. */
typedef struct {
    int64_t users, items;
    int64_t llms, r_c, r_s, tokens, anchors; /* tokens of each LLM */
} mltfr_imagined;

/* For measurements.  @collective */
mltfr_status mltfr_session_imagine(mltfr_comm *comm, const mltfr_settings *set,
                                   const mltfr_imagined *sizes, mltfr_session *out);

/* Shapes of the model that data and spaces make.  @local */
mltfr_params_spec mltfr_session_spec(const mltfr_session *s);

/* Steps of an epoch; batch `i` of epoch `epoch`, in the memory of an earlier batch: *out is NULL at
 * first.  @local */
int64_t mltfr_session_steps(const mltfr_session *s);
mltfr_status mltfr_session_batch(const mltfr_session *s, int64_t epoch, int64_t i,
                                 mltfr_batch **out);

/* ---- schedule.c ---------------------------------------------------------------------------- */
/* Pools, tau and item mixtures for a new epoch, where they are due; starts the experts.
 * @collective */
mltfr_status mltfr_schedule_epoch(mltfr_session *s, int64_t epoch);
/* One optimiser step on a batch, number engine->at.step + 1, with all that is due in it.
 * @collective */
mltfr_status mltfr_schedule_step(mltfr_session *s, const mltfr_batch *batch);

#endif
