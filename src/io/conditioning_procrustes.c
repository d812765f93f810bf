/* tokens.align: procrustes, for anchors too few to whiten on: rotations to a hub LLM.
 *
 * X_k are the rows of LLM k's fitted anchors less their mean, not whitened; the hub h is the LLM
 * with the most of them, the first of equals.  Over the anchors that k and h both have
 *
 *      X_k^T X_h = U S V^T (pdgesvd),    W_k = U V^T of the directions with S > 1e-10 S_1,
 *
 * the rotation that brings X_k W_k nearest to X_h, and 0 where the anchors say nothing; W_h = 1.
 * The hub's directions are ordered by how far the LLMs agree in them: with
 *
 *      H = sum over k != h of X_h^T X_k W_k / trace = sum of V S V^T / sum of S,    H = E Lam E^T,
 *
 * the shared map is U_k = W_k E[:, :r_c].  For two LLMs E is V.  A direction has to be spanned by
 * anchors: there are min D_k of them, and fewer than any LLM shares with the hub.
 *
 * On real tables with 500 anchors (r_c 128, SmolLM2 and MiniLM) held-out retrieval is .51 so, .29
 * with the hub's own leading directions in place of E, and .18 with whitened rows: whitening lifts
 * directions that so few anchors cannot tell from noise. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>

/* ---- hub ----------------------------------------------------------------------------------- */

static int64_t choose_hub(const mltfr_conditioner *c)
{
    int64_t hub = 0;

    for (int64_t k = 1; k < c->K; k++)
        if (mltfr_fitted(c, k, k) > mltfr_fitted(c, hub, hub))
            hub = k;
    return hub;
}

/* Fewest directions that the anchors of an LLM and the hub span. */
static mltfr_status count_dims(mltfr_conditioner *c, int64_t hub)
{
    c->dims = c->narrowest;
    for (int64_t k = 0; k < c->K; k++) {
        const mltfr_llm *llm = &c->llms[k];
        int64_t common = mltfr_fitted(c, k, hub);
        if (llm->source.string == NULL)
            return mltfr_fail(MLTFR_E_USAGE,
                              "tokens.align: procrustes needs the strings of the tokens, and %s "
                              "has none: set tokens.align: pca",
                              llm->source.name);
        if (common < 2)
            return mltfr_fail(MLTFR_E_USAGE,
                              "tokens.align: procrustes is fitted on %lld anchors that %s shares "
                              "with %s, 2 are needed: set tokens.align: pca",
                              (long long)common, llm->source.name, c->llms[hub].source.name);
        c->dims = common - 1 < c->dims ? common - 1 : c->dims;
    }
    return MLTFR_OK;
}

/* ---- rotations ----------------------------------------------------------------------------- */

/* How much LLM k has to say: 0 for singular vectors that are none; the sum of the others. */
static double choose_directions(const double *s, int64_t n, double *keep)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) {
        keep[i] = s[i] > 1e-10 * s[0] ? 1 : 0;
        sum += keep[i] * s[i];
    }
    return sum;
}

/* W = U V^T of M = U S V^T; M is overwritten, sum is that of S. */
static mltfr_status rotation(mltfr_conditioner *c, mltfr_matrix *M, mltfr_view W, double *sum)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *U = NULL, *Vt = NULL;
    int64_t n = W.rows < W.cols ? W.rows : W.cols;
    double *s = NULL, *keep = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(s, n));
    MLTFR_AGREE(c->comm, MLTFR_NEW(keep, n));
    MLTFR_TRY(mltfr_matrix_create(c->grid, W.rows, n, &U));
    MLTFR_TRY(mltfr_matrix_create(c->grid, n, W.cols, &Vt));
    MLTFR_TRY(mltfr_matrix_svd(M, s, U, Vt));
    *sum = choose_directions(s, n, keep);
    mltfr_matrix_scale(U, keep);
    mltfr_matrix_multiply(1, mltfr_view_all(U), false, mltfr_view_all(Vt), 0, W);
done:
    mltfr_matrix_destroy(&U);
    mltfr_matrix_destroy(&Vt);
    MLTFR_FREE(s);
    MLTFR_FREE(keep);
    return st;
}

/* W_k, D_k x D_h, and its part of H. */
static mltfr_status turn(mltfr_conditioner *c, int64_t k, int64_t hub, mltfr_matrix *H,
                         mltfr_matrix **W)
{
    mltfr_status st = MLTFR_OK;
    int64_t D = c->llms[k].D, Dh = c->llms[hub].D;
    mltfr_stack pair = {.c = c, .count = 2, .llms = {k, hub}, .fitted = true, .whole = true};
    mltfr_matrix *S = NULL, *M = NULL;
    double sum = 0;

    MLTFR_TRY(mltfr_stack_gram(&pair, 1. / (double)mltfr_fitted(c, k, hub), &S));
    MLTFR_TRY(mltfr_matrix_create(c->grid, D, Dh, &M));
    MLTFR_TRY(mltfr_matrix_create(c->grid, D, Dh, W));
    mltfr_view cross = {S, 0, D, D, Dh};
    mltfr_matrix_add(1, cross, 0, mltfr_view_all(M));
    MLTFR_TRY(rotation(c, M, mltfr_view_all(*W), &sum));
    if (!(sum > 0))
        MLTFR_FAIL(MLTFR_E_NUMERIC, "the anchors of %s and %s have nothing in common",
                   c->llms[k].source.name, c->llms[hub].source.name);
    mltfr_matrix_multiply(1 / sum, cross, true, mltfr_view_all(*W), 1, mltfr_view_all(H));
done:
    mltfr_matrix_destroy(&S);
    mltfr_matrix_destroy(&M);
    return st;
}

/* W <- W E in the directions that count; the hub's W is E. */
static mltfr_status take_directions(mltfr_conditioner *c, int64_t k, mltfr_matrix *E)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *full = c->W[k];
    mltfr_view e = mltfr_view_columns(E, c->dims);

    c->W[k] = NULL;
    MLTFR_TRY(mltfr_matrix_create(c->grid, c->llms[k].D, c->dims, &c->W[k]));
    if (full != NULL)
        mltfr_matrix_multiply(1, mltfr_view_all(full), false, e, 0, mltfr_view_all(c->W[k]));
    else
        mltfr_matrix_add(1, e, 0, mltfr_view_all(c->W[k]));
done:
    mltfr_matrix_destroy(&full);
    return st;
}

mltfr_status mltfr_procrustes(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    int64_t hub = choose_hub(c), D = c->llms[hub].D;
    mltfr_matrix *H = NULL, *E = NULL;
    double *lam = NULL;

    MLTFR_TRY(count_dims(c, hub));
    MLTFR_AGREE(c->comm, MLTFR_NEW(lam, D));
    MLTFR_TRY(mltfr_matrix_create(c->grid, D, D, &H));
    MLTFR_TRY(mltfr_matrix_create(c->grid, D, D, &E));
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(mltfr_anchor_mean(c, &c->llms[k]));
    for (int64_t k = 0; k < c->K; k++)
        if (k != hub)
            MLTFR_TRY(turn(c, k, hub, H, &c->W[k]));
    MLTFR_TRY(mltfr_matrix_eigen(H, lam, E));
    MLTFR_TRY(mltfr_matrix_fix_signs(E));
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(take_directions(c, k, E));
    c->report->hub = hub;
done:
    mltfr_matrix_destroy(&H);
    mltfr_matrix_destroy(&E);
    MLTFR_FREE(lam);
    return st;
}
