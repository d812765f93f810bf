/* GGUF, versions 2 and 3, little-endian:
 *
 *   "GGUF" version:u32 tensors:u64 keys:u64
 *   keys times    { name:string type:u32 value }       string = length:u64 bytes
 *   tensors times { name:string ndim:u32 dims:u64[ndim] type:u32 offset:u64 }   fastest dim first
 *   padding to general.alignment, then the data that offsets count from
 *
 * Everything is taken through a cursor that knows how many bytes are left.  Arrays of tensors and
 * keys are made at once, after a look at how many the rest of the file could hold. */
#include "table_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 64, KEY_BYTES = 65535, DIMS = 4 };
enum { LEAST_KEY = 14, LEAST_TENSOR = 25 }; /* bytes of the shortest */

typedef struct {
    const mltfr_image *image;
    size_t at;
} cursor;

static mltfr_status take(cursor *c, uint64_t bytes, const char *what, const uint8_t **out)
{
    size_t left = c->image->bytes - c->at;

    *out = c->image->data + c->at;
    if (bytes > left)
        return mltfr_fail(MLTFR_E_DATA,
                          "%s: byte %zu: the file ends inside %s: %" PRIu64
                          " bytes wanted, %zu left",
                          c->image->path, c->at, what, bytes, left);
    mltfr_image_need(c->image, c->at, (size_t)bytes);
    c->at += (size_t)bytes;
    return MLTFR_OK;
}

static mltfr_status take_u32(cursor *c, const char *what, uint32_t *out)
{
    const uint8_t *p;
    mltfr_status st = take(c, sizeof *out, what, &p);

    if (st == MLTFR_OK)
        memcpy(out, p, sizeof *out);
    return st;
}

static mltfr_status take_u64(cursor *c, const char *what, uint64_t *out)
{
    const uint8_t *p;
    mltfr_status st = take(c, sizeof *out, what, &p);

    if (st == MLTFR_OK)
        memcpy(out, p, sizeof *out);
    return st;
}

static mltfr_status take_string(cursor *c, const char *what, mltfr_slice *out)
{
    mltfr_status st = MLTFR_OK;
    uint64_t bytes;
    const uint8_t *p;

    MLTFR_TRY(take_u64(c, what, &bytes));
    MLTFR_TRY(take(c, bytes, what, &p));
    *out = (mltfr_slice){(const char *)p, (size_t)bytes};
done:
    return st;
}

static mltfr_status take_name(cursor *c, const char *what, size_t most, mltfr_slice *out)
{
    size_t at = c->at;
    mltfr_status st = take_string(c, what, out);

    if (st == MLTFR_OK && (out->bytes == 0 || out->bytes > most))
        st = mltfr_fail(MLTFR_E_DATA, "%s: byte %zu: %s of %zu bytes; allowed: 1 to %zu",
                        c->image->path, at, what, out->bytes, most);
    return st;
}

static mltfr_status take_count(cursor *c, const char *what, int64_t most, int64_t *out)
{
    size_t at = c->at;
    uint64_t count = 0;
    mltfr_status st = take_u64(c, what, &count);

    *out = (int64_t)count;
    if (st == MLTFR_OK && count > (uint64_t)most)
        st = mltfr_fail(MLTFR_E_DATA, "%s: byte %zu: %s is %" PRIu64 "; allowed: up to %" PRId64,
                        c->image->path, at, what, count, most);
    return st;
}

/* Could so many things of `least` bytes be in the rest of the file? */
static mltfr_status check_count(const cursor *c, const char *what, int64_t count, size_t least)
{
    size_t left = c->image->bytes - c->at;

    if ((size_t)count <= left / least)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_DATA,
                      "%s: byte %zu: the file ends inside its %" PRId64 " %s: %zu bytes left",
                      c->image->path, c->at, count, what, left);
}

/* ---- header and metadata */

static mltfr_status read_header(cursor *c, uint32_t *version, int64_t *tensors, int64_t *keys)
{
    mltfr_status st = MLTFR_OK;
    const char *path = c->image->path;
    const uint8_t *magic;

    MLTFR_TRY(take(c, 4, "the magic number", &magic));
    if (memcmp(magic, "GGUF", 4) != 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte 0: not a GGUF file (no GGUF at its begin)", path);
    MLTFR_TRY(take_u32(c, "the version", version));
    if (*version != 0 && (*version & 0xffff) == 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte 4: a big-endian GGUF file; allowed: little-endian",
                   path);
    if (*version != 2 && *version != 3)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte 4: GGUF version %" PRIu32 "; allowed: 2 and 3", path,
                   *version);
    MLTFR_TRY(take_count(c, "the number of tensors", MLTFR_TABLE_TENSORS, tensors));
    MLTFR_TRY(take_count(c, "the number of keys", MLTFR_TABLE_KEYS, keys));
done:
    return st;
}

static mltfr_status skip_values(cursor *c, uint32_t type, uint64_t count, const char *what)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice text;
    const uint8_t *p;
    uint64_t bytes;

    if (type == GGUF_STRING) {
        while (count-- > 0)
            MLTFR_TRY(take_string(c, what, &text));
        goto done;
    }
    if (__builtin_mul_overflow(count, (uint64_t)mltfr_gguf_value_bytes[type], &bytes))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte %zu: %s has %" PRIu64 " elements: the size overflows",
                   c->image->path, c->at, what, count);
    MLTFR_TRY(take(c, bytes, what, &p));
done:
    return st;
}

static mltfr_status read_key(cursor *c, mltfr_table_key *key)
{
    mltfr_status st = MLTFR_OK;
    char quoted[MLTFR_QUOTE_BYTES], what[MLTFR_QUOTE_BYTES + 8];

    MLTFR_TRY(take_name(c, "the name of a key", KEY_BYTES, &key->name));
    snprintf(what, sizeof what, "key '%s'", mltfr_slice_quote(key->name, quoted));
    MLTFR_TRY(take_u32(c, what, &key->type));
    key->element = key->type;
    key->count = 1;
    if (key->type == GGUF_ARRAY) {
        MLTFR_TRY(take_u32(c, what, &key->element));
        MLTFR_TRY(take_u64(c, what, &key->count));
    }
    if (key->element >= GGUF_TYPES || key->element == GGUF_ARRAY)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: byte %zu: %s has values of type %" PRIu32
                   "; allowed: 0 to 12, and no array of arrays",
                   c->image->path, c->at, what, key->element);
    key->at = c->at;
    MLTFR_TRY(skip_values(c, key->element, key->count, what));
done:
    return st;
}

static mltfr_status check_keys(const mltfr_table_file *f)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice *names = NULL;

    MLTFR_TRY(MLTFR_NEW(names, f->key_count));
    for (int64_t i = 0; i < f->key_count; i++)
        names[i] = f->keys[i].name;
    MLTFR_TRY(mltfr_table_names_check(f->image.path, "keys", names, f->key_count));
done:
    MLTFR_FREE(names);
    return st;
}

static mltfr_status read_keys(mltfr_table_file *f, cursor *c, int64_t count)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(check_count(c, "keys", count, LEAST_KEY));
    MLTFR_TRY(MLTFR_NEW(f->keys, count));
    for (; f->key_count < count; f->key_count++)
        MLTFR_TRY(read_key(c, &f->keys[f->key_count]));
    MLTFR_TRY(check_keys(f));
done:
    return st;
}

static mltfr_status read_alignment(const mltfr_table_file *f, uint32_t *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_table_key *key = mltfr_gguf_key_find(f, "general.alignment");

    *out = 32;
    if (key == NULL)
        goto done;
    if (key->type != GGUF_U32)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: byte %zu: general.alignment has type %" PRIu32 "; allowed: %d (u32)",
                   f->image.path, key->at, key->type, GGUF_U32);
    memcpy(out, f->image.data + key->at, sizeof *out);
    if (*out == 0 || (*out & (*out - 1)) != 0)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: byte %zu: general.alignment is %" PRIu32 "; allowed: a power of two",
                   f->image.path, key->at, *out);
done:
    return st;
}

/* ---- tensors */

/* Dimensions, fastest first in the file and last here. */
static mltfr_status read_dims(cursor *c, const char *what, mltfr_table_tensor *tensor)
{
    mltfr_status st = MLTFR_OK;
    uint32_t ndim;

    MLTFR_TRY(take_u32(c, what, &ndim));
    if (ndim > DIMS)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte %zu: %s has %" PRIu32 " dimensions; allowed: up to %d",
                   c->image->path, c->at - 4, what, ndim, DIMS);
    tensor->ndim = (int)ndim;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        uint64_t n;

        MLTFR_TRY(take_u64(c, what, &n));
        if (n == 0 || n > INT64_MAX)
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s: byte %zu: %s has a dimension of %" PRId64 "; allowed: 1 and more",
                       c->image->path, c->at - 8, what, (int64_t)n);
        tensor->dims[i] = (int64_t)n;
    }
done:
    return st;
}

static mltfr_status read_tensor(cursor *c, mltfr_table_tensor *tensor)
{
    mltfr_status st = MLTFR_OK;
    char quoted[MLTFR_QUOTE_BYTES], what[MLTFR_QUOTE_BYTES + 16];
    uint32_t type;
    uint64_t offset;

    MLTFR_TRY(take_name(c, "the name of a tensor", NAME_BYTES - 1, &tensor->name));
    snprintf(what, sizeof what, "tensor '%s'", mltfr_slice_quote(tensor->name, quoted));
    MLTFR_TRY(read_dims(c, what, tensor));
    MLTFR_TRY(take_u32(c, what, &type));
    tensor->kind = mltfr_table_kind_gguf(type);
    if (tensor->kind == NULL)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte %zu: %s has the unknown type %" PRIu32, c->image->path,
                   c->at - 4, what, type);
    MLTFR_TRY(take_u64(c, what, &offset));
    tensor->offset = (size_t)offset;
    const char *wrong = mltfr_table_tensor_measure(tensor);
    if (wrong != NULL)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte %zu: %s: %s", c->image->path, c->at, what, wrong);
done:
    return st;
}

/* The last tensor may be padded like the others, and that is the end. */
static mltfr_status check_end(const mltfr_table_file *f, size_t base, uint32_t alignment)
{
    size_t end = base;

    if (f->tensor_count > 0)
        end = f->tensors[f->tensor_count - 1].offset + f->tensors[f->tensor_count - 1].bytes;
    if (f->image.bytes <= end || f->image.bytes - end < alignment)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_DATA, "%s: byte %zu: %zu bytes follow the last tensor", f->image.path,
                      end, f->image.bytes - end);
}

/* Offsets so far count from the data; make them those of the file. */
static mltfr_status place_tensors(mltfr_table_file *f, size_t base, uint32_t alignment)
{
    mltfr_status st = MLTFR_OK;
    char quoted[MLTFR_QUOTE_BYTES];
    size_t left = base < f->image.bytes ? f->image.bytes - base : 0;

    for (int64_t i = 0; i < f->tensor_count; i++) {
        mltfr_table_tensor *tensor = &f->tensors[i];

        if (tensor->offset % alignment != 0)
            MLTFR_FAIL(MLTFR_E_DATA, "%s: tensor '%s': offset %zu is no multiple of %" PRIu32,
                       f->image.path, mltfr_slice_quote(tensor->name, quoted), tensor->offset,
                       alignment);
        if (tensor->offset > left || tensor->bytes > left - tensor->offset)
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s: tensor '%s': %zu bytes at offset %zu, but the file has "
                       "%zu bytes of data",
                       f->image.path, mltfr_slice_quote(tensor->name, quoted), tensor->bytes,
                       tensor->offset, left);
        tensor->offset += base;
    }
    MLTFR_TRY(mltfr_table_tensors_check(f, base, false));
    MLTFR_TRY(check_end(f, base, alignment));
done:
    return st;
}

static mltfr_status read_tensors(mltfr_table_file *f, cursor *c, int64_t count)
{
    mltfr_status st = MLTFR_OK;
    uint32_t alignment;

    MLTFR_TRY(check_count(c, "tensors", count, LEAST_TENSOR));
    MLTFR_TRY(MLTFR_NEW(f->tensors, count));
    for (; f->tensor_count < count; f->tensor_count++)
        MLTFR_TRY(read_tensor(c, &f->tensors[f->tensor_count]));
    MLTFR_TRY(read_alignment(f, &alignment));
    size_t base = (c->at + alignment - 1) / alignment * alignment;
    MLTFR_TRY(place_tensors(f, base, alignment));
done:
    return st;
}

mltfr_status mltfr_table_parse_gguf(mltfr_table_file *f)
{
    mltfr_status st = MLTFR_OK;
    cursor c = {&f->image, 0};
    int64_t tensors = 0, keys = 0;

    MLTFR_TRY(read_header(&c, &f->version, &tensors, &keys));
    MLTFR_TRY(read_keys(f, &c, keys));
    MLTFR_TRY(read_tensors(f, &c, tensors));
done:
    return st;
}
