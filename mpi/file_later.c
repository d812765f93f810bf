/* Arrays that are filled while the program goes on.  Neither MPI nor HDF5 has to work in a second
 * thread: the arrays exist already, HDF5 says where they lie, and what is left is to copy the rows
 * of this rank, to sum them and to write them at their place.
 *
 *      main thread    reserve, fill: note the rows | copy all of them | ...train... | seal
 *      background                                                     sum, pwrite, fsync  */
#include "file_impl.h"

#include <mltfr/background.h>
#include <mltfr/mem.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Rows of one array. */
typedef struct {
    mltfr_sums *sums;
    int64_t at; /* of row 0 in the file */
    int64_t first, rows;
    const char *data; /* the caller's, then the copy */
} piece;

struct mltfr_later {
    int fd, code; /* code: errno of what failed in the background */
    piece *pieces;
    int64_t count, bytes;
    mltfr_background task;
};

mltfr_status mltfr_later_create(mltfr_later **out)
{
    const mltfr_status st = MLTFR_NEW(*out, 1);

    if (st == MLTFR_OK)
        (*out)->fd = -1;
    return st;
}

void mltfr_later_destroy(mltfr_later **later)
{
    mltfr_later *l = *later;

    if (l == NULL)
        return;
    mltfr_background_wait(&l->task);
    if (l->fd >= 0)
        close(l->fd);
    MLTFR_FREE(l->pieces);
    MLTFR_FREE(*later);
}

/* Room for one piece more: doubled when it is full. */
static mltfr_status grow(mltfr_later *l)
{
    mltfr_status st = MLTFR_OK;
    piece *larger = NULL;

    if (l->count > 0 && (l->count & (l->count - 1)) != 0)
        return MLTFR_OK;
    MLTFR_TRY(MLTFR_NEW(larger, l->count == 0 ? 1 : 2 * l->count));
    if (l->count > 0)
        memcpy(larger, l->pieces, (size_t)l->count * sizeof *larger);
    MLTFR_FREE(l->pieces);
    l->pieces = larger;
done:
    return st;
}

mltfr_status mltfr_later_note(mltfr_later *l, hid_t set, mltfr_sums *sums, int64_t first,
                              int64_t rows, const void *data)
{
    mltfr_status st = MLTFR_OK;

    if (rows * sums->row_bytes == 0)
        goto done;
    MLTFR_TRY(grow(l));
    l->pieces[l->count++] = (piece){sums, (int64_t)H5Dget_offset(set), first, rows, data};
    l->bytes += rows * sums->row_bytes;
done:
    return st;
}

/* ---- the copy ------------------------------------------------------------------------------ */

/* Bytes of memory that can be had without swapping; as good as endless where nobody tells. */
static int64_t free_memory(void)
{
    char line[256];
    long long kib = INT64_MAX / 1024;
    FILE *from = fopen("/proc/meminfo", "r");

    while (from != NULL && fgets(line, sizeof line, from) != NULL)
        if (sscanf(line, "MemAvailable: %lld", &kib) == 1)
            break;
    if (from != NULL)
        fclose(from);
    return (int64_t)kib * 1024;
}

/* What the ranks of this machine ask for together. */
static int64_t sum_on_node(mltfr_comm *comm, int64_t bytes)
{
    MPI_Comm node;

    MLTFR_MPI(
        MPI_Comm_split_type(comm->mpi, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &node));
    MLTFR_MPI(MPI_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_INT64_T, MPI_SUM, node));
    MLTFR_MPI(MPI_Comm_free(&node));
    return bytes;
}

static mltfr_status take_copy(mltfr_later *l, int64_t missing, mltfr_room *copy)
{
    mltfr_status st = MLTFR_OK;
    const int64_t has = free_memory();
    char *to;

    if (missing > has)
        MLTFR_FAIL(MLTFR_E_NOMEM, "out of memory: a copy of %lld MiB, %lld MiB are free",
                   (long long)missing >> 20, (long long)has >> 20);
    MLTFR_TRY(MLTFR_TAKE(copy, to, l->bytes));
    for (int64_t i = 0; i < l->count; i++) {
        piece *p = &l->pieces[i];
        const int64_t n = p->rows * p->sums->row_bytes;

        memcpy(to, p->data, (size_t)n);
        p->data = to;
        to += n;
    }
done:
    return st;
}

/* ---- the background ------------------------------------------------------------------------ */

static int write_at(int fd, const char *data, int64_t bytes, int64_t at)
{
    while (bytes > 0) {
        const ssize_t n = pwrite(fd, data, (size_t)bytes, at);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            data += n;
            at += n;
            bytes -= n;
        }
    }
    return 0;
}

/* A block at a time, so that it is still in the cache when it is written. */
static int write_piece(int fd, const piece *p)
{
    const int64_t R = p->sums->block_rows, row = p->sums->row_bytes, end = p->first + p->rows;
    const char *data = p->data;
    int code = 0;

    for (int64_t i = p->first; i < end && code == 0;) {
        const int64_t next = (i / R + 1) * R < end ? (i / R + 1) * R : end;

        mltfr_sums_add(p->sums, i, next - i, data);
        code = write_at(fd, data, (next - i) * row, p->at + i * row);
        data += (next - i) * row;
        i = next;
    }
    return code;
}

static void write_all(void *context)
{
    mltfr_later *l = context;

    for (int64_t i = 0; i < l->count && l->code == 0; i++)
        l->code = write_piece(l->fd, &l->pieces[i]);
    if (l->code == 0 && fsync(l->fd) != 0)
        l->code = errno;
}

static mltfr_status open_raw(mltfr_file *f)
{
    f->later->fd = open(f->path, O_WRONLY);
    return f->later->fd >= 0 ? MLTFR_OK
                             : mltfr_fail(MLTFR_E_IO, "%s: %s", f->path, strerror(errno));
}

mltfr_status mltfr_file_start(mltfr_file *file, mltfr_room *copy)
{
    mltfr_status st = MLTFR_OK;
    mltfr_later *l = file->later;

    if (copy != NULL) {
        const int64_t missing =
            sum_on_node(file->comm, (size_t)l->bytes > copy->bytes ? l->bytes : 0);
        MLTFR_AGREE(file->comm, take_copy(l, missing, copy));
    }
    MLTFR_AGREE(file->comm, mltfr_file_shut(file));
    MLTFR_AGREE(file->comm, open_raw(file));
    if (copy != NULL)
        mltfr_background_start(&l->task, write_all, l);
    else
        write_all(l);
done:
    return st;
}

bool mltfr_file_written(mltfr_file *file)
{
    int64_t busy = file->later != NULL && !mltfr_background_done(&file->later->task);

    mltfr_comm_max_i64(file->comm, &busy, 1);
    return busy == 0;
}

mltfr_status mltfr_later_wait(mltfr_file *f)
{
    mltfr_later *l = f->later;

    mltfr_background_wait(&l->task);
    return l->code == 0 ? MLTFR_OK : mltfr_fail(MLTFR_E_IO, "%s: %s", f->path, strerror(l->code));
}
