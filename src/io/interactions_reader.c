/* A text file in memory: reading it whole, line by line, field by field, with messages that name
 * file and line.  A byte order mark, CRLF and blank lines mean nothing; NUL is refused, since ids
 * become C strings. */
#include "interactions_impl.h"

#include <mltfr/mem.h>
#include <mltfr/watchdog.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static mltfr_status fail_errno(const char *path)
{
    return mltfr_fail(MLTFR_E_DATA, "%s: %s", path, strerror(errno));
}

mltfr_status mltfr_reader_probe(const char *path, bool *is_hdf5)
{
    static const char magic[8] = "\x89HDF\r\n\x1a\n";
    char start[sizeof magic];
    struct stat info;
    FILE *file;

    *is_hdf5 = false;
    if (stat(path, &info) != 0)
        return fail_errno(path);
    if (!S_ISREG(info.st_mode))
        return MLTFR_OK; /* looking would eat what a pipe holds */
    if ((file = fopen(path, "rb")) == NULL)
        return fail_errno(path);
    *is_hdf5 = fread(start, sizeof start, 1, file) == 1 && memcmp(start, magic, sizeof magic) == 0;
    fclose(file);
    return MLTFR_OK;
}

/* Twice the room for the bytes read so far. */
static mltfr_status widen(char **data, int64_t used, int64_t *room)
{
    char *more = NULL;
    mltfr_status st = mltfr_alloc(&more, (size_t)*room * 2 + 1, 1);

    if (st != MLTFR_OK)
        return st;
    memcpy(more, *data, (size_t)used);
    MLTFR_FREE(*data);
    *data = more;
    *room *= 2;
    return MLTFR_OK;
}

static mltfr_status read_all(FILE *file, const char *path, char **data, int64_t *bytes)
{
    mltfr_status st = MLTFR_OK;
    struct stat info;
    int64_t room = 4096, used = 0, n;
    const int64_t most = 1 << 20; /* at a time, so that a slow source is seen to get on */

    if (fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) && info.st_size >= room)
        room = info.st_size + 1; /* one more, so that the end shows in the first read */
    MLTFR_TRY(mltfr_alloc(data, (size_t)room + 1, 1));
    while ((n = (int64_t)fread(*data + used, 1, (size_t)(room - used < most ? room - used : most),
                               file)) > 0) {
        mltfr_watchdog_go_on();
        used += n;
        if (used == room)
            MLTFR_TRY(widen(data, used, &room));
    }
    if (ferror(file)) {
        st = fail_errno(path);
        goto done;
    }
    (*data)[used] = '\0';
    *bytes = used;
done:
    if (st != MLTFR_OK)
        MLTFR_FREE(*data);
    return st;
}

static mltfr_status refuse_nul(mltfr_reader *text)
{
    const char *nul = memchr(text->data, '\0', (size_t)(text->end - text->data)), *at = text->data;

    if (nul == NULL)
        return MLTFR_OK;
    text->line = 1;
    while ((at = memchr(at, '\n', (size_t)(nul - at))) != NULL) {
        at++;
        text->line++;
    }
    return mltfr_reader_fail(text, "a NUL byte: this is not a text file in UTF-8");
}

mltfr_status mltfr_reader_load(const char *path, mltfr_reader *out)
{
    mltfr_status st = MLTFR_OK;
    int64_t bytes = 0;
    FILE *file = fopen(path, "rb");

    *out = (mltfr_reader){.path = path};
    if (file == NULL)
        return fail_errno(path);
    MLTFR_TRY(read_all(file, path, &out->data, &bytes));
    out->next = out->data;
    out->end = out->data + bytes;
    if (bytes >= 3 && memcmp(out->data, "\xef\xbb\xbf", 3) == 0)
        out->next += 3;
    MLTFR_TRY(refuse_nul(out));
done:
    fclose(file);
    if (st != MLTFR_OK)
        mltfr_reader_free(out);
    return st;
}

void mltfr_reader_free(mltfr_reader *text)
{
    MLTFR_FREE(text->data);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

bool mltfr_reader_line(mltfr_reader *text, mltfr_slice *line)
{
    while (text->next < text->end) {
        char *newline = memchr(text->next, '\n', (size_t)(text->end - text->next));
        char *stop = newline != NULL ? newline : text->end;

        *line = mltfr_slice_trim((mltfr_slice){text->next, stop - text->next});
        text->next = newline != NULL ? newline + 1 : text->end;
        text->line++;
        if (line->n > 0)
            return true;
    }
    return false;
}

mltfr_status mltfr_reader_fail(const mltfr_reader *text, const char *format, ...)
{
    char reason[MLTFR_ERROR_BYTES / 2];
    va_list ap;

    va_start(ap, format);
    vsnprintf(reason, sizeof reason, format, ap);
    va_end(ap);
    return mltfr_fail(MLTFR_E_DATA, "%s:%lld: %s", text->path, (long long)text->line, reason);
}

const char *mltfr_slice_show(mltfr_slice slice, char text[MLTFR_SHOWN_BYTES])
{
    const int64_t most = MLTFR_SHOWN_BYTES - 4;
    int64_t n = slice.n <= most ? slice.n : most;

    for (int64_t i = 0; i < n; i++)
        text[i] = (unsigned char)slice.at[i] < 0x20 || slice.at[i] == 0x7f ? '?' : slice.at[i];
    strcpy(text + n, slice.n <= most ? "" : "...");
    return text;
}

bool mltfr_reader_is(mltfr_slice slice, const char *text)
{
    return (size_t)slice.n == strlen(text) && memcmp(slice.at, text, (size_t)slice.n) == 0;
}

mltfr_slice mltfr_slice_trim(mltfr_slice slice)
{
    while (slice.n > 0 && is_blank(slice.at[0])) {
        slice.at++;
        slice.n--;
    }
    while (slice.n > 0 && is_blank(slice.at[slice.n - 1]))
        slice.n--;
    return slice;
}

bool mltfr_slice_word(mltfr_slice *line, mltfr_slice *word)
{
    int64_t n = 0;

    *line = mltfr_slice_trim(*line);
    while (n < line->n && !is_blank(line->at[n]))
        n++;
    *word = (mltfr_slice){line->at, n};
    *line = (mltfr_slice){line->at + n, line->n - n};
    return n > 0;
}
