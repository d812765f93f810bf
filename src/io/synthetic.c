/* The planted interactions.  Items and users belong to a sticky Markov chain over clusters:
 *
 *      cluster    stays .6        item   the one that follows the last one  .6
 *                 next one .3            a popular one of the cluster       .4
 *                 any .1
 *
 * So the last item says much about the next one and the number of its buyers little: a model of
 * sequences must beat popularity by far.  An item comes once in a sequence, as full ranking leaves
 * out what was seen. */
#include "interactions_impl.h"
#include "synthetic_impl.h"

#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/spaces.h>

#include <stdio.h>
#include <string.h>

enum { SHORTEST = 6, LONGEST = 30, NAME_BYTES = 24 };

mltfr_synthetic_spec mltfr_synthetic_defaults(void)
{
    return (mltfr_synthetic_spec){.users = 600,
                                  .items = 200,
                                  .clusters = 10,
                                  .llms = 2,
                                  .shared_dim = 16,
                                  .specific_dim = 16,
                                  .seed = 1};
}

uint64_t mltfr_synthetic_stream(const mltfr_synthetic_spec *spec, mltfr_synthetic_part part,
                                int64_t which)
{
    return mltfr_rng_key(spec->seed, MLTFR_RNG_SYNTHETIC, (uint64_t)part << 40 | (uint64_t)which);
}

mltfr_status mltfr_synthetic_check(const mltfr_synthetic_spec *spec)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } range[] = {
        {"users", spec->users, 1, 100000000},         {"items", spec->items, LONGEST, 10000000},
        {"clusters", spec->clusters, 1, spec->items}, {"llms", spec->llms, 1, MLTFR_MAX_LLMS},
        {"shared_dim", spec->shared_dim, 1, 4096},    {"specific_dim", spec->specific_dim, 0, 4096},
    };

    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (range[i].value < range[i].low || range[i].value > range[i].high)
            return mltfr_fail(MLTFR_E_USAGE, "synthetic %s is %lld, %lld to %lld are allowed",
                              range[i].name, (long long)range[i].value, (long long)range[i].low,
                              (long long)range[i].high);
    return MLTFR_OK;
}

/* Where a user is: item `place` of a cluster, item number cluster + clusters * place. */
typedef struct {
    int64_t cluster, place;
} spot;

static int64_t cluster_size(const mltfr_synthetic_spec *spec, int64_t cluster)
{
    return (spec->items - cluster + spec->clusters - 1) / spec->clusters;
}

/* One step of the chain; numbers 4 t to 4 t + 3 of the user's stream. */
static spot next_spot(const mltfr_synthetic_spec *spec, uint64_t key, int64_t t, spot now)
{
    uint64_t at = 4 * (uint64_t)t;
    double move = mltfr_rng_uniform(key, at), x = mltfr_rng_uniform(key, at + 3);
    spot next = now;
    int64_t size;

    if (t == 0 || move >= .9)
        next.cluster = (int64_t)mltfr_rng_below(key, at + 1, (uint64_t)spec->clusters);
    else if (move >= .6)
        next.cluster = (now.cluster + 1) % spec->clusters;
    size = cluster_size(spec, next.cluster);
    if (t > 0 && mltfr_rng_uniform(key, at + 2) < .6)
        next.place = (now.place + (next.cluster == now.cluster)) % size;
    else
        next.place = (int64_t)(x * x * (double)size); /* small places are popular */
    return next;
}

/* The first unseen item from a spot on: in its cluster, else in the following ones. */
static spot first_unseen(const mltfr_synthetic_spec *spec, const int64_t *seen, int64_t user,
                         spot from)
{
    for (;; from = (spot){(from.cluster + 1) % spec->clusters, 0}) {
        int64_t size = cluster_size(spec, from.cluster);

        for (int64_t i = 0; i < size; i++) {
            int64_t place = (from.place + i) % size;

            if (seen[from.cluster + spec->clusters * place] != user + 1)
                return (spot){from.cluster, place};
        }
    }
}

static int64_t length_of(const mltfr_synthetic_spec *spec, int64_t user)
{
    uint64_t key = mltfr_synthetic_stream(spec, MLTFR_SYNTHETIC_LENGTHS, 0);

    return SHORTEST + (int64_t)mltfr_rng_below(key, (uint64_t)user, LONGEST - SHORTEST + 1);
}

static mltfr_status fill(const mltfr_synthetic_spec *spec, mltfr_interactions *data)
{
    int64_t *seen = NULL; /* [items]: the last user, plus one, who had the item */
    mltfr_status st = MLTFR_NEW(seen, spec->items);

    if (st != MLTFR_OK)
        return st;
    for (int64_t u = 0; u < spec->users; u++) {
        uint64_t key = mltfr_synthetic_stream(spec, MLTFR_SYNTHETIC_USERS, u);
        spot now = {0, 0};

        for (int64_t i = data->offsets[u]; i < data->offsets[u + 1]; i++) {
            now = next_spot(spec, key, i - data->offsets[u], now);
            now = first_unseen(spec, seen, u, now);
            data->ids[i] = (int32_t)(now.cluster + spec->clusters * now.place + 1);
            seen[data->ids[i] - 1] = u + 1;
        }
    }
    MLTFR_FREE(seen);
    return st;
}

/* Names <letter>1, <letter>2, ... */
static mltfr_status make_names(char letter, int64_t n, char ***out)
{
    mltfr_status st = mltfr_names_alloc(n, n * NAME_BYTES, out);
    char *at;

    if (st != MLTFR_OK)
        return st;
    at = (char *)(*out + n);
    for (int64_t i = 0; i < n; i++)
        at += snprintf(at, NAME_BYTES, "%c%lld", letter, (long long)i + 1) + 1;
    mltfr_names_link(*out, n);
    return st;
}

mltfr_status mltfr_synthetic_make(const mltfr_synthetic_spec *spec, mltfr_interactions **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_interactions *data = NULL;

    *out = NULL;
    MLTFR_TRY(mltfr_synthetic_check(spec));
    MLTFR_TRY(MLTFR_NEW(data, 1));
    data->users = spec->users;
    data->items = spec->items;
    MLTFR_TRY(MLTFR_NEW(data->offsets, data->users + 1));
    for (int64_t u = 0; u < data->users; u++)
        data->offsets[u + 1] = data->offsets[u] + length_of(spec, u);
    data->count = data->offsets[data->users];
    MLTFR_TRY(MLTFR_NEW(data->ids, data->count));
    MLTFR_TRY(make_names('u', data->users, &data->user_names));
    MLTFR_TRY(make_names('i', data->items, &data->item_names));
    MLTFR_TRY(fill(spec, data));
    MLTFR_TRY(mltfr_interactions_count(data));
    *out = data;
    data = NULL;
done:
    mltfr_interactions_destroy(&data);
    return st;
}
