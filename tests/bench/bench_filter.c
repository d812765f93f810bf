/* Rows a second of the token filter (E12, E13), and where its time goes.  Built by hand:
 *   cc -std=c11 -O2 -D_GNU_SOURCE -Iinclude tests/bench/bench_filter.c BUILD/libmltfr_model.a \
 *      BUILD/libmltfr_num.a BUILD/libmltfr_base.a -lopenblas -lm -o bench_filter
 *   OPENBLAS_NUM_THREADS=1 ./bench_filter [d M m rows] */
#include <mltfr/filter.h>
#include <mltfr/linalg.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BLOCKS = 8 };

typedef struct {
    mltfr_filter filter;
    int64_t n;
    float *Kt, *Vt, *q, *dy, *y, *dq, *s, *a, *sums, *scratch;
    int64_t *rows, *uses;
    int32_t *J;
} bench;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void scores(bench *b)
{
    const mltfr_filter *f = &b->filter;

    for (int64_t i = 0; i < b->n; i += MLTFR_FILTER_ROWS)
        mltfr_gemm_nt(MLTFR_FILTER_ROWS, f->M, f->d, b->q + i * f->d, f->d, f->Kt, f->d, 0,
                      b->scratch, f->M);
}

static void tops(bench *b)
{
    const mltfr_filter *f = &b->filter;

    for (int64_t i = 0; i < b->n; i++)
        mltfr_top_m(f->M, f->m, b->scratch + i % MLTFR_FILTER_ROWS * f->M, b->J + i * f->m,
                    b->s + i * f->m);
}

static void mix(bench *b)
{
    const mltfr_filter *f = &b->filter;

    mltfr_filter_mix(b->n, f->m, b->J, b->a, f->Vt, f->d, f->d, b->y);
}

static void forward(bench *b)
{
    mltfr_filter_forward(&b->filter, b->n, b->q, b->rows, b->scratch, b->J, b->s, b->a, b->y);
}

/* Blocks as large as those of a step. */
static mltfr_filter_rows rows_of(const bench *b, int64_t at[BLOCKS], int64_t count[BLOCKS])
{
    for (int64_t i = 0; i < BLOCKS; i++) {
        at[i] = b->n * i / BLOCKS;
        count[i] = b->n * (i + 1) / BLOCKS - at[i];
    }
    return (mltfr_filter_rows){BLOCKS, at, count, b->q, b->dy, b->rows, b->J, b->s, b->a};
}

static void rows(bench *b)
{
    int64_t at[BLOCKS], count[BLOCKS];
    const mltfr_filter_rows rows = rows_of(b, at, count);

    mltfr_filter_backward(&b->filter, &rows, b->uses, NULL);
}

static void rows_query(bench *b)
{
    int64_t at[BLOCKS], count[BLOCKS];
    const mltfr_filter_rows rows = rows_of(b, at, count);

    mltfr_filter_backward(&b->filter, &rows, b->uses, b->dq);
}

static void tokens(bench *b)
{
    int64_t at[BLOCKS], count[BLOCKS];
    const mltfr_filter_rows rows = rows_of(b, at, count);

    mltfr_filter_sum(&b->filter, &rows, b->uses, (mltfr_span){0, BLOCKS}, true, b->sums);
}

/* The best of several repetitions, in microseconds a row. */
static void report(const char *what, void (*run)(bench *), bench *b)
{
    double best = 1e30;

    for (int i = 0; i < 15; i++) {
        double start = now();

        run(b);
        double t = now() - start;

        best = t < best ? t : best;
    }
    printf("%-22s %8.3f us/row %12.0f rows/s\n", what, 1e6 * best / (double)b->n,
           (double)b->n / best);
}

static mltfr_status normal(int64_t n, uint64_t key, float **out)
{
    mltfr_status st = mltfr_alloc(out, (size_t)n, sizeof **out);

    for (int64_t i = 0; st == MLTFR_OK && i < n; i++)
        (*out)[i] = (float)mltfr_rng_normal(key, (uint64_t)i);
    return st;
}

static mltfr_status set_up(bench *b, int64_t d, int64_t M, int64_t m, int64_t n)
{
    mltfr_status st = MLTFR_OK;

    b->n = n;
    MLTFR_TRY(normal(M * d, 1, &b->Kt));
    MLTFR_TRY(normal(M * d, 2, &b->Vt));
    MLTFR_TRY(normal(n * d, 3, &b->q));
    MLTFR_TRY(normal(n * d, 4, &b->dy));
    b->filter = (mltfr_filter){d, M, m, b->Kt, b->Vt, .1f, .1f, 7};
    MLTFR_TRY(MLTFR_NEW(b->y, n * d));
    MLTFR_TRY(MLTFR_NEW(b->dq, n * d));
    MLTFR_TRY(MLTFR_NEW(b->s, n * m));
    MLTFR_TRY(MLTFR_NEW(b->a, n * m));
    MLTFR_TRY(MLTFR_NEW(b->J, n * m));
    MLTFR_TRY(MLTFR_NEW(b->rows, n));
    MLTFR_TRY(MLTFR_NEW(b->sums, 2 * M * d + 1));
    MLTFR_TRY(MLTFR_NEW(b->uses, mltfr_filter_backward_scratch(&b->filter, BLOCKS, n)));
    MLTFR_TRY(MLTFR_NEW(b->scratch, mltfr_filter_scratch(&b->filter)));
    for (int64_t i = 0; i < n; i++)
        b->rows[i] = 3 * i;
done:
    return st;
}

int main(int argc, char **argv)
{
    bench b = {.n = 0};
    int64_t size[4] = {64, 2048, 32, 2560};

    for (int i = 1; i < argc && i < 5; i++)
        size[i - 1] = atoll(argv[i]);
    size[3] -= size[3] % MLTFR_FILTER_ROWS;
    if (set_up(&b, size[0], size[1], size[2], size[3]) != MLTFR_OK)
        return 1;
    report("forward", forward, &b);
    report("  scores (GEMM)", scores, &b);
    report("  top-m", tops, &b);
    report("  mix", mix, &b);
    report("backward, rows with dq", rows_query, &b);
    report("  rows", rows, &b);
    report("  tokens", tokens, &b);
    return 0;
}
