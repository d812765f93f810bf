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
