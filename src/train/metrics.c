/* Ranks and what is said of them (C14). */
#include <mltfr/evaluate.h>
#include <mltfr/kernel.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

MLTFR_KERNEL static int64_t count_at_least(int64_t n, const float *scores, float bound)
{
    int32_t count = 0;

#pragma omp simd reduction(+ : count)
    for (int64_t i = 0; i < n; i++)
        count += scores[i] >= bound;
    return count;
}

int64_t mltfr_rank_tile(int64_t n, int64_t first, const float *scores, float at_least,
                        int32_t target, const int32_t *seen, int64_t seen_count)
{
    int64_t count = count_at_least(n, scores, at_least);
    const int64_t own = target - 1 - first;

    if (own >= 0 && own < n)
        count -= scores[own] >= at_least;
    for (int64_t i = 0; i < seen_count; i++) {
        const int64_t c = seen[i] - 1 - first;
        if (c >= 0 && c < n && seen[i] != target)
            count -= scores[c] >= at_least;
    }
    return count;
}

/* A sum over users of one number becomes its mean, one of squares the mean's standard error. */
static void mean_and_error(double n, double *mean, double *error)
{
    *mean /= n;
    *error = sqrt(fmax(*error / n - *mean * *mean, 0.) / n);
}

void mltfr_metrics_of(int64_t users, const int64_t *rank, mltfr_metrics *out)
{
    static const int64_t cut[] = {5, 10, 20};
    const double n = users > 0 ? (double)users : 1.;

    *out = (mltfr_metrics){.users = users};
    for (int64_t u = 0; u < users; u++) {
        const double first = 1. / (double)rank[u], gain = mltfr_ndcg_of(rank[u]);

        out->mrr += first;
        out->mrr_se += first * first;
        for (int i = 0; i < 3; i++)
            if (rank[u] <= cut[i]) {
                out->hr[i] += 1.;
                out->ndcg[i] += gain;
                out->ndcg_se[i] += gain * gain;
            }
    }
    mean_and_error(n, &out->mrr, &out->mrr_se);
    for (int i = 0; i < 3; i++) {
        out->hr[i] /= n;
        mean_and_error(n, &out->ndcg[i], &out->ndcg_se[i]);
    }
}

void mltfr_metrics_json(const mltfr_metrics *m, char *text, size_t bytes)
{
    snprintf(text, bytes,
             "\"hr@5\":%.17g,\"hr@10\":%.17g,\"hr@20\":%.17g,\"ndcg@5\":%.17g,\"ndcg@10\":%.17g,"
             "\"ndcg@20\":%.17g,\"mrr\":%.17g,\"users\":%" PRId64 ",\"ndcg@5_se\":%.6g,"
             "\"ndcg@10_se\":%.6g,\"ndcg@20_se\":%.6g,\"mrr_se\":%.6g",
             m->hr[0], m->hr[1], m->hr[2], m->ndcg[0], m->ndcg[1], m->ndcg[2], m->mrr, m->users,
             m->ndcg_se[0], m->ndcg_se[1], m->ndcg_se[2], m->mrr_se);
}
