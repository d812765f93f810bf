/* What a file of token tables holds, in lines for a person.  Text from the file is quoted. */
#include "table_impl.h"

#include <mltfr/log.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_TENSORS = 400, SHOWN_STRINGS = 8, LINE_BYTES = 1024 };

static const char *shape_text(const mltfr_table_tensor *t, char *out, size_t bytes)
{
    size_t used = 0;

    snprintf(out, bytes, "scalar");
    for (int i = 0; i < t->ndim; i++)
        used +=
            (size_t)snprintf(out + used, bytes - used, "%s%" PRId64, i > 0 ? "x" : "", t->dims[i]);
    return out;
}

static void say_tensors(const mltfr_table *t)
{
    char quoted[MLTFR_QUOTE_BYTES], shape[MLTFR_TABLE_DIMS * 21];

    for (int64_t i = 0; i < t->tensors.count; i++) {
        const mltfr_table_tensor *tensor = &t->tensors.list[i];

        if (i == SHOWN_TENSORS) {
            mltfr_say("tensor      ... and %" PRId64 " more", t->tensors.count - i);
            break;
        }
        mltfr_say("tensor      %-44s %-6s %-14s %zu bytes", mltfr_slice_quote(tensor->name, quoted),
                  tensor->kind->name, shape_text(tensor, shape, sizeof shape), tensor->bytes);
    }
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
        const mltfr_table_string_of *s = &v->list[i];

        if (s->special != special)
            continue;
        mltfr_slice_quote((mltfr_slice){s->text, s->bytes}, quoted);
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
        special += v->list[i].special;
    mltfr_say("strings     %" PRId64 ", %" PRId64 " of them special, from %s", v->count, special,
              v->image.path != NULL ? v->image.path : "tokenizer.ggml.tokens");
    sample_line(v, false, line, sizeof line);
    mltfr_say("samples    %s", line);
    sample_line(v, true, line, sizeof line);
    if (special > 0)
        mltfr_say("special    %s", line);
}

static void say_keys(const mltfr_table *t)
{
    char quoted[MLTFR_QUOTE_BYTES], value[160];

    for (int64_t i = 0; i < t->key_count; i++) {
        mltfr_gguf_key_print(t, &t->keys[i], value, sizeof value);
        mltfr_say("key         %-44s %s", mltfr_slice_quote(t->keys[i].name, quoted), value);
    }
}

mltfr_status mltfr_table_describe(const char *path)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table *t = NULL;

    MLTFR_TRY(mltfr_table_load(path, NULL, 0, &t));
    mltfr_say("file        %s", t->image.path);
    mltfr_say("format      %s, %zu bytes, %" PRId64 " tensors", t->format, t->image.bytes,
              t->tensors.count);
    if (mltfr_table_choose(t, NULL) == MLTFR_OK)
        mltfr_say("table       %s %s %" PRId64 "x%" PRId64, t->name, t->tensor->kind->name,
                  t->tensor->dims[0], t->tensor->dims[1]);
    else
        mltfr_say("table       none: %s", mltfr_error_text);
    say_vocab(t);
    say_keys(t);
    say_tensors(t);
done:
    mltfr_table_close(&t);
    return st;
}
