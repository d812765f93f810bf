/* BSARec (Shin et al. 2024), with a frequency layer that is causal: the low band of a row is the
 * mean of the last rows of its own sequence, where the paper cuts the spectrum of the whole one.
 *
 *   x -> attention        -> + x -> LN1     -> (1 - alpha) \
 *     -> low + s^2 (x - low) -> + x -> LN_freq -> alpha       + -> FFN -> + -> LN2
 *
 * s is sqrt_beta. */
#include "backbone_layers.h"

#include <mltfr/average.h>
#include <mltfr/kernel.h>

#include <stddef.h>

/* ---- bands --------------------------------------------------------------------------------- */

/* low = the moving average of x, user by user. */
static void averages(const mltfr_backbone_pass *pass, const float *x, float *low)
{
    const int64_t d = pass->shape->d;
    const int32_t *off = pass->block->off;

    for (int64_t u = 0; u < pass->block->users; u++)
        mltfr_average_forward(off[u + 1] - off[u], d, pass->shape->average, x + off[u] * d,
                              low + off[u] * d);
}

/* low becomes low + s^2 (x - low). */
MLTFR_KERNEL
static void weigh_bands(int64_t n, int64_t d, const float *s, const float *x, float *low)
{
    for (int64_t i = 0; i < n; i++)
#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < d; j++)
            low[i * d + j] += s[j] * s[j] * (x[i * d + j] - low[i * d + j]);
}

/* dy: gradient of what weigh_bands gave; becomes that of low.  ds and dx are added to. */
MLTFR_KERNEL
static void weigh_bands_back(int64_t n, int64_t d, const float *s, const float *x, const float *low,
                             float *dy, float *ds, float *dx)
{
    for (int64_t i = 0; i < n; i++)
#pragma omp simd simdlen(16)
        for (int64_t j = 0; j < d; j++) {
            const float g = dy[i * d + j], high = s[j] * s[j] * g;

            ds[j] += 2.f * s[j] * g * (x[i * d + j] - low[i * d + j]);
            dx[i * d + j] += high;
            dy[i * d + j] = g - high;
        }
}

/* a becomes alpha f + (1 - alpha) a. */
MLTFR_KERNEL
static void blend(int64_t n, float alpha, const float *f, float *a)
{
#pragma omp simd simdlen(16)
    for (int64_t i = 0; i < n; i++)
        a[i] = alpha * f[i] + (1.f - alpha) * a[i];
}

/* f = alpha a; a becomes (1 - alpha) a. */
MLTFR_KERNEL
static void share(int64_t n, float alpha, float *a, float *f)
{
#pragma omp simd simdlen(16)
    for (int64_t i = 0; i < n; i++) {
        f[i] = alpha * a[i];
        a[i] *= 1.f - alpha;
    }
}

MLTFR_KERNEL
static void add_to(int64_t n, const float *x, float *y)
{
#pragma omp simd simdlen(16)
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

/* ---- forward ------------------------------------------------------------------------------- */

static void layer(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *weights, int b,
                  const mltfr_layer_kept *kept, const mltfr_layers_scratch *s, float *out)
{
    const struct mltfr_layer_weights *w = &weights->layer[b];
    const int64_t n = pass->n, d = pass->shape->d;
    float *branch = s->branch;

    mltfr_attention_post(pass, weights, b, kept, s);
    averages(pass, kept->in_att, branch);
    weigh_bands(n, d, w->sqrt_beta, kept->in_att, branch);
    mltfr_backbone_drop(pass, MLTFR_SITE_OTHER(b), branch, kept->in_att, branch);
    mltfr_backbone_norm(pass, w->ln_freq_w, w->ln_freq_b, &kept->ln_freq, branch, branch);
    blend(n * d, pass->shape->alpha, branch, kept->in_ffn);
    mltfr_ffn_post(pass, weights, b, kept, s, out);
}

static void forward(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                    const float *x, float *kept, float *scratch, float *h)
{
    mltfr_layers_kept k;
    mltfr_layers_scratch s;

    mltfr_layers_cut(pass, kept, scratch, &k, &s);
    mltfr_layers_post(pass, w, &k, &s, layer, x, h);
}

/* ---- backward ------------------------------------------------------------------------------ */

/* f: gradient of LN_freq's output, becomes that of the layer's input. */
static void frequency_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                           const mltfr_layers_scratch *s, float *f)
{
    const int64_t d = pass->shape->d, w = pass->shape->average;
    const int32_t *off = pass->block->off;
    const float *x = l->kept->in_att;
    float *low = s->mix, *dy = s->branch;

    mltfr_backbone_norm_back(
        pass,
        (mltfr_norm_pair){l->w->ln_freq_w, l->w->ln_freq_b, l->dw->ln_freq_w, l->dw->ln_freq_b},
        &l->kept->ln_freq, f, false, f);
    mltfr_backbone_drop(pass, MLTFR_SITE_OTHER(l->b), f, NULL, dy);
    averages(pass, x, low);
    weigh_bands_back(pass->n, d, l->w->sqrt_beta, x, low, dy, l->dw->sqrt_beta, f);
    for (int64_t u = 0; u < pass->block->users; u++)
        mltfr_average_backward(off[u + 1] - off[u], d, w, dy + off[u] * d, f + off[u] * d);
}

static void layer_back(const mltfr_backbone_pass *pass, const mltfr_layer_view *l,
                       const mltfr_layers_scratch *s, float *dy)
{
    const int64_t floats = pass->n * pass->shape->d;
    float *f = s->inner; /* free behind the FFN */

    mltfr_ffn_post_back(pass, l, s, dy);
    share(floats, pass->shape->alpha, dy, f);
    mltfr_attention_post_back(pass, l, s, dy);
    frequency_back(pass, l, s, f);
    add_to(floats, f, dy);
}

static void backward(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                     const float *kept, float *scratch, float *dh, const mltfr_backbone_weights *dw,
                     float *dx)
{
    mltfr_layers_kept k;
    mltfr_layers_scratch s;

    mltfr_layers_cut(pass, kept, scratch, &k, &s);
    mltfr_layers_back(pass, w, dw, &k, &s, layer_back, dh);
    mltfr_backbone_embed_back(pass, w, &k.emb_ln, dh, dw, dx);
}

const mltfr_backbone_kind mltfr_bsarec = {mltfr_layers_kept_floats, mltfr_layers_scratch_floats,
                                          forward, backward};
