/* The users' side of the mixture: query, router, consensus expert, h' = h + Delta (E14, E15), and
 * its backward.  The gradients of the router, the gate and the consensus's keys are summed over
 * user blocks canonically: a leaf is the dense slab from the end of the backbone; what the
 * consensus's filter adds comes as sums of nodes (experts.c). */
#include "engine.h"

#include <mltfr/linalg.h>
#include <mltfr/rng.h>

#include <string.h>

static mltfr_router router_of(const mltfr_engine *e, const mltfr_run *run)
{
    const mltfr_settings *set = e->set;

    return (mltfr_router){.d = e->spec.backbone.d,
                          .K = e->K,
                          .k_r = e->k_r,
                          .uniform = set->router_gates == MLTFR_ROUTER_GATES_UNIFORM,
                          .dropout = run->train ? (float)set->router_dropout : 0.f,
                          .key = mltfr_rng_key((uint64_t)set->train_seed, MLTFR_RNG_EXPERT_DROPOUT,
                                               (uint64_t)e->at.step),
                          .switch_weight = set->router_balance == MLTFR_ROUTER_BALANCE_SWITCH
                                               ? (float)set->router_balance_weight
                                               : 0.f,
                          .z_weight = (float)set->router_z_loss,
                          .total_rows = run->q_off[run->batch->blocks]};
}

/* The routes of the queries from `at` on. */
static mltfr_routes routes_at(const mltfr_engine *e, const mltfr_run *run, int64_t at)
{
    const mltfr_routes *r = &run->routes;
    const int64_t K = e->K;

    return (mltfr_routes){r->z + at * K,        r->p + at * K,       r->g + at * K,
                          r->selected + at * K, r->dropped + at * K, r->gate + at};
}

/* Own queries of user block b: first, and how many. */
static int64_t block_queries(const mltfr_run *run, int64_t b, int64_t *at)
{
    *at = run->q_off[b] - run->q0;
    return mltfr_block_queries(run, b);
}

static mltfr_status take_rooms(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = run->queries, K = e->K, d = e->spec.backbone.d;

    MLTFR_TRY(RUN_TAKE(run, run->q, n * d));
    MLTFR_TRY(RUN_TAKE(run, run->delta, n * d));
    MLTFR_TRY(RUN_TAKE(run, run->routes.z, n * K));
    MLTFR_TRY(RUN_TAKE(run, run->routes.p, n * K));
    MLTFR_TRY(RUN_TAKE(run, run->routes.g, n * K));
    MLTFR_TRY(RUN_TAKE(run, run->routes.selected, n * K));
    MLTFR_TRY(RUN_TAKE(run, run->routes.dropped, n * K));
    MLTFR_TRY(RUN_TAKE(run, run->routes.gate, n));
    MLTFR_TRY(RUN_TAKE(run, run->y_c, n * d));
    MLTFR_TRY(RUN_TAKE(run, run->J_c, n * e->m));
    MLTFR_TRY(RUN_TAKE(run, run->s_c, n * e->m));
    MLTFR_TRY(RUN_TAKE(run, run->a_c, n * e->m));
    MLTFR_TRY(RUN_TAKE(run, run->number, n));
    for (int64_t i = 0; i < n; i++)
        run->number[i] = run->q0 + i;
done:
    return st;
}

/* ---- forward ------------------------------------------------------------------------------- */

static void route_blocks(mltfr_engine *e, mltfr_run *run)
{
    const mltfr_router router = router_of(e, run);
    const int64_t d = router.d;
    int64_t at;

    for (int64_t b = run->first; b < run->last; b++) {
        const int64_t n = block_queries(run, b, &at);
        const mltfr_routes routes = routes_at(e, run, at);
        mltfr_rmsnorm_forward(n, d, e->rms_eps, run->h + at * d, run->q + at * d);
        mltfr_router_forward(&router, &e->params->router_w, e->at.router_bias, n, run->q + at * d,
                             run->q0 + at, &routes);
    }
}

/* The consensus's filter for the user blocks [first, last); routed rows travel meanwhile. */
static mltfr_status run_consensus(mltfr_engine *e, mltfr_run *run, int64_t first, int64_t last)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d, m = e->m;
    const mltfr_filter f = mltfr_expert_filter(e, e->K, run->train);
    int64_t at;
    float *scratch = NULL;

    MLTFR_TRY(MLTFR_TAKE(&run->rooms[ROOM_FILTER], scratch, mltfr_filter_scratch(&f)));
    for (int64_t b = first; b < last; b++) {
        const int64_t n = block_queries(run, b, &at);
        mltfr_filter_forward(&f, n, run->q + at * d, run->number + at, scratch, run->J_c + at * m,
                             run->s_c + at * m, run->a_c + at * m, run->y_c + at * d);
        mltfr_exchange_poll(run->routed.plan);
    }
done:
    return st;
}

/* y of all experts of one block, expanded to [K][n][d]; rows that were not sent stay as they are.
 */
static void expand_y(const mltfr_engine *e, const mltfr_run *run, int64_t b, int64_t n,
                     const float *compact, float *y, const float *view[])
{
    const mltfr_routed *r = &run->routed;
    const int64_t d = e->spec.backbone.d, at = run->q_off[b] - run->q0;

    for (int64_t k = 0; k < e->K; k++) {
        const int64_t from = r->send_at[(b - run->first) * e->K + k];
        float *out = y + k * n * d;
        view[k] = out;
        for (int64_t i = from; i < from + r->count[b * e->K + k]; i++)
            memcpy(out + (r->row[i] - at) * d, compact + i * d, (size_t)d * sizeof *out);
    }
}

static mltfr_status mix_blocks(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_router router = router_of(e, run);
    const int64_t d = router.d;
    const float *view[MLTFR_MAX_LLMS];
    float *y = NULL;
    int64_t at;

    MLTFR_TRY(RUN_TAKE(run, y, e->K * mltfr_most_queries(run, run->first, run->last) * d));
    for (int64_t b = run->first; b < run->last; b++) {
        const int64_t n = block_queries(run, b, &at);
        const mltfr_routes routes = routes_at(e, run, at);
        expand_y(e, run, b, n, run->routed.y_back, y, view);
        mltfr_mixture_forward(&router, n, &routes, view, run->y_c + at * d, run->delta + at * d);
    }
done:
    return st;
}

mltfr_status mltfr_mixture_run(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    const int64_t half = (run->first + run->last) / 2;

    MLTFR_AGREE(e->comm, take_rooms(e, run));
    route_blocks(e, run);
    MLTFR_TRY(mltfr_experts_route(e, run));
    MLTFR_AGREE(e->comm, run_consensus(e, run, run->first, half)); /* while q travels */
    MLTFR_TRY(mltfr_experts_forward(e, run));
    MLTFR_AGREE(e->comm, run_consensus(e, run, half, run->last)); /* while y travels */
    mltfr_exchange_end(run->routed.plan);
    MLTFR_AGREE(e->comm, mix_blocks(e, run));
done:
    return st;
}

/* ---- backward ------------------------------------------------------------------------------ */

typedef struct {
    int64_t split, own;      /* where the slab of a leaf begins; its width */
    float *y, *dy;           /* one block: [K][n][d] */
    float *dy_c, *dq, *dq_c; /* own queries; dq_c: NULL where the query is detached */
    float *load_share;       /* [K] */
} backward;

static mltfr_status backward_rooms(mltfr_engine *e, mltfr_run *run, backward *w)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d, n = mltfr_most_queries(run, run->first, run->last);

    w->split = mltfr_params_backbone_end(e->params);
    w->own = e->params->dense.n - w->split;
    MLTFR_TRY(mltfr_treesum_take(run->batch->blocks, run->first, run->last, w->own, &run->sum));
    MLTFR_TRY(RUN_TAKE(run, w->y, e->K * n * d));
    MLTFR_TRY(RUN_TAKE(run, w->dy, e->K * n * d));
    MLTFR_TRY(RUN_TAKE(run, w->dy_c, run->queries * d));
    MLTFR_TRY(RUN_TAKE(run, w->dq, run->queries * d));
    if (!e->set->filter_detach_query)
        MLTFR_TRY(RUN_TAKE(run, w->dq_c, run->queries * d));
    MLTFR_TRY(RUN_TAKE(run, w->load_share, e->K));
    MLTFR_TRY(RUN_TAKE(run, run->routed.dy_out, mltfr_exchange_sent(run->routed.plan) * d));
done:
    return st;
}

static void set_load_share(const mltfr_engine *e, const mltfr_run *run, float *share)
{
    int64_t all = 0;

    for (int64_t k = 0; k < e->K; k++)
        all += run->routed.load[k];
    for (int64_t k = 0; k < e->K; k++)
        share[k] = all > 0 ? (float)((double)run->routed.load[k] / (double)all) : 0.f;
}

/* w_k dh' of one block into the outbox of routed rows. */
static void pack_dy(const mltfr_engine *e, mltfr_run *run, int64_t b, int64_t n, const float *dy)
{
    mltfr_routed *r = &run->routed;
    const int64_t d = e->spec.backbone.d, at = run->q_off[b] - run->q0;

    for (int64_t k = 0; k < e->K; k++) {
        const int64_t from = r->send_at[(b - run->first) * e->K + k];
        for (int64_t i = from; i < from + r->count[b * e->K + k]; i++)
            memcpy(r->dy_out + i * d, dy + (k * n + r->row[i] - at) * d, (size_t)d * sizeof *dy);
    }
}

static void backward_block(mltfr_engine *e, mltfr_run *run, backward *w, int64_t b)
{
    const mltfr_router router = router_of(e, run);
    const int64_t d = router.d;
    int64_t at;
    const int64_t n = block_queries(run, b, &at);
    const mltfr_routes routes = routes_at(e, run, at);
    const float *view[MLTFR_MAX_LLMS];
    float *dview[MLTFR_MAX_LLMS], *leaf = mltfr_treesum_next(run->sum);
    mltfr_router_weights dw;

    for (int64_t k = 0; k < e->K; k++)
        dview[k] = w->dy + k * n * d;
    mltfr_params_view_router(e->params, leaf, w->split, &dw);
    expand_y(e, run, b, n, run->routed.y_back, w->y, view);
    mltfr_router_backward(&router, &e->params->router_w, n, run->q + at * d, &routes, view,
                          run->y_c + at * d, run->dh + at * d, w->load_share, dview,
                          w->dy_c + at * d, &dw, w->dq + at * d);
    pack_dy(e, run, b, n, w->dy);
    mltfr_treesum_push(run->sum);
}

/* Sum of the consensus's nodes; overwrites the zeros that the leaves have for it. */
static mltfr_status sum_consensus(mltfr_engine *e, mltfr_run *run, const float *nodes)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d;
    const int64_t width = mltfr_filter_width(e, e->K);
    const mltfr_token_space *s = &e->space[e->K];
    float *total = NULL, *g = e->params->dense.g;

    MLTFR_AGREE(e->comm, MLTFR_TAKE(&run->rooms[ROOM_TOTAL], total, width));
    MLTFR_TRY(mltfr_reduce_all(e->comm, run->batch->blocks, width, nodes, total));
    mltfr_gemm_tn(d, s->width, s->M, total, d, s->Zh_pool, s->width, 0.f,
                  g + mltfr_params_offset(e->params, "consensus.wq"), s->width);
    if (e->spec.train_consensus_wv)
        mltfr_gemm_tn(s->width, d, s->M, s->Z_pool, s->width, total + s->M * d, d, 0.f,
                      g + mltfr_params_offset(e->params, "consensus.wv"), d);
    g[mltfr_params_offset(e->params, "consensus.log_tau")] = total[width - 1];
done:
    return st;
}

/* The consensus's filter of all own blocks; dq where the query is attached. */
static mltfr_status consensus_backward(mltfr_engine *e, mltfr_run *run, const backward *w)
{
    mltfr_status st = MLTFR_OK;
    const int64_t blocks = run->last - run->first, d = e->spec.backbone.d;
    int64_t at[blocks + 1], count[blocks + 1];

    const int spans = mltfr_tree_cover(run->batch->blocks, run->first, run->last, NULL);
    float *nodes = NULL;

    for (int64_t b = 0; b < blocks; b++)
        count[b] = block_queries(run, run->first + b, &at[b]);
    const mltfr_filter_rows rows = {.blocks = blocks,
                                    .at = at,
                                    .count = count,
                                    .q = run->q,
                                    .dy = w->dy_c,
                                    .number = run->number,
                                    .J = run->J_c,
                                    .s = run->s_c,
                                    .a = run->a_c};

    st = MLTFR_TAKE(&run->rooms[ROOM_NODES], nodes, spans * mltfr_filter_width(e, e->K));
    if (st == MLTFR_OK)
        st = mltfr_filter_nodes(e, run, e->K, run->first, &rows, w->dq_c, nodes);
    MLTFR_AGREE(e->comm, st);
    MLTFR_TRY(sum_consensus(e, run, nodes));
    for (int64_t i = 0; w->dq_c != NULL && i < run->queries * d; i++)
        w->dq[i] += w->dq_c[i];
done:
    return st;
}

/* dq of the experts, in order of expert for each query. */
static void add_returned_dq(const mltfr_engine *e, const mltfr_run *run, float *dq)
{
    const mltfr_routed *r = &run->routed;
    const int64_t d = e->spec.backbone.d;

    for (int64_t b = run->first; b < run->last; b++)
        for (int64_t k = 0; k < e->K; k++) {
            const int64_t from = r->send_at[(b - run->first) * e->K + k];
            for (int64_t i = from; i < from + r->count[b * e->K + k]; i++)
                for (int64_t c = 0; c < d; c++)
                    dq[r->row[i] * d + c] += r->dq_back[i * d + c];
        }
}

mltfr_status mltfr_mixture_backward_run(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d;
    backward w = {0};

    MLTFR_AGREE(e->comm, backward_rooms(e, run, &w));
    set_load_share(e, run, w.load_share);
    for (int64_t b = run->first; b < run->last; b++)
        backward_block(e, run, &w, b);
    MLTFR_TRY(mltfr_experts_send_dy(e, run));
    MLTFR_TRY(mltfr_reduce_all(e->comm, run->batch->blocks, w.own,
                               mltfr_treesum_parts(run->sum, NULL), e->params->dense.g + w.split));
    MLTFR_TRY(consensus_backward(e, run, &w)); /* while w dh' travels */
    if (!e->set->filter_detach_query) {
        MLTFR_TRY(mltfr_experts_backward(e, run));
        add_returned_dq(e, run, w.dq);
    }
    for (int64_t b = run->first; b < run->last; b++) {
        int64_t at;
        const int64_t n = block_queries(run, b, &at);
        mltfr_rmsnorm_backward(n, d, e->rms_eps, run->h + at * d, w.dq + at * d, run->dh + at * d);
    }
done:
    return st;
}
