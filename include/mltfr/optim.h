/** @file mltfr/optim.h
 *  Adam with decoupled weight decay (method E4, C5).  Layer: num.  @local */
#ifndef MLTFR_OPTIM_H
#define MLTFR_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step; /**< 1-based number of this step, for the bias correction */
    double scale; /**< of the gradient: the clip factor */
} mltfr_adam;

/** One move of n consecutive values; `decays`: weight decay acts (2-D tensors). */
void mltfr_adam_step(const mltfr_adam *adam, int64_t n, bool decays, float *w, const float *g,
                     float *m, float *v);

/** The same of the given rows of an n x d matrix that decays; the others stay as they are.
 *  @param rows  [count], distinct */
void mltfr_adam_rows(const mltfr_adam *adam, int64_t count, const int32_t rows[], int64_t d,
                     float *w, const float *g, float *m, float *v);

/** Sum of squares in double, over fixed chunks of the n values (the same bits for the same n). */
double mltfr_sum_squares(int64_t n, const float *x);

/** False if any of n values is NaN or Inf. */
bool mltfr_all_finite(int64_t n, const float *x);

#endif
