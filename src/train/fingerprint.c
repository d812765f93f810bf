/* What the arithmetic of this process is like: a hash of the bits of small products, exponentials,
 * sums and solves (which are BLAS's).  Parameters that every rank keeps for itself stay equal only
 * where all ranks compute alike, and a resumed run has the bits of one that was not stopped only on
 * a machine like the first one's. */
#include "fingerprint.h"

#include <mltfr/linalg.h>
#include <mltfr/optim.h>
#include <mltfr/rng.h>
#include <mltfr/softmax.h>

#include <string.h>

enum { M = 70, N = 97, K = 90 }; /* no multiples of a tile */

static uint64_t add_bits(uint64_t hash, int64_t n, const float *x)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, x + i, sizeof bits);
        hash = mltfr_mix64(hash ^ bits);
    }
    return hash;
}

/* The solution of a system of order N, as every rank solves that of the consensus. */
static uint64_t add_solution(uint64_t hash, const float *A)
{
    double S[N * N], x[N], work[N];

    for (int64_t i = 0; i < N; i++) {
        for (int64_t j = 0; j < N; j++)
            S[i * N + j] = (double)A[i] * A[j] + (i == j ? 1. : 0.);
        x[i] = A[N + i];
    }
    if (mltfr_spd_solve(N, 1, S, x, work) != MLTFR_OK)
        return hash;
    for (int64_t i = 0; i < N; i++) {
        uint64_t bits;

        memcpy(&bits, x + i, sizeof bits);
        hash = mltfr_mix64(hash ^ bits);
    }
    return hash;
}

uint64_t mltfr_fingerprint(void)
{
    float A[M * K], B[K * N], C[M * N];
    uint64_t hash = 1, bits;

    for (int64_t i = 0; i < M * K; i++)
        A[i] = (float)mltfr_rng_uniform(1, (uint64_t)i) - .5f;
    for (int64_t i = 0; i < K * N; i++)
        B[i] = (float)mltfr_rng_uniform(2, (uint64_t)i) - .5f;
    mltfr_gemm_nn(M, N, K, A, K, B, N, 0.f, C, N);
    hash = add_bits(hash, M * N, C);
    mltfr_gemm_nt(M, N, K, A, K, B, K, 0.f, C, N);
    hash = add_bits(hash, M * N, C);
    mltfr_gemm_tn(M, N, K, A, M, B, N, 0.f, C, N);
    hash = add_bits(hash, M * N, C);
    hash = add_solution(hash, A);
    mltfr_exp(M * N, C, C);
    hash = add_bits(hash, M * N, C);

    const double sum = mltfr_sum_squares(M * N, C);

    memcpy(&bits, &sum, sizeof bits);
    return mltfr_mix64(hash ^ bits);
}
