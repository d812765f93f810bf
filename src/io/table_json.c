/* JSON (RFC 8259) as a stream of events: the header of a safetensors file, indices, tokenizers.
 * The text is walked through where it stands, so it costs no memory however long a string or deep
 * a nesting is; what nests deeper than the caller's limit is refused.  Escapes are checked here
 * and undone where a string is kept. */
#include "table_impl.h"

#include <string.h>

typedef struct {
    const mltfr_image *image;
    const unsigned char *at, *end;
    int depth, max_depth;
    uint64_t maps; /* bit d: the container at depth d is a map */
    bool fresh;    /* nothing has been read in the innermost container */
    mltfr_json_visitor *visit;
    void *context;
} walk;

static mltfr_status bad(const walk *w, const char *what)
{
    return mltfr_fail(MLTFR_E_DATA, "%s: byte %zu: not valid JSON: %s", w->image->path,
                      (size_t)(w->at - w->image->data), what);
}

static void skip_blanks(walk *w)
{
    while (w->at < w->end && (*w->at == ' ' || *w->at == '\n' || *w->at == '\r' || *w->at == '\t'))
        w->at++;
}

/* Is this the next character, blanks aside?  Then go past it. */
static bool accept(walk *w, unsigned char c)
{
    skip_blanks(w);
    if (w->at == w->end || *w->at != c)
        return false;
    w->at++;
    return true;
}

static mltfr_status pass(walk *w, mltfr_json_kind kind)
{
    return w->visit(w->context, &(mltfr_json_event){.kind = kind, .depth = w->depth});
}

/* ---- strings */

static int hex(unsigned char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The four digits of \uXXXX at `s`, which begins with \u; -1 if they are none. */
static int32_t code_unit(const unsigned char *s, size_t left)
{
    int32_t code = 0;

    if (left < 6 || s[0] != '\\' || s[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        if (hex(s[i]) < 0)
            return -1;
        code = code << 4 | hex(s[i]);
    }
    return code;
}

/* Bytes of the escape that begins here, or 0. */
static size_t escape_bytes(const unsigned char *s, size_t left)
{
    if (left < 2)
        return 0;
    if (s[1] == 'u')
        return code_unit(s, left) < 0 ? 0 : 6;
    return s[1] != '\0' && strchr("\"\\/bfnrt", s[1]) != NULL ? 2 : 0;
}

/* From the opening quote to behind the closing one. */
static mltfr_status read_string(walk *w, mltfr_json_event *e)
{
    const unsigned char *begin = ++w->at;

    while (w->at < w->end && *w->at != '"') {
        size_t left = (size_t)(w->end - w->at), n;

        if (*w->at < 0x20)
            return bad(w, "a control character in a string");
        n = *w->at == '\\' ? escape_bytes(w->at, left) : mltfr_utf8_bytes(w->at, left);
        if (n == 0)
            return bad(w, *w->at == '\\' ? "an unknown escape" : "not UTF-8");
        e->escaped = e->escaped || *w->at == '\\';
        w->at += n;
    }
    if (w->at == w->end)
        return bad(w, "it ends inside a string");
    e->text = (mltfr_slice){(const char *)begin, (size_t)(w->at - begin)};
    w->at++;
    return MLTFR_OK;
}

static size_t put_utf8(int32_t code, char *out)
{
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const int lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(lead[n] | code);
    return n;
}

/* One escape at `s` into `out`; half a surrogate pair becomes U+FFFD.  Returns the bytes read. */
static size_t undo_escape(const unsigned char *s, size_t left, char *out, size_t *written)
{
    static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
    int32_t code, low;
    size_t used = 6;

    if (s[1] != 'u') {
        const char *name = strchr(names, s[1]);

        out[(*written)++] = name != NULL ? values[name - names] : (char)s[1];
        return 2;
    }
    code = code_unit(s, left);
    low = code_unit(s + 6, left - 6);
    if (code >= 0xd800 && code < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        used = 12;
    } else if (code >= 0xd800 && code < 0xe000) {
        code = 0xfffd;
    }
    *written += put_utf8(code, out + *written);
    return used;
}

size_t mltfr_json_unescape(mltfr_slice text, char *out)
{
    const unsigned char *s = (const unsigned char *)text.data;
    size_t written = 0, i = 0;

    while (i < text.bytes) {
        if (s[i] == '\\')
            i += undo_escape(s + i, text.bytes - i, out, &written);
        else
            out[written++] = (char)s[i++];
    }
    return written;
}

/* ---- values */

static bool digits(walk *w)
{
    const unsigned char *begin = w->at;

    while (w->at < w->end && *w->at >= '0' && *w->at <= '9')
        w->at++;
    return w->at > begin;
}

static bool one_of(walk *w, const char *set)
{
    if (w->at == w->end || *w->at == '\0' || strchr(set, *w->at) == NULL)
        return false;
    w->at++;
    return true;
}

static mltfr_status read_number(walk *w)
{
    const unsigned char *begin = w->at;
    bool right;

    one_of(w, "-");
    right = one_of(w, "0") || digits(w);
    if (right && one_of(w, "."))
        right = digits(w);
    if (right && one_of(w, "eE")) {
        one_of(w, "+-");
        right = digits(w);
    }
    if (!right)
        return bad(w, "a value is expected");
    mltfr_slice text = {(const char *)begin, (size_t)(w->at - begin)};
    return w->visit(w->context, &(mltfr_json_event){MLTFR_JSON_NUMBER, w->depth, text, false});
}

static mltfr_status read_text(walk *w, mltfr_json_kind kind)
{
    mltfr_json_event e = {.kind = kind, .depth = w->depth};
    mltfr_status st = read_string(w, &e);

    return st == MLTFR_OK ? w->visit(w->context, &e) : st;
}

static mltfr_status read_word(walk *w, const char *word, mltfr_json_kind kind)
{
    size_t n = strlen(word);

    if ((size_t)(w->end - w->at) < n || memcmp(w->at, word, n) != 0)
        return bad(w, "a value is expected");
    w->at += n;
    return pass(w, kind);
}

static mltfr_status enter(walk *w, bool map)
{
    mltfr_status st = MLTFR_OK;

    if (w->depth >= w->max_depth)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte %zu: JSON is nested deeper than %d", w->image->path,
                   (size_t)(w->at - w->image->data), w->max_depth);
    MLTFR_TRY(pass(w, map ? MLTFR_JSON_MAP : MLTFR_JSON_ARRAY));
    uint64_t bit = UINT64_C(1) << w->depth;
    w->maps = map ? w->maps | bit : w->maps & ~bit;
    w->at++;
    w->depth++;
    w->fresh = true;
done:
    return st;
}

static mltfr_status read_value(walk *w)
{
    skip_blanks(w);
    switch (w->at < w->end ? *w->at : '\0') {
    case '{':
        return enter(w, true);
    case '[':
        return enter(w, false);
    case '"':
        return read_text(w, MLTFR_JSON_STRING);
    case 't':
        return read_word(w, "true", MLTFR_JSON_TRUE);
    case 'f':
        return read_word(w, "false", MLTFR_JSON_OTHER);
    case 'n':
        return read_word(w, "null", MLTFR_JSON_OTHER);
    default:
        return read_number(w);
    }
}

static mltfr_status read_key(walk *w)
{
    mltfr_status st = MLTFR_OK;

    skip_blanks(w);
    if (w->at == w->end || *w->at != '"')
        return bad(w, "a key is expected");
    MLTFR_TRY(read_text(w, MLTFR_JSON_KEY));
    if (!accept(w, ':'))
        return bad(w, "a colon is expected");
done:
    return st;
}

/* The next member of the innermost container, or its end. */
static mltfr_status read_member(walk *w)
{
    mltfr_status st = MLTFR_OK;
    bool map = w->maps >> (w->depth - 1) & 1;

    if (accept(w, map ? '}' : ']')) {
        w->depth--;
        w->fresh = false;
        return pass(w, map ? MLTFR_JSON_MAP_END : MLTFR_JSON_ARRAY_END);
    }
    if (!w->fresh && !accept(w, ','))
        return bad(w, map ? "a comma or } is expected" : "a comma or ] is expected");
    w->fresh = false;
    if (map)
        MLTFR_TRY(read_key(w));
    MLTFR_TRY(read_value(w));
done:
    return st;
}

mltfr_status mltfr_json_walk(const mltfr_image *image, size_t at, size_t bytes, int max_depth,
                             mltfr_json_visitor *visit, void *context)
{
    mltfr_status st = MLTFR_OK;
    walk w = {.image = image,
              .at = image->data + at,
              .end = image->data + at + bytes,
              .max_depth = max_depth,
              .visit = visit,
              .context = context};

    MLTFR_TRY(read_value(&w));
    while (w.depth > 0)
        MLTFR_TRY(read_member(&w));
    skip_blanks(&w);
    if (w.at < w.end)
        return bad(&w, "text behind its end");
done:
    return st;
}

bool mltfr_json_is(const mltfr_json_event *event, const char *word)
{
    return !event->escaped && mltfr_slice_is(event->text, word);
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
