/* Token tables: from a path to files, their tensors and strings, and the tensor that is the
 * table. */
#include "table_impl.h"

#include <mltfr/log.h>

#include <inttypes.h>
#include <string.h>

/* ---- files */

static bool begins(const mltfr_image *image, const char *with)
{
    size_t n = strlen(with);

    if (image->bytes < n)
        return false;
    mltfr_image_need(image, 0, n);
    return memcmp(image->data, with, n) == 0;
}

/* A length that fits the file, and a {. */
static bool begins_safetensors(const mltfr_image *image)
{
    uint64_t header;

    if (image->bytes < 9)
        return false;
    mltfr_image_need(image, 0, 9);
    memcpy(&header, image->data, sizeof header);
    return header <= image->bytes - 8 && image->data[8] == '{';
}

/* By the first bytes, else by the ending of the name, whose reader then says what is wrong. */
static mltfr_status parse(mltfr_table_file *f)
{
    const mltfr_image *image = &f->image;
    const char *path = image->path;

    if (begins(image, "GGUF") || mltfr_has_ending(path, ".gguf")) {
        f->format = "GGUF";
        return mltfr_table_parse_gguf(f);
    }
    if (begins(image, "\x93NUMPY") || mltfr_has_ending(path, ".npy")) {
        f->format = ".npy";
        return mltfr_table_parse_npy(f);
    }
    if (begins_safetensors(image) || mltfr_has_ending(path, ".safetensors")) {
        f->format = "safetensors";
        return mltfr_table_parse_safetensors(f);
    }
    return mltfr_fail(MLTFR_E_DATA, "%s: byte 0: not a GGUF, safetensors or .npy file", path);
}

/* Files that each begin like a model are its parts; others are the pieces of one. */
static bool are_pieces(const mltfr_image *images, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!begins(&images[i], "GGUF") && !begins_safetensors(&images[i]))
            return count > 1;
    return false;
}

static mltfr_status take_images(mltfr_table *t, const char *path, mltfr_image *images,
                                int64_t count)
{
    mltfr_status st = MLTFR_OK;
    bool pieces = are_pieces(images, count);

    t->file_count = pieces ? 1 : count;
    MLTFR_TRY(MLTFR_NEW(t->files, t->file_count));
    if (pieces)
        MLTFR_TRY(mltfr_image_join(path, images, count, &t->files[0].image));
    for (int64_t i = 0; !pieces && i < count; i++) {
        t->files[i].image = images[i];
        memset(&images[i], 0, sizeof images[i]);
    }
done:
    return st;
}

static mltfr_status map_files(mltfr_table *t, const char *path)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table_paths paths;
    mltfr_image *images = NULL;

    MLTFR_TRY(mltfr_table_paths_find(path, &paths));
    MLTFR_TRY(MLTFR_NEW(images, paths.count));
    for (int64_t i = 0; i < paths.count; i++)
        MLTFR_TRY(mltfr_image_map(paths.list[i], &images[i]));
    MLTFR_TRY(take_images(t, path, images, paths.count));
done:
    for (int64_t i = 0; images != NULL && i < paths.count; i++)
        mltfr_image_close(&images[i]);
    MLTFR_FREE(images);
    mltfr_table_paths_close(&paths);
    return st;
}

static mltfr_status parse_files(mltfr_table *t)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t i = 0; i < t->file_count; i++) {
        mltfr_table_file *f = &t->files[i];

        MLTFR_TRY(parse(f));
        if (f->format != t->files[0].format)
            MLTFR_FAIL(MLTFR_E_DATA, "%s: %s, but %s is %s: not parts of one model", f->image.path,
                       f->format, t->files[0].image.path, t->files[0].format);
        if (strcmp(f->format, "GGUF") == 0)
            MLTFR_TRY(mltfr_gguf_split_check(f, i, t->file_count));
        t->tensor_count += f->tensor_count;
    }
done:
    return st;
}

/* ---- tensors of all files */

static mltfr_status check_all_names(const mltfr_table *t)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice *names = NULL;

    if (t->file_count == 1)
        goto done;
    MLTFR_TRY(MLTFR_NEW(names, t->tensor_count));
    for (int64_t i = 0; i < t->tensor_count; i++)
        names[i] = t->tensors[i]->name;
    MLTFR_TRY(mltfr_table_names_check(t->files[0].image.path, "tensors of the files", names,
                                      t->tensor_count));
done:
    MLTFR_FREE(names);
    return st;
}

static mltfr_status gather(mltfr_table *t)
{
    mltfr_status st = MLTFR_OK;
    int64_t n = 0;

    MLTFR_TRY(MLTFR_NEW(t->tensors, t->tensor_count));
    for (int64_t i = 0; i < t->file_count; i++)
        for (int64_t j = 0; j < t->files[i].tensor_count; j++) {
            t->files[i].tensors[j].image = &t->files[i].image;
            t->tensors[n++] = &t->files[i].tensors[j];
        }
    MLTFR_TRY(check_all_names(t));
done:
    return st;
}

/* ---- opening */

mltfr_status mltfr_table_load(const char *path, const void *data, size_t bytes, mltfr_table **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table *t = NULL;
    mltfr_image image = {0};

    *out = NULL;
    MLTFR_TRY(MLTFR_NEW(t, 1));
    if (data != NULL) {
        MLTFR_TRY(mltfr_image_borrow(path, data, bytes, &image));
        MLTFR_TRY(take_images(t, path, &image, 1));
    } else {
        MLTFR_TRY(map_files(t, path));
    }
    MLTFR_TRY(parse_files(t));
    MLTFR_TRY(gather(t));
    const mltfr_table_file *first = &t->files[0];
    if (strcmp(first->format, "GGUF") == 0)
        MLTFR_TRY(mltfr_gguf_read_vocab(first, &t->vocab));
    else if (data == NULL)
        MLTFR_TRY(mltfr_table_vocab_beside(mltfr_image_first(&first->image), &t->vocab));
    *out = t;
    t = NULL;
done:
    mltfr_image_close(&image);
    mltfr_table_close(&t);
    return st;
}

/* Rows unlike the vocabulary: this is not its table. */
static mltfr_status check_rows(const mltfr_table *t, const mltfr_table_tensor *chosen)
{
    char quoted[MLTFR_QUOTE_BYTES];

    if (t->vocab.count == 0 || mltfr_table_rows_fit(chosen->dims[0], t->vocab.count))
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_DATA,
                      "%s: tensor '%s' has %" PRId64 " rows, but %s has %" PRId64
                      " strings; allowed: a row for each, and a sixteenth more at the end",
                      chosen->image->path, mltfr_slice_quote(chosen->name, quoted), chosen->dims[0],
                      t->vocab.image.path != NULL ? t->vocab.image.path : "tokenizer.ggml.tokens",
                      t->vocab.count);
}

mltfr_status mltfr_table_choose(mltfr_table *t, const char *tensor)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_table_tensor *chosen;

    MLTFR_TRY(mltfr_table_pick(t, tensor, &chosen));
    MLTFR_TRY(check_rows(t, chosen));
    MLTFR_TRY(MLTFR_NEW(t->name, chosen->name.bytes + 1));
    memcpy(t->name, chosen->name.data, chosen->name.bytes);
    if (chosen->image->join != NULL)
        MLTFR_TRY(MLTFR_NEW(t->seam, chosen->bytes / (size_t)chosen->dims[0]));
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
    if (t->vocab.count != 0 && t->vocab.count < t->tensor->dims[0])
        mltfr_note("%s: %" PRId64 " of %" PRId64 " rows have no string (padding): special",
                   t->tensor->image->path, t->tensor->dims[0] - t->vocab.count, t->tensor->dims[0]);
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

static void close_file(mltfr_table_file *f)
{
    mltfr_image_close(&f->image);
    MLTFR_FREE(f->side);
    MLTFR_FREE(f->keys);
    MLTFR_FREE(f->tensors);
}

void mltfr_table_close(mltfr_table **table)
{
    mltfr_table *t = *table;

    if (t == NULL)
        return;
    mltfr_table_vocab_close(&t->vocab);
    for (int64_t i = 0; t->files != NULL && i < t->file_count; i++)
        close_file(&t->files[i]);
    MLTFR_FREE(t->files);
    MLTFR_FREE(t->tensors);
    MLTFR_FREE(t->name);
    MLTFR_FREE(t->seam);
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
    return table->tensor->image->path;
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

int64_t mltfr_table_strings(const mltfr_table *table)
{
    return table->vocab.count;
}

const char *mltfr_table_string(const mltfr_table *table, int64_t row, size_t *bytes)
{
    mltfr_slice text = {table->vocab.count > 0 ? "" : NULL, 0};

    if (row >= 0 && row < table->vocab.count)
        text = mltfr_vocab_string(&table->vocab, row);
    *bytes = text.bytes;
    return text.data;
}

bool mltfr_table_special(const mltfr_table *table, int64_t row)
{
    if (row < 0 || table->vocab.count == 0)
        return false;
    return row >= table->vocab.count ||
           (mltfr_vocab_flags(&table->vocab, row) & MLTFR_VOCAB_SPECIAL) != 0;
}
