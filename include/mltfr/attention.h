/** @file mltfr/attention.h
 *  Causal multi-head attention within one user's sequence (method E2, C1).  Layer: num.
 *  All functions are @local; none allocates.
 *
 *  Row i reads rows 0..i only and in a fixed order: whatever later rows hold, its bits stay. */
#ifndef MLTFR_ATTENTION_H
#define MLTFR_ATTENTION_H

#include <stdint.h>

/** Queries, keys and values of one sequence; head h owns columns h d/heads .. (h+1) d/heads - 1. */
typedef struct {
    int64_t n, d, heads;
    const float *q, *k, *v; /**< [n][d] */
} mltfr_attention;

/** Gradients of the three. */
typedef struct {
    float *q, *k, *v; /**< [n][d] */
} mltfr_attention_grad;

/** Floats of scratch for sequences of at most n rows, and floats of statistics a row. */
int64_t mltfr_attention_scratch(int64_t n, int64_t d, int64_t heads);
int64_t mltfr_attention_stats(int64_t heads);

/** @param stats  [n][mltfr_attention_stats], output, for backward
 *  @param out    [n][d], output: softmax(q k^T / sqrt(d/heads)) v */
void mltfr_attention_forward(const mltfr_attention *att, float *scratch, float *stats, float *out);

/** @param out, stats  as forward left them
 *  @param dout        [n][d], gradient of out
 *  @param grad        stored (not added) */
void mltfr_attention_backward(const mltfr_attention *att, const float *stats, const float *out,
                              const float *dout, float *scratch, const mltfr_attention_grad *grad);

#endif
