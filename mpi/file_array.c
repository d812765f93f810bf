/* Arrays of a file: their shapes, and the rows that a rank writes or reads. */
#include "file_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SHAPE_BYTES = 23 * MLTFR_MAX_DIMS };

/* One transfer moves at most this many bytes a rank: MPI counts are int. */
static const int64_t most_bytes = INT64_C(1) << 30;

static hid_t memory_type(mltfr_dtype type)
{
    switch (type) {
    case MLTFR_F32:
        return H5T_NATIVE_FLOAT;
    case MLTFR_F64:
        return H5T_NATIVE_DOUBLE;
    case MLTFR_I32:
        return H5T_NATIVE_INT32;
    case MLTFR_I64:
        return H5T_NATIVE_INT64;
    default:
        return H5T_NATIVE_UINT8;
    }
}

int64_t mltfr_dtype_bytes(mltfr_dtype type)
{
    static const int64_t bytes[] = {4, 8, 4, 8, 1};

    return bytes[type];
}

int64_t mltfr_shape_row(const mltfr_shape *shape)
{
    int64_t n = 1;

    for (int i = 1; i < shape->ndim; i++)
        n *= shape->dims[i];
    return n;
}

int64_t mltfr_shape_count(const mltfr_shape *shape)
{
    return shape->ndim == 0 ? 1 : shape->dims[0] * mltfr_shape_row(shape);
}

/* Memory and file space of rows [first, first + rows). */
static void select_rows(hid_t set, const mltfr_shape *shape, int64_t first, int64_t rows,
                        hid_t *memory, hid_t *file)
{
    hsize_t start[MLTFR_MAX_DIMS] = {(hsize_t)first}, count[MLTFR_MAX_DIMS];

    for (int i = 0; i < shape->ndim; i++)
        count[i] = (hsize_t)(i == 0 ? rows : shape->dims[i]);
    *file = H5Dget_space(set);
    *memory = H5Screate_simple(shape->ndim, count, NULL);
    if (rows * mltfr_shape_row(shape) == 0) {
        H5Sselect_none(*file);
        H5Sselect_none(*memory);
    } else if (shape->ndim > 0) {
        H5Sselect_hyperslab(*file, H5S_SELECT_SET, start, NULL, count, NULL);
    }
}

static mltfr_status io_failed(const mltfr_file *f, const char *what)
{
    return mltfr_fail(MLTFR_E_IO, "%s: %s failed%s%s", f->path, what, errno != 0 ? ": " : "",
                      errno != 0 ? strerror(errno) : "");
}

mltfr_status mltfr_file_load(mltfr_file *f, hid_t set, const mltfr_shape *shape, mltfr_dtype type,
                             int64_t first, int64_t rows, void *out)
{
    hid_t memory, file;
    herr_t code;

    if (rows * mltfr_shape_row(shape) == 0)
        return MLTFR_OK;
    errno = 0;
    select_rows(set, shape, first, rows, &memory, &file);
    code = H5Dread(set, memory_type(type), memory, file, f->transfer, out);
    H5Sclose(memory);
    H5Sclose(file);
    return code < 0 ? io_failed(f, "reading") : MLTFR_OK;
}

/* Write rows [first, first + rows) of a data set, in as many transfers as the rank with the most
 * bytes needs; a rank without rows selects nothing but takes part. */
static mltfr_status store(mltfr_file *f, hid_t set, const mltfr_shape *shape, int64_t first,
                          int64_t rows, const void *mine)
{
    mltfr_status st = MLTFR_OK;
    int64_t row_bytes = mltfr_shape_row(shape) * mltfr_dtype_bytes(shape->type);
    int64_t step = most_bytes / (row_bytes > 0 ? row_bytes : 1) + 1;
    int64_t passes = (rows + step - 1) / step;

    errno = 0;
    if (mltfr_shape_count(shape) == 0) /* nothing on any rank; HDF5 would refuse */
        return MLTFR_OK;
    mltfr_comm_max_i64(f->comm, &passes, 1);
    for (int64_t p = 0; p < passes; p++) {
        const int64_t at = p * step < rows ? p * step : rows;
        const int64_t n = rows - at < step ? rows - at : step;
        hid_t memory, file;

        select_rows(set, shape, first + at, n, &memory, &file);
        if (H5Dwrite(set, memory_type(shape->type), memory, file, f->transfer,
                     (const char *)mine + at * row_bytes) < 0)
            st = io_failed(f, "writing");
        H5Sclose(memory);
        H5Sclose(file);
    }
    return mltfr_comm_agree(f->comm, st);
}

static hid_t create_set(mltfr_file *f, const char *name, const mltfr_shape *shape)
{
    hsize_t dims[MLTFR_MAX_DIMS];
    hid_t links = H5Pcreate(H5P_LINK_CREATE), layout = H5Pcreate(H5P_DATASET_CREATE), space, set;

    for (int i = 0; i < shape->ndim; i++)
        dims[i] = (hsize_t)shape->dims[i];
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_fill_time(layout, H5D_FILL_TIME_NEVER);
    H5Pset_alloc_time(layout, H5D_ALLOC_TIME_EARLY);
    space = shape->ndim == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(shape->ndim, dims, NULL);
    set = H5Dcreate2(f->id, name, memory_type(shape->type), space, links, layout, H5P_DEFAULT);
    H5Sclose(space);
    H5Pclose(layout);
    H5Pclose(links);
    return set;
}

static mltfr_status shape_of(hid_t set, const char *path, const char *name, mltfr_shape *out)
{
    hsize_t dims[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set), type = H5Dget_type(set);
    H5T_class_t class = H5Tget_class(type);
    size_t bytes = H5Tget_size(type);
    mltfr_status st = MLTFR_OK;

    out->ndim = H5Sget_simple_extent_ndims(space);
    if (out->ndim > MLTFR_MAX_DIMS || out->ndim < 0) {
        st = mltfr_fail(MLTFR_E_DATA, "%s: array '%s' has %d dimensions, at most %d are allowed",
                        path, name, out->ndim, MLTFR_MAX_DIMS);
    } else {
        H5Sget_simple_extent_dims(space, dims, NULL);
        for (int i = 0; i < out->ndim; i++)
            out->dims[i] = (int64_t)dims[i];
    }
    if (class == H5T_FLOAT)
        out->type = bytes == 4 ? MLTFR_F32 : MLTFR_F64;
    else if (class == H5T_INTEGER)
        out->type = bytes == 1 ? MLTFR_U8 : bytes == 4 ? MLTFR_I32 : MLTFR_I64;
    else
        st = mltfr_fail(MLTFR_E_DATA, "%s: array '%s' does not hold numbers", path, name);
    H5Tclose(type);
    H5Sclose(space);
    return st;
}

bool mltfr_file_has(mltfr_file *file, const char *name)
{
    char part[512];
    size_t n = strlen(name);

    if (strcmp(name, "/") == 0)
        return true;
    if (n >= sizeof part)
        return false;
    for (size_t i = 1; i <= n; i++) {
        if (name[i] != '/' && name[i] != '\0')
            continue;
        memcpy(part, name, i);
        part[i] = '\0';
        if (H5Lexists(file->id, part, H5P_DEFAULT) <= 0)
            return false;
    }
    return true;
}

mltfr_status mltfr_file_shape(mltfr_file *file, const char *name, mltfr_shape *out)
{
    mltfr_status st;
    hid_t set = mltfr_file_has(file, name) ? H5Dopen2(file->id, name, H5P_DEFAULT) : -1;

    if (set < 0)
        return mltfr_fail(MLTFR_E_DATA, "%s: there is no array '%s'", file->path, name);
    st = shape_of(set, file->path, name, out);
    H5Dclose(set);
    return st;
}

static mltfr_status read_rows(mltfr_file *f, const char *name, mltfr_dtype type, int64_t first,
                              int64_t rows, void *mine)
{
    mltfr_shape shape;
    mltfr_status st = mltfr_file_shape(f, name, &shape);

    if (st != MLTFR_OK)
        return st;
    const int64_t whole = shape.ndim == 0 ? 1 : shape.dims[0];

    if (rows < 0 || first < 0 || rows > whole - first)
        return mltfr_fail(MLTFR_E_DATA, "%s: array '%s' has %lld rows, %lld are asked for", f->path,
                          name, (long long)whole, (long long)(first + rows));
    return mltfr_sums_read(f, name, &shape, type, first, rows, mine);
}

mltfr_status mltfr_file_read(mltfr_file *file, const char *name, mltfr_dtype type, int64_t first,
                             int64_t rows, void *mine)
{
    return mltfr_comm_agree(file->comm, read_rows(file, name, type, first, rows, mine));
}

/* The width of its rows is the file's: more than the caller has room for, were it no list. */
static mltfr_status check_list(mltfr_file *f, const char *name)
{
    mltfr_shape shape;
    mltfr_status st = mltfr_file_shape(f, name, &shape);

    if (st == MLTFR_OK && shape.ndim != 1)
        st = mltfr_fail(MLTFR_E_DATA, "%s: array '%s' has %d dimensions, needed is 1", f->path,
                        name, shape.ndim);
    return st;
}

mltfr_status mltfr_file_read_list(mltfr_file *file, const char *name, mltfr_dtype type,
                                  int64_t first, int64_t rows, void *mine)
{
    const mltfr_status st = mltfr_comm_agree(file->comm, check_list(file, name));

    return st != MLTFR_OK ? st : mltfr_file_read(file, name, type, first, rows, mine);
}

/* `[3][64]`; `one number` where there are no dimensions. */
static const char *say_shape(const mltfr_shape *shape, char text[SHAPE_BYTES])
{
    int at = snprintf(text, SHAPE_BYTES, "%s", shape->ndim == 0 ? "one number" : "");

    for (int i = 0; i < shape->ndim; i++)
        at += snprintf(text + at, (size_t)(SHAPE_BYTES - at), "[%lld]", (long long)shape->dims[i]);
    return text;
}

/* Does the array have the dimensions that are wanted? */
static mltfr_status check_shape(mltfr_file *f, const char *name, const mltfr_shape *want)
{
    mltfr_shape have;
    mltfr_status st = mltfr_file_shape(f, name, &have);

    char is[SHAPE_BYTES], needed[SHAPE_BYTES];

    if (st == MLTFR_OK &&
        (have.ndim != want->ndim ||
         memcmp(have.dims, want->dims, (size_t)want->ndim * sizeof *want->dims) != 0))
        st = mltfr_fail(MLTFR_E_DATA, "%s: array '%s' is %s, needed is %s", f->path, name,
                        say_shape(&have, is), say_shape(want, needed));
    return st;
}

mltfr_status mltfr_file_read_as(mltfr_file *file, const char *name, const mltfr_shape *shape,
                                int64_t first, int64_t rows, void *mine)
{
    const mltfr_status st = mltfr_comm_agree(file->comm, check_shape(file, name, shape));

    return st != MLTFR_OK ? st : mltfr_file_read(file, name, shape->type, first, rows, mine);
}

/* ---- writing ------------------------------------------------------------------------------- */

mltfr_status mltfr_file_reserve(mltfr_file *file, const char *name, const mltfr_shape *shape)
{
    const hid_t set = create_set(file, name, shape);

    if (set >= 0)
        H5Dclose(set);
    return mltfr_comm_agree(
        file->comm,
        set >= 0 ? MLTFR_OK
                 : mltfr_fail(MLTFR_E_IO, "%s: array '%s' cannot be created", file->path, name));
}

static mltfr_status check_rows(const char *name, const mltfr_shape *shape, int64_t first,
                               int64_t rows)
{
    const int64_t whole = shape->ndim == 0 ? 1 : shape->dims[0];

    if (rows < 0 || first < 0 || rows > whole - first)
        return mltfr_fail(MLTFR_E_INTERNAL, "array '%s': rows %lld+%lld of %lld", name,
                          (long long)first, (long long)rows, (long long)whole);
    return MLTFR_OK;
}

static mltfr_status prepare(mltfr_file *f, const char *name, const mltfr_shape *shape,
                            int64_t first, int64_t rows, mltfr_sums **sums)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(check_rows(name, shape, first, rows));
    MLTFR_TRY(check_shape(f, name, shape));
    MLTFR_TRY(mltfr_sums_of(f, name, shape, sums));
done:
    return st;
}

mltfr_status mltfr_file_fill(mltfr_file *file, const char *name, const mltfr_shape *shape,
                             int64_t first, int64_t rows, const void *mine)
{
    mltfr_status st = MLTFR_OK;
    mltfr_sums *sums;
    hid_t set = -1;

    MLTFR_AGREE(file->comm, prepare(file, name, shape, first, rows, &sums));
    set = H5Dopen2(file->id, name, H5P_DEFAULT);
    if (file->later != NULL) {
        MLTFR_AGREE(file->comm, mltfr_later_note(file->later, set, sums, first, rows, mine));
        goto done;
    }
    mltfr_sums_add(sums, first, rows, mine);
    /* A scalar is one row: rank 0's. */
    st = store(file, set, shape, first, rows, mine);
done:
    if (set >= 0)
        H5Dclose(set);
    return st;
}

mltfr_status mltfr_file_write(mltfr_file *file, const char *name, const mltfr_shape *shape,
                              int64_t first, int64_t rows, const void *mine)
{
    mltfr_status st = mltfr_file_reserve(file, name, shape);

    return st != MLTFR_OK ? st : mltfr_file_fill(file, name, shape, first, rows, mine);
}
