/* The full softmax over item ranges (E4).  Every rank has h' of all rows and its own item blocks;
 * user blocks go through a pipeline of two:
 *
 *      block b:    e = e^(logit - top), (top, sum)           -> gathered during the pass of b + 1
 *      block b:    dh' = scale (e^T E'), dE' = e (scale h')  <- once the log-sum-exp of b is known
 *
 * with scale = e^(top - lse) / N of each row: tiles are written once and never scaled, and the
 * targets' share of both gradients is a row each.  A tile is one user block, as columns, against at
 * most STRIP rows of an item block, so that it stays in the second cache; as soon as one has given
 * its gradients, block b + 2 is computed in its place.  (top, sum) pairs and dh' are combined in
 * the canonical tree over item blocks; dE' stays with its owner and adds up in the order of user
 * blocks.  The N x I matrix never exists: two user blocks of tiles do. */
#include "engine.h"

#include <mltfr/linalg.h>
#include <mltfr/softmax.h>

#include <math.h>
#include <string.h>

enum { STRIP = 256, LANES = 16 };

/* One user block on its way. */
typedef struct {
    float *tile;      /* [own items][ld] */
    float *top, *sum; /* [own blocks][strips][ld] of each tile */
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
    int64_t ld;        /* row length of tiles */
    int64_t strips;    /* of an item block */
    float inv_rows;    /* 1 / N */
    mltfr_span *spans; /* of all ranks, in order */
    int *held;         /* [size] spans of each rank */
    int span_first, span_own, span_count;
    float *e2;          /* [own rows] |E'_i|^2 */
    float *scale;       /* [rows_most] */
    float *H_turned;    /* [d][ld] of one user block */
    float *H_scaled;    /* [rows_most][d] */
    float *mix;         /* [rows_most][d + 1] of one tile */
    float *work;        /* [2][own blocks][ld] */
    mltfr_treesum *sum; /* of one user block */
    int64_t *sent_at;   /* [blocks + 1] floats into out */
    float *out;         /* answers to the user blocks */
    stage stages[2];
} softmax;

/* Columns of a tile that are computed: whole vectors. */
static int64_t tile_columns(const softmax *x, int64_t b)
{
    return (mltfr_block_queries(x->run, b) + LANES - 1) / LANES * LANES;
}

static int64_t strip_rows(const softmax *x, int64_t j, int64_t strip)
{
    const int64_t rest = mltfr_item_block_rows(x->e, j) - strip * STRIP;

    return rest < 0 ? 0 : rest < STRIP ? rest : STRIP;
}

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

static mltfr_status stage_rooms(softmax *x, int i)
{
    mltfr_status st = MLTFR_OK;
    stage *s = &x->stages[i];
    const mltfr_engine *e = x->e;
    const int64_t n = x->rows_most, own = (e->last_block - e->first_block) * x->strips;

    MLTFR_TRY(RUN_TAKE(x->run, s->tile, x->ld * e->item_rows));
    MLTFR_TRY(RUN_TAKE(x->run, s->top, x->ld * own));
    MLTFR_TRY(RUN_TAKE(x->run, s->sum, x->ld * own));
    MLTFR_TRY(RUN_TAKE(x->run, s->target, n));
    MLTFR_TRY(RUN_TAKE(x->run, s->parts, 2 * n * x->span_own));
    MLTFR_TRY(RUN_TAKE(x->run, s->all, 2 * n * x->span_count));
    if (x->run->gather[i] == NULL)
        MLTFR_TRY(mltfr_gather_create(e->comm, &x->run->gather[i]));
    s->gather = x->run->gather[i];
done:
    return st;
}

/* An odd number of vectors: the rows of a tile then do not meet in few sets of the cache. */
int64_t mltfr_softmax_columns(int64_t rows)
{
    return ((rows + LANES - 1) / LANES | 1) * LANES;
}

static mltfr_status softmax_rooms(softmax *x)
{
    mltfr_status st = MLTFR_OK;
    mltfr_run *run = x->run;
    const mltfr_engine *e = x->e;
    const int64_t blocks = run->batch->blocks, own = e->last_block - e->first_block;

    x->rows_most = mltfr_most_queries(run, 0, blocks);
    x->ld = mltfr_softmax_columns(x->rows_most);
    x->strips = (e->item_block + STRIP - 1) / STRIP;
    MLTFR_TRY(find_spans(x));
    MLTFR_TRY(RUN_TAKE(run, x->e2, e->item_rows));
    MLTFR_TRY(RUN_TAKE(run, x->scale, x->rows_most));
    MLTFR_TRY(RUN_TAKE(run, x->H_turned, x->d * x->ld));
    MLTFR_TRY(RUN_TAKE(run, x->H_scaled, x->rows_most * x->d));
    MLTFR_TRY(RUN_TAKE(run, x->mix, x->rows_most * (x->d + 1)));
    MLTFR_TRY(RUN_TAKE(run, x->work, 2 * x->ld * own));
    MLTFR_TRY(mltfr_treesum_take(e->item_blocks, e->first_block, e->last_block,
                                 x->rows_most * (x->d + x->extra), &run->sum));
    x->sum = run->sum;
    MLTFR_TRY(RUN_TAKE(run, x->sent_at, blocks + 1));
    x->sent_at[0] = 0;
    for (int64_t b = 0; b < blocks; b++)
        x->sent_at[b + 1] =
            x->sent_at[b] + answer_floats(x, x->span_own, mltfr_block_queries(run, b));
    MLTFR_TRY(RUN_TAKE(run, x->out, x->sent_at[blocks]));
    MLTFR_TRY(stage_rooms(x, 0));
    MLTFR_TRY(stage_rooms(x, 1));
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

/* tile: items from `first` on. */
static void note_targets(const softmax *x, int64_t b, int64_t first, int64_t rows, stage *s,
                         const float *tile)
{
    const int32_t *targets = x->run->batch->targets + x->run->q_off[b];

    for (int64_t i = 0; i < mltfr_block_queries(x->run, b); i++) {
        const int64_t c = targets[i] - 1 - first;
        if (c >= 0 && c < rows)
            s->target[i] = tile[c * x->ld + i];
    }
}

/* The pairs of the own spans, each combined from its blocks, those from their tiles. */
static void pack_spans(softmax *x, int64_t n, stage *s)
{
    const mltfr_engine *e = x->e;
    const int64_t own = e->last_block - e->first_block;
    float *top = x->work, *sum = x->work + n * own, *out = s->parts;

    for (int64_t j = 0; j < own; j++) {
        const float *t = s->top + j * x->strips * x->ld, *u = s->sum + j * x->strips * x->ld;
        memcpy(top + j * n, t, (size_t)n * sizeof *top);
        memcpy(sum + j * n, u, (size_t)n * sizeof *sum);
        for (int64_t i = 1; i < x->strips; i++)
            mltfr_lse_merge(n, top + j * n, sum + j * n, t + i * x->ld, u + i * x->ld);
    }
    for (int i = 0; i < x->span_own; i++, out += 2 * n) {
        const mltfr_span *span = &x->spans[x->span_first + i];
        const int64_t lo = span->lo - e->first_block;
        merge_node(top, sum, n, lo, span->hi - e->first_block);
        memcpy(out, top + lo * n, (size_t)n * sizeof *out);
        memcpy(out + n, sum + lo * n, (size_t)n * sizeof *out);
    }
}

/* h' of block b as [d][ld], the columns behind its rows zero. */
static void turn_H(const softmax *x, int64_t b)
{
    const float *H = x->run->H + x->run->q_off[b] * x->d;

    memset(x->H_turned, 0, (size_t)(x->d * x->ld) * sizeof *H);
    for (int64_t i = 0; i < mltfr_block_queries(x->run, b); i++)
        for (int64_t c = 0; c < x->d; c++)
            x->H_turned[c * x->ld + i] = H[i * x->d + c];
}

/* Tiles and (top, sum) pairs of item block j and user block b, which H_turned is of. */
static void forward_tiles(softmax *x, int64_t b, int64_t j, stage *s)
{
    const int64_t columns = tile_columns(x, b), d = x->d;
    const int64_t own = (j - x->e->first_block) * x->strips;

    for (int64_t i = 0; i < x->strips; i++) {
        const int64_t rows = strip_rows(x, j, i), at = mltfr_item_block_at(x->e, j) + i * STRIP;
        const int64_t pair = (own + i) * x->ld;
        float *tile = s->tile + at * x->ld;

        mltfr_gemm_nn(rows, columns, d, x->e->E + at * d, d, x->H_turned, x->ld, 0.f, tile, x->ld);
        note_targets(x, b, at + x->e->item_first, rows, s, tile);
        mltfr_tile_exp(rows, columns, tile, x->ld, s->top + pair, s->sum + pair);
    }
}

/* The pairs of the own spans of block b are sent off. */
static void send_pairs(softmax *x, int64_t b, stage *s)
{
    const int64_t n = mltfr_block_queries(x->run, b);
    int64_t bytes[x->e->size];

    pack_spans(x, n, s);
    for (int p = 0; p < x->e->size; p++)
        bytes[p] = x->held[p] * 2 * n * (int64_t)sizeof(float);
    mltfr_gather_begin(s->gather, s->parts, bytes, s->all);
}

static void forward_block(softmax *x, int64_t b)
{
    stage *s = &x->stages[b % 2];

    turn_H(x, b);
    for (int64_t j = x->e->first_block; j < x->e->last_block; j++) {
        forward_tiles(x, b, j, s);
        mltfr_gather_poll(x->stages[(b + 1) % 2].gather);
    }
    send_pairs(x, b, s);
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

/* p / N of a tile is its e times this, by row of the batch. */
static void set_scale(softmax *x, int64_t n, const float *tile_top, const float *top,
                      const float *sum)
{
    for (int64_t i = 0; i < n; i++)
        x->scale[i] = tile_top[i] - top[i];
    mltfr_exp(n, x->scale, x->scale);
    for (int64_t i = 0; i < n; i++)
        x->scale[i] *= x->inv_rows / sum[i];
}

/* The share of one tile, own items from `at` on, in dh' and dE', but for the targets.  dE' comes
 * first: it reads the tile in the order in which it may come from the third cache. */
static void backward_tile(softmax *x, int64_t b, int64_t at, int64_t rows, const float *tile,
                          float *leaf)
{
    const int64_t n = mltfr_block_queries(x->run, b), d = x->d;
    const float *H = x->run->H + x->run->q_off[b] * d;

    mltfr_scale_rows(n, d, x->scale, H, x->H_scaled);
    mltfr_gemm_nn(rows, d, n, tile, x->ld, x->H_scaled, d, 1.f, x->e->dE + at * d, d);
    mltfr_gemm_tn(n, d, rows, tile, x->ld, x->e->E + at * d, d, 0.f, x->mix, d);
    mltfr_add_scaled_rows(n, d, x->scale, x->mix, leaf);
    if (x->fisher) {
        mltfr_gemm_nn(1, n, rows, x->e2 + at, rows, tile, x->ld, 0.f, x->mix, n);
        mltfr_add_scaled_rows(n, 1, x->scale, x->mix, leaf + n * d);
    }
}

/* -1 / N at the targets. */
static void subtract_targets(softmax *x, int64_t b, int64_t j, float *leaf)
{
    const int32_t *targets = x->run->batch->targets + x->run->q_off[b];
    const int64_t n = mltfr_block_queries(x->run, b), d = x->d, first = j * x->e->item_block;
    const float *H = x->run->H + x->run->q_off[b] * d;

    for (int64_t i = 0; i < n; i++) {
        const int64_t c = targets[i] - 1 - first;
        if (c < 0 || c >= mltfr_item_block_rows(x->e, j))
            continue;
        const int64_t at = (first + c - x->e->item_first) * d;
        for (int64_t k = 0; k < d; k++) {
            leaf[i * d + k] -= x->inv_rows * x->e->E[at + k];
            x->e->dE[at + k] -= x->inv_rows * H[i * d + k];
        }
    }
}

/* Item block j of user block b: a leaf of the tree.  lse: top [n], sum [n] */
static void backward_tiles(softmax *x, int64_t b, int64_t j, const stage *s, const float *lse)
{
    const int64_t n = mltfr_block_queries(x->run, b);
    const int64_t own = (j - x->e->first_block) * x->strips;
    float *leaf = mltfr_treesum_next(x->sum);

    for (int64_t i = 0; i < x->strips; i++) {
        const int64_t at = mltfr_item_block_at(x->e, j) + i * STRIP;

        set_scale(x, n, s->top + (own + i) * x->ld, lse, lse + n);
        backward_tile(x, b, at, strip_rows(x, j, i), s->tile + at * x->ld, leaf);
    }
    subtract_targets(x, b, j, leaf);
    mltfr_treesum_push(x->sum);
}

/* dh' of block b (a part for each own span) and the row losses into the answer, dE' in place; each
 * tile then becomes one of block b + 2. */
static void pass(softmax *x, int64_t b)
{
    const mltfr_engine *e = x->e;
    const int64_t n = mltfr_block_queries(x->run, b), d = x->d, width = n * (d + x->extra);
    const bool refills = b + 2 < x->run->batch->blocks;
    stage *s = &x->stages[b % 2];
    float *out = x->out + x->sent_at[b];
    int next = 0, parts;
    const float *lse = s->all + 2 * n * fold_node(x, n, s->all, 0, e->item_blocks, &next);

    row_losses(x, b, s, lse, lse + n, out + x->span_own * width);
    if (refills)
        turn_H(x, b + 2);
    mltfr_treesum_rewind(x->sum);
    for (int64_t j = e->first_block; j < e->last_block; j++) {
        backward_tiles(x, b, j, s, lse);
        if (refills)
            forward_tiles(x, b + 2, j, s);
        mltfr_gather_poll(x->stages[(b + 1) % 2].gather);
    }
    const float *values = mltfr_treesum_parts(x->sum, &parts);

    for (int i = 0; i < parts; i++, out += width)
        memcpy(out, values + i * x->rows_most * (d + x->extra), (size_t)width * sizeof *out);
    if (refills)
        send_pairs(x, b + 2, s);
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
    for (int64_t b = 0; b < blocks && b < 2; b++)
        forward_block(&x, b);
    for (int64_t b = 0; b < blocks; b++) {
        mltfr_gather_end(x.stages[b % 2].gather);
        pass(&x, b);
    }
    MLTFR_TRY(return_answers(&x));
done:
    return st;
}
