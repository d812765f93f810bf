/* C = A B or C += A B for GEMM_ROWS rows and a few vectors of columns that stay in registers;
 * included once for each instruction set with
 *
 *      TILE_NAME     of the function         TILE_TARGET   its target attribute, or nothing
 *      TILE_LANES    floats of a vector      TILE_VECTORS  vectors of the widest tile
 *
 * The vectors are GCC's own.  An entry of C is one chain of multiply-adds by rising k in all of
 * them. */

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define LANES_T     JOIN(TILE_NAME, _lanes)
#define CORE        JOIN(TILE_NAME, _core)

typedef float LANES_T __attribute__((vector_size(4 * TILE_LANES), aligned(4), may_alias));

/* vectors is a constant where this is inlined.  A missing row repeats the last one. */
TILE_TARGET static inline __attribute__((always_inline)) void CORE(const int vectors, int64_t rows,
                                                                   int64_t k, const gemm_left *A,
                                                                   const float *B, int64_t ldb,
                                                                   bool add, float *C, int64_t ldc)
{
    LANES_T sum[GEMM_ROWS][TILE_VECTORS];
    const float *a[GEMM_ROWS];
    const int64_t step = A->step;

    for (int r = 0; r < GEMM_ROWS; r++)
        a[r] = A->x + (r < rows ? r : rows - 1) * A->row;
#pragma GCC unroll 6
    for (int r = 0; r < GEMM_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[r][v] =
                add ? *(const LANES_T *)(C + (r < rows ? r : rows - 1) * ldc + v * TILE_LANES)
                    : (LANES_T){0};
    /* The next rows, for they may lie in the third cache; a column's next ones are beside it. */
    if (step == 1)
        for (int r = 0; r < GEMM_ROWS; r++)
            for (int64_t t = 0; t < k; t += 16)
                __builtin_prefetch(a[r] + GEMM_ROWS * A->row + t, 0, 2);
    for (int64_t t = 0; t < k; t++, B += ldb) {
        LANES_T b[TILE_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            b[v] = *(const LANES_T *)(B + v * TILE_LANES);
#pragma GCC unroll 6
        for (int r = 0; r < GEMM_ROWS; r++) {
            const float x = a[r][t * step];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sum[r][v] += x * b[v];
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < GEMM_ROWS; r++)
        if (r < rows)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                *(LANES_T *)(C + r * ldc + v * TILE_LANES) = sum[r][v];
}

/* The same for all rows of a panel of `vectors` vectors. */
TILE_TARGET static void TILE_NAME(int vectors, int64_t m, int64_t k, gemm_left A, const float *B,
                                  int64_t ldb, bool add, float *C, int64_t ldc)
{
    for (int64_t i = 0; i < m; i += GEMM_ROWS, A.x += GEMM_ROWS * A.row, C += GEMM_ROWS * ldc) {
        const int64_t rows = m - i < GEMM_ROWS ? m - i : GEMM_ROWS;

        switch (vectors) {
        case 1:
            CORE(1, rows, k, &A, B, ldb, add, C, ldc);
            break;
        case 2:
            CORE(2, rows, k, &A, B, ldb, add, C, ldc);
            break;
#if TILE_VECTORS > 2
        case 3:
            CORE(3, rows, k, &A, B, ldb, add, C, ldc);
            break;
        case 4:
            CORE(4, rows, k, &A, B, ldb, add, C, ldc);
            break;
#endif
        }
    }
}

#undef CORE
#undef LANES_T
#undef JOIN
#undef JOIN_
#undef TILE_NAME
#undef TILE_TARGET
#undef TILE_LANES
#undef TILE_VECTORS
