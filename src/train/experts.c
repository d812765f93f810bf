/* The experts' side of a step: routed rows come in, mixtures go back, gradients come in.
 *
 *      users                                             experts (sharers of LLM k)
 *      q of block b routed to k   -- forward exchange -> filter over k's pool (E12)
 *      y                          <- reverse exchange --
 *      w dh'                      -- forward exchange -> E13; dKt, dVt summed over routed blocks
 *      dq (query not detached)    <- reverse exchange --
 *
 * A routed block (k, b) holds the rows of user block b that go to expert k; which sharer computes
 * it depends on (k, b) and the number of ranks, its shape does not.
 *
 * All but dq travels in the background: q and y while the consensus's filter runs on the users'
 * side, w dh' while the backbone goes back (where the query is detached). */
#include "engine.h"

#include <mltfr/linalg.h>
#include <mltfr/rng.h>

#include <math.h>
#include <string.h>

/* ---- weights ------------------------------------------------------------------------------- */

void mltfr_experts_project(mltfr_engine *e)
{
    for (int64_t k = 0; k < mltfr_space_count(e); k++)
        e->space[k].stale = true;
}

/* Only a rank that has rows of an expert needs its keys and values. */
static void project(const mltfr_engine *e, mltfr_token_space *s)
{
    const int64_t d = e->spec.backbone.d;

    mltfr_gemm_nt(s->M, d, s->width, s->Zh_pool, s->width, s->wq, s->width, 0.f, s->Kt, d);
    mltfr_gemm_nn(s->M, d, s->width, s->Z_pool, s->width, s->wv, d, 0.f, s->Vt, d);
    s->stale = false;
}

void mltfr_experts_share(mltfr_engine *e)
{
    for (int64_t k = 0; k < e->K; k++)
        if (e->space[k].group != NULL)
            mltfr_comm_bcast(e->space[k].group, e->params->expert[k].w,
                             e->params->expert[k].n * (int64_t)sizeof(float), e->space[k].root);
}

mltfr_filter mltfr_expert_filter(const mltfr_engine *e, int64_t k, bool train)
{
    mltfr_token_space *s = &e->space[k];
    const uint64_t key =
        mltfr_rng_key((uint64_t)e->set->train_seed, MLTFR_RNG_FILTER_DROPOUT, (uint64_t)e->at.step);

    if (s->stale)
        project(e, s);
    return (mltfr_filter){.d = e->spec.backbone.d,
                          .M = s->M,
                          .m = e->m,
                          .Kt = s->Kt,
                          .Vt = s->Vt,
                          .tau = expf(*s->log_tau),
                          .dropout = train ? (float)e->set->filter_dropout : 0.f,
                          .key = mltfr_mix64(key + (uint64_t)k)};
}

/* Do the values have a gradient? */
static bool has_values(const mltfr_engine *e, int64_t k)
{
    return k < e->K || e->spec.train_consensus_wv;
}

int64_t mltfr_filter_width(const mltfr_engine *e, int64_t k)
{
    return (has_values(e, k) ? 2 : 1) * e->space[k].M * e->spec.backbone.d + 1;
}

/* ---- routes -------------------------------------------------------------------------------- */

static bool is_sent(const mltfr_engine *e, const mltfr_run *run, int64_t query, int64_t k)
{
    const int64_t at = query * e->K + k;

    return run->routes.selected[at] && !run->routes.dropped[at];
}

/* Who computes what of this batch, from the rows of all (block, expert). */
static void place_routes(mltfr_engine *e, mltfr_run *run)
{
    double load[e->size], most = 0., all = 0.;

    mltfr_hold_routed(e, run->batch->blocks, run->routed.count, run->routed.first, load);
    for (int p = 0; run->train && p < e->size; p++) {
        most = load[p] > most ? load[p] : most;
        all += load[p];
    }
    e->balance.most += most;
    e->balance.mean += all / e->size;
}

/* The first block of expert k that rank p computes. */
static int64_t first_block(const mltfr_engine *e, const mltfr_run *run, int64_t k, int p)
{
    return run->routed.first[k * (e->size + 1) + p];
}

/* Rows of every (block, expert), sent and selected, on every rank. */
static mltfr_status count_routes(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_routed *r = &run->routed;
    const int64_t blocks = run->batch->blocks, K = e->K, own = run->last - run->first;
    int32_t *mine = NULL;

    st = RUN_TAKE(run, r->count, blocks * K);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, r->load, K);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, r->first, K * (e->size + 1));
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, mine, own * K);
    MLTFR_AGREE(e->comm, st);
    memset(mine, 0, (size_t)(own * K) * sizeof *mine);
    memset(r->load, 0, (size_t)K * sizeof *r->load);
    for (int64_t b = run->first; b < run->last; b++)
        for (int64_t i = run->q_off[b] - run->q0; i < run->q_off[b + 1] - run->q0; i++)
            for (int64_t k = 0; k < K; k++) {
                mine[(b - run->first) * K + k] += is_sent(e, run, i, k);
                r->load[k] += run->routes.selected[i * K + k];
            }
    mltfr_comm_allgather_shares(e->comm, mine, blocks, K * (int64_t)sizeof *mine, r->count);
    mltfr_comm_sum_i64(e->comm, r->load, K);
    place_routes(e, run);
done:
    return st;
}

/* The sender's order: receiver, expert, block, row. */
static int64_t list_sent(mltfr_engine *e, mltfr_run *run, int64_t counts[])
{
    mltfr_routed *r = &run->routed;
    const int64_t K = e->K;
    int64_t n = 0;

    for (int p = 0; p < e->size; p++) {
        const int64_t before = n;
        for (int64_t k = 0; k < K; k++) {
            int64_t from = first_block(e, run, k, p);
            int64_t to = first_block(e, run, k, p + 1);
            for (int64_t b = from > run->first ? from : run->first; b < to && b < run->last; b++) {
                r->send_at[(b - run->first) * K + k] = n;
                for (int64_t i = run->q_off[b] - run->q0; i < run->q_off[b + 1] - run->q0; i++)
                    if (is_sent(e, run, i, k))
                        r->row[n++] = (int32_t)i;
            }
        }
        counts[p] = n - before;
    }
    return n;
}

/* The receiver sees each sender's rows in the same order. */
static void list_received(mltfr_engine *e, mltfr_run *run)
{
    mltfr_routed *r = &run->routed;
    const int64_t blocks = run->batch->blocks, K = e->K;
    int64_t n = 0;

    for (int64_t i = 0; i < K * blocks; i++)
        r->recv_at[i] = -1;
    for (int p = 0; p < e->size; p++)
        for (int64_t k = 0; k < K; k++) {
            int64_t from = first_block(e, run, k, e->rank);
            int64_t to = first_block(e, run, k, e->rank + 1);
            int64_t b = mltfr_share_first(blocks, e->size, p);
            for (b = b > from ? b : from; b < to && b < mltfr_share_first(blocks, e->size, p + 1);
                 b++) {
                r->recv_at[k * blocks + b] = n;
                n += r->count[b * K + k];
            }
        }
    r->received = n;
}

static mltfr_status take_receiver_rooms(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_routed *r = &run->routed;
    const int64_t d = e->spec.backbone.d, n = r->received;

    MLTFR_TRY(RUN_TAKE(run, r->q, n * d));
    MLTFR_TRY(RUN_TAKE(run, r->y, n * d));
    MLTFR_TRY(RUN_TAKE(run, r->number, n));
    MLTFR_TRY(RUN_TAKE(run, r->J, n * e->m));
    MLTFR_TRY(RUN_TAKE(run, r->s, n * e->m));
    MLTFR_TRY(RUN_TAKE(run, r->a, n * e->m));
done:
    return st;
}

static mltfr_status send_queries(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_routed *r = &run->routed;
    const int64_t d = e->spec.backbone.d, n = mltfr_exchange_sent(r->plan);
    float *q = NULL;
    int64_t *number = NULL;

    st = take_receiver_rooms(e, run);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, q, n * d);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, number, n);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, r->y_back, n * d);
    MLTFR_AGREE(e->comm, st);
    for (int64_t i = 0; i < n; i++) {
        memcpy(q + i * d, run->q + r->row[i] * d, (size_t)d * sizeof *q);
        number[i] = run->q0 + r->row[i];
    }
    mltfr_exchange_begin_forward(r->plan, d * (int64_t)sizeof(float), q, r->q);
    mltfr_exchange_begin_forward(r->plan, sizeof *number, number, r->number);
done:
    return st;
}

mltfr_status mltfr_experts_route(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_routed *r = &run->routed;
    const int64_t K = e->K;
    int64_t counts[e->size], from[e->size];

    MLTFR_TRY(count_routes(e, run));
    st = RUN_TAKE(run, r->row, run->queries * e->k_r);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, r->send_at, (run->last - run->first) * K);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, r->recv_at, K * run->batch->blocks);
    MLTFR_AGREE(e->comm, st);
    list_sent(e, run, counts);
    list_received(e, run);
    for (int p = 0; p < e->size; p++) {
        from[p] = 0;
        for (int64_t b = mltfr_share_first(run->batch->blocks, e->size, p);
             b < mltfr_share_first(run->batch->blocks, e->size, p + 1); b++)
            for (int64_t k = 0; k < K; k++)
                if (r->recv_at[k * run->batch->blocks + b] >= 0)
                    from[p] += r->count[b * K + k];
    }
    mltfr_exchange_destroy(&r->plan);
    MLTFR_AGREE(e->comm, mltfr_exchange_create_known(e->comm, counts, from, &r->plan));
    MLTFR_TRY(send_queries(e, run));
done:
    return st;
}

/* ---- forward and backward ------------------------------------------------------------------ */

mltfr_status mltfr_experts_forward(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_routed *r = &run->routed;
    const int64_t d = e->spec.backbone.d, blocks = run->batch->blocks;

    mltfr_exchange_end(r->plan);
    const double begin = mltfr_seconds();

    for (int64_t k = 0; k < e->K; k++) {
        if (first_block(e, run, k, e->rank) == first_block(e, run, k, e->rank + 1))
            continue;
        const mltfr_filter f = mltfr_expert_filter(e, k, run->train);
        float *scratch = NULL;
        MLTFR_TRY(MLTFR_TAKE(&run->rooms[ROOM_FILTER], scratch, mltfr_filter_scratch(&f)));
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t at = r->recv_at[k * blocks + b];
            if (at >= 0)
                mltfr_filter_forward(&f, r->count[b * e->K + k], r->q + at * d, r->number + at,
                                     scratch, r->J + at * e->m, r->s + at * e->m, r->a + at * e->m,
                                     r->y + at * d);
        }
    }
done:
    e->balance.seconds += run->train ? mltfr_seconds() - begin : 0.;
    st = mltfr_comm_agree(e->comm, st);
    if (st == MLTFR_OK)
        mltfr_exchange_begin_reverse(r->plan, d * (int64_t)sizeof(float), r->y, r->y_back);
    return st;
}

mltfr_status mltfr_filter_nodes(mltfr_engine *e, mltfr_run *run, int64_t k, int64_t first,
                                const mltfr_filter_rows *rows, float *dq, float *nodes)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_filter f = mltfr_expert_filter(e, k, run->train);
    mltfr_span spans[MLTFR_TREE_SPANS];
    const int count = mltfr_tree_cover(run->batch->blocks, first, first + rows->blocks, spans);
    int64_t n = 0, *scratch = NULL;

    for (int64_t b = 0; b < rows->blocks; b++)
        n += rows->count[b];
    MLTFR_TRY(MLTFR_TAKE(&run->rooms[ROOM_FILTER], scratch,
                         mltfr_filter_backward_scratch(&f, rows->blocks, n)));
    mltfr_filter_backward(&f, rows, scratch, dq);
    for (int i = 0; i < count; i++)
        mltfr_filter_sum(&f, rows, scratch, (mltfr_span){spans[i].lo - first, spans[i].hi - first},
                         has_values(e, k), nodes + i * mltfr_filter_width(e, k));
done:
    return st;
}

/* The routed blocks of expert k that are computed here. */
static mltfr_status backward_blocks(mltfr_engine *e, mltfr_run *run, int64_t k, float *nodes)
{
    mltfr_routed *r = &run->routed;
    const int64_t first = first_block(e, run, k, e->rank),
                  last = first_block(e, run, k, e->rank + 1);
    int64_t count[last - first + 1];

    if (first == last)
        return MLTFR_OK;
    for (int64_t b = first; b < last; b++)
        count[b - first] = r->count[b * e->K + k];
    const mltfr_filter_rows rows = {.blocks = last - first,
                                    .at = r->recv_at + k * run->batch->blocks + first,
                                    .count = count,
                                    .q = r->q,
                                    .dy = r->dy,
                                    .number = r->number,
                                    .J = r->J,
                                    .s = r->s,
                                    .a = r->a};

    return mltfr_filter_nodes(e, run, k, first, &rows, r->dq, nodes);
}

/* What an expert's gradients need here: nodes of the own blocks, and the sum where it is owned. */
typedef struct {
    float *nodes, *total;
} expert_sums;

static mltfr_status take_sums(mltfr_engine *e, mltfr_run *run, expert_sums sums[])
{
    mltfr_status st = MLTFR_OK;
    int64_t at[e->K + 1], owned = 0;
    float *nodes = NULL, *total = NULL;

    at[0] = 0;
    for (int64_t k = 0; k < e->K; k++) {
        const int64_t first = first_block(e, run, k, e->rank);
        const int64_t last = first_block(e, run, k, e->rank + 1);
        const int count = mltfr_tree_cover(run->batch->blocks, first, last, NULL);

        at[k + 1] = at[k] + count * mltfr_filter_width(e, k);
        owned += e->rank == e->space[k].owner ? mltfr_filter_width(e, k) : 0;
    }
    MLTFR_TRY(MLTFR_TAKE(&run->rooms[ROOM_NODES], nodes, at[e->K]));
    MLTFR_TRY(MLTFR_TAKE(&run->rooms[ROOM_TOTAL], total, owned));
    for (int64_t k = 0; k < e->K; k++) {
        sums[k] = (expert_sums){nodes + at[k], total};
        total += e->rank == e->space[k].owner ? mltfr_filter_width(e, k) : 0;
    }
done:
    return st;
}

/* The owner turns the sum into gradients of the weights. */
static void weight_gradients(mltfr_engine *e, int64_t k, const float *sum)
{
    const mltfr_token_space *s = &e->space[k];
    const int64_t d = e->spec.backbone.d, Md = s->M * d;
    float *g = e->params->expert[k].g;

    mltfr_gemm_tn(d, s->width, s->M, sum, d, s->Zh_pool, s->width, 0.f, g, s->width);
    mltfr_gemm_tn(s->width, d, s->M, s->Z_pool, s->width, sum + Md, d, 0.f, g + d * s->width, d);
    g[2 * d * s->width] = sum[2 * Md];
}

/* Sums of expert k's nodes to its owner.  before: how this rank fared with the experts before k;
 * the others of this group must learn it here, or they would wait for a rank that has given up. */
static mltfr_status sum_expert(mltfr_engine *e, mltfr_run *run, int64_t k, const expert_sums *sums,
                               mltfr_status before)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_token_space *s = &e->space[k];
    const int64_t *first = run->routed.first + k * (e->size + 1) + s->first_rank;

    MLTFR_AGREE(s->group, before);
    MLTFR_TRY(mltfr_reduce_to(s->group, run->batch->blocks, first, mltfr_filter_width(e, k),
                              sums->nodes, s->root, sums->total));
done:
    return st;
}

mltfr_status mltfr_experts_send_dy(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_routed *r = &run->routed;
    const int64_t d = e->spec.backbone.d, bytes = d * (int64_t)sizeof(float);
    const bool attached = !e->set->filter_detach_query;

    r->dq = NULL;
    st = RUN_TAKE(run, r->dy, r->received * d);
    if (st == MLTFR_OK && attached)
        st = RUN_TAKE(run, r->dq, r->received * d);
    if (st == MLTFR_OK && attached)
        st = RUN_TAKE(run, r->dq_back, mltfr_exchange_sent(r->plan) * d);
    MLTFR_AGREE(e->comm, st);
    mltfr_exchange_begin_forward(r->plan, bytes, r->dy_out, r->dy);
done:
    return st;
}

/* Rows of all experts, then all sums, then all weights: nobody waits for a sharer in between. */
mltfr_status mltfr_experts_backward(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_routed *r = &run->routed;
    expert_sums sums[MLTFR_MAX_LLMS];
    double begin;

    mltfr_exchange_end(r->plan);
    begin = mltfr_seconds();
    st = take_sums(e, run, sums);
    for (int64_t k = 0; st == MLTFR_OK && k < e->K; k++)
        st = backward_blocks(e, run, k, sums[k].nodes);
    e->balance.seconds += mltfr_seconds() - begin;
    MLTFR_AGREE(e->comm, st);
    for (int64_t k = 0; k < e->K; k++)
        if (e->space[k].group != NULL)
            st = sum_expert(e, run, k, &sums[k], st);
    MLTFR_AGREE(e->comm, st);
    begin = mltfr_seconds();
    for (int64_t k = 0; k < e->K; k++)
        if (e->rank == e->space[k].owner)
            weight_gradients(e, k, sums[k].total);
    e->balance.seconds += mltfr_seconds() - begin;
    if (r->dq != NULL)
        mltfr_exchange_reverse(r->plan, e->spec.backbone.d * (int64_t)sizeof(float), r->dq,
                               r->dq_back);
done:
    return st;
}
