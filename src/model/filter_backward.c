/* The filter backward (E13).  J is held fixed and the same dropout is drawn again.  Gradients of
 * the tokens are not scattered row by row: every use of a token is noted under it, and a token then
 * collects its own,
 *
 *      rows:    uses of a token   (row, ds, w)  in order of rows     counting sort by token
 *      tokens:  dKt_v = sum ds q_row,  dVt_v = sum w dy_row          block by block, then the tree
 *
 * so that a row of dKt and dVt is written once, and the canonical sum over the blocks happens in
 * registers and a small stack in place of whole matrices. */
#include "dot.h"
#include "filter_impl.h"

enum { LANES = 16, PANEL = 4 }; /* floats of a vector; vectors of a pass over a token's uses */

typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));

/* One use of a token: its row adds key * q to the gradient of Kt and value * dy to that of Vt. */
typedef struct {
    int32_t row;
    float key, value;
} token_use;

/* The scratch: uses of all tokens, token by token; those of token v end at end[v]. */
typedef struct {
    int64_t *end;   /* [M] */
    float *dlogtau; /* [blocks] */
    token_use *use; /* [all rows][m] */
} token_uses;

static token_uses cut_scratch(const mltfr_filter *filter, int64_t blocks, int64_t *scratch)
{
    int64_t *dlogtau = scratch + filter->M;

    return (token_uses){scratch, (float *)dlogtau, (token_use *)(dlogtau + (blocks + 1) / 2)};
}

int64_t mltfr_filter_backward_scratch(const mltfr_filter *filter, int64_t blocks, int64_t rows)
{
    const int64_t bytes = rows * filter->m * (int64_t)sizeof(token_use);

    return filter->M + (blocks + 1) / 2 + (bytes + 7) / 8;
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* Where the uses of each token begin. */
static void place_tokens(const mltfr_filter *filter, const mltfr_filter_rows *rows, int64_t *end)
{
    int64_t sum = 0;

    memset(end, 0, (size_t)filter->M * sizeof *end);
    for (int64_t b = 0; b < rows->blocks; b++) {
        const int32_t *J = rows->J + rows->at[b] * filter->m;

        for (int64_t i = 0; i < rows->count[b] * filter->m; i++)
            end[J[i]]++;
    }
    for (int64_t v = 0; v < filter->M; v++) {
        const int64_t n = end[v];

        end[v] = sum;
        sum += n;
    }
}

/* ds of one row; returns its share of dlogtau. */
MLTFR_INLINE double score_gradient(const mltfr_filter *filter, const int32_t *J, const float *s,
                                   const float *a, const float *mask, const float *dy, float *ds)
{
    int64_t d = filter->d, m = filter->m;
    float mean = 0;
    double dlogtau = 0;

    for (int64_t j = 0; j < m; j++) {
        ds[j] = mask[j] * dot(d, dy, filter->Vt + J[j] * d);
        mean += a[j] * ds[j];
    }
    for (int64_t j = 0; j < m; j++) {
        ds[j] = filter->tau * a[j] * (ds[j] - mean);
        dlogtau += a[j] > 0 ? ds[j] * s[j] : 0; /* a score of -inf has no weight */
    }
    return dlogtau;
}

MLTFR_KERNEL
void mltfr_filter_backward(const mltfr_filter *filter, const mltfr_filter_rows *rows,
                           int64_t *scratch, float *dq)
{
    int64_t d = filter->d, m = filter->m;
    const token_uses uses = cut_scratch(filter, rows->blocks, scratch);
    float mask[MLTFR_MAX_TOP], ds[MLTFR_MAX_TOP];

    place_tokens(filter, rows, uses.end);
    for (int64_t b = 0; b < rows->blocks; b++) {
        double total = 0;

        for (int64_t i = rows->at[b]; i < rows->at[b] + rows->count[b]; i++) {
            const int32_t *J = rows->J + i * m;
            const float *a = rows->a + i * m;

            draw_mask(filter, rows->number, i, mask);
            total += score_gradient(filter, J, rows->s + i * m, a, mask, rows->dy + i * d, ds);
            for (int64_t j = 0; j < m; j++)
                uses.use[uses.end[J[j]]++] = (token_use){(int32_t)i, ds[j], mask[j] * a[j]};
            if (dq != NULL)
                mix_row(m, J, ds, filter->Kt, d, d, dq + i * d);
        }
        uses.dlogtau[b] = (float)total;
    }
}

/* ---- tokens -------------------------------------------------------------------------------- */

/* merges[b]: how many nodes of the tree over n blocks are complete with block b. */
static void count_merges(int64_t n, uint8_t merges[])
{
    for (int64_t b = 0; b < n; b++) {
        int64_t lo = 0, hi = n;

        merges[b] = 0;
        while (hi - lo > 1) {
            const int64_t mid = lo + (hi - lo + 1) / 2;

            merges[b] += hi == b + 1;
            if (b < mid)
                hi = mid;
            else
                lo = mid;
        }
    }
}

/* A node of the tree, and where its gradients go. */
typedef struct {
    const mltfr_filter_rows *rows;
    int64_t d, first, blocks; /* blocks [first, first + blocks) of the rows */
    const uint8_t *merges;    /* [blocks] */
    float *dKt, *dVt;
} node;

/* sum += scale x over `columns` of a vector. */
MLTFR_INLINE void add_row(float scale, const float *x, const int64_t columns, lanes *sum)
{
    if (columns == LANES)
        *sum += scale * *(const lanes *)x;
    else
        for (int64_t c = 0; c < columns; c++)
            (*sum)[c] += scale * x[c];
}

/* A sum of nothing but -0 is 0, as one that began with 0 would be. */
MLTFR_INLINE void store(const lanes *sum, const int64_t columns, float *x)
{
    const lanes value = *sum + 0.f;

    if (columns == LANES)
        *(lanes *)x = value;
    else
        memcpy(x, &value, (size_t)columns * sizeof *x);
}

/* Uses of one token that are still to be summed. */
typedef struct {
    const token_use *next, *end;
} use_range;

/* One token over the rows before `last`: columns of its key from `at` on, then of its value. */
MLTFR_INLINE void block_sum(const int vectors, const bool values, const int64_t columns,
                            const node *x, int64_t at, int64_t last, use_range *uses,
                            lanes sum[2 * PANEL])
{
    const float *q = x->rows->q + at, *dy = x->rows->dy + at;
    const token_use *use = uses->next;

    for (int v = 0; v < 2 * PANEL; v++)
        sum[v] = (lanes){0};
    for (; use < uses->end && use->row < last; use++) {
        const int64_t row = use->row * x->d;

#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            add_row(use->key, q + row + v * LANES, columns, &sum[v]);
#pragma GCC unroll 4
        for (int v = 0; values && v < vectors; v++)
            add_row(use->value, dy + row + v * LANES, columns, &sum[PANEL + v]);
    }
    uses->next = use;
}

/* The node's sum of one token; the stack holds nodes below it that wait for their sibling, as in
 * tree.c.  Empty nodes are left out: they are sums of nothing. */
MLTFR_INLINE void token_sum(const int vectors, const bool values, const int64_t columns,
                            const node *x, int64_t at, use_range uses, int64_t v)
{
    lanes stack[MLTFR_TREE_SPANS][2 * PANEL];
    bool empty[MLTFR_TREE_SPANS];
    int depth = 0;

    for (int c = 0; c < 2 * PANEL; c++)
        stack[0][c] = (lanes){0};
    for (int64_t b = 0; b < x->blocks; b++, depth++) {
        const int64_t last = x->rows->at[x->first + b] + x->rows->count[x->first + b];

        empty[depth] = uses.next == uses.end || uses.next->row >= last;
        if (!empty[depth])
            block_sum(vectors, values, columns, x, at, last, &uses, stack[depth]);
        for (int i = x->merges[b]; i > 0; i--, depth--) {
            if (empty[depth])
                continue;
            for (int c = 0; c < 2 * PANEL; c++)
                if (empty[depth - 1])
                    stack[depth - 1][c] = stack[depth][c];
                else
                    stack[depth - 1][c] += stack[depth][c];
            empty[depth - 1] = false;
        }
    }
    for (int c = 0; c < vectors; c++) {
        const int64_t to = v * x->d + at + c * LANES;

        store(&stack[0][c], columns, x->dKt + to);
        if (values)
            store(&stack[0][PANEL + c], columns, x->dVt + to);
    }
}

MLTFR_INLINE void token_gradients(const node *x, const bool values, use_range uses, int64_t v)
{
    int64_t at = 0;

    for (; at + PANEL * LANES <= x->d; at += PANEL * LANES)
        token_sum(PANEL, values, LANES, x, at, uses, v);
    for (; at + LANES <= x->d; at += LANES)
        token_sum(1, values, LANES, x, at, uses, v);
    if (at < x->d)
        token_sum(1, values, x->d - at, x, at, uses, v);
}

/* The same sum for one number a block. */
static float scalar_sum(int64_t blocks, const uint8_t merges[], const float *x)
{
    float stack[MLTFR_TREE_SPANS];
    int depth = 0;

    for (int64_t b = 0; b < blocks; b++, depth++) {
        stack[depth] = x[b];
        for (int i = merges[b]; i > 0; i--, depth--)
            stack[depth - 1] += stack[depth];
    }
    return stack[0];
}

MLTFR_KERNEL
void mltfr_filter_sum(const mltfr_filter *filter, const mltfr_filter_rows *rows, int64_t *scratch,
                      mltfr_span span, bool values, float *out)
{
    const int64_t Md = filter->M * filter->d, blocks = span.hi - span.lo;
    const token_uses uses = cut_scratch(filter, rows->blocks, scratch);
    uint8_t merges[blocks];
    const node x = {rows, filter->d, span.lo, blocks, merges, out, out + Md};

    count_merges(blocks, merges);
    for (int64_t v = 0; v < filter->M; v++) {
        use_range own = {uses.use + (v > 0 ? uses.end[v - 1] : 0), uses.use + uses.end[v]};

        while (own.next < own.end && own.next->row < rows->at[span.lo])
            own.next++;
        if (values)
            token_gradients(&x, true, own, v);
        else
            token_gradients(&x, false, own, v);
    }
    out[values ? 2 * Md : Md] = scalar_sum(blocks, merges, uses.dlogtau + span.lo);
}
