/* What a file of token tables holds, in lines for a person: a word for what the line is about, in
 * a column of its own, then the facts.  Text from the file is quoted. */
#include "table_impl.h"

#include <mltfr/log.h>
#include <mltfr/watchdog.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_TENSORS = 400, SHOWN_STRINGS = 8, SHOWN_KEYS = 200, LINE_BYTES = 1024 };

static void say_files(const mltfr_table *t)
{
    for (int64_t i = 0; i < t->file_count; i++) {
        const mltfr_table_file *f = &t->files[i];
        char version[16] = "";

        if (f->version != 0)
            snprintf(version, sizeof version, " v%" PRIu32, f->version);
        mltfr_say("file        %s: %s%s, %zu bytes, %" PRId64 " tensors", f->image.path, f->format,
                  version, f->image.bytes, f->tensor_count);
    }
}

static const char *shape_text(const mltfr_table_tensor *t, char *out, size_t bytes)
{
    size_t used = 0;

    snprintf(out, bytes, "scalar");
    for (int i = 0; i < t->ndim; i++)
        used +=
            (size_t)snprintf(out + used, bytes - used, "%s%" PRId64, i > 0 ? "x" : "", t->dims[i]);
    return out;
}

/* A tensor with, if `verify`, the hash of its bytes. */
static mltfr_status say_tensor(const char *word, const mltfr_table_tensor *tensor, bool verify)
{
    mltfr_status st = MLTFR_OK;
    char quoted[MLTFR_QUOTE_BYTES], shape[MLTFR_TABLE_DIMS * 21], hash[32] = "";
    uint64_t value;

    if (verify) {
        MLTFR_TRY(mltfr_table_tensor_hash(tensor, &value));
        snprintf(hash, sizeof hash, "  xxh64 %016" PRIx64, value);
    }
    mltfr_say("%-11s %-44s %-6s %-14s %zu bytes%s", word, mltfr_slice_quote(tensor->name, quoted),
              tensor->kind->name, shape_text(tensor, shape, sizeof shape), tensor->bytes, hash);
done:
    return st;
}

static mltfr_status say_tensors(const mltfr_table *t, bool verify)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t i = 0; i < t->tensor_count; i++) {
        if (i == SHOWN_TENSORS && !verify) {
            mltfr_say("tensor      ... and %" PRId64 " more", t->tensor_count - i);
            break;
        }
        MLTFR_TRY(say_tensor("tensor", t->tensors[i], verify));
    }
done:
    return st;
}

/* The table, and what else could be one: the output matrix of an untied model. */
static mltfr_status say_table(mltfr_table *t, const char *tensor)
{
    mltfr_status st = mltfr_table_choose(t, tensor);

    if (st != MLTFR_OK && tensor == NULL) {
        mltfr_say("table       none: %s", mltfr_error_text);
        return MLTFR_OK;
    }
    MLTFR_TRY(st);
    MLTFR_TRY(say_tensor("table", t->tensor, false));
    for (int64_t i = 0; i < t->tensor_count; i++) {
        const mltfr_table_tensor *other = t->tensors[i];

        if (other != t->tensor && other->ndim == 2 && other->kind->decode != NULL &&
            other->dims[0] == t->tensor->dims[0] && other->dims[1] == t->tensor->dims[1])
            MLTFR_TRY(say_tensor("or --tensor", other, false));
    }
done:
    return st;
}

/* Up to SHOWN_STRINGS of them, spread over the rows; of the special ones the first. */
static void sample_line(const mltfr_table_vocab *v, bool special, char *out, size_t bytes)
{
    char quoted[MLTFR_QUOTE_BYTES];
    int64_t step = special ? 1 : v->count / SHOWN_STRINGS + 1;
    size_t used = 0;
    int shown = 0;

    out[0] = '\0';
    for (int64_t i = step / 2; i < v->count && shown < SHOWN_STRINGS; i += step) {
        if (((mltfr_vocab_flags(v, i) & MLTFR_VOCAB_SPECIAL) != 0) != special)
            continue;
        mltfr_slice_quote(mltfr_vocab_string(v, i), quoted);
        used += (size_t)snprintf(out + used, bytes - used, " %" PRId64 "='%s'", i, quoted);
        shown++;
    }
}

static void say_vocab(const mltfr_table *t)
{
    const mltfr_table_vocab *v = &t->vocab;
    char line[LINE_BYTES];
    int64_t special = 0;

    if (v->count == 0) {
        mltfr_say("strings     none");
        return;
    }
    for (int64_t i = 0; i < v->count; i++)
        special += (mltfr_vocab_flags(v, i) & MLTFR_VOCAB_SPECIAL) != 0;
    mltfr_say("strings     %" PRId64 ", %" PRId64 " of them special, from %s", v->count, special,
              v->image.path != NULL ? v->image.path : "tokenizer.ggml.tokens");
    if (t->tensor != NULL && t->tensor->dims[0] > v->count)
        mltfr_say("padding     %" PRId64 " rows without a string, special",
                  t->tensor->dims[0] - v->count);
    sample_line(v, false, line, sizeof line);
    mltfr_say("samples    %s", line);
    sample_line(v, true, line, sizeof line);
    if (special > 0)
        mltfr_say("special    %s", line);
}

static void say_keys(const mltfr_table_file *f)
{
    char quoted[MLTFR_QUOTE_BYTES], value[160];

    for (int64_t i = 0; i < f->key_count; i++) {
        if (i == SHOWN_KEYS) {
            mltfr_say("key         ... and %" PRId64 " more", f->key_count - i);
            break;
        }
        mltfr_gguf_key_print(f, &f->keys[i], value, sizeof value);
        mltfr_say("key         %-44s %s", mltfr_slice_quote(f->keys[i].name, quoted), value);
    }
}

/* All values of the table, read once: one that is NaN or infinite is an error. */
static mltfr_status verify_rows(mltfr_table *t)
{
    enum { BLOCK = 256 };
    mltfr_status st = MLTFR_OK;
    int64_t total = mltfr_table_rows(t);
    float *rows = NULL;

    MLTFR_TRY(MLTFR_NEW(rows, BLOCK * mltfr_table_width(t)));
    for (int64_t first = 0; first < total; first += BLOCK) {
        mltfr_watchdog_go_on();
        MLTFR_TRY(mltfr_table_read(t, first, first + BLOCK < total ? BLOCK : total - first, rows));
    }
    mltfr_say("verified    all values of %" PRId64 " rows are finite, xxh64 %016" PRIx64, total,
              mltfr_table_digest(t));
done:
    MLTFR_FREE(rows);
    return st;
}

mltfr_status mltfr_table_describe(const char *path, const char *tensor, bool verify)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table *t = NULL;

    MLTFR_TRY(mltfr_table_load(path, NULL, 0, &t));
    say_files(t);
    MLTFR_TRY(say_table(t, tensor));
    say_vocab(t);
    for (int64_t i = 0; i < t->file_count; i++)
        say_keys(&t->files[i]);
    MLTFR_TRY(say_tensors(t, verify));
    if (verify && t->tensor != NULL)
        MLTFR_TRY(verify_rows(t));
done:
    mltfr_table_close(&t);
    return st;
}

bool mltfr_table_is(const char *path)
{
    static const char *const endings[] = {".gguf", ".safetensors", ".npy", ".index.json"};

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (mltfr_has_ending(path, endings[i]))
            return true;
    return false;
}
