/* Products in float of the shapes of a training step: this program's kernels beside OpenBLAS's, and
 * the largest difference of the two.
 *      cmake --build build --target bench_gemm && OPENBLAS_NUM_THREADS=1 build/tests/bench_gemm */
#include <mltfr/linalg.h>
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/versions.h>

#include <cblas.h>
#include <math.h>
#include <stdio.h>

typedef void product(int64_t, int64_t, int64_t, const float *, int64_t, const float *, int64_t,
                     float, float *, int64_t);

/* C[m][n] = A B with k terms; turned: 't' at the factor that is stored transposed. */
typedef struct {
    const char *name, *turned;
    int64_t m, n, k;
} shape;

static const shape shapes[] = {
    {"peak", "nn", 2048, 2048, 2048}, {"logits", "nn", 192, 176, 64},
    {"dE", "nn", 192, 64, 171},       {"dh", "tn", 171, 64, 192},
    {"W x", "nt", 171, 64, 64},       {"W1 x", "nt", 171, 256, 64},
    {"W2 x", "nt", 171, 64, 256},     {"dW1", "tn", 256, 64, 171},
    {"dW2", "tn", 64, 256, 171},      {"filter", "nt", 128, 2048, 64},
    {"level A", "nt", 256, 1024, 64}, {"keys", "nt", 2048, 64, 256},
    {"dW_q", "tn", 64, 256, 2048},    {"dW_v", "tn", 256, 64, 2048},
    {"odd", "nt", 37, 19, 45},
};

typedef struct {
    const shape *s;
    float *A, *B, *own, *blas;
    int64_t lda, ldb;
} room;

static void by_kernels(const room *r)
{
    product *multiply = r->s->turned[0] == 't'   ? mltfr_gemm_tn
                        : r->s->turned[1] == 't' ? mltfr_gemm_nt
                                                 : mltfr_gemm_nn;

    multiply(r->s->m, r->s->n, r->s->k, r->A, r->lda, r->B, r->ldb, 0.f, r->own, r->s->n);
}

static void by_blas(const room *r)
{
    cblas_sgemm(CblasRowMajor, r->s->turned[0] == 't' ? CblasTrans : CblasNoTrans,
                r->s->turned[1] == 't' ? CblasTrans : CblasNoTrans, (int)r->s->m, (int)r->s->n,
                (int)r->s->k, 1.f, r->A, (int)r->lda, r->B, (int)r->ldb, 0.f, r->blas,
                (int)r->s->n);
}

/* GF/s, the best of five times about 3 ms. */
static double rate(void (*run)(const room *), const room *r)
{
    const double flop = 2. * (double)(r->s->m * r->s->n * r->s->k);
    const int count = 1 + (int)(5e8 / flop);
    double best = 1e9;

    for (int i = 0; i < 5; i++) {
        const double start = mltfr_seconds();

        for (int c = 0; c < count; c++)
            run(r);
        best = fmin(best, (mltfr_seconds() - start) / count);
    }
    return 1e-9 * flop / best;
}

static mltfr_status bench(const shape *s)
{
    mltfr_status st = MLTFR_OK;
    room r = {.s = s, .lda = s->turned[0] == 't' ? s->m : s->k};
    double worst = 0.;

    r.ldb = s->turned[1] == 't' ? s->k : s->n;
    MLTFR_TRY(MLTFR_NEW(r.A, s->m * s->k));
    MLTFR_TRY(MLTFR_NEW(r.B, s->n * s->k));
    MLTFR_TRY(MLTFR_NEW(r.own, s->m * s->n));
    MLTFR_TRY(MLTFR_NEW(r.blas, s->m * s->n));
    for (int64_t i = 0; i < s->m * s->k; i++)
        r.A[i] = (float)mltfr_rng_normal(1, (uint64_t)i);
    for (int64_t i = 0; i < s->n * s->k; i++)
        r.B[i] = (float)mltfr_rng_normal(2, (uint64_t)i);
    const double own = rate(by_kernels, &r), blas = rate(by_blas, &r);

    for (int64_t i = 0; i < s->m * s->n; i++)
        worst = fmax(worst, fabs((double)r.own[i] - r.blas[i]));
    printf("%-8s %s %5d %5d %5d  own %6.1f  OpenBLAS %6.1f GF/s  differ by %.1e\n", s->name,
           s->turned, (int)s->m, (int)s->n, (int)s->k, own, blas, worst);
done:
    MLTFR_FREE(r.A);
    MLTFR_FREE(r.B);
    MLTFR_FREE(r.own);
    MLTFR_FREE(r.blas);
    return st;
}

int main(void)
{
    mltfr_status st = MLTFR_OK;

    mltfr_blas_setup();
    printf("OpenBLAS kernel %s\n", mltfr_blas_kernel());
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        MLTFR_TRY(bench(&shapes[i]));
done:
    return mltfr_status_exit(st);
}
