/* The form of a text, told by the file's name, then by its first line, then by how many fields the
 * lines have; what stays open is asked of the user. */
#include "interactions_impl.h"

#include <string.h>

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);

    return n >= m && strcmp(path + n - m, ending) == 0;
}

static bool holds(mltfr_slice line, const char *mark)
{
    return memmem(line.at, (size_t)line.n, mark, strlen(mark)) != NULL;
}

/* Is `name` one of the fields of a header, whatever divides them? */
static bool has_column(mltfr_slice line, const char *name)
{
    int64_t start = 0;

    for (int64_t i = 0; i <= line.n; i++) {
        mltfr_slice field = {line.at + start, i - start};

        if (i < line.n && strchr(",;|\t", line.at[i]) == NULL)
            continue;
        field = mltfr_slice_trim(field);
        if (field.n >= 2 && field.at[0] == '"' && field.at[field.n - 1] == '"')
            field = (mltfr_slice){field.at + 1, field.n - 2};
        if (mltfr_reader_is(field, name))
            return true;
        start = i + 1;
    }
    return false;
}

static int by_name(const char *path)
{
    if (ends_with(path, ".inter"))
        return MLTFR_DATA_FORMAT_INTER;
    if (ends_with(path, ".csv") || ends_with(path, ".tsv"))
        return MLTFR_DATA_FORMAT_CSV;
    return MLTFR_DATA_FORMAT_AUTO;
}

static int by_first_line(mltfr_slice line, const mltfr_settings *settings)
{
    if (holds(line, ":token"))
        return MLTFR_DATA_FORMAT_INTER;
    if (holds(line, "::"))
        return MLTFR_DATA_FORMAT_MOVIELENS;
    if (has_column(line, settings->data_user_field) && has_column(line, settings->data_item_field))
        return MLTFR_DATA_FORMAT_CSV;
    if (holds(line, ",") || holds(line, ";") || holds(line, "|"))
        return MLTFR_DATA_FORMAT_CSV; /* whose header will be found lacking */
    return MLTFR_DATA_FORMAT_AUTO;
}

/* What the lines of a text look like. */
typedef struct {
    int64_t fewest, most; /* fields of a line */
    bool repeated;        /* a first field came twice */
} shape;

static mltfr_status look(mltfr_reader text, shape *s)
{
    mltfr_status st = MLTFR_OK;
    mltfr_idmap users = {0};
    mltfr_slice line, word;
    int32_t number;

    *s = (shape){.fewest = INT64_MAX};
    for (int64_t lines = 1; mltfr_reader_line(&text, &line); lines++) {
        int64_t n = 1;

        mltfr_slice_word(&line, &word);
        MLTFR_TRY(mltfr_idmap_add(&users, word, &number));
        s->repeated |= users.count < lines;
        while (mltfr_slice_word(&line, &word))
            n++;
        s->fewest = n < s->fewest ? n : s->fewest;
        s->most = n > s->most ? n : s->most;
    }
done:
    mltfr_idmap_free(&users);
    return st;
}

/* Lines of two fields are pairs; sequences have a line a user and differ in length.  A table
 * without a header has the same number of fields in every line, and users come again. */
static mltfr_status by_shape(mltfr_reader *text, int *format)
{
    mltfr_status st;
    shape s;

    if ((st = look(*text, &s)) != MLTFR_OK)
        return st;
    if (s.most < 2 || (s.most > 2 && s.fewest == s.most && s.repeated))
        return mltfr_fail(MLTFR_E_DATA,
                          "%s: the form cannot be told from lines of %lld fields: set data.format "
                          "to inter, csv, movielens, sequences or pairs",
                          text->path, (long long)s.most);
    *format = s.most == 2 ? MLTFR_DATA_FORMAT_PAIRS : MLTFR_DATA_FORMAT_SEQUENCES;
    return MLTFR_OK;
}

mltfr_status mltfr_reader_format(mltfr_reader *text, const mltfr_settings *settings, int *format)
{
    mltfr_reader copy = *text; /* shares the text, has its own place in it */
    mltfr_slice line;

    if (!mltfr_reader_line(&copy, &line))
        return mltfr_fail(MLTFR_E_DATA, "%s: no interactions", text->path);
    *format = by_name(text->path);
    if (*format == MLTFR_DATA_FORMAT_AUTO)
        *format = by_first_line(line, settings);
    return *format != MLTFR_DATA_FORMAT_AUTO ? MLTFR_OK : by_shape(text, format);
}
