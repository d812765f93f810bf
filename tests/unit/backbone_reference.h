/* The backbones once more, plainly and in double: a model with weights and a block of sequences,
 * and what forward must give.  For one test, which includes it. */
#ifndef MLTFR_TEST_BACKBONE_REFERENCE_H
#define MLTFR_TEST_BACKBONE_REFERENCE_H

#include <mltfr/backbone.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FIELDS = 16, KINDS = 3 };

/* One model with a block: weights in one slab, gradients in another of the same layout. */
typedef struct {
    mltfr_backbone_shape shape;
    mltfr_backbone_weights w, dw;
    mltfr_user_block block;
    int64_t n, floats;
    float *slab, *grad, *x, *h, *dh, *dx, *kept, *scratch;
    double *weights, *rows, *out, *work; /* of the reference */
} model;

static mltfr_backbone_shape shape_of(int kind, int64_t d, int64_t layers, int64_t heads,
                                     int64_t max_len, float dropout)
{
    return (mltfr_backbone_shape){.kind = kind,
                                  .d = d,
                                  .layers = layers,
                                  .heads = heads,
                                  .max_len = max_len,
                                  .ln_eps = 1e-5f,
                                  .dropout = dropout,
                                  .average = 3,
                                  .alpha = .7f};
}

static mltfr_backbone_shape pre_norm(mltfr_backbone_shape shape)
{
    shape.pre_norm = true;
    return shape;
}

/* Fields of so many floats, one behind the other; returns the floats of all. */
static int64_t cut(float *slab, int count, float **const field[], const int64_t size[])
{
    int64_t used = 0;

    for (int i = 0; i < count; used += size[i++])
        *field[i] = slab + used;
    return used;
}

static int64_t cut_layer(const mltfr_backbone_shape *s, float *slab, struct mltfr_layer_weights *l)
{
    const int64_t d = s->d, dd = d * d;
    const int64_t sizes[] = {d, d, dd,     dd,    dd,     dd, d, d, d, d,
                             d, d, 4 * dd, 4 * d, 4 * dd, d,  d, d, d};
    float **const field[] = {&l->ln1_w, &l->ln1_b,     &l->wq,        &l->wk,       &l->wv,
                             &l->wo,    &l->bq,        &l->bk,        &l->bv,       &l->bo,
                             &l->ln2_w, &l->ln2_b,     &l->w1,        &l->b1,       &l->w2,
                             &l->b2,    &l->sqrt_beta, &l->ln_freq_w, &l->ln_freq_b};
    const int64_t gru_sizes[] = {3 * dd, 3 * dd, 3 * d, 3 * d};
    float **const gru[] = {&l->w_ih, &l->w_hh, &l->b_ih, &l->b_hh};

    if (s->kind == MLTFR_MODEL_BACKBONE_GRU4REC)
        return cut(slab, 4, gru, gru_sizes);
    return cut(slab, s->kind == MLTFR_MODEL_BACKBONE_BSAREC ? FIELDS + 3 : FIELDS, field, sizes);
}

static int64_t cut_weights(const mltfr_backbone_shape *s, float *slab, mltfr_backbone_weights *w)
{
    const int64_t d = s->d, ends[] = {d * d, d};
    float **const pos[] = {&w->pos, &w->emb_ln_w, &w->emb_ln_b};
    float **const dense[] = {&w->dense_w, &w->dense_b};
    float **const last[] = {&w->final_ln_w, &w->final_ln_b};
    const bool gru = s->kind == MLTFR_MODEL_BACKBONE_GRU4REC;
    int64_t used;

    *w = (mltfr_backbone_weights){0};
    used = gru ? cut(slab, 2, pos + 1, (int64_t[]){d, d})
               : cut(slab, 3, pos, (int64_t[]){s->max_len * d, d, d});
    for (int64_t b = 0; b < s->layers; b++)
        used += cut_layer(s, slab + used, &w->layer[b]);
    if (gru)
        used += cut(slab + used, 2, dense, ends);
    if (s->pre_norm)
        used += cut(slab + used, 2, last, (int64_t[]){d, d});
    return used;
}

static float draw(uint64_t salt, int64_t i)
{
    return (float)mltfr_rng_normal(mltfr_rng_key(salt, MLTFR_RNG_SYNTHETIC, 0), (uint64_t)i);
}

static void make_model(mltfr_backbone_shape shape, const int32_t *off, int64_t users, model *m)
{
    mltfr_backbone_weights none;
    float probe = 0.f;
    const int64_t d = shape.d, n = users > 0 ? off[users] : 0;

    *m = (model){.shape = shape, .n = n, .block = {users, off, 100, 3, 9, shape.dropout > 0.f}};
    m->floats = cut_weights(&shape, &probe, &none);
    float **parts[] = {&m->slab, &m->grad, &m->x, &m->h, &m->dh, &m->dx, &m->kept, &m->scratch};
    const int64_t sizes[] = {m->floats,
                             m->floats,
                             n * d,
                             n * d,
                             n * d,
                             n * d,
                             mltfr_backbone_kept(&shape, n),
                             mltfr_backbone_scratch(&shape, n)};

    for (int i = 0; i < 8; i++)
        assert_int_equal(MLTFR_NEW(*parts[i], sizes[i]), MLTFR_OK);
    assert_int_equal(MLTFR_NEW(m->weights, m->floats), MLTFR_OK);
    assert_int_equal(MLTFR_NEW(m->rows, n * d), MLTFR_OK);
    assert_int_equal(MLTFR_NEW(m->out, n * d), MLTFR_OK);
    assert_int_equal(MLTFR_NEW(m->work, n * d * 13), MLTFR_OK);
    cut_weights(&shape, m->slab, &m->w);
    cut_weights(&shape, m->grad, &m->dw);
    for (int64_t i = 0; i < m->floats; i++)
        m->weights[i] = m->slab[i] = .3f * draw(1, i);
    for (int64_t i = 0; i < n * d; i++) {
        m->rows[i] = m->x[i] = draw(2, i);
        m->dh[i] = draw(3, i);
    }
}

static void free_model(model *m)
{
    float **parts[] = {&m->slab, &m->grad, &m->x, &m->h, &m->dh, &m->dx, &m->kept, &m->scratch};

    for (int i = 0; i < 8; i++)
        MLTFR_FREE(*parts[i]);
    MLTFR_FREE(m->weights);
    MLTFR_FREE(m->rows);
    MLTFR_FREE(m->out);
    MLTFR_FREE(m->work);
    assert_int_equal(mltfr_mem_now(), 0);
}

/* ---- the reference, in double; weights are addressed by their place in the slab ---- */

static const double *at(const model *m, const float *field)
{
    return m->weights + (field - m->slab);
}

static void ref_linear(const model *m, const float *w, const float *b, int64_t in, int64_t out,
                       const double *x, double *y)
{
    for (int64_t i = 0; i < m->n; i++)
        for (int64_t o = 0; o < out; o++) {
            double sum = at(m, b)[o];

            for (int64_t k = 0; k < in; k++)
                sum += at(m, w)[o * in + k] * x[i * in + k];
            y[i * out + o] = sum;
        }
}

static void ref_norm(const model *m, const float *w, const float *b, const double *x, double *y)
{
    const int64_t d = m->shape.d;

    for (int64_t i = 0; i < m->n; i++) {
        double mean = 0., var = 0.;

        for (int64_t j = 0; j < d; j++)
            mean += x[i * d + j] / (double)d;
        for (int64_t j = 0; j < d; j++)
            var += (x[i * d + j] - mean) * (x[i * d + j] - mean) / (double)d;
        for (int64_t j = 0; j < d; j++)
            y[i * d + j] =
                (x[i * d + j] - mean) / sqrt(var + m->shape.ln_eps) * at(m, w)[j] + at(m, b)[j];
    }
}

/* y = base + drop(x) */
static void ref_drop(const model *m, int site, const double *x, const double *base, double *y)
{
    const uint64_t key =
        mltfr_rng_key(m->block.seed, MLTFR_RNG_DROPOUT, m->block.step * 64 + (uint64_t)site);
    const double rate = m->block.train ? m->shape.dropout : 0.;
    const int64_t d = m->shape.d;

    for (int64_t i = 0; i < m->n; i++)
        for (int64_t j = 0; j < d; j++) {
            uint32_t row = (uint32_t)mltfr_rng_bits(key, (uint64_t)(m->block.row0 + i));
            double share = mltfr_rng_bits32(row, (uint32_t)j) * 0x1p-32;
            double kept = share >= rate ? x[i * d + j] / (1. - rate) : 0.;

            y[i * d + j] = (base ? base[i * d + j] : 0.) + kept;
        }
}

/* Row i of the sequence that starts at row `first`, columns of one head. */
static void ref_attend(const model *m, const double *qkv[3], int64_t first, int64_t i,
                       int64_t column, double *out)
{
    const int64_t d = m->shape.d, width = d / m->shape.heads;
    double total = 0.;

    for (int64_t c = column; c < column + width; c++)
        out[i * d + c] = 0.;
    for (int64_t j = first; j <= i; j++) {
        double s = 0.;

        for (int64_t c = column; c < column + width; c++)
            s += qkv[0][i * d + c] * qkv[1][j * d + c];
        s = exp(s / sqrt((double)width));
        total += s;
        for (int64_t c = column; c < column + width; c++)
            out[i * d + c] += s * qkv[2][j * d + c];
    }
    for (int64_t c = column; c < column + width; c++)
        out[i * d + c] /= total;
}

static void ref_attention(const model *m, const struct mltfr_layer_weights *w, const double *x,
                          double *work, double *out)
{
    const int64_t d = m->shape.d, part = m->n * d;
    const double *qkv[3] = {work, work + part, work + 2 * part};

    ref_linear(m, w->wq, w->bq, d, d, x, work);
    ref_linear(m, w->wk, w->bk, d, d, x, work + part);
    ref_linear(m, w->wv, w->bv, d, d, x, work + 2 * part);
    for (int64_t u = 0; u < m->block.users; u++)
        for (int64_t i = m->block.off[u]; i < m->block.off[u + 1]; i++)
            for (int64_t h = 0; h < m->shape.heads; h++)
                ref_attend(m, qkv, m->block.off[u], i, h * (d / m->shape.heads), work + 3 * part);
    ref_linear(m, w->wo, w->bo, d, d, work + 3 * part, out);
}

static void ref_ffn(const model *m, const struct mltfr_layer_weights *w, const double *x,
                    double *work, double *out)
{
    const int64_t d = m->shape.d;

    ref_linear(m, w->w1, w->b1, d, 4 * d, x, work);
    for (int64_t i = 0; i < m->n * 4 * d; i++)
        work[i] *= .5 * erfc(-work[i] / sqrt(2.));
    ref_linear(m, w->w2, w->b2, 4 * d, d, work, out);
}

/* x becomes alpha LN(x + drop(low + s^2 (x - low))); low by its definition. */
static void ref_frequency(const model *m, int b, double *x, double *bands)
{
    const struct mltfr_layer_weights *w = &m->w.layer[b];
    const int64_t d = m->shape.d;

    for (int64_t u = 0; u < m->block.users; u++)
        for (int64_t i = m->block.off[u]; i < m->block.off[u + 1]; i++)
            for (int64_t j = 0; j < d; j++) {
                const double s = at(m, w->sqrt_beta)[j];
                double low = 0., rows = 0.;

                for (int64_t t = i; t >= m->block.off[u] && t > i - m->shape.average; t--, rows++)
                    low += x[t * d + j];
                low /= rows;
                bands[i * d + j] = low + s * s * (x[i * d + j] - low);
            }
    ref_drop(m, 33 + b, bands, x, x);
    ref_norm(m, w->ln_freq_w, w->ln_freq_b, x, x);
    for (int64_t i = 0; i < m->n * d; i++)
        x[i] *= m->shape.alpha;
}

static void ref_bsarec_layer(const model *m, int b, double *x, double *work)
{
    const struct mltfr_layer_weights *w = &m->w.layer[b];
    const int64_t part = m->n * m->shape.d;
    double *branch = work, *low = work + part, *rest = low + part;

    memcpy(low, x, sizeof *x * (size_t)part);
    ref_attention(m, w, x, rest, branch);
    ref_drop(m, 1 + 2 * b, branch, x, x);
    ref_norm(m, w->ln1_w, w->ln1_b, x, x);
    ref_frequency(m, b, low, branch);
    for (int64_t i = 0; i < part; i++)
        x[i] = low[i] + (1. - m->shape.alpha) * x[i];
    ref_ffn(m, w, x, rest, branch);
    ref_drop(m, 2 + 2 * b, branch, x, x);
    ref_norm(m, w->ln2_w, w->ln2_b, x, x);
}

static double ref_sigmoid(double x)
{
    return 1. / (1. + exp(-x));
}

/* The state behind row i, from the one before it, which is zero at the start of a sequence. */
static void ref_gru_row(const model *m, const struct mltfr_layer_weights *w, const double *gates,
                        const double *before, double *h)
{
    const int64_t d = m->shape.d;

    for (int64_t j = 0; j < d; j++) {
        double part[3];

        for (int g = 0; g < 3; g++) {
            part[g] = at(m, w->b_hh)[g * d + j];
            for (int64_t k = 0; k < d && before != NULL; k++)
                part[g] += at(m, w->w_hh)[(g * d + j) * d + k] * before[k];
        }
        const double r = ref_sigmoid(gates[j] + part[0]), z = ref_sigmoid(gates[d + j] + part[1]);
        const double n = tanh(gates[2 * d + j] + r * part[2]);

        h[j] = (1. - z) * n + z * (before != NULL ? before[j] : 0.);
    }
}

static void ref_gru_layer(const model *m, int b, double *x, double *work)
{
    const struct mltfr_layer_weights *w = &m->w.layer[b];
    const int64_t d = m->shape.d;

    ref_linear(m, w->w_ih, w->b_ih, d, 3 * d, x, work);
    for (int64_t u = 0; u < m->block.users; u++)
        for (int64_t i = m->block.off[u]; i < m->block.off[u + 1]; i++)
            ref_gru_row(m, w, work + i * 3 * d, i > m->block.off[u] ? x + (i - 1) * d : NULL,
                        x + i * d);
    /* the states are needed undropped above, so dropout comes last */
    ref_drop(m, 33 + b, x, NULL, x);
}

static void ref_sasrec_layer(const model *m, int b, double *x, double *work)
{
    const struct mltfr_layer_weights *w = &m->w.layer[b];
    const bool pre = m->shape.pre_norm;
    double *branch = work, *z = work + m->n * m->shape.d, *rest = z + m->n * m->shape.d;

    if (pre)
        ref_norm(m, w->ln1_w, w->ln1_b, x, z);
    ref_attention(m, w, pre ? z : x, rest, branch);
    ref_drop(m, 1 + 2 * b, branch, x, x);
    ref_norm(m, pre ? w->ln2_w : w->ln1_w, pre ? w->ln2_b : w->ln1_b, x, pre ? z : x);
    ref_ffn(m, w, pre ? z : x, rest, branch);
    ref_drop(m, 2 + 2 * b, branch, x, x);
    if (!pre)
        ref_norm(m, w->ln2_w, w->ln2_b, x, x);
}

static void ref_forward(model *m)
{
    static void (*const layer[KINDS])(const model *, int, double *, double *) = {
        ref_sasrec_layer, ref_bsarec_layer, ref_gru_layer};
    const int64_t d = m->shape.d;

    for (int64_t u = 0; u < m->block.users; u++)
        for (int64_t i = m->block.off[u]; i < m->block.off[u + 1]; i++)
            for (int64_t j = 0; j < d; j++) {
                const int64_t place = m->shape.max_len - m->block.off[u + 1] + i;

                m->out[i * d + j] =
                    m->rows[i * d + j] + (m->w.pos != NULL ? at(m, m->w.pos)[place * d + j] : 0.);
            }
    ref_norm(m, m->w.emb_ln_w, m->w.emb_ln_b, m->out, m->out);
    ref_drop(m, 0, m->out, NULL, m->out);
    for (int b = 0; b < (int)m->shape.layers; b++)
        layer[m->shape.kind](m, b, m->out, m->work);
    if (m->shape.pre_norm)
        ref_norm(m, m->w.final_ln_w, m->w.final_ln_b, m->out, m->out);
    if (m->w.dense_w == NULL)
        return;
    memcpy(m->work, m->out, sizeof *m->out * (size_t)(m->n * d));
    ref_linear(m, m->w.dense_w, m->w.dense_b, d, d, m->work, m->out);
}

#endif
