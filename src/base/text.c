/* Strings that grow, strict numbers, and the nearest known name by edit distance (with swaps of
 * neighbours: optimal string alignment), for messages such as "did you mean ...?". */
#include <mltfr/text.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOAD_LIMIT = 16 << 20, LONGEST_WORD = 63 };

static mltfr_status text_reserve(mltfr_text *text, size_t more)
{
    mltfr_status st = MLTFR_OK;
    size_t need = text->size + more + 1, room = text->room < 64 ? 64 : text->room;
    char *data = NULL;

    if (need <= text->room)
        return MLTFR_OK;
    while (room < need)
        room *= 2;
    MLTFR_TRY(MLTFR_NEW(data, room));
    if (text->size != 0)
        memcpy(data, text->data, text->size);
    MLTFR_FREE(text->data);
    text->data = data;
    text->room = room;
done:
    return st;
}

void mltfr_text_add_bytes(mltfr_text *text, const char *bytes, size_t count)
{
    if (text->st == MLTFR_OK)
        text->st = text_reserve(text, count);
    if (text->st != MLTFR_OK)
        return;
    memcpy(text->data + text->size, bytes, count);
    text->size += count;
    text->data[text->size] = '\0';
}

void mltfr_text_add(mltfr_text *text, const char *format, ...)
{
    va_list ap, again;

    va_start(ap, format);
    va_copy(again, ap);
    int count = vsnprintf(NULL, 0, format, ap);
    if (text->st == MLTFR_OK)
        text->st = text_reserve(text, (size_t)count);
    if (text->st == MLTFR_OK) {
        vsnprintf(text->data + text->size, (size_t)count + 1, format, again);
        text->size += (size_t)count;
    }
    va_end(again);
    va_end(ap);
}

void mltfr_text_add_quoted(mltfr_text *text, const char *word)
{
    mltfr_text_add(text, "\"");
    for (const char *c = word; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            mltfr_text_add(text, "\\%c", *c);
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            mltfr_text_add(text, "\\u%04x", (unsigned char)*c);
        else
            mltfr_text_add_bytes(text, c, 1);
    }
    mltfr_text_add(text, "\"");
}

void mltfr_text_add_real(mltfr_text *text, double x)
{
    char word[40];

    if (x == rint(x) && fabs(x) < 1e15) {
        mltfr_text_add(text, "%.0f", x);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(word, sizeof word, "%.*g", digits, x);
        if (strtod(word, NULL) == x)
            break;
    }
    mltfr_text_add(text, "%s", word);
}

mltfr_status mltfr_text_take(mltfr_text *text, char **out)
{
    mltfr_status st;

    mltfr_text_add_bytes(text, "", 0);
    st = text->st;
    *out = st == MLTFR_OK ? text->data : NULL;
    if (st == MLTFR_OK)
        text->data = NULL;
    mltfr_text_destroy(text);
    return st;
}

void mltfr_text_destroy(mltfr_text *text)
{
    MLTFR_FREE(text->data);
    *text = (mltfr_text){0};
}

/* Only signs, digits, a point and an exponent: strtod alone would take blanks, hex and "inf". */
static bool looks_decimal(const char *word, const char *allowed)
{
    return *word != '\0' && word[strspn(word, allowed)] == '\0';
}

bool mltfr_text_to_i64(const char *word, int64_t *out)
{
    char *end;

    if (!looks_decimal(word, "+-0123456789"))
        return false;
    errno = 0;
    long long x = strtoll(word, &end, 10);
    *out = x;
    return *end == '\0' && end != word && errno == 0;
}

bool mltfr_text_to_f64(const char *word, double *out)
{
    char *end;

    if (!looks_decimal(word, "+-.0123456789eE"))
        return false;
    *out = strtod(word, &end);
    return *end == '\0' && end != word && isfinite(*out);
}

static int64_t unit_seconds(char unit)
{
    return unit == 'd' ? 86400 : unit == 'h' ? 3600 : unit == 'm' ? 60 : unit == 's' ? 1 : 0;
}

bool mltfr_text_to_stop(const char *word, int64_t *steps, int64_t *seconds)
{
    int64_t finest = INT64_MAX;

    *steps = *seconds = 0;
    if (*word == '\0')
        return true;
    if (word[strspn(word, "0123456789")] == '\0')
        return mltfr_text_to_i64(word, steps) && *steps > 0;
    while (*word != '\0') { /* numbers with units that get finer */
        size_t digits = strspn(word, "0123456789");
        int64_t unit = unit_seconds(word[digits]);

        if (digits == 0 || digits > 9 || unit == 0 || unit >= finest)
            return false;
        *seconds += unit * strtoll(word, NULL, 10);
        finest = unit;
        word += digits + 1;
    }
    return *seconds > 0;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Row i of the table of distances from the two rows before it; n is the length of b. */
static void distance_row(const char *a, const char *b, int64_t i, int64_t n,
                         int64_t rows[][LONGEST_WORD + 1])
{
    int64_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

    now[0] = i;
    for (int64_t j = 1; j <= n; j++) {
        int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);

        now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (x != y));
        if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
            y == tolower((unsigned char)a[i - 2]))
            now[j] = least(now[j], before[j - 2] + 1);
    }
}

int64_t mltfr_text_distance(const char *a, const char *b)
{
    int64_t rows[3][LONGEST_WORD + 1], m = (int64_t)strlen(a), n = (int64_t)strlen(b);

    if (n > LONGEST_WORD)
        return m > n ? m : n; /* no name of ours is as long: as if all were different */
    for (int64_t j = 0; j <= n; j++)
        rows[0][j] = j;
    for (int64_t i = 1; i <= m; i++)
        distance_row(a, b, i, n, rows);
    return rows[m % 3][n];
}

void mltfr_nearest_try(mltfr_nearest *nearest, const char *name)
{
    int64_t distance = mltfr_text_distance(nearest->word, name);

    if (nearest->name != NULL && distance >= nearest->distance)
        return;
    nearest->name = name;
    nearest->distance = distance;
}

static mltfr_status load_open(const char *path, FILE *file, char **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_text text = {0};
    char block[4096];
    size_t count;

    while ((count = fread(block, 1, sizeof block, file)) > 0) {
        if (text.size + count > LOAD_LIMIT)
            MLTFR_FAIL(MLTFR_E_IO, "%s: larger than %d bytes", path, LOAD_LIMIT);
        if (memchr(block, 0, count) != NULL)
            MLTFR_FAIL(MLTFR_E_IO, "%s: not a text file", path);
        mltfr_text_add_bytes(&text, block, count);
    }
    if (ferror(file))
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    MLTFR_TRY(mltfr_text_take(&text, out));
done:
    mltfr_text_destroy(&text);
    return st;
}

mltfr_status mltfr_text_load(const char *path, char **out)
{
    mltfr_status st;
    FILE *file = fopen(path, "r");

    *out = NULL;
    if (file == NULL)
        return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    st = load_open(path, file, out);
    fclose(file);
    return st;
}
