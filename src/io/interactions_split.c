/* The leave-one-out split (method, Protocol) as views of the sequences, and their statistics.
 *
 *      s[0] ... s[n-3] | s[n-2]     | s[n-1]        n >= 3
 *      trains          | validation | test
 *
 * A shorter sequence trains whole and is not evaluated. */
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

    return n >= SHORTEST ? n - 2 : n;
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
    int64_t held = split == MLTFR_SPLIT_TEST ? 1 : 2;

    *count = 0;
    if ((st = MLTFR_NEW(*out, data->users - data->short_users)) != MLTFR_OK)
        return st;
    for (int64_t u = 0; u < data->users; u++) {
        int64_t end = data->offsets[u + 1] - held, past = length(data, u) - held;
        int64_t n = past < max_len ? past : max_len;

        if (length(data, u) >= SHORTEST)
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

        data->short_users += length(data, u) < SHORTEST;
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
    snprintf(text, bytes,
             "users=%lld items=%lld interactions=%lld duplicates=%lld short_users=%lld "
             "only_held_out=%lld",
             (long long)data->users, (long long)data->items, (long long)data->count,
             (long long)data->duplicates, (long long)data->short_users,
             (long long)data->only_held_out);
}
