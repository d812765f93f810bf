/* Row operations of the backbone, E1 and E2: linear with bias, layer norm, gelu, dropout.  The
 * products go to BLAS; the rest are loops over the columns of one row, which is in the first
 * cache. */
#include <mltfr/kernel.h>
#include <mltfr/linalg.h>
#include <mltfr/ops.h>
#include <mltfr/rng.h>

#include "vexp.h"

#include <math.h>
#include <stddef.h>

/* Every row starts as the bias: beta = 1 then costs no more than BLAS's own zeroing. */
MLTFR_KERNEL
static void fill_rows(int64_t n, int64_t d, const float *restrict b, float *restrict y)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++)
            y[i * d + j] = b[j];
}

MLTFR_KERNEL
static void add_rows(int64_t n, int64_t d, const float *restrict dy, float *restrict db)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++)
            db[j] += dy[i * d + j];
}

void mltfr_linear_forward(int64_t n, const mltfr_linear *linear, const float *x, float *y)
{
    const int64_t in = linear->in, out = linear->out;

    fill_rows(n, out, linear->b, y);
    mltfr_gemm_nt(n, out, in, x, in, linear->w, in, 1.f, y, out);
}

void mltfr_linear_backward(int64_t n, const mltfr_linear *linear, const mltfr_linear *grad,
                           const float *x, const float *dy, float beta, float *dx)
{
    const int64_t in = linear->in, out = linear->out;

    mltfr_gemm_nn(n, in, out, dy, out, linear->w, in, beta, dx, in);
    mltfr_gemm_tn(out, in, n, dy, out, x, in, 1.f, grad->w, in);
    add_rows(n, out, dy, grad->b);
}

/* hat = (x - mean) rstd of one row; returns rstd. */
MLTFR_INLINE float normalise(int64_t d, float eps, const float *x, float *restrict hat)
{
    float sum = 0.f, squares = 0.f;

#pragma omp simd simdlen(16) reduction(+ : sum)
    for (int64_t j = 0; j < d; j++)
        sum += x[j];
    const float mean = sum / (float)d;

#pragma omp simd simdlen(16) reduction(+ : squares)
    for (int64_t j = 0; j < d; j++) {
        hat[j] = x[j] - mean;
        squares += hat[j] * hat[j];
    }
    const float rstd = 1.f / sqrtf(squares / (float)d + eps);

#pragma omp simd simdlen(16)
    for (int64_t j = 0; j < d; j++)
        hat[j] *= rstd;
    return rstd;
}

MLTFR_KERNEL
void mltfr_norm_forward(int64_t n, const mltfr_norm *norm, const float *x, float *hat, float *rstd,
                        float *y)
{
    const int64_t d = norm->d;
    const float *w = norm->w, *b = norm->b;

    for (int64_t i = 0; i < n; i++) {
        float *row = hat + i * d;

        rstd[i] = normalise(d, norm->eps, x + i * d, row);
#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < d; j++)
            y[i * d + j] = row[j] * w[j] + b[j];
    }
}

/* Gradients of gain and bias by one row, and the two means that its dx needs. */
MLTFR_INLINE void norm_row_sums(const mltfr_norm *norm, const mltfr_norm *grad, const float *hat,
                                const float *dy, float mean[2])
{
    const float *w = norm->w;
    float *dw = grad->w, *db = grad->b;
    float plain = 0.f, along = 0.f;

#pragma omp simd simdlen(16) reduction(+ : plain, along)
    for (int64_t j = 0; j < norm->d; j++) {
        float g = dy[j] * w[j];

        dw[j] += dy[j] * hat[j];
        db[j] += dy[j];
        plain += g;
        along += g * hat[j];
    }
    mean[0] = plain / (float)norm->d;
    mean[1] = along / (float)norm->d;
}

/* dx = rstd (g - mean(g) - hat mean(g hat)) with g = dy w. */
MLTFR_KERNEL
void mltfr_norm_backward(int64_t n, const mltfr_norm *norm, const mltfr_norm *grad,
                         const float *hat, const float *rstd, const float *dy, bool add, float *dx)
{
    const int64_t d = norm->d;
    const float *w = norm->w;

    for (int64_t i = 0; i < n; i++) {
        const float *h = hat + i * d, *g = dy + i * d;
        const float r = rstd[i];
        float *out = dx + i * d, mean[2];

        norm_row_sums(norm, grad, h, g, mean);
        if (!add) {
#pragma omp simd simdlen(16)
            for (int64_t j = 0; j < d; j++)
                out[j] = r * (g[j] * w[j] - mean[0] - h[j] * mean[1]);
            continue;
        }
#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < d; j++)
            out[j] += r * (g[j] * w[j] - mean[0] - h[j] * mean[1]);
    }
}

/* Q(z) = 1 - Phi(z), z >= 0, over exp(-z^2 / 2): a polynomial fitted so that the largest error of
 * Q itself is least (2e-8 on [0, inf); a division, as in the usual forms, costs more). */
MLTFR_INLINE float tail_ratio(float z)
{
    float r = -3.1556266e-7f;

    r = r * z + 7.7091918e-6f;
    r = r * z - 8.4774714e-5f;
    r = r * z + 5.6367158e-4f;
    r = r * z - 2.5901491e-3f;
    r = r * z + 9.0039652e-3f;
    r = r * z - 2.5471970e-2f;
    r = r * z + 6.1924055e-2f;
    r = r * z - .13280585f;
    r = r * z + .24997260f;
    r = r * z - .39894059f;
    return r * z + .49999997f;
}

/* The exponential of Q is also that of the density phi: gelu' = Phi + x phi comes with gelu. */
MLTFR_KERNEL
void mltfr_gelu_forward(int64_t n, float *restrict x, float *restrict slope)
{
#pragma omp simd simdlen(16)
    for (int64_t i = 0; i < n; i++) {
        float v = x[i], z = fabsf(v);

        z = z > 14.f ? 14.f : z; /* e is 0 from 13.2 on */
        float e = mltfr_vexp(-.5f * z * z), q = tail_ratio(z) * e, cdf = v > 0.f ? 1.f - q : q;

        slope[i] = cdf + v * (e * .398942280401432678f);
        x[i] = v * cdf;
    }
}

MLTFR_KERNEL
void mltfr_gelu_backward(int64_t n, const float *restrict slope, float *restrict dy)
{
    for (int64_t i = 0; i < n; i++)
        dy[i] *= slope[i];
}

void mltfr_dropout_rate(mltfr_dropout *drop, float rate)
{
    drop->threshold = (uint32_t)((double)rate * 0x1p32);
    drop->scale = 1.f / (1.f - rate);
}

/* y = base + drop(x) for one row. */
MLTFR_INLINE void drop_row(int64_t d, const mltfr_dropout *drop, int64_t row, const float *x,
                           const float *base, float *y)
{
    const uint32_t key = (uint32_t)mltfr_rng_bits(drop->key, (uint64_t)(drop->row0 + row));
    const uint32_t threshold = drop->threshold;
    const float scale = drop->scale;

#pragma omp simd simdlen(16)
    for (int64_t j = 0; j < d; j++) {
        float kept = mltfr_rng_bits32(key, (uint32_t)j) >= threshold ? scale : 0.f;

        y[j] = (base ? base[j] : 0.f) + kept * x[j];
    }
}

MLTFR_KERNEL
static void drop_rows(int64_t n, int64_t d, const mltfr_dropout *drop, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++)
        drop_row(d, drop, i, x + i * d, NULL, y + i * d);
}

MLTFR_KERNEL
static void drop_and_add_rows(int64_t n, int64_t d, const mltfr_dropout *drop, const float *x,
                              const float *base, float *y)
{
    for (int64_t i = 0; i < n; i++)
        drop_row(d, drop, i, x + i * d, base + i * d, y + i * d);
}

MLTFR_KERNEL
static void add_or_copy(int64_t n, const float *x, const float *base, float *y)
{
#pragma omp simd simdlen(16)
    for (int64_t i = 0; i < n; i++)
        y[i] = base ? base[i] + x[i] : x[i];
}

void mltfr_dropout_apply(int64_t n, int64_t d, const mltfr_dropout *drop, const float *x,
                         const float *base, float *y)
{
    if (drop->threshold == 0)
        add_or_copy(n * d, x, base, y);
    else if (base)
        drop_and_add_rows(n, d, drop, x, base, y);
    else
        drop_rows(n, d, drop, x, y);
}
