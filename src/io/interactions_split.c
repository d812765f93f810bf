/* The splits (method, Protocol) as views of the sequences, and their statistics.
 *
 *      s[0] ... s[n-3] | s[n-2]     | s[n-1]        n >= 3
 *      trains          | validation | test
 *
 * A shorter sequence trains whole and is not evaluated.  In a split by time the two cuts are the
 * same two moments for all users, and the first item behind a cut is held out. */
#include "interactions_impl.h"

#include <mltfr/mem.h>

#include <stdio.h>

enum { SHORTEST = 3 };

static int64_t length(const mltfr_interactions *data, int64_t u)
{
    return data->offsets[u + 1] - data->offsets[u];
}

int64_t mltfr_interactions_trains(const mltfr_interactions *data, int64_t u)
{
    int64_t n = length(data, u);

    if (data->cuts != NULL)
        return data->cuts[2 * u];
    return n >= SHORTEST ? n - 2 : n;
}

/* Where the held-out item of a split lies in user u's sequence; 0: there is none. */
static int64_t held_out(const mltfr_interactions *data, int64_t u, mltfr_split split)
{
    const int64_t n = length(data, u), *cuts = data->cuts + 2 * u;

    if (data->cuts == NULL)
        return n < SHORTEST ? 0 : split == MLTFR_SPLIT_TEST ? n - 1 : n - 2;
    if (split == MLTFR_SPLIT_TEST)
        return cuts[1] < n ? cuts[1] : 0;
    return cuts[0] < cuts[1] ? cuts[0] : 0;
}

/* The windows of user u, newest first, into `out` if there is one; returns their number. */
static int64_t windows(const mltfr_interactions *data, int64_t u, int64_t max_len, bool all,
                       mltfr_example *out)
{
    int64_t left = mltfr_interactions_trains(data, u) - 1,
            count = 0; /* transitions that have no window yet */

    while (left > 0 && (all || count == 0)) {
        int64_t n = left < max_len ? left : max_len;

        left -= n;
        if (out != NULL)
            out[count] = (mltfr_example){(int32_t)u, (int32_t)n, data->offsets[u] + left};
        count++;
    }
    return count;
}

mltfr_status mltfr_interactions_examples(const mltfr_interactions *data, int64_t max_len,
                                         bool all_windows, mltfr_example **out, int64_t *count)
{
    mltfr_status st;
    int64_t n = 0;

    for (int64_t u = 0; u < data->users; u++)
        n += windows(data, u, max_len, all_windows, NULL);
    *count = 0;
    if ((st = MLTFR_NEW(*out, n)) != MLTFR_OK)
        return st;
    for (int64_t u = 0; u < data->users; u++)
        *count += windows(data, u, max_len, all_windows, *out + *count);
    return st;
}

mltfr_status mltfr_interactions_cases(const mltfr_interactions *data, int64_t max_len,
                                      mltfr_split split, mltfr_case **out, int64_t *count)
{
    mltfr_status st;

    *count = 0;
    if ((st = MLTFR_NEW(*out, data->users - data->short_users)) != MLTFR_OK)
        return st;
    for (int64_t u = 0; u < data->users; u++) {
        const int64_t past = held_out(data, u, split), end = data->offsets[u] + past;
        const int64_t n = past < max_len ? past : max_len;

        if (past > 0)
            (*out)[(*count)++] = (mltfr_case){(int32_t)u, (int32_t)n, data->ids[end], end - n};
    }
    return st;
}

mltfr_status mltfr_interactions_count(mltfr_interactions *data)
{
    bool *trained = NULL;
    mltfr_status st = MLTFR_NEW(trained, data->items);

    if (st != MLTFR_OK)
        return st;
    data->short_users = 0;
    data->only_held_out = data->items;
    for (int64_t u = 0; u < data->users; u++) {
        const int32_t *s = data->ids + data->offsets[u];

        data->short_users +=
            held_out(data, u, MLTFR_SPLIT_VALID) == 0 && held_out(data, u, MLTFR_SPLIT_TEST) == 0;
        for (int64_t i = 0; i < mltfr_interactions_trains(data, u); i++) {
            data->only_held_out -= !trained[s[i] - 1];
            trained[s[i] - 1] = true;
        }
    }
    MLTFR_FREE(trained);
    return st;
}

void mltfr_interactions_summary(const mltfr_interactions *data, char *text, size_t bytes)
{
    const int n = snprintf(
        text, bytes,
        "users=%lld items=%lld interactions=%lld duplicates=%lld short_users=%lld "
        "only_held_out=%lld",
        (long long)data->users, (long long)data->items, (long long)data->count,
        (long long)data->duplicates, (long long)data->short_users, (long long)data->only_held_out);

    if (data->dropped > 0 && n > 0 && (size_t)n < bytes)
        snprintf(text + n, bytes - (size_t)n, " dropped=%lld dropped_users=%lld dropped_items=%lld",
                 (long long)data->dropped, (long long)data->dropped_users,
                 (long long)data->dropped_items);
}
