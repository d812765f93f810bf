/* The rows of one LLM's table: read a block at a time whenever they are needed, for a mapped file
 * is cheaper to decode again than to keep as float32; their mean, their covariance, and the mean
 * cosine between two of them, (|sum of unit rows|^2 - n) / (n (n - 1)). */
#include "conditioning_impl.h"

#include <mltfr/mem.h>

#include <math.h>
#include <string.h>

void mltfr_llm_forget(mltfr_llm *llm)
{
    if (llm->source.forget != NULL)
        llm->source.forget(llm->source.context);
}

void mltfr_llm_release(mltfr_llm *llm)
{
    mltfr_rows_destroy(&llm->page);
    mltfr_rows_destroy(&llm->made);
    mltfr_rows_destroy(&llm->anchor_rows);
    llm->page_block = -1;
}

void mltfr_llm_destroy(mltfr_llm *llm)
{
    mltfr_llm_release(llm);
    mltfr_rows_destroy(&llm->Z);
    MLTFR_FREE(llm->kept);
    MLTFR_FREE(llm->kept_before);
    MLTFR_FREE(llm->mean);
    MLTFR_FREE(llm->mean_anchor);
    MLTFR_FREE(llm->lam);
    MLTFR_FREE(llm->lam_res);
    MLTFR_FREE(llm->U);
    MLTFR_FREE(llm->U_spec);
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void read_rows(mltfr_llm *llm, int64_t first, int64_t rows, void *out)
{
    mltfr_status st = llm->source.read(llm->source.context, first, rows, out);

    if (st == MLTFR_OK)
        return;
    memset(out, 0, (size_t)(rows * llm->D) * mltfr_rows_element(&llm->page));
    llm->st = llm->st == MLTFR_OK ? st : llm->st;
}

const mltfr_rows *mltfr_llm_block(mltfr_llm *llm, int64_t block, int64_t *first)
{
    const mltfr_blocks *b = &llm->tokens;

    *first = b->begin;
    if (llm->made.data != NULL)
        return &llm->made;
    *first = mltfr_blocks_begin(b, block);
    if (llm->page_block != block)
        read_rows(llm, *first, mltfr_blocks_begin(b, block + 1) - *first, llm->page.data);
    llm->page_block = block;
    return &llm->page;
}

void mltfr_llm_row(mltfr_llm *llm, int64_t id, void *out)
{
    if (llm->made.data != NULL)
        memcpy(out, mltfr_rows_at(&llm->made, id - llm->tokens.begin),
               (size_t)llm->D * mltfr_rows_element(&llm->made));
    else
        read_rows(llm, id, 1, out);
}

int64_t mltfr_llm_kept_index(const mltfr_llm *llm, int64_t id)
{
    int64_t lo = 0, hi = llm->count;

    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (llm->kept[mid] < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int64_t mltfr_llm_fill(void *context, int64_t block, int64_t cols, double *X)
{
    mltfr_llm *llm = context;
    int64_t before = llm->kept_before[block], n = llm->kept_before[block + 1] - before, first;
    const mltfr_rows *rows = mltfr_llm_block(llm, block, &first);

    for (int64_t i = 0; i < n; i++)
        mltfr_rows_get(rows, llm->kept[before + i] - first, cols, llm->mean, X + i * cols);
    return n;
}

int64_t mltfr_llm_fill_slim(mltfr_llm *llm, int64_t block, float *X)
{
    int64_t before = llm->kept_before[block], n = llm->kept_before[block + 1] - before, first;
    const mltfr_rows *rows = mltfr_llm_block(llm, block, &first);

    for (int64_t i = 0; i < n; i++)
        mltfr_rows_get_slim(rows, llm->kept[before + i] - first, llm->mean, X + i * llm->D);
    return n;
}

/* ---- moments ------------------------------------------------------------------------------- */

mltfr_status mltfr_llm_cosine(mltfr_conditioner *c, const mltfr_llm *llm, int64_t width,
                              const double *sums, double *cosine)
{
    mltfr_status st = MLTFR_OK;
    double *total = NULL, n = (double)llm->count, square = 0;

    MLTFR_AGREE(c->comm, MLTFR_NEW(total, width));
    MLTFR_TRY(mltfr_blocks_sum(c->comm, &llm->tokens, width, sums, total));
    for (int64_t j = 0; j < width; j++)
        square += total[j] * total[j];
    *cosine = (square - n) / (n * (n - 1));
done:
    MLTFR_FREE(total);
    return st;
}

/* Sums over the kept rows of a block, as they are and to unit norm. */
static void sum_block(mltfr_llm *llm, int64_t block, double *row, double *sum, double *units)
{
    int64_t first;
    const mltfr_rows *rows = mltfr_llm_block(llm, block, &first);

    for (int64_t i = llm->kept_before[block]; i < llm->kept_before[block + 1]; i++) {
        int64_t at = llm->kept[i] - first;
        mltfr_rows_get(rows, at, llm->D, NULL, row);
        mltfr_vector_add(llm->D, 1, row, sum);
        mltfr_vector_add(llm->D, 1 / fmax(mltfr_rows_norm(rows, at), 1e-300), row, units);
    }
}

mltfr_status mltfr_llm_mean(mltfr_conditioner *c, mltfr_llm *llm, double *cosine)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &llm->tokens;
    int64_t D = llm->D;
    double *sums = NULL, *units = NULL, *row = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(sums, (b->last - b->first) * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(units, (b->last - b->first) * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(row, D));
    if (llm->mean == NULL)
        MLTFR_AGREE(c->comm, MLTFR_NEW(llm->mean, D));
    for (int64_t i = b->first; i < b->last; i++)
        sum_block(llm, i, row, sums + (i - b->first) * D, units + (i - b->first) * D);
    MLTFR_AGREE(c->comm, llm->st);
    MLTFR_TRY(mltfr_blocks_sum(c->comm, b, D, sums, llm->mean));
    for (int64_t j = 0; j < D; j++)
        llm->mean[j] /= (double)llm->count;
    MLTFR_TRY(mltfr_llm_cosine(c, llm, D, units, cosine));
done:
    MLTFR_FREE(sums);
    MLTFR_FREE(units);
    MLTFR_FREE(row);
    return st;
}

mltfr_status mltfr_llm_gram(mltfr_conditioner *c, mltfr_llm *llm, mltfr_matrix **S)
{
    mltfr_status st = MLTFR_OK;
    mltfr_row_blocks X = {llm, llm->tokens.first, llm->tokens.last, llm->tokens.size,
                          mltfr_llm_fill};

    MLTFR_TRY(mltfr_matrix_create(c->grid, llm->D, llm->D, S));
    MLTFR_TRY(mltfr_matrix_gram(*S, &X, 1. / (double)llm->count));
    MLTFR_AGREE(c->comm, llm->st);
done:
    return st;
}
