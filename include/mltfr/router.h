/** @file mltfr/router.h
 *  Router, gates and mixture on one user block (method E14, E15), and the balance bias (E16).
 *  Layer: model.  @local; none allocates. */
#ifndef MLTFR_ROUTER_H
#define MLTFR_ROUTER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t d, K, k_r;
    bool uniform;        /**< z = 0 and g_c = 1/2: the weights stay untrained (k_r = K) */
    float dropout;       /**< expert dropout; 0 outside training */
    uint64_t key;        /**< of its random numbers: (seed, MLTFR_RNG_EXPERT_DROPOUT, step) */
    float switch_weight; /**< alpha of the Switch balance loss, 0 off */
    float z_weight;      /**< weight of the router z-loss, 0 off */
    int64_t total_rows;  /**< N of the whole batch (for the two losses) */
} mltfr_router;

/** Views of the parameters or of their gradients. */
typedef struct {
    float *w;               /**< router.w [d][K] */
    float *gate_w, *gate_b; /**< consensus.gate.w [d], .b [1] */
} mltfr_router_weights;

/** What forward says of n rows; all arrays are the caller's. */
typedef struct {
    float *z, *p, *g;  /**< [n][K]: logits without bias, softmax, weights g_k (0 outside R) */
    uint8_t *selected; /**< [n][K]: R, before expert dropout */
    uint8_t *dropped;  /**< [n][K]: selected but dropped */
    float *gate;       /**< [n]: g_c */
} mltfr_routes;

/** @param q     [n][d]
 *  @param bias  [K] b of E14
 *  @param row0  global number of the first row */
void mltfr_router_forward(const mltfr_router *router, const mltfr_router_weights *w,
                          const float *bias, int64_t n, const float *q, int64_t row0,
                          const mltfr_routes *out);

/** delta[n][d] = gate y_c + (1 - gate) sum_k g_k y_k (E15).
 *  @param y    [K] pointers to [n][d]; rows not in R are ignored     @param y_c  [n][d] */
void mltfr_mixture_forward(const mltfr_router *router, int64_t n, const mltfr_routes *routes,
                           const float *const y[], const float *y_c, float *delta);

/** Backward of the mixture and the router.
 *  @param dh    [n][d] gradient of delta (= of h')
 *  @param load_share  [K] share of all routed rows that expert k got (Switch loss), else NULL
 *  @param dy    [K] pointers to [n][d], output: w_k dh (0 outside R or dropped)
 *  @param dy_c  [n][d], output
 *  @param dw    gradients, added to     @param dq  [n][d], output (gate and router, C3) */
void mltfr_router_backward(const mltfr_router *router, const mltfr_router_weights *w, int64_t n,
                           const float *q, const mltfr_routes *routes, const float *const y[],
                           const float *y_c, const float *dh, const float *load_share,
                           float *const dy[], float *dy_c, const mltfr_router_weights *dw,
                           float *dq);

/** E16: bias_k += u sign(mean load - load_k); sign(0) = 0. */
void mltfr_router_balance(int64_t K, const int64_t load[], float u, float bias[]);

#endif
