/* Adam (E4, C5): m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, both corrected for their start at
 * zero; w shrinks by lr wd first where it decays.  The constants of a step are formed in double,
 * the moves in float. */
#include <mltfr/kernel.h>
#include <mltfr/optim.h>

#include <math.h>
#include <string.h>

enum { CHUNK = 4096 }; /* values of one partial sum of squares */

typedef struct {
    float b1, c1, b2, c2, scale, eps, rate, root, shrink;
} constants;

static constants constants_of(const mltfr_adam *adam, bool decays)
{
    return (constants){.b1 = (float)adam->beta1,
                       .c1 = (float)(1. - adam->beta1),
                       .b2 = (float)adam->beta2,
                       .c2 = (float)(1. - adam->beta2),
                       .scale = (float)adam->scale,
                       .eps = (float)adam->eps,
                       .rate = (float)(adam->lr / (1. - pow(adam->beta1, (double)adam->step))),
                       .root = (float)(1. / sqrt(1. - pow(adam->beta2, (double)adam->step))),
                       .shrink = decays ? (float)(1. - adam->lr * adam->weight_decay) : 1.f};
}

MLTFR_KERNEL
static void move(constants x, int64_t n, float *restrict w, const float *restrict g,
                 float *restrict m, float *restrict v)
{
#pragma omp simd simdlen(16)
    for (int64_t i = 0; i < n; i++) {
        float gi = g[i] * x.scale, mi = x.b1 * m[i] + x.c1 * gi,
              vi = x.b2 * v[i] + x.c2 * (gi * gi);

        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] * x.shrink - x.rate * mi / (sqrtf(vi) * x.root + x.eps);
    }
}

void mltfr_adam_step(const mltfr_adam *adam, int64_t n, bool decays, float *w, const float *g,
                     float *m, float *v)
{
    move(constants_of(adam, decays), n, w, g, m, v);
}

void mltfr_adam_rows(const mltfr_adam *adam, int64_t count, const int32_t rows[], int64_t d,
                     float *w, const float *g, float *m, float *v)
{
    const constants x = constants_of(adam, true);

    for (int64_t i = 0; i < count; i++) {
        const int64_t at = rows[i] * d;
        move(x, d, w + at, g + at, m + at, v + at);
    }
}

MLTFR_KERNEL
static double chunk_squares(int64_t n, const float *x)
{
    double sum = 0.;

#pragma omp simd simdlen(8) reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

double mltfr_sum_squares(int64_t n, const float *x)
{
    double sum = 0.;

    for (int64_t i = 0; i < n; i += CHUNK)
        sum += chunk_squares(n - i < CHUNK ? n - i : CHUNK, x + i);
    return sum;
}

MLTFR_KERNEL
bool mltfr_all_finite(int64_t n, const float *x)
{
    uint32_t bad = 0;

#pragma omp simd simdlen(16) reduction(| : bad)
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & UINT32_C(0x7f800000)) == UINT32_C(0x7f800000);
    }
    return bad == 0;
}
