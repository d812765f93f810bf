/* The kept rows of one LLM: as blocks of a tall matrix, their mean, their covariance, and the mean
 * cosine between two of them, (|sum of unit rows|^2 - n) / (n (n - 1)). */
#include "conditioning_impl.h"

#include <mltfr/mem.h>

#include <math.h>

void mltfr_llm_destroy(mltfr_llm *llm)
{
    mltfr_rows_destroy(&llm->raw);
    mltfr_rows_destroy(&llm->anchor_rows);
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
    const mltfr_llm *llm = context;
    int64_t first = llm->kept_before[block], n = llm->kept_before[block + 1] - first;

    for (int64_t i = 0; i < n; i++)
        mltfr_rows_get(&llm->raw, llm->kept[first + i] - llm->tokens.begin, cols, llm->mean,
                       X + i * cols);
    return n;
}

mltfr_status mltfr_llm_mean(mltfr_conditioner *c, mltfr_llm *llm)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &llm->tokens;
    int64_t D = llm->D;
    double *sums = NULL, *row = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(sums, (b->last - b->first) * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(row, D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->mean, D));
    for (int64_t i = llm->kept_before[b->first]; i < llm->kept_before[b->last]; i++) {
        double *sum = sums + (llm->kept[i] / b->size - b->first) * D;
        mltfr_rows_get(&llm->raw, llm->kept[i] - b->begin, D, NULL, row);
        for (int64_t j = 0; j < D; j++)
            sum[j] += row[j];
    }
    MLTFR_TRY(mltfr_blocks_sum(c->comm, b, D, sums, llm->mean));
    for (int64_t j = 0; j < D; j++)
        llm->mean[j] /= (double)llm->count;
done:
    MLTFR_FREE(sums);
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
done:
    return st;
}

/* Add row i of `rows`, to unit norm. */
static void add_unit(const mltfr_rows *rows, int64_t i, double *row, double *sum)
{
    double norm = fmax(mltfr_rows_norm(rows, i), 1e-300);

    mltfr_rows_get(rows, i, rows->width, NULL, row);
    for (int64_t j = 0; j < rows->width; j++)
        sum[j] += row[j] / norm;
}

mltfr_status mltfr_llm_cosine(mltfr_conditioner *c, const mltfr_llm *llm, bool finished,
                              double *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &llm->tokens;
    const mltfr_rows *rows = finished ? &llm->Z : &llm->raw;
    int64_t width = rows->width;
    double *sums = NULL, *row = NULL, *total = NULL, n = (double)llm->count, square = 0;

    MLTFR_AGREE(c->comm, MLTFR_NEW(sums, (b->last - b->first) * width));
    MLTFR_AGREE(c->comm, MLTFR_NEW(row, width));
    MLTFR_AGREE(c->comm, MLTFR_NEW(total, width));
    for (int64_t i = llm->kept_before[b->first]; i < llm->kept_before[b->last]; i++)
        add_unit(rows, finished ? i - llm->first_kept : llm->kept[i] - b->begin, row,
                 sums + (llm->kept[i] / b->size - b->first) * width);
    MLTFR_TRY(mltfr_blocks_sum(c->comm, b, width, sums, total));
    for (int64_t j = 0; j < width; j++)
        square += total[j] * total[j];
    *out = (square - n) / (n * (n - 1));
done:
    MLTFR_FREE(sums);
    MLTFR_FREE(row);
    MLTFR_FREE(total);
    return st;
}
