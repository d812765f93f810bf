/* export: vectors of items, users and tokens, with their ids, for other tools. */
#include <mltfr/log.h>
#include <mltfr/progress.h>
#include <mltfr/spaces.h>
#include <mltfr/watchdog.h>

#include "sink.h"

#include <string.h>

enum { BATCH = MLTFR_RECOMMEND_BATCH, ITEMS_AT_ONCE = 4096 };

typedef struct {
    mltfr_comm *comm, *self; /* self: rank 0 alone, NULL on others */
    app_model model;
    mltfr_selection *users; /* NULL: all */
    app_sink sink;
    int64_t d;
    float *rows; /* [ITEMS_AT_ONCE][d] */
} work;

static mltfr_status export_items(work *w)
{
    mltfr_status st;
    const int64_t items = w->model.data->items;
    const mltfr_shape shape = {MLTFR_F32, 2, {items, w->d}};
    mltfr_task task = mltfr_task_begin("export", "items", items);

    MLTFR_AGREE(w->comm, sink_begin(&w->sink, "items/vectors", &shape));
    for (int64_t i = 0; i < items; i += ITEMS_AT_ONCE) {
        const int64_t n = items - i < ITEMS_AT_ONCE ? items - i : ITEMS_AT_ONCE;

        mltfr_watchdog_kick("export");
        MLTFR_TRY(mltfr_recommender_items(w->model.recommender, i, n, w->rows));
        MLTFR_AGREE(w->comm, sink_rows(&w->sink, n, w->rows));
        mltfr_task_show(&task, i + n);
    }
    MLTFR_AGREE(w->comm, sink_end(&w->sink));
    MLTFR_AGREE(w->comm,
                sink_strings(&w->sink, "items/ids", items, w->model.data->item_names, false));
    mltfr_task_end(&task);
    mltfr_say("export  items=%lld of %lld numbers", (long long)items, (long long)w->d);
done:
    return st;
}

static int64_t user_at(const work *w, int64_t i)
{
    return w->users != NULL ? w->users->number[i] : i;
}

static mltfr_status export_user_ids(work *w, int64_t count)
{
    mltfr_status st;
    char **names = NULL;

    MLTFR_TRY(MLTFR_NEW(names, count));
    for (int64_t i = 0; i < count; i++)
        names[i] = w->model.data->user_names[user_at(w, i)];
    MLTFR_TRY(sink_strings(&w->sink, "users/ids", count, names, false));
done:
    MLTFR_FREE(names);
    return st;
}

static mltfr_status export_users(work *w)
{
    mltfr_status st;
    const int64_t count = w->users != NULL ? w->users->count : w->model.data->users;
    const mltfr_shape shape = {MLTFR_F32, 2, {count, w->d}};
    mltfr_history histories[BATCH];
    mltfr_task task = mltfr_task_begin("export", "users", count);

    MLTFR_AGREE(w->comm, sink_begin(&w->sink, "users/vectors", &shape));
    for (int64_t i = 0; i < count; i += BATCH) {
        const int64_t n = count - i < BATCH ? count - i : BATCH;

        mltfr_watchdog_kick("export");
        for (int64_t u = 0; u < n; u++)
            histories[u] = mltfr_recommender_history(w->model.recommender, user_at(w, i + u));
        MLTFR_TRY(mltfr_recommender_encode(w->model.recommender, n, histories, w->rows));
        MLTFR_AGREE(w->comm, sink_rows(&w->sink, n, w->rows));
        mltfr_task_show(&task, i + n);
    }
    MLTFR_AGREE(w->comm, sink_end(&w->sink));
    MLTFR_AGREE(w->comm, export_user_ids(w, count));
    mltfr_task_end(&task);
    mltfr_say("export  users=%lld of %lld numbers", (long long)count, (long long)w->d);
done:
    return st;
}

/* @local */
static mltfr_status write_pool(work *w, const char *group, const mltfr_token_pool *pool)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_shape wide = {MLTFR_F32, 2, {pool->count, w->d}},
                      flat = {MLTFR_I64, 1, {pool->count}};
    char name[64];

#define NAMED(what) (snprintf(name, sizeof name, "tokens/%s/" what, group), name)
    MLTFR_TRY(sink_whole(&w->sink, NAMED("keys"), &wide, pool->keys));
    MLTFR_TRY(sink_whole(&w->sink, NAMED("vectors"), &wide, pool->values));
    MLTFR_TRY(sink_whole(&w->sink, NAMED("rows"), &flat, pool->row));
    MLTFR_TRY(sink_whole(&w->sink, NAMED("ids"), &flat, pool->token));
    MLTFR_TRY(sink_strings(&w->sink, NAMED("strings"), pool->count, pool->string, true));
#undef NAMED
done:
    return st;
}

static mltfr_status export_pool(work *w, int64_t k, int64_t K, char **names)
{
    mltfr_status st;
    mltfr_token_pool pool;
    char group[24] = "c";

    if (k < K)
        snprintf(group, sizeof group, "%lld", (long long)k);
    MLTFR_TRY(mltfr_recommender_pool(w->model.recommender, k, &pool));
    names[k] = (char *)(uintptr_t)pool.name;
    MLTFR_AGREE(w->comm, w->self != NULL ? write_pool(w, group, &pool) : MLTFR_OK);
done:
    mltfr_token_pool_clear(&pool);
    return st;
}

static mltfr_status export_tokens(work *w, bool asked)
{
    mltfr_status st = MLTFR_OK;
    const int64_t K = mltfr_recommender_experts(w->model.recommender);
    char *names[MLTFR_MAX_LLMS + 1];

    if (K == 0 && asked)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: no expert has started, so there are no tokens to export: "
                   "leave tokens out of --what",
                   w->model.checkpoint);
    if (K == 0)
        goto done;
    for (int64_t k = 0; k <= K; k++)
        MLTFR_TRY(export_pool(w, k, K, names));
    MLTFR_AGREE(w->comm, sink_strings(&w->sink, "tokens/names", K, names, true));
    mltfr_say("export  tokens of %lld LLMs and the consensus", (long long)K);
done:
    return st;
}

/* @local */
static mltfr_status check_request(const app_request *r, bool *hdf5)
{
    const char *name, *dot;
    mltfr_status st;

    if (r->out == NULL)
        return mltfr_fail(MLTFR_E_USAGE,
                          "export needs --out FILE.h5, or --out DIRECTORY for .npy files");
    if ((st = app_check_list("what", r->what, "items|users|tokens")) != MLTFR_OK)
        return st;
    name = strrchr(r->out, '/') != NULL ? strrchr(r->out, '/') + 1 : r->out;
    dot = strrchr(name, '.');
    *hdf5 = dot != NULL && app_word_in("h5|hdf5", dot + 1);
    if (r->format != NULL)
        *hdf5 = strcmp(r->format, "h5") == 0;
    else if (!*hdf5 && dot != NULL && dot[1] != '\0')
        return mltfr_fail(MLTFR_E_USAGE,
                          "--out: the form of %s cannot be told from its name: FILE.h5, a "
                          "directory for .npy files, or add --format",
                          r->out);
    return MLTFR_OK;
}

static mltfr_status run(work *w, const app_request *r, bool hdf5)
{
    mltfr_status st;
    const char *what = r->what != NULL ? r->what : "items,users,tokens";

    if (r->users != NULL)
        MLTFR_TRY(app_select_users(w->comm, r->users, w->model.data, &w->users));
    w->d = mltfr_recommender_width(w->model.recommender);
    MLTFR_AGREE(w->comm, MLTFR_NEW(w->rows, ITEMS_AT_ONCE * w->d));
    MLTFR_TRY(mltfr_comm_group(w->comm, 0, 0, &w->self));
    MLTFR_AGREE(w->comm, sink_open(w->self, r->out, hdf5, &w->sink));
    if (app_listed(what, "items"))
        MLTFR_TRY(export_items(w));
    if (app_listed(what, "users"))
        MLTFR_TRY(export_users(w));
    if (app_listed(what, "tokens"))
        MLTFR_TRY(export_tokens(w, r->what != NULL));
    MLTFR_AGREE(w->comm, sink_close(&w->sink));
done:
    return st;
}

mltfr_status app_export(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st;
    work w = {.comm = comm};
    bool hdf5;

    MLTFR_TRY(check_request(request, &hdf5));
    MLTFR_TRY(app_recommender(comm, request, config, &w.model));
    MLTFR_TRY(run(&w, request, hdf5));
done:
    sink_discard(&w.sink);
    mltfr_comm_destroy(&w.self);
    MLTFR_FREE(w.rows);
    mltfr_selection_destroy(&w.users);
    app_model_close(&w.model);
    return st;
}
