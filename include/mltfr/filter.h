/** @file mltfr/filter.h
 *  User-guided token filtering, level B: pool to m tokens a row, on one block of routed rows
 *  (method E12, E13).  Also the exact top-m of level A.  Layer: model.  @local; none allocates. */
#ifndef MLTFR_FILTER_H
#define MLTFR_FILTER_H

#include <mltfr/tree.h>

#include <stdbool.h>
#include <stdint.h>

enum { MLTFR_MAX_TOP = 1024, MLTFR_FILTER_ROWS = 128 };

/** One expert's pool, projected: Kt = Zh_pool W_q^T, Vt = Z_pool W_v. */
typedef struct {
    int64_t d, M, m;
    const float *Kt, *Vt; /**< [M][d] */
    float tau;            /**< exp(log_tau) */
    float dropout;        /**< share of a's entries dropped; 0 outside training */
    uint64_t key;         /**< of the dropout numbers: (seed, MLTFR_RNG_FILTER_DROPOUT, step) and
                               the expert mixed in */
} mltfr_filter;

/** Floats of scratch: one tile of MLTFR_FILTER_ROWS rows of scores and some room. */
int64_t mltfr_filter_scratch(const mltfr_filter *filter);

/** The m largest of `scores`, falling, ties to the lower index (C2).
 *  @param M    >= m; a NaN is never among the largest
 *  @param J    [m] indices     @param s  [m] their scores */
void mltfr_top_m(int64_t M, int64_t m, const float *scores, int32_t *J, float *s);

/** Numbers of the scores above `bound`, rising.
 *  @param index  [n + 16]
 *  @return how many */
int64_t mltfr_scores_above(int64_t n, const float *scores, float bound, int32_t *index);

/** Scores of n rows in tiles, exact top-m, softmax, dropout, mixture.
 *  @param q     [n][d]
 *  @param rows  [n] global row numbers (for dropout), may be NULL where dropout is 0
 *  @param J, s, a  [n][m]: tokens of the pool, scores, weights before dropout
 *  @param y     [n][d], output */
void mltfr_filter_forward(const mltfr_filter *filter, int64_t n, const float *q,
                          const int64_t *rows, float *scratch, int32_t *J, float *s, float *a,
                          float *y);

/** Rows of one expert by block, with what forward left of them. */
typedef struct {
    int64_t blocks;
    const int64_t *at, *count; /**< [blocks]: rows [at, at + count) of each; `at` rises */
    const float *q, *dy;       /**< [.][d] */
    const int64_t *number;     /**< global row numbers, may be NULL where dropout is 0 */
    const int32_t *J;          /**< [.][m], and s and a too */
    const float *s, *a;
} mltfr_filter_rows;

/** Numbers of scratch that so many blocks and rows need. */
int64_t mltfr_filter_backward_scratch(const mltfr_filter *filter, int64_t blocks, int64_t rows);

/** Backward with J fixed (E13), row by row.
 *  @param scratch  [mltfr_filter_backward_scratch()], for mltfr_filter_sum
 *  @param dq       [.][d] output, or NULL where the query is detached */
void mltfr_filter_backward(const mltfr_filter *filter, const mltfr_filter_rows *rows,
                           int64_t *scratch, float *dq);

/** Then the gradients of the pool's keys and values and of log tau, summed over the blocks
 *  [span.lo, span.hi) of the rows as a node of the canonical tree (mltfr/tree.h).
 *  @param values  false: Vt has no gradient (consensus: C4)
 *  @param out     [M][d] dKt, then with `values` [M][d] dVt, then dlogtau */
void mltfr_filter_sum(const mltfr_filter *filter, const mltfr_filter_rows *rows, int64_t *scratch,
                      mltfr_span span, bool values, float *out);

/** x = sum_j a_j Z_j over columns [0, width) of Z_pool [M][ldz], without dropout (E17, C12).
 *  @param x  [n][width], output */
void mltfr_filter_mix(int64_t n, int64_t m, const int32_t *J, const float *a, const float *Z_pool,
                      int64_t ldz, int64_t width, float *x);

/** log tau at which the mean entropy of softmax(tau s) over all n rows is level * log m (C13);
 *  by bisection, natural logarithm.  `mean_entropy` gives the mean over everybody's rows for a
 *  trial log tau (the caller sums over ranks). */
typedef double mltfr_entropy_of(void *context, double log_tau);
double mltfr_filter_calibrate(mltfr_entropy_of *mean_entropy, void *context, double target);

/** Sum over n rows of the entropy of softmax(tau s_i), s [n][m]. */
double mltfr_filter_entropy(int64_t n, int64_t m, const float *s, double tau);

#endif
