/* Adam (E4, C5): m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, both corrected for their start at
 * zero; w shrinks by lr wd first where it decays.  The constants of a step are formed in double,
 * the moves in float. */
#include <mltfr/kernel.h>
#include <mltfr/optim.h>

#include <math.h>
#include <string.h>

enum { CHUNK = 4096 }; /* values of one partial sum of squares */

MLTFR_KERNEL
void mltfr_adam_step(const mltfr_adam *adam, int64_t n, bool decays, float *restrict w,
                     const float *restrict g, float *restrict m, float *restrict v)
{
    const float b1 = (float)adam->beta1, c1 = (float)(1. - adam->beta1);
    const float b2 = (float)adam->beta2, c2 = (float)(1. - adam->beta2);
    const float scale = (float)adam->scale, eps = (float)adam->eps;
    const float rate = (float)(adam->lr / (1. - pow(adam->beta1, (double)adam->step)));
    const float root = (float)(1. / sqrt(1. - pow(adam->beta2, (double)adam->step)));
    const float shrink = decays ? (float)(1. - adam->lr * adam->weight_decay) : 1.f;

#pragma omp simd simdlen(16)
    for (int64_t i = 0; i < n; i++) {
        float gi = g[i] * scale, mi = b1 * m[i] + c1 * gi, vi = b2 * v[i] + c2 * (gi * gi);

        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] * shrink - rate * mi / (sqrtf(vi) * root + eps);
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
