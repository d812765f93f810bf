/* Two hundred damaged copies of a checkpoint, each the newest beside a whole one: every one is
 * recognised, none is used, and the whole one is.  On more than one rank, or with
 * sanitizers, of each kind the first, and every 16th.
 *
 *      train_damage DIR */
#include "checkpoint.h"
#include "mpi_test.h"
#include "planted_session.h"

#include <mltfr/log.h>
#include <mltfr/rng.h>

#include <hdf5.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 1024, STEPS = 6, COPIES = 200, SEED = 3 };

#ifdef __SANITIZE_ADDRESS__
enum { ALONE = 16 };
#else
enum { ALONE = 1 };
#endif

typedef struct {
    mltfr_session s;
    mltfr_comm *self; /* of rank 0 */
    char dir[PATH / 2], whole[PATH], bad[PATH], data[PATH];
    char *all; /* the bytes of the whole one */
    int64_t size;
} bench;

/* ---- files, by rank 0 ---------------------------------------------------------------------- */

static void save(const bench *b, int64_t size)
{
    FILE *to = fopen(b->bad, "wb");

    if (to == NULL || fwrite(b->all, 1, (size_t)size, to) != (size_t)size || fclose(to) != 0)
        mltfr_panic("%s cannot be written", b->bad);
}

static void load(bench *b, const char *path)
{
    struct stat file;
    FILE *from = fopen(path, "rb");

    if (from == NULL || stat(path, &file) != 0)
        mltfr_panic("%s is not there", path);
    b->size = file.st_size;
    MUST(mltfr_alloc(&b->all, (size_t)b->size, 1));
    if (fread(b->all, 1, (size_t)b->size, from) != (size_t)b->size)
        mltfr_panic("%s cannot be read", path);
    fclose(from);
}

/* ---- kinds of damage, by rank 0: a random number says where --------------------------------- */

static void flip(bench *b, uint64_t x)
{
    const int64_t at = (int64_t)(x / 8 % (uint64_t)b->size);

    b->all[at] = (char)(b->all[at] ^ 1 << x % 8);
    save(b, b->size);
    b->all[at] = (char)(b->all[at] ^ 1 << x % 8);
}

/* In the first page and the last: the structures of HDF5, and the seal. */
static void flip_edge(bench *b, uint64_t x)
{
    flip(b, x % 2 == 0 ? x % 32768 : (uint64_t)b->size * 8 - 1 - x % 32768);
}

static void cut(bench *b, uint64_t x)
{
    save(b, (int64_t)(x % (uint64_t)b->size));
}

static void cut_little(bench *b, uint64_t x)
{
    save(b, b->size - 1 - (int64_t)(x % 64));
}

static void empty(bench *b, uint64_t x)
{
    (void)x;
    save(b, 0);
}

/* A block of the disk that was never written. */
static void zeros(bench *b, uint64_t x)
{
    char kept[4096];
    const int64_t at = (int64_t)(x % (uint64_t)(b->size - 4096));
    int different = 0;

    memcpy(kept, b->all + at, sizeof kept);
    for (size_t i = 0; i < sizeof kept; i++)
        different += kept[i] != 0;
    memset(b->all + at, different > 0 ? 0 : 1, sizeof kept);
    save(b, b->size);
    memcpy(b->all + at, kept, sizeof kept);
}

static void longer(bench *b, uint64_t x)
{
    save(b, b->size);
    FILE *to = fopen(b->bad, "ab");

    for (uint64_t i = 0; i <= x % 100; i++)
        fputc((int)(x >> i % 32 & 255), to);
    fclose(to);
}

static void foreign_text(bench *b, uint64_t x)
{
    FILE *to = fopen(b->bad, "w");

    (void)b;
    for (uint64_t i = 0; i < x % 1000; i++)
        fputs("not a checkpoint\n", to);
    fclose(to);
}

/* Whole and sealed, but interactions and token spaces. */
static void foreign_hdf5(bench *b, uint64_t x)
{
    char *mine = b->all;
    const int64_t size = b->size;

    (void)x;
    load(b, b->data);
    save(b, b->size);
    MLTFR_FREE(b->all);
    b->all = mine;
    b->size = size;
}

/* Change the content by HDF5 and seal it again: what is wrong is not seen by a checksum. */
static void change(bench *b, void (*how)(hid_t file, uint64_t x), uint64_t x)
{
    mltfr_file *file;
    hid_t id;

    save(b, b->size);
    id = H5Fopen(b->bad, H5F_ACC_RDWR, H5P_DEFAULT);
    how(id, x);
    H5Fclose(id);
    /* the seal is off now: so that the file may be opened, so must be the sign of it */
    MUST(mltfr_file_append(b->self, b->bad, &file));
    MUST(mltfr_file_seal(&file));
}

static const char *array_of(uint64_t x)
{
    static const char *const names[] = {"params/item.weight",   "adam/v/item.weight",
                                        "adam/m/block0.ffn.w1", "state/fisher/num_A",
                                        "state/space/0/pool",   "state/router_bias"};

    return names[x % (sizeof names / sizeof *names)];
}

static void set_version(hid_t file, uint64_t x)
{
    const int64_t version = 3 + (int64_t)(x % 5);
    const hid_t attr = H5Aopen(file, "version", H5P_DEFAULT);

    H5Awrite(attr, H5T_NATIVE_INT64, &version);
    H5Aclose(attr);
    H5Adelete(file, "checksums");
}

static void remove_array(hid_t file, uint64_t x)
{
    H5Ldelete(file, array_of(x), H5P_DEFAULT);
    H5Adelete(file, "checksums");
}

static void remove_number(hid_t file, uint64_t x)
{
    static const char *const names[] = {"step", "best_ndcg@10", "config", "input_digest"};

    H5Adelete(file, names[x % 4]);
    H5Adelete(file, "checksums");
}

static void reshape_array(hid_t file, uint64_t x)
{
    const hsize_t dims[] = {7, 2 + x % 3};
    const hid_t space = H5Screate_simple(2, dims, NULL);

    remove_array(file, x);
    H5Dclose(H5Dcreate2(file, array_of(x), H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT,
                        H5P_DEFAULT));
    H5Sclose(space);
}

static void newer(bench *b, uint64_t x)
{
    change(b, set_version, x);
}

static void lacks_array(bench *b, uint64_t x)
{
    change(b, remove_array, x);
}

static void lacks_number(bench *b, uint64_t x)
{
    change(b, remove_number, x);
}

static void other_shape(bench *b, uint64_t x)
{
    change(b, reshape_array, x);
}

static const struct {
    const char *name;
    void (*make)(bench *b, uint64_t x);
    int copies;
    const char *said; /* in the message, where it is always the same */
} kinds[] = {
    {"a bit", flip, 70, "damaged"},
    {"a bit of the edge", flip_edge, 40, "damaged"},
    {"cut", cut, 30, "damaged"},
    {"cut by little", cut_little, 10, "damaged"},
    {"empty", empty, 1, "damaged"},
    {"a page of zeros", zeros, 15, "damaged"},
    {"longer", longer, 5, "damaged"},
    {"a text", foreign_text, 3, "damaged"},
    {"other HDF5", foreign_hdf5, 1, ""},
    {"newer", newer, 5, "newer than 2"},
    {"an array missing", lacks_array, 8, "there is no array"},
    {"a number missing", lacks_number, 4, "has no attribute"},
    {"another shape", other_shape, 8, "needed is"},
};

/* ---- the test ------------------------------------------------------------------------------ */

static mltfr_status use(void *context, const char *path)
{
    bench *b = context;
    mltfr_loop_state loop;

    return mltfr_checkpoint_read(b->s.engine, &loop, NULL, b->s.digest, path);
}

static void try_one(bench *b, size_t kind, uint64_t x)
{
    char path[PATH];

    if (mltfr_comm_rank(b->s.comm) == 0)
        kinds[kind].make(b, x);
    mltfr_comm_barrier(b->s.comm);
    const mltfr_status st = use(b, b->bad);

    CHECK(st == MLTFR_E_DATA && strstr(mltfr_error_text, b->bad) != NULL &&
              strstr(mltfr_error_text, kinds[kind].said) != NULL,
          "%s (%llu): status %d, '%s'", kinds[kind].name, (unsigned long long)x, (int)st,
          mltfr_error_text);
    CHECK(mltfr_checkpoint_newest(b->s.comm, b->dir, use, b, path, sizeof path) == MLTFR_OK &&
              strcmp(path, b->whole) == 0,
          "%s (%llu): '%s' is used", kinds[kind].name, (unsigned long long)x, path);
    mltfr_comm_barrier(b->s.comm);
}

static void make_whole(bench *b, const mltfr_settings *set)
{
    const mltfr_loop_state loop = {.best_ndcg = -1.};
    const bool first = mltfr_comm_rank(b->s.comm) == 0;
    char path[PATH];

    snprintf(path, sizeof path, "%.500s/checkpoints", b->dir);
    if (first)
        mkdir(path, 0777);
    mltfr_comm_barrier(b->s.comm);
    MUST(mltfr_session_open(b->s.comm, set, &b->s));
    planted_steps(&b->s, STEPS, NULL);
    mltfr_checkpoint_path(b->dir, STEPS, b->whole, sizeof b->whole);
    mltfr_checkpoint_path(b->dir, STEPS + 1, b->bad, sizeof b->bad);
    MUST(mltfr_checkpoint_write(b->s.engine, &loop, "a test", b->s.digest, b->whole));
    MUST(mltfr_checkpoint_check(b->s.comm, b->whole));
    if (first)
        load(b, b->whole);
}

int main(int argc, char **argv)
{
    const uint64_t key = mltfr_rng_key(SEED, MLTFR_RNG_SYNTHETIC, 0);
    planted p = planted_defaults();
    bench b = {0};
    int copies = 0;

    MUST(mltfr_comm_start(&argc, &argv, &b.s.comm));
    mltfr_comm *comm = b.s.comm;

    if (argc < 2)
        mltfr_panic("train_damage DIR");
    MUST(mltfr_comm_group(comm, 0, 0, &b.self));
    mltfr_log_setup(1, true); /* silent: warnings are what is asked for here */
    snprintf(b.dir, sizeof b.dir, "%s", argv[1]);
    snprintf(b.data, sizeof b.data, "%s/data.h5", b.dir);
    if (b.self != NULL)
        mkdir(b.dir, 0777);
    mltfr_comm_barrier(comm);
    planted_write(comm, b.data, &p);

    mltfr_settings set = planted_settings(b.data);

    set.run_dir = b.dir;
    make_whole(&b, &set);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        for (int i = 0; i < kinds[kind].copies; i++, copies++)
            if (i == 0 || copies % (mltfr_comm_size(comm) == 1 ? ALONE : 16) == 0)
                try_one(&b, kind, mltfr_rng_bits(key, (uint64_t)copies));
    CHECK(copies == COPIES, "%d copies", copies);
    MLTFR_FREE(b.all);
    mltfr_session_close(&b.s);
    mltfr_comm_destroy(&b.self);
    return mpi_test_end(&comm);
}
