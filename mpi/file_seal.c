/* The seal of a finished file lies behind the end of the HDF5 file:
 *
 *      0                                 size
 *      | HDF5 ... array ... array ... |  at, bytes of each array | the end: 32 bytes |
 *
 * and has the checksum of all that is in no array, of that list, and of the end itself.  It is
 * looked at before HDF5 opens the file: some versions crash on damaged structures.  The arrays,
 * whose checksums are among what it covers, are looked at where they are read: no byte is read
 * twice. */
#include "file_impl.h"

#include <mltfr/crc.h>
#include <mltfr/mem.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 16 };

static const uint64_t magic = UINT64_C(0x326c6165736d746c); /* "ltmseal2" */

typedef struct {
    int64_t at, bytes;
} extent;

typedef struct {
    int64_t size, arrays;
    uint32_t crc, zero; /* crc counts in what is before it */
    uint64_t magic;
} seal_end;

/* A file while its seal is made or looked at. */
typedef struct {
    const char *path;
    int fd;
    extent *extents; /* [end.arrays] by place */
    seal_end end;
} seal;

static void seal_close(seal *s)
{
    if (s->fd >= 0)
        close(s->fd);
    MLTFR_FREE(s->extents);
}

static mltfr_status io_failed(const seal *s)
{
    return mltfr_fail(MLTFR_E_IO, "%s: %s", s->path, strerror(errno));
}

static mltfr_status no_seal(const seal *s)
{
    return mltfr_fail(MLTFR_E_DATA,
                      "%s: damaged, cut short or foreign: it has no checksum at its end", s->path);
}

/* Read exactly so many bytes. */
static mltfr_status read_at(const seal *s, int64_t at, int64_t bytes, void *out)
{
    for (int64_t done = 0; done < bytes;) {
        const ssize_t n = pread(s->fd, (char *)out + done, (size_t)(bytes - done), at + done);
        if (n < 0 && errno != EINTR)
            return io_failed(s);
        if (n == 0)
            return mltfr_fail(MLTFR_E_IO, "%s: it ends at byte %lld", s->path,
                              (long long)(at + done));
        done += n > 0 ? n : 0;
    }
    return MLTFR_OK;
}

static mltfr_status sum_bytes(const seal *s, int64_t at, int64_t end, uint32_t *crc)
{
    mltfr_status st = MLTFR_OK;
    char buffer[BUFFER];

    while (at < end) {
        const int64_t n = end - at < BUFFER ? end - at : BUFFER;
        MLTFR_TRY(read_at(s, at, n, buffer));
        *crc = mltfr_crc(*crc, buffer, n);
        at += n;
    }
done:
    return st;
}

/* The sum of all that is in no array, and of the seal up to the sum itself. */
static mltfr_status sum_others(const seal *s, uint32_t *out)
{
    mltfr_status st = MLTFR_OK;
    int64_t at = 0;
    uint32_t crc = 0;

    for (int64_t i = 0; i < s->end.arrays; i++) {
        const extent *x = &s->extents[i];
        if (x->at < at || x->bytes < 0 || x->bytes > s->end.size - x->at)
            MLTFR_TRY(no_seal(s));
        MLTFR_TRY(sum_bytes(s, at, x->at, &crc));
        at = x->at + x->bytes;
    }
    MLTFR_TRY(sum_bytes(s, at, s->end.size, &crc));
    crc = mltfr_crc(crc, s->extents, s->end.arrays * (int64_t)sizeof *s->extents);
    *out = mltfr_crc(crc, &s->end, offsetof(seal_end, crc));
done:
    return st;
}

/* ---- sealing ------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const extent *x = a, *y = b;

    return (x->at > y->at) - (x->at < y->at);
}

/* Is this an array with checksums, and bytes?  Then where they are. */
static bool find_extent(hid_t set, extent *out)
{
    const haddr_t at = H5Dget_offset(set);

    *out = (extent){(int64_t)at, (int64_t)H5Dget_storage_size(set)};
    return at != HADDR_UNDEF && out->bytes > 0 && H5Aexists(set, mltfr_sums_name) > 0;
}

typedef struct {
    seal *seal;
    mltfr_file *file;
} listing;

static mltfr_status list_array(void *context, const char *name, const mltfr_shape *shape)
{
    const listing *l = context;
    seal *s = l->seal;
    extent x;
    const hid_t set = H5Dopen2(l->file->id, name, H5P_DEFAULT);

    (void)shape;
    if (find_extent(set, &x)) {
        if (s->extents != NULL)
            s->extents[s->end.arrays] = x;
        s->end.arrays++;
    }
    H5Dclose(set);
    return MLTFR_OK;
}

static mltfr_status list_extents(mltfr_file *f, seal *s)
{
    mltfr_status st = MLTFR_OK;
    listing l = {s, f};

    MLTFR_TRY(mltfr_file_visit(f, list_array, &l));
    MLTFR_TRY(MLTFR_NEW(s->extents, s->end.arrays));
    s->end.arrays = 0;
    MLTFR_TRY(mltfr_file_visit(f, list_array, &l));
    qsort(s->extents, (size_t)s->end.arrays, sizeof *s->extents, by_place);
done:
    return st;
}

/* Open by this rank alone, whatever the file was opened by before. */
static mltfr_status open_again(mltfr_file *f)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);

    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    f->id = H5Fopen(f->path, H5F_ACC_RDWR, access);
    H5Pclose(access);
    return f->id >= 0 ? MLTFR_OK : mltfr_fail(MLTFR_E_IO, "%s: cannot be opened again", f->path);
}

static mltfr_status store_sums(mltfr_file *f)
{
    static const char what[] = "CRC32C of blocks of checksum_rows rows";
    mltfr_status st = MLTFR_OK;

    for (const mltfr_written *w = f->written; w != NULL && st == MLTFR_OK; w = w->next) {
        const hid_t set = H5Dopen2(f->id, w->name, H5P_DEFAULT);
        st = mltfr_sums_store(set, &w->sums);
        H5Dclose(set);
    }
    if (st == MLTFR_OK && H5Aexists_by_name(f->id, "/", mltfr_sums_name, H5P_DEFAULT) <= 0)
        st = mltfr_file_mark(f, mltfr_sums_name, what);
    return st;
}

/* Write the seal behind the end; the file is on the disk when this returns. */
static mltfr_status append(seal *s)
{
    const int64_t bytes = s->end.arrays * (int64_t)sizeof *s->extents;
    mltfr_status st = MLTFR_OK;
    struct stat file;

    s->fd = open(s->path, O_RDWR);
    if (s->fd < 0 || fstat(s->fd, &file) != 0)
        MLTFR_TRY(io_failed(s));
    s->end.size = file.st_size;
    s->end.magic = magic;
    MLTFR_TRY(sum_others(s, &s->end.crc));
    errno = ENOSPC; /* stays so where too little is written */
    if (pwrite(s->fd, s->extents, (size_t)bytes, s->end.size) != bytes ||
        pwrite(s->fd, &s->end, sizeof s->end, s->end.size + bytes) != (ssize_t)sizeof s->end ||
        fsync(s->fd) != 0)
        MLTFR_TRY(io_failed(s));
done:
    return st;
}

/* By rank 0, once all ranks have closed the file. */
static mltfr_status finish(mltfr_file *f)
{
    mltfr_status st = MLTFR_OK;
    seal s = {.path = f->path, .fd = -1};

    MLTFR_TRY(open_again(f));
    MLTFR_TRY(store_sums(f));
    MLTFR_TRY(list_extents(f, &s));
    MLTFR_TRY(mltfr_file_shut(f));
    MLTFR_TRY(append(&s));
done:
    seal_close(&s);
    return st;
}

/* Rank 0 gets what all ranks contribute to the sums. */
static mltfr_status combine(mltfr_file *f)
{
    mltfr_status st = MLTFR_OK;
    int64_t blocks = 0;
    uint32_t *all = NULL, *at;

    for (const mltfr_written *w = f->written; w != NULL; w = w->next)
        blocks += w->sums.blocks;
    MLTFR_AGREE(f->comm, MLTFR_NEW(all, blocks));
    at = all;
    for (const mltfr_written *w = f->written; w != NULL; at += w->sums.blocks, w = w->next)
        memcpy(at, w->sums.crc, (size_t)w->sums.blocks * sizeof *at);
    MLTFR_MPI(MPI_Allreduce(MPI_IN_PLACE, all, mltfr_count_to_int(blocks), MPI_UINT32_T, MPI_BXOR,
                            f->comm->mpi));
    at = all;
    for (const mltfr_written *w = f->written; w != NULL; at += w->sums.blocks, w = w->next)
        memcpy(w->sums.crc, at, (size_t)w->sums.blocks * sizeof *at);
done:
    MLTFR_FREE(all);
    return st;
}

mltfr_status mltfr_file_seal(mltfr_file **file)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *f = *file;

    if (f->later != NULL)
        MLTFR_AGREE(f->comm, mltfr_later_wait(f));
    MLTFR_TRY(combine(f));
    MLTFR_AGREE(f->comm, mltfr_file_shut(f));
    MLTFR_AGREE(f->comm, f->comm->rank == 0 ? finish(f) : MLTFR_OK);
done:
    mltfr_file_destroy(file);
    return st;
}

/* ---- checking ------------------------------------------------------------------------------ */

/* Find and believe the end: it must fit the size of the file. */
static mltfr_status read_end(seal *s, int64_t size, bool *found)
{
    mltfr_status st = MLTFR_OK;
    const int64_t fixed = sizeof s->end;

    *found = false;
    if (size < fixed)
        goto done;
    MLTFR_TRY(read_at(s, size - fixed, fixed, &s->end));
    *found = s->end.magic == magic && s->end.size >= 0 && s->end.arrays >= 0 &&
             s->end.arrays <= size / (int64_t)sizeof(extent) && s->end.size <= size &&
             s->end.size + s->end.arrays * (int64_t)sizeof(extent) + fixed == size;
done:
    return st;
}

static mltfr_status check(seal *s, bool needed, bool *sealed)
{
    mltfr_status st = MLTFR_OK;
    struct stat file;
    uint32_t crc;

    s->fd = open(s->path, O_RDONLY);
    if (s->fd < 0 || fstat(s->fd, &file) != 0)
        MLTFR_FAIL(errno == ENOENT ? MLTFR_E_DATA : MLTFR_E_IO, "%s: %s", s->path, strerror(errno));
    if (!S_ISREG(file.st_mode))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: not a file", s->path);
    MLTFR_TRY(read_end(s, file.st_size, sealed));
    if (!*sealed && needed)
        MLTFR_TRY(no_seal(s));
    if (!*sealed)
        goto done;
    MLTFR_TRY(MLTFR_NEW(s->extents, s->end.arrays));
    MLTFR_TRY(read_at(s, s->end.size, s->end.arrays * (int64_t)sizeof(extent), s->extents));
    MLTFR_TRY(sum_others(s, &crc));
    if (crc != s->end.crc || s->end.zero != 0)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: damaged outside its arrays: what describes them does not have its checksum",
                   s->path);
done:
    return st;
}

mltfr_status mltfr_seal_check(const char *path, bool needed, bool *sealed)
{
    seal s = {.path = path, .fd = -1};
    const mltfr_status st = check(&s, needed, sealed);

    seal_close(&s);
    return st;
}
