/* What alignments are fitted on: the anchors' rows, their mean, and the Gram matrix of several
 * LLMs' rows side by side; and the maps that come out of it. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>

#include <math.h>
#include <string.h>

/* ---- rows ---------------------------------------------------------------------------------- */

int64_t mltfr_fitted(const mltfr_conditioner *c, int64_t k, int64_t l)
{
    int64_t n = 0;

    for (int64_t a = 0; a < c->anchors.count; a++)
        n += mltfr_anchor_in(&c->anchors, a, k, false) && mltfr_anchor_in(&c->anchors, a, l, false);
    return n;
}

int64_t mltfr_anchor_block(const mltfr_conditioner *c, const mltfr_llm *llm, bool held,
                           int64_t block, int64_t cols, double *X)
{
    const mltfr_anchors *an = &c->anchors;
    int64_t n = 0, k = llm - c->llms, end = mltfr_blocks_begin(&an->blocks, block + 1);

    for (int64_t a = mltfr_blocks_begin(&an->blocks, block); a < end; a++) {
        if (mltfr_anchor_in(an, a, k, held))
            mltfr_rows_get(&llm->anchor_rows, a - an->blocks.begin, cols, llm->mean_anchor,
                           X + n++ * cols);
        else if (held && an->held[a])
            memset(X + n++ * cols, 0, (size_t)cols * sizeof *X);
    }
    return n;
}

mltfr_status mltfr_anchor_mean(mltfr_conditioner *c, mltfr_llm *llm)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &c->anchors.blocks;
    int64_t D = llm->D, fitted = mltfr_fitted(c, llm - c->llms, llm - c->llms);
    double *sums = NULL, *X = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(sums, (b->last - b->first) * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(X, b->size * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->mean_anchor, D)); /* zero: the rows as they are */
    for (int64_t i = b->first; i < b->last; i++) {
        int64_t n = mltfr_anchor_block(c, llm, false, i, D, X);
        for (int64_t j = 0; j < n; j++)
            mltfr_vector_add(D, 1, X + j * D, sums + (i - b->first) * D);
    }
    MLTFR_TRY(mltfr_blocks_sum(c->comm, b, D, sums, llm->mean_anchor));
    for (int64_t j = 0; j < D; j++)
        llm->mean_anchor[j] /= (double)(fitted > 0 ? fitted : 1);
done:
    MLTFR_FREE(sums);
    MLTFR_FREE(X);
    return st;
}

/* ---- side by side -------------------------------------------------------------------------- */

/* How many of the stack's LLMs have the anchor; 0 where it takes no part. */
static int64_t present(const mltfr_stack *s, int64_t a)
{
    const mltfr_anchors *an = &s->c->anchors;
    int64_t n = 0;

    if (s->fitted && an->held[a])
        return 0;
    for (int64_t i = 0; i < s->count; i++)
        n += an->ids[a * an->K + s->llms[i]] >= 0;
    return s->whole && n < s->count ? 0 : n;
}

/* One row: the LLMs side by side, zero where one lacks the anchor. */
static void fill_row(const mltfr_stack *s, int64_t a, double weight, int64_t cols, double *x)
{
    const mltfr_anchors *an = &s->c->anchors;

    for (int64_t i = 0, at = 0; i < s->count && at < cols; at += s->c->llms[s->llms[i++]].D) {
        const mltfr_llm *llm = &s->c->llms[s->llms[i]];
        int64_t n = cols - at < llm->D ? cols - at : llm->D;
        memset(x + at, 0, (size_t)n * sizeof *x);
        if (an->ids[a * an->K + s->llms[i]] < 0)
            continue;
        mltfr_rows_get(&llm->anchor_rows, a - an->blocks.begin, n, llm->mean_anchor, x + at);
        double factor = s->scale != NULL ? weight * s->scale[s->llms[i]] : weight;
        for (int64_t j = 0; factor != 1 && j < n; j++)
            x[at + j] *= factor;
    }
}

static int64_t fill_stack(void *context, int64_t block, int64_t cols, double *X)
{
    const mltfr_stack *s = context;
    const mltfr_blocks *b = &s->c->anchors.blocks;
    int64_t n = 0, end = mltfr_blocks_begin(b, block + 1);

    for (int64_t a = mltfr_blocks_begin(b, block); a < end; a++) {
        int64_t has = present(s, a);
        double weight = s->weighted ? sqrt((double)s->count / (double)has) : 1;
        if (has > 0)
            fill_row(s, a, weight, cols, X + n++ * cols);
    }
    return n;
}

mltfr_status mltfr_stack_gram(mltfr_stack *s, double scale, mltfr_matrix **S)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &s->c->anchors.blocks;
    mltfr_row_blocks X = {s, b->first, b->last, b->size, fill_stack};
    int64_t order = 0;

    for (int64_t i = 0; i < s->count; i++)
        order += s->c->llms[s->llms[i]].D;
    MLTFR_TRY(mltfr_matrix_create(s->c->grid, order, order, S));
    MLTFR_TRY(mltfr_matrix_gram(*S, &X, scale));
done:
    return st;
}

mltfr_stack mltfr_stack_all(const mltfr_conditioner *c)
{
    mltfr_stack s = {.c = c, .count = c->K};

    for (int64_t k = 0; k < c->K; k++)
        s.llms[k] = k;
    return s;
}

mltfr_view mltfr_stack_block(const mltfr_conditioner *c, mltfr_matrix *M, int64_t j, int64_t l)
{
    int64_t row = 0, col = 0;

    for (int64_t k = 0; k < j; k++)
        row += c->llms[k].D;
    for (int64_t k = 0; k < l; k++)
        col += c->llms[k].D;
    return (mltfr_view){M, row, col, c->llms[j].D, c->llms[l].D};
}

/* ---- maps ---------------------------------------------------------------------------------- */

mltfr_status mltfr_shared_maps(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t k = 0; k < c->K; k++) {
        mltfr_llm *llm = &c->llms[k];
        MLTFR_AGREE(c->comm, MLTFR_NEW(llm->U, llm->D * c->r_c));
        MLTFR_TRY(mltfr_matrix_get(c->W[k], 0, c->r_c, llm->U));
    }
done:
    return st;
}
