/* Products in float for the narrow matrices of this model: widths of 64 to 256, rows by the
 * hundred.  There a general BLAS spends a third of its time on copying both factors.  Here
 *
 *      columns of C in panels, k in stretches: the piece of B [DEPTH][panel] stays in the first
 *      cache while the rows of A pass, GEMM_ROWS at a time, each entry loaded once and spread
 *
 * and only B is copied, where its rows are too far apart for the cache, stand transposed or do not
 * fill the last vector. */
#include "gemm.h"

#include <string.h>

enum { GEMM_ROWS = 6, DEPTH = 128, PANEL_MOST = 64, PACK_FROM = 4 * GEMM_ROWS };

typedef void tile_of(int vectors, int64_t m, int64_t k, gemm_left A, const float *B, int64_t ldb,
                     bool add, float *C, int64_t ldc);

/* out[t][j] = x[j][t] for 16 rows of x and t < k, a multiple of 16; out has row length ld_out. */
typedef void turn_of(int64_t k, const float *x, int64_t ld, float *out, int64_t ld_out);

/* What the processor can do. */
typedef struct {
    tile_of *tile;
    turn_of *turn;    /* or NULL */
    int lanes, panel; /* floats of a vector, columns of a panel */
} gemm_kind;

#define TILE_NAME plain
#define TILE_TARGET
#define TILE_LANES   4
#define TILE_VECTORS 2
#include "gemm_tile.h"

#if defined(MLTFR_CLONES) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TILE_NAME    avx2
#define TILE_TARGET  __attribute__((target("arch=x86-64-v3")))
#define TILE_LANES   8
#define TILE_VECTORS 2
#include "gemm_tile.h"

#define TILE_NAME    avx512
#define TILE_TARGET  __attribute__((target("arch=x86-64-v4")))
#define TILE_LANES   16
#define TILE_VECTORS 4
#include "gemm_tile.h"

/* Of entries 0 .. 15 of a vector and 16 .. 31 of another: those whose number has bit s stand in the
 * second, moved by s. */
#define UPPER(i, s)   ((i) & (s) ? 16 + (i) - (s) : (i))
#define LOWER(i, s)   ((i) & (s) ? 16 + (i) : (i) + (s))
#define FOUR(f, i, s) f(i, s), f(i + 1, s), f(i + 2, s), f(i + 3, s)
#define ALL(f, s)                                                                                  \
    {                                                                                              \
        FOUR(f, 0, s), FOUR(f, 4, s), FOUR(f, 8, s), FOUR(f, 12, s)                                \
    }
typedef int32_t places __attribute__((vector_size(64), aligned(4), may_alias));
static const int32_t upper[4][16] = {ALL(UPPER, 8), ALL(UPPER, 4), ALL(UPPER, 2), ALL(UPPER, 1)};
static const int32_t lower[4][16] = {ALL(LOWER, 8), ALL(LOWER, 4), ALL(LOWER, 2), ALL(LOWER, 1)};

/* Blocks of 16 x 16 in registers: halves change places, then quarters, .., then single entries. */
__attribute__((target("arch=x86-64-v4"))) static void
turn_avx512(int64_t k, const float *x, int64_t ld, float *out, int64_t ld_out)
{
    for (int64_t t = 0; t < k; t += 16) {
        avx512_lanes r[16];

#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            r[i] = *(const avx512_lanes *)(x + i * ld + t);
#pragma GCC unroll 4
        for (int level = 0; level < 4; level++) {
            const places high = *(const places *)upper[level], low = *(const places *)lower[level];
            const int s = 8 >> level;

#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                if ((i & s) == 0) {
                    avx512_lanes a = r[i], b = r[i + s];

                    r[i] = __builtin_shuffle(a, b, high);
                    r[i + s] = __builtin_shuffle(a, b, low);
                }
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            *(avx512_lanes *)(out + (t + i) * ld_out) = r[i];
    }
}

static gemm_kind choose(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return (gemm_kind){avx512, turn_avx512, 16, 64};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (gemm_kind){avx2, NULL, 8, 16};
    return (gemm_kind){plain, NULL, 4, 8};
}
#else
static gemm_kind choose(void)
{
    return (gemm_kind){plain, NULL, 4, 8};
}
#endif

/* ---- packing ------------------------------------------------------------------------------- */

/* out[k][wide] = the columns of B, the last ones 0. */
static void copy_panel(int64_t k, int64_t width, int64_t wide, gemm_right B, float *out)
{
    for (int64_t t = 0; t < k; t++, out += wide) {
        memcpy(out, B.x + t * B.ld, (size_t)width * sizeof *out);
        memset(out + width, 0, (size_t)(wide - width) * sizeof *out);
    }
}

/* The same where B is stored as [columns][k]: blocks in registers as far as they go. */
static void turn_panel(const gemm_kind *kind, int64_t k, int64_t width, int64_t wide, gemm_right B,
                       float *out)
{
    const int64_t whole = kind->turn == NULL ? 0 : width / 16 * 16, deep = k / 16 * 16;

    for (int64_t j = 0; j < whole; j += 16)
        kind->turn(deep, B.x + j * B.ld, B.ld, out + j, wide);
    for (int64_t j = 0; j < wide; j++)
        for (int64_t t = j < whole ? deep : 0; t < k; t++)
            out[t * wide + j] = j < width ? B.x[j * B.ld + t] : 0.f;
}

/* ---- product ------------------------------------------------------------------------------- */

/* One panel of C: where its left end is, its columns, and whether there is something to add to. */
typedef struct {
    float *x;
    int64_t ld, width;
    bool add;
} gemm_out;

/* For columns that do not fill the last vector; B has `wide` of them. */
static void ragged(const gemm_kind *kind, int64_t m, int64_t k, gemm_left A, const float *B,
                   int64_t wide, gemm_out C)
{
    float out[GEMM_ROWS * PANEL_MOST];
    const size_t bytes = (size_t)C.width * sizeof *out;

    memset(out, 0, sizeof out);
    for (int64_t i = 0; i < m; i += GEMM_ROWS, A.x += GEMM_ROWS * A.row) {
        const int64_t rows = m - i < GEMM_ROWS ? m - i : GEMM_ROWS;

        for (int64_t r = 0; r < rows && C.add; r++)
            memcpy(out + r * wide, C.x + (i + r) * C.ld, bytes);
        kind->tile((int)(wide / kind->lanes), rows, k, A, B, wide, C.add, out, wide);
        for (int64_t r = 0; r < rows; r++)
            memcpy(C.x + (i + r) * C.ld, out + r * wide, bytes);
    }
}

/* Rows of a power of two floats share few sets of the cache. */
static bool is_far_apart(int64_t ld)
{
    return ld % 128 == 0;
}

/* One panel of C, one stretch of k. */
static void multiply(const gemm_kind *kind, int64_t m, int64_t k, gemm_left A, gemm_right B,
                     gemm_out C)
{
    const int vectors = (int)((C.width + kind->lanes - 1) / kind->lanes);
    const int64_t wide = vectors * kind->lanes;
    float pack[DEPTH * PANEL_MOST] __attribute__((aligned(64)));

    if (B.turned)
        turn_panel(kind, k, C.width, wide, B, pack);
    else if (wide > C.width || (is_far_apart(B.ld) && m >= PACK_FROM))
        copy_panel(k, C.width, wide, B, pack);
    else {
        kind->tile(vectors, m, k, A, B.x, B.ld, C.add, C.x, C.ld);
        return;
    }
    if (wide > C.width)
        ragged(kind, m, k, A, pack, wide, C);
    else
        kind->tile(vectors, m, k, A, pack, wide, C.add, C.x, C.ld);
}

static void scale(int64_t m, int64_t n, float beta, float *C, int64_t ldc)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            C[i * ldc + j] = beta == 0.f ? 0.f : beta * C[i * ldc + j];
}

void gemm_multiply(const int64_t size[3], gemm_left A, gemm_right B, float beta, float *C,
                   int64_t ldc)
{
    const gemm_kind kind = choose();
    const int64_t m = size[0], n = size[1], k = size[2];

    if (k == 0 || (beta != 0.f && beta != 1.f))
        scale(m, n, beta, C, ldc);
    for (int64_t j = 0; j < n; j += kind.panel)
        for (int64_t t = 0; t < k; t += DEPTH) {
            const int64_t width = n - j < kind.panel ? n - j : kind.panel;
            const gemm_left a = {A.x + t * A.step, A.row, A.step};
            const gemm_right b = {B.x + (B.turned ? j * B.ld + t : t * B.ld + j), B.ld, B.turned};

            multiply(&kind, m, k - t < DEPTH ? k - t : DEPTH, a, b,
                     (gemm_out){C + j, ldc, width, t > 0 || beta != 0.f});
        }
}
