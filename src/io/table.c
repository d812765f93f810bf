/* Token tables: which reader a file needs, which tensor is the table, and its rows as float32. */
#include "table_impl.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* ---- from a directory to a file */

static bool has_ending(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);

    return n >= m && strcmp(name + n - m, ending) == 0;
}

static bool is_table_name(const char *name)
{
    return has_ending(name, ".gguf") || has_ending(name, ".safetensors") ||
           has_ending(name, ".npy");
}

/* The file of a directory: model.safetensors, else the only one of a known ending. */
static mltfr_status find_in(const char *path, DIR *directory, char **out)
{
    mltfr_status st = MLTFR_OK;
    char name[256] = "";
    struct dirent *entry;
    int found = 0;

    while ((entry = readdir(directory)) != NULL) {
        if (!is_table_name(entry->d_name))
            continue;
        found++;
        snprintf(name, sizeof name, "%s", entry->d_name);
        if (strcmp(name, "model.safetensors") == 0) {
            found = 1;
            break;
        }
    }
    if (found != 1)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: the directory has %d files .gguf, .safetensors or .npy; "
                   "allowed: one, or model.safetensors",
                   path, found);
    size_t bytes = strlen(path) + strlen(name) + 2;
    MLTFR_TRY(MLTFR_NEW(*out, bytes));
    snprintf(*out, bytes, "%s/%s", path, name);
done:
    return st;
}

static mltfr_status resolve(const char *path, char **out)
{
    mltfr_status st = MLTFR_OK;
    struct stat info;
    DIR *directory = NULL;

    *out = NULL;
    if (stat(path, &info) != 0)
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) {
        MLTFR_TRY(mltfr_strdup(path, out));
        goto done;
    }
    directory = opendir(path);
    if (directory == NULL)
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    MLTFR_TRY(find_in(path, directory, out));
done:
    if (directory != NULL)
        closedir(directory);
    return st;
}

/* ---- opening */

static bool begins(const mltfr_image *image, const char *with)
{
    size_t n = strlen(with);

    return image->bytes >= n && memcmp(image->data, with, n) == 0;
}

/* By the first bytes, else by the ending of the name, whose reader then says what is wrong. */
static mltfr_status parse(mltfr_table *t)
{
    const mltfr_image *image = &t->image;
    const char *path = image->path;

    if (begins(image, "GGUF") || has_ending(path, ".gguf")) {
        t->format = "GGUF";
        return mltfr_table_parse_gguf(t);
    }
    if (begins(image, "\x93NUMPY") || has_ending(path, ".npy")) {
        t->format = ".npy";
        return mltfr_table_parse_npy(t);
    }
    if (has_ending(path, ".safetensors") || (image->bytes > 8 && image->data[8] == '{')) {
        t->format = "safetensors";
        return mltfr_table_parse_safetensors(t);
    }
    return mltfr_fail(MLTFR_E_DATA, "%s: byte 0: not a GGUF, safetensors or .npy file", path);
}

mltfr_status mltfr_table_load(const char *path, const void *data, size_t bytes, mltfr_table **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table *t = NULL;
    char *file = NULL;

    *out = NULL;
    MLTFR_TRY(MLTFR_NEW(t, 1));
    if (data != NULL) {
        MLTFR_TRY(mltfr_image_borrow(path, data, bytes, &t->image));
    } else {
        MLTFR_TRY(resolve(path, &file));
        MLTFR_TRY(mltfr_image_map(file, &t->image));
    }
    MLTFR_TRY(parse(t));
    if (data == NULL && t->vocab.count == 0 && strcmp(t->format, "GGUF") != 0)
        MLTFR_TRY(mltfr_table_vocab_beside(t->image.path, &t->vocab));
    *out = t;
    t = NULL;
done:
    MLTFR_FREE(file);
    mltfr_table_close(&t);
    return st;
}

mltfr_status mltfr_table_choose(mltfr_table *t, const char *tensor)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_table_tensor *chosen;
    int64_t strings = t->vocab.count;
    char quoted[MLTFR_QUOTE_BYTES];

    MLTFR_TRY(mltfr_table_tensors_pick(&t->image, &t->tensors, tensor, strings, &chosen));
    if (strings != 0 && strings != chosen->dims[0])
        MLTFR_FAIL(
            MLTFR_E_DATA, "%s: tensor '%s' has %" PRId64 " rows, but %s has %" PRId64 " strings",
            t->image.path, mltfr_slice_quote(chosen->name, quoted), chosen->dims[0],
            t->vocab.image.path != NULL ? t->vocab.image.path : "tokenizer.ggml.tokens", strings);
    MLTFR_TRY(MLTFR_NEW(t->name, chosen->name.bytes + 1));
    memcpy(t->name, chosen->name.data, chosen->name.bytes);
    t->tensor = chosen;
done:
    return st;
}

static mltfr_status open_any(const char *path, const void *data, size_t bytes, const char *tensor,
                             mltfr_table **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table *t = NULL;

    *out = NULL;
    MLTFR_TRY(mltfr_table_load(path, data, bytes, &t));
    MLTFR_TRY(mltfr_table_choose(t, tensor));
    *out = t;
    t = NULL;
done:
    mltfr_table_close(&t);
    return st;
}

mltfr_status mltfr_table_open(const char *path, const char *tensor, mltfr_table **out)
{
    return open_any(path, NULL, 0, tensor, out);
}

mltfr_status mltfr_table_open_memory(const char *name, const void *image, size_t bytes,
                                     const char *tensor, mltfr_table **out)
{
    return open_any(name, image != NULL ? image : "", bytes, tensor, out);
}

void mltfr_table_close(mltfr_table **table)
{
    mltfr_table *t = *table;

    if (t == NULL)
        return;
    mltfr_table_vocab_close(&t->vocab);
    mltfr_image_close(&t->image);
    MLTFR_FREE(t->side);
    MLTFR_FREE(t->keys);
    MLTFR_FREE(t->tensors.list);
    MLTFR_FREE(t->name);
    MLTFR_FREE(*table);
}

/* ---- what it is */

int64_t mltfr_table_rows(const mltfr_table *table)
{
    return table->tensor->dims[0];
}

int64_t mltfr_table_width(const mltfr_table *table)
{
    return table->tensor->dims[1];
}

const char *mltfr_table_path(const mltfr_table *table)
{
    return table->image.path;
}

const char *mltfr_table_tensor_name(const mltfr_table *table)
{
    return table->name;
}

const char *mltfr_table_type(const mltfr_table *table)
{
    return table->tensor->kind->name;
}

bool mltfr_table_has_strings(const mltfr_table *table)
{
    return table->vocab.count > 0;
}

const char *mltfr_table_string(const mltfr_table *table, int64_t row, size_t *bytes)
{
    if (row < 0 || row >= table->vocab.count) {
        *bytes = 0;
        return NULL;
    }
    *bytes = table->vocab.list[row].bytes;
    return table->vocab.list[row].text;
}

bool mltfr_table_special(const mltfr_table *table, int64_t row)
{
    return row >= 0 && row < table->vocab.count && table->vocab.list[row].special;
}

uint64_t mltfr_table_digest(mltfr_table *table)
{
    const mltfr_table_tensor *t = table->tensor;

    if (!table->digested)
        table->digest = XXH64(table->image.data + t->offset, t->bytes, 0);
    table->digested = true;
    return table->digest;
}

/* ---- rows */

/* Are all exponents below that of Inf and NaN?  Integer arithmetic: it vectorises. */
static bool all_finite(const float *x, int64_t n)
{
    uint32_t bad = 0;

    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &x[i], sizeof bits);
        bad |= (bits & UINT32_C(0x7f800000)) == UINT32_C(0x7f800000);
    }
    return bad == 0;
}

static mltfr_status not_finite(const mltfr_table *table, int64_t row, const float *x)
{
    char quoted[MLTFR_QUOTE_BYTES];
    int64_t column = 0;

    while (isfinite(x[column]))
        column++;
    return mltfr_fail(MLTFR_E_DATA,
                      "%s: tensor '%s': row %" PRId64 ", column %" PRId64
                      " is %s; allowed: finite float32 values",
                      table->image.path, mltfr_slice_quote(table->tensor->name, quoted), row,
                      column, isnan(x[column]) ? "NaN" : "infinite");
}

mltfr_status mltfr_table_read(const mltfr_table *table, int64_t first, int64_t rows, float *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_table_tensor *t = table->tensor;
    int64_t V = t->dims[0], D = t->dims[1], blocks = D / t->kind->block;
    size_t stride = (size_t)blocks * (size_t)t->kind->bytes;

    if (first < 0 || rows < 0 || first > V || rows > V - first)
        MLTFR_FAIL(MLTFR_E_INTERNAL, "%s: rows %" PRId64 " to %" PRId64 " of a table of %" PRId64,
                   table->image.path, first, first + rows - 1, V);
    const uint8_t *in = table->image.data + t->offset + (size_t)first * stride;
    for (int64_t row = first; row < first + rows; row++, in += stride, out += D) {
        t->kind->decode(in, blocks, out);
        if (!all_finite(out, D))
            MLTFR_TRY(not_finite(table, row, out));
    }
done:
    return st;
}
