/* Rows of a file become sequences: a stable sort by (user, time), so that equal times keep the
 * order of the file, and a row that repeats (user, item, time) is dropped.  Where a file has no
 * times its order is the time, and nothing is a repetition. */
#include "interactions_impl.h"

#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include <string.h>

typedef struct mltfr_row row;

enum { SHOWN_ROWS = 1 << 16, MIB = 20 };

static mltfr_status widen(mltfr_rows *rows)
{
    int64_t room = rows->room > 0 ? 2 * rows->room : 4096;
    row *more = NULL;
    mltfr_status st = MLTFR_NEW(more, room);

    if (st != MLTFR_OK)
        return st;
    if (rows->count > 0)
        memcpy(more, rows->row, (size_t)rows->count * sizeof *more);
    MLTFR_FREE(rows->row);
    rows->row = more;
    rows->room = room;
    return MLTFR_OK;
}

/* The number of an id; what is wrong with it gets the line's number. */
static mltfr_status number_of(mltfr_idmap *map, const mltfr_reader *text, const char *what,
                              mltfr_slice id, int32_t *number)
{
    mltfr_status st;

    if (id.n == 0)
        return mltfr_reader_fail(text, "the %s is empty: an id is at least one character", what);
    st = mltfr_idmap_add(map, id, number);
    if (st != MLTFR_E_DATA)
        return st;
    return mltfr_reader_fail(text, "more than %d different %ss", INT32_MAX, what);
}

mltfr_status mltfr_rows_add(mltfr_rows *rows, const mltfr_reader *text, mltfr_slice user,
                            mltfr_slice item, double time)
{
    mltfr_status st = MLTFR_OK;
    row r = {.time = time};

    if (rows->count == rows->room)
        MLTFR_TRY(widen(rows));
    MLTFR_TRY(number_of(&rows->users, text, "user", user, &r.user));
    MLTFR_TRY(number_of(&rows->items, text, "item", item, &r.item));
    rows->row[rows->count++] = r;
    if (rows->count % SHOWN_ROWS == 0)
        mltfr_task_show(&rows->task, (text->next - text->data) >> MIB);
done:
    return st;
}

/* Merge sort: stable, and one pass where the rows are in order already. */
static void sort_by_time(row *a, row *spare, int64_t n)
{
    int64_t half = n / 2, i = 0, j = half;

    if (n < 2)
        return;
    sort_by_time(a, spare, half);
    sort_by_time(a + half, spare, n - half);
    if (a[half - 1].time <= a[half].time)
        return;
    memcpy(spare, a, (size_t)n * sizeof *a);
    for (int64_t k = 0; k < n; k++)
        a[k] = i < half && (j == n || spare[i].time <= spare[j].time) ? spare[i++] : spare[j++];
}

/* Stable sort of all rows by user; offsets [users + 1] are where each starts. */
static mltfr_status group_by_user(mltfr_rows *rows, int64_t *offsets)
{
    mltfr_status st = MLTFR_OK;
    row *grouped = NULL;
    int64_t *at = NULL;

    MLTFR_TRY(MLTFR_NEW(grouped, rows->count));
    MLTFR_TRY(MLTFR_NEW(at, rows->users.count));
    for (int64_t i = 0; i < rows->count; i++)
        offsets[rows->row[i].user + 1]++;
    for (int64_t u = 0; u < rows->users.count; u++) {
        at[u] = offsets[u];
        offsets[u + 1] += offsets[u];
    }
    for (int64_t i = 0; i < rows->count; i++)
        grouped[at[rows->row[i].user]++] = rows->row[i];
    if (rows->timed)
        for (int64_t u = 0; u < rows->users.count; u++)
            sort_by_time(grouped + offsets[u], rows->row, offsets[u + 1] - offsets[u]);
    MLTFR_FREE(rows->row);
    rows->row = grouped;
    grouped = NULL;
done:
    MLTFR_FREE(grouped);
    MLTFR_FREE(at);
    return st;
}

/* Take the item ids over, without those seen before at the same user and time.  A run is a stretch
 * of equal user and time; seen[item] is the last run the item was in. */
static mltfr_status fill(mltfr_interactions *data, const mltfr_rows *rows)
{
    mltfr_status st = MLTFR_OK;
    int64_t *seen = NULL, run = 0, kept = 0;

    MLTFR_TRY(MLTFR_NEW(seen, data->items));
    for (int64_t u = 0, i = 0; u < data->users; u++) {
        int64_t end = data->offsets[u + 1], start = i;

        for (; i < end; i++) {
            const row *r = &rows->row[i];

            run += i == start || r->time != r[-1].time;
            if (rows->timed && seen[r->item] == run)
                continue;
            seen[r->item] = run;
            if (data->times != NULL)
                data->times[kept] = r->time;
            data->ids[kept++] = r->item + 1;
        }
        data->offsets[u + 1] = kept;
    }
    data->duplicates = data->count - kept;
    data->count = kept;
done:
    MLTFR_FREE(seen);
    return st;
}

/* Equal times of a user in an order drawn by the seed. */
static void shuffle_ties(mltfr_rows *rows, const int64_t *offsets, uint64_t seed)
{
    for (int64_t u = 0; u < rows->users.count; u++) {
        const uint64_t key = mltfr_rng_key(seed, MLTFR_RNG_TIES, (uint64_t)u);

        for (int64_t from = offsets[u], end; from < offsets[u + 1]; from = end) {
            for (end = from + 1;
                 end < offsets[u + 1] && rows->row[end].time == rows->row[from].time;)
                end++;
            for (int64_t i = end - 1; i > from; i--) {
                const int64_t j =
                    from + (int64_t)mltfr_rng_below(key, (uint64_t)i, (uint64_t)(i - from + 1));
                const row swap = rows->row[i];

                rows->row[i] = rows->row[j];
                rows->row[j] = swap;
            }
        }
    }
}

/* What asks for times, of a file that has none. */
static mltfr_status check_times(const mltfr_rows *rows, const mltfr_settings *settings)
{
    const bool split = settings->data_split == MLTFR_DATA_SPLIT_TIME;

    if (rows->timed || (!split && settings->data_ties == MLTFR_DATA_TIES_INPUT))
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_DATA, "%s: %s needs times, and this file has none",
                      settings->data_path, split ? "data.split: time" : "data.ties: shuffled");
}

mltfr_status mltfr_rows_finish(mltfr_rows *rows, const mltfr_settings *settings,
                               mltfr_interactions **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_interactions *data = NULL;

    *out = NULL;
    MLTFR_TRY(check_times(rows, settings));
    MLTFR_TRY(MLTFR_NEW(data, 1));
    data->users = rows->users.count;
    data->items = rows->items.count;
    data->count = rows->count;
    MLTFR_TRY(MLTFR_NEW(data->offsets, data->users + 1));
    MLTFR_TRY(MLTFR_NEW(data->ids, data->count));
    MLTFR_TRY(mltfr_idmap_names(&rows->users, &data->user_names));
    MLTFR_TRY(mltfr_idmap_names(&rows->items, &data->item_names));
    MLTFR_TRY(group_by_user(rows, data->offsets));
    if (settings->data_ties == MLTFR_DATA_TIES_SHUFFLED)
        shuffle_ties(rows, data->offsets, (uint64_t)settings->train_seed);
    if (settings->data_split == MLTFR_DATA_SPLIT_TIME)
        MLTFR_TRY(MLTFR_NEW(data->times, data->count));
    MLTFR_TRY(fill(data, rows));
    MLTFR_TRY(mltfr_interactions_count(data));
    *out = data;
    data = NULL;
done:
    mltfr_interactions_destroy(&data);
    return st;
}

void mltfr_rows_free(mltfr_rows *rows)
{
    MLTFR_FREE(rows->row);
    mltfr_idmap_free(&rows->users);
    mltfr_idmap_free(&rows->items);
    rows->count = rows->room = 0;
}
