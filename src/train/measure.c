/* Small measurements by the program's own products and exchanges. */
#include "measure.h"

#include <mltfr/exchange.h>
#include <mltfr/linalg.h>
#include <mltfr/log.h>
#include <mltfr/mem.h>

#include <stdlib.h>
#include <string.h>

enum { MOST = 1000, COPY_BYTES = 64 << 20 };

static void multiply(mltfr_gemm_shape x, const float *A, const float *B, float *C)
{
    if (x.form == MLTFR_GEMM_BLAS)
        mltfr_gemm_blas(x.m, x.n, x.k, A, B, C);
    else if (x.form == MLTFR_GEMM_NN)
        mltfr_gemm_nn(x.m, x.n, x.k, A, x.k, B, x.n, 0.f, C, x.n);
    else if (x.form == MLTFR_GEMM_NT)
        mltfr_gemm_nt(x.m, x.n, x.k, A, x.k, B, x.k, 0.f, C, x.n);
    else
        mltfr_gemm_tn(x.m, x.n, x.k, A, x.m, B, x.n, 0.f, C, x.n);
}

static void fill(int64_t n, float *x)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(i % 7) - 3.f;
}

mltfr_status mltfr_measure_gemm(mltfr_gemm_shape x, double seconds, double *gflops)
{
    mltfr_status st = MLTFR_OK;
    const double flop = 2. * (double)x.m * (double)x.n * (double)x.k, begin = mltfr_seconds();
    float *A = NULL, *B = NULL, *C = NULL;

    *gflops = 0.;
    MLTFR_TRY(MLTFR_NEW(A, x.m * x.k));
    MLTFR_TRY(MLTFR_NEW(B, x.k * x.n));
    MLTFR_TRY(MLTFR_NEW(C, x.m * x.n));
    fill(x.m * x.k, A);
    fill(x.k * x.n, B);
    for (int i = 0; i < MOST && (i < 2 || mltfr_seconds() - begin < seconds); i++) {
        const double before = mltfr_seconds();
        multiply(x, A, B, C);
        const double rate = 1e-9 * flop / (mltfr_seconds() - before);
        *gflops = rate > *gflops ? rate : *gflops;
    }
done:
    MLTFR_FREE(A);
    MLTFR_FREE(B);
    MLTFR_FREE(C);
    return st;
}

mltfr_status mltfr_measure_peak(mltfr_comm *comm, int64_t n, double seconds, double *gflops)
{
    mltfr_status st = MLTFR_OK;
    int64_t sum;

    mltfr_comm_barrier(comm);
    MLTFR_AGREE(comm,
                mltfr_measure_gemm((mltfr_gemm_shape){MLTFR_GEMM_BLAS, n, n, n}, seconds, gflops));
    sum = (int64_t)(1e6 * *gflops);
    mltfr_comm_sum_i64(comm, &sum, 1);
    *gflops = 1e-6 * (double)sum;
done:
    return st;
}

mltfr_status mltfr_measure_copy(double seconds, double *bytes_per_second)
{
    mltfr_status st = MLTFR_OK;
    const double begin = mltfr_seconds();
    char *from = NULL, *to = NULL;

    *bytes_per_second = 0.;
    MLTFR_TRY(MLTFR_NEW(from, COPY_BYTES));
    MLTFR_TRY(MLTFR_NEW(to, COPY_BYTES));
    for (int i = 0; i < 2 || mltfr_seconds() - begin < seconds; i++) {
        const double before = mltfr_seconds();
        memcpy(to, from, COPY_BYTES);
        from[0] = (char)(to[COPY_BYTES - 1] + 1);
        const double rate = COPY_BYTES / (mltfr_seconds() - before);
        *bytes_per_second = rate > *bytes_per_second ? rate : *bytes_per_second;
    }
done:
    MLTFR_FREE(from);
    MLTFR_FREE(to);
    return st;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

bool mltfr_measure_more(mltfr_comm *comm, int done, int least, double begin, double seconds)
{
    bool more = done < least || mltfr_seconds() - begin < seconds;

    mltfr_comm_bcast(comm, &more, sizeof more, 0);
    return more && done < MOST;
}

mltfr_status mltfr_measure_exchange(mltfr_comm *comm, int64_t bytes, double seconds, double *out)
{
    mltfr_status st = MLTFR_OK;
    const int size = mltfr_comm_size(comm);
    int64_t counts[size];
    double times[MOST], begin;
    mltfr_exchange *plan = NULL;
    char *from = NULL, *to = NULL;
    int n = 0;

    for (int p = 0; p < size; p++)
        counts[p] = 1;
    st = MLTFR_NEW(from, size * bytes);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(to, size * bytes);
    if (st == MLTFR_OK)
        st = mltfr_exchange_create_known(comm, counts, counts, &plan);
    MLTFR_AGREE(comm, st);
    mltfr_exchange_forward(plan, bytes, from, to);
    for (begin = mltfr_seconds(); mltfr_measure_more(comm, n, 3, begin, seconds); n++) {
        mltfr_comm_barrier(comm);
        times[n] = mltfr_seconds();
        mltfr_exchange_forward(plan, bytes, from, to);
        times[n] = mltfr_seconds() - times[n];
    }
    qsort(times, (size_t)n, sizeof *times, by_size);
    *out = times[n / 2];
    mltfr_comm_max_f64(comm, out, 1);
done:
    mltfr_exchange_destroy(&plan);
    MLTFR_FREE(from);
    MLTFR_FREE(to);
    return st;
}
