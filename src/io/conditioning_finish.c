/* E10: Z = (T - mu) [U | U_spec], columns to unit variance over the kept rows, over sqrt(r), norms
 * of rows clipped at their 99 % quantile (C20); and the consensus space, the mean of the shared
 * blocks of the LLMs that have an anchor. */
#include "conditioning_impl.h"

#include <mltfr/linalg.h>
#include <mltfr/mem.h>
#include <mltfr/product.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- projection ---------------------------------------------------------------------------- */

/* Z = X map a block of rows at a time, in the precision that Z is kept in. */
typedef struct {
    mltfr_llm *llm;
    bool wide;
    double *map, *X, *row;    /* [D][r] [U | U_spec]; rows of a block; one row of Z */
    float *map_slim, *X_slim; /* the same */
    double *sums;             /* [blocks][2][r] sums and squares of the columns */
} projection;

static void join_maps(const mltfr_conditioner *c, projection *p)
{
    const mltfr_llm *llm = p->llm;

    for (int64_t i = 0; i < llm->D; i++) {
        double *row = p->map + i * (c->r_c + c->r_s);
        memcpy(row, llm->U + i * c->r_c, (size_t)c->r_c * sizeof *row);
        memcpy(row + c->r_c, llm->U_spec + i * c->r_s, (size_t)c->r_s * sizeof *row);
    }
    for (int64_t i = 0; !p->wide && i < llm->D * (c->r_c + c->r_s); i++)
        p->map_slim[i] = (float)p->map[i];
}

/* Rows of Z from `at` on; how many. */
static int64_t project_block(projection *p, int64_t block, int64_t at)
{
    mltfr_llm *llm = p->llm;
    int64_t r = llm->Z.width, n;
    void *Z = mltfr_rows_at(&llm->Z, at);

    if (p->wide) {
        n = mltfr_llm_fill(llm, block, llm->D, p->X);
        mltfr_product_nn(n, r, llm->D, p->X, p->map, Z);
    } else {
        n = mltfr_llm_fill_slim(llm, block, p->X_slim);
        mltfr_gemm_nn(n, r, llm->D, p->X_slim, llm->D, p->map_slim, r, 0, Z, r);
    }
    return n;
}

static void add_moments(projection *p, int64_t block, int64_t at, int64_t n)
{
    const mltfr_llm *llm = p->llm;
    int64_t r = llm->Z.width;
    double *sum = p->sums + 2 * (block - llm->tokens.first) * r;

    for (int64_t i = at; i < at + n; i++) {
        mltfr_rows_get(&llm->Z, i, r, NULL, p->row);
        mltfr_vector_add(r, 1, p->row, sum);
        mltfr_vector_add_squares(r, p->row, sum + r);
    }
}

static mltfr_status projection_rooms(const mltfr_conditioner *c, projection *p)
{
    mltfr_status st = MLTFR_OK;
    mltfr_llm *llm = p->llm;
    int64_t r = c->r_c + c->r_s, block = llm->tokens.size;
    int64_t n = llm->kept_before[llm->tokens.last] - llm->first_kept;

    MLTFR_TRY(mltfr_rows_create(&llm->Z, n, r, p->wide));
    MLTFR_TRY(MLTFR_NEW(p->map, llm->D * r));
    MLTFR_TRY(MLTFR_NEW(p->X, p->wide ? block * llm->D : 0));
    MLTFR_TRY(MLTFR_NEW(p->row, r));
    MLTFR_TRY(MLTFR_NEW(p->map_slim, p->wide ? 0 : llm->D * r));
    MLTFR_TRY(MLTFR_NEW(p->X_slim, p->wide ? 0 : block * llm->D));
done:
    return st;
}

/* Z = (T - mu) [U | U_spec], and by block the sums and the squares of the columns. */
static mltfr_status project(mltfr_conditioner *c, mltfr_llm *llm, double *sums)
{
    mltfr_status st = MLTFR_OK;
    projection p = {.llm = llm, .wide = llm->source.wide, .sums = sums};
    int64_t at = 0;

    MLTFR_TRY(projection_rooms(c, &p));
    join_maps(c, &p);
    for (int64_t i = llm->tokens.first; i < llm->tokens.last; i++) {
        int64_t n = project_block(&p, i, at);
        add_moments(&p, i, at, n);
        at += n;
    }
    c->operations += 2. * (double)(at * llm->Z.width * llm->D);
    st = llm->st;
done:
    MLTFR_FREE(p.map);
    MLTFR_FREE(p.X);
    MLTFR_FREE(p.row);
    MLTFR_FREE(p.map_slim);
    MLTFR_FREE(p.X_slim);
    return st;
}

/* ---- columns ------------------------------------------------------------------------------- */

mltfr_status mltfr_no_variance(const mltfr_conditioner *c, const mltfr_llm *llm)
{
    return mltfr_fail(MLTFR_E_NUMERIC,
                      "token table %s has no variance in some of %lld dimensions: smaller "
                      "tokens.shared_dim = %lld and tokens.specific_dim = %lld are needed",
                      llm->source.name, (long long)(c->r_c + c->r_s), (long long)c->r_c,
                      (long long)c->r_s);
}

/* What each column is multiplied with: unit variance, over sqrt(r).  T - mu has mean 0, so the
 * mean of the squares hardly differs from the variance and nothing cancels. */
static mltfr_status column_scales(mltfr_conditioner *c, const mltfr_llm *llm, const double *sums,
                                  double *scale)
{
    mltfr_status st = MLTFR_OK;
    int64_t r = llm->Z.width;
    double *total = NULL, n = (double)llm->count;

    MLTFR_AGREE(c->comm, MLTFR_NEW(total, 2 * r));
    MLTFR_TRY(mltfr_blocks_sum(c->comm, &llm->tokens, 2 * r, sums, total));
    for (int64_t j = 0; j < r; j++) {
        double mean = total[j] / n, variance = total[r + j] / n - mean * mean;
        if (!(variance > 0 && isfinite(variance)))
            MLTFR_TRY(mltfr_no_variance(c, llm));
        scale[j] = 1 / sqrt(variance) / sqrt((double)r);
    }
done:
    MLTFR_FREE(total);
    return st;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The 99 % quantile of n numbers, by linear interpolation; sorts them. */
static double quantile(double *x, int64_t n)
{
    double at = .99 * (double)(n - 1);
    int64_t i = (int64_t)at;

    qsort(x, (size_t)n, sizeof *x, by_value);
    return i + 1 < n ? x[i] + (x[i + 1] - x[i]) * (at - (double)i) : x[i];
}

/* Scale the columns; norms of the rows, and by block the sums of unit rows. */
static void scale_rows(mltfr_llm *llm, const double *scale, double *row, double *norm,
                       double *units)
{
    const mltfr_blocks *b = &llm->tokens;
    int64_t r = llm->Z.width;

    for (int64_t i = 0; i < llm->Z.rows; i++) {
        int64_t block = llm->kept[llm->first_kept + i] / b->size - b->first;
        mltfr_rows_get(&llm->Z, i, r, NULL, row);
        mltfr_vector_multiply(r, scale, row);
        mltfr_rows_put(&llm->Z, i, row);
        norm[i] = mltfr_rows_norm(&llm->Z, i);
        mltfr_vector_add(r, 1 / fmax(norm[i], 1e-300), row, units + block * r);
    }
}

/* Clip the norms of this rank's rows. */
static mltfr_status clip_rows(mltfr_conditioner *c, mltfr_llm *llm, const double *mine)
{
    mltfr_status st = MLTFR_OK;
    int size = mltfr_comm_size(c->comm);
    int64_t bytes[size];
    double *all = NULL;

    for (int p = 0; p < size; p++)
        bytes[p] = (llm->kept_before[mltfr_share_first(llm->tokens.blocks, size, p + 1)] -
                    llm->kept_before[mltfr_share_first(llm->tokens.blocks, size, p)]) *
                   (int64_t)sizeof *mine;
    MLTFR_AGREE(c->comm, MLTFR_NEW(all, llm->count));
    mltfr_comm_allgatherv(c->comm, mine, bytes, all);
    double most = quantile(all, llm->count);
    for (int64_t i = 0; i < llm->Z.rows; i++)
        if (mine[i] > most)
            mltfr_rows_scale(&llm->Z, i, most / mine[i]);
done:
    MLTFR_FREE(all);
    return st;
}

mltfr_status mltfr_finish(mltfr_conditioner *c, mltfr_llm *llm, double *cosine)
{
    mltfr_status st = MLTFR_OK;
    int64_t r = c->r_c + c->r_s, blocks = llm->tokens.last - llm->tokens.first;
    double *sums = NULL, *scale = NULL, *row = NULL, *norm = NULL, *units = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(sums, 2 * blocks * r));
    MLTFR_AGREE(c->comm, MLTFR_NEW(scale, r));
    MLTFR_AGREE(c->comm, MLTFR_NEW(row, r));
    MLTFR_AGREE(c->comm, MLTFR_NEW(units, blocks * r));
    MLTFR_AGREE(c->comm, project(c, llm, sums));
    MLTFR_AGREE(c->comm, MLTFR_NEW(norm, llm->Z.rows));
    MLTFR_TRY(column_scales(c, llm, sums, scale));
    scale_rows(llm, scale, row, norm, units);
    MLTFR_TRY(mltfr_llm_cosine(c, llm, r, units, cosine));
    MLTFR_TRY(clip_rows(c, llm, norm));
done:
    MLTFR_FREE(sums);
    MLTFR_FREE(scale);
    MLTFR_FREE(row);
    MLTFR_FREE(norm);
    MLTFR_FREE(units);
    return st;
}

/* ---- consensus ----------------------------------------------------------------------------- */

/* Add the shared blocks of LLM k's anchors. */
static mltfr_status add_shared(mltfr_conditioner *c, int64_t k)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_anchors *an = &c->anchors;
    mltfr_rows rows = {0};
    double *x = NULL, *sum = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(x, c->r_c));
    MLTFR_AGREE(c->comm, MLTFR_NEW(sum, c->r_c));
    MLTFR_TRY(mltfr_anchor_rows(c, &c->llms[k], true, c->r_c, &rows));
    for (int64_t a = an->blocks.begin; a < an->blocks.end; a++) {
        int64_t i = a - an->blocks.begin, present = 0;
        for (int64_t l = 0; l < c->K; l++)
            present += an->ids[a * c->K + l] >= 0;
        mltfr_rows_get(&rows, i, c->r_c, NULL, x);
        mltfr_rows_get(&c->Zc, i, c->r_c, NULL, sum);
        mltfr_vector_add(c->r_c, 1 / (double)present, x, sum);
        mltfr_rows_put(&c->Zc, i, sum);
    }
done:
    mltfr_rows_destroy(&rows);
    MLTFR_FREE(x);
    MLTFR_FREE(sum);
    return st;
}

/* The first LLM's own shared block. */
static mltfr_status copy_shared(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_llm *llm = &c->llms[0];
    double *x = NULL;

    MLTFR_TRY(MLTFR_NEW(x, c->r_c));
    MLTFR_TRY(mltfr_rows_create(&c->Zc, llm->Z.rows, c->r_c, llm->source.wide));
    for (int64_t i = 0; i < llm->Z.rows; i++) {
        mltfr_rows_get(&llm->Z, i, c->r_c, NULL, x);
        mltfr_rows_put(&c->Zc, i, x);
    }
    c->Zc_first = llm->first_kept;
    c->Zc_total = llm->count;
done:
    MLTFR_FREE(x);
    return st;
}

static mltfr_status begin_consensus(mltfr_conditioner *c)
{
    const mltfr_blocks *b = &c->anchors.blocks;

    if (c->anchors.count == 0)
        return copy_shared(c);
    c->Zc_first = b->begin;
    c->Zc_total = c->anchors.count;
    return mltfr_rows_create(&c->Zc, b->end - b->begin, c->r_c, c->llms[0].source.wide);
}

mltfr_status mltfr_consensus_add(mltfr_conditioner *c, int64_t k)
{
    mltfr_status st = MLTFR_OK;

    if (k == 0)
        MLTFR_AGREE(c->comm, begin_consensus(c));
    if (c->anchors.count > 0)
        MLTFR_TRY(add_shared(c, k));
done:
    return st;
}
