/* Collective HDF5.  A file holds whole, global arrays; a rank moves the hyperslab of its rows:
 *
 *      dataset [rows][...]      rank 0 | rank 0 | rank 1 | rank 2 | rank 2 | rank 2
 *                                first, rows ^ chosen by the caller
 *
 * The file format is the one of HDF5 1.10 (checksummed metadata), fill values are never written,
 * and each call that can fail on one rank alone ends in an agreement. */
#include "file_impl.h"

#include <mltfr/mem.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* ---- open and close ------------------------------------------------------------------------ */

typedef enum { CREATE, READ, APPEND } open_mode;

/* Writing goes through MPI-IO, collectively.  For reading, each rank opens the file by itself: it
 * needs no agreement, works in a directory that cannot be written, and leaves no lock file of the
 * MPI library beside the data. */
static mltfr_status open_id(mltfr_file *f, open_mode mode)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* our own messages only */
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    if (mode != READ)
        H5Pset_fapl_mpio(access, f->comm->mpi, MPI_INFO_NULL);
    if (mode == CREATE)
        f->id = H5Fcreate(f->path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    else
        f->id = H5Fopen(f->path, mode == READ ? H5F_ACC_RDONLY : H5F_ACC_RDWR, access);
    H5Pclose(access);
    f->transfer = H5Pcreate(H5P_DATASET_XFER);
    if (mode != READ)
        H5Pset_dxpl_mpio(f->transfer, H5FD_MPIO_COLLECTIVE);
    if (f->id < 0)
        return mltfr_fail(MLTFR_E_IO, "%s: cannot be %s as an HDF5 file", f->path,
                          mode == CREATE ? "created" : "opened");
    return MLTFR_OK;
}

static mltfr_status readable(const char *path)
{
    if (access(path, R_OK) != 0)
        return mltfr_fail(MLTFR_E_DATA, "%s: %s", path, strerror(errno));
    if (H5Fis_hdf5(path) <= 0)
        return mltfr_fail(MLTFR_E_DATA, "%s: not an HDF5 file", path);
    return MLTFR_OK;
}

static mltfr_status open_file(mltfr_comm *comm, const char *path, open_mode mode, mltfr_file **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *f = NULL;

    *out = NULL;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (mode != CREATE)
        MLTFR_AGREE(comm, readable(path));
    MLTFR_AGREE(comm, MLTFR_NEW(f, 1));
    f->id = f->transfer = -1;
    f->comm = comm;
    MLTFR_AGREE(comm, mltfr_strdup(path, &f->path));
    MLTFR_AGREE(comm, open_id(f, mode));
    *out = f;
    f = NULL;
done:
    mltfr_file_destroy(&f);
    return st;
}

mltfr_status mltfr_file_create(mltfr_comm *comm, const char *path, mltfr_file **out)
{
    return open_file(comm, path, CREATE, out);
}

mltfr_status mltfr_file_open(mltfr_comm *comm, const char *path, mltfr_file **out)
{
    return open_file(comm, path, READ, out);
}

mltfr_status mltfr_file_append(mltfr_comm *comm, const char *path, mltfr_file **out)
{
    return open_file(comm, path, APPEND, out);
}

static mltfr_status close_id(mltfr_file *f)
{
    hid_t id = f->id;

    f->id = -1;
    errno = 0;
    if (H5Fflush(id, H5F_SCOPE_GLOBAL) < 0 || H5Fclose(id) < 0)
        return mltfr_fail(MLTFR_E_IO, "%s: writing failed%s%s", f->path, errno != 0 ? ": " : "",
                          errno != 0 ? strerror(errno) : "");
    return MLTFR_OK;
}

mltfr_status mltfr_file_close(mltfr_file **file)
{
    mltfr_status st = mltfr_comm_agree((*file)->comm, close_id(*file));

    mltfr_file_destroy(file);
    return st;
}

void mltfr_file_destroy(mltfr_file **file)
{
    mltfr_file *f = *file;

    if (f == NULL)
        return;
    if (f->id >= 0)
        H5Fclose(f->id);
    if (f->transfer >= 0)
        H5Pclose(f->transfer);
    MLTFR_FREE(f->path);
    MLTFR_FREE(*file);
}

const char *mltfr_file_path(const mltfr_file *file)
{
    return file->path;
}

/* ---- arrays -------------------------------------------------------------------------------- */

/* Move rows [first, first + rows) of a data set, in as many transfers as the rank with the most
 * bytes needs; a rank without rows selects nothing but takes part. */
static mltfr_status move(mltfr_file *f, hid_t set, const mltfr_shape *shape, mltfr_dtype type,
                         int64_t first, int64_t rows, void *mine, bool writing)
{
    mltfr_status st = MLTFR_OK;
    int64_t row_bytes = mltfr_shape_row(shape) * mltfr_dtype_bytes(type);
    int64_t step = most_bytes / (row_bytes > 0 ? row_bytes : 1) + 1;
    int64_t passes = (rows + step - 1) / step;
    herr_t worst = 0;

    errno = 0;
    if (mltfr_shape_count(shape) == 0) /* nothing on any rank; HDF5 would refuse */
        return MLTFR_OK;
    mltfr_comm_max_i64(f->comm, &passes, 1);
    for (int64_t p = 0; p < passes; p++) {
        int64_t at = p * step < rows ? p * step : rows;
        int64_t n = rows - at < step ? rows - at : step;
        hsize_t start[MLTFR_MAX_DIMS] = {(hsize_t)(first + at)}, count[MLTFR_MAX_DIMS];
        hid_t file_space = H5Dget_space(set), memory_space;
        char *data = (char *)mine + at * row_bytes;

        for (int i = 0; i < shape->ndim; i++)
            count[i] = (hsize_t)(i == 0 ? n : shape->dims[i]);
        memory_space = H5Screate_simple(shape->ndim, count, NULL);
        if (n * row_bytes == 0) {
            H5Sselect_none(file_space);
            H5Sselect_none(memory_space);
        } else if (shape->ndim > 0) {
            H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL);
        }
        herr_t code =
            writing ? H5Dwrite(set, memory_type(type), memory_space, file_space, f->transfer, data)
                    : H5Dread(set, memory_type(type), memory_space, file_space, f->transfer, data);
        if (code < 0)
            worst = code;
        H5Sclose(memory_space);
        H5Sclose(file_space);
    }
    if (worst < 0)
        st = mltfr_fail(MLTFR_E_IO, "%s: %s failed%s%s", f->path, writing ? "writing" : "reading",
                        errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
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

mltfr_status mltfr_file_read(mltfr_file *file, const char *name, mltfr_dtype type, int64_t first,
                             int64_t rows, void *mine)
{
    mltfr_status st = MLTFR_OK;
    mltfr_shape shape;
    hid_t set = -1;
    int64_t whole;

    MLTFR_AGREE(file->comm, mltfr_file_shape(file, name, &shape));
    whole = shape.ndim == 0 ? 1 : shape.dims[0];
    if (rows < 0 || first < 0 || rows > whole - first)
        st = mltfr_fail(MLTFR_E_DATA, "%s: array '%s' has %lld rows, %lld are asked for",
                        file->path, name, (long long)whole, (long long)(first + rows));
    MLTFR_AGREE(file->comm, st);
    set = H5Dopen2(file->id, name, H5P_DEFAULT);
    st = move(file, set, &shape, type, first, rows, mine, false);
done:
    if (set >= 0)
        H5Dclose(set);
    return st;
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

mltfr_status mltfr_file_fill(mltfr_file *file, const char *name, const mltfr_shape *shape,
                             int64_t first, int64_t rows, const void *mine)
{
    mltfr_status st = MLTFR_OK;
    hid_t set = -1;

    MLTFR_AGREE(file->comm, check_rows(name, shape, first, rows));
    MLTFR_AGREE(file->comm, check_shape(file, name, shape));
    set = H5Dopen2(file->id, name, H5P_DEFAULT);
    /* A scalar is one row: rank 0's. */
    st = move(file, set, shape, shape->type, first, rows, (void *)(uintptr_t)mine, true);
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

/* ---- visiting ------------------------------------------------------------------------------ */

struct visit {
    mltfr_file *file;
    mltfr_file_visitor *call;
    void *context;
    mltfr_status st;
};

static bool is_text(hid_t root, const char *name)
{
    const hid_t set = H5Dopen2(root, name, H5P_DEFAULT), type = set >= 0 ? H5Dget_type(set) : -1;
    const bool is = type >= 0 && H5Tget_class(type) == H5T_STRING;

    if (type >= 0)
        H5Tclose(type);
    if (set >= 0)
        H5Dclose(set);
    return is;
}

static herr_t visit_one(hid_t root, const char *name, const H5O_info_t *info, void *data)
{
    struct visit *v = data;
    mltfr_shape shape;

    if (info->type != H5O_TYPE_DATASET || is_text(root, name))
        return 0;
    v->st = mltfr_file_shape(v->file, name, &shape);
    if (v->st == MLTFR_OK)
        v->st = v->call(v->context, name, &shape);
    return v->st != MLTFR_OK;
}

mltfr_status mltfr_file_visit(mltfr_file *file, mltfr_file_visitor *visit, void *context)
{
    struct visit v = {file, visit, context, MLTFR_OK};

    if (H5Ovisit2(file->id, H5_INDEX_NAME, H5_ITER_INC, visit_one, &v, H5O_INFO_BASIC) < 0)
        return mltfr_fail(MLTFR_E_DATA, "%s: the file is damaged", file->path);
    return v.st;
}
