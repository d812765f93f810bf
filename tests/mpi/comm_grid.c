/* Grid algebra against plain loops and itself: Gram matrices by bits, eigenvectors by residual and
 * orthogonality, solves by residual; orders below and above the block, ranks outside the grid. */
#include <mltfr/grid.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int failures;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            failures++;                                                                            \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
        }                                                                                          \
    } while (0)
#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) != MLTFR_OK)                                                                    \
            mltfr_panic("%s: %s", #call, mltfr_error_text);                                        \
    } while (0)

enum { BLOCKS = 7, ROWS = 40 };

/* Entry (i, j) of a tall matrix; columns fade, so eigenvalues spread. */
static double entry(int64_t i, int64_t j)
{
    uint64_t key = mltfr_rng_key(5, MLTFR_RNG_SYNTHETIC, (uint64_t)i);

    return (mltfr_rng_uniform(key, (uint64_t)j) - .5) / (1. + .1 * (double)j);
}

/* Block b has ROWS - b rows. */
static int64_t fill(void *context, int64_t block, int64_t cols, double *X)
{
    int64_t rows = ROWS - block;

    (void)context;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            X[i * cols + j] = entry(block * ROWS + i, j);
    return rows;
}

static mltfr_row_blocks blocks_of(const mltfr_comm *comm)
{
    int size = mltfr_comm_size(comm), rank = mltfr_comm_rank(comm);

    return (mltfr_row_blocks){.first = mltfr_share_first(BLOCKS, size, rank),
                              .last = mltfr_share_first(BLOCKS, size, rank + 1),
                              .max_rows = ROWS,
                              .fill = fill};
}

/* The upper triangle of the Gram matrix, mirrored, on every rank. */
static double *gram_on(mltfr_comm *comm, int64_t n)
{
    mltfr_grid *grid;
    mltfr_matrix *S;
    mltfr_row_blocks X = blocks_of(comm);
    double *full;

    MUST(mltfr_grid_create(comm, n, &grid));
    MUST(mltfr_matrix_create(grid, n, n, &S));
    MUST(mltfr_matrix_gram(S, &X, .25));
    MUST(MLTFR_NEW(full, n * n));
    MUST(mltfr_matrix_get(S, 0, n, full));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
            full[i * n + j] = full[j * n + i];
    mltfr_matrix_destroy(&S);
    mltfr_grid_destroy(&grid);
    return full;
}

/* `self` is a group of one on rank 0, NULL elsewhere. */
static void test_gram(mltfr_comm *comm, mltfr_comm *self, int64_t n)
{
    double *all = gram_on(comm, n), *one = self != NULL ? gram_on(self, n) : NULL, worst = 0;

    CHECK(one == NULL || memcmp(all, one, (size_t)(n * n) * sizeof *all) == 0, "n=%d: bits differ",
          (int)n);
    for (int64_t i = 0; i < n; i += 7)
        for (int64_t j = 0; j < n; j += 5) {
            double sum = 0;
            for (int64_t b = 0; b < BLOCKS; b++)
                for (int64_t r = 0; r < ROWS - b; r++)
                    sum += entry(b * ROWS + r, i) * entry(b * ROWS + r, j);
            worst = fmax(worst, fabs(all[i * n + j] - .25 * sum));
        }
    CHECK(worst < 1e-13, "n=%d: %g", (int)n, worst);
    MLTFR_FREE(all);
    MLTFR_FREE(one);
}

/* max |A B - C| with A[n][k] (or its transpose), by plain loops. */
static double differ(int64_t n, const double *A, bool transposed, const double *B, const double *C)
{
    double worst = 0;

    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++)
                sum += (transposed ? A[k * n + i] : A[i * n + k]) * B[k * n + j];
            worst = fmax(worst, fabs(sum - C[i * n + j]));
        }
    return worst;
}

/* The matrix is repeated beyond `rank`: its other eigenvalues are zero. */
static void test_eigen(mltfr_comm *comm, int64_t n, int64_t rank)
{
    mltfr_grid *grid;
    mltfr_matrix *S, *V;
    double *full = gram_on(comm, n), *vectors, *lam, *scaled, *unit;

    MUST(mltfr_grid_create(comm, n, &grid));
    MUST(mltfr_matrix_create(grid, n, n, &S));
    MUST(mltfr_matrix_create(grid, n, n, &V));
    MUST(MLTFR_NEW(lam, n));
    MUST(MLTFR_NEW(vectors, n * n));
    MUST(MLTFR_NEW(scaled, n * n));
    MUST(MLTFR_NEW(unit, n * n));
    for (int64_t i = 0; i < n * n; i++)
        full[i] = full[i / n % rank * n + i % n % rank];
    mltfr_matrix_set(S, full);
    MUST(mltfr_matrix_eigen(S, lam, V));
    MUST(mltfr_matrix_fix_signs(V));
    MUST(mltfr_matrix_get(V, 0, n, vectors));
    for (int64_t j = 0; j < n; j++) {
        int64_t largest = 0;
        CHECK(j == 0 || lam[j] <= lam[j - 1], "n=%d j=%d: not falling", (int)n, (int)j);
        unit[j * n + j] = 1;
        for (int64_t i = 0; i < n; i++) {
            scaled[i * n + j] = vectors[i * n + j] * lam[j];
            if (fabs(vectors[i * n + j]) > fabs(vectors[largest * n + j]))
                largest = i;
        }
        CHECK(vectors[largest * n + j] > 0, "n=%d j=%d: sign", (int)n, (int)j);
    }
    double residual = differ(n, full, false, vectors, scaled);
    double basis = differ(n, vectors, true, vectors, unit);
    CHECK(residual <= 1e-12 * fmax(1, lam[0]), "n=%d: residual %g", (int)n, residual);
    CHECK(basis <= 1e-11, "n=%d: orthogonality %g", (int)n, basis);
    MLTFR_FREE(lam);
    MLTFR_FREE(vectors);
    MLTFR_FREE(scaled);
    MLTFR_FREE(unit);
    MLTFR_FREE(full);
    mltfr_matrix_destroy(&S);
    mltfr_matrix_destroy(&V);
    mltfr_grid_destroy(&grid);
}

/* m x n of the given rank: U diag(s) Vt by plain loops, both bases orthonormal. */
static void test_svd(mltfr_comm *comm, int64_t m, int64_t n, int64_t rank)
{
    mltfr_grid *grid;
    mltfr_matrix *A, *U, *Vt;
    int64_t k = m < n ? m : n;
    double *full, *s, *u, *vt, residual = 0, left = 0, right = 0;

    MUST(MLTFR_NEW(full, m * n));
    MUST(MLTFR_NEW(s, k));
    MUST(MLTFR_NEW(u, m * k));
    MUST(MLTFR_NEW(vt, k * n));
    MUST(mltfr_grid_create(comm, k, &grid));
    MUST(mltfr_matrix_create(grid, m, n, &A));
    MUST(mltfr_matrix_create(grid, m, k, &U));
    MUST(mltfr_matrix_create(grid, k, n, &Vt));
    for (int64_t i = 0; i < m * n; i++)
        full[i] = entry(i / n % rank, i % n);
    mltfr_matrix_set(A, full);
    MUST(mltfr_matrix_svd(A, s, U, Vt));
    MUST(mltfr_matrix_get(U, 0, k, u));
    MUST(mltfr_matrix_get(Vt, 0, n, vt));
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = -full[i * n + j];
            for (int64_t t = 0; t < k; t++)
                sum += u[i * k + t] * s[t] * vt[t * n + j];
            residual = fmax(residual, fabs(sum));
        }
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++) {
            double uu = i == j ? -1 : 0, vv = uu;
            for (int64_t t = 0; t < m; t++)
                uu += u[t * k + i] * u[t * k + j];
            for (int64_t t = 0; t < n; t++)
                vv += vt[i * n + t] * vt[j * n + t];
            left = fmax(left, fabs(uu));
            right = fmax(right, fabs(vv));
        }
    for (int64_t i = 0; i < k; i++)
        CHECK(s[i] >= 0 && (i == 0 || s[i] <= s[i - 1]) && (i < rank || s[i] < 1e-12 * s[0]),
              "%d x %d: singular value %d is %g", (int)m, (int)n, (int)i, s[i]);
    CHECK(residual < 1e-12 * fmax(1, s[0]) && left < 1e-11 && right < 1e-11,
          "%d x %d: residual %g, orthogonality %g %g", (int)m, (int)n, residual, left, right);
    MLTFR_FREE(full);
    MLTFR_FREE(s);
    MLTFR_FREE(u);
    MLTFR_FREE(vt);
    mltfr_matrix_destroy(&A);
    mltfr_matrix_destroy(&U);
    mltfr_matrix_destroy(&Vt);
    mltfr_grid_destroy(&grid);
}

static void test_solve(mltfr_comm *comm, int64_t n, int64_t rhs)
{
    mltfr_grid *grid;
    mltfr_matrix *S, *B;
    double *full = gram_on(comm, n), *b, *x, worst = 0;

    for (int64_t i = 0; i < n; i++)
        full[i * n + i] += .5;
    MUST(mltfr_grid_create(comm, n, &grid));
    MUST(mltfr_matrix_create(grid, n, n, &S));
    MUST(mltfr_matrix_create(grid, n, rhs, &B));
    MUST(MLTFR_NEW(b, n * rhs));
    MUST(MLTFR_NEW(x, n * rhs));
    for (int64_t i = 0; i < n * rhs; i++)
        b[i] = entry(i, 3);
    mltfr_matrix_set(S, full);
    mltfr_matrix_set(B, b);
    MUST(mltfr_matrix_solve(S, B));
    MUST(mltfr_matrix_get(B, 0, rhs, x));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < rhs; j++) {
            double sum = -b[i * rhs + j];
            for (int64_t k = 0; k < n; k++)
                sum += full[i * n + k] * x[k * rhs + j];
            worst = fmax(worst, fabs(sum));
        }
    CHECK(worst < 1e-12, "n=%d: residual %g", (int)n, worst);

    full[n * n - 1] = -1; /* not positive definite, then not finite */
    mltfr_matrix_set(S, full);
    CHECK(mltfr_matrix_solve(S, B) == MLTFR_E_NUMERIC, "n=%d: indefinite", (int)n);
    full[0] = NAN;
    mltfr_matrix_set(S, full);
    CHECK(mltfr_matrix_solve(S, B) == MLTFR_E_NUMERIC, "n=%d: NaN", (int)n);
    MLTFR_FREE(b);
    MLTFR_FREE(x);
    MLTFR_FREE(full);
    mltfr_matrix_destroy(&S);
    mltfr_matrix_destroy(&B);
    mltfr_grid_destroy(&grid);
}

/* Rectangles at odd corners: the blocks E8 works on. */
static void test_views(mltfr_comm *comm)
{
    enum { N = 53, A0 = 13, M = 21, K = 19 };
    mltfr_grid *grid;
    mltfr_matrix *S, *C, *T, *R, *Q;
    double full[N * N], c[K * M], q[M * M], got[N * N], worst = 0, back[K * M];

    MUST(mltfr_grid_create(comm, N, &grid));
    MUST(mltfr_matrix_create(grid, N, N, &S));
    MUST(mltfr_matrix_create(grid, M, K, &C));
    MUST(mltfr_matrix_create(grid, M, K, &T));
    MUST(mltfr_matrix_create(grid, K, M, &R));
    MUST(mltfr_matrix_create(grid, M, M, &Q));
    for (int64_t i = 0; i < N * N; i++)
        full[i] = entry(i / N, i % N);
    for (int64_t i = 0; i < K * M; i++)
        c[i] = entry(i / K, 60 + i % K);
    mltfr_matrix_set(S, full);
    mltfr_matrix_set(C, c);
    for (int64_t i = 0; i < M * M; i++)
        q[i] = c[i % (K * M)];
    mltfr_matrix_set(Q, q);
    mltfr_view block = {S, A0, A0, M, M};
    mltfr_matrix_multiply_symmetric(block, mltfr_view_all(C), mltfr_view_all(T));
    MUST(mltfr_matrix_get(T, 0, K, got));
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < K; j++) {
            double sum = -got[i * K + j];
            for (int64_t k = 0; k < M; k++) {
                int64_t lo = i < k ? i : k, hi = i < k ? k : i;
                sum += full[(A0 + lo) * N + A0 + hi] * c[k * K + j];
            }
            worst = fmax(worst, fabs(sum));
        }
    CHECK(worst < 1e-13, "symmetric rectangle: %g", worst);
    mltfr_matrix_transpose(mltfr_view_all(T), mltfr_view_all(R));
    MUST(mltfr_matrix_get(R, 0, M, back));
    worst = 0;
    for (int64_t i = 0; i < K * M; i++)
        worst = fmax(worst, fabs(back[i] - got[i % M * K + i / M]));
    CHECK(worst == 0, "transpose: %g", worst);
    mltfr_matrix_add(2, block, -1, mltfr_view_all(Q));
    MUST(mltfr_matrix_get(Q, 0, M, got + M * K));
    for (int64_t i = 0; i < M * M; i++)
        CHECK(got[M * K + i] == 2 * full[(A0 + i / M) * N + A0 + i % M] - c[i % (K * M)], "sum: %d",
              (int)i);
    MUST(mltfr_matrix_get(T, 3, 5, back));
    for (int64_t i = 0; i < M * 5; i++)
        CHECK(back[i] == got[i / 5 * K + 3 + i % 5], "columns: %d", (int)i);
    mltfr_matrix_destroy(&S);
    mltfr_matrix_destroy(&C);
    mltfr_matrix_destroy(&T);
    mltfr_matrix_destroy(&R);
    mltfr_matrix_destroy(&Q);
    mltfr_grid_destroy(&grid);
}

static void test_not_finite(mltfr_comm *comm)
{
    mltfr_grid *grid;
    mltfr_matrix *S, *V;
    double full[9] = {1, 0, 0, 0, INFINITY, 0, 0, 0, 1}, lam[3];

    MUST(mltfr_grid_create(comm, 3, &grid));
    MUST(mltfr_matrix_create(grid, 3, 3, &S));
    MUST(mltfr_matrix_create(grid, 3, 3, &V));
    mltfr_matrix_set(S, full);
    CHECK(mltfr_matrix_eigen(S, lam, V) == MLTFR_E_NUMERIC, "Inf is accepted");
    mltfr_matrix_set(S, full);
    CHECK(mltfr_matrix_svd(S, lam, V, V) == MLTFR_E_NUMERIC, "Inf is accepted");
    mltfr_matrix_destroy(&S);
    mltfr_matrix_destroy(&V);
    mltfr_grid_destroy(&grid);
}

/* The linker sends the library's calls here (--wrap). */
static int64_t until_none; /* 0: there is memory */
mltfr_status __real_mltfr_alloc(void *pointer, size_t count, size_t size);
mltfr_status __wrap_mltfr_alloc(void *pointer, size_t count, size_t size);

mltfr_status __wrap_mltfr_alloc(void *pointer, size_t count, size_t size)
{
    if (until_none == 0 || --until_none > 0)
        return __real_mltfr_alloc(pointer, count, size);
    *(void **)pointer = NULL;
    return mltfr_fail(MLTFR_E_NOMEM, "out of memory");
}

/* One rank without memory: all say so, and none waits in ScaLAPACK for it. */
static void test_no_memory(mltfr_comm *comm)
{
    const bool last = mltfr_comm_rank(comm) == mltfr_comm_size(comm) - 1;
    mltfr_status st = MLTFR_E_NOMEM;
    mltfr_grid *grid;

    MUST(mltfr_grid_create(comm, 20, &grid));
    for (int64_t count = 1; st != MLTFR_OK; count++) {
        mltfr_matrix *A = NULL, *U = NULL, *Vt = NULL;
        double s[20];
        MUST(mltfr_matrix_create(grid, 20, 20, &A));
        MUST(mltfr_matrix_create(grid, 20, 20, &U));
        MUST(mltfr_matrix_create(grid, 20, 20, &Vt));
        until_none = last ? count : 0;
        st = mltfr_matrix_eigen(A, s, U);
        if (st == MLTFR_OK)
            st = mltfr_matrix_svd(A, s, U, Vt);
        until_none = 0;
        CHECK(st == MLTFR_OK || st == MLTFR_E_NOMEM, "status %d", (int)st);
        mltfr_matrix_destroy(&A);
        mltfr_matrix_destroy(&U);
        mltfr_matrix_destroy(&Vt);
    }
    mltfr_grid_destroy(&grid);
}

/* Grids are given back: more of them than BLACS and MPI could hold, where that is quick. */
static void test_many_grids(mltfr_comm *comm)
{
    int count = mltfr_comm_size(comm) <= 2 ? 20000 : 100;

    for (int i = 0; i < count; i++) {
        mltfr_grid *grid;
        MUST(mltfr_grid_create(comm, 100, &grid));
        mltfr_grid_destroy(&grid);
    }
}

/* ScaLAPACK's error handler is ours. */
static void test_handler(void)
{
    Dl_info info;
    void *handler = dlsym(RTLD_DEFAULT, "pxerbla_");

    CHECK(handler != NULL && dladdr(handler, &info) != 0, "no handler");
    CHECK(strstr(info.dli_fname, "scalapack") == NULL, "handler of %s", info.dli_fname);
}

int main(int argc, char **argv)
{
    const int64_t orders[] = {1, 2, 3, 7, 8, 33, 64, 130};
    mltfr_comm *comm, *self;
    int64_t total;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    MUST(mltfr_comm_group(comm, 0, 0, &self));
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        test_gram(comm, self, orders[i]);
        test_eigen(comm, orders[i], orders[i]);
        test_eigen(comm, orders[i], 1 + orders[i] / 3);
        test_solve(comm, orders[i], 1 + orders[i] / 2);
    }
    test_svd(comm, 1, 1, 1);
    test_svd(comm, 33, 33, 33);
    test_svd(comm, 130, 64, 64);
    test_svd(comm, 20, 130, 7);
    test_svd(comm, 130, 100, 9);
    test_views(comm);
    test_not_finite(comm);
    test_no_memory(comm);
    test_many_grids(comm);
    test_handler();
    total = failures;
    mltfr_comm_sum_i64(comm, &total, 1);
    mltfr_comm_destroy(&self);
    mltfr_comm_finish(&comm);
    if (mltfr_mem_now() != 0)
        fprintf(stderr, "%zu bytes are still held\n", mltfr_mem_now());
    return total != 0 || mltfr_mem_now() != 0;
}
