/* Sealed files: the same checksums whoever wrote which rows, and any bit that is turned over, any
 * cut and any lost end is seen by whoever opens the file or reads the rows. */
#include "mpi_test.h"

#include <mltfr/crc.h>
#include <mltfr/file.h>
#include <mltfr/rng.h>

#include <hdf5.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 70000, COLS = 9, BYTES = 3001, PATH = 512, FLIPS = 60 };

static const mltfr_shape big = {MLTFR_F32, 2, {ROWS, COLS}}, text = {MLTFR_U8, 1, {BYTES}},
                         number = {MLTFR_F64, 0, {0}}, none = {MLTFR_I64, 2, {0, 5}};

static float *big_rows(int64_t first, int64_t rows)
{
    float *x;

    MUST(MLTFR_NEW(x, rows * COLS));
    for (int64_t i = 0; i < rows * COLS; i++)
        x[i] = (float)((first * COLS + i) % 1009);
    return x;
}

static void fill(mltfr_comm *comm, mltfr_file *file)
{
    const int size = mltfr_comm_size(comm), me = mltfr_comm_rank(comm);
    const int64_t first = mltfr_share_first(ROWS, size, me);
    const int64_t rows = mltfr_share_first(ROWS, size, me + 1) - first;
    const double pi = 3.25;
    float *x = big_rows(first, rows);
    uint8_t bytes[BYTES];

    for (int i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * i);
    MUST(mltfr_file_write(file, "a/big", &big, first, rows, x));
    /* all of it by the last rank, in two pieces */
    const int64_t mine = me == size - 1;

    MUST(mltfr_file_reserve(file, "text", &text));
    MUST(mltfr_file_fill(file, "text", &text, 0, mine * 7, bytes));
    MUST(mltfr_file_fill(file, "text", &text, 7, mine * (BYTES - 7), bytes + 7));
    MUST(mltfr_file_write(file, "number", &number, 0, me == 0, &pi));
    MUST(mltfr_file_write(file, "none", &none, 0, 0, NULL));
    MUST(mltfr_file_set_text(file, "a", "kind", "planted"));
    MLTFR_FREE(x);
}

static void seal_one(mltfr_comm *comm, const char *path)
{
    mltfr_file *file;

    MUST(mltfr_file_create(comm, path, &file));
    fill(comm, file);
    MUST(mltfr_file_seal(&file));
    CHECK(file == NULL, "not set to NULL");
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Read all: rows of each rank that begin and end within blocks, and as another type. */
static mltfr_status read_all(mltfr_comm *comm, const char *path)
{
    const int size = mltfr_comm_size(comm), me = mltfr_comm_rank(comm);
    const int64_t first = mltfr_share_first(ROWS, size, me);
    const int64_t rows = mltfr_share_first(ROWS, size, me + 1) - first;
    mltfr_status st = MLTFR_OK;
    mltfr_file *file = NULL;
    uint8_t bytes[BYTES];
    double pi, ten[10 * COLS];
    float *x = NULL, *want = big_rows(first, rows);

    MUST(MLTFR_NEW(x, rows * COLS));
    MLTFR_TRY(mltfr_file_open_sealed(comm, path, &file));
    MLTFR_TRY(mltfr_file_read(file, "a/big", MLTFR_F32, first, rows, x));
    CHECK(memcmp(x, want, (size_t)(rows * COLS) * sizeof *x) == 0, "other numbers");
    MLTFR_TRY(mltfr_file_read(file, "a/big", MLTFR_F64, ROWS - 10, 10, ten));
    CHECK(ten[5] == (double)(((ROWS - 10) * COLS + 5) % 1009), "%g", ten[5]);
    MLTFR_TRY(mltfr_file_read(file, "text", MLTFR_U8, 0, BYTES, bytes));
    CHECK(bytes[77] == (uint8_t)(77 * 77), "%d", bytes[77]);
    MLTFR_TRY(mltfr_file_read(file, "number", MLTFR_F64, 0, 1, &pi));
    CHECK(pi == 3.25, "%g", pi);
    MLTFR_TRY(mltfr_file_read(file, "none", MLTFR_I64, 0, 0, NULL));
done:
    MLTFR_FREE(x);
    MLTFR_FREE(want);
    mltfr_file_destroy(&file);
    return st;
}

typedef struct {
    char name[64];
    int64_t first, last;
} damage;

static void note(void *context, const char *name, int64_t first, int64_t last)
{
    damage *d = context;

    snprintf(d->name, sizeof d->name, "%s", name);
    d->first = first;
    d->last = last;
}

static mltfr_verified verify(mltfr_comm *comm, const char *path, damage *d)
{
    mltfr_verified seen = {0};
    mltfr_file *file;

    MUST(mltfr_file_open(comm, path, &file));
    MUST(mltfr_file_verify(file, note, d, &seen));
    mltfr_file_destroy(&file);
    return seen;
}

/* ---- harm, by rank 0 ----------------------------------------------------------------------- */

static char *load(const char *path, int64_t *size)
{
    struct stat file;
    char *all;
    FILE *from = fopen(path, "rb");

    if (from == NULL || stat(path, &file) != 0)
        mltfr_panic("%s is not there", path);
    *size = file.st_size;
    MUST(mltfr_alloc(&all, (size_t)*size, 1));
    if (fread(all, 1, (size_t)*size, from) != (size_t)*size)
        mltfr_panic("%s cannot be read", path);
    fclose(from);
    return all;
}

static void save(mltfr_comm *comm, const char *path, const char *all, int64_t size)
{
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0) {
        FILE *to = fopen(path, "wb");
        fwrite(all, 1, (size_t)size, to);
        fclose(to);
    }
    mltfr_comm_barrier(comm);
}

static void test_flips(mltfr_comm *comm, const char *good, const char *bad)
{
    const uint64_t key = mltfr_rng_key(5, MLTFR_RNG_SYNTHETIC, 0);
    int64_t size;
    char *all = load(good, &size);

    for (int i = 0; i < 2 * FLIPS; i++) {
        /* half of them in the first and last pages, where little of the arrays is */
        uint64_t bit = mltfr_rng_below(key, (uint64_t)i, i < FLIPS ? (uint64_t)size * 8 : 65536);
        if (i % 4 == 3)
            bit = (uint64_t)size * 8 - 1 - bit % 32768;
        all[bit / 8] = (char)(all[bit / 8] ^ 1 << bit % 8);
        save(comm, bad, all, size);
        CHECK(read_all(comm, bad) == MLTFR_E_DATA, "bit %llu of %lld", (unsigned long long)bit,
              (long long)size * 8);
        all[bit / 8] = (char)(all[bit / 8] ^ 1 << bit % 8);
    }
    MLTFR_FREE(all);
}

/* Also cuts that leave HDF5's own part whole. */
static void test_cuts(mltfr_comm *comm, const char *good, const char *bad)
{
    int64_t size;
    char *all = load(good, &size);
    mltfr_file *file;

    for (int64_t cut = 1; cut < size; cut = cut * 3 + 1) {
        save(comm, bad, all, size - cut);
        CHECK(mltfr_file_open_sealed(comm, bad, &file) == MLTFR_E_DATA, "%lld less",
              (long long)cut);
        const mltfr_status st = mltfr_file_open(comm, bad, &file);
        CHECK(st != MLTFR_OK, "%lld less: opened as if it had never been sealed", (long long)cut);
    }
    save(comm, bad, all, 0);
    CHECK(mltfr_file_open_sealed(comm, bad, &file) == MLTFR_E_DATA, "an empty file");
    MLTFR_FREE(all);
}

/* The damage is named; only who reads the block is told of it. */
static void test_place(mltfr_comm *comm, const char *good, const char *bad)
{
    static const float row[] = {2 * COLS, 2 * COLS + 1, 2 * COLS + 2, 2 * COLS + 3};
    int64_t size, at = 0;
    char *all = load(good, &size);
    damage d = {0};
    float last[COLS];
    mltfr_file *file;

    while (at < size - 16 && memcmp(all + at, row, sizeof row) != 0)
        at++;
    all[at] ^= 64;
    save(comm, bad, all, size);
    const mltfr_verified seen = verify(comm, bad, &d);

    CHECK(seen.sealed && seen.arrays == 3 && seen.damaged == 1 && seen.blocks == 5,
          "%d arrays, %d of %d blocks", (int)seen.arrays, (int)seen.damaged, (int)seen.blocks);
    CHECK(strcmp(d.name, "a/big") == 0 && d.first == 0 && d.last > 2 && d.last < ROWS - 1,
          "%s %lld %lld", d.name, (long long)d.first, (long long)d.last);
    MUST(mltfr_file_open(comm, bad, &file));
    MUST(mltfr_file_read(file, "a/big", MLTFR_F32, ROWS - 1, 1, last));
    CHECK(mltfr_file_read(file, "a/big", MLTFR_F32, 9, 1, last) == MLTFR_E_DATA &&
              strstr(mltfr_error_text, "'a/big'") != NULL,
          "'%s'", mltfr_error_text);
    mltfr_file_destroy(&file);
    MLTFR_FREE(all);
}

/* ---- who wrote, and what comes later ------------------------------------------------------- */

/* The checksums of the blocks of an array. */
static int sums_of(const char *path, uint32_t sums[16])
{
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t set = H5Dopen2(file, "a/big", H5P_DEFAULT);
    const hid_t attr = H5Aopen(set, "checksums", H5P_DEFAULT), space = H5Aget_space(attr);
    const int n = (int)H5Sget_simple_extent_npoints(space);

    CHECK(n > 1 && n <= 16 && H5Aread(attr, H5T_NATIVE_UINT32, sums) >= 0, "%d blocks", n);
    H5Sclose(space);
    H5Aclose(attr);
    H5Dclose(set);
    H5Fclose(file);
    return n;
}

/* A group of one writes the same checksums as all ranks. */
static void test_any_ranks(mltfr_comm *comm, mltfr_comm *self, const char *good, const char *other)
{
    uint32_t all[16], one[16];

    if (self != NULL) {
        seal_one(self, other);
        const int n = sums_of(good, all);

        CHECK(sums_of(other, one) == n && memcmp(all, one, (size_t)n * sizeof *all) == 0,
              "other checksums on one rank");
    }
    mltfr_comm_barrier(comm);
}

static void test_append(mltfr_comm *comm, const char *path)
{
    const mltfr_shape one = {MLTFR_I32, 1, {1}};
    const int32_t five = 5;
    damage d = {0};
    mltfr_file *file;

    MUST(mltfr_file_append(comm, path, &file));
    MUST(mltfr_file_write(file, "one", &one, 0, mltfr_comm_rank(comm) == 0, &five));
    MUST(mltfr_file_seal(&file));
    MUST(read_all(comm, path));
    const mltfr_verified seen = verify(comm, path, &d);

    CHECK(seen.sealed && seen.arrays == 4 && seen.damaged == 0, "%d arrays", (int)seen.arrays);
    MUST(mltfr_file_append(comm, path, &file));
    MUST(mltfr_file_set_i64(file, "/", "more", 1));
    MUST(mltfr_file_close(&file));
    CHECK(mltfr_file_open(comm, path, &file) == MLTFR_E_DATA, "changed and not sealed again");
}

int main(int argc, char **argv)
{
    mltfr_comm *comm, *self;
    char good[PATH], bad[PATH];
    damage d = {0};

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    MUST(mltfr_comm_group(comm, 0, 0, &self));
    snprintf(good, sizeof good, "comm_seal.np%d.h5", mltfr_comm_size(comm));
    snprintf(bad, sizeof bad, "comm_seal.np%d.bad.h5", mltfr_comm_size(comm));
    seal_one(comm, good);
    MUST(read_all(comm, good));
    CHECK(verify(comm, good, &d).damaged == 0, "%s", d.name);
    test_any_ranks(comm, self, good, bad);
    test_flips(comm, good, bad);
    test_cuts(comm, good, bad);
    test_place(comm, good, bad);
    test_append(comm, good);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0) {
        unlink(good);
        unlink(bad);
    }
    mltfr_comm_destroy(&self);
    return mpi_test_end(&comm);
}
