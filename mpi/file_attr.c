/* Attributes of groups and arrays: single numbers and texts. */
#include "file_impl.h"

#include <mltfr/mem.h>

#include <string.h>

static hid_t open_object(mltfr_file *f, const char *object)
{
    return mltfr_file_has(f, object) ? H5Oopen(f->id, object, H5P_DEFAULT) : -1;
}

static mltfr_status set_attr(mltfr_file *f, const char *object, const char *name, hid_t type,
                             const void *value)
{
    mltfr_status st = MLTFR_OK;
    hid_t at = open_object(f, object), space = H5Screate(H5S_SCALAR), attr = -1;

    if (at >= 0)
        attr = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attr < 0 || H5Awrite(attr, type, value) < 0)
        st = mltfr_fail(MLTFR_E_IO, "%s: attribute '%s' of '%s' cannot be written", f->path, name,
                        object);
    if (attr >= 0)
        H5Aclose(attr);
    H5Sclose(space);
    if (at >= 0)
        H5Oclose(at);
    return st;
}

mltfr_status mltfr_file_set_i64(mltfr_file *file, const char *object, const char *name,
                                int64_t value)
{
    return mltfr_comm_agree(file->comm, set_attr(file, object, name, H5T_NATIVE_INT64, &value));
}

mltfr_status mltfr_file_set_f64(mltfr_file *file, const char *object, const char *name,
                                double value)
{
    return mltfr_comm_agree(file->comm, set_attr(file, object, name, H5T_NATIVE_DOUBLE, &value));
}

static mltfr_status set_text(mltfr_file *f, const char *object, const char *name, const char *value)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    size_t bytes = strlen(value);
    mltfr_status st;

    H5Tset_size(type, bytes > 0 ? bytes : 1);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    st = set_attr(f, object, name, type, value);
    H5Tclose(type);
    return st;
}

mltfr_status mltfr_file_set_text(mltfr_file *file, const char *object, const char *name,
                                 const char *value)
{
    return mltfr_comm_agree(file->comm, set_text(file, object, name, value));
}

mltfr_status mltfr_file_mark(mltfr_file *f, const char *name, const char *text)
{
    return set_text(f, "/", name, text);
}

static mltfr_status no_attr(mltfr_file *f, const char *object, const char *name)
{
    return mltfr_fail(MLTFR_E_DATA, "%s: '%s' has no attribute '%s' of the right type", f->path,
                      object, name);
}

/* A single value: there is room for no more. */
static bool is_one(hid_t attr)
{
    hid_t space = H5Aget_space(attr);
    bool one = space >= 0 && H5Sget_simple_extent_npoints(space) == 1;

    if (space >= 0)
        H5Sclose(space);
    return one;
}

static mltfr_status get_number(mltfr_file *f, const char *object, const char *name, hid_t type,
                               void *out)
{
    bool good = false;
    hid_t at = open_object(f, object), attr = -1;

    if (at >= 0)
        attr = H5Aopen(at, name, H5P_DEFAULT);
    if (attr >= 0)
        good = is_one(attr) && H5Aread(attr, type, out) >= 0;
    if (attr >= 0)
        H5Aclose(attr);
    if (at >= 0)
        H5Oclose(at);
    return good ? MLTFR_OK : no_attr(f, object, name);
}

mltfr_status mltfr_file_get_i64(mltfr_file *file, const char *object, const char *name,
                                int64_t *out)
{
    return get_number(file, object, name, H5T_NATIVE_INT64, out);
}

mltfr_status mltfr_file_get_f64(mltfr_file *file, const char *object, const char *name, double *out)
{
    return get_number(file, object, name, H5T_NATIVE_DOUBLE, out);
}

/* Text of fixed length (this program's) or of variable length (h5py's). */
static mltfr_status read_text(hid_t attr, hid_t type, char **out)
{
    mltfr_status st = MLTFR_OK;
    char *text = NULL;

    if (H5Tis_variable_str(type) > 0) {
        if (H5Aread(attr, type, &text) < 0 || text == NULL)
            return MLTFR_E_DATA;
        st = mltfr_strdup(text, out);
        H5free_memory(text);
        return st;
    }
    st = mltfr_alloc(out, H5Tget_size(type) + 1, 1);
    if (st == MLTFR_OK && H5Aread(attr, type, *out) < 0)
        st = MLTFR_E_DATA;
    return st;
}

mltfr_status mltfr_file_get_text(mltfr_file *file, const char *object, const char *name, char **out)
{
    mltfr_status st = MLTFR_E_DATA;
    hid_t at = open_object(file, object), attr = -1, type = -1;

    *out = NULL;
    if (at >= 0)
        attr = H5Aopen(at, name, H5P_DEFAULT);
    if (attr >= 0 && is_one(attr))
        type = H5Aget_type(attr);
    if (type >= 0 && H5Tget_class(type) == H5T_STRING)
        st = read_text(attr, type, out);
    if (type >= 0)
        H5Tclose(type);
    if (attr >= 0)
        H5Aclose(attr);
    if (at >= 0)
        H5Oclose(at);
    if (st != MLTFR_OK)
        MLTFR_FREE(*out);
    return st == MLTFR_E_DATA ? no_attr(file, object, name) : st;
}

bool mltfr_file_has_attr(mltfr_file *file, const char *object, const char *name)
{
    hid_t at = open_object(file, object);
    bool has = at >= 0 && H5Aexists(at, name) > 0;

    if (at >= 0)
        H5Oclose(at);
    return has;
}
