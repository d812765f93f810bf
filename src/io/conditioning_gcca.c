/* E7 and E8, MAXVAR GCCA with ridge whitening, fitted on the anchors that are not held out (C17).
 *
 * Q_k = X_k C_k is never formed: with X the stacked, centred anchor rows, each row times
 * sqrt(K / c_a), M = X^T X / A is one Gram matrix, and R_jl = C_j^T M_jl C_l takes the place of its
 * blocks.  All matrices are spread over the grid. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>

#include <math.h>
#include <string.h>

/* ---- rows ---------------------------------------------------------------------------------- */

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

typedef struct {
    const mltfr_conditioner *c;
    const mltfr_llm *llm;
} one_llm;

static int64_t fill_one(void *context, int64_t block, int64_t cols, double *X)
{
    const one_llm *o = context;

    return mltfr_anchor_block(o->c, o->llm, false, block, cols, X);
}

/* One row of the stacked matrix: the LLMs side by side, zero where one lacks the anchor. */
static void fill_anchor(const mltfr_conditioner *c, int64_t a, int64_t cols, double *x)
{
    const mltfr_anchors *an = &c->anchors;
    int64_t present = 0, at = 0;

    memset(x, 0, (size_t)cols * sizeof *x);
    for (int64_t k = 0; k < c->K; k++)
        present += mltfr_anchor_in(an, a, k, false);
    double weight = sqrt((double)c->K / (double)present);
    for (int64_t k = 0; k < c->K && at < cols; at += c->llms[k++].D) {
        const mltfr_llm *llm = &c->llms[k];
        int64_t n = cols - at < llm->D ? cols - at : llm->D;
        if (!mltfr_anchor_in(an, a, k, false))
            continue;
        mltfr_rows_get(&llm->anchor_rows, a - an->blocks.begin, n, llm->mean_anchor, x + at);
        for (int64_t j = 0; j < n; j++)
            x[at + j] *= weight;
    }
}

static int64_t fill_stacked(void *context, int64_t block, int64_t cols, double *X)
{
    const mltfr_conditioner *c = context;
    const mltfr_anchors *an = &c->anchors;
    int64_t n = 0, end = mltfr_blocks_begin(&an->blocks, block + 1);

    for (int64_t a = mltfr_blocks_begin(&an->blocks, block); a < end; a++)
        if (!an->held[a])
            fill_anchor(c, a, cols, X + n++ * cols);
    return n;
}

/* ---- E7 ------------------------------------------------------------------------------------ */

static int64_t count_fitted(const mltfr_conditioner *c, const mltfr_llm *llm)
{
    int64_t n = 0;

    for (int64_t a = 0; a < c->anchors.count; a++)
        n += mltfr_anchor_in(&c->anchors, a, llm - c->llms, false);
    return n;
}

/* Mean of the LLM's fitted anchors. */
static mltfr_status anchor_mean(mltfr_conditioner *c, mltfr_llm *llm, int64_t fitted)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &c->anchors.blocks;
    int64_t D = llm->D;
    double *sums = NULL, *X = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(sums, (b->last - b->first) * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(X, b->size * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->mean_anchor, D)); /* zero: the rows as they are */
    for (int64_t i = b->first; i < b->last; i++) {
        int64_t n = mltfr_anchor_block(c, llm, false, i, D, X);
        for (int64_t j = 0; j < n * D; j++)
            sums[(i - b->first) * D + j % D] += X[j];
    }
    MLTFR_TRY(mltfr_blocks_sum(c->comm, b, D, sums, llm->mean_anchor));
    for (int64_t j = 0; j < D; j++)
        llm->mean_anchor[j] /= (double)fitted;
done:
    MLTFR_FREE(sums);
    MLTFR_FREE(X);
    return st;
}

/* C = U (Lam + eps mean(Lam))^-1/2 of the covariance of the fitted anchors. */
static mltfr_status whiten(mltfr_conditioner *c, mltfr_llm *llm, int64_t fitted, mltfr_matrix **C)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *S = NULL;
    one_llm one = {c, llm};
    const mltfr_blocks *b = &c->anchors.blocks;
    mltfr_row_blocks X = {&one, b->first, b->last, b->size, fill_one};

    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->lam, llm->D));
    MLTFR_TRY(mltfr_matrix_create(c->grid, llm->D, llm->D, &S));
    MLTFR_TRY(mltfr_matrix_create(c->grid, llm->D, llm->D, C));
    MLTFR_TRY(mltfr_matrix_gram(S, &X, 1. / (double)fitted));
    MLTFR_TRY(mltfr_matrix_eigen(S, llm->lam, *C));
    MLTFR_TRY(mltfr_matrix_fix_signs(*C));
    MLTFR_TRY(mltfr_whiten_columns(c, llm, *C));
done:
    mltfr_matrix_destroy(&S);
    return st;
}

/* ---- E8 ------------------------------------------------------------------------------------ */

/* The block of LLMs j and l in a matrix of order sum D. */
static mltfr_view block_of(const mltfr_conditioner *c, mltfr_matrix *M, int64_t j, int64_t l)
{
    int64_t row = 0, col = 0;

    for (int64_t k = 0; k < j; k++)
        row += c->llms[k].D;
    for (int64_t k = 0; k < l; k++)
        col += c->llms[k].D;
    return (mltfr_view){M, row, col, c->llms[j].D, c->llms[l].D};
}

/* M_jl <- C_j^T M_jl C_l, in the upper triangle. */
static mltfr_status whiten_block(mltfr_conditioner *c, mltfr_matrix *M, mltfr_matrix *C[],
                                 int64_t j, int64_t l)
{
    mltfr_status st = MLTFR_OK;
    mltfr_view block = block_of(c, M, j, l), right = mltfr_view_all(C[l]);
    mltfr_matrix *T = NULL;

    MLTFR_TRY(mltfr_matrix_create(c->grid, block.rows, block.cols, &T));
    if (j == l)
        mltfr_matrix_multiply_symmetric(block, right, mltfr_view_all(T));
    else
        mltfr_matrix_multiply(1, block, false, right, 0, mltfr_view_all(T));
    mltfr_matrix_multiply(1, mltfr_view_all(C[j]), true, mltfr_view_all(T), 0, block);
done:
    mltfr_matrix_destroy(&T);
    return st;
}

/* R, then its eigenvectors [E_1; ..; E_K] in E. */
static mltfr_status correlate(mltfr_conditioner *c, mltfr_matrix *C[], mltfr_matrix **E)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *R = NULL;
    const mltfr_blocks *b = &c->anchors.blocks;
    mltfr_row_blocks X = {c, b->first, b->last, b->size, fill_stacked};
    int64_t n = c->total_width, fitted = c->anchors.count - c->anchors.held_count;

    MLTFR_AGREE(c->comm, MLTFR_NEW(c->lam_R, n));
    MLTFR_TRY(mltfr_matrix_create(c->grid, n, n, &R));
    MLTFR_TRY(mltfr_matrix_gram(R, &X, 1. / (double)fitted));
    for (int64_t j = 0; j < c->K; j++)
        for (int64_t l = j; l < c->K; l++)
            MLTFR_TRY(whiten_block(c, R, C, j, l));
    MLTFR_TRY(mltfr_matrix_create(c->grid, n, n, E));
    MLTFR_TRY(mltfr_matrix_eigen(R, c->lam_R, *E));
    MLTFR_TRY(mltfr_matrix_fix_signs(*E));
done:
    mltfr_matrix_destroy(&R);
    return st;
}

/* W_k = C_k E_k for as many columns as the narrowest LLM has. */
static mltfr_status map_back(mltfr_conditioner *c, mltfr_matrix *C[], mltfr_matrix *E)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t k = 0; k < c->K; k++) {
        mltfr_view part = block_of(c, E, k, 0);
        part.cols = c->narrowest;
        MLTFR_TRY(mltfr_matrix_create(c->grid, c->llms[k].D, c->narrowest, &c->W[k]));
        mltfr_matrix_multiply(1, mltfr_view_all(C[k]), false, part, 0, mltfr_view_all(c->W[k]));
    }
done:
    return st;
}

static mltfr_status check_fitted(const mltfr_llm *llm, int64_t fitted)
{
    if (llm->source.string == NULL)
        return mltfr_fail(
            MLTFR_E_USAGE,
            "tokens.align: gcca needs the strings of the tokens, and %s has none: set "
            "tokens.align: pca",
            llm->source.name);
    if (fitted <= llm->D)
        return mltfr_fail(MLTFR_E_USAGE,
                          "tokens.align: gcca is fitted on %lld anchors (strings shared with "
                          "another LLM) of %s, more than its width %lld are needed: set "
                          "tokens.align: pca",
                          (long long)fitted, llm->source.name, (long long)llm->D);
    return MLTFR_OK;
}

mltfr_status mltfr_gcca(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *C[MLTFR_MAX_LLMS] = {NULL}, *E = NULL;

    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(check_fitted(&c->llms[k], count_fitted(c, &c->llms[k])));
    for (int64_t k = 0; k < c->K; k++) {
        int64_t fitted = count_fitted(c, &c->llms[k]);
        MLTFR_TRY(anchor_mean(c, &c->llms[k], fitted));
        MLTFR_TRY(whiten(c, &c->llms[k], fitted, &C[k]));
    }
    MLTFR_TRY(correlate(c, C, &E));
    MLTFR_TRY(map_back(c, C, E));
done:
    mltfr_matrix_destroy(&E);
    for (int64_t k = 0; k < c->K; k++)
        mltfr_matrix_destroy(&C[k]);
    return st;
}

mltfr_status mltfr_gcca_maps(mltfr_conditioner *c)
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
