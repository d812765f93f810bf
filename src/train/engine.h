/* The distributed model: what each rank holds, and the workspace of one batch.  Private to the
 * layer train; docs/architecture.md draws the three slices.
 *
 *            rank 0                  rank 1                  rank 2
 *  users    [ user blocks 0 1 2 ]   [ 3 4 ]                 [ 5 6 7 ]
 *  experts  [ LLM A ]               [ LLM A | LLM B ]       [ LLM C ]
 *  items    [ item blocks 0..20 ]   [ 21..41 ]              [ 42..63 ]
 */
#ifndef MLTFR_ENGINE_H
#define MLTFR_ENGINE_H

#include <mltfr/consensus.h>
#include <mltfr/exchange.h>
#include <mltfr/filter.h>
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/params.h>
#include <mltfr/phases.h>
#include <mltfr/reduce.h>
#include <mltfr/router.h>
#include <mltfr/settings.h>
#include <mltfr/spaces.h>
#include <mltfr/watchdog.h>

enum { TOKEN_BLOCK = 1024, ITEM_BLOCKS = 64, QUERY_BLOCK = 256, RUN_ROOMS = 128 };

/* Rooms of a run that several experts use in turn; the others are taken one after another. */
enum { ROOM_FILTER, ROOM_NODES, ROOM_TOTAL, FIRST_FREE_ROOM };

/* One token space on the ranks that share it: LLM k, or the consensus space (k = K, all ranks). All
 * sharers have its pool and weights, so that any of them can compute routed rows; the owner has
 * Adam's state. */
typedef struct {
    int64_t k, width, rows, M;        /* width r or r_c; rows V' or A; M = min(pool, rows) */
    int first_rank, last_rank, owner; /* sharers, in the numbers of all ranks */
    int root;                         /* the owner's number among the sharers */
    int64_t *first;                   /* [size + 1] first token block of each rank */
    bool stale;                       /* Kt and Vt are to be projected anew */
    mltfr_comm *group;                /* of the sharers; NULL on other ranks */
    int64_t row_first, row_count;     /* own rows of Z: whole token blocks */
    float *Z, *key_scale;             /* [row_count][width], [row_count] 1 / |Z_v| */
    float *cbar;                      /* [row_count] votes (EMA) */
    int64_t pool_size, *pool;         /* ascending ids; 0 before the first choice */
    int64_t pool_new;                 /* members that the pool before did not have */
    float *Z_pool, *Zh_pool;          /* [M][width] */
    float *Kt, *Vt;                   /* [M][d] */
    float *wq, *wv, *log_tau;         /* views of the parameters (values) */
} mltfr_token_space;

/* Which part of the training goes on. */
typedef struct {
    int64_t step, epoch;  /* steps done; epoch being worked on, from 1 */
    int64_t expert_start; /* steps done when the experts started; -1 before */
    bool consensus_started;
    float *router_bias; /* [K] */
} mltfr_progress;

/* A global batch: packed sequences, cut into user blocks.  The same on every rank. */
typedef struct {
    int64_t users, rows, blocks;
    int64_t *block_user;      /* [blocks + 1] first user of each block */
    int32_t *off;             /* [users + 1] first row of each user */
    int32_t *items, *targets; /* [rows], ids from 1 */
    mltfr_room rooms[6];      /* of these, and of those who fill it */
} mltfr_batch;

/* Rows of E' that this rank's user blocks need, and the way back of their gradients.  A slot is a
 * position in ids. */
typedef struct {
    int64_t count;
    int32_t *ids;                /* [count] distinct, rising */
    int32_t *slot, *target_slot; /* [rows of this rank] */
    int64_t negatives;           /* of a user block (sampled) or of a row (bce); 0 otherwise */
    int32_t *negative_slot;      /* [negatives of all own blocks or rows] */
    float *target_grad;          /* [rows] dloss / dlogit of the target, local losses */
    float *negative_grad;        /* sampled: [own blocks][negatives][d] dE'; bce: [rows] dlogit */
    float *E;                    /* [count][d] */
    mltfr_exchange *plan;        /* ids go to their owners, rows come back */
    int32_t *asked;              /* [received] ids that others asked of this rank */
} mltfr_item_rows;

/* Routed rows: who computes which (expert, user block), and where its rows lie. */
typedef struct {
    int32_t *count;       /* [blocks][K] routed rows, global */
    int64_t *load;        /* [K] rows selected, before expert dropout, global */
    int64_t *first;       /* [K][size + 1] first user block that each rank computes */
    mltfr_exchange *plan; /* users -> experts */
    int32_t *row;         /* [sent] query number on this rank */
    int64_t *send_at;     /* [own blocks][K] first sent row of (block, k) */
    int64_t *recv_at;     /* [K][blocks] first received row; -1 where not computed here */
    int64_t received;
    float *q, *y, *dy, *dq;           /* expert's side: [received][d] */
    int64_t *number;                  /* [received] global query numbers */
    int32_t *J;                       /* [received][m] */
    float *s, *a;                     /* [received][m] */
    float *y_back, *dy_out, *dq_back; /* user's side: [sent][d] */
} mltfr_routed;

/* The workspace of one batch. */
typedef struct {
    const mltfr_batch *batch;
    bool train;          /* dropout acts */
    bool keeps;          /* activations are kept for backward */
    bool last_only;      /* only the last position of each user is a query (evaluation) */
    bool mixes;          /* the experts take part: H is h', else h */
    int64_t first, last; /* own user blocks */
    int64_t *q_off;      /* [blocks + 1] first query of each block, global */
    int64_t row0, rows;  /* own rows */
    int64_t q0, queries; /* own queries */
    mltfr_item_rows item;
    int64_t *kept_at; /* [own blocks + 1] floats into kept */
    float *kept, *scratch;
    float *h, *q, *delta;   /* own queries [queries][d] */
    mltfr_routes routes;    /* own queries */
    float *y_c, *s_c, *a_c; /* consensus: [queries][d], [queries][m] */
    int32_t *J_c;
    int64_t *number; /* own queries: global numbers */
    mltfr_routed routed;
    float *H;                    /* h' of all queries [Q][d] */
    float *dh;                   /* gradient of own h' [queries][d] */
    float *row_loss;             /* own queries */
    float *p_e2;                 /* own queries, on Fisher steps: sum_i p_i |E'_i|^2, then the trace
                                    of Cov(E') */
    double loss;                 /* mean over the batch */
    double gate;                 /* mean g_c over the batch; 0 without experts */
    mltfr_room rooms[RUN_ROOMS]; /* one for each array above, kept between batches */
    int next_room;
    /* kept as well */
    mltfr_treesum *sum;      /* one after the other */
    mltfr_gather *gather[2]; /* of the softmax's stages */
} mltfr_run;

/* Own rows of items with a gradient in this step: all, or those listed. */
typedef struct {
    bool all;
    int64_t count;
    int32_t *row; /* [count] distinct, rising; lies in room */
    mltfr_room room;
} mltfr_touched;

typedef enum {
#define X(name, text) MLTFR_SPENT_##name,
    MLTFR_PHASE_LIST(X)
#undef X
        MLTFR_SPENT_COUNT
} mltfr_spent;
extern const char *const mltfr_spent_names[MLTFR_SPENT_COUNT];

typedef struct mltfr_engine {
    double spent[MLTFR_SPENT_COUNT],
        wait[MLTFR_SPENT_COUNT]; /* seconds a phase; those inside MPI */
    int phases_open;
    mltfr_comm *comm;
    int rank, size;
    const mltfr_settings *set;
    char *const *item_ids;           /* [I] for checkpoints, borrowed; NULL: unknown */
    char *llm_names[MLTFR_MAX_LLMS]; /* [K], borrowed; NULL: unknown */
    mltfr_params_spec spec;
    mltfr_params *params;
    float rms_eps;
    /* items */
    int64_t item_block, item_blocks, first_block, last_block; /* rows of a block; own blocks */
    int64_t item_first, item_rows;
    float *E,
        *dE;    /* E' and its gradient, own rows [item_rows][d]; E is params' where not injected */
    float *X_I; /* [item_rows][r_c], item.inject: static */
    int32_t *J_I; /* [item_rows][m], item.inject: mixture; also s_I, a_I */
    float *s_I, *a_I;
    float *Vt_I;              /* [M][d] Z_pool W_I of the consensus pool */
    mltfr_room item_rooms[8]; /* of one item block's mixture (inject.c) */
    mltfr_touched touched;
    int64_t *frequency; /* sampled by frequency: cumulative training counts [I + 1], else NULL */
    /* experts */
    int64_t K, k_r, r, r_c, m; /* K = 0 without experts */
    mltfr_token_space *space;  /* [K + 1], or NULL; the last is the consensus's */
    double placed;             /* bytes of token rows: largest share of a rank over the mean */
    struct {                   /* since an epoch's begin */
        double most, mean;     /* FLOP with experts, of the busiest rank and a rank, as placed */
        double seconds;        /* of this rank with experts */
    } balance;
    mltfr_fisher *fisher, *fresh; /* fresh: of the present sample */
    double *phi;                  /* [K], of the last consensus */
    double residual;              /* of the last consensus solve */
    double grad_norm, clip_scale;
    bool pools_changed;                                  /* since the last step */
    double item_squares, expert_squares[MLTFR_MAX_LLMS]; /* of the gradient */
    mltfr_progress at;
    mltfr_run run;
} mltfr_engine;

/* ---- engine.c ------------------------------------------------------------------------------ */
/* Who holds what of a model on rank `rank` of `size`, without holding it: nothing is allocated. */
void mltfr_engine_outline(mltfr_engine *e, const mltfr_settings *set, const mltfr_params_spec *spec,
                          int rank, int size);
/* Parameters are zero; mltfr_params_init draws them. */
mltfr_status mltfr_engine_create(mltfr_comm *comm, const mltfr_settings *set,
                                 const mltfr_params_spec *spec, mltfr_engine **out);
mltfr_status mltfr_engine_load_spaces(mltfr_engine *e, mltfr_spaces *spaces);
void mltfr_engine_destroy(mltfr_engine **e);
/* Token spaces: of the K LLMs, and the consensus (C10: for K = 1 too). */
static inline int64_t mltfr_space_count(const mltfr_engine *e)
{
    return e->K > 0 ? e->K + 1 : 0;
}
static inline bool mltfr_experts_on(const mltfr_engine *e)
{
    return e->K > 0 && e->at.expert_start >= 0;
}
/* Rows of item block j: item_block, or fewer in the last one. */
static inline int64_t mltfr_item_block_rows(const mltfr_engine *e, int64_t j)
{
    const int64_t rest = e->spec.items - j * e->item_block;

    return rest < e->item_block ? rest : e->item_block;
}
/* First own row of item block j, one of this rank's. */
static inline int64_t mltfr_item_block_at(const mltfr_engine *e, int64_t j)
{
    return j * e->item_block - e->item_first;
}
/* Queries of user block b. */
static inline int64_t mltfr_block_queries(const mltfr_run *run, int64_t b)
{
    return run->q_off[b + 1] - run->q_off[b];
}
/* The time since `begin` was a phase's; mpi: mltfr_comm_seconds then.  Inside another phase it is
 * on the timeline only, and its time that other one's. */
void mltfr_engine_spent(mltfr_engine *e, mltfr_spent phase, double begin, double mpi);
/* MLTFR_TRY(call), its time added to a part of the step; needs e, st and the label `done`. */
#define MLTFR_TIMED(phase, call)                                                                   \
    do {                                                                                           \
        const double begin_ = mltfr_seconds(), mpi_ = mltfr_comm_seconds();                        \
        e->phases_open++;                                                                          \
        mltfr_watchdog_kick(mltfr_spent_names[MLTFR_SPENT_##phase]);                               \
        st = (call);                                                                               \
        mltfr_engine_spent(e, MLTFR_SPENT_##phase, begin_, mpi_);                                  \
        if (st != MLTFR_OK)                                                                        \
            goto done;                                                                             \
    } while (0)
/* The next room of the batch's workspace: rooms are told apart by the order of asking. */
static inline mltfr_room *mltfr_run_room(mltfr_run *run)
{
    if (run->next_room == RUN_ROOMS)
        mltfr_panic("a batch asks for more than %d rooms", RUN_ROOMS);
    return &run->rooms[run->next_room++];
}
#define RUN_TAKE(run, p, n) MLTFR_TAKE(mltfr_run_room(run), p, n)

/* ---- holders.c ----------------------------------------------------------------------------- */
/* Shapes and holders of all spaces, on any rank alike: but for the engine's own rows, which
 * mltfr_hold_rows sets.  e->space is there; rows: tokens of each.  Takes space[k].first. */
mltfr_status mltfr_hold_spaces(mltfr_engine *e, const int64_t rows[]);
void mltfr_hold_rows(const mltfr_engine *e, int64_t k);
/* First thing of n that world rank p owns, when the holders of tokens of space k split n things. */
int64_t mltfr_space_first(const mltfr_engine *e, int64_t k, int64_t n, int p);
/* Who computes the rows [blocks][K] that were routed: first [K][size + 1] user block of each rank,
 * and load [size], FLOP of each rank with experts. */
void mltfr_hold_routed(const mltfr_engine *e, int64_t blocks, const int32_t *rows, int64_t *first,
                       double load[]);

/* ---- batch.c ------------------------------------------------------------------------------- */
/* Sequences of the given lengths; items and targets are for the caller to fill. */
mltfr_status mltfr_batch_create(int64_t users, const int32_t lengths[], mltfr_batch **out);
/* The same in the memory of an earlier batch; *kept is NULL at first. */
mltfr_status mltfr_batch_take(int64_t users, const int32_t lengths[], mltfr_batch **kept);
void mltfr_batch_destroy(mltfr_batch **batch);

/* ---- items.c ------------------------------------------------------------------------------- */
/* Sort ids and drop repetitions; how many are left. */
int64_t mltfr_sort_distinct(int32_t *ids, int64_t n);
mltfr_status mltfr_items_fetch(mltfr_engine *e, mltfr_run *run); /* @collective */
/* Forget the gradient of the items: dE is zero again where it was touched. */
void mltfr_items_clear(mltfr_engine *e);
/* Gradient rows of one own block into the outbox, then all of them to their owners. */
mltfr_status mltfr_items_return(mltfr_engine *e, mltfr_run *run, const float *dx); /* @collective */

/* ---- inject.c ------------------------------------------------------------------------------ */
mltfr_status mltfr_inject_refresh(mltfr_engine *e);  /* X_I (C12), then E'; @collective */
mltfr_status mltfr_inject_apply(mltfr_engine *e);    /* E' on own rows; @collective */
mltfr_status mltfr_inject_backward(mltfr_engine *e); /* dE' to dE, dW_I, ...; @collective */

/* ---- experts.c ----------------------------------------------------------------------------- */
void mltfr_experts_project(mltfr_engine *e); /* Kt, Vt from the weights, when they are needed */
void mltfr_experts_share(mltfr_engine *e);   /* owner's weights to the sharers */
mltfr_filter mltfr_expert_filter(const mltfr_engine *e, int64_t k, bool train);
/* Floats of its gradients: [dKt | dVt | dlogtau]; the consensus has dVt with rule none only. */
int64_t mltfr_filter_width(const mltfr_engine *e, int64_t k);
/* E13 of filter k on the user blocks from `first` on.  nodes: sums of their maximal nodes, [count]
 * [width] */
mltfr_status mltfr_filter_nodes(mltfr_engine *e, mltfr_run *run, int64_t k, int64_t first,
                                const mltfr_filter_rows *rows, float *dq, float *nodes);
/* Each begins what the next one ends: rows travel while the caller computes and polls.
 * @collective, each of them */
mltfr_status mltfr_experts_route(mltfr_engine *e, mltfr_run *run);    /* plan and q */
mltfr_status mltfr_experts_forward(mltfr_engine *e, mltfr_run *run);  /* y back to the users */
mltfr_status mltfr_experts_send_dy(mltfr_engine *e, mltfr_run *run);  /* w dh' to the experts */
mltfr_status mltfr_experts_backward(mltfr_engine *e, mltfr_run *run); /* dW at the owner, dq back */

/* ---- mixture.c ----------------------------------------------------------------------------- */
mltfr_status mltfr_mixture_run(mltfr_engine *e, mltfr_run *run); /* q to h' */
/* dh' to dh and dense; where the query is detached, mltfr_experts_backward is still to come. */
mltfr_status mltfr_mixture_backward_run(mltfr_engine *e, mltfr_run *run);

/* ---- step.c -------------------------------------------------------------------------------- */
typedef enum {
    MLTFR_TRAIN,     /* all rows, with dropout; ready for backward */
    MLTFR_TRAIN_DRY, /* the same without dropout (replay) */
    MLTFR_RANK,      /* last rows */
    MLTFR_STATES,    /* h of all rows, without the experts */
    MLTFR_LAST_STATES
} mltfr_purpose;
/* Queries of the largest of the user blocks [first, last). */
int64_t mltfr_most_queries(const mltfr_run *run, int64_t first, int64_t last);
/* bytes[p] of the queries of each rank, `row` bytes a query. */
void mltfr_query_bytes(const mltfr_engine *e, int64_t row, int64_t bytes[]);
/* Sums over the batch: sum_block writes those of one user block, [width], its rows in order; blocks
 * are added in order, whoever has them.  total: [width].  @collective */
typedef void mltfr_block_sums(const mltfr_engine *e, const mltfr_run *run, int64_t b, double *out);
mltfr_status mltfr_sum_blocks(mltfr_engine *e, mltfr_run *run, int width,
                              mltfr_block_sums *sum_block, double *total);
/* Up to H: h' (or h) of all queries on every rank. */
mltfr_status mltfr_run_forward(mltfr_engine *e, const mltfr_batch *batch, mltfr_purpose purpose);
/* Loss and all gradients. */
mltfr_status mltfr_run_backward(mltfr_engine *e, bool fisher);

/* ---- loss.c, loss_local.c ------------------------------------------------------------------ */
mltfr_status mltfr_loss_softmax(mltfr_engine *e, mltfr_run *run, bool fisher);
/* Floats of an item in a softmax tile of so many rows.  @local */
int64_t mltfr_softmax_columns(int64_t rows);
mltfr_status mltfr_loss_local(mltfr_engine *e, mltfr_run *run);
/* How many negatives the own blocks (sampled) or rows (bce) have in all, and their item ids. */
int64_t mltfr_negatives_count(const mltfr_engine *e, const mltfr_run *run);
void mltfr_negatives_draw(const mltfr_engine *e, const mltfr_run *run, int32_t *ids);

/* ---- optimise.c ---------------------------------------------------------------------------- */
mltfr_status mltfr_optimise(mltfr_engine *e, double lr, double clip);
/* Are all tensors finite?  MLTFR_E_NUMERIC names one, with its rank.  @collective */
mltfr_status mltfr_check_finite(const mltfr_engine *e);

/* ---- fisher.c ------------------------------------------------------------------------------ */
mltfr_status mltfr_fisher_sample(mltfr_engine *e, mltfr_run *run, double rows_aimed_at);
mltfr_status mltfr_consensus_update(mltfr_engine *e, double *W_star);
void mltfr_consensus_pull_all(mltfr_engine *e, double lr);
/* |W_v,k - W_v,c| / |W_v,c| of the shared blocks, 0 while there is no consensus: [K].
 * @collective */
void mltfr_consensus_distances(mltfr_engine *e, double *out);

/* ---- diagnose.c ---------------------------------------------------------------------------- */
/* What the experts did in the last training step, whose run and batch are still there. */
typedef struct {
    double delta;                       /* |Delta| / |h|, root mean squares over the batch */
    double entropy[MLTFR_MAX_LLMS + 1]; /* [K + consensus] mean of the token weights', in log m */
    double grad_item, grad_backbone, grad_mixture, grad_expert[MLTFR_MAX_LLMS]; /* norms */
} mltfr_diagnosis;
mltfr_status mltfr_diagnose(mltfr_engine *e, mltfr_diagnosis *out); /* @collective */
/* Share of each pool that the one before did not have: [K + consensus].  @collective */
void mltfr_pools_new(mltfr_engine *e, double *out);

/* ---- refresh.c, calibrate.c ---------------------------------------------------------------- */
/* E11 for every space.  q: queries [n][d], the same on every rank; explore: order of exploration.
 */
typedef int64_t mltfr_explore_of(void *context, int64_t k, int64_t i);
mltfr_status mltfr_refresh_pools(mltfr_engine *e, int64_t n, const float *q,
                                 mltfr_explore_of *explore, void *context);
mltfr_status mltfr_pool_rows(mltfr_engine *e, int64_t k); /* gather Z_pool, Zh_pool */
/* C13 from all rows of q; writes log tau of every expert.  tau: [K + 1] out, may be NULL. */
mltfr_status mltfr_calibrate(mltfr_engine *e, int64_t n, const int64_t *blocks_at, int64_t blocks,
                             const float *q, double *tau);

#endif
