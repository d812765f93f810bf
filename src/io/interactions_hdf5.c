/* This program's own form of interactions, a group of an HDF5 file:
 *
 *      /interactions                   attributes format, version, duplicates
 *          offsets [users + 1]         int64   where the items of a user start in ids
 *          ids [interactions]          int32   items, 1-based, oldest first
 *          cuts [2 users]              int64   of a split by time, else none
 *          user_names_offsets, user_names_bytes, item_names_offsets, item_names_bytes
 *
 * Names lie without ends between their offsets.  Each rank writes its share of every array; on
 * reading rank 0 takes all of it, and believes nothing before it is checked. */
#include "interactions_impl.h"

#include <mltfr/mem.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define GROUP  "interactions"
#define FORMAT "mltfr-interactions"
enum { VERSION = 1 };

/* ---- writing ------------------------------------------------------------------------------- */

static mltfr_status put_array(mltfr_comm *comm, mltfr_file *file, const char *name,
                              mltfr_dtype type, int64_t n, const void *all)
{
    int rank = mltfr_comm_rank(comm), size = mltfr_comm_size(comm);
    int64_t first = mltfr_share_first(n, size, rank), end = mltfr_share_first(n, size, rank + 1);
    mltfr_shape shape = {type, 1, {n}};

    return mltfr_file_write(file, name, &shape, first, end - first,
                            (const char *)all + first * mltfr_dtype_bytes(type));
}

static mltfr_status pack(char *const *names, int64_t n, int64_t **offsets, char **bytes)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(MLTFR_NEW(*offsets, n + 1));
    MLTFR_TRY(mltfr_alloc(bytes, (size_t)mltfr_names_bytes(names, n), 1));
    for (int64_t i = 0; i < n; i++) {
        int64_t length = (int64_t)strlen(names[i]);

        memcpy(*bytes + (*offsets)[i], names[i], (size_t)length);
        (*offsets)[i + 1] = (*offsets)[i] + length;
    }
done:
    return st;
}

static mltfr_status put_names(mltfr_comm *comm, mltfr_file *file, const char *name,
                              char *const *names, int64_t n)
{
    mltfr_status st = MLTFR_OK;
    int64_t *offsets = NULL;
    char *bytes = NULL, array[128];

    MLTFR_AGREE(comm, pack(names, n, &offsets, &bytes));
    snprintf(array, sizeof array, "%s_offsets", name);
    MLTFR_TRY(put_array(comm, file, array, MLTFR_I64, n + 1, offsets));
    snprintf(array, sizeof array, "%s_bytes", name);
    MLTFR_TRY(put_array(comm, file, array, MLTFR_U8, offsets[n], bytes));
done:
    MLTFR_FREE(offsets);
    MLTFR_FREE(bytes);
    return st;
}

mltfr_status mltfr_interactions_put(mltfr_comm *comm, mltfr_file *file,
                                    const mltfr_interactions *data)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(put_array(comm, file, GROUP "/offsets", MLTFR_I64, data->users + 1, data->offsets));
    MLTFR_TRY(put_array(comm, file, GROUP "/ids", MLTFR_I32, data->count, data->ids));
    if (data->cuts != NULL)
        MLTFR_TRY(put_array(comm, file, GROUP "/cuts", MLTFR_I64, 2 * data->users, data->cuts));
    MLTFR_TRY(put_names(comm, file, GROUP "/user_names", data->user_names, data->users));
    MLTFR_TRY(put_names(comm, file, GROUP "/item_names", data->item_names, data->items));
    MLTFR_TRY(mltfr_file_set_text(file, GROUP, "format", FORMAT));
    MLTFR_TRY(mltfr_file_set_i64(file, GROUP, "version", VERSION));
    MLTFR_TRY(mltfr_file_set_i64(file, GROUP, "duplicates", data->duplicates));
done:
    return st;
}

mltfr_status mltfr_interactions_write(mltfr_comm *comm, const char *path,
                                      const mltfr_interactions *data)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *file = NULL;

    MLTFR_TRY(mltfr_file_create(comm, path, &file));
    MLTFR_TRY(mltfr_interactions_put(comm, file, data));
    MLTFR_TRY(mltfr_file_seal(&file));
done:
    mltfr_file_destroy(&file);
    return st;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* An array as it lies in the file; data is NULL beside rank 0. */
typedef struct {
    int64_t n;
    void *data;
} array;

typedef struct {
    mltfr_comm *comm;
    mltfr_file *file;
    const char *path;
    int64_t bytes; /* of the file: no array can hold more */
    int64_t duplicates;
    array offsets, ids, cuts, user_offsets, user_bytes, item_offsets, item_bytes;
} source;

static mltfr_status check_header(source *s)
{
    mltfr_status st = MLTFR_OK;
    char *format = NULL;
    int64_t version;
    struct stat info;

    if (stat(s->path, &info) == 0)
        s->bytes = info.st_size;
    if (!mltfr_file_has(s->file, GROUP))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: there is no group '" GROUP "'", s->path);
    MLTFR_TRY(mltfr_file_get_text(s->file, GROUP, "format", &format));
    if (strcmp(format, FORMAT) != 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: the format is '%.40s', '" FORMAT "' is needed", s->path,
                   format);
    MLTFR_TRY(mltfr_file_get_i64(s->file, GROUP, "version", &version));
    if (version != VERSION)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: version %lld of the format, %d is needed", s->path,
                   (long long)version, VERSION);
    MLTFR_TRY(mltfr_file_get_i64(s->file, GROUP, "duplicates", &s->duplicates));
done:
    MLTFR_FREE(format);
    return st;
}

/* Find an array's length and, on rank 0, make room for it. */
static mltfr_status prepare(const source *s, const char *name, mltfr_dtype type, array *a)
{
    int64_t width = mltfr_dtype_bytes(type);
    mltfr_shape shape;
    mltfr_status st = mltfr_file_shape(s->file, name, &shape);

    if (st != MLTFR_OK)
        return st;
    if (shape.ndim != 1)
        return mltfr_fail(MLTFR_E_DATA, "%s: array '%s' has %d dimensions, 1 is needed", s->path,
                          name, shape.ndim);
    if (shape.dims[0] > s->bytes / width)
        return mltfr_fail(MLTFR_E_DATA, "%s: array '%s' claims %lld numbers, the file is too short",
                          s->path, name, (long long)shape.dims[0]);
    a->n = shape.dims[0];
    return mltfr_comm_rank(s->comm) == 0 ? mltfr_alloc(&a->data, (size_t)a->n, (size_t)width) : st;
}

static mltfr_status read_array(const source *s, const char *name, mltfr_dtype type, array *a)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_AGREE(s->comm, prepare(s, name, type, a));
    MLTFR_TRY(
        mltfr_file_read(s->file, name, type, 0, mltfr_comm_rank(s->comm) == 0 ? a->n : 0, a->data));
done:
    return st;
}

static mltfr_status read_arrays(source *s)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_AGREE(s->comm, check_header(s));
    MLTFR_TRY(read_array(s, GROUP "/offsets", MLTFR_I64, &s->offsets));
    MLTFR_TRY(read_array(s, GROUP "/ids", MLTFR_I32, &s->ids));
    if (mltfr_file_has(s->file, GROUP "/cuts"))
        MLTFR_TRY(read_array(s, GROUP "/cuts", MLTFR_I64, &s->cuts));
    MLTFR_TRY(read_array(s, GROUP "/user_names_offsets", MLTFR_I64, &s->user_offsets));
    MLTFR_TRY(read_array(s, GROUP "/user_names_bytes", MLTFR_U8, &s->user_bytes));
    MLTFR_TRY(read_array(s, GROUP "/item_names_offsets", MLTFR_I64, &s->item_offsets));
    MLTFR_TRY(read_array(s, GROUP "/item_names_bytes", MLTFR_U8, &s->item_bytes));
done:
    return st;
}

/* Offsets of parts that each hold at least one thing, `total` things in all. */
static mltfr_status check_offsets(const source *s, const char *name, const array *offsets,
                                  int64_t total)
{
    const int64_t *at = offsets->data;

    if (offsets->n < 2 || offsets->n - 1 > INT32_MAX)
        return mltfr_fail(MLTFR_E_DATA, "%s: %lld %s, 1 to %d are allowed", s->path,
                          (long long)offsets->n - 1, name, INT32_MAX);
    for (int64_t i = 0; i < offsets->n - 1; i++)
        if (at[i + 1] <= at[i] || at[0] != 0 || at[i + 1] > total)
            return mltfr_fail(MLTFR_E_DATA, "%s: %s: offset %lld is %lld after %lld", s->path, name,
                              (long long)i + 1, (long long)at[i + 1], (long long)at[i]);
    if (at[offsets->n - 1] != total)
        return mltfr_fail(MLTFR_E_DATA, "%s: %s: the last offset is %lld, %lld is needed", s->path,
                          name, (long long)at[offsets->n - 1], (long long)total);
    return MLTFR_OK;
}

static mltfr_status check_ids(const source *s, int64_t items)
{
    const int32_t *ids = s->ids.data;

    for (int64_t i = 0; i < s->ids.n; i++)
        if (ids[i] < 1 || ids[i] > items)
            return mltfr_fail(MLTFR_E_DATA, "%s: ids[%lld] is %d, 1 to %lld are allowed", s->path,
                              (long long)i, ids[i], (long long)items);
    return MLTFR_OK;
}

/* Cuts rise within a user's items. */
static mltfr_status check_cuts(const source *s)
{
    const int64_t *cuts = s->cuts.data, *at = s->offsets.data, users = s->offsets.n - 1;

    if (cuts == NULL)
        return MLTFR_OK;
    if (s->cuts.n != 2 * users)
        return mltfr_fail(MLTFR_E_DATA, "%s: %lld cuts for %lld users", s->path,
                          (long long)s->cuts.n, (long long)users);
    for (int64_t u = 0; u < users; u++)
        if (cuts[2 * u] < 0 || cuts[2 * u + 1] < cuts[2 * u] || at[u + 1] - at[u] < cuts[2 * u + 1])
            return mltfr_fail(MLTFR_E_DATA, "%s: cuts[%lld] is %lld and %lld of %lld items",
                              s->path, (long long)u, (long long)cuts[2 * u],
                              (long long)cuts[2 * u + 1], (long long)(at[u + 1] - at[u]));
    return MLTFR_OK;
}

static mltfr_status unpack(const source *s, const char *name, const array *offsets,
                           const array *bytes, char ***out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t *at = offsets->data;
    int64_t n = offsets->n - 1;
    char *to;

    MLTFR_TRY(check_offsets(s, name, offsets, bytes->n));
    if (memchr(bytes->data, '\0', (size_t)bytes->n) != NULL)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %s: a NUL byte in a name", s->path, name);
    MLTFR_TRY(mltfr_names_alloc(n, bytes->n + n, out));
    to = (char *)(*out + n);
    for (int64_t i = 0; i < n; i++) {
        memcpy(to, (const char *)bytes->data + at[i], (size_t)(at[i + 1] - at[i]));
        to += at[i + 1] - at[i] + 1;
    }
    mltfr_names_link(*out, n);
done:
    return st;
}

/* Rank 0's data from the arrays, whose memory moves over where it can. */
static mltfr_status build(source *s, mltfr_interactions **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_interactions *d = NULL;

    MLTFR_TRY(MLTFR_NEW(d, 1));
    *d = (mltfr_interactions){.users = s->offsets.n - 1,
                              .items = s->item_offsets.n - 1,
                              .count = s->ids.n,
                              .duplicates = s->duplicates};
    MLTFR_TRY(check_offsets(s, "users", &s->offsets, s->ids.n));
    MLTFR_TRY(unpack(s, "user names", &s->user_offsets, &s->user_bytes, &d->user_names));
    MLTFR_TRY(unpack(s, "item names", &s->item_offsets, &s->item_bytes, &d->item_names));
    if (s->user_offsets.n != s->offsets.n)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %lld user names for %lld users", s->path,
                   (long long)s->user_offsets.n - 1, (long long)d->users);
    MLTFR_TRY(check_ids(s, d->items));
    MLTFR_TRY(check_cuts(s));
    d->offsets = s->offsets.data;
    d->ids = s->ids.data;
    d->cuts = s->cuts.data;
    s->offsets.data = s->ids.data = s->cuts.data = NULL;
    MLTFR_TRY(mltfr_interactions_count(d));
    *out = d;
    d = NULL;
done:
    mltfr_interactions_destroy(&d);
    return st;
}

mltfr_status mltfr_interactions_load(mltfr_comm *comm, const char *path, mltfr_interactions **out)
{
    mltfr_status st = MLTFR_OK;
    source s = {.comm = comm, .path = path};

    *out = NULL;
    MLTFR_TRY(mltfr_file_open(comm, path, &s.file));
    MLTFR_TRY(read_arrays(&s));
    MLTFR_AGREE(comm, mltfr_comm_rank(comm) == 0 ? build(&s, out) : MLTFR_OK);
done:
    mltfr_file_destroy(&s.file);
    MLTFR_FREE(s.offsets.data);
    MLTFR_FREE(s.ids.data);
    MLTFR_FREE(s.cuts.data);
    MLTFR_FREE(s.user_offsets.data);
    MLTFR_FREE(s.user_bytes.data);
    MLTFR_FREE(s.item_offsets.data);
    MLTFR_FREE(s.item_bytes.data);
    return st;
}
