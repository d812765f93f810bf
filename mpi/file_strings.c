/* Arrays of strings: written with one length for all, which h5py and others read; read in that form
 * and in theirs, of variable length. */
#include "file_impl.h"

#include <mltfr/mem.h>

#include <string.h>

static hid_t string_type(size_t bytes)
{
    const hid_t type = H5Tcopy(H5T_C_S1);

    H5Tset_size(type, bytes);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

static mltfr_status pack(int64_t n, char *const *strings, size_t bytes, char **out)
{
    mltfr_status st = mltfr_alloc(out, (size_t)n + 1, bytes);

    for (int64_t i = 0; st == MLTFR_OK && i < n; i++)
        memcpy(*out + (size_t)i * bytes, strings[i], strlen(strings[i]));
    return st;
}

/* Every rank makes the array, rank 0 fills it. */
static bool put(mltfr_file *f, const char *name, int64_t n, size_t bytes, const char *packed)
{
    const hsize_t dims = (hsize_t)n;
    const hid_t type = string_type(bytes), links = H5Pcreate(H5P_LINK_CREATE),
                space = H5Screate_simple(1, &dims, NULL), rows = H5Scopy(space);
    hid_t set;
    bool good;

    H5Pset_create_intermediate_group(links, 1);
    set = H5Dcreate2(f->id, name, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    if (f->comm->rank != 0)
        H5Sselect_none(rows);
    good = set >= 0 && H5Dwrite(set, type, rows, rows, f->transfer, packed) >= 0;
    if (set >= 0)
        H5Dclose(set);
    H5Sclose(rows);
    H5Sclose(space);
    H5Pclose(links);
    H5Tclose(type);
    return good;
}

mltfr_status mltfr_file_write_strings(mltfr_file *file, const char *name, int64_t n,
                                      char *const *strings)
{
    mltfr_status st = MLTFR_OK;
    size_t bytes = 1;
    char *packed = NULL;

    for (int64_t i = 0; i < n; i++)
        bytes = strlen(strings[i]) > bytes ? strlen(strings[i]) : bytes;
    MLTFR_AGREE(file->comm, pack(n, strings, bytes, &packed));
    MLTFR_AGREE(file->comm,
                put(file, name, n, bytes, packed)
                    ? MLTFR_OK
                    : mltfr_fail(MLTFR_E_IO, "%s: array '%s' cannot be written", file->path, name));
done:
    MLTFR_FREE(packed);
    return st;
}

/* The strings of an array that is open, `bytes` each: 0 for strings of any length. */
static mltfr_status unpack(hid_t set, hid_t type, int64_t n, size_t bytes, char ***out)
{
    mltfr_status st = MLTFR_OK;
    const hid_t memory = H5Tcopy(type); /* HDF5 does not convert between ASCII and UTF-8 */
    const size_t width = bytes > 0 ? bytes : sizeof(char *);
    size_t total = (size_t)n;
    char *packed = NULL, *at;

    if (bytes > 0)
        H5Tset_strpad(memory, H5T_STR_NULLPAD);
    MLTFR_TRY(mltfr_alloc(&packed, (size_t)n + 1, width));
    if (n > 0 && H5Dread(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, packed) < 0)
        MLTFR_FAIL(MLTFR_E_DATA, "an array of strings cannot be read");
#define STRING(i) (bytes > 0 ? packed + (size_t)(i)*bytes : ((char **)packed)[i])
#define LENGTH(i)                                                                                  \
    (bytes > 0 ? strnlen(STRING(i), bytes) : STRING(i) != NULL ? strlen(STRING(i)) : 0)
    for (int64_t i = 0; i < n; i++)
        total += LENGTH(i);
    MLTFR_TRY(mltfr_alloc(out, (size_t)n * sizeof **out + total, 1));
    at = (char *)(*out + n);
    for (int64_t i = 0; i < n; i++) {
        const size_t length = LENGTH(i);

        (*out)[i] = length > 0 ? memcpy(at, STRING(i), length) : at;
        at += length + 1;
    }
#undef LENGTH
#undef STRING
    if (bytes == 0 && n > 0) {
        const hid_t space = H5Dget_space(set);

        H5Dvlen_reclaim(memory, space, H5P_DEFAULT, packed);
        H5Sclose(space);
    }
done:
    H5Tclose(memory);
    MLTFR_FREE(packed);
    return st;
}

/* @local */
static mltfr_status read_strings(mltfr_file *f, const char *name, char ***out, int64_t *n)
{
    mltfr_status st = MLTFR_OK;
    const hid_t set = mltfr_file_has(f, name) ? H5Dopen2(f->id, name, H5P_DEFAULT) : -1;
    const hid_t type = set >= 0 ? H5Dget_type(set) : -1, space = set >= 0 ? H5Dget_space(set) : -1;
    hsize_t count = 0;

    if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Sget_simple_extent_ndims(space) != 1)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: there is no list of strings '%s'", f->path, name);
    H5Sget_simple_extent_dims(space, &count, NULL);
    *n = (int64_t)count;
    st = unpack(set, type, *n, H5Tis_variable_str(type) > 0 ? 0 : H5Tget_size(type), out);
done:
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    if (set >= 0)
        H5Dclose(set);
    return st;
}

mltfr_status mltfr_file_read_strings(mltfr_file *file, const char *name, char ***out, int64_t *n)
{
    *out = NULL;
    *n = 0;
    return mltfr_comm_agree(file->comm, read_strings(file, name, out, n));
}
