/* recommend: top-K lists for users of the data or for sequences of a file, streamed in batches. */
#include <mltfr/log.h>
#include <mltfr/progress.h>
#include <mltfr/selection.h>
#include <mltfr/watchdog.h>

#include "app_impl.h"

#include <string.h>

enum { BATCH = MLTFR_RECOMMEND_BATCH, DEFAULT_TOP = 10, MOST_TOP = 10000 };

typedef struct {
    mltfr_comm *comm;
    app_model model;
    mltfr_selection *users;     /* NULL: all, or sequences */
    mltfr_sequences *sequences; /* NULL: users */
    uint8_t *allowed;           /* [items] or NULL */
    int64_t count, top_k;
    int64_t named;     /* items in the lists */
    mltfr_scored *top; /* [BATCH][top_k] */
    const char *form;  /* csv or jsonl */
    app_output out;
} work;

/* ---- what is asked ------------------------------------------------------------------------- */

/* Options that need no model, so that a mistake shows at once.  @local */
static mltfr_status check_request(const app_request *r, work *w)
{
    w->top_k = DEFAULT_TOP;
    if ((r->users == NULL) == (r->sequences == NULL))
        return mltfr_fail(MLTFR_E_USAGE,
                          "recommend needs %s: --users all|FILE|ID,ID for users of "
                          "the data, --sequences FILE for new sequences",
                          r->users == NULL ? "to know for whom" : "one of the two");
    if (r->out == NULL)
        return mltfr_fail(MLTFR_E_USAGE, "recommend needs --out FILE.csv or --out FILE.jsonl");
    if (r->top_k != NULL &&
        (!mltfr_text_to_i64(r->top_k, &w->top_k) || w->top_k < 1 || w->top_k > MOST_TOP))
        return mltfr_fail(MLTFR_E_USAGE,
                          "--top-k: %s is not allowed: must be a whole number from 1 to %d",
                          r->top_k, MOST_TOP);
    return app_form(r, "csv|jsonl", &w->form);
}

static mltfr_status read_sequences(work *w, const char *path)
{
    mltfr_status st;

    MLTFR_TRY(app_require(w->comm, "--sequences", path));
    MLTFR_TRY(mltfr_sequences_read(w->comm, path, w->model.data, &w->sequences));
    const mltfr_sequences *s = w->sequences;

    w->count = s->count;
    if (s->unknown > 0)
        mltfr_warn("%s: %lld items in %lld lines are not in the data and were left out; %lld lines "
                   "have no known item and get no list",
                   path, (long long)s->unknown, (long long)s->unknown_lines, (long long)s->empty);
done:
    return st;
}

/* An allow-list; what the model has never seen cannot be recommended, so it is passed over. */
static mltfr_status read_allowed(work *w, const char *path)
{
    mltfr_status st;
    mltfr_selection *items = NULL;

    MLTFR_TRY(app_require(w->comm, "--items", path));
    MLTFR_TRY(mltfr_selection_read(w->comm, path, w->model.data->item_names, w->model.data->items,
                                   &items));
    if (items->count == 0)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: none of its %lld items is in the data: an item id a line is "
                   "needed",
                   path, (long long)items->unknown);
    if (items->unknown > 0)
        mltfr_warn("%s: %lld items are not in the data and were left out, the first is '%s'", path,
                   (long long)items->unknown, items->first);
    MLTFR_AGREE(w->comm, MLTFR_NEW(w->allowed, w->model.data->items));
    for (int64_t i = 0; i < items->count; i++)
        w->allowed[items->number[i]] = 1;
done:
    mltfr_selection_destroy(&items);
    return st;
}

static mltfr_status read_inputs(work *w, const app_request *request)
{
    mltfr_status st = MLTFR_OK;

    w->count = w->model.data->users;
    if (request->sequences != NULL)
        MLTFR_TRY(read_sequences(w, request->sequences));
    else
        MLTFR_TRY(app_select_users(w->comm, request->users, w->model.data, &w->users));
    if (w->users != NULL)
        w->count = w->users->count;
    if (request->items != NULL)
        MLTFR_TRY(read_allowed(w, request->items));
    MLTFR_AGREE(w->comm, MLTFR_NEW(w->top, BATCH * w->top_k));
done:
    return st;
}

/* ---- lists --------------------------------------------------------------------------------- */

static bool is_csv(const work *w)
{
    return strcmp(w->form, "csv") == 0;
}

static int64_t user_at(const work *w, int64_t i)
{
    return w->users != NULL ? w->users->number[i] : i;
}

static mltfr_history history_at(const work *w, int64_t i)
{
    if (w->sequences == NULL)
        return mltfr_recommender_history(w->model.recommender, user_at(w, i));
    const int64_t from = w->sequences->offsets[i];

    return (mltfr_history){w->sequences->ids + from, w->sequences->offsets[i + 1] - from};
}

static void add_csv(const work *w, int64_t i, const mltfr_scored *top, mltfr_text *text)
{
    for (int64_t k = 0; k < w->top_k && top[k].item > 0; k++) {
        if (w->sequences != NULL)
            mltfr_text_add(text, "%lld", (long long)w->sequences->line[i]);
        else
            app_add_csv(text, w->model.data->user_names[user_at(w, i)]);
        mltfr_text_add_bytes(text, ",", 1);
        app_add_csv(text, w->model.data->item_names[top[k].item - 1]);
        mltfr_text_add(text, ",%lld,%.9g\n", (long long)k + 1, (double)top[k].score);
    }
}

static void add_jsonl(const work *w, int64_t i, const mltfr_scored *top, mltfr_text *text)
{
    if (w->sequences != NULL) {
        mltfr_text_add(text, "{\"line\":%lld", (long long)w->sequences->line[i]);
    } else {
        mltfr_text_add(text, "{\"user\":");
        mltfr_text_add_quoted(text, w->model.data->user_names[user_at(w, i)]);
    }
    mltfr_text_add(text, ",\"items\":[");
    for (int64_t k = 0; k < w->top_k && top[k].item > 0; k++) {
        mltfr_text_add_bytes(text, ",", k > 0);
        mltfr_text_add_quoted(text, w->model.data->item_names[top[k].item - 1]);
    }
    mltfr_text_add(text, "],\"scores\":[");
    for (int64_t k = 0; k < w->top_k && top[k].item > 0; k++)
        mltfr_text_add(text, "%s%.9g", k > 0 ? "," : "", (double)top[k].score);
    mltfr_text_add(text, "]}\n");
}

/* The lists of sources first .. first + n; those without a history have none.  Rank 0. */
static mltfr_status write_lists(work *w, int64_t first, int64_t n)
{
    static const mltfr_scored none = {0, 0.f};
    const mltfr_scored *top = w->top;
    mltfr_text text = {0};

    if (w->out.file == NULL)
        return MLTFR_OK;
    for (int64_t i = first; i < first + n; i++) {
        const bool has = history_at(w, i).n > 0;

        (is_csv(w) ? add_csv : add_jsonl)(w, i, has ? top : &none, &text);
        for (int64_t k = 0; has && k < w->top_k; k++)
            w->named += top[k].item > 0;
        top += has ? w->top_k : 0;
    }
    return app_output_text(&w->out, &text);
}

static mltfr_status run_batch(work *w, int64_t first, int64_t n)
{
    mltfr_status st;
    mltfr_history histories[BATCH];
    int64_t asked = 0;

    mltfr_watchdog_kick("recommend");
    for (int64_t i = first; i < first + n; i++) {
        histories[asked] = history_at(w, i);
        asked += histories[asked].n > 0;
    }
    MLTFR_TRY(mltfr_recommend(w->model.recommender, asked, histories,
                              w->model.settings->eval_exclude_seen, w->allowed, w->top_k, w->top));
    MLTFR_AGREE(w->comm, write_lists(w, first, n));
done:
    return st;
}

static mltfr_status run(work *w, const char *path)
{
    mltfr_status st;
    mltfr_text head = {0};

    MLTFR_TRY(app_output_open(w->comm, path, &w->out));
    if (is_csv(w)) {
        mltfr_text_add(&head, "%s,item_id,rank,score\n", w->sequences != NULL ? "line" : "user_id");
        MLTFR_AGREE(w->comm, app_output_text(&w->out, &head));
    }
    mltfr_task task =
        mltfr_task_begin("recommend", w->sequences != NULL ? "sequences" : "users", w->count);

    for (int64_t i = 0; i < w->count; i += BATCH) {
        MLTFR_TRY(run_batch(w, i, w->count - i < BATCH ? w->count - i : BATCH));
        mltfr_task_show(&task, i + BATCH);
    }
    mltfr_task_end(&task);
    MLTFR_TRY(app_output_close(w->comm, &w->out));
    mltfr_say("recommend  lists=%lld items=%lld  %s", (long long)w->count, (long long)w->named,
              path);
done:
    mltfr_text_destroy(&head);
    return st;
}

mltfr_status app_recommend(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st;
    work w = {.comm = comm};

    MLTFR_TRY(check_request(request, &w));
    MLTFR_TRY(app_recommender(comm, request, config, &w.model));
    MLTFR_TRY(read_inputs(&w, request));
    MLTFR_TRY(run(&w, request->out));
done:
    app_output_discard(&w.out);
    MLTFR_FREE(w.top);
    MLTFR_FREE(w.allowed);
    mltfr_selection_destroy(&w.users);
    mltfr_sequences_destroy(&w.sequences);
    app_model_close(&w.model);
    return st;
}
