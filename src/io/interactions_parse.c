/* The text forms of interactions (interface, Input):
 *
 *      inter       user_id:token <tab> item_id:token <tab> timestamp:float   columns in any order
 *      csv         a header of names; comma, semicolon, bar or tab; quotes
 *      movielens   user::item::rating::time
 *      sequences   user item item ...     (a user on two lines goes on where it stopped)
 *      pairs       user item              (in order of time)
 *
 * Ratings are not read: an interaction is an interaction. */
#include "interactions_impl.h"

#include <mltfr/log.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The 15 digits a double holds exactly are read here; all else is the library's affair. */
static bool parse_number(mltfr_slice s, double *out)
{
    int64_t value = 0, i = 0;
    char *end;

    while (i < s.n && i < 15 && s.at[i] >= '0' && s.at[i] <= '9')
        value = 10 * value + s.at[i++] - '0';
    *out = (double)value;
    if (i > 0 && i == s.n)
        return true;
    if (s.n == 0 || (int64_t)strspn(s.at, "0123456789+-.eE") < s.n)
        return false; /* strtod would take nan, inf and 0x10 */
    *out = strtod(s.at, &end);
    return end == s.at + s.n && isfinite(*out);
}

static mltfr_status parse_time(const mltfr_reader *text, const char *what, mltfr_slice s,
                               double *out)
{
    char shown[MLTFR_SHOWN_BYTES];

    if (parse_number(s, out))
        return MLTFR_OK;
    return mltfr_reader_fail(text, "%s '%s' is not a number", what, mltfr_slice_show(s, shown));
}

/* ---- tables with a header ------------------------------------------------------------------ */

enum { USER, ITEM, TIME, WANTED };

typedef struct {
    char delimiter;
    bool typed; /* name:type, and no quotes */
    const char *name[WANTED];
    int64_t column[WANTED]; /* -1: there is none */
    int64_t columns;
} table;

/* A field in quotes, the text standing at the first of them; "" within is one quote.  The text is
 * left behind the last quote. */
static mltfr_status quoted_field(mltfr_reader *text, mltfr_slice *field)
{
    char *to = text->next + 1, *from = to;

    *field = (mltfr_slice){to, 0};
    for (; *from != '\0' && (*from != '"' || from[1] == '"'); from++) {
        from += *from == '"';
        text->line += *from == '\n';
        *to++ = *from;
    }
    if (*from == '\0')
        return mltfr_reader_fail(text, "a quote is not closed");
    field->n = to - field->at;
    for (from++; *from == ' ' || *from == '\r'; from++)
        ;
    text->next = from;
    return MLTFR_OK;
}

/* The next field of a record; *last where the record ends behind it. */
static mltfr_status next_field(mltfr_reader *text, const table *t, mltfr_slice *field, bool *last)
{
    mltfr_status st = MLTFR_OK;
    char *p = text->next;

    while (*p == ' ')
        p++;
    if (*p == '"' && !t->typed) {
        text->next = p;
        MLTFR_TRY(quoted_field(text, field));
        p = text->next;
        if (*p != t->delimiter && *p != '\n' && *p != '\0')
            return mltfr_reader_fail(text, "'%c' between a quote and the next column", *p);
    } else {
        while (*p != t->delimiter && *p != '\n' && *p != '\0')
            p++;
        *field = mltfr_slice_trim((mltfr_slice){text->next, p - text->next});
    }
    *last = *p != t->delimiter;
    text->next = p + (*p != '\0');
done:
    return st;
}

/* Pass over blank lines; false at the end of the text. */
static bool find_record(mltfr_reader *text)
{
    char *p = text->next;

    for (; *p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'; p++)
        if (*p == '\n') {
            text->line++;
            text->next = p + 1;
        }
    text->line++;
    return *p != '\0';
}

static mltfr_status next_record(mltfr_reader *text, const table *t, mltfr_slice wanted[WANTED])
{
    bool last = false;
    int64_t n = 0;
    mltfr_slice field;
    mltfr_status st;

    for (; !last; n++) {
        if ((st = next_field(text, t, &field, &last)) != MLTFR_OK)
            return st;
        for (int k = 0; k < WANTED; k++)
            if (t->column[k] == n)
                wanted[k] = field;
    }
    if (n == t->columns)
        return MLTFR_OK;
    return mltfr_reader_fail(text, "%lld columns where the header has %lld", (long long)n,
                             (long long)t->columns);
}

/* The name of a header field, without its type where it must have one. */
static mltfr_status header_name(const mltfr_reader *text, const table *t, mltfr_slice *field)
{
    char shown[MLTFR_SHOWN_BYTES];
    char *colon = t->typed ? memchr(field->at, ':', (size_t)field->n) : NULL;

    if (t->typed && colon == NULL)
        return mltfr_reader_fail(text,
                                 "'%s' in the header has no type: name:type is needed, as in "
                                 "user_id:token, with a tab between columns",
                                 mltfr_slice_show(*field, shown));
    if (colon != NULL)
        field->n = colon - field->at;
    return MLTFR_OK;
}

static mltfr_status read_header(mltfr_reader *text, table *t)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice field;

    for (bool last = false; !last; t->columns++) {
        MLTFR_TRY(next_field(text, t, &field, &last));
        MLTFR_TRY(header_name(text, t, &field));
        for (int k = 0; k < WANTED; k++)
            if (t->column[k] < 0 && mltfr_reader_is(field, t->name[k]))
                t->column[k] = t->columns;
    }
    for (int k = 0; k < WANTED; k++) {
        static const char *const key[] = {"user_field", "item_field", "time_field"};

        if (t->column[k] < 0 && (k != TIME || strcmp(t->name[k], "timestamp") != 0))
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s:%lld: the header has no column '%s' (data.%s): set that key to the name "
                       "of one it has",
                       text->path, (long long)text->line, t->name[k], key[k]);
    }
    if (t->column[TIME] < 0)
        mltfr_note("%s: no column '%s': the order of the rows is the order of time", text->path,
                   t->name[TIME]);
done:
    return st;
}

/* What divides the columns: the mark that the header has most of. */
static char find_delimiter(const mltfr_reader *text)
{
    static const char marks[] = ",\t;|";
    int64_t count[sizeof marks] = {0};
    int best = 0;

    for (const char *p = text->next; *p != '\0' && *p != '\n'; p++)
        for (int i = 0; marks[i] != '\0'; i++)
            count[i] += *p == marks[i];
    for (int i = 1; marks[i] != '\0'; i++)
        if (count[i] > count[best])
            best = i;
    return marks[best];
}

static mltfr_status parse_table(mltfr_rows *rows, mltfr_reader *text, const mltfr_settings *s,
                                bool typed)
{
    mltfr_status st = MLTFR_OK;
    table t = {.typed = typed,
               .name = {s->data_user_field, s->data_item_field, s->data_time_field},
               .column = {-1, -1, -1}};
    mltfr_slice field[WANTED] = {{0}};
    double time = 0;

    if (!find_record(text))
        return MLTFR_OK;
    t.delimiter = typed ? '\t' : find_delimiter(text);
    MLTFR_TRY(read_header(text, &t));
    rows->timed = t.column[TIME] >= 0;
    while (find_record(text)) {
        MLTFR_TRY(next_record(text, &t, field));
        if (rows->timed)
            MLTFR_TRY(parse_time(text, t.name[TIME], field[TIME], &time));
        MLTFR_TRY(mltfr_rows_add(rows, text, field[USER], field[ITEM], time));
    }
done:
    return st;
}

/* ---- lines without a header ---------------------------------------------------------------- */

enum { MOVIELENS_FIELDS = 4 };

/* Split at each `::`; the count may be above MOVIELENS_FIELDS, the fields are the first ones. */
static int64_t split_colons(mltfr_slice line, mltfr_slice field[MOVIELENS_FIELDS])
{
    int64_t n = 0;

    for (;;) {
        char *mark = memmem(line.at, (size_t)line.n, "::", 2);
        int64_t length = mark != NULL ? mark - line.at : line.n;

        if (n < MOVIELENS_FIELDS)
            field[n] = mltfr_slice_trim((mltfr_slice){line.at, length});
        n++;
        if (mark == NULL)
            return n;
        line = (mltfr_slice){mark + 2, line.n - length - 2};
    }
}

static mltfr_status parse_movielens(mltfr_rows *rows, mltfr_reader *text)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice line, field[MOVIELENS_FIELDS];
    double time;

    rows->timed = true;
    while (mltfr_reader_line(text, &line)) {
        int64_t n = split_colons(line, field);

        if (n != MOVIELENS_FIELDS)
            return mltfr_reader_fail(text, "%lld columns, user::item::rating::time are needed",
                                     (long long)n);
        MLTFR_TRY(parse_time(text, "the time", field[3], &time));
        MLTFR_TRY(mltfr_rows_add(rows, text, field[0], field[1], time));
    }
done:
    return st;
}

static mltfr_status parse_sequences(mltfr_rows *rows, mltfr_reader *text)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice line, user, item;
    char shown[MLTFR_SHOWN_BYTES];

    while (mltfr_reader_line(text, &line)) {
        mltfr_slice_word(&line, &user);
        if (!mltfr_slice_word(&line, &item))
            return mltfr_reader_fail(text, "user '%s' has no item: `user item item ...` is needed",
                                     mltfr_slice_show(user, shown));
        do {
            MLTFR_TRY(mltfr_rows_add(rows, text, user, item, 0));
        } while (mltfr_slice_word(&line, &item));
    }
done:
    return st;
}

static mltfr_status parse_pairs(mltfr_rows *rows, mltfr_reader *text)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice line, user, item, rest;
    char shown[MLTFR_SHOWN_BYTES];

    while (mltfr_reader_line(text, &line)) {
        rest = line;
        mltfr_slice_word(&rest, &user);
        if (!mltfr_slice_word(&rest, &item) || rest.n > 0)
            return mltfr_reader_fail(text, "'%s' is not a pair: `user item` is needed",
                                     mltfr_slice_show(line, shown));
        MLTFR_TRY(mltfr_rows_add(rows, text, user, item, 0));
    }
done:
    return st;
}

static mltfr_status parse_form(mltfr_rows *rows, mltfr_reader *text, const mltfr_settings *settings,
                               int format)
{
    switch (format) {
    case MLTFR_DATA_FORMAT_INTER:
        return parse_table(rows, text, settings, true);
    case MLTFR_DATA_FORMAT_CSV:
        return parse_table(rows, text, settings, false);
    case MLTFR_DATA_FORMAT_MOVIELENS:
        return parse_movielens(rows, text);
    case MLTFR_DATA_FORMAT_SEQUENCES:
        return parse_sequences(rows, text);
    case MLTFR_DATA_FORMAT_PAIRS:
        return parse_pairs(rows, text);
    default:
        return mltfr_fail(MLTFR_E_DATA, "%s: not an HDF5 file", text->path);
    }
}

mltfr_status mltfr_rows_parse(mltfr_rows *rows, mltfr_reader *text, const mltfr_settings *settings,
                              int format)
{
    mltfr_status st;

    rows->task = mltfr_task_begin("read", "MiB", (text->end - text->data) >> 20);
    st = parse_form(rows, text, settings, format);
    mltfr_task_end(&rows->task);

    if (st == MLTFR_OK && rows->count == 0)
        st = mltfr_fail(MLTFR_E_DATA, "%s: no interactions", text->path);
    return st;
}
