/* JSON as a stream of events, from yajl: the header of a safetensors file and tokenizers.  The
 * depth is bounded here, since nesting is the one thing that costs more memory than its text. */
#include "table_impl.h"

#include <stdio.h>
#include <string.h>
#include <yajl/yajl_parse.h>

typedef struct {
    const mltfr_image *image;
    int depth, max_depth;
    mltfr_json_visitor *visit;
    void *context;
    mltfr_status st;
} walk;

static int pass(walk *w, mltfr_json_kind kind, const void *text, size_t bytes)
{
    mltfr_json_event event = {kind, w->depth, {text, bytes}};

    w->st = w->visit(w->context, &event);
    return w->st == MLTFR_OK;
}

static int enter(walk *w, mltfr_json_kind kind)
{
    if (w->depth >= w->max_depth) {
        w->st = mltfr_fail(MLTFR_E_DATA, "%s: JSON is nested deeper than %d", w->image->path,
                           w->max_depth);
        return 0;
    }
    int go_on = pass(w, kind, NULL, 0);
    w->depth++;
    return go_on;
}

static int leave(walk *w, mltfr_json_kind kind)
{
    w->depth--;
    return pass(w, kind, NULL, 0);
}

static int on_null(void *w)
{
    return pass(w, MLTFR_JSON_OTHER, NULL, 0);
}

static int on_boolean(void *w, int value)
{
    return pass(w, value ? MLTFR_JSON_TRUE : MLTFR_JSON_OTHER, NULL, 0);
}

static int on_number(void *w, const char *text, size_t bytes)
{
    return pass(w, MLTFR_JSON_NUMBER, text, bytes);
}

static int on_string(void *w, const unsigned char *text, size_t bytes)
{
    return pass(w, MLTFR_JSON_STRING, text, bytes);
}

static int on_key(void *w, const unsigned char *text, size_t bytes)
{
    return pass(w, MLTFR_JSON_KEY, text, bytes);
}

static int on_map(void *w)
{
    return enter(w, MLTFR_JSON_MAP);
}

static int on_map_end(void *w)
{
    return leave(w, MLTFR_JSON_MAP_END);
}

static int on_array(void *w)
{
    return enter(w, MLTFR_JSON_ARRAY);
}

static int on_array_end(void *w)
{
    return leave(w, MLTFR_JSON_ARRAY_END);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_map_key = on_key,
    .yajl_start_map = on_map,
    .yajl_end_map = on_map_end,
    .yajl_start_array = on_array,
    .yajl_end_array = on_array_end,
};

/* yajl's reason on one line, at the byte it stopped. */
static mltfr_status syntax_error(const mltfr_image *image, size_t at, yajl_handle parser)
{
    unsigned char *text = yajl_get_error(parser, 0, NULL, 0);
    size_t length = text == NULL ? 0 : strcspn((const char *)text, "\n");
    mltfr_status st = mltfr_fail(MLTFR_E_DATA, "%s: byte %zu: not valid JSON: %.*s", image->path,
                                 at + yajl_get_bytes_consumed(parser), (int)length,
                                 text == NULL ? "" : (const char *)text);

    yajl_free_error(parser, text);
    return st;
}

mltfr_status mltfr_json_walk(const mltfr_image *image, size_t at, size_t bytes, int max_depth,
                             mltfr_json_visitor *visit, void *context)
{
    walk w = {image, 0, max_depth, visit, context, MLTFR_OK};
    yajl_handle parser = yajl_alloc(&callbacks, NULL, &w);

    if (parser == NULL)
        return mltfr_fail(MLTFR_E_NOMEM, "%s: out of memory for JSON", image->path);
    yajl_status done = yajl_parse(parser, image->data + at, bytes);
    if (done == yajl_status_ok)
        done = yajl_complete_parse(parser);
    if (done == yajl_status_error)
        w.st = syntax_error(image, at, parser);
    yajl_free(parser);
    return w.st;
}

bool mltfr_json_natural(const mltfr_json_event *event, int64_t *out)
{
    int64_t value = 0;

    if (event->kind != MLTFR_JSON_NUMBER)
        return false;
    for (size_t i = 0; i < event->text.bytes; i++) {
        int digit = event->text.data[i] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}

mltfr_status mltfr_json_keep(const mltfr_image *image, size_t most, char **side, size_t *used,
                             mltfr_slice text, mltfr_slice *out)
{
    mltfr_status st = MLTFR_OK;
    uintptr_t begin = (uintptr_t)image->data, here = (uintptr_t)text.data;

    *out = text;
    if (here >= begin && here - begin < image->bytes)
        return st;
    if (*side == NULL)
        MLTFR_TRY(MLTFR_NEW(*side, most));
    if (text.bytes > most - *used)
        MLTFR_FAIL(MLTFR_E_INTERNAL, "%s: strings are longer than their JSON", image->path);
    memcpy(*side + *used, text.data, text.bytes);
    out->data = *side + *used;
    *used += text.bytes;
done:
    return st;
}
