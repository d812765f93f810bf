/* Metrics beyond the mean over users: what lists cover, and means over bins of users. */
#include <mltfr/log.h>
#include <mltfr/watchdog.h>

#include "app_impl.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = MLTFR_RECOMMEND_BATCH, TOP = 20, BINS = 5 };

/* ---- bins ---------------------------------------------------------------------------------- */

typedef struct {
    int64_t users;
    double hr, ndcg; /* sums at 10 */
} bin;

static void bin_add(bin *b, int64_t rank)
{
    b->users++;
    b->hr += rank <= 10;
    b->ndcg += rank <= 10 ? mltfr_ndcg_of(rank) : 0.;
}

/* `"users":..,"hr@10":..,"ndcg@10":..}` and a line, `name` in front. */
static void bin_report(const bin *b, const char *name, mltfr_text *json)
{
    const double n = b->users > 0 ? (double)b->users : 1.;

    mltfr_text_add(json, "\"users\":%lld,\"hr@10\":%.17g,\"ndcg@10\":%.17g}", (long long)b->users,
                   b->hr / n, b->ndcg / n);
    mltfr_say("%-28s ndcg@10=%.4f hr@10=%.4f users=%lld", name, b->ndcg / n, b->hr / n,
              (long long)b->users);
}

/* ---- length of the history ----------------------------------------------------------------- */

static int64_t history_of(const mltfr_interactions *data, const mltfr_case *c)
{
    return c->first + c->n - data->offsets[c->user];
}

static void report_lengths(const mltfr_interactions *data, const mltfr_ranked_split *ranked,
                           mltfr_text *json)
{
    static const int64_t last[BINS] = {5, 10, 20, 50, INT64_MAX};
    bin bins[BINS] = {{0}};
    char name[64];

    for (int64_t i = 0; i < ranked->count; i++) {
        int b = 0;

        while (history_of(data, &ranked->cases[i]) > last[b])
            b++;
        bin_add(&bins[b], ranked->rank[i]);
    }
    mltfr_text_add(json, ",\"length\":[");
    for (int b = 0; b < BINS; b++) {
        const long long from = b > 0 ? last[b - 1] + 1 : 1;

        mltfr_text_add(json, "%s{\"from\":%lld,", b > 0 ? "," : "", from);
        if (b < BINS - 1)
            mltfr_text_add(json, "\"to\":%lld,", (long long)last[b]);
        snprintf(name, sizeof name, b < BINS - 1 ? "length %lld to %lld" : "length %lld and more",
                 from, (long long)last[b]);
        bin_report(&bins[b], name, json);
    }
    mltfr_text_add(json, "]");
}

/* ---- popularity ---------------------------------------------------------------------------- */

typedef struct {
    int64_t item, count;
} popular;

static int by_count(const void *x, const void *y)
{
    const popular *a = x, *b = y;

    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->item < b->item ? -1 : 1;
}

/* How often each item trains, the most frequent first. */
static mltfr_status count_items(const mltfr_interactions *data, popular **out)
{
    mltfr_status st = MLTFR_NEW(*out, data->items);

    if (st != MLTFR_OK)
        return st;
    for (int64_t i = 0; i < data->items; i++)
        (*out)[i].item = i;
    for (int64_t u = 0; u < data->users; u++)
        for (int64_t i = 0; i < mltfr_interactions_trains(data, u); i++)
            (*out)[data->ids[data->offsets[u] + i] - 1].count++;
    qsort(*out, (size_t)data->items, sizeof **out, by_count);
    return MLTFR_OK;
}

/* Items in order of popularity are cut where a fifth of the training interactions is reached, two
 * fifths, ...; items that never train are a bin of their own, the last. */
static mltfr_status report_popularity(const mltfr_interactions *data,
                                      const mltfr_ranked_split *ranked, mltfr_text *json)
{
    mltfr_status st = MLTFR_OK;
    popular *items = NULL;
    int8_t *bin_of = NULL;
    bin bins[BINS + 1] = {{0}};
    int64_t total = 0, sum = 0, size[BINS + 1] = {0};
    char name[64];

    MLTFR_TRY(count_items(data, &items));
    MLTFR_TRY(MLTFR_NEW(bin_of, data->items));
    for (int64_t i = 0; i < data->items; i++)
        total += items[i].count;
    for (int64_t i = 0; i < data->items; i++) {
        const int64_t b = items[i].count == 0 ? BINS : sum * BINS / total;

        bin_of[items[i].item] = (int8_t)b;
        size[b]++;
        sum += items[i].count;
    }
    for (int64_t i = 0; i < ranked->count; i++)
        bin_add(&bins[bin_of[ranked->cases[i].target - 1]], ranked->rank[i]);
    mltfr_text_add(json, ",\"popularity\":[");
    for (int b = 0; b <= BINS; b++) {
        mltfr_text_add(json, "%s{\"bin\":%d,\"items\":%lld,", b > 0 ? "," : "", b + 1,
                       (long long)size[b]);
        snprintf(name, sizeof name, "popularity %d, %lld items", b + 1, (long long)size[b]);
        bin_report(&bins[b], name, json);
    }
    mltfr_text_add(json, "]");
done:
    MLTFR_FREE(items);
    MLTFR_FREE(bin_of);
    return st;
}

/* ---- coverage ------------------------------------------------------------------------------ */

/* best[item] = the best place that any list gives the item, from 1; 0: none. */
static mltfr_status place_items(mltfr_comm *comm, const app_model *model,
                                const mltfr_ranked_split *ranked, uint8_t *best)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_interactions *data = model->data;
    mltfr_history histories[BATCH];
    mltfr_scored *top = NULL;

    MLTFR_AGREE(comm, MLTFR_NEW(top, BATCH * TOP));
    for (int64_t from = 0; from < ranked->count; from += BATCH) {
        const int64_t n = ranked->count - from < BATCH ? ranked->count - from : BATCH;

        mltfr_watchdog_kick("evaluate");
        for (int64_t i = 0; i < n; i++) {
            const mltfr_case *c = &ranked->cases[from + i];

            histories[i] = (mltfr_history){data->ids + data->offsets[c->user], history_of(data, c)};
        }
        MLTFR_TRY(mltfr_recommend(model->recommender, n, histories,
                                  model->settings->eval_exclude_seen, NULL, TOP, top));
        for (int64_t i = 0; i < n * TOP && mltfr_comm_rank(comm) == 0; i++) {
            uint8_t *place = top[i].item > 0 ? &best[top[i].item - 1] : NULL;

            if (place != NULL && (*place == 0 || *place > i % TOP + 1))
                *place = (uint8_t)(i % TOP + 1);
        }
    }
done:
    MLTFR_FREE(top);
    return st;
}

static mltfr_status report_coverage(mltfr_comm *comm, const app_model *model,
                                    const mltfr_ranked_split *ranked, mltfr_text *json)
{
    static const int cuts[] = {5, 10, 20};
    mltfr_status st;
    const int64_t items = model->data->items;
    uint8_t *best = NULL;

    MLTFR_AGREE(comm, MLTFR_NEW(best, items));
    MLTFR_TRY(place_items(comm, model, ranked, best));
    for (int c = 0; c < 3; c++) {
        int64_t named = 0;

        for (int64_t i = 0; i < items; i++)
            named += best[i] > 0 && best[i] <= cuts[c];
        mltfr_text_add(json, ",\"coverage@%d\":%.17g", cuts[c], (double)named / (double)items);
        mltfr_say("coverage@%d %.4f", cuts[c], (double)named / (double)items);
    }
done:
    MLTFR_FREE(best);
    return st;
}

mltfr_status app_evaluate_more(mltfr_comm *comm, const app_model *model,
                               const mltfr_ranked_split *ranked, const char *metrics,
                               mltfr_text *json)
{
    mltfr_status st = MLTFR_OK;

    if (app_listed(metrics, "coverage"))
        MLTFR_TRY(report_coverage(comm, model, ranked, json));
    if (app_listed(metrics, "popularity"))
        MLTFR_AGREE(comm, report_popularity(model->data, ranked, json));
    if (app_listed(metrics, "length"))
        report_lengths(model->data, ranked, json);
done:
    return st;
}
