/* Causal attention of one sequence, E2 with C1, head by head.  All five products are small (n is 1
 * to a few hundred, the width of a head 8 to 64) and triangular, so they are done here, in tiles of
 * 4 rows x 16 columns that stay in registers:
 *
 *   forward    S = q k^T    O = P v            backward   dP = dO v^T    dq = dS k
 *              P = softmax(S), row by row                 dk = dS^T q    dv = P^T dO
 *
 * A tile adds its terms in the order of the inner index and leaves out what the mask forbids; it
 * never multiplies by a masked zero.  Backward computes P again from each row's maximum and sum. */
#include <mltfr/attention.h>
#include <mltfr/kernel.h>

#include "vexp.h"

#include <math.h>
#include <string.h>

enum { LANES = 16, TILE = 4, STATS = 2 };

typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));

/* Rows whose 16-column chunks may be read whole. */
typedef struct {
    const float *x;
    int64_t ld;
} rows_view;

/* One head of one sequence. */
typedef struct {
    int64_t n, width;   /* rows; columns of the head */
    int64_t ld, stride; /* of the callers' matrices; of S, P and the transposes: n rounded up */
    const float *q, *k, *v;
} head_view;

static int64_t round_up(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* Columns of row i of S and P that are in use: those up to the diagonal, in whole chunks. */
MLTFR_INLINE int64_t row_width(int64_t i)
{
    return (i / LANES + 1) * LANES;
}

int64_t mltfr_attention_stats(int64_t heads)
{
    return STATS * heads;
}

int64_t mltfr_attention_scratch(int64_t n, int64_t d, int64_t heads)
{
    int64_t stride = round_up(n), width = d / heads;

    return 2 * n * stride + 2 * width * stride + 4 * n * round_up(width);
}

static float *take(float **scratch, int64_t floats)
{
    float *part = *scratch;

    *scratch += floats;
    return part;
}

/* The rows of a head as they are if they consist of whole chunks, else a copy padded by zeros. */
MLTFR_INLINE rows_view pad_rows(const head_view *h, const float *x, float **scratch)
{
    const int64_t ld = round_up(h->width);

    if (ld == h->width)
        return (rows_view){x, h->ld};
    float *copy = take(scratch, h->n * ld);

    for (int64_t i = 0; i < h->n; i++)
        for (int64_t c = 0; c < ld; c++)
            copy[i * ld + c] = c < h->width ? x[i * h->ld + c] : 0.f;
    return (rows_view){copy, ld};
}

/* [width][stride]: scale x^T, padded by zeros. */
MLTFR_INLINE float *transpose(const head_view *h, const float *x, float scale, float **scratch)
{
    float *out = take(scratch, h->width * h->stride);

    for (int64_t c = 0; c < h->width; c++) {
        for (int64_t j = 0; j < h->n; j++)
            out[c * h->stride + j] = scale * x[j * h->ld + c];
        for (int64_t j = h->n; j < h->stride; j++)
            out[c * h->stride + j] = 0.f;
    }
    return out;
}

/* The four numbers that meet one chunk: a[r] + t step for row r of the tile. */
typedef struct {
    const float *a[TILE];
    int64_t step;
} factors;

/* sum[r] += a[r][t] b[t] for t < steps */
MLTFR_INLINE void multiply(int64_t steps, const factors *f, const float *b, int64_t ld,
                           lanes sum[TILE])
{
    lanes s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
    const float *a0 = f->a[0], *a1 = f->a[1], *a2 = f->a[2], *a3 = f->a[3];

    for (int64_t t = 0; t < steps; t++) {
        lanes x = *(const lanes *)(b + t * ld);
        int64_t at = t * f->step;

        s0 += a0[at] * x;
        s1 += a1[at] * x;
        s2 += a2[at] * x;
        s3 += a3[at] * x;
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

MLTFR_INLINE int64_t tile_rows(int64_t n, int64_t first)
{
    return n - first < TILE ? n - first : TILE;
}

/* Rows first.. of a tile; a missing row repeats the last, its result is not stored. */
MLTFR_INLINE factors tile_factors(const float *x, int64_t ld, int64_t first, int64_t rows)
{
    factors f = {.step = 1};

    for (int64_t r = 0; r < TILE; r++)
        f.a[r] = x + (first + (r < rows ? r : rows - 1)) * ld;
    return f;
}

/* out[r][j] = a row first + r . b column j, for all columns up to the tile's diagonal. */
MLTFR_INLINE void dot_tile(const head_view *h, const float *x, const float *bT, int64_t first,
                           float *out)
{
    const int64_t rows = tile_rows(h->n, first);
    const factors f = tile_factors(x, h->ld, first, rows);

    for (int64_t j = 0; j < row_width(first); j += LANES) {
        lanes sum[TILE] = {{0}};

        multiply(h->width, &f, bT + j, h->stride, sum);
        for (int64_t r = 0; r < rows; r++)
            *(lanes *)(out + r * h->stride + j) = sum[r];
    }
}

MLTFR_INLINE void store(const head_view *h, int64_t column, lanes *value, float *out)
{
    const int64_t left = h->width - column;

    if (left >= LANES)
        *(lanes *)(out + column) = *value;
    else
        memcpy(out + column, value, (size_t)left * sizeof *out);
}

/* out row first + r = sum over j <= first + r of p[r][j] b[j], times scale[r] */
MLTFR_INLINE void mix_tile(const head_view *h, const float *p, rows_view b, int64_t first,
                           const float *scale, float *out)
{
    const int64_t rows = tile_rows(h->n, first);
    const factors f = tile_factors(p, h->stride, 0, rows);

    for (int64_t c = 0; c < h->width; c += LANES) {
        lanes sum[TILE] = {{0}};

        multiply(first + 1, &f, b.x + c, b.ld, sum);
        for (int64_t t = 1; t < rows; t++)
            for (int64_t r = t; r < rows; r++)
                sum[r] += f.a[r][first + t] * *(const lanes *)(b.x + (first + t) * b.ld + c);
        for (int64_t r = 0; r < rows; r++) {
            sum[r] *= scale[r];
            store(h, c, &sum[r], out + (first + r) * h->ld);
        }
    }
}

/* out row first + r = sum over i >= first + r of p[i][first + r] b[i], for the whole P */
MLTFR_INLINE void mix_tile_transposed(const head_view *h, const float *p, rows_view b,
                                      int64_t first, float *out)
{
    const int64_t rows = tile_rows(h->n, first);
    factors f = {.step = h->stride};

    for (int64_t r = 0; r < TILE; r++)
        f.a[r] = p + (first + rows - 1) * h->stride + first + r;
    for (int64_t c = 0; c < h->width; c += LANES) {
        lanes sum[TILE] = {{0}};

        for (int64_t t = 0; t < rows - 1; t++)
            for (int64_t r = 0; r <= t; r++)
                sum[r] += p[(first + t) * h->stride + first + r] *
                          *(const lanes *)(b.x + (first + t) * b.ld + c);
        multiply(h->n - (first + rows - 1), &f, b.x + (first + rows - 1) * b.ld + c, b.ld, sum);
        for (int64_t r = 0; r < rows; r++)
            store(h, c, &sum[r], out + (first + r) * h->ld);
    }
}

/* Close the chunk after the diagonal of row i. */
MLTFR_INLINE void mask_row(int64_t i, float *s)
{
    for (int64_t j = i + 1; j < row_width(i); j++)
        s[j] = -INFINITY;
}

/* Row i of S becomes exp(s - top); returns 1 / sum.  stats: top, 1 / sum. */
MLTFR_INLINE float softmax_row(int64_t i, float *s, float *stats)
{
    mask_row(i, s);
    stats[0] = mltfr_row_max(row_width(i), s);
    stats[1] = 1.f / mltfr_row_exp(row_width(i), s, stats[0]);
    return stats[1];
}

MLTFR_KERNEL
static void forward_head(const head_view *h, float *scratch, int64_t stats_ld, float *stats,
                         float *out)
{
    const rows_view v = pad_rows(h, h->v, &scratch);
    const float *kT = transpose(h, h->k, 1.f / sqrtf((float)h->width), &scratch);
    float *p = scratch, scale[TILE] = {0};

    for (int64_t i = 0; i < h->n; i += TILE) {
        dot_tile(h, h->q, kT, i, p);
        for (int64_t r = 0; r < tile_rows(h->n, i); r++)
            scale[r] = softmax_row(i + r, p + r * h->stride, stats + (i + r) * stats_ld);
        mix_tile(h, p, v, i, scale, out);
    }
}

/* Row i: S becomes P, dP becomes dS = P (dP - dO.o) / sqrt(width). */
MLTFR_INLINE void softmax_row_backward(const head_view *h, int64_t i, const float *stats,
                                       const float *o, const float *dout, float *s, float *dp)
{
    const float scale = 1.f / sqrtf((float)h->width), top = stats[0], share = stats[1];
    float along = 0.f;

#pragma omp simd simdlen(16) reduction(+ : along)
    for (int64_t c = 0; c < h->width; c++)
        along += o[c] * dout[c];
    mask_row(i, s);
#pragma omp simd simdlen(16)
    for (int64_t j = 0; j < row_width(i); j++) {
        float p = mltfr_vexp(s[j] - top) * share;

        s[j] = p;
        dp[j] = p * (dp[j] - along) * scale;
    }
}

/* What backward reads and writes of one head beside q, k and v. */
typedef struct {
    const float *stats, *out, *dout;
    int64_t stats_ld;
    float *dq, *dk, *dv;
} head_grad;

MLTFR_KERNEL
static void backward_head(const head_view *h, const head_grad *g, float *scratch)
{
    const float one[TILE] = {1.f, 1.f, 1.f, 1.f}, scale = 1.f / sqrtf((float)h->width);
    const rows_view q = pad_rows(h, h->q, &scratch), k = pad_rows(h, h->k, &scratch);
    const rows_view dout = pad_rows(h, g->dout, &scratch);
    const float *kT = transpose(h, h->k, scale, &scratch);
    const float *vT = transpose(h, h->v, 1.f, &scratch);
    float *p = take(&scratch, h->n * h->stride), *ds = take(&scratch, h->n * h->stride);

    for (int64_t i = 0; i < h->n; i += TILE) {
        dot_tile(h, h->q, kT, i, p + i * h->stride);
        dot_tile(h, g->dout, vT, i, ds + i * h->stride);
        for (int64_t r = i; r < i + tile_rows(h->n, i); r++)
            softmax_row_backward(h, r, g->stats + r * g->stats_ld, g->out + r * h->ld,
                                 g->dout + r * h->ld, p + r * h->stride, ds + r * h->stride);
        mix_tile(h, ds + i * h->stride, k, i, one, g->dq);
    }
    for (int64_t j = 0; j < h->n; j += TILE) {
        mix_tile_transposed(h, ds, q, j, g->dk);
        mix_tile_transposed(h, p, dout, j, g->dv);
    }
}

static head_view view_head(const mltfr_attention *att, int64_t head)
{
    const int64_t width = att->d / att->heads, at = head * width;

    return (head_view){att->n,      width,       att->d,     round_up(att->n),
                       att->q + at, att->k + at, att->v + at};
}

void mltfr_attention_forward(const mltfr_attention *att, float *scratch, float *stats, float *out)
{
    for (int64_t head = 0; head < att->heads; head++) {
        const head_view h = view_head(att, head);

        forward_head(&h, scratch, STATS * att->heads, stats + STATS * head, out + head * h.width);
    }
}

void mltfr_attention_backward(const mltfr_attention *att, const float *stats, const float *out,
                              const float *dout, float *scratch, const mltfr_attention_grad *grad)
{
    for (int64_t head = 0; head < att->heads; head++) {
        const head_view h = view_head(att, head);
        const int64_t at = head * h.width;
        const head_grad g = {stats + STATS * head, out + at,     dout + at,   STATS * att->heads,
                             grad->q + at,         grad->k + at, grad->v + at};

        backward_head(&h, &g, scratch);
    }
}
