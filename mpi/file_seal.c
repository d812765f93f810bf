/* The seal of a finished file: a trailer of 24 bytes behind it, [magic | size | sum] with the size
 * and the checksum of everything before.  HDF5 does not look at what follows its own end.  A sealed
 * file is checked before HDF5 opens it: some versions crash on damaged structures, and none checks
 * the numbers.  The sum is one over words of hashes of (number of the word, its bits): it needs no
 * order, so each rank reads a share of the file, whoever wrote it. */
#include "comm_impl.h"

#include <mltfr/file.h>
#include <mltfr/kernel.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORDS_A_READ = 1 << 19 };

static const uint64_t magic = UINT64_C(0x6c61657372746c6d); /* "mltrseal" */

typedef struct {
    uint64_t magic;
    int64_t size;
    uint64_t sum;
} trailer;

MLTFR_KERNEL
static uint64_t sum_words(int64_t first, int64_t n, const uint64_t *x)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += mltfr_mix64(x[i] + (uint64_t)(first + i + 1) * UINT64_C(0x9e3779b97f4a7c15));
    return sum;
}

/* Read exactly so many bytes. */
static mltfr_status read_at(int fd, const char *path, int64_t at, int64_t bytes, void *out)
{
    for (int64_t done = 0; done < bytes;) {
        const ssize_t n = pread(fd, (char *)out + done, (size_t)(bytes - done), at + done);
        if (n == 0 || (n < 0 && errno != EINTR))
            return mltfr_fail(MLTFR_E_IO, "%s: byte %lld: %s", path, (long long)(at + done),
                              n == 0 ? "the file ends" : strerror(errno));
        done += n > 0 ? n : 0;
    }
    return MLTFR_OK;
}

/* Sum over this rank's share of the words of a file of `size` bytes; zeros fill the last one. */
static mltfr_status sum_share(const mltfr_comm *comm, const char *path, int64_t size, uint64_t *sum)
{
    mltfr_status st = MLTFR_OK;
    const int64_t words = (size + 7) / 8;
    const int64_t last = mltfr_share_first(words, comm->size, comm->rank + 1);
    const int fd = open(path, O_RDONLY);
    uint64_t *x = NULL;

    *sum = 0;
    if (fd < 0)
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    MLTFR_TRY(MLTFR_NEW(x, WORDS_A_READ));
    for (int64_t at = mltfr_share_first(words, comm->size, comm->rank); at < last;
         at += WORDS_A_READ) {
        const int64_t n = last - at < WORDS_A_READ ? last - at : WORDS_A_READ;
        const int64_t bytes = 8 * (at + n) < size ? 8 * n : size - 8 * at;
        x[n - 1] = 0;
        MLTFR_TRY(read_at(fd, path, 8 * at, bytes, x));
        *sum += sum_words(at, n, x);
    }
done:
    MLTFR_FREE(x);
    if (fd >= 0)
        close(fd);
    return st;
}

static mltfr_status sum_file(mltfr_comm *comm, const char *path, int64_t size, uint64_t *sum)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_AGREE(comm, sum_share(comm, path, size, sum));
    MLTFR_MPI(MPI_Allreduce(MPI_IN_PLACE, sum, 1, MPI_UINT64_T, MPI_SUM, comm->mpi));
done:
    return st;
}

static mltfr_status find_size(const char *path, int64_t *size)
{
    struct stat file;

    if (stat(path, &file) != 0)
        return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    *size = file.st_size;
    return MLTFR_OK;
}

/* Append the trailer; the file is on the disk when this returns. */
static mltfr_status append(const char *path, const trailer *seal)
{
    const int fd = open(path, O_WRONLY);
    int code = fd < 0 ? errno : 0;

    errno = 0; /* stays so where too little is written: the disk is full */
    if (code == 0 && pwrite(fd, seal, sizeof *seal, seal->size) != (ssize_t)sizeof *seal)
        code = errno != 0 ? errno : ENOSPC;
    if (code == 0 && fsync(fd) != 0)
        code = errno;
    if (fd >= 0)
        close(fd);
    return code == 0 ? MLTFR_OK : mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(code));
}

mltfr_status mltfr_file_seal(mltfr_comm *comm, const char *path)
{
    mltfr_status st = MLTFR_OK;
    trailer seal = {.magic = magic};

    MLTFR_AGREE(comm, comm->rank == 0 ? find_size(path, &seal.size) : MLTFR_OK);
    mltfr_comm_bcast(comm, &seal.size, sizeof seal.size, 0);
    MLTFR_TRY(sum_file(comm, path, seal.size, &seal.sum));
    MLTFR_AGREE(comm, comm->rank == 0 ? append(path, &seal) : MLTFR_OK);
done:
    return st;
}

static mltfr_status read_seal(const char *path, trailer *seal)
{
    mltfr_status st = MLTFR_OK;
    int64_t size = 0;
    const int fd = open(path, O_RDONLY);

    if (fd < 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %s", path, strerror(errno));
    MLTFR_TRY(find_size(path, &size));
    if (size >= (int64_t)sizeof *seal)
        MLTFR_TRY(read_at(fd, path, size - (int64_t)sizeof *seal, sizeof *seal, seal));
    if (seal->magic != magic || seal->size != size - (int64_t)sizeof *seal)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: damaged, cut short or foreign: its checksum is missing",
                   path);
done:
    if (fd >= 0)
        close(fd);
    return st;
}

mltfr_status mltfr_file_check(mltfr_comm *comm, const char *path)
{
    mltfr_status st = MLTFR_OK;
    trailer seal = {0};
    uint64_t sum;

    MLTFR_AGREE(comm, comm->rank == 0 ? read_seal(path, &seal) : MLTFR_OK);
    mltfr_comm_bcast(comm, &seal, sizeof seal, 0);
    MLTFR_TRY(sum_file(comm, path, seal.size, &sum));
    if (sum != seal.sum)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: damaged: the content does not have its checksum", path);
done:
    return st;
}
