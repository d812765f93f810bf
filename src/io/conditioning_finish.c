/* E10: Z = (T - mu) [U | U_spec], columns to unit variance over the kept rows, over sqrt(r), norms
 * of rows clipped at their 99 % quantile (C20); and the consensus space, the mean of the shared
 * blocks of the LLMs that have an anchor. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>
#include <mltfr/product.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- projection ---------------------------------------------------------------------------- */

/* [U | U_spec], row by row. */
static void join_maps(const mltfr_conditioner *c, const mltfr_llm *llm, double *map)
{
    for (int64_t i = 0; i < llm->D; i++) {
        double *row = map + i * (c->r_c + c->r_s);
        memcpy(row, llm->U + i * c->r_c, (size_t)c->r_c * sizeof *row);
        memcpy(row + c->r_c, llm->U_spec + i * c->r_s, (size_t)c->r_s * sizeof *row);
    }
}

/* Z = (T - mu) map, and by block the sums and the squares of the columns. */
static mltfr_status project(mltfr_conditioner *c, mltfr_llm *llm, double *sums)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &llm->tokens;
    int64_t r = c->r_c + c->r_s, n = llm->kept_before[b->last] - llm->first_kept, at = 0;
    double *map = NULL, *X = NULL, *Y = NULL;

    MLTFR_TRY(mltfr_rows_create(&llm->Z, n, r, llm->source.wide));
    MLTFR_TRY(MLTFR_NEW(map, llm->D * r));
    MLTFR_TRY(MLTFR_NEW(X, b->size * llm->D));
    MLTFR_TRY(MLTFR_NEW(Y, b->size * r));
    join_maps(c, llm, map);
    for (int64_t i = b->first; i < b->last; i++) {
        int64_t rows = mltfr_llm_fill(llm, i, llm->D, X);
        double *sum = sums + 2 * (i - b->first) * r;
        mltfr_product_nn(rows, r, llm->D, X, map, Y);
        for (int64_t j = 0; j < rows; j++) {
            mltfr_vector_add(r, 1, Y + j * r, sum);
            mltfr_vector_add_squares(r, Y + j * r, sum + r);
            mltfr_rows_put(&llm->Z, at++, Y + j * r);
        }
    }
    c->operations += 2. * (double)(n * r * llm->D);
    st = llm->st;
done:
    MLTFR_FREE(map);
    MLTFR_FREE(X);
    MLTFR_FREE(Y);
    return st;
}

/* ---- columns ------------------------------------------------------------------------------- */

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
            MLTFR_FAIL(MLTFR_E_NUMERIC,
                       "token table %s has no variance in dimension %lld of %lld: smaller "
                       "tokens.shared_dim and tokens.specific_dim are needed",
                       llm->source.name, (long long)j, (long long)r);
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

mltfr_status mltfr_consensus_space(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &c->anchors.blocks;

    if (c->anchors.count == 0)
        return mltfr_comm_agree(c->comm, copy_shared(c));
    c->Zc_first = b->begin;
    c->Zc_total = c->anchors.count;
    MLTFR_AGREE(c->comm,
                mltfr_rows_create(&c->Zc, b->end - b->begin, c->r_c, c->llms[0].source.wide));
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(add_shared(c, k));
done:
    return st;
}
