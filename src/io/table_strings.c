/* The vocabulary beside a table.  Three forms:
 *   tokenizer.json  {"model": {"vocab": {STRING: ID, ..} or [[STRING, SCORE], ..]},
 *                    "added_tokens": [{"id": .., "content": .., "special": ..}, ..]}
 *   vocab.txt       string ID is line ID
 *   vocab.json      {STRING: ID, ..}
 * JSON gives strings in any order: they are collected as they come and put in place at the end.
 * An id is trusted only once there are at least as many strings, so a large id costs nothing. */
#include "table_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH = 64, FILE_MOST = 1 << 30 };

/* What a file that cannot mark its special tokens is taken to mean. */
static const char *const special_strings[] = {"[CLS]",  "[SEP]",  "[PAD]",        "[UNK]",
                                              "[MASK]", "<s>",    "</s>",         "<pad>",
                                              "<unk>",  "<mask>", "<|endoftext|>"};

static bool is_special(mltfr_slice text)
{
    for (size_t i = 0; i < sizeof special_strings / sizeof *special_strings; i++)
        if (mltfr_slice_is(text, special_strings[i]))
            return true;
    return false;
}

static mltfr_status set_string(const char *path, mltfr_table_string_of *to, mltfr_slice text,
                               int64_t id)
{
    if (text.bytes > MLTFR_TABLE_STRING_BYTES)
        return mltfr_fail(MLTFR_E_DATA, "%s: string %" PRId64 " has %zu bytes; allowed: up to %d",
                          path, id, text.bytes, MLTFR_TABLE_STRING_BYTES);
    to->text = text.data;
    to->bytes = (uint32_t)text.bytes;
    return MLTFR_OK;
}

/* ---- vocab.txt */

static int64_t count_lines(const mltfr_image *image)
{
    int64_t lines = image->data[image->bytes - 1] != '\n';

    for (size_t i = 0; i < image->bytes; i++)
        lines += image->data[i] == '\n';
    return lines;
}

static mltfr_status parse_lines(mltfr_table_vocab *v)
{
    mltfr_status st = MLTFR_OK;
    const char *at = (const char *)v->image.data, *end = at + v->image.bytes;
    int64_t count = count_lines(&v->image);

    if (count > MLTFR_TABLE_STRINGS)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %" PRId64 " lines; allowed: up to %d", v->image.path, count,
                   MLTFR_TABLE_STRINGS);
    MLTFR_TRY(MLTFR_NEW(v->list, count));
    for (; v->count < count; v->count++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        mltfr_slice line = {at, (size_t)((stop != NULL ? stop : end) - at)};

        at = stop != NULL ? stop + 1 : end;
        if (line.bytes > 0 && line.data[line.bytes - 1] == '\r')
            line.bytes--;
        MLTFR_TRY(set_string(v->image.path, &v->list[v->count], line, v->count));
        v->list[v->count].special = is_special(line);
    }
done:
    return st;
}

/* ---- JSON */

typedef struct {
    mltfr_slice text;
    int64_t id;
    bool added, special;
} item;

typedef enum { OUTSIDE, ADDED_TOKENS, MODEL, VOCAB } place;

typedef struct {
    mltfr_table_vocab *v;
    size_t used;
    bool plain;      /* vocab.json: the whole is the map */
    place where;     /* which part of tokenizer.json this is */
    bool have_vocab; /* it was seen */
    bool pairs;      /* and is a map */
    item *items;
    int64_t count, room, last_id, pieces;
    item next;        /* being read; id -1 if not known */
    mltfr_slice last; /* key inside an added token, a constant */
} reader;

static mltfr_status bad(const reader *r, const char *what)
{
    return mltfr_fail(MLTFR_E_DATA, "%s: string %" PRId64 " of the file: %s", r->v->image.path,
                      r->count, what);
}

static mltfr_status keep_text(reader *r, mltfr_slice text)
{
    return mltfr_json_keep(&r->v->image, r->v->image.bytes, &r->v->side, &r->used, text,
                           &r->next.text);
}

static mltfr_status add_item(reader *r)
{
    mltfr_status st = MLTFR_OK;

    if (r->next.id < 0 || r->next.text.data == NULL)
        return bad(r, "its id or its text is missing");
    if (r->next.id >= MLTFR_TABLE_STRINGS || r->count >= 2 * MLTFR_TABLE_STRINGS)
        return bad(r, "its id is too large");
    MLTFR_TRY(mltfr_table_grow(&r->items, r->count, &r->room, sizeof *r->items));
    r->items[r->count++] = r->next;
    if (r->next.id > r->last_id)
        r->last_id = r->next.id;
    r->next = (item){.id = -1};
done:
    return st;
}

/* {STRING: ID, ..} */
static mltfr_status visit_pair(reader *r, const mltfr_json_event *e)
{
    if (e->kind == MLTFR_JSON_KEY)
        return keep_text(r, e->text);
    if (!mltfr_json_natural(e, &r->next.id))
        return bad(r, "its id is no whole number");
    r->next.special = r->plain && is_special(r->next.text);
    return add_item(r);
}

/* [[STRING, SCORE], ..] at depth 3 and 4: the id is the place */
static mltfr_status visit_piece(reader *r, const mltfr_json_event *e)
{
    if (e->depth == 3 && e->kind == MLTFR_JSON_ARRAY)
        return MLTFR_OK;
    if (e->depth == 4 && e->kind == MLTFR_JSON_STRING && r->next.text.data == NULL)
        return keep_text(r, e->text);
    if (e->depth == 4 && e->kind == MLTFR_JSON_NUMBER && r->next.text.data != NULL)
        return MLTFR_OK;
    if (e->depth != 3 || e->kind != MLTFR_JSON_ARRAY_END)
        return bad(r, "no pair of a string and a score");
    r->next.id = r->pieces++;
    return add_item(r);
}

/* The value of "vocab": a map or an array at depth 2, and what is inside. */
static mltfr_status visit_vocab(reader *r, const mltfr_json_event *e)
{
    if (e->depth > 2)
        return r->pairs ? visit_pair(r, e) : visit_piece(r, e);
    r->pairs = e->kind == MLTFR_JSON_MAP;
    return e->kind <= MLTFR_JSON_ARRAY_END ? MLTFR_OK
                                           : bad(r, "model.vocab is no map and no array");
}

/* One of "added_tokens": the map at depth 2, its fields at depth 3. */
static mltfr_status visit_added(reader *r, const mltfr_json_event *e)
{
    if (e->depth == 2 && e->kind == MLTFR_JSON_MAP)
        return MLTFR_OK;
    if (e->depth == 2 && e->kind == MLTFR_JSON_MAP_END) {
        r->next.added = true;
        return add_item(r);
    }
    if (e->depth == 3 && e->kind == MLTFR_JSON_KEY) {
        static const char *const keys[] = {"id", "content", "special"};

        r->last = (mltfr_slice){"", 0};
        for (int i = 0; i < 3; i++)
            if (mltfr_slice_is(e->text, keys[i]))
                r->last = (mltfr_slice){keys[i], strlen(keys[i])};
        return MLTFR_OK;
    }
    if (e->depth == 3 && mltfr_slice_is(r->last, "id"))
        return mltfr_json_natural(e, &r->next.id) ? MLTFR_OK : bad(r, "its id is no whole number");
    if (e->depth == 3 && mltfr_slice_is(r->last, "content"))
        return e->kind == MLTFR_JSON_STRING ? keep_text(r, e->text) : bad(r, "it is no string");
    if (e->depth == 3 && mltfr_slice_is(r->last, "special"))
        r->next.special = e->kind == MLTFR_JSON_TRUE;
    return MLTFR_OK;
}

static place part_of(reader *r, const mltfr_json_event *e)
{
    if (e->depth == 1 && mltfr_slice_is(e->text, "added_tokens"))
        return ADDED_TOKENS;
    if (e->depth == 1)
        return mltfr_slice_is(e->text, "model") ? MODEL : OUTSIDE;
    if (r->where == OUTSIDE || r->where == ADDED_TOKENS || !mltfr_slice_is(e->text, "vocab"))
        return r->where == VOCAB ? MODEL : r->where;
    r->have_vocab = true;
    return VOCAB;
}

static mltfr_status visit(void *context, const mltfr_json_event *e)
{
    reader *r = context;

    if (r->plain && e->depth == 0)
        return e->kind == MLTFR_JSON_MAP || e->kind == MLTFR_JSON_MAP_END
                   ? MLTFR_OK
                   : bad(r, "the file is no map of strings to ids");
    if (r->plain)
        return visit_pair(r, e);
    if (e->kind == MLTFR_JSON_KEY && e->depth <= 2) {
        r->where = part_of(r, e);
        return MLTFR_OK;
    }
    if (r->where == ADDED_TOKENS && e->depth >= 2)
        return visit_added(r, e);
    if (r->where == VOCAB && e->depth >= 2)
        return visit_vocab(r, e);
    return MLTFR_OK;
}

/* The vocabulary first, then added tokens, which may rename one of it. */
static mltfr_status place_items(const reader *r, bool added)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table_vocab *v = r->v;

    for (int64_t i = 0; i < r->count; i++) {
        const item *from = &r->items[i];
        mltfr_table_string_of *to = &v->list[from->id];

        if (from->added != added)
            continue;
        if (!added && to->text != NULL)
            MLTFR_FAIL(MLTFR_E_DATA, "%s: two strings have the id %" PRId64, v->image.path,
                       from->id);
        MLTFR_TRY(set_string(v->image.path, to, from->text, from->id));
        to->special = from->special;
    }
done:
    return st;
}

static mltfr_status place_all(const reader *r)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table_vocab *v = r->v;

    if (r->count == 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: there are no strings", v->image.path);
    if (r->last_id >= r->count)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: id %" PRId64 " among %" PRId64 " strings; allowed: ids "
                   "without gaps from 0",
                   v->image.path, r->last_id, r->count);
    v->count = r->last_id + 1;
    MLTFR_TRY(MLTFR_NEW(v->list, v->count));
    MLTFR_TRY(place_items(r, false));
    MLTFR_TRY(place_items(r, true));
    for (int64_t i = 0; i < v->count; i++)
        if (v->list[i].text == NULL)
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s: no string has the id %" PRId64 " (the largest is %" PRId64 ")",
                       v->image.path, i, r->last_id);
done:
    return st;
}

static mltfr_status parse_json(mltfr_table_vocab *v, bool plain)
{
    mltfr_status st = MLTFR_OK;
    reader r = {.v = v, .plain = plain, .last_id = -1, .next = {.id = -1}};

    MLTFR_TRY(mltfr_json_walk(&v->image, 0, v->image.bytes, DEPTH, visit, &r));
    if (!plain && !r.have_vocab)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: there is no model.vocab", v->image.path);
    MLTFR_TRY(place_all(&r));
done:
    MLTFR_FREE(r.items);
    return st;
}

/* ---- files */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

mltfr_status mltfr_table_vocab_parse(mltfr_image *image, mltfr_table_vocab *out)
{
    mltfr_status st = MLTFR_OK;

    memset(out, 0, sizeof *out);
    out->image = *image;
    memset(image, 0, sizeof *image);
    const char *path = out->image.path, *dot = strrchr(path, '.');
    if (out->image.bytes > FILE_MOST)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %zu bytes; allowed for a vocabulary: up to %d", path,
                   out->image.bytes, FILE_MOST);
    if (dot != NULL && strcmp(dot, ".txt") == 0)
        MLTFR_TRY(parse_lines(out));
    else
        MLTFR_TRY(parse_json(out, strcmp(base_name(path), "vocab.json") == 0));
done:
    if (st != MLTFR_OK)
        mltfr_table_vocab_close(out);
    return st;
}

mltfr_status mltfr_table_vocab_beside(const char *path, mltfr_table_vocab *out)
{
    static const char *const names[] = {"tokenizer.json", "vocab.txt", "vocab.json"};
    mltfr_status st = MLTFR_OK;
    mltfr_image image;
    char *beside = NULL;
    int directory = (int)(base_name(path) - path);
    size_t bytes = (size_t)directory + 32;

    memset(out, 0, sizeof *out);
    MLTFR_TRY(MLTFR_NEW(beside, bytes));
    for (int i = 0; i < 3; i++) {
        snprintf(beside, bytes, "%.*s%s", directory, path, names[i]);
        if (access(beside, F_OK) != 0)
            continue;
        MLTFR_TRY(mltfr_image_map(beside, &image));
        MLTFR_TRY(mltfr_table_vocab_parse(&image, out));
        break;
    }
done:
    MLTFR_FREE(beside);
    return st;
}

void mltfr_table_vocab_close(mltfr_table_vocab *vocab)
{
    mltfr_image_close(&vocab->image);
    MLTFR_FREE(vocab->side);
    MLTFR_FREE(vocab->list);
    memset(vocab, 0, sizeof *vocab);
}
