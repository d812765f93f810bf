/* E9, the specific block: what of an LLM's cleaned vocabulary the shared block does not explain;
 * and the PCA whitening that takes the place of E6-E9 for one LLM or `tokens.align: pca`. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>

#include <math.h>

mltfr_status mltfr_whiten_columns(mltfr_conditioner *c, const mltfr_llm *llm, mltfr_matrix *vectors)
{
    mltfr_status st = MLTFR_OK;
    double *scale = NULL, mean = 0;

    MLTFR_AGREE(c->comm, MLTFR_NEW(scale, llm->D));
    for (int64_t j = 0; j < llm->D; j++)
        mean += llm->lam[j] / (double)llm->D;
    /* Without a ridge a direction of no variance has no scale: it stays out. */
    for (int64_t j = 0; j < llm->D; j++) {
        double lam = llm->lam[j] + c->options->eps * mean;
        scale[j] = lam > 1e-14 * mean ? 1 / sqrt(lam) : 0;
    }
    mltfr_matrix_scale(vectors, scale);
done:
    MLTFR_FREE(scale);
    return st;
}

/* The first `wanted` eigenvalues are those of directions that the table has; what is far below is
 * the rounding of float32, as in a table of 128 dimensions that was saved with 768.  @local */
static mltfr_status check_rank(const mltfr_conditioner *c, const mltfr_llm *llm, const double *lam,
                               int64_t wanted)
{
    const double most = llm->lam != NULL ? llm->lam[0] : lam[0]; /* procrustes has none */

    if (wanted == 0 || lam[wanted - 1] > 1e-12 * most)
        return MLTFR_OK;
    return mltfr_no_variance(c, llm);
}

/* B = (U^T S U)^-1 U^T S and S <- S - S U B. */
static mltfr_status explain(mltfr_conditioner *c, mltfr_matrix *S, mltfr_matrix *U, mltfr_matrix *B)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *SU = NULL, *G = NULL;
    mltfr_view s = mltfr_view_all(S), u = mltfr_view_all(U), b = mltfr_view_all(B), su;

    MLTFR_TRY(mltfr_matrix_create(c->grid, u.rows, u.cols, &SU));
    MLTFR_TRY(mltfr_matrix_create(c->grid, u.cols, u.cols, &G));
    su = mltfr_view_all(SU);
    mltfr_matrix_multiply_symmetric(s, u, su);
    mltfr_matrix_multiply(1, u, true, su, 0, mltfr_view_all(G));
    mltfr_matrix_transpose(su, b);
    MLTFR_TRY(mltfr_matrix_solve(G, B));
    mltfr_matrix_multiply(-1, su, false, b, 1, s);
done:
    mltfr_matrix_destroy(&SU);
    mltfr_matrix_destroy(&G);
    return st;
}

/* V <- V - U (B V) for the leading r_s columns of V, to every rank. */
static mltfr_status remove_shared(mltfr_conditioner *c, mltfr_llm *llm, mltfr_matrix *U,
                                  mltfr_matrix *B, mltfr_matrix *V)
{
    mltfr_status st = MLTFR_OK;
    mltfr_view v = mltfr_view_columns(V, c->r_s);
    mltfr_matrix *BV = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->U_spec, llm->D * c->r_s));
    MLTFR_TRY(mltfr_matrix_create(c->grid, c->r_c, c->r_s, &BV));
    mltfr_matrix_multiply(1, mltfr_view_all(B), false, v, 0, mltfr_view_all(BV));
    mltfr_matrix_multiply(-1, mltfr_view_all(U), false, mltfr_view_all(BV), 1, v);
    MLTFR_TRY(mltfr_matrix_get(V, 0, c->r_s, llm->U_spec));
done:
    mltfr_matrix_destroy(&BV);
    return st;
}

mltfr_status mltfr_specific(mltfr_conditioner *c, mltfr_llm *llm)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *S = NULL, *U = NULL, *B = NULL, *V = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->lam_res, llm->D));
    MLTFR_TRY(mltfr_llm_gram(c, llm, &S));
    MLTFR_TRY(mltfr_matrix_create(c->grid, llm->D, c->r_c, &U));
    MLTFR_TRY(mltfr_matrix_create(c->grid, c->r_c, llm->D, &B));
    MLTFR_TRY(mltfr_matrix_create(c->grid, llm->D, llm->D, &V));
    mltfr_matrix_set(U, llm->U);
    MLTFR_TRY(explain(c, S, U, B));
    MLTFR_TRY(mltfr_matrix_eigen(S, llm->lam_res, V));
    MLTFR_TRY(check_rank(c, llm, llm->lam_res, c->r_s));
    MLTFR_TRY(mltfr_matrix_fix_signs(V));
    MLTFR_TRY(remove_shared(c, llm, U, B, V));
done:
    mltfr_matrix_destroy(&S);
    mltfr_matrix_destroy(&U);
    mltfr_matrix_destroy(&B);
    mltfr_matrix_destroy(&V);
    return st;
}

/* The leading r_c columns are U, the next r_s are U_spec. */
static mltfr_status take_maps(mltfr_conditioner *c, mltfr_llm *llm, mltfr_matrix *V)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->U, llm->D * c->r_c));
    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->U_spec, llm->D * c->r_s));
    MLTFR_TRY(mltfr_matrix_get(V, 0, c->r_c, llm->U));
    MLTFR_TRY(mltfr_matrix_get(V, c->r_c, c->r_s, llm->U_spec));
done:
    return st;
}

mltfr_status mltfr_pca(mltfr_conditioner *c, mltfr_llm *llm)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *S = NULL, *V = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->lam, llm->D));
    MLTFR_TRY(mltfr_llm_gram(c, llm, &S));
    MLTFR_TRY(mltfr_matrix_create(c->grid, llm->D, llm->D, &V));
    MLTFR_TRY(mltfr_matrix_eigen(S, llm->lam, V));
    MLTFR_TRY(check_rank(c, llm, llm->lam, c->r_c + c->r_s));
    MLTFR_TRY(mltfr_matrix_fix_signs(V));
    MLTFR_TRY(mltfr_whiten_columns(c, llm, V));
    MLTFR_TRY(take_maps(c, llm, V));
done:
    mltfr_matrix_destroy(&S);
    mltfr_matrix_destroy(&V);
    return st;
}
