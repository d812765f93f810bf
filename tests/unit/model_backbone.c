/* The backbone against a plain reference in double: values, gradients by central differences of the
 * reference, causality to the bit, and independence of how rows are cut into blocks. */
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

enum { USERS = 4, FIELDS = 16 };

/* One model with a block: weights in one slab, gradients in another of the same layout. */
typedef struct {
    mltfr_backbone_shape shape;
    mltfr_backbone_weights w, dw;
    mltfr_user_block block;
    int64_t n, floats;
    float *slab, *grad, *x, *h, *dh, *dx, *kept, *scratch;
    double *weights, *rows, *out, *work; /* of the reference */
} model;

static int64_t cut_weights(const mltfr_backbone_shape *s, float *slab, mltfr_backbone_weights *w)
{
    const int64_t d = s->d, sizes[FIELDS] = {d, d, d * d, d * d, d * d,     d * d, d,         d,
                                             d, d, d,     d,     4 * d * d, 4 * d, 4 * d * d, d};
    int64_t used = s->max_len * d + 2 * d;

    *w = (mltfr_backbone_weights){.pos = slab};
    w->emb_ln_w = slab + s->max_len * d;
    w->emb_ln_b = w->emb_ln_w + d;
    for (int64_t b = 0; b < s->layers; b++) {
        struct mltfr_layer_weights *l = &w->layer[b];
        float **field[FIELDS] = {&l->ln1_w, &l->ln1_b, &l->wq, &l->wk, &l->wv,    &l->wo,
                                 &l->bq,    &l->bk,    &l->bv, &l->bo, &l->ln2_w, &l->ln2_b,
                                 &l->w1,    &l->b1,    &l->w2, &l->b2};

        for (int i = 0; i < FIELDS; used += sizes[i++])
            *field[i] = slab + used;
    }
    if (!s->pre_norm)
        return used;
    w->final_ln_w = slab + used;
    w->final_ln_b = w->final_ln_w + d;
    return used + 2 * d;
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
    assert_int_equal(MLTFR_NEW(m->work, n * d * 12), MLTFR_OK);
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

static void ref_layer(const model *m, int b, double *x, double *work)
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
    const int64_t d = m->shape.d;

    for (int64_t u = 0; u < m->block.users; u++)
        for (int64_t i = m->block.off[u]; i < m->block.off[u + 1]; i++)
            for (int64_t j = 0; j < d; j++)
                m->out[i * d + j] =
                    m->rows[i * d + j] +
                    at(m, m->w.pos)[(m->shape.max_len - m->block.off[u + 1] + i) * d + j];
    ref_norm(m, m->w.emb_ln_w, m->w.emb_ln_b, m->out, m->out);
    ref_drop(m, 0, m->out, NULL, m->out);
    for (int b = 0; b < (int)m->shape.layers; b++)
        ref_layer(m, b, m->out, m->work);
    if (m->shape.pre_norm)
        ref_norm(m, m->w.final_ln_w, m->w.final_ln_b, m->out, m->out);
}

/* sum of out * dh: what the gradients are of. */
static double ref_loss(model *m)
{
    double sum = 0.;

    ref_forward(m);
    for (int64_t i = 0; i < m->n * m->shape.d; i++)
        sum += m->out[i] * draw(3, i);
    return sum;
}

static double central_difference(model *m, double *value)
{
    const double step = 1e-5, middle = *value;

    *value = middle + step;
    double up = ref_loss(m);

    *value = middle - step;
    double down = ref_loss(m);

    *value = middle;
    return (up - down) / (2. * step);
}

static void forward(model *m)
{
    mltfr_backbone_forward(&m->shape, &m->w, &m->block, m->x, m->kept, m->scratch, m->h);
}

static void backward(model *m)
{
    mltfr_backbone_backward(&m->shape, &m->w, &m->block, m->kept, m->scratch, m->dh, &m->dw, m->dx);
}

static void assert_close(double a, double b, double tolerance, int64_t place)
{
    if (!(fabs(a - b) <= tolerance * fmax(1., fabs(b))))
        fail_msg("place %d: %.9g is not %.9g", (int)place, a, b);
}

/* About `samples` weights, and as many inputs, are moved. */
static void check_model(mltfr_backbone_shape shape, const int32_t *off, int64_t samples)
{
    model m;

    make_model(shape, off, USERS, &m);
    forward(&m);
    ref_forward(&m);
    for (int64_t i = 0; i < m.n * shape.d; i++)
        assert_close(m.h[i], m.out[i], 1e-5, i);
    for (int64_t i = 0; i < m.floats; i++)
        m.grad[i] = 1.f;
    backward(&m);
    for (int64_t i = 0; i < m.floats; i += 1 + m.floats / samples)
        assert_close(m.grad[i], 1. + central_difference(&m, &m.weights[i]), 5e-5, i);
    for (int64_t i = 0; i < m.n * shape.d; i += 1 + m.n * shape.d / samples)
        assert_close(m.dx[i], central_difference(&m, &m.rows[i]), 5e-5, i);
    free_model(&m);
}

static const int32_t offsets[USERS + 1] = {0, 1, 8, 11, 17};
static const int32_t long_offsets[USERS + 1] = {0, 37, 38, 54, 59};

static void post_norm_matches_the_reference(void **state)
{
    (void)state;
    check_model((mltfr_backbone_shape){12, 2, 2, 7, false, 1e-5f, 0.f}, offsets, 500);
    check_model((mltfr_backbone_shape){12, 2, 3, 9, false, 1e-5f, .3f}, offsets, 500);
    check_model((mltfr_backbone_shape){32, 1, 2, 40, false, 1e-5f, .5f}, long_offsets, 60);
}

static void pre_norm_matches_the_reference(void **state)
{
    (void)state;
    check_model((mltfr_backbone_shape){12, 2, 2, 7, true, 1e-5f, 0.f}, offsets, 500);
    check_model((mltfr_backbone_shape){12, 3, 1, 9, true, 1e-5f, .3f}, offsets, 500);
}

static void no_layers_is_the_embedding(void **state)
{
    (void)state;
    check_model((mltfr_backbone_shape){12, 0, 2, 7, false, 1e-5f, .2f}, offsets, 100);
}

/* Changing items after row t of a user, even to Inf and NaN, leaves the rows up to t as they are,
 * and all rows of the other users. */
static void check_causality(bool pre_norm)
{
    const mltfr_backbone_shape shape = {32, 2, 2, 40, pre_norm, 1e-5f, .2f};
    const int64_t bytes = (int64_t)sizeof(float) * shape.d;
    float before[59 * 32];
    model m;

    make_model(shape, long_offsets, USERS, &m);
    forward(&m);
    memcpy(before, m.h, sizeof before);
    for (int64_t t = 35; t >= 0; t--) {
        const int64_t after = long_offsets[1] - (t + 1);

        for (int64_t j = 0; j < shape.d; j++)
            m.x[(t + 1) * shape.d + j] = t % 3 ? draw(8, j) : t % 2 ? NAN : INFINITY;
        forward(&m);
        assert_memory_equal(m.h, before, (size_t)((t + 1) * bytes));
        assert_memory_not_equal(m.h + (t + 1) * shape.d, before + (t + 1) * shape.d,
                                (size_t)(after * bytes));
        assert_memory_equal(m.h + 37 * shape.d, before + 37 * shape.d, (size_t)(22 * bytes));
    }
    free_model(&m);
}

static void later_items_change_no_bit(void **state)
{
    (void)state;
    check_causality(false);
    check_causality(true);
}

/* The same users in one block and in two: the same dropout, the same values to rounding. */
static void blocks_do_not_move_dropout(void **state)
{
    const mltfr_backbone_shape shape = {12, 2, 2, 7, false, 1e-5f, .5f};
    const int32_t first[] = {0, 1, 8}, second[] = {0, 3, 9};
    float whole[17 * 12];
    model m;

    (void)state;
    make_model(shape, offsets, USERS, &m);
    forward(&m);
    memcpy(whole, m.h, sizeof whole);
    m.block.users = 2;
    m.block.off = first;
    forward(&m);
    m.block.off = second;
    m.block.row0 += 8;
    mltfr_backbone_forward(&shape, &m.w, &m.block, m.x + 8 * 12, m.kept, m.scratch, m.h + 8 * 12);
    for (int64_t i = 0; i < 17 * 12; i++)
        assert_close(m.h[i], whole[i], 1e-5, i);
    m.block.row0++;
    mltfr_backbone_forward(&shape, &m.w, &m.block, m.x + 8 * 12, m.kept, m.scratch, m.h + 8 * 12);
    assert_true(fabs(m.h[16 * 12] - whole[16 * 12]) > 1e-3);
    free_model(&m);
}

/* The same call twice, in memory of another alignment, gives the same bits. */
static void repetition_gives_the_same_bits(void **state)
{
    const mltfr_backbone_shape shape = {12, 2, 2, 7, false, 1e-5f, .5f};
    float h[17 * 12 + 1], *grad = NULL;
    model m;

    (void)state;
    make_model(shape, offsets, USERS, &m);
    assert_int_equal(MLTFR_NEW(grad, m.floats), MLTFR_OK);
    forward(&m);
    backward(&m);
    memcpy(grad, m.grad, sizeof *grad * (size_t)m.floats);
    memset(m.grad, 0, sizeof *grad * (size_t)m.floats);
    for (int64_t i = 0; i < m.n * shape.d; i++)
        m.dh[i] = draw(3, i);
    mltfr_backbone_forward(&shape, &m.w, &m.block, m.x, m.kept, m.scratch, h + 1);
    backward(&m);
    assert_memory_equal(h + 1, m.h, sizeof h - sizeof *h);
    assert_memory_equal(grad, m.grad, sizeof *grad * (size_t)m.floats);
    MLTFR_FREE(grad);
    free_model(&m);
}

static void an_empty_block_is_nothing(void **state)
{
    const int32_t off[1] = {0};
    model m;

    (void)state;
    for (int pre = 0; pre < 2; pre++) {
        make_model((mltfr_backbone_shape){12, 2, 2, 7, pre == 1, 1e-5f, .5f}, off, 0, &m);
        forward(&m);
        backward(&m);
        for (int64_t i = 0; i < m.floats; i++)
            assert_true(m.grad[i] == 0.f);
        free_model(&m);
    }
}

static void kept_is_frugal(void **state)
{
    const mltfr_backbone_shape shape = {64, 2, 2, 50, false, 1e-5f, .5f};

    (void)state;
    assert_true(mltfr_backbone_kept(&shape, 256) <= 256 * 64 * (2 * 17 + 2));
}

static void rmsnorm_matches_its_formula(void **state)
{
    enum { N = 3, D = 21 };
    float h[N * D], q[N * D], dq[N * D], dh[N * D];

    (void)state;
    for (int i = 0; i < N * D; i++) {
        h[i] = draw(4, i);
        dq[i] = draw(5, i);
        dh[i] = 1.f;
    }
    mltfr_rmsnorm_forward(N, D, 1e-6f, h, q);
    mltfr_rmsnorm_backward(N, D, 1e-6f, h, dq, dh);
    for (int i = 0; i < N; i++) {
        double squares = 0., along = 0.;

        for (int j = i * D; j < (i + 1) * D; j++) {
            squares += (double)h[j] * h[j] / D;
            along += (double)h[j] * dq[j] / D;
        }
        const double r = 1. / sqrt(squares + 1e-6);

        for (int j = i * D; j < (i + 1) * D; j++) {
            assert_close(q[j], h[j] * r, 1e-6, j);
            assert_close(dh[j], 1. + r * (dq[j] - h[j] * along * r * r), 2e-6, j);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(post_norm_matches_the_reference),
        cmocka_unit_test(pre_norm_matches_the_reference),
        cmocka_unit_test(no_layers_is_the_embedding),
        cmocka_unit_test(later_items_change_no_bit),
        cmocka_unit_test(blocks_do_not_move_dropout),
        cmocka_unit_test(repetition_gives_the_same_bits),
        cmocka_unit_test(an_empty_block_is_nothing),
        cmocka_unit_test(kept_is_frugal),
        cmocka_unit_test(rmsnorm_matches_its_formula),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
