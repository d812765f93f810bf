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

/* ---- open and close ------------------------------------------------------------------------ */

typedef enum { CREATE, READ, READ_SEALED, APPEND, APPEND_LATER } open_mode;

/* Does HDF5 only read?  Of what is filled later it has to know the places. */
static bool reads(open_mode mode)
{
    return mode != CREATE && mode != APPEND;
}

/* Several ranks write through MPI-IO, collectively, where HDF5 has it: that of libmltfr, for one
 * process, has not. */
static void write_together(mltfr_file *f, hid_t access)
{
#ifdef H5_HAVE_PARALLEL
    H5Pset_fapl_mpio(access, f->comm->mpi, MPI_INFO_NULL);
    H5Pset_dxpl_mpio(f->transfer, H5FD_MPIO_COLLECTIVE);
#else
    (void)f;
    (void)access;
#endif
}

/* One rank does without.  For reading, each rank opens the file by itself: it needs no agreement,
 * works in a directory that cannot be written, and leaves no lock file of the MPI library beside
 * the data. */
static mltfr_status open_id(mltfr_file *f, open_mode mode)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);

    f->transfer = H5Pcreate(H5P_DATASET_XFER);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* our own messages only */
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    if (!reads(mode) && f->comm->size > 1)
        write_together(f, access);
    errno = 0;
    if (mode == CREATE)
        f->id = H5Fcreate(f->path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    else
        f->id = H5Fopen(f->path, reads(mode) ? H5F_ACC_RDONLY : H5F_ACC_RDWR, access);
    H5Pclose(access);
    if (f->id < 0)
        return mltfr_fail(MLTFR_E_IO, "%s: cannot be %s as an HDF5 file: %s", f->path,
                          mode == CREATE ? "created" : "opened",
                          errno != 0 ? strerror(errno) : "not what HDF5 expects");
    return MLTFR_OK;
}

void mltfr_file_setup(void)
{
#ifdef H5_HAVE_PARALLEL
    H5dont_atexit();
    H5open(); /* once MPI has started, it would tie its end to MPI's */
#endif
}

static mltfr_status readable(const char *path)
{
    if (access(path, R_OK) != 0)
        return mltfr_fail(MLTFR_E_DATA, "%s: %s", path, strerror(errno));
    errno = 0;

    const htri_t is = H5Fis_hdf5(path);

    if (is < 0 && errno != 0)
        return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    if (is <= 0)
        return mltfr_fail(MLTFR_E_DATA, "%s: not an HDF5 file", path);
    return MLTFR_OK;
}

/* A seal comes first: HDF5 shall not see damage.  Rank 0 looks at what all will read. */
static mltfr_status check_seal(mltfr_comm *comm, const char *path, bool needed, bool *sealed)
{
    mltfr_status st = MLTFR_OK;

    *sealed = false;
    MLTFR_AGREE(comm, comm->rank == 0 ? mltfr_seal_check(path, needed, sealed) : MLTFR_OK);
    mltfr_comm_bcast(comm, sealed, sizeof *sealed, 0);
done:
    return st;
}

/* What was sealed says so inside too: a seal that is gone is seen. */
static mltfr_status miss_seal(mltfr_file *f, open_mode mode)
{
    if (mode == CREATE || f->sealed ||
        H5Aexists_by_name(f->id, "/", mltfr_sums_name, H5P_DEFAULT) <= 0)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_DATA, "%s: damaged: its end is missing, with the checksum", f->path);
}

static mltfr_status open_file(mltfr_comm *comm, const char *path, open_mode mode, mltfr_file **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *f = NULL;
    bool sealed = false;

    *out = NULL;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (mode != CREATE)
        MLTFR_TRY(check_seal(comm, path, mode == READ_SEALED, &sealed));
    if (mode != CREATE)
        MLTFR_AGREE(comm, readable(path));
    MLTFR_AGREE(comm, MLTFR_NEW(f, 1));
    f->id = f->transfer = -1;
    f->comm = comm;
    f->sealed = sealed;
    MLTFR_AGREE(comm, mltfr_strdup(path, &f->path));
    MLTFR_AGREE(comm, mode == APPEND_LATER ? mltfr_later_create(&f->later) : MLTFR_OK);
    MLTFR_AGREE(comm, open_id(f, mode));
    MLTFR_AGREE(comm, miss_seal(f, mode));
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

mltfr_status mltfr_file_open_sealed(mltfr_comm *comm, const char *path, mltfr_file **out)
{
    return open_file(comm, path, READ_SEALED, out);
}

mltfr_status mltfr_file_append(mltfr_comm *comm, const char *path, mltfr_file **out)
{
    return open_file(comm, path, APPEND, out);
}

mltfr_status mltfr_file_append_later(mltfr_comm *comm, const char *path, mltfr_file **out)
{
    return open_file(comm, path, APPEND_LATER, out);
}

mltfr_status mltfr_file_shut(mltfr_file *f)
{
    hid_t id = f->id;

    if (id < 0)
        return MLTFR_OK;
    f->id = -1;
    errno = 0;
    /* Of several ranks each syncs what it wrote: they may be on different machines. */
    if ((f->comm->size > 1 && H5Fflush(id, H5F_SCOPE_GLOBAL) < 0) || H5Fclose(id) < 0)
        return mltfr_fail(MLTFR_E_IO, "%s: writing failed%s%s", f->path, errno != 0 ? ": " : "",
                          errno != 0 ? strerror(errno) : "");
    return MLTFR_OK;
}

mltfr_status mltfr_file_close(mltfr_file **file)
{
    mltfr_status st = mltfr_comm_agree((*file)->comm, mltfr_file_shut(*file));

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
    mltfr_later_destroy(&f->later);
    mltfr_written_free(&f->written);
    MLTFR_FREE(f->path);
    MLTFR_FREE(*file);
}

const char *mltfr_file_path(const mltfr_file *file)
{
    return file->path;
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
