/* E7 and E8, MAXVAR GCCA with ridge whitening, fitted on the anchors that are not held out (C17).
 *
 * Q_k = X_k C_k is never formed: with X the stacked, centred anchor rows, each row times
 * sqrt(K / c_a), M = X^T X / A is one Gram matrix, and R_jl = C_j^T M_jl C_l takes the place of its
 * blocks.  All matrices are spread over the grid. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>

/* ---- E7 ------------------------------------------------------------------------------------ */

/* C = U (Lam + eps mean(Lam))^-1/2 of the covariance of the fitted anchors. */
static mltfr_status whiten(mltfr_conditioner *c, mltfr_llm *llm, mltfr_matrix **C)
{
    mltfr_status st = MLTFR_OK;
    int64_t fitted = mltfr_fitted(c, llm - c->llms, llm - c->llms);
    mltfr_matrix *S = NULL;
    mltfr_stack one = {.c = c, .count = 1, .llms = {llm - c->llms}, .fitted = true};

    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->lam, llm->D));
    MLTFR_TRY(mltfr_stack_gram(&one, 1. / (double)fitted, &S));
    MLTFR_TRY(mltfr_matrix_create(c->grid, llm->D, llm->D, C));
    MLTFR_TRY(mltfr_matrix_eigen(S, llm->lam, *C));
    MLTFR_TRY(mltfr_matrix_fix_signs(*C));
    MLTFR_TRY(mltfr_whiten_columns(c, llm, *C));
done:
    mltfr_matrix_destroy(&S);
    return st;
}

/* ---- E8 ------------------------------------------------------------------------------------ */

/* M_jl <- C_j^T M_jl C_l, in the upper triangle. */
static mltfr_status whiten_block(mltfr_conditioner *c, mltfr_matrix *M, mltfr_matrix *C[],
                                 int64_t j, int64_t l)
{
    mltfr_status st = MLTFR_OK;
    mltfr_view block = mltfr_stack_block(c, M, j, l), right = mltfr_view_all(C[l]);
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
    mltfr_stack all = mltfr_stack_all(c);
    int64_t n = c->total_width, fitted = c->anchors.count - c->anchors.held_count;

    all.fitted = all.weighted = true;
    MLTFR_AGREE(c->comm, MLTFR_NEW(c->lam_R, n));
    MLTFR_TRY(mltfr_stack_gram(&all, 1. / (double)fitted, &R));
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
        mltfr_view part = mltfr_stack_block(c, E, k, 0);
        part.cols = c->dims;
        MLTFR_TRY(mltfr_matrix_create(c->grid, c->llms[k].D, c->dims, &c->W[k]));
        mltfr_matrix_multiply(1, mltfr_view_all(C[k]), false, part, 0, mltfr_view_all(c->W[k]));
    }
done:
    return st;
}

static mltfr_status check_fitted(const mltfr_conditioner *c, const mltfr_llm *llm)
{
    int64_t fitted = mltfr_fitted(c, llm - c->llms, llm - c->llms);

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
                          "tokens.align: procrustes",
                          (long long)fitted, llm->source.name, (long long)llm->D);
    return MLTFR_OK;
}

mltfr_status mltfr_gcca(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *C[MLTFR_MAX_LLMS] = {NULL}, *E = NULL;

    c->dims = c->narrowest;
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(check_fitted(c, &c->llms[k]));
    for (int64_t k = 0; k < c->K; k++) {
        MLTFR_TRY(mltfr_anchor_mean(c, &c->llms[k]));
        MLTFR_TRY(whiten(c, &c->llms[k], &C[k]));
    }
    MLTFR_TRY(correlate(c, C, &E));
    MLTFR_TRY(map_back(c, C, E));
done:
    mltfr_matrix_destroy(&E);
    for (int64_t k = 0; k < c->K; k++)
        mltfr_matrix_destroy(&C[k]);
    return st;
}
