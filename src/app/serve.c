/* libmltfr: what the verb recommend does, as calls, for one process. */
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/serve.h>
#include <mltfr/versions.h>

#include "app_impl.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = MLTFR_RECOMMEND_BATCH };

typedef struct {
    const char *id;
    int64_t number; /* in the data, from 0 */
} entry;

struct mltfr_server {
    mltfr_comm *comm;
    app_model model;
    entry *users, *items; /* [users], [items], by id */
};

/* ---- open and close ------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->id, ((const entry *)b)->id);
}

static mltfr_status sort_names(char *const *names, int64_t n, entry **out)
{
    mltfr_status st;

    MLTFR_TRY(MLTFR_NEW(*out, n));
    for (int64_t i = 0; i < n; i++)
        (*out)[i] = (entry){names[i], i};
    qsort(*out, (size_t)n, sizeof **out, compare);
done:
    return st;
}

static int64_t find(const entry *sorted, int64_t n, const char *id)
{
    const entry key = {.id = id};
    const entry *found = bsearch(&key, sorted, (size_t)n, sizeof key, compare);

    return found != NULL ? found->number : -1;
}

/* The configuration is the checkpoint's, with the settings on top, as of `--set`. */
static mltfr_status open_model(mltfr_comm *comm, const char *checkpoint,
                               const char *const settings[], app_model *out)
{
    static const app_verb verb = {.source = APP_CONFIG_DEFAULTS};
    app_request request = {.verb = &verb, .checkpoint = checkpoint};
    mltfr_config *own = NULL;
    mltfr_status st;

    while (settings != NULL && settings[request.set_count] != NULL)
        request.set_count++;
    MLTFR_TRY(MLTFR_NEW(request.sets, request.set_count));
    for (int i = 0; i < request.set_count; i++)
        request.sets[i] = settings[i];
    MLTFR_TRY(mltfr_config_create(&own));
    MLTFR_TRY(app_configure(comm, &request, own));
    MLTFR_TRY(app_recommender(comm, &request, own, out));
done:
    mltfr_config_destroy(&own);
    MLTFR_FREE(request.sets);
    return st;
}

int mltfr_serve_open(const char *checkpoint, const char *const settings[], mltfr_server **out)
{
    /* Numbers in configurations have a point, whatever the host program's locale. */
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0), host = uselocale(plain);
    mltfr_server *s = NULL;
    mltfr_status st;

    *out = NULL;
    mltfr_log_setup(1, true); /* only rank 0 prints */
    mltfr_blas_setup();
    MLTFR_TRY(MLTFR_NEW(s, 1));
    MLTFR_TRY(mltfr_comm_start(NULL, NULL, &s->comm));
    MLTFR_TRY(open_model(s->comm, checkpoint, settings, &s->model));
    MLTFR_TRY(sort_names(s->model.data->user_names, s->model.data->users, &s->users));
    MLTFR_TRY(sort_names(s->model.data->item_names, s->model.data->items, &s->items));
    *out = s;
    s = NULL;
done:
    mltfr_serve_close(&s);
    uselocale(host);
    if (plain != (locale_t)0)
        freelocale(plain);
    return mltfr_status_exit(st);
}

void mltfr_serve_close(mltfr_server **server)
{
    if (*server == NULL)
        return;
    app_model_close(&(*server)->model);
    mltfr_comm_finish(&(*server)->comm);
    MLTFR_FREE((*server)->users);
    MLTFR_FREE((*server)->items);
    MLTFR_FREE(*server);
}

const char *mltfr_serve_error(void)
{
    return mltfr_error_text;
}

const char *mltfr_serve_version(void)
{
    return MLTFR_VERSION;
}

/* ---- users and items ----------------------------------------------------------------------- */

int64_t mltfr_serve_users(const mltfr_server *server)
{
    return server->model.data->users;
}

int64_t mltfr_serve_items(const mltfr_server *server)
{
    return server->model.data->items;
}

static const char *name_of(char *const *names, int64_t n, int64_t i)
{
    return i >= 0 && i < n ? names[i] : NULL;
}

const char *mltfr_serve_user_id(const mltfr_server *server, int64_t user)
{
    return name_of(server->model.data->user_names, mltfr_serve_users(server), user);
}

const char *mltfr_serve_item_id(const mltfr_server *server, int64_t item)
{
    return name_of(server->model.data->item_names, mltfr_serve_items(server), item - 1);
}

int64_t mltfr_serve_find_user(const mltfr_server *server, const char *id)
{
    return find(server->users, mltfr_serve_users(server), id);
}

int32_t mltfr_serve_find_item(const mltfr_server *server, const char *id)
{
    return (int32_t)find(server->items, mltfr_serve_items(server), id) + 1;
}

mltfr_serve_history mltfr_serve_user_history(const mltfr_server *server, int64_t user)
{
    mltfr_history h = {NULL, 0};

    if (user >= 0 && user < mltfr_serve_users(server))
        h = mltfr_recommender_history(server->model.recommender, user);
    return (mltfr_serve_history){h.items, h.n};
}

/* ---- answers ------------------------------------------------------------------------------- */

static mltfr_status check_history(const mltfr_server *s, int64_t i, mltfr_serve_history h)
{
    mltfr_status st = MLTFR_OK;
    const int64_t items = mltfr_serve_items(s);

    if (h.n < 1)
        MLTFR_FAIL(MLTFR_E_USAGE, "history %lld is empty: an item at least is needed",
                   (long long)i);
    for (int64_t k = 0; k < h.n; k++)
        if (h.items[k] < 1 || h.items[k] > items)
            MLTFR_FAIL(MLTFR_E_USAGE,
                       "history %lld: item %d is not allowed: must be from 1 to %lld", (long long)i,
                       (int)h.items[k], (long long)items);
done:
    return st;
}

static mltfr_status check_question(const mltfr_server *s, int64_t n,
                                   const mltfr_serve_history histories[], int which, int64_t top_k)
{
    mltfr_status st = MLTFR_OK;

    if (which != MLTFR_SERVE_ALL && which != MLTFR_SERVE_NEW)
        MLTFR_FAIL(MLTFR_E_USAGE,
                   "which = %d is not allowed: must be MLTFR_SERVE_ALL or MLTFR_SERVE_NEW", which);
    if (top_k < 1)
        MLTFR_FAIL(MLTFR_E_USAGE, "top_k = %lld is not allowed: must be from 1 on",
                   (long long)top_k);
    for (int64_t i = 0; i < n; i++)
        MLTFR_TRY(check_history(s, i, histories[i]));
done:
    return st;
}

/* The lists of a batch. */
static mltfr_status recommend(mltfr_server *s, int64_t n, const mltfr_serve_history from[],
                              const uint8_t *allowed, int which, int64_t top_k, mltfr_scored *top)
{
    mltfr_history histories[BATCH];

    for (int64_t i = 0; i < n; i++)
        histories[i] = (mltfr_history){from[i].items, from[i].n};
    return mltfr_recommend(s->model.recommender, n, histories, which == MLTFR_SERVE_NEW, allowed,
                           top_k, top);
}

static int64_t batch_at(int64_t n, int64_t first)
{
    return n - first < BATCH ? n - first : BATCH;
}

int mltfr_serve_recommend(mltfr_server *server, int64_t n, const mltfr_serve_history histories[],
                          const uint8_t *allowed, int which, int64_t top_k, mltfr_serve_item *out)
{
    mltfr_scored *top = NULL;
    mltfr_status st;

    MLTFR_TRY(check_question(server, n, histories, which, top_k));
    MLTFR_TRY(MLTFR_NEW(top, batch_at(n, 0) * top_k));
    for (int64_t first = 0; first < n; first += BATCH) {
        const int64_t count = batch_at(n, first);

        MLTFR_TRY(recommend(server, count, histories + first, allowed, which, top_k, top));
        for (int64_t i = 0; i < count * top_k; i++)
            out[first * top_k + i] = (mltfr_serve_item){top[i].item, top[i].score};
    }
done:
    MLTFR_FREE(top);
    return mltfr_status_exit(st);
}

/* A list of all items has all scores. */
int mltfr_serve_score(mltfr_server *server, int64_t n, const mltfr_serve_history histories[],
                      float *out)
{
    const int64_t items = mltfr_serve_items(server);
    mltfr_scored *top = NULL;
    mltfr_status st;

    MLTFR_TRY(check_question(server, n, histories, MLTFR_SERVE_ALL, items));
    MLTFR_TRY(MLTFR_NEW(top, batch_at(n, 0) * items));
    for (int64_t first = 0; first < n; first += BATCH) {
        const int64_t count = batch_at(n, first);

        MLTFR_TRY(recommend(server, count, histories + first, NULL, MLTFR_SERVE_ALL, items, top));
        for (int64_t i = 0; i < count * items; i++)
            out[(first + i / items) * items + top[i].item - 1] = top[i].score;
    }
done:
    MLTFR_FREE(top);
    return mltfr_status_exit(st);
}
