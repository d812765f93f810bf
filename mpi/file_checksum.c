/* Checksums of arrays.  HDF5 guards its own structures but not the numbers, so each array carries
 * the sum over its elements of hashes of (number of the element, its bits).  A sum needs no order
 * and no blocks: any number of ranks makes it, and any other number checks it. */
#include "file_impl.h"

#include <mltfr/kernel.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include <string.h>

enum { ELEMENTS_A_READ = 1 << 20 };

MLTFR_INLINE uint64_t hash(uint64_t i, uint64_t bits)
{
    return mltfr_mix64(bits + (i + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

MLTFR_KERNEL
static uint64_t sum_1(uint64_t first, int64_t n, const uint8_t *x)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += hash(first + (uint64_t)i, x[i]);
    return sum;
}

MLTFR_KERNEL
static uint64_t sum_4(uint64_t first, int64_t n, const uint8_t *x)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, x + 4 * i, sizeof bits);
        sum += hash(first + (uint64_t)i, bits);
    }
    return sum;
}

MLTFR_KERNEL
static uint64_t sum_8(uint64_t first, int64_t n, const uint8_t *x)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < n; i++) {
        uint64_t bits;

        memcpy(&bits, x + 8 * i, sizeof bits);
        sum += hash(first + (uint64_t)i, bits);
    }
    return sum;
}

uint64_t mltfr_checksum(mltfr_dtype type, int64_t first, int64_t n, const void *data)
{
    switch (mltfr_dtype_bytes(type)) {
    case 8:
        return sum_8((uint64_t)first, n, data);
    case 4:
        return sum_4((uint64_t)first, n, data);
    default:
        return sum_1((uint64_t)first, n, data);
    }
}

uint64_t mltfr_checksum_all(mltfr_comm *comm, uint64_t mine)
{
    MLTFR_MPI(MPI_Allreduce(MPI_IN_PLACE, &mine, 1, MPI_UINT64_T, MPI_SUM, comm->mpi));
    return mine;
}

typedef struct {
    mltfr_file *file;
    int64_t arrays;
} check;

/* The sum of what the file holds now: each rank its share, some rows at a time. */
static mltfr_status sum_array(mltfr_file *f, const char *name, const mltfr_shape *shape,
                              uint64_t *out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t row = mltfr_shape_row(shape), rows = shape->ndim == 0 ? 1 : shape->dims[0];
    const int64_t step = row < ELEMENTS_A_READ ? ELEMENTS_A_READ / (row > 0 ? row : 1) : 1;
    const int64_t first = mltfr_share_first(rows, f->comm->size, f->comm->rank);
    const int64_t last = mltfr_share_first(rows, f->comm->size, f->comm->rank + 1);
    const int64_t most = (rows + f->comm->size - 1) / f->comm->size; /* of any rank */
    uint64_t sum = 0;
    void *data = NULL;

    MLTFR_AGREE(f->comm, mltfr_alloc(&data, (size_t)((step < rows ? step : rows) * row),
                                     (size_t)mltfr_dtype_bytes(shape->type)));
    for (int64_t done = 0; done < most; done += step) {
        const int64_t at = first + done < last ? first + done : last;
        const int64_t n = last - at < step ? last - at : step;
        MLTFR_TRY(mltfr_file_read(f, name, shape->type, at, n, data));
        sum += mltfr_checksum(shape->type, at * row, n * row, data);
    }
    *out = mltfr_checksum_all(f->comm, sum);
done:
    MLTFR_FREE(data);
    return st;
}

static mltfr_status check_array(void *context, const char *name, const mltfr_shape *shape)
{
    check *x = context;
    mltfr_status st = MLTFR_OK;
    int64_t written;
    uint64_t sum;

    x->arrays++;
    MLTFR_TRY(mltfr_file_get_i64(x->file, name, MLTFR_CHECKSUM, &written));
    MLTFR_TRY(sum_array(x->file, name, shape, &sum));
    if (sum != (uint64_t)written)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: array '%s' is damaged: it does not have its checksum",
                   mltfr_file_path(x->file), name);
done:
    return st;
}

mltfr_status mltfr_file_verify(mltfr_file *file, int64_t *arrays)
{
    check x = {file, 0};
    const mltfr_status st = mltfr_comm_agree(file->comm, mltfr_file_visit(file, check_array, &x));

    *arrays = x.arrays;
    return st;
}
