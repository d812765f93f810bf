/* Ids of users and items: a hash table (open addresses, linear probing, at most half full) that
 * numbers them by first appearance, and the block of strings that is left of it in the end. */
#include "interactions_impl.h"

#include <mltfr/mem.h>

#include <string.h>
#include <xxhash.h>

static void place(mltfr_idmap *map, uint64_t hash, uint32_t value)
{
    uint64_t mask = (uint64_t)map->slots - 1, at = hash & mask;

    while (map->slot[at] != 0)
        at = (at + 1) & mask;
    map->slot[at] = value;
}

static mltfr_status grow(mltfr_idmap *map)
{
    mltfr_status st = MLTFR_OK;
    mltfr_idmap wide = {.count = map->count, .slots = map->slots > 0 ? 2 * map->slots : 1024};

    MLTFR_TRY(MLTFR_NEW(wide.entries, wide.slots / 2));
    MLTFR_TRY(MLTFR_NEW(wide.slot, wide.slots));
    for (int64_t i = 0; i < map->count; i++) {
        wide.entries[i] = map->entries[i];
        place(&wide, wide.entries[i].hash, (uint32_t)i + 1);
    }
    mltfr_idmap_free(map);
    *map = wide;
    return st;
done:
    mltfr_idmap_free(&wide);
    return st;
}

static int32_t find(const mltfr_idmap *map, mltfr_slice id, uint64_t hash)
{
    const uint64_t mask = (uint64_t)map->slots - 1;

    for (uint64_t at = hash & mask; map->slots > 0 && map->slot[at] != 0; at = (at + 1) & mask) {
        const struct mltfr_idmap_entry *e = &map->entries[map->slot[at] - 1];

        if (e->hash == hash && e->id.n == id.n && memcmp(e->id.at, id.at, (size_t)id.n) == 0)
            return (int32_t)map->slot[at] - 1;
    }
    return -1;
}

int32_t mltfr_idmap_find(const mltfr_idmap *map, mltfr_slice id)
{
    return find(map, id, XXH3_64bits(id.at, (size_t)id.n));
}

mltfr_status mltfr_idmap_add(mltfr_idmap *map, mltfr_slice id, int32_t *number)
{
    const uint64_t hash = XXH3_64bits(id.at, (size_t)id.n);
    mltfr_status st;

    if ((*number = find(map, id, hash)) >= 0)
        return MLTFR_OK;
    if (map->count == INT32_MAX)
        return mltfr_fail(MLTFR_E_DATA, "more than %d different ids", INT32_MAX);
    if (2 * map->count == map->slots && (st = grow(map)) != MLTFR_OK)
        return st;
    *number = (int32_t)map->count;
    map->entries[map->count++] = (struct mltfr_idmap_entry){id, hash};
    place(map, hash, (uint32_t)map->count);
    return MLTFR_OK;
}

void mltfr_idmap_free(mltfr_idmap *map)
{
    MLTFR_FREE(map->entries);
    MLTFR_FREE(map->slot);
    map->count = map->slots = 0;
}

mltfr_status mltfr_names_alloc(int64_t n, int64_t bytes, char ***out)
{
    return mltfr_alloc(out, (size_t)n * sizeof **out + (size_t)bytes, 1);
}

void mltfr_names_link(char **names, int64_t n)
{
    char *at = (char *)(names + n);

    for (int64_t i = 0; i < n; i++) {
        names[i] = at;
        at += strlen(at) + 1;
    }
}

int64_t mltfr_names_bytes(char *const *names, int64_t n)
{
    return n == 0 ? 0 : names[n - 1] + strlen(names[n - 1]) + 1 - names[0];
}

mltfr_status mltfr_idmap_names(const mltfr_idmap *map, char ***out)
{
    int64_t bytes = map->count;
    mltfr_status st;
    char *at;

    for (int64_t i = 0; i < map->count; i++)
        bytes += map->entries[i].id.n;
    if ((st = mltfr_names_alloc(map->count, bytes, out)) != MLTFR_OK)
        return st;
    at = (char *)(*out + map->count);
    for (int64_t i = 0; i < map->count; i++) {
        mltfr_slice id = map->entries[i].id;

        memcpy(at, id.at, (size_t)id.n);
        at += id.n + 1; /* the memory is zeroed */
    }
    mltfr_names_link(*out, map->count);
    return st;
}
