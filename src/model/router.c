/* Router, gates and mixture (E14, E15) with the choices C2, C3 and C10, and the bias (E16).
 *
 * With k_r > 1 the weights are p renormalised over R' = R minus dropped experts.  That is the
 * softmax of z over R', and is computed as such: nothing is divided by a vanishing sum, and its
 * gradient dz_k = g_k (dg_k - <g, dg>) needs no p.  With k_r = 1, g = p passes through the whole
 * softmax.  Dropout comes after the choice, so loads do not see it. */
#include "dot.h"

#include <mltfr/kernel.h>
#include <mltfr/linalg.h>
#include <mltfr/rng.h>
#include <mltfr/router.h>

#include <math.h>
#include <string.h>

enum { ROOM = 4096 }; /* floats of dz in one tile of rows */

/* p = softmax(z) */
static void soften(int64_t K, const float *z, float *p)
{
    float top = z[0], sum = 0;

    for (int64_t k = 1; k < K; k++)
        top = z[k] > top ? z[k] : top;
    for (int64_t k = 0; k < K; k++)
        sum += p[k] = expf(z[k] - top);
    for (int64_t k = 0; k < K; k++)
        p[k] /= sum;
}

static float log_sum_exp(int64_t K, const float *z)
{
    float top = z[0], sum = 0;

    for (int64_t k = 1; k < K; k++)
        top = z[k] > top ? z[k] : top;
    for (int64_t k = 0; k < K; k++)
        sum += expf(z[k] - top);
    return top + logf(sum);
}

/* The k_r largest of z + bias, ties to the lower expert. */
static void choose(const mltfr_router *router, const float *z, const float *bias, uint8_t *selected)
{
    int64_t K = router->K;

    memset(selected, 0, (size_t)K);
    for (int64_t pick = 0; pick < router->k_r && pick < K; pick++) {
        int64_t best = -1;

        for (int64_t k = 0; k < K; k++)
            if (!selected[k] && (best < 0 || z[k] + bias[k] > z[best] + bias[best]))
                best = k;
        selected[best] = 1;
    }
}

static void drop(const mltfr_router *router, int64_t row, const uint8_t *selected, uint8_t *dropped)
{
    uint64_t key = mltfr_rng_bits(router->key, (uint64_t)row);

    for (int64_t k = 0; k < router->K; k++)
        dropped[k] = selected[k] && mltfr_rng_uniform(key, (uint64_t)k) < router->dropout;
}

/* g over R' = selected and not dropped. */
static void weigh(const mltfr_router *router, const float *z, const float *p,
                  const uint8_t *selected, const uint8_t *dropped, float *g)
{
    int64_t K = router->K;
    float top = -INFINITY, sum = 0;

    for (int64_t k = 0; k < K; k++)
        if (selected[k] && !dropped[k] && z[k] > top)
            top = z[k];
    for (int64_t k = 0; k < K; k++) {
        bool active = selected[k] && !dropped[k];

        g[k] = !active ? 0 : router->k_r == 1 ? p[k] : expf(z[k] - top);
        sum += g[k];
    }
    for (int64_t k = 0; router->k_r > 1 && sum > 0 && k < K; k++)
        g[k] /= sum;
}

MLTFR_KERNEL
static void forward_gate(const mltfr_router *router, const mltfr_router_weights *w, int64_t n,
                         const float *q, float *gate)
{
    for (int64_t i = 0; i < n; i++)
        if (router->uniform)
            gate[i] = .5f;
        else
            gate[i] = 1 / (1 + expf(-dot(router->d, q + i * router->d, w->gate_w) - *w->gate_b));
}

void mltfr_router_forward(const mltfr_router *router, const mltfr_router_weights *w,
                          const float *bias, int64_t n, const float *q, int64_t row0,
                          const mltfr_routes *out)
{
    int64_t d = router->d, K = router->K;

    if (router->uniform)
        memset(out->z, 0, (size_t)(n * K) * sizeof *out->z);
    else
        mltfr_gemm_nn(n, K, d, q, d, w->w, K, 0, out->z, K);
    for (int64_t i = 0; i < n; i++) {
        const float *z = out->z + i * K;
        float *p = out->p + i * K;
        uint8_t *selected = out->selected + i * K, *dropped = out->dropped + i * K;

        soften(K, z, p);
        choose(router, z, bias, selected);
        drop(router, row0 + i, selected, dropped);
        weigh(router, z, p, selected, dropped, out->g + i * K);
    }
    forward_gate(router, w, n, q, out->gate);
}

/* Does expert k take part in this row's mixture? */
MLTFR_INLINE bool active(const mltfr_routes *routes, int64_t entry)
{
    return routes->selected[entry] && !routes->dropped[entry];
}

MLTFR_KERNEL
void mltfr_mixture_forward(const mltfr_router *router, int64_t n, const mltfr_routes *routes,
                           const float *const y[], const float *y_c, float *delta)
{
    int64_t d = router->d, K = router->K;

    for (int64_t i = 0; i < n; i++) {
        float gate = routes->gate[i], *row = delta + i * d;

        for (int64_t c = 0; c < d; c++)
            row[c] = gate * y_c[i * d + c];
        for (int64_t k = 0; k < K; k++)
            if (active(routes, i * K + k)) {
                float weight = (1 - gate) * routes->g[i * K + k];

                for (int64_t c = 0; c < d; c++)
                    row[c] += weight * y[k][i * d + c];
            }
    }
}

/* dy and dy_c of row i. */
MLTFR_INLINE void spread(const mltfr_router *router, int64_t i, const mltfr_routes *routes,
                         const float *dh, float *const dy[], float *dy_c)
{
    int64_t d = router->d, K = router->K;
    float gate = routes->gate[i];

    for (int64_t k = 0; k < K; k++) {
        float weight = (1 - gate) * routes->g[i * K + k];

        for (int64_t c = 0; c < d; c++)
            dy[k][i * d + c] = weight * dh[i * d + c];
    }
    for (int64_t c = 0; c < d; c++)
        dy_c[i * d + c] = gate * dh[i * d + c];
}

/* dz of row i from dg (k_r > 1: softmax over R'), from dp (k_r = 1) and from the two losses. */
MLTFR_INLINE void logit_gradient(const mltfr_router *router, int64_t i, const mltfr_routes *routes,
                                 const float *dg, const float *load_share, float *dz)
{
    int64_t K = router->K;
    const float *p = routes->p + i * K, *g = routes->g + i * K;
    float per_row = 1 / (float)router->total_rows, mean_g = 0, mean_p = 0, z_loss = 0;

    for (int64_t k = 0; k < K; k++) {
        dz[k] = router->k_r == 1 ? dg[k] : 0;
        if (load_share != NULL)
            dz[k] += router->switch_weight * (float)K * load_share[k] * per_row;
        mean_p += p[k] * dz[k];
        mean_g += g[k] * dg[k];
    }
    if (router->z_weight > 0)
        z_loss = 2 * router->z_weight * log_sum_exp(K, routes->z + i * K) * per_row;
    for (int64_t k = 0; k < K; k++) {
        dz[k] = p[k] * (dz[k] - mean_p + z_loss);
        if (router->k_r > 1)
            dz[k] += g[k] * (dg[k] - mean_g);
    }
}

/* dg of row i, 0 outside R'; returns <dh, mixture of the routed experts>. */
MLTFR_INLINE float weight_gradient(const mltfr_router *router, int64_t i,
                                   const mltfr_routes *routes, const float *const y[],
                                   const float *dh, float *dg)
{
    int64_t d = router->d, K = router->K;
    float mixed = 0;

    for (int64_t k = 0; k < K; k++) {
        float along = active(routes, i * K + k) ? dot(d, dh + i * d, y[k] + i * d) : 0;

        mixed += routes->g[i * K + k] * along;
        dg[k] = (1 - routes->gate[i]) * along;
    }
    return mixed;
}

/* Gate of row i: adds to its parameters' gradients and to dq; `along` = <dh, y_c - mixture>. */
MLTFR_INLINE void gate_gradient(int64_t d, float gate, float along, const float *q,
                                const mltfr_router_weights *w, const mltfr_router_weights *dw,
                                float *dq)
{
    float dlogit = along * gate * (1 - gate);

    *dw->gate_b += dlogit;
    for (int64_t c = 0; c < d; c++)
        dw->gate_w[c] += dlogit * q[c];
    for (int64_t c = 0; c < d; c++)
        dq[c] += dlogit * w->gate_w[c];
}

MLTFR_KERNEL
void mltfr_router_backward(const mltfr_router *router, const mltfr_router_weights *w, int64_t n,
                           const float *q, const mltfr_routes *routes, const float *const y[],
                           const float *y_c, const float *dh, const float *load_share,
                           float *const dy[], float *dy_c, const mltfr_router_weights *dw,
                           float *dq)
{
    int64_t d = router->d, K = router->K, tile = ROOM / K;
    float dz[ROOM], dg[ROOM], along[ROOM];

    for (int64_t from = 0; from < n; from += tile) {
        int64_t rows = n - from < tile ? n - from : tile;

        for (int64_t r = 0; r < rows; r++) {
            int64_t i = from + r;

            along[r] =
                -weight_gradient(router, i, routes, y, dh, dg) + dot(d, dh + i * d, y_c + i * d);
            logit_gradient(router, i, routes, dg, load_share, dz + r * K);
            spread(router, i, routes, dh, dy, dy_c);
        }
        if (router->uniform) {
            memset(dq + from * d, 0, (size_t)(rows * d) * sizeof *dq);
            continue;
        }
        mltfr_gemm_tn(d, K, rows, q + from * d, d, dz, K, 1, dw->w, K);
        mltfr_gemm_nt(rows, d, K, dz, K, w->w, K, 0, dq + from * d, d);
        for (int64_t i = from; i < from + rows; i++)
            gate_gradient(d, routes->gate[i], along[i - from], q + i * d, w, dw, dq + i * d);
    }
}

void mltfr_router_balance(int64_t K, const int64_t load[], float u, float bias[])
{
    int64_t total = 0;

    for (int64_t k = 0; k < K; k++)
        total += load[k];
    for (int64_t k = 0; k < K; k++) /* K load_k against the total: exact */
        bias[k] += u * (float)((total > K * load[k]) - (total < K * load[k]));
}
