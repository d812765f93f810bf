/* Bytes of file a second that a table is read at, for each stored type, when the file is cached.
 *   cmake --build BUILD --target bench.table && BUILD/tests/bench.table [MIB [FILE...]]
 * Tables of random blocks, 64 MiB each if not said, are made in $TMPDIR or /tmp; FILEs are read as
 * they are. */
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/table.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDTH = 1024, BLOCK = 256, REPETITIONS = 7 };

static const struct {
    const char *name;
    uint32_t number;
    int values, bytes, halves[2]; /* of a block; where its half-precision numbers are, -1: none */
} kinds[] = {
    {"F32", 0, 1, 4, {2, -1}},      {"F16", 1, 1, 2, {0, -1}},
    {"BF16", 30, 1, 2, {0, -1}},    {"F64", 28, 1, 8, {6, -1}},
    {"Q4_0", 2, 32, 18, {0, -1}},   {"Q4_1", 3, 32, 20, {0, 2}},
    {"Q5_0", 6, 32, 22, {0, -1}},   {"Q5_1", 7, 32, 24, {0, 2}},
    {"Q8_0", 8, 32, 34, {0, -1}},   {"Q4_K", 12, 256, 144, {0, 2}},
    {"Q5_K", 13, 256, 176, {0, 2}}, {"Q6_K", 14, 256, 210, {208, -1}},
};

static void fail(const char *what)
{
    fprintf(stderr, "bench_table: %s\n", what);
    exit(1);
}

static void put(FILE *f, const void *data, size_t bytes)
{
    if (fwrite(data, 1, bytes, f) != bytes)
        fail("the table could not be written");
}

static void put_int(FILE *f, uint64_t value, size_t bytes)
{
    put(f, &value, bytes);
}

/* Random bytes whose half-precision numbers are finite. */
static void random_row(uint8_t *row, size_t bytes, size_t k, uint64_t key)
{
    for (size_t i = 0; i < bytes; i++)
        row[i] = (uint8_t)mltfr_rng_bits(key, i);
    for (size_t at = 0; at < bytes; at += (size_t)kinds[k].bytes)
        for (int h = 0; h < 2; h++)
            if (kinds[k].halves[h] >= 0)
                row[at + (size_t)kinds[k].halves[h] + 1] &= 0xbf;
}

static void make_table(const char *path, size_t k, size_t mib)
{
    enum { DIFFERENT = 64 };
    size_t bytes = (size_t)(WIDTH / kinds[k].values * kinds[k].bytes);
    uint64_t rows = (mib << 20) / bytes;
    uint8_t *row = malloc(bytes * DIFFERENT);
    FILE *f = fopen(path, "wb");
    static const char name[] = "token_embd.weight";
    static const char zeros[32];

    if (f == NULL || row == NULL)
        fail("the table could not be made");
    for (uint64_t i = 0; i < DIFFERENT; i++)
        random_row(row + i * bytes, bytes, k, mltfr_rng_key(i, MLTFR_RNG_SYNTHETIC, k));
    put(f, "GGUF\3\0\0\0", 8);
    put_int(f, 1, 8);
    put_int(f, 0, 8);
    put_int(f, sizeof name - 1, 8);
    put(f, name, sizeof name - 1);
    put_int(f, 2, 4);
    put_int(f, WIDTH, 8);
    put_int(f, rows, 8);
    put_int(f, kinds[k].number, 4);
    put_int(f, 0, 8);
    put(f, zeros, (32 - ftell(f) % 32) % 32);
    for (uint64_t i = 0; i < rows; i++)
        put(f, row + i % DIFFERENT * bytes, bytes);
    fclose(f);
    free(row);
}

/* All rows from a file that is opened anew: as a run does it. */
static double read_once(const char *path)
{
    mltfr_table *t;
    float *rows;
    double begin = mltfr_seconds();

    if (mltfr_table_open(path, NULL, &t) != MLTFR_OK)
        fail(mltfr_error_text);
    int64_t total = mltfr_table_rows(t);
    rows = malloc((size_t)(BLOCK * mltfr_table_width(t)) * sizeof *rows);
    for (int64_t i = 0; i < total; i += BLOCK)
        if (mltfr_table_read(t, i, i + BLOCK < total ? BLOCK : total - i, rows) != MLTFR_OK)
            fail(mltfr_error_text);
    free(rows);
    mltfr_table_close(&t);
    return mltfr_seconds() - begin;
}

static void report(const char *path)
{
    mltfr_table *t;
    double best = 1e30;
    size_t size = 0;
    FILE *f = fopen(path, "rb");

    if (f != NULL && fseek(f, 0, SEEK_END) == 0)
        size = (size_t)ftell(f);
    if (f != NULL)
        fclose(f);
    for (int i = 0; i < REPETITIONS; i++) {
        double seconds = read_once(path);

        best = seconds < best ? seconds : best;
    }
    if (mltfr_table_open(path, NULL, &t) != MLTFR_OK)
        fail(mltfr_error_text);
    double values = (double)mltfr_table_rows(t) * (double)mltfr_table_width(t);
    printf("%-6s %8.3f GB of file a second, %6.3f G values a second\n", mltfr_table_type(t),
           1e-9 * (double)size / best, 1e-9 * values / best);
    mltfr_table_close(&t);
}

int main(int argc, char *argv[])
{
    const char *folder = getenv("TMPDIR");
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
    char path[512];

    mltfr_log_setup(1, true);
    snprintf(path, sizeof path, "%s/mltfr_bench_table.%d.gguf", folder != NULL ? folder : "/tmp",
             (int)getpid());
    for (size_t k = 0; argc <= 2 && k < sizeof kinds / sizeof *kinds; k++) {
        make_table(path, k, mib);
        report(path);
    }
    if (argc <= 2)
        unlink(path);
    for (int i = 2; i < argc; i++)
        report(argv[i]);
    return 0;
}
