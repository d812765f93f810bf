/* Checksums of arrays.  An array is cut into blocks of whole rows, by its shape alone:
 *
 *      block 0             block 1             block 2
 *      rows 0 .. R - 1     R .. 2 R - 1        the rest
 *      rank 0 ------|--- rank 1 --------|----- rank 2 ----
 *
 * Whoever writes rows knows what they contribute to the sum of their block (mltfr/crc.h); on
 * sealing the contributions of all ranks meet, so nothing is read again.  A reader takes its blocks
 * whole.  The sums are attributes of the data set: `checksums` and `checksum_rows`, which is R. */
#include "file_impl.h"

#include <mltfr/crc.h>
#include <mltfr/mem.h>
#include <mltfr/watchdog.h>

#include <string.h>

/* A block has about so many bytes: what is read stays in the cache until it is summed.  More blocks
 * than MOST_BLOCKS would not fit into an attribute. */
enum { BLOCK_BYTES = 1 << 20, MOST_BLOCKS = 8192 };

const char mltfr_sums_name[] = "checksums", mltfr_block_rows_name[] = "checksum_rows";

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static mltfr_sums bytes_of(const mltfr_shape *shape)
{
    return (mltfr_sums){.row_bytes = mltfr_shape_row(shape) * mltfr_dtype_bytes(shape->type),
                        .rows = shape->ndim == 0 ? 1 : shape->dims[0]};
}

static mltfr_sums cut(const mltfr_shape *shape)
{
    mltfr_sums s = bytes_of(shape);
    const int64_t blocks = at_most(s.rows * s.row_bytes / BLOCK_BYTES + 1, MOST_BLOCKS);

    s.block_rows = s.rows > 0 ? (s.rows + blocks - 1) / blocks : 1;
    s.blocks = (s.rows + s.block_rows - 1) / s.block_rows;
    return s;
}

/* ---- writing ------------------------------------------------------------------------------- */

static mltfr_status new_written(mltfr_file *f, const char *name, const mltfr_shape *shape)
{
    mltfr_status st = MLTFR_OK;
    mltfr_written *w = NULL;

    MLTFR_TRY(MLTFR_NEW(w, 1));
    w->sums = cut(shape);
    MLTFR_TRY(mltfr_strdup(name, &w->name));
    MLTFR_TRY(MLTFR_NEW(w->sums.crc, w->sums.blocks));
    w->next = f->written;
    f->written = w;
    w = NULL;
done:
    mltfr_written_free(&w);
    return st;
}

void mltfr_written_free(mltfr_written **list)
{
    while (*list != NULL) {
        mltfr_written *w = *list;

        *list = w->next;
        MLTFR_FREE(w->sums.crc);
        MLTFR_FREE(w->name);
        MLTFR_FREE(w);
    }
}

mltfr_status mltfr_sums_of(mltfr_file *f, const char *name, const mltfr_shape *shape,
                           mltfr_sums **out)
{
    mltfr_written *w = f->written;
    mltfr_status st = MLTFR_OK;

    while (w != NULL && strcmp(w->name, name) != 0)
        w = w->next;
    if (w == NULL)
        MLTFR_TRY(new_written(f, name, shape));
    *out = w != NULL ? &w->sums : &f->written->sums;
done:
    return st;
}

void mltfr_sums_add(mltfr_sums *s, int64_t first, int64_t rows, const void *data)
{
    const char *p = data;

    for (int64_t at = first; at < first + rows;) {
        const int64_t b = at / s->block_rows, end = at_most((b + 1) * s->block_rows, s->rows);
        const int64_t n = at_most(first + rows, end) - at;

        s->crc[b] ^=
            mltfr_crc_shift(mltfr_crc(0, p, n * s->row_bytes), (end - at - n) * s->row_bytes);
        p += n * s->row_bytes;
        at += n;
    }
}

static mltfr_status put(hid_t set, const char *name, hid_t type, int64_t n, const void *values)
{
    const hsize_t count = (hsize_t)n;
    const hid_t space = H5Screate_simple(1, &count, NULL);
    const hid_t attr = H5Acreate2(set, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const bool good = attr >= 0 && H5Awrite(attr, type, values) >= 0;

    if (attr >= 0)
        H5Aclose(attr);
    H5Sclose(space);
    return good ? MLTFR_OK : mltfr_fail(MLTFR_E_IO, "attribute '%s' cannot be written", name);
}

mltfr_status mltfr_sums_store(hid_t set, const mltfr_sums *s)
{
    mltfr_status st = MLTFR_OK;
    uint32_t *standard = NULL;

    if (s->blocks == 0)
        return MLTFR_OK;
    MLTFR_TRY(MLTFR_NEW(standard, s->blocks));
    for (int64_t b = 0; b < s->blocks; b++)
        standard[b] = mltfr_crc_standard(
            s->crc[b], at_most(s->block_rows, s->rows - b * s->block_rows) * s->row_bytes);
    MLTFR_TRY(put(set, mltfr_sums_name, H5T_NATIVE_UINT32, s->blocks, standard));
    MLTFR_TRY(put(set, mltfr_block_rows_name, H5T_NATIVE_INT64, 1, &s->block_rows));
done:
    MLTFR_FREE(standard);
    return st;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* How many numbers an attribute has, 0 where it is not there; up to `most` of them. */
static int64_t get(hid_t set, const char *name, hid_t type, int64_t most, void *values)
{
    const hid_t attr = H5Aexists(set, name) > 0 ? H5Aopen(set, name, H5P_DEFAULT) : -1;
    int64_t n = 0;

    if (attr < 0)
        return 0;
    const hid_t space = H5Aget_space(attr);

    n = (int64_t)H5Sget_simple_extent_npoints(space);
    if (n <= most && H5Aread(attr, type, values) < 0)
        n = 0;
    H5Sclose(space);
    H5Aclose(attr);
    return n;
}

/* The sums of an open data set; out->crc stays NULL where it has none. */
static mltfr_status sums_load(mltfr_file *f, hid_t set, const char *name, const mltfr_shape *shape,
                              mltfr_sums *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_sums s = bytes_of(shape);

    *out = s;
    s.blocks = get(set, mltfr_sums_name, H5T_NATIVE_UINT32, 0, NULL);
    if (s.blocks == 0)
        goto done;
    if (get(set, mltfr_block_rows_name, H5T_NATIVE_INT64, 1, &s.block_rows) != 1 ||
        s.block_rows < 1 || s.block_rows > s.rows ||
        s.blocks != (s.rows + s.block_rows - 1) / s.block_rows)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: array '%s' has checksums of another shape", f->path, name);
    MLTFR_TRY(MLTFR_NEW(s.crc, s.blocks));
    if (get(set, mltfr_sums_name, H5T_NATIVE_UINT32, s.blocks, s.crc) != s.blocks)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: the checksums of array '%s' cannot be read", f->path, name);
    *out = s;
    s.crc = NULL;
done:
    MLTFR_FREE(s.crc);
    return st;
}

/* What the blocks of one array are read with. */
typedef struct {
    mltfr_file *f;
    const char *name;
    hid_t set;
    const mltfr_shape *shape;
    mltfr_sums sums;
    char *rest; /* [block_rows * row_bytes]: rows that nobody asked for */
} reader;

static void reader_close(reader *r)
{
    MLTFR_FREE(r->sums.crc);
    MLTFR_FREE(r->rest);
    if (r->set >= 0)
        H5Dclose(r->set);
}

static mltfr_status reader_open(reader *r)
{
    mltfr_status st = MLTFR_OK;

    r->set = H5Dopen2(r->f->id, r->name, H5P_DEFAULT);
    MLTFR_TRY(sums_load(r->f, r->set, r->name, r->shape, &r->sums));
done:
    return st;
}

/* Rows [first, end) as they are stored; the sum goes on. */
static mltfr_status sum_rows(reader *r, int64_t first, int64_t end, void *to, uint32_t *crc)
{
    mltfr_status st = MLTFR_OK;

    if (end <= first)
        goto done;
    MLTFR_TRY(mltfr_file_load(r->f, r->set, r->shape, r->shape->type, first, end - first, to));
    *crc = mltfr_crc(*crc, to, (end - first) * r->sums.row_bytes);
done:
    return st;
}

/* All of block b, rows [first, end) of it to `out`: none where that is NULL. */
static mltfr_status sum_block(reader *r, int64_t b, int64_t first, int64_t end, void *out,
                              bool *good)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_sums *s = &r->sums;
    const int64_t begin = b * s->block_rows, whole = at_most(begin + s->block_rows, s->rows);
    uint32_t crc = 0;

    if (out == NULL)
        first = end = begin;
    if (r->rest == NULL && (first > begin || end < whole))
        MLTFR_TRY(MLTFR_NEW(r->rest, s->block_rows * s->row_bytes));
    MLTFR_TRY(sum_rows(r, begin, first, r->rest, &crc));
    MLTFR_TRY(sum_rows(r, first, end, out, &crc));
    MLTFR_TRY(sum_rows(r, end, whole, r->rest, &crc));
    *good = mltfr_crc_standard(crc, (whole - begin) * s->row_bytes) == s->crc[b];
done:
    return st;
}

/* Rows of blocks that have their sums; out NULL: nothing but the check. */
static mltfr_status read_blocks(reader *r, int64_t first, int64_t rows, char *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_sums *s = &r->sums;
    const int64_t end = first + rows;
    bool good;

    for (int64_t at = first; at < end;) {
        const int64_t b = at / s->block_rows, last = at_most((b + 1) * s->block_rows, end);

        MLTFR_TRY(sum_block(r, b, at, last, out == NULL ? NULL : out + (at - first) * s->row_bytes,
                            &good));
        if (!good)
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s: damaged: array '%s' does not have its checksum in rows %lld to %lld",
                       r->f->path, r->name, (long long)(b * s->block_rows),
                       (long long)at_most((b + 1) * s->block_rows, s->rows) - 1);
        at = last;
    }
done:
    return st;
}

mltfr_status mltfr_sums_read(mltfr_file *f, const char *name, const mltfr_shape *shape,
                             mltfr_dtype type, int64_t first, int64_t rows, void *out)
{
    mltfr_status st = MLTFR_OK;
    reader r = {.f = f, .name = name, .shape = shape};
    const bool as_stored = type == shape->type;

    MLTFR_TRY(reader_open(&r));
    if (r.sums.crc != NULL)
        MLTFR_TRY(read_blocks(&r, first, rows, as_stored ? out : NULL));
    if (r.sums.crc == NULL || !as_stored)
        MLTFR_TRY(mltfr_file_load(f, r.set, shape, type, first, rows, out));
done:
    reader_close(&r);
    return st;
}

/* ---- verifying ----------------------------------------------------------------------------- */

typedef struct {
    mltfr_file *file;
    mltfr_file_damage *found;
    void *context;
    mltfr_verified *counts;
} verify;

static mltfr_status verify_array(void *context, const char *name, const mltfr_shape *shape)
{
    mltfr_status st = MLTFR_OK;
    const verify *v = context;
    reader r = {.f = v->file, .name = name, .shape = shape};
    const mltfr_sums *s = &r.sums;
    bool good;

    MLTFR_TRY(reader_open(&r));
    v->counts->arrays += s->crc != NULL;
    for (int64_t b = 0; s->crc != NULL && b < s->blocks; b++) {
        const int64_t begin = b * s->block_rows, end = at_most(begin + s->block_rows, s->rows);

        mltfr_watchdog_go_on();
        MLTFR_TRY(sum_block(&r, b, begin, begin, NULL, &good));
        v->counts->blocks++;
        v->counts->damaged += !good;
        if (!good)
            v->found(v->context, name, begin, end - 1);
    }
done:
    reader_close(&r);
    return st;
}

mltfr_status mltfr_file_verify(mltfr_file *file, mltfr_file_damage *found, void *context,
                               mltfr_verified *out)
{
    verify v = {file, found, context, out};

    *out = (mltfr_verified){.sealed = file->sealed};
    return mltfr_file_visit(file, verify_array, &v);
}
