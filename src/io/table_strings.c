/* Strings from JSON:
 *   tokenizer.json  {"model": {"vocab": {STRING: ID, ..} or [[STRING, SCORE], ..]},
 *                    "added_tokens": [{"id": .., "content": .., "special": ..}, ..]}
 *   vocab.json      {STRING: ID, ..}
 * JSON gives strings in any order.  The file is walked twice: first they are counted, so that a
 * large id costs nothing, then each is put in its place.  An added token renames one of the
 * vocabulary, whichever comes first. */
#include "table_impl.h"

#include <inttypes.h>
#include <string.h>

enum { DEPTH = 64 };

/* A string being read; id -1 if not known. */
typedef struct {
    mltfr_slice text;
    bool escaped, added, special;
    int64_t id;
} item;

typedef enum { OUTSIDE, ADDED_TOKENS, MODEL, VOCAB } place;
typedef enum { FIELD_OTHER, FIELD_ID, FIELD_CONTENT, FIELD_SPECIAL } field;

typedef struct {
    mltfr_table_vocab *v;
    bool placing;    /* the second walk */
    bool plain;      /* vocab.json: the whole is the map */
    place where;     /* which part of tokenizer.json this is */
    bool have_vocab; /* it was seen */
    bool pairs;      /* and is a map */
    int64_t count, last_id, pieces;
    size_t side; /* bytes of side text: needed; used */
    item next;
    field field; /* of an added token */
} reader;

static mltfr_status bad(const reader *r, const char *what)
{
    return mltfr_fail(MLTFR_E_DATA, "%s: string %" PRId64 " of the file: %s", r->v->image.path,
                      r->count, what);
}

static void take_text(reader *r, const mltfr_json_event *e)
{
    r->next.text = e->text;
    r->next.escaped = e->escaped;
}

static mltfr_status put_item(reader *r)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table_vocab *v = r->v;
    item *it = &r->next;
    int kind = it->added ? MLTFR_VOCAB_ADDED : MLTFR_VOCAB_PIECE;
    int had = mltfr_vocab_flags(v, it->id);

    if (!it->added && (had & MLTFR_VOCAB_PIECE))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: two strings have the id %" PRId64, v->image.path, it->id);
    if (!it->added && had != 0) {
        v->list[it->id] |= MLTFR_VOCAB_PIECE; /* the added token stays */
        goto done;
    }
    if (it->escaped) {
        char *to = v->side + r->side;

        it->text = (mltfr_slice){to, mltfr_json_unescape(it->text, to)};
        r->side += it->text.bytes;
    }
    kind |= (had & MLTFR_VOCAB_PIECE) | (it->special ? MLTFR_VOCAB_SPECIAL : 0);
    MLTFR_TRY(mltfr_vocab_put(v, v->image.path, it->id, it->text, kind));
done:
    return st;
}

static mltfr_status end_item(reader *r)
{
    mltfr_status st = MLTFR_OK;

    if (r->next.id < 0 || r->next.text.data == NULL)
        return bad(r, "its id or its text is missing");
    if (r->next.id >= MLTFR_TABLE_STRINGS)
        return bad(r, "its id is too large");
    if (r->placing) {
        MLTFR_TRY(put_item(r));
    } else {
        r->side += r->next.escaped ? r->next.text.bytes : 0;
        r->last_id = r->next.id > r->last_id ? r->next.id : r->last_id;
    }
    r->count++;
    r->next = (item){.id = -1};
done:
    return st;
}

/* {STRING: ID, ..} */
static mltfr_status visit_pair(reader *r, const mltfr_json_event *e)
{
    if (e->kind == MLTFR_JSON_KEY) {
        take_text(r, e);
        return MLTFR_OK;
    }
    if (!mltfr_json_natural(e, &r->next.id))
        return bad(r, "its id is no whole number");
    r->next.special = r->plain && mltfr_vocab_is_special(r->next.text);
    return end_item(r);
}

/* [[STRING, SCORE], ..] at depth 3 and 4: the id is the place */
static mltfr_status visit_piece(reader *r, const mltfr_json_event *e)
{
    if (e->depth == 3 && e->kind == MLTFR_JSON_ARRAY)
        return MLTFR_OK;
    if (e->depth == 4 && e->kind == MLTFR_JSON_STRING && r->next.text.data == NULL) {
        take_text(r, e);
        return MLTFR_OK;
    }
    if (e->depth == 4 && e->kind == MLTFR_JSON_NUMBER && r->next.text.data != NULL)
        return MLTFR_OK;
    if (e->depth != 3 || e->kind != MLTFR_JSON_ARRAY_END)
        return bad(r, "no pair of a string and a score");
    r->next.id = r->pieces++;
    return end_item(r);
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

static field field_of(const mltfr_json_event *e)
{
    return mltfr_json_is(e, "id")        ? FIELD_ID
           : mltfr_json_is(e, "content") ? FIELD_CONTENT
           : mltfr_json_is(e, "special") ? FIELD_SPECIAL
                                         : FIELD_OTHER;
}

/* One of "added_tokens": the map at depth 2, its fields at depth 3. */
static mltfr_status visit_added(reader *r, const mltfr_json_event *e)
{
    if (e->depth == 2 && e->kind == MLTFR_JSON_MAP_END) {
        r->next.added = true;
        return end_item(r);
    }
    if (e->depth != 3)
        return MLTFR_OK;
    if (e->kind == MLTFR_JSON_KEY) {
        r->field = field_of(e);
        return MLTFR_OK;
    }
    if (r->field == FIELD_ID)
        return mltfr_json_natural(e, &r->next.id) ? MLTFR_OK : bad(r, "its id is no whole number");
    if (r->field == FIELD_CONTENT && e->kind != MLTFR_JSON_STRING)
        return bad(r, "it is no string");
    if (r->field == FIELD_CONTENT)
        take_text(r, e);
    if (r->field == FIELD_SPECIAL)
        r->next.special = e->kind == MLTFR_JSON_TRUE;
    return MLTFR_OK;
}

static place part_of(reader *r, const mltfr_json_event *e)
{
    if (e->depth == 1 && mltfr_json_is(e, "added_tokens"))
        return ADDED_TOKENS;
    if (e->depth == 1)
        return mltfr_json_is(e, "model") ? MODEL : OUTSIDE;
    if (r->where == OUTSIDE || r->where == ADDED_TOKENS || !mltfr_json_is(e, "vocab"))
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

static mltfr_status walk(reader *r)
{
    const mltfr_image *image = &r->v->image;

    r->count = r->pieces = 0;
    r->where = OUTSIDE;
    r->next = (item){.id = -1};
    return mltfr_json_walk(image, 0, image->bytes, DEPTH, visit, r);
}

static mltfr_status check_count(const reader *r)
{
    mltfr_status st = MLTFR_OK;
    const char *path = r->v->image.path;

    if (!r->plain && !r->have_vocab)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: there is no model.vocab", path);
    if (r->count == 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: there are no strings", path);
    if (r->last_id >= r->count)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: id %" PRId64 " among %" PRId64 " strings; allowed: ids without gaps from 0",
                   path, r->last_id, r->count);
done:
    return st;
}

mltfr_status mltfr_vocab_parse_json(mltfr_table_vocab *v, bool plain)
{
    mltfr_status st = MLTFR_OK;
    reader r = {.v = v, .plain = plain, .last_id = -1};

    MLTFR_TRY(walk(&r));
    MLTFR_TRY(check_count(&r));
    v->count = r.last_id + 1;
    v->side_bytes = r.side;
    MLTFR_TRY(MLTFR_NEW(v->list, v->count));
    MLTFR_TRY(MLTFR_NEW(v->side, v->side_bytes));
    r.placing = true;
    r.side = 0;
    MLTFR_TRY(walk(&r));
    for (int64_t i = 0; i < v->count; i++)
        if (mltfr_vocab_flags(v, i) == 0)
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s: no string has the id %" PRId64 " (the largest is %" PRId64 ")",
                       v->image.path, i, r.last_id);
done:
    return st;
}
