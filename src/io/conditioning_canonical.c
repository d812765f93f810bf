/* The canonical correlations of two LLMs within the shared block.  The directions of E8 are a
 * compromise of all LLMs; between two of them there are better ones in the same span.  Over the
 * fitted anchors that both have, with G_k = X_k U_k,
 *
 *      [S_jj S_jl; . S_ll] = cov [G_j G_l],  W_k = V (Lam + eps mean(Lam))^-1/2 of S_kk,
 *      W_j^T S_jl W_l = P diag(s) Q^T,       maps U_j W_j P and U_l W_l Q,
 *
 * whose columns are then correlated on the held-out anchors.  Nothing of it goes into the spaces.
 */
#include "conditioning_impl.h"

#include <mltfr/mem.h>
#include <mltfr/product.h>

#include <math.h>
#include <string.h>

typedef struct {
    mltfr_conditioner *c;
    int64_t llms[2];
    double *X, *G; /* [block][D], [block][r_c] */
} pair_rows;

/* Rows of LLM k for the anchors of a block that both have and that are fitted. */
static int64_t fill_half(const pair_rows *p, int side, int64_t block)
{
    const mltfr_conditioner *c = p->c;
    const mltfr_anchors *an = &c->anchors;
    const mltfr_llm *llm = &c->llms[p->llms[side]];
    int64_t n = 0, end = mltfr_blocks_begin(&an->blocks, block + 1);

    for (int64_t a = mltfr_blocks_begin(&an->blocks, block); a < end; a++)
        if (mltfr_anchor_in(an, a, p->llms[0], false) && mltfr_anchor_in(an, a, p->llms[1], false))
            mltfr_rows_get(&llm->anchor_rows, a - an->blocks.begin, llm->D, llm->mean_anchor,
                           p->X + n++ * llm->D);
    mltfr_product_nn(n, c->r_c, llm->D, p->X, llm->U, p->G);
    return n;
}

/* Rows [G_j G_l] of a block, their first `cols` columns. */
static int64_t fill_pair(void *context, int64_t block, int64_t cols, double *out)
{
    const pair_rows *p = context;
    const int64_t r = p->c->r_c;
    int64_t n = 0;

    for (int side = 0; side < 2 && side * r < cols; side++) {
        const int64_t width = cols - side * r < r ? cols - side * r : r;

        n = fill_half(p, side, block);
        for (int64_t i = 0; i < n; i++)
            memcpy(out + i * cols + side * r, p->G + i * r, (size_t)width * sizeof *out);
    }
    return n;
}

static mltfr_status pair_gram(mltfr_conditioner *c, const mltfr_pair_report *pair, int64_t fitted,
                              mltfr_matrix **S)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &c->anchors.blocks;
    const int64_t D[] = {c->llms[pair->j].D, c->llms[pair->l].D};
    pair_rows p = {.c = c, .llms = {pair->j, pair->l}};
    const mltfr_row_blocks X = {&p, b->first, b->last, b->size, fill_pair};

    MLTFR_AGREE(c->comm, MLTFR_NEW(p.X, b->size * (D[0] > D[1] ? D[0] : D[1])));
    MLTFR_AGREE(c->comm, MLTFR_NEW(p.G, b->size * c->r_c));
    MLTFR_TRY(mltfr_matrix_create(c->grid, 2 * c->r_c, 2 * c->r_c, S));
    MLTFR_TRY(mltfr_matrix_gram(*S, &X, 1. / (double)fitted));
done:
    MLTFR_FREE(p.X);
    MLTFR_FREE(p.G);
    return st;
}

/* W of the diagonal block of S that begins at `at`. */
static mltfr_status whitening(mltfr_conditioner *c, mltfr_matrix *S, int64_t at, mltfr_matrix **W)
{
    mltfr_status st = MLTFR_OK;
    const int64_t r = c->r_c;
    mltfr_matrix *block = NULL;
    double *lam = NULL, mean = 0;

    MLTFR_AGREE(c->comm, MLTFR_NEW(lam, r));
    MLTFR_TRY(mltfr_matrix_create(c->grid, r, r, &block));
    MLTFR_TRY(mltfr_matrix_create(c->grid, r, r, W));
    mltfr_matrix_add(1, (mltfr_view){S, at, at, r, r}, 0, mltfr_view_all(block));
    MLTFR_TRY(mltfr_matrix_eigen(block, lam, *W));
    MLTFR_TRY(mltfr_matrix_fix_signs(*W));
    for (int64_t i = 0; i < r; i++)
        mean += lam[i] / (double)r;
    for (int64_t i = 0; i < r; i++)
        lam[i] = 1 / sqrt(fmax(lam[i], 0) + (c->options->eps + 1e-12) * mean);
    mltfr_matrix_scale(*W, lam);
done:
    mltfr_matrix_destroy(&block);
    MLTFR_FREE(lam);
    return st;
}

/* P and Q of W_j^T S_jl W_l, r x r each. */
static mltfr_status directions(mltfr_conditioner *c, mltfr_matrix *S, mltfr_matrix *W[2],
                               mltfr_matrix *PQ[2])
{
    mltfr_status st = MLTFR_OK;
    const int64_t r = c->r_c;
    mltfr_matrix *T = NULL, *M = NULL, *Qt = NULL;
    double *s = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(s, r));
    MLTFR_TRY(mltfr_matrix_create(c->grid, r, r, &T));
    MLTFR_TRY(mltfr_matrix_create(c->grid, r, r, &M));
    MLTFR_TRY(mltfr_matrix_create(c->grid, r, r, &Qt));
    for (int side = 0; side < 2; side++)
        MLTFR_TRY(mltfr_matrix_create(c->grid, r, r, &PQ[side]));
    mltfr_matrix_multiply(1, (mltfr_view){S, 0, r, r, r}, false, mltfr_view_all(W[1]), 0,
                          mltfr_view_all(T));
    mltfr_matrix_multiply(1, mltfr_view_all(W[0]), true, mltfr_view_all(T), 0, mltfr_view_all(M));
    MLTFR_TRY(mltfr_matrix_svd(M, s, PQ[0], Qt));
    mltfr_matrix_transpose(mltfr_view_all(Qt), mltfr_view_all(PQ[1]));
done:
    mltfr_matrix_destroy(&T);
    mltfr_matrix_destroy(&M);
    mltfr_matrix_destroy(&Qt);
    MLTFR_FREE(s);
    return st;
}

/* G [held_count][r_c] = held-out rows of an LLM times U W P, on every rank. */
static mltfr_status project(mltfr_conditioner *c, const mltfr_llm *llm, mltfr_matrix *W,
                            mltfr_matrix *P, double **G)
{
    mltfr_status st = MLTFR_OK;
    const int64_t r = c->r_c;
    mltfr_matrix *turn = NULL;
    double *dense = NULL, *map = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(dense, r * r));
    MLTFR_AGREE(c->comm, MLTFR_NEW(map, llm->D * r));
    MLTFR_AGREE(c->comm, MLTFR_NEW(*G, c->anchors.held_count * r));
    MLTFR_TRY(mltfr_matrix_create(c->grid, r, r, &turn));
    mltfr_matrix_multiply(1, mltfr_view_all(W), false, mltfr_view_all(P), 0, mltfr_view_all(turn));
    MLTFR_TRY(mltfr_matrix_get(turn, 0, r, dense));
    mltfr_product_nn(llm->D, r, r, llm->U, dense, map);
    MLTFR_TRY(mltfr_held_project(c, llm, map, r, *G));
done:
    mltfr_matrix_destroy(&turn);
    MLTFR_FREE(dense);
    MLTFR_FREE(map);
    return st;
}

static mltfr_status correlate(mltfr_conditioner *c, mltfr_pair_report *pair, double *G[2])
{
    mltfr_status st = MLTFR_OK;
    int64_t *rows = NULL, n = 0;

    MLTFR_TRY(MLTFR_NEW(rows, c->anchors.held_count));
    MLTFR_TRY(MLTFR_NEW(pair->canonical, c->r_c));
    MLTFR_TRY(mltfr_held_common(&c->anchors, pair->j, pair->l, rows, &n));
    for (int64_t i = 0; i < c->r_c; i++)
        pair->canonical[i] = mltfr_pearson(G[0] + i, G[1] + i, c->r_c, rows, n);
done:
    MLTFR_FREE(rows);
    return st;
}

static mltfr_status judge_pair(mltfr_conditioner *c, mltfr_pair_report *pair)
{
    mltfr_status st = MLTFR_OK;
    const int64_t of[] = {pair->j, pair->l}, fitted = mltfr_fitted(c, pair->j, pair->l);
    mltfr_matrix *S = NULL, *W[2] = {NULL}, *PQ[2] = {NULL};
    double *G[2] = {NULL};

    if (pair->held_out < 2 || fitted <= c->r_c) /* fewer anchors correlate perfectly */
        return MLTFR_OK;
    MLTFR_TRY(pair_gram(c, pair, fitted, &S));
    for (int side = 0; side < 2; side++)
        MLTFR_TRY(whitening(c, S, side * c->r_c, &W[side]));
    MLTFR_TRY(directions(c, S, W, PQ));
    for (int side = 0; side < 2; side++)
        MLTFR_TRY(project(c, &c->llms[of[side]], W[side], PQ[side], &G[side]));
    MLTFR_AGREE(c->comm, correlate(c, pair, G));
done:
    mltfr_matrix_destroy(&S);
    for (int side = 0; side < 2; side++) {
        mltfr_matrix_destroy(&W[side]);
        mltfr_matrix_destroy(&PQ[side]);
        MLTFR_FREE(G[side]);
    }
    return st;
}

mltfr_status mltfr_judge_canonical(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t i = 0; i < c->report->pair_count; i++)
        MLTFR_TRY(judge_pair(c, &c->report->pairs[i]));
done:
    return st;
}
