#include "sink.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

mltfr_status sink_open(mltfr_comm *self, const char *path, bool hdf5, app_sink *out)
{
    mltfr_status st = MLTFR_OK;

    *out = (app_sink){.self = self, .path = path, .hdf5 = hdf5};
    if (self == NULL)
        return MLTFR_OK;
    if (!hdf5)
        return app_make_directory(self, path);
    MLTFR_TRY(app_part(path, &out->part));
    MLTFR_TRY(mltfr_file_create(self, out->part, &out->file));
done:
    return st;
}

/* DIRECTORY/GROUP-WHAT.ENDING for GROUP/WHAT. */
static mltfr_status path_of(const app_sink *s, const char *name, const char *ending, char **out)
{
    mltfr_text text = {0};

    mltfr_text_add(&text, "%s/", s->path);
    for (; *name != '\0'; name++)
        mltfr_text_add_bytes(&text, *name == '/' ? "-" : name, 1);
    mltfr_text_add(&text, "%s", ending);
    return mltfr_text_take(&text, out);
}

/* The header of a .npy file of version 1: a Python dictionary, blanks up to a multiple of 64. */
static mltfr_status npy_header(app_sink *s)
{
    enum { BEFORE = 10, UNIT = 64 };
    const char *type = s->shape.type == MLTFR_F32 ? "<f4" : "<i8";
    char text[256] = "\x93NUMPY\x01";
    int n = BEFORE;

    n += snprintf(text + n, sizeof text - BEFORE,
                  "{'descr': '%s', 'fortran_order': False, 'shape': (%lld,", type,
                  (long long)s->shape.dims[0]);
    if (s->shape.ndim == 2)
        n += snprintf(text + n, sizeof text - (size_t)n, " %lld", (long long)s->shape.dims[1]);
    n += snprintf(text + n, sizeof text - (size_t)n, "), }");
    while (n % UNIT != UNIT - 1)
        text[n++] = ' ';
    text[n++] = '\n';
    text[BEFORE - 2] = (char)((n - BEFORE) % 256);
    text[BEFORE - 1] = (char)((n - BEFORE) / 256);
    return app_output_bytes(&s->array, text, (size_t)n);
}

mltfr_status sink_begin(app_sink *s, const char *name, const mltfr_shape *shape)
{
    mltfr_status st = MLTFR_OK;

    if (s->self == NULL)
        return MLTFR_OK;
    snprintf(s->name, sizeof s->name, "%s", name);
    s->shape = *shape;
    s->next = 0;
    if (s->hdf5)
        return mltfr_file_reserve(s->file, name, shape);
    MLTFR_TRY(path_of(s, name, ".npy", &s->array_path));
    MLTFR_TRY(app_output_open(s->self, s->array_path, &s->array));
    MLTFR_TRY(npy_header(s));
done:
    return st;
}

mltfr_status sink_rows(app_sink *s, int64_t rows, const void *data)
{
    const int64_t first = s->next,
                  bytes = mltfr_shape_row(&s->shape) * mltfr_dtype_bytes(s->shape.type);

    if (s->self == NULL)
        return MLTFR_OK;
    s->next += rows;
    if (s->hdf5)
        return mltfr_file_fill(s->file, s->name, &s->shape, first, rows, data);
    return app_output_bytes(&s->array, data, (size_t)(rows * bytes));
}

mltfr_status sink_end(app_sink *s)
{
    mltfr_status st;

    if (s->self == NULL || s->hdf5)
        return MLTFR_OK;
    st = app_output_close(s->self, &s->array);
    if (st == MLTFR_OK)
        MLTFR_FREE(s->array_path);
    return st;
}

mltfr_status sink_whole(app_sink *s, const char *name, const mltfr_shape *shape, const void *data)
{
    mltfr_status st;

    MLTFR_TRY(sink_begin(s, name, shape));
    MLTFR_TRY(sink_rows(s, shape->dims[0], data));
    MLTFR_TRY(sink_end(s));
done:
    return st;
}

static mltfr_status add_line(mltfr_text *text, const char *string, bool quoted)
{
    if (quoted)
        mltfr_text_add_quoted(text, string);
    else if (strpbrk(string, "\r\n") != NULL)
        return mltfr_fail(MLTFR_E_DATA, "export: an id has a line break, which a text file cannot "
                                        "hold: use --out FILE.h5");
    else
        mltfr_text_add_bytes(text, string, strlen(string));
    mltfr_text_add_bytes(text, "\n", 1);
    return text->st;
}

mltfr_status sink_strings(app_sink *s, const char *name, int64_t n, char *const *strings,
                          bool quoted)
{
    mltfr_status st = MLTFR_OK;
    mltfr_text text = {0};
    char *path = NULL;

    if (s->self == NULL)
        return MLTFR_OK;
    if (s->hdf5)
        return mltfr_file_write_strings(s->file, name, n, strings);
    for (int64_t i = 0; i < n; i++)
        MLTFR_TRY(add_line(&text, strings[i], quoted));
    MLTFR_TRY(path_of(s, name, ".txt", &path));
    MLTFR_TRY(app_write(s->self, path, &text));
done:
    MLTFR_FREE(path);
    mltfr_text_destroy(&text);
    return st;
}

mltfr_status sink_close(app_sink *s)
{
    mltfr_status st = MLTFR_OK;

    if (s->file == NULL)
        return MLTFR_OK;
    MLTFR_TRY(mltfr_file_close(&s->file));
    MLTFR_TRY(app_rename(s->self, s->part, s->path));
    MLTFR_FREE(s->part);
done:
    return st;
}

void sink_discard(app_sink *s)
{
    mltfr_file_destroy(&s->file);
    app_output_discard(&s->array);
    MLTFR_FREE(s->array_path);
    if (s->part != NULL)
        unlink(s->part);
    MLTFR_FREE(s->part);
}
