/* One batch forward and backward, slice by slice (docs/architecture.md, "Three slices"). */
#include "engine.h"

#include <string.h>

/* ---- forward ------------------------------------------------------------------------------- */

int64_t mltfr_most_queries(const mltfr_run *run, int64_t first, int64_t last)
{
    int64_t most = 0;

    for (int64_t b = first; b < last; b++)
        if (mltfr_block_queries(run, b) > most)
            most = mltfr_block_queries(run, b);
    return most;
}

static mltfr_status place_run(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_batch *b = run->batch;
    const int64_t d = e->spec.backbone.d;
    int64_t kept = 0, most = 0;

    run->first = mltfr_share_first(b->blocks, e->size, e->rank);
    run->last = mltfr_share_first(b->blocks, e->size, e->rank + 1);
    MLTFR_TRY(RUN_TAKE(run, run->q_off, b->blocks + 1));
    for (int64_t i = 0; i <= b->blocks; i++)
        run->q_off[i] = run->last_only ? b->block_user[i] : b->off[b->block_user[i]];
    run->row0 = b->off[b->block_user[run->first]];
    run->rows = b->off[b->block_user[run->last]] - run->row0;
    run->q0 = run->q_off[run->first];
    run->queries = run->q_off[run->last] - run->q0;
    MLTFR_TRY(RUN_TAKE(run, run->kept_at, run->last - run->first + 1));
    run->kept_at[0] = 0;
    for (int64_t i = run->first; i < run->last; i++) {
        const int64_t n = b->off[b->block_user[i + 1]] - b->off[b->block_user[i]];
        const int64_t floats = mltfr_backbone_kept(&e->spec.backbone, n);
        kept = run->keeps ? kept + floats : (floats > kept ? floats : kept);
        run->kept_at[i - run->first + 1] = run->keeps ? kept : 0; /* not kept: one after another */
        most = n > most ? n : most;
    }
    MLTFR_TRY(RUN_TAKE(run, run->kept, kept));
    MLTFR_TRY(RUN_TAKE(run, run->scratch, mltfr_backbone_scratch(&e->spec.backbone, most)));
    MLTFR_TRY(RUN_TAKE(run, run->h, run->queries * d));
    MLTFR_TRY(RUN_TAKE(run, run->H, run->q_off[b->blocks] * d));
done:
    return st;
}

/* User block b for the backbone; off: room for its offsets from 0. */
static mltfr_user_block user_block(const mltfr_engine *e, const mltfr_run *run, int64_t b,
                                   int32_t *off)
{
    const mltfr_batch *batch = run->batch;
    const int64_t first = batch->block_user[b], users = batch->block_user[b + 1] - first;

    for (int64_t u = 0; u <= users; u++)
        off[u] = batch->off[first + u] - batch->off[first];
    return (mltfr_user_block){.users = users,
                              .off = off,
                              .row0 = batch->off[first],
                              .seed = (uint64_t)e->set->train_seed,
                              .step = (uint64_t)e->at.step,
                              .train = run->train};
}

static void gather_inputs(const mltfr_engine *e, const mltfr_run *run, int64_t row, int64_t n,
                          float *x)
{
    const int64_t d = e->spec.backbone.d;

    for (int64_t i = 0; i < n; i++)
        memcpy(x + i * d, run->item.E + run->item.slot[row - run->row0 + i] * d,
               (size_t)d * sizeof *x);
}

static void keep_queries(const mltfr_engine *e, mltfr_run *run, int64_t b,
                         const mltfr_user_block *block, const float *h)
{
    const int64_t d = e->spec.backbone.d, n = block->off[block->users];
    float *out = run->h + (run->q_off[b] - run->q0) * d;

    if (!run->last_only) {
        memcpy(out, h, (size_t)(n * d) * sizeof *h);
        return;
    }
    for (int64_t u = 0; u < block->users; u++)
        memcpy(out + u * d, h + (block->off[u + 1] - 1) * d, (size_t)d * sizeof *h);
}

static mltfr_status backbone_forward(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d;
    float *x = NULL, *h = NULL;
    int32_t *off = NULL;

    MLTFR_TRY(RUN_TAKE(run, x, run->rows * d));
    MLTFR_TRY(RUN_TAKE(run, h, run->rows * d));
    MLTFR_TRY(RUN_TAKE(run, off, run->batch->users + 1));
    for (int64_t b = run->first; b < run->last; b++) {
        const mltfr_user_block block = user_block(e, run, b, off);
        gather_inputs(e, run, block.row0, block.off[block.users], x);
        mltfr_backbone_forward(&e->spec.backbone, &e->params->backbone_w, &block, x,
                               run->kept + run->kept_at[b - run->first], run->scratch, h);
        keep_queries(e, run, b, &block, h);
    }
done:
    return st;
}

void mltfr_query_bytes(const mltfr_engine *e, int64_t row, int64_t bytes[])
{
    const mltfr_run *run = &e->run;
    const int64_t blocks = run->batch->blocks;

    for (int p = 0; p < e->size; p++)
        bytes[p] = (run->q_off[mltfr_share_first(blocks, e->size, p + 1)] -
                    run->q_off[mltfr_share_first(blocks, e->size, p)]) *
                   row;
}

/* h' = h + Delta of the own queries to every rank. */
static mltfr_status gather_H(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d;
    int64_t bytes[e->size];
    float *mine = NULL;

    MLTFR_AGREE(e->comm, RUN_TAKE(run, mine, run->queries * d));
    for (int64_t i = 0; i < run->queries * d; i++)
        mine[i] = run->h[i] + (run->mixes ? run->delta[i] : 0.f);
    mltfr_query_bytes(e, d * (int64_t)sizeof *mine, bytes);
    mltfr_comm_allgatherv(e->comm, mine, bytes, run->H);
done:
    return st;
}

mltfr_status mltfr_run_forward(mltfr_engine *e, const mltfr_batch *batch, mltfr_purpose purpose)
{
    mltfr_status st = MLTFR_OK;
    mltfr_run *run = &e->run;

    run->batch = batch;
    run->train = purpose == MLTFR_TRAIN;
    run->keeps = purpose == MLTFR_TRAIN || purpose == MLTFR_TRAIN_DRY;
    run->last_only = purpose == MLTFR_RANK || purpose == MLTFR_LAST_STATES;
    run->mixes = mltfr_experts_on(e) && (run->keeps || purpose == MLTFR_RANK);
    run->next_room = FIRST_FREE_ROOM;
    MLTFR_AGREE(e->comm, place_run(e, run));
    MLTFR_TIMED(ITEMS, mltfr_items_fetch(e, run));
    MLTFR_TIMED(BACKBONE, mltfr_comm_agree(e->comm, backbone_forward(e, run)));
    if (run->mixes)
        MLTFR_TIMED(EXPERTS, mltfr_mixture_run(e, run));
    MLTFR_TIMED(GATHER, gather_H(e, run));
done:
    return st;
}

/* ---- backward ------------------------------------------------------------------------------ */

mltfr_status mltfr_sum_blocks(mltfr_engine *e, mltfr_run *run, int width,
                              mltfr_block_sums *sum_block, double *total)
{
    mltfr_status st = MLTFR_OK;
    const int64_t blocks = run->batch->blocks;
    double *mine = NULL, *all = NULL;

    st = RUN_TAKE(run, mine, (run->last - run->first) * width);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, all, blocks * width);
    MLTFR_AGREE(e->comm, st);
    for (int64_t b = run->first; b < run->last; b++)
        sum_block(e, run, b, mine + (b - run->first) * width);
    mltfr_comm_allgather_shares(e->comm, mine, blocks, width * (int64_t)sizeof *mine, all);
    memset(total, 0, (size_t)width * sizeof *total);
    for (int64_t i = 0; i < blocks * width; i++)
        total[i % width] += all[i];
done:
    return st;
}

enum { LOSS, GATE, SUMS };

static void sum_loss(const mltfr_engine *e, const mltfr_run *run, int64_t b, double *out)
{
    (void)e;
    out[LOSS] = out[GATE] = 0.;
    for (int64_t i = run->q_off[b] - run->q0; i < run->q_off[b + 1] - run->q0; i++) {
        out[LOSS] += run->row_loss[i];
        out[GATE] += run->mixes ? run->routes.gate[i] : 0.;
    }
}

static mltfr_status mean_loss(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    const double rows = (double)run->q_off[run->batch->blocks];
    double total[SUMS];

    MLTFR_TRY(mltfr_sum_blocks(e, run, SUMS, sum_loss, total));
    run->loss = total[LOSS] / rows;
    run->gate = total[GATE] / rows;
done:
    return st;
}

/* Backbone of the own blocks; its small gradients are summed canonically, dx goes to the items. */
static mltfr_status backbone_backward(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d, width = mltfr_params_backbone_end(e->params);
    int32_t *off = NULL;
    float *dx = NULL;

    st = RUN_TAKE(run, dx, run->rows * d);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, off, run->batch->users + 1);
    if (st == MLTFR_OK)
        st = mltfr_treesum_take(run->batch->blocks, run->first, run->last, width, &run->sum);
    MLTFR_AGREE(e->comm, st);
    for (int64_t b = run->first; b < run->last; b++) {
        const mltfr_user_block block = user_block(e, run, b, off);
        const int64_t at = (block.row0 - run->row0) * d;
        mltfr_backbone_weights dw;
        mltfr_params_view_backbone(e->params, mltfr_treesum_next(run->sum), 0, &dw);
        mltfr_backbone_backward(&e->spec.backbone, &e->params->backbone_w, &block,
                                run->kept + run->kept_at[b - run->first], run->scratch,
                                run->dh + at, &dw, dx + at);
        mltfr_treesum_push(run->sum);
        if (run->mixes)
            mltfr_exchange_poll(run->routed.plan);
    }
    MLTFR_TRY(mltfr_reduce_all(e->comm, run->batch->blocks, width,
                               mltfr_treesum_parts(run->sum, NULL), e->params->dense.g));
    MLTFR_TRY(mltfr_items_return(e, run, dx));
done:
    return st;
}

/* Trace of Cov_{i~p}(E'_i) of each own row: sum p |E'|^2 - |p E'|^2, with p E' = N dh' + E'_target
 * (E17). */
static void row_traces(const mltfr_engine *e, mltfr_run *run)
{
    const int64_t d = e->spec.backbone.d;
    const float rows = (float)run->q_off[run->batch->blocks];

    for (int64_t i = 0; i < run->queries; i++) {
        const float *target = run->item.E + run->item.target_slot[i] * d;
        float sum = 0.f;
        for (int64_t c = 0; c < d; c++) {
            const float mean = rows * run->dh[i * d + c] + target[c];
            sum += mean * mean;
        }
        run->p_e2[i] -= sum;
    }
}

static mltfr_status take_loss_rooms(mltfr_engine *e, mltfr_run *run)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(RUN_TAKE(run, run->dh, run->queries * e->spec.backbone.d));
    MLTFR_TRY(RUN_TAKE(run, run->row_loss, run->queries));
    MLTFR_TRY(RUN_TAKE(run, run->p_e2, run->queries));
done:
    return st;
}

mltfr_status mltfr_run_backward(mltfr_engine *e, bool fisher)
{
    mltfr_status st = MLTFR_OK;
    mltfr_run *run = &e->run;

    mltfr_items_clear(e);
    MLTFR_AGREE(e->comm, take_loss_rooms(e, run));
    if (e->set->train_loss == MLTFR_TRAIN_LOSS_SOFTMAX)
        MLTFR_TIMED(LOSS, mltfr_loss_softmax(e, run, fisher));
    else
        MLTFR_TIMED(LOSS, mltfr_loss_local(e, run));
    MLTFR_TIMED(LOSS, mean_loss(e, run));
    if (fisher && e->set->train_loss != MLTFR_TRAIN_LOSS_BCE)
        row_traces(e, run);
    if (run->mixes)
        MLTFR_TIMED(EXPERTS_BACK, mltfr_mixture_backward_run(e, run));
    MLTFR_TIMED(BACKBONE_BACK, backbone_backward(e, run));
    if (run->mixes && e->set->filter_detach_query) /* w dh' has travelled meanwhile */
        MLTFR_TIMED(EXPERTS_BACK, mltfr_experts_backward(e, run));
    MLTFR_TIMED(ITEMS, mltfr_inject_backward(e));
done:
    return st;
}
