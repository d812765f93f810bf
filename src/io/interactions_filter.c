/* Users and items with too few interactions are dropped until none is left (a k-core where both
 * limits are k), and the split by time is cut. */
#include "interactions_impl.h"

#include <mltfr/mem.h>

#include <stdlib.h>
#include <string.h>

typedef struct {
    mltfr_interactions *data;
    int64_t *user, *item; /* interactions left; 0: dropped */
} core;

static void count_all(core *c)
{
    const mltfr_interactions *d = c->data;

    for (int64_t u = 0; u < d->users; u++)
        c->user[u] = d->offsets[u + 1] - d->offsets[u];
    for (int64_t i = 0; i < d->count; i++)
        c->item[d->ids[i] - 1]++;
}

/* Drop a user; the items left with him lose an interaction each. */
static void drop_user(core *c, int64_t u)
{
    const mltfr_interactions *d = c->data;

    for (int64_t i = d->offsets[u]; i < d->offsets[u + 1]; i++)
        c->item[d->ids[i] - 1] -= c->item[d->ids[i] - 1] > 0;
    c->user[u] = 0;
}

/* One pass: users below the limit go, then items; true where something went. */
static bool pass(core *c, int64_t min_user, int64_t min_item)
{
    const mltfr_interactions *d = c->data;
    bool changed = false;

    for (int64_t u = 0; u < d->users; u++)
        if (c->user[u] > 0 && c->user[u] < min_user) {
            drop_user(c, u);
            changed = true;
        }
    for (int64_t i = 0; i < d->items; i++)
        if (c->item[i] > 0 && c->item[i] < min_item) {
            c->item[i] = 0;
            changed = true;
        }
    for (int64_t u = 0; changed && u < d->users; u++) {
        int64_t left = 0;

        for (int64_t i = d->offsets[u]; c->user[u] > 0 && i < d->offsets[u + 1]; i++)
            left += c->item[d->ids[i] - 1] > 0;
        c->user[u] = left;
    }
    return changed;
}

/* Names of those that are left, in a new block. */
static mltfr_status keep_names(char ***names, int64_t n, const int64_t *left, int64_t *kept)
{
    mltfr_status st;
    int64_t count = 0, bytes = 0;
    char **all = *names, **out = NULL, *at;

    for (int64_t i = 0; i < n; i++)
        if (left[i] > 0) {
            bytes += (int64_t)strlen(all[i]) + 1;
            count++;
        }
    MLTFR_TRY(mltfr_names_alloc(count, bytes, &out));
    at = (char *)(out + count);
    for (int64_t i = 0; i < n; i++)
        if (left[i] > 0)
            at = stpcpy(at, all[i]) + 1;
    mltfr_names_link(out, count);
    MLTFR_FREE(*names);
    *names = out;
    *kept = count;
done:
    return st;
}

/* New numbers for items, rising as before; 0: dropped.  `item` holds them afterwards. */
static void number_items(core *c)
{
    int64_t next = 0;

    for (int64_t i = 0; i < c->data->items; i++)
        c->item[i] = c->item[i] > 0 ? ++next : 0;
}

/* Move what is left together.  A cut moves with the items before it. */
static void compact(core *c)
{
    mltfr_interactions *d = c->data;
    int64_t to = 0, user = 0;

    for (int64_t u = 0, from = 0; u < d->users; u++) {
        const int64_t begin = from, end = d->offsets[u + 1], start = to;
        int64_t cuts[2] = {0, 0};

        for (; from < end; from++) {
            const int64_t item = c->user[u] > 0 ? c->item[d->ids[from] - 1] : 0;

            if (item == 0)
                continue;
            for (int i = 0; d->cuts != NULL && i < 2; i++)
                cuts[i] += from - begin < d->cuts[2 * u + i];
            if (d->times != NULL)
                d->times[to] = d->times[from];
            d->ids[to++] = (int32_t)item;
        }
        if (to == start)
            continue;
        if (d->cuts != NULL)
            memcpy(d->cuts + 2 * user, cuts, sizeof cuts);
        d->offsets[++user] = to;
    }
}

mltfr_status mltfr_interactions_filter(mltfr_interactions *data, int64_t min_user, int64_t min_item)
{
    mltfr_status st = MLTFR_OK;
    core c = {.data = data};
    int64_t users, items;

    if (min_user <= 1 && min_item <= 1)
        return MLTFR_OK;
    MLTFR_TRY(MLTFR_NEW(c.user, data->users));
    MLTFR_TRY(MLTFR_NEW(c.item, data->items));
    count_all(&c);
    while (pass(&c, min_user, min_item))
        ;
    MLTFR_TRY(keep_names(&data->user_names, data->users, c.user, &users));
    MLTFR_TRY(keep_names(&data->item_names, data->items, c.item, &items));
    if (users == 0)
        MLTFR_FAIL(
            MLTFR_E_DATA,
            "data.min_user = %lld and data.min_item = %lld leave none of %lld users: lower them",
            (long long)min_user, (long long)min_item, (long long)data->users);
    number_items(&c);
    compact(&c);
    data->dropped_users += data->users - users;
    data->dropped_items += data->items - items;
    data->dropped += data->count - data->offsets[users];
    data->users = users;
    data->items = items;
    data->count = data->offsets[users];
    MLTFR_TRY(mltfr_interactions_count(data));
done:
    MLTFR_FREE(c.user);
    MLTFR_FREE(c.item);
    return st;
}

/* ---- split by time ------------------------------------------------------------------------- */

static int by_value(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;

    return (a > b) - (a < b);
}

/* How many of the user's items are older than `time`. */
static int64_t older(const mltfr_interactions *d, int64_t u, double time)
{
    int64_t n = 0;

    while (d->offsets[u] + n < d->offsets[u + 1] && d->times[d->offsets[u] + n] < time)
        n++;
    return n;
}

mltfr_status mltfr_interactions_cut(mltfr_interactions *data, double share)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = data->count, held = (int64_t)(share * (double)n);
    double *sorted = NULL;

    MLTFR_TRY(MLTFR_NEW(sorted, n));
    memcpy(sorted, data->times, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    const double valid = sorted[n > 2 * held ? n - 2 * held : 0],
                 test = sorted[n - 1 - (held > 1 ? held - 1 : 0)];

    if (held == 0 || sorted[0] >= valid || valid >= test)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "data.split: time: the times of %lld interactions do not part the newest "
                   "%lld from as many before them and those from the rest (data.split_share: %g)",
                   (long long)n, (long long)held, share);
    MLTFR_TRY(MLTFR_NEW(data->cuts, 2 * data->users));
    for (int64_t u = 0; u < data->users; u++) {
        data->cuts[2 * u] = older(data, u, valid);
        data->cuts[2 * u + 1] = older(data, u, test);
    }
    MLTFR_TRY(mltfr_interactions_count(data));
done:
    MLTFR_FREE(sorted);
    return st;
}
