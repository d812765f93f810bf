/* explain: which tokens speak for a user, and whose; or for all users, on average. */
#include <mltfr/log.h>
#include <mltfr/progress.h>
#include <mltfr/spaces.h>
#include <mltfr/watchdog.h>

#include "app_impl.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = MLTFR_RECOMMEND_BATCH, DEFAULT_TOKENS = 10, MOST_SHOWN = 20 };

/* Sums over all users, of one expert. */
typedef struct {
    double router, part;
    int64_t chosen;
    double *weight; /* [pool] */
    int64_t *kept;  /* [pool] users */
} tally;

typedef struct {
    mltfr_comm *comm;
    app_model model;
    mltfr_selection *users; /* NULL: all, which are averaged */
    int64_t K, shown, count;
    mltfr_token_pool pool[MLTFR_MAX_LLMS + 1];
    double phi[MLTFR_MAX_LLMS], distance[MLTFR_MAX_LLMS];
    tally sum[MLTFR_MAX_LLMS + 1];
    mltfr_text json;
    app_output out; /* its file is NULL without --out */
} work;

/* ---- one expert's line --------------------------------------------------------------------- */

/* An expert's part in what is added to h: the parts of a user sum up to 1. */
static double part_of(const mltfr_explanation *x, int64_t u, int64_t k)
{
    const double gate = x->gate[u];

    return k == x->K ? gate : (1. - gate) * x->router[u * x->K + k];
}

static void add_token_json(mltfr_text *json, const mltfr_token_pool *pool, int64_t j, bool first)
{
    mltfr_text_add(json, "%s{\"token\":", first ? "" : ",");
    mltfr_text_add_quoted(json, pool->string[j]);
    if (pool->token[j] >= 0)
        mltfr_text_add(json, ",\"id\":%lld", (long long)pool->token[j]);
}

static void add_expert_json(work *w, int64_t k, double router, double part)
{
    mltfr_text *json = &w->json;

    mltfr_text_add(json, "%s{\"name\":", k > 0 ? "," : "");
    mltfr_text_add_quoted(json, w->pool[k].name);
    if (k < w->K)
        mltfr_text_add(json, ",\"router\":%.9g,\"phi\":%.17g,\"distance\":%.17g", router, w->phi[k],
                       w->distance[k]);
    mltfr_text_add(json, ",\"part\":%.9g,\"tokens\":[", part);
}

/* `  name  part 0.31  router 0.62  phi 0.53`, the tokens follow. */
static void add_expert_text(const work *w, mltfr_text *line, int64_t k, double router, double part)
{
    mltfr_text_add(line, "  %-12s part %.3f", w->pool[k].name, part);
    if (k < w->K)
        mltfr_text_add(line, "  router %.3f  phi %.3f", router, w->phi[k]);
    mltfr_text_add(line, "%s ", k < w->K ? "" : "                          ");
}

static mltfr_status say_line(mltfr_text *line)
{
    if (line->st == MLTFR_OK)
        mltfr_say("%s", line->data);
    const mltfr_status st = line->st;

    mltfr_text_destroy(line);
    return st;
}

/* ---- each user ----------------------------------------------------------------------------- */

static void add_user_tokens(work *w, const mltfr_explanation *x, int64_t u, int64_t k,
                            mltfr_text *line)
{
    mltfr_text *json = &w->json;
    const int64_t at = (u * (x->K + 1) + k) * x->m;

    for (int64_t i = 0; i < x->m && i < w->shown && x->token[at + i] >= 0; i++) {
        add_token_json(json, &w->pool[k], x->token[at + i], i == 0);
        mltfr_text_add(json, ",\"weight\":%.9g}", (double)x->weight[at + i]);
        mltfr_text_add(line, " %s (%.3f)", w->pool[k].string[x->token[at + i]],
                       (double)x->weight[at + i]);
    }
    mltfr_text_add(json, "]}");
}

/* User number u of the batch, number i of those asked for. */
static mltfr_status explain_user(work *w, const mltfr_explanation *x, int64_t u, int64_t i)
{
    mltfr_status st = MLTFR_OK;
    const int64_t user = w->users->number[i];
    const char *name = w->model.data->user_names[user];

    mltfr_text_add(&w->json, "%s\n{\"user\":", i > 0 ? "," : "");
    mltfr_text_add_quoted(&w->json, name);
    mltfr_text_add(&w->json, ",\"gate\":%.9g,\"experts\":[", (double)x->gate[u]);
    if (w->count <= MOST_SHOWN)
        mltfr_say("user %s: %lld items, gate of the consensus %.3f", name,
                  (long long)mltfr_recommender_history(w->model.recommender, user).n,
                  (double)x->gate[u]);
    for (int64_t k = 0; k <= x->K; k++) {
        const double router = k < x->K ? x->router[u * x->K + k] : 0.;
        mltfr_text line = {0};

        add_expert_json(w, k, router, part_of(x, u, k));
        add_expert_text(w, &line, k, router, part_of(x, u, k));
        add_user_tokens(w, x, u, k, &line);
        if (w->count <= MOST_SHOWN)
            MLTFR_TRY(say_line(&line));
        mltfr_text_destroy(&line);
    }
    mltfr_text_add(&w->json, "]}");
done:
    return st;
}

/* ---- all users ----------------------------------------------------------------------------- */

static mltfr_status tally_alloc(work *w)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t k = 0; k <= w->K; k++) {
        MLTFR_TRY(MLTFR_NEW(w->sum[k].weight, w->pool[k].count));
        MLTFR_TRY(MLTFR_NEW(w->sum[k].kept, w->pool[k].count));
    }
done:
    return st;
}

static void tally_user(work *w, const mltfr_explanation *x, int64_t u)
{
    for (int64_t k = 0; k <= x->K; k++) {
        const int64_t at = (u * (x->K + 1) + k) * x->m;
        tally *sum = &w->sum[k];

        sum->router += k < x->K ? x->router[u * x->K + k] : 0.;
        sum->part += part_of(x, u, k);
        sum->chosen += x->token[at] >= 0;
        for (int64_t i = 0; i < x->m && x->token[at + i] >= 0; i++) {
            sum->weight[x->token[at + i]] += x->weight[at + i];
            sum->kept[x->token[at + i]]++;
        }
    }
}

/* The pool's tokens by falling sum of weights; of equal ones the first. */
static const tally *sorted;

static int by_weight(const void *x, const void *y)
{
    const int64_t i = *(const int64_t *)x, j = *(const int64_t *)y;
    const double a = sorted->weight[i], b = sorted->weight[j];

    return a > b ? -1 : a < b ? 1 : i < j ? -1 : 1;
}

static mltfr_status report_tokens(work *w, int64_t k, mltfr_text *line)
{
    mltfr_status st = MLTFR_OK;
    const int64_t M = w->pool[k].count;
    const tally *sum = &w->sum[k];
    int64_t *order = NULL;

    MLTFR_TRY(MLTFR_NEW(order, M));
    for (int64_t j = 0; j < M; j++)
        order[j] = j;
    sorted = sum;
    qsort(order, (size_t)M, sizeof *order, by_weight);
    for (int64_t i = 0; i < M && i < w->shown && sum->kept[order[i]] > 0; i++) {
        const double mean = sum->weight[order[i]] / (double)sum->chosen;

        add_token_json(&w->json, &w->pool[k], order[i], i == 0);
        mltfr_text_add(&w->json, ",\"weight\":%.17g,\"users\":%lld}", mean,
                       (long long)sum->kept[order[i]]);
        mltfr_text_add(line, " %s (%.3f)", w->pool[k].string[order[i]], mean);
    }
    mltfr_text_add(&w->json, "]}");
done:
    MLTFR_FREE(order);
    return st;
}

static mltfr_status report_all(work *w)
{
    mltfr_status st = MLTFR_OK;
    const double n = (double)w->count, gate = w->sum[w->K].part / n;

    mltfr_text_add(&w->json, "\"gate\":%.17g,\"experts\":[", gate);
    mltfr_say("%lld users: gate of the consensus %.3f", (long long)w->count, gate);
    for (int64_t k = 0; k <= w->K; k++) {
        const double router = w->sum[k].router / n, part = w->sum[k].part / n;
        mltfr_text line = {0};

        add_expert_json(w, k, router, part);
        add_expert_text(w, &line, k, router, part);
        MLTFR_TRY(report_tokens(w, k, &line));
        MLTFR_TRY(say_line(&line));
    }
    mltfr_text_add(&w->json, "]");
done:
    return st;
}

/* ---- the verb ------------------------------------------------------------------------------ */

static mltfr_status take_batch(work *w, const mltfr_explanation *x, int64_t first, int64_t n)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t u = 0; u < n && x->gate != NULL; u++) {
        if (w->users == NULL)
            tally_user(w, x, u);
        else
            MLTFR_TRY(explain_user(w, x, u, first + u));
    }
    if (w->users != NULL)
        MLTFR_TRY(app_output_text(&w->out, &w->json));
done:
    return st;
}

static mltfr_status run_batch(work *w, int64_t first, int64_t n)
{
    mltfr_status st;
    mltfr_history histories[BATCH];
    mltfr_explanation x = {0};

    mltfr_watchdog_kick("explain");
    for (int64_t u = 0; u < n; u++)
        histories[u] = mltfr_recommender_history(
            w->model.recommender, w->users != NULL ? w->users->number[first + u] : first + u);
    MLTFR_TRY(mltfr_explain(w->model.recommender, n, histories, &x));
    MLTFR_AGREE(w->comm, take_batch(w, &x, first, n));
done:
    mltfr_explanation_clear(&x);
    return st;
}

static mltfr_status prepare(work *w, const app_request *r)
{
    mltfr_status st;

    MLTFR_TRY(app_select_users(w->comm, r->users, w->model.data, &w->users));
    w->count = w->users != NULL ? w->users->count : w->model.data->users;
    if (w->users != NULL && w->count > MOST_SHOWN && r->out == NULL)
        MLTFR_FAIL(MLTFR_E_USAGE, "explain of %lld users needs --out FILE.json: up to %d are shown",
                   (long long)w->count, MOST_SHOWN);
    w->K = mltfr_recommender_experts(w->model.recommender);
    for (int64_t k = 0; w->K > 0 && k <= w->K; k++)
        MLTFR_TRY(mltfr_recommender_pool(w->model.recommender, k, &w->pool[k]));
    if (w->K > 0)
        mltfr_recommender_consensus(w->model.recommender, w->phi, w->distance);
    MLTFR_AGREE(w->comm, tally_alloc(w));
    if (r->out != NULL)
        MLTFR_TRY(app_output_open(w->comm, r->out, &w->out));
done:
    return st;
}

static mltfr_status run(work *w, const char *path)
{
    mltfr_status st = MLTFR_OK;
    mltfr_task task = mltfr_task_begin("explain", "users", w->count);

    mltfr_text_add(&w->json, "{\"checkpoint\":");
    mltfr_text_add_quoted(&w->json, w->model.checkpoint);
    if (w->users == NULL)
        mltfr_text_add(&w->json, ",\"users\":%lld,", (long long)w->count);
    else
        mltfr_text_add(&w->json, ",\"users\":[");
    for (int64_t i = 0; i < w->count; i += BATCH) {
        MLTFR_TRY(run_batch(w, i, w->count - i < BATCH ? w->count - i : BATCH));
        mltfr_task_show(&task, i + BATCH);
    }
    mltfr_task_end(&task);
    if (mltfr_comm_rank(w->comm) == 0 && w->users == NULL)
        st = report_all(w);
    MLTFR_AGREE(w->comm, st);
    mltfr_text_add(&w->json, w->users == NULL ? "}\n" : "]}\n");
    MLTFR_AGREE(w->comm, app_output_text(&w->out, &w->json));
    if (path != NULL)
        MLTFR_TRY(app_output_close(w->comm, &w->out));
done:
    return st;
}

static void clear(work *w)
{
    for (int64_t k = 0; k <= MLTFR_MAX_LLMS; k++) {
        mltfr_token_pool_clear(&w->pool[k]);
        MLTFR_FREE(w->sum[k].weight);
        MLTFR_FREE(w->sum[k].kept);
    }
    app_output_discard(&w->out);
    mltfr_text_destroy(&w->json);
    mltfr_selection_destroy(&w->users);
    app_model_close(&w->model);
}

mltfr_status app_explain(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st = MLTFR_OK;
    work w = {.comm = comm, .shown = DEFAULT_TOKENS};

    if (request->users == NULL)
        MLTFR_FAIL(MLTFR_E_USAGE, "explain needs --users all|FILE|ID,ID");
    if (request->tokens != NULL && (!mltfr_text_to_i64(request->tokens, &w.shown) || w.shown < 1))
        MLTFR_FAIL(MLTFR_E_USAGE, "--tokens: %s is not allowed: must be a whole number from 1 on",
                   request->tokens);
    MLTFR_TRY(app_recommender(comm, request, config, &w.model));
    MLTFR_TRY(prepare(&w, request));
    MLTFR_TRY(run(&w, request->out));
done:
    clear(&w);
    return st;
}
