/* What a checkpoint costs against plain writing and reading of as many bytes, in one run, taking
 * turns; the first figure of each is dropped (the page cache is cold).
 *
 *      mpirun -np P bench_checkpoint DIR [MIB [ROUNDS]]
 *
 * write: mltfr_checkpoint_write, from the first byte to the synced directory, against each rank
 * writing its share of one file with pwrite and fsync.  read: mltfr_checkpoint_read, every block
 * against its checksum, against one process that reads the file in pieces of 1 MiB, as dd does. */
#include "checkpoint.h"

#include <mltfr/mem.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 1024, WIDTH = 256, MOST = 64, PIECE = 1 << 20 };

typedef struct {
    mltfr_comm *comm;
    mltfr_engine *e;
    char path[PATH], plain[PATH];
    int64_t bytes; /* of the file */
} bench;

static void must(mltfr_status st)
{
    if (st != MLTFR_OK)
        mltfr_panic("%s", mltfr_error_text);
}

static void check(bool good, const char *path)
{
    if (!good)
        mltfr_panic("%s: failed", path);
}

/* ---- plain --------------------------------------------------------------------------------- */

static void plain_write(bench *b)
{
    const mltfr_slab *s = &b->e->params->item;
    const int64_t n = s->n * (int64_t)sizeof *s->w, first = b->e->item_first * WIDTH * 4;
    const int64_t whole = b->e->spec.items * WIDTH * 4;
    const char *from[] = {(char *)s->w, (char *)s->m, (char *)s->v};
    const int fd = open(b->plain, O_CREAT | O_WRONLY, 0666);

    for (int64_t i = 0; i < 3; i++)
        for (int64_t at = 0; at < n; at += PIECE) {
            const size_t k = (size_t)(n - at < PIECE ? n - at : PIECE);
            check(pwrite(fd, from[i] + at, k, i * whole + first + at) == (ssize_t)k, b->plain);
        }
    check(fsync(fd) == 0 && close(fd) == 0, b->plain);
    mltfr_comm_barrier(b->comm);
}

static void plain_read(bench *b)
{
    static char piece[PIECE];
    const int fd = mltfr_comm_rank(b->comm) == 0 ? open(b->path, O_RDONLY) : -1;

    while (fd >= 0 && read(fd, piece, sizeof piece) > 0) {
    }
    if (fd >= 0)
        close(fd);
    mltfr_comm_barrier(b->comm);
}

/* ---- checkpoints --------------------------------------------------------------------------- */

static const mltfr_loop_state loop = {.best_ndcg = -1.};

static void checkpoint_write(bench *b)
{
    must(mltfr_checkpoint_write(b->e, &loop, "bench", 1, b->path));
}

static void checkpoint_read(bench *b)
{
    mltfr_loop_state ignored;

    must(mltfr_checkpoint_read(b->e, &ignored, NULL, 1, b->path));
    mltfr_comm_barrier(b->comm);
}

/* The same in the background, and nothing to do meanwhile: the time until training may go on. */
static mltfr_room copy;
static mltfr_saving saving;

static void checkpoint_begin(bench *b)
{
    const mltfr_saving_options options = {b->path, "bench", 1, &copy};

    must(mltfr_saving_begin(&saving, b->e, &loop, &options));
    mltfr_comm_barrier(b->comm);
}

static void checkpoint_end(bench *b)
{
    (void)b;
    must(mltfr_saving_end(&saving));
}

/* ---- timing -------------------------------------------------------------------------------- */

static double time_of(bench *b, void (*work)(bench *))
{
    mltfr_comm_barrier(b->comm);
    const double begin = mltfr_seconds();

    work(b);
    double seconds = mltfr_seconds() - begin;

    mltfr_comm_max_f64(b->comm, &seconds, 1);
    return seconds;
}

static int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, rising);
    return n % 2 == 1 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static void forget(const bench *b, const char *path)
{
    if (mltfr_comm_rank(b->comm) == 0)
        unlink(path);
    mltfr_comm_barrier(b->comm);
}

static void compare(bench *b, const char *what, void (*ours)(bench *), void (*plain)(bench *),
                    bool writes, int rounds)
{
    double a[MOST], p[MOST];

    for (int i = -1; i < rounds; i++) {
        const double seconds = time_of(b, plain);
        p[i < 0 ? 0 : i] = seconds;
        if (writes)
            forget(b, b->plain);
        a[i < 0 ? 0 : i] = time_of(b, ours);
        if (writes && i + 1 < rounds)
            forget(b, b->path);
    }
    const double mib = (double)b->bytes / 1048576., x = median(a, rounds), y = median(p, rounds);

    if (mltfr_comm_rank(b->comm) == 0)
        printf("%-6s %5.0f MiB  np %d  checkpoint %6.0f MiB/s (%.0f .. %.0f)  plain %6.0f MiB/s "
               "(%.0f .. %.0f)  ratio %.2f\n",
               what, mib, mltfr_comm_size(b->comm), mib / x, mib / a[rounds - 1], mib / a[0],
               mib / y, mib / p[rounds - 1], mib / p[0], y / x);
}

static void background(bench *b, int rounds)
{
    double a[MOST], p[MOST];

    for (int i = -1; i < rounds; i++) {
        a[i < 0 ? 0 : i] = time_of(b, checkpoint_begin);
        p[i < 0 ? 0 : i] = time_of(b, checkpoint_end);
        forget(b, b->path);
    }
    const double x = median(a, rounds), y = median(p, rounds);

    if (mltfr_comm_rank(b->comm) == 0)
        printf("async  training waits %.3f s, all is written %.3f s later\n", x, y);
}

static void make_engine(bench *b, const mltfr_settings *set, int64_t mib)
{
    const mltfr_params_spec spec = {
        .backbone = {.d = WIDTH, .layers = 1, .heads = 2, .max_len = 50, .ln_eps = 1e-5f},
        .items = mib * 1048576 / (12 * WIDTH)};

    must(mltfr_engine_create(b->comm, set, &spec, &b->e));
    must(mltfr_params_init(b->e->params, 1));
    for (int64_t i = 0; i < b->e->params->item.n; i++) {
        b->e->params->item.m[i] = (float)i;
        b->e->params->item.v[i] = (float)(i % 7);
    }
}

int main(int argc, char **argv)
{
    mltfr_settings set = mltfr_settings_defaults();
    bench b = {0};
    struct stat file;

    must(mltfr_comm_start(&argc, &argv, &b.comm));
    if (argc < 2)
        mltfr_panic("bench_checkpoint DIR [MIB [ROUNDS]]");
    const int64_t mib = argc > 2 ? atoll(argv[2]) : 1024;
    const int rounds = argc > 3 && atoi(argv[3]) < MOST ? atoi(argv[3]) : 5;

    set.model_experts = false;
    set.model_dim = WIDTH;
    set.model_blocks = 1;
    snprintf(b.path, sizeof b.path, "%s/bench.h5", argv[1]);
    snprintf(b.plain, sizeof b.plain, "%s/bench.plain", argv[1]);
    make_engine(&b, &set, mib);
    checkpoint_write(&b);
    b.bytes = stat(b.path, &file) == 0 ? file.st_size : 0;
    forget(&b, b.path);
    compare(&b, "write", checkpoint_write, plain_write, true, rounds);
    compare(&b, "read", checkpoint_read, plain_read, false, rounds);
    forget(&b, b.path);
    background(&b, rounds);
    mltfr_room_release(&copy);
    mltfr_engine_destroy(&b.e);
    mltfr_comm_finish(&b.comm);
    return 0;
}
