/* A run before it is one: who will hold what on any number of ranks, how much memory and time it
 * will take (docs/architecture.md, docs/scaling.md).  Private to the layer train. */
#ifndef MLTFR_PLAN_H
#define MLTFR_PLAN_H

#include "rates.h"

typedef struct {
    const mltfr_settings *set;
    mltfr_params_spec spec;
    const mltfr_interactions *data;
    int64_t space_rows[MLTFR_MAX_LLMS + 1];
    int64_t steps;      /* of an epoch */
    double epoch_rows;  /* positions of an epoch */
    mltfr_batch *batch; /* the largest of the first PLAN_BATCHES of epoch 1 */
    /* on so many ranks as mltfr_plan_place was last given */
    mltfr_engine outline;
    mltfr_token_space space[MLTFR_MAX_LLMS + 1];
    int32_t *routed;        /* [blocks][K] rows, as if all experts had the same load */
    int64_t *routed_first;  /* [K][ranks + 1] user blocks, placed as the first step places them */
    double fullest_experts; /* FLOP with experts of the busiest rank over the mean */
} mltfr_plan;

enum { PLAN_BATCHES = 32 };

/* From a session whose data, examples and spaces are there; its engine may not be.  The session
 * must outlive the plan.  @local */
mltfr_status mltfr_plan_create(const mltfr_session *s, mltfr_plan *out);
void mltfr_plan_destroy(mltfr_plan *plan);

/* Who holds what on `size` ranks, by the functions that place a run's. */
mltfr_status mltfr_plan_place(mltfr_plan *plan, int size);

/* What one of those ranks has in the plan's batch. */
typedef struct {
    mltfr_engine outline; /* ranges and shapes; its space is `space`, its run.batch the plan's */
    mltfr_token_space space[MLTFR_MAX_LLMS + 1];
    bool holds[MLTFR_MAX_LLMS + 1];
    double routed[MLTFR_MAX_LLMS];  /* rows it computes */
    double helpers[MLTFR_MAX_LLMS]; /* ranks besides the owner that compute rows */
    double
        parts[MLTFR_MAX_LLMS + 1]; /* nodes of the sums over their blocks, and the sum if owned */
    int64_t blocks, block_rows;    /* own user blocks; rows of the largest of all */
    double rows, pairs;            /* of own users */
    double distinct;               /* item ids in them */
    double sent, received;         /* routed rows */
    int spans, all_spans;          /* of the tree over item blocks, own and of all ranks */
} mltfr_plan_share;

mltfr_status mltfr_plan_share_of(const mltfr_plan *plan, int rank, mltfr_plan_share *out);

/* ---- memory.c ------------------------------------------------------------------------------ */
#define MLTFR_MEMORY_LIST(X)                                                                       \
    X(ITEMS, "items")                                                                              \
    X(PARAMS, "parameters") /* the rest of them */                                                 \
    X(TOKENS, "tokens")                                                                            \
    X(POOLS, "pools")                                                                              \
    X(ACTIVATIONS, "activations")                                                                  \
    X(ROWS, "rows")                                                                                \
    X(ROUTED, "routed rows")                                                                       \
    X(SUMS, "sums")                                                                                \
    X(LOSS, "loss")                                                                                \
    X(SCRATCH, "scratch")                                                                          \
    X(DATA, "data")
typedef enum {
#define X(name, text) MLTFR_MEMORY_##name,
    MLTFR_MEMORY_LIST(X)
#undef X
        MLTFR_MEMORY_COUNT
} mltfr_memory;

/* Bytes of one rank; the table of docs/architecture.md. */
void mltfr_memory_of(const mltfr_plan *plan, const mltfr_plan_share *x,
                     double bytes[MLTFR_MEMORY_COUNT]);

/* ---- predict.c ----------------------------------------------------------------------------- */
typedef struct {
    double backbone, loss, experts, optimise, rest, exchange; /* seconds of a step */
} mltfr_step_time;

/* One rank's part of a step, but for waiting. */
void mltfr_predict_rank(const mltfr_plan *plan, const mltfr_plan_share *x, const mltfr_rates *rates,
                        mltfr_step_time *out);

typedef struct {
    double bytes[MLTFR_MEMORY_COUNT]; /* of the rank that has most */
    double memory, step;              /* their sum; seconds of a step */
    mltfr_step_time part;             /* the most of any rank, part by part */
} mltfr_prediction;

/* On P ranks with a core each, which the plan is placed on. */
mltfr_status mltfr_predict(mltfr_plan *plan, const mltfr_rates *rates, int size,
                           mltfr_prediction *out);

#endif
