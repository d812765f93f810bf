/* The full softmax over item ranges (E4).  Every rank has h' of all rows and its own item blocks;
 * user blocks go through a pipeline of two:
 *
 *      block b:    logits, (top, sum) of each tile    -> gathered while block b + 1 is computed
 *      block b:    p = e^(logit - lse), dh' and dE    <- once the log-sum-exp of b is known
 *
 * A tile is one user block against one item block.  (top, sum) pairs and dh' are combined in the
 * canonical tree over item blocks; dE' stays with its owner and adds up in the order of user
 * blocks. The N x I matrix never exists: two user blocks of logits do. */
#include "engine.h"

#include <mltfr/linalg.h>
#include <mltfr/softmax.h>

#include <math.h>
#include <string.h>

/* One user block on its way. */
typedef struct {
    float *tile;      /* [own columns][n]: tile j is [n][cols_j] */
    float *top, *sum; /* [own blocks][n] */
    float *target;    /* [n] logit of the target, where it lies in the own range */
    float *parts;     /* [own spans][2][n] (top, sum), sent */
    float *all;       /* [all spans][2][n], received */
    mltfr_gather *gather;
} stage;

typedef struct {
    mltfr_engine *e;
    mltfr_run *run;
    bool fisher;
    int64_t d, extra;  /* extra columns of a row's answer: 1 on Fisher steps */
    int64_t rows_most; /* rows of the largest user block */
    float inv_rows;    /* 1 / N */
    mltfr_span *spans; /* of all ranks, in order */
    int *held;         /* [size] spans of each rank */
    int span_first, span_own, span_count;
    float *e2;        /* [own rows] |E'_i|^2 */
    float *scale;     /* [rows_most] */
    float *work;      /* [2][own blocks][rows_most] */
    int64_t *sent_at; /* [blocks + 1] floats into out */
    float *out;       /* answers to the user blocks */
    stage stages[2];
} softmax;

/* ---- rooms --------------------------------------------------------------------------------- */

/* Floats that a rank with `spans` spans answers for a block of n rows. */
static int64_t answer_floats(const softmax *x, int64_t spans, int64_t n)
{
    return spans * n * (x->d + x->extra) + n;
}

static mltfr_status find_spans(softmax *x)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_engine *e = x->e;

    MLTFR_TRY(RUN_TAKE(x->run, x->spans, (int64_t)e->size * MLTFR_TREE_SPANS));
    MLTFR_TRY(RUN_TAKE(x->run, x->held, e->size));
    x->span_count = 0;
    for (int p = 0; p < e->size; p++) {
        if (p == e->rank)
            x->span_first = x->span_count;
        x->held[p] = mltfr_tree_cover(e->item_blocks, mltfr_share_first(e->item_blocks, e->size, p),
                                      mltfr_share_first(e->item_blocks, e->size, p + 1),
                                      x->spans + x->span_count);
        x->span_count += x->held[p];
    }
    x->span_own = x->held[e->rank];
done:
    return st;
}

static mltfr_status stage_rooms(softmax *x, stage *s)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_engine *e = x->e;
    const int64_t n = x->rows_most, own = e->last_block - e->first_block;

    MLTFR_TRY(RUN_TAKE(x->run, s->tile, n * e->item_rows));
    MLTFR_TRY(RUN_TAKE(x->run, s->top, n * own));
    MLTFR_TRY(RUN_TAKE(x->run, s->sum, n * own));
    MLTFR_TRY(RUN_TAKE(x->run, s->target, n));
    MLTFR_TRY(RUN_TAKE(x->run, s->parts, 2 * n * x->span_own));
    MLTFR_TRY(RUN_TAKE(x->run, s->all, 2 * n * x->span_count));
    MLTFR_TRY(mltfr_gather_create(e->comm, &s->gather));
done:
    return st;
}

static mltfr_status softmax_rooms(softmax *x)
{
    mltfr_status st = MLTFR_OK;
    mltfr_run *run = x->run;
    const int64_t blocks = run->batch->blocks;

    x->rows_most = mltfr_most_queries(run, 0, blocks);
    MLTFR_TRY(find_spans(x));
    MLTFR_TRY(RUN_TAKE(run, x->e2, x->e->item_rows));
    MLTFR_TRY(RUN_TAKE(run, x->scale, x->rows_most));
    MLTFR_TRY(RUN_TAKE(run, x->work, 2 * x->rows_most * (x->e->last_block - x->e->first_block)));
    MLTFR_TRY(RUN_TAKE(run, x->sent_at, blocks + 1));
    x->sent_at[0] = 0;
    for (int64_t b = 0; b < blocks; b++)
        x->sent_at[b + 1] =
            x->sent_at[b] + answer_floats(x, x->span_own, mltfr_block_queries(run, b));
    MLTFR_TRY(RUN_TAKE(run, x->out, x->sent_at[blocks]));
    MLTFR_TRY(stage_rooms(x, &x->stages[0]));
    MLTFR_TRY(stage_rooms(x, &x->stages[1]));
done:
    return st;
}

static void square_norms(softmax *x)
{
    for (int64_t i = 0; x->fisher && i < x->e->item_rows; i++) {
        const float *row = x->e->E + i * x->d;
        float sum = 0.f;
        for (int64_t c = 0; c < x->d; c++)
            sum += row[c] * row[c];
        x->e2[i] = sum;
    }
}

/* ---- forward ------------------------------------------------------------------------------- */

/* Combine the pairs of the blocks [lo, hi) into those of lo, in the order of the tree. */
static void merge_node(float *top, float *sum, int64_t n, int64_t lo, int64_t hi)
{
    const int64_t mid = lo + (hi - lo + 1) / 2;

    if (hi - lo <= 1)
        return;
    merge_node(top, sum, n, lo, mid);
    merge_node(top, sum, n, mid, hi);
    mltfr_lse_merge(n, top + lo * n, sum + lo * n, top + mid * n, sum + mid * n);
}

static void note_targets(const softmax *x, int64_t b, int64_t j, const float *tile, stage *s)
{
    const int32_t *targets = x->run->batch->targets + x->run->q_off[b];
    const int64_t cols = mltfr_item_block_rows(x->e, j), first = j * x->e->item_block;

    for (int64_t i = 0; i < mltfr_block_queries(x->run, b); i++) {
        const int64_t c = targets[i] - 1 - first;
        if (c >= 0 && c < cols)
            s->target[i] = tile[i * cols + c];
    }
}

/* The pairs of the own spans, each combined from its tiles. */
static void pack_spans(softmax *x, int64_t n, stage *s)
{
    const mltfr_engine *e = x->e;
    const int64_t own = e->last_block - e->first_block;
    float *top = x->work, *sum = x->work + n * own, *out = s->parts;

    memcpy(top, s->top, (size_t)(n * own) * sizeof *top);
    memcpy(sum, s->sum, (size_t)(n * own) * sizeof *sum);
    for (int i = 0; i < x->span_own; i++, out += 2 * n) {
        const mltfr_span *span = &x->spans[x->span_first + i];
        const int64_t lo = span->lo - e->first_block;
        merge_node(top, sum, n, lo, span->hi - e->first_block);
        memcpy(out, top + lo * n, (size_t)n * sizeof *out);
        memcpy(out + n, sum + lo * n, (size_t)n * sizeof *out);
    }
}

/* Logits and (top, sum) pairs of block b; the pairs of the own spans are sent off. */
static void forward_block(softmax *x, int64_t b, stage *s)
{
    const mltfr_engine *e = x->e;
    const int64_t n = mltfr_block_queries(x->run, b);
    const float *H = x->run->H + x->run->q_off[b] * x->d;
    float *tile = s->tile;
    int64_t bytes[e->size];

    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t cols = mltfr_item_block_rows(e, j), at = (j - e->first_block) * n;
        const float *E = e->E + mltfr_item_block_at(e, j) * x->d;
        mltfr_gemm_nt(n, cols, x->d, H, x->d, E, x->d, 0.f, tile, cols);
        note_targets(x, b, j, tile, s);
        mltfr_tile_exp(n, cols, tile, cols, s->top + at, s->sum + at);
        mltfr_gather_poll(x->stages[(b + 1) % 2].gather);
        tile += n * cols;
    }
    pack_spans(x, n, s);
    for (int p = 0; p < e->size; p++)
        bytes[p] = x->held[p] * 2 * n * (int64_t)sizeof(float);
    mltfr_gather_begin(s->gather, s->parts, bytes, s->all);
}

/* ---- backward ------------------------------------------------------------------------------ */

/* Finish the tree from everybody's spans, which come in order; the pair ends up in the part whose
 * number is returned. */
static int fold_node(const softmax *x, int64_t n, float *all, int64_t lo, int64_t hi, int *next)
{
    const int64_t mid = lo + (hi - lo + 1) / 2;

    if (x->spans[*next].lo == lo && x->spans[*next].hi == hi)
        return (*next)++;
    const int left = fold_node(x, n, all, lo, mid, next);
    const int right = fold_node(x, n, all, mid, hi, next);
    float *a = all + left * 2 * n, *b = all + right * 2 * n;

    mltfr_lse_merge(n, a, a + n, b, b + n);
    return left;
}

/* Loss of the rows whose target lies in the own range, 0 for the others. */
static void row_losses(const softmax *x, int64_t b, const stage *s, const float *top,
                       const float *sum, float *out)
{
    const int32_t *targets = x->run->batch->targets + x->run->q_off[b];
    const int64_t first = x->e->item_first, last = first + x->e->item_rows;

    for (int64_t i = 0; i < mltfr_block_queries(x->run, b); i++) {
        const bool mine = targets[i] > first && targets[i] <= last;
        out[i] = mine ? logf(sum[i]) + (top[i] - s->target[i]) : 0.f;
    }
}

/* p - [target], times 1 / N, from e^(logit - top of the tile). */
static void finish_tile(softmax *x, int64_t b, int64_t j, const stage *s, const float *top,
                        const float *sum, float *tile, float *p_e2)
{
    const int64_t n = mltfr_block_queries(x->run, b), cols = mltfr_item_block_rows(x->e, j);
    const int64_t first = j * x->e->item_block, at = (j - x->e->first_block) * n;
    const int32_t *targets = x->run->batch->targets + x->run->q_off[b];

    for (int64_t i = 0; i < n; i++)
        x->scale[i] = s->top[at + i] - top[i];
    mltfr_exp(n, x->scale, x->scale);
    for (int64_t i = 0; i < n; i++)
        x->scale[i] *= x->inv_rows / sum[i];
    mltfr_tile_scale(n, cols, tile, cols, x->scale);
    if (p_e2 != NULL)
        mltfr_gemm_nn(n, 1, cols, tile, cols, x->e2 + first - x->e->item_first, 1, 0.f, p_e2, 1);
    for (int64_t i = 0; i < n; i++) {
        const int64_t c = targets[i] - 1 - first;
        if (c >= 0 && c < cols)
            tile[i * cols + c] -= x->inv_rows;
    }
}

/* dh' (a part for each own span) and the row losses into the answer, dE' in place. */
static mltfr_status backward_block(softmax *x, int64_t b, stage *s)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = x->e;
    const int64_t n = mltfr_block_queries(x->run, b), d = x->d, width = n * (d + x->extra);
    const float *H = x->run->H + x->run->q_off[b] * d;
    float *tile = s->tile, *out = x->out + x->sent_at[b];
    mltfr_treesum *sum = NULL;
    int next = 0, parts;

    if (n == 0)
        return MLTFR_OK;
    const float *lse = s->all + 2 * n * fold_node(x, n, s->all, 0, e->item_blocks, &next);

    MLTFR_TRY(mltfr_treesum_create(e->item_blocks, e->first_block, e->last_block, width, &sum));
    for (int64_t j = e->first_block; j < e->last_block; j++) {
        const int64_t cols = mltfr_item_block_rows(e, j), at = mltfr_item_block_at(e, j) * d;
        float *leaf = mltfr_treesum_next(sum);
        finish_tile(x, b, j, s, lse, lse + n, tile, x->fisher ? leaf + n * d : NULL);
        mltfr_gemm_nn(n, d, cols, tile, cols, e->E + at, d, 0.f, leaf, d);
        mltfr_gemm_tn(cols, d, n, tile, cols, H, d, 1.f, e->dE + at, d);
        mltfr_treesum_push(sum);
        mltfr_gather_poll(x->stages[(b + 1) % 2].gather);
        tile += n * cols;
    }
    const float *values = mltfr_treesum_parts(sum, &parts);

    memcpy(out, values, (size_t)(parts * width) * sizeof *out);
    row_losses(x, b, s, lse, lse + n, out + parts * width);
done:
    mltfr_treesum_destroy(&sum);
    return st;
}

/* ---- back to the users --------------------------------------------------------------------- */

/* Finish dh', the row losses and sum p |E'|^2 of one own block from everybody's answers.
 *  at: [size] where each rank's answer for this block begins; moved on */
static void finish_block(softmax *x, int64_t b, const float *in, int64_t at[], float *parts,
                         float *sum)
{
    mltfr_run *run = x->run;
    const int64_t n = mltfr_block_queries(run, b), d = x->d, width = n * (d + x->extra);
    const int64_t own = run->q_off[b] - run->q0;
    float *loss = run->row_loss + own, *to = parts;

    memset(loss, 0, (size_t)n * sizeof *loss);
    for (int p = 0; p < x->e->size; p++) {
        const float *from = in + at[p];
        memcpy(to, from, (size_t)(x->held[p] * width) * sizeof *to);
        to += x->held[p] * width;
        from += x->held[p] * width;
        for (int64_t i = 0; i < n; i++)
            loss[i] += from[i];
        at[p] += answer_floats(x, x->held[p], n);
    }
    mltfr_tree_fold(x->e->item_blocks, x->spans, x->span_count, width, parts, sum);
    memcpy(run->dh + own * d, sum, (size_t)(n * d) * sizeof *sum);
    if (x->fisher)
        for (int64_t i = 0; i < n; i++)
            run->p_e2[own + i] = sum[n * d + i] / x->inv_rows;
}

static void answer_counts(const softmax *x, int64_t counts[], int64_t from[])
{
    const mltfr_run *run = x->run;
    const int64_t blocks = run->batch->blocks;

    for (int p = 0; p < x->e->size; p++) {
        counts[p] = x->sent_at[mltfr_share_first(blocks, x->e->size, p + 1)] -
                    x->sent_at[mltfr_share_first(blocks, x->e->size, p)];
        from[p] = 0;
        for (int64_t b = run->first; b < run->last; b++)
            from[p] += answer_floats(x, x->held[p], mltfr_block_queries(run, b));
    }
}

static mltfr_status return_answers(softmax *x)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = x->e;
    mltfr_run *run = x->run;
    const int64_t most = x->rows_most * (x->d + x->extra);
    int64_t counts[e->size], from[e->size], at[e->size], sum = 0;
    mltfr_exchange *plan = NULL;
    float *in = NULL, *parts = NULL, *total = NULL;

    answer_counts(x, counts, from);
    for (int p = 0; p < e->size; p++) {
        at[p] = sum;
        sum += from[p];
    }
    st = RUN_TAKE(run, in, sum);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, parts, most * x->span_count);
    if (st == MLTFR_OK)
        st = RUN_TAKE(run, total, most);
    if (st == MLTFR_OK)
        st = mltfr_exchange_create_known(e->comm, counts, from, &plan);
    MLTFR_AGREE(e->comm, st);
    mltfr_exchange_forward(plan, sizeof(float), x->out, in);
    for (int64_t b = run->first; b < run->last; b++)
        finish_block(x, b, in, at, parts, total);
done:
    mltfr_exchange_destroy(&plan);
    return st;
}

mltfr_status mltfr_loss_softmax(mltfr_engine *e, mltfr_run *run, bool fisher)
{
    mltfr_status st = MLTFR_OK;
    const int64_t blocks = run->batch->blocks;
    softmax x = {.e = e,
                 .run = run,
                 .fisher = fisher,
                 .d = e->spec.backbone.d,
                 .extra = fisher,
                 .inv_rows = 1.f / (float)run->q_off[blocks]};

    MLTFR_AGREE(e->comm, softmax_rooms(&x));
    e->touched.all = true;
    square_norms(&x);
    for (int64_t b = 0; b <= blocks; b++) {
        if (b < blocks)
            forward_block(&x, b, &x.stages[b % 2]);
        if (b == 0)
            continue;
        stage *s = &x.stages[(b - 1) % 2];

        mltfr_gather_end(s->gather); /* after a failure too: the others wait for it */
        if (st == MLTFR_OK)
            st = backward_block(&x, b - 1, s);
    }
    MLTFR_AGREE(e->comm, st);
    MLTFR_TRY(return_answers(&x));
done:
    mltfr_gather_destroy(&x.stages[0].gather);
    mltfr_gather_destroy(&x.stages[1].gather);
    return st;
}
