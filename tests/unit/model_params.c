/* The table of parameters: its parts, its slabs on ranks that hold a share, its start values. */
#include <mltfr/mem.h>
#include <mltfr/params.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { I = 300, D = 32, K = 3, R_C = 10, R_S = 8, R = R_C + R_S };

static const bool all[K] = {true, true, true};

static mltfr_params_spec whole_spec(void)
{
    return (mltfr_params_spec){
        .backbone = {.d = D, .layers = 2, .heads = 2, .max_len = 40, .pre_norm = true},
        .items = I,
        .experts = true,
        .inject = true,
        .K = K,
        .r_c = R_C,
        .r_s = R_S};
}

static mltfr_params *make(const mltfr_params_spec *spec, int64_t first, int64_t rows,
                          const bool holds[])
{
    mltfr_params *p;

    assert_int_equal(mltfr_params_create(spec, first, rows, holds, &p), MLTFR_OK);
    assert_int_equal(mltfr_params_init(p, 11), MLTFR_OK);
    return p;
}

static const mltfr_tensor *must_find(const mltfr_params *p, const char *name)
{
    const mltfr_tensor *t = mltfr_params_find(p, name);

    if (t == NULL)
        fail_msg("no tensor %s", name);
    return t;
}

static float *values(mltfr_params *p, const char *name)
{
    const mltfr_tensor *t = must_find(p, name);

    return mltfr_params_slab(p, t)->w + t->offset;
}

static int64_t size(const mltfr_tensor *t)
{
    return t->dims[0] * t->dims[1];
}

static void assert_shape(const mltfr_params *p, const char *name, int ndim, int64_t rows,
                         int64_t cols)
{
    const mltfr_tensor *t = must_find(p, name);

    assert_int_equal(t->ndim, ndim);
    assert_int_equal(t->dims[0], rows);
    assert_int_equal(t->dims[1], cols);
}

/* The root of the mean square is `width`, within four of its standard errors. */
static void assert_spread(const float *x, int64_t n, double width)
{
    double squares = 0.;

    for (int64_t i = 0; i < n; i++)
        squares += (double)x[i] * x[i] / (double)n;
    assert_true(fabs(sqrt(squares) / width - 1.) < 4. / sqrt(2. * (double)n));
}

static void shapes(void **state)
{
    mltfr_params_spec spec = whole_spec();
    mltfr_params *p = make(&spec, 0, I, all);

    (void)state;
    assert_shape(p, "item.weight", 2, I, D);
    assert_shape(p, "pos.weight", 2, 40, D);
    assert_shape(p, "block1.ffn.w1", 2, 4 * D, D);
    assert_shape(p, "block1.ffn.w2", 2, D, 4 * D);
    assert_shape(p, "block0.attn.bk", 1, D, 1);
    assert_shape(p, "final_ln.bias", 1, D, 1);
    assert_shape(p, "expert2.wq", 2, D, R);
    assert_shape(p, "expert2.wv", 2, R, D);
    assert_shape(p, "consensus.wq", 2, D, R_C);
    assert_shape(p, "consensus.gate.b", 1, 1, 1);
    assert_shape(p, "router.w", 2, D, K);
    assert_shape(p, "inject.w", 2, R_C, D);
    assert_null(mltfr_params_find(p, "block2.ln1.bias"));
    assert_null(mltfr_params_find(p, "expert3.wq"));
    assert_false(must_find(p, "consensus.wv")->trained);
    assert_false(must_find(p, "router.w")->part_of_sasrec);
    assert_true(must_find(p, "final_ln.bias")->part_of_sasrec);
    mltfr_params_destroy(&p);
    assert_null(p);
}

/* The other backbones: their own tensors, their start, and the numbers by formula. */
static void backbones(void **state)
{
    mltfr_params_spec spec = whole_spec();
    mltfr_params *p = make(&spec, 0, I, all);

    (void)state;
    assert_int_equal(mltfr_backbone_numbers(&spec.backbone), mltfr_params_backbone_end(p));
    mltfr_params_destroy(&p);
    spec.backbone.pre_norm = false;
    spec.backbone.kind = MLTFR_MODEL_BACKBONE_BSAREC;
    p = make(&spec, 0, I, all);
    assert_int_equal(mltfr_backbone_numbers(&spec.backbone), mltfr_params_backbone_end(p));
    assert_shape(p, "block1.freq.sqrt_beta", 1, D, 1);
    assert_true(values(p, "block1.ln_freq.weight")[D - 1] == 1.f);
    assert_ptr_equal(p->backbone_w.layer[1].sqrt_beta, values(p, "block1.freq.sqrt_beta"));
    assert_spread(values(p, "block0.freq.sqrt_beta"), D, 1.);
    mltfr_params_destroy(&p);
    spec.backbone.kind = MLTFR_MODEL_BACKBONE_GRU4REC;
    p = make(&spec, 0, I, all);
    assert_int_equal(mltfr_backbone_numbers(&spec.backbone), mltfr_params_backbone_end(p));
    assert_null(mltfr_params_find(p, "pos.weight"));
    assert_null(p->backbone_w.layer[0].wq);
    assert_shape(p, "block1.gru.w_hh", 2, 3 * D, D);
    assert_ptr_equal(p->backbone_w.layer[1].w_hh, values(p, "block1.gru.w_hh"));
    assert_spread(values(p, "block0.gru.w_ih"), 3 * D * D, 1. / sqrt(D));
    assert_spread(values(p, "dense.weight"), D * D, 1. / sqrt(D));
    assert_true(values(p, "block0.gru.b_hh")[0] == 0.f);
    mltfr_params_destroy(&p);
}

/* What a specification leaves out is not there; SASRec's part comes first and stays the same. */
static void parts(void **state)
{
    mltfr_params_spec spec = whole_spec(), plain = spec;
    mltfr_params *p = make(&spec, 0, I, all), *q;

    (void)state;
    plain.experts = false;
    plain.K = 0;
    q = make(&plain, 0, I, NULL);
    assert_int_equal(q->dense.n, mltfr_params_backbone_end(p));
    assert_int_equal(mltfr_params_backbone_end(q), q->dense.n);
    for (int64_t i = 0; i < q->count; i++)
        assert_string_equal(q->tensor[i].name, p->tensor[i].name);
    assert_memory_equal(q->item.w, p->item.w, I * D * sizeof(float));
    assert_memory_equal(q->dense.w, p->dense.w, (size_t)q->dense.n * sizeof(float));
    mltfr_params_destroy(&q);

    plain = spec;
    plain.inject = plain.backbone.pre_norm = false;
    q = make(&plain, 0, I, all);
    assert_null(mltfr_params_find(q, "inject.w"));
    assert_null(mltfr_params_find(q, "final_ln.weight"));
    assert_null(q->backbone_w.final_ln_w);
    mltfr_params_destroy(&q);

    plain.experts = false;
    q = make(&plain, 0, I, all);
    assert_null(mltfr_params_find(q, "consensus.wq"));
    assert_null(q->router_w.gate_w);
    mltfr_params_destroy(&q);
    mltfr_params_destroy(&p);
    spec.train_consensus_wv = true;
    p = make(&spec, 0, I, all);
    assert_true(must_find(p, "consensus.wv")->trained);
    mltfr_params_destroy(&p);
}

/* No two tensors of a slab overlap, and none is left out: marks fill it exactly. */
static void slabs(void **state)
{
    mltfr_params_spec spec = whole_spec();
    mltfr_params *p = make(&spec, 0, I, all);
    int64_t sum = 0, held = p->item.n + p->dense.n;

    (void)state;
    for (int64_t i = 0; i < p->count; i++) {
        const mltfr_tensor *t = &p->tensor[i];
        mltfr_slab *slab = mltfr_params_slab(p, t);
        assert_true(t->offset + size(t) <= slab->n);
        assert_int_equal(mltfr_params_local(p, t), size(t));
        sum += size(t);
        for (int64_t j = 0; j < size(t); j++) {
            assert_true(slab->g[t->offset + j] == 0.f);
            slab->g[t->offset + j] = 1.f;
        }
    }
    for (int64_t k = 0; k < K; k++)
        held += p->expert[k].n;
    assert_int_equal(sum, held);
    assert_ptr_equal(p->backbone_w.layer[1].w2, values(p, "block1.ffn.w2"));
    assert_ptr_equal(p->backbone_w.final_ln_b, values(p, "final_ln.bias"));
    assert_ptr_equal(p->router_w.gate_b, values(p, "consensus.gate.b"));
    assert_int_equal(mltfr_params_offset(p, "router.w"), values(p, "router.w") - p->dense.w);
    mltfr_params_destroy(&p);
}

/* A rank that holds rows 100 .. 149 and LLM 1 alone has the values that a rank with all has. */
static void shares(void **state)
{
    const bool one[K] = {false, true, false};
    mltfr_params_spec spec = whole_spec();
    mltfr_params *p = make(&spec, 0, I, all), *q = make(&spec, 100, 50, one),
                 *none = make(&spec, I, 0, one);

    (void)state;
    assert_int_equal(q->item.n, 50 * D);
    assert_int_equal(none->item.n, 0);
    assert_int_equal(q->expert[0].n, 0);
    assert_int_equal(q->expert[1].n, 2 * D * R + 1);
    assert_int_equal(mltfr_params_local(q, must_find(q, "expert0.wq")), 0);
    assert_int_equal(mltfr_params_local(q, must_find(q, "expert1.wq")), D * R);
    assert_int_equal(mltfr_params_local(q, must_find(q, "item.weight")), 50 * D);
    assert_memory_equal(q->item.w, p->item.w + 100 * D, 50 * D * sizeof(float));
    assert_memory_equal(q->expert[1].w, p->expert[1].w, (size_t)q->expert[1].n * sizeof(float));
    assert_memory_equal(q->dense.w, p->dense.w, (size_t)p->dense.n * sizeof(float));
    mltfr_params_destroy(&p);
    mltfr_params_destroy(&q);
    mltfr_params_destroy(&none);
}

/* Views of a leaf of gradients that begins where the backbone ends. */
static void views(void **state)
{
    mltfr_params_spec spec = whole_spec();
    mltfr_params *p = make(&spec, 0, I, all);
    const int64_t from = mltfr_params_backbone_end(p);
    mltfr_router_weights router;
    mltfr_backbone_weights backbone;
    float *leaf;

    (void)state;
    assert_int_equal(MLTFR_NEW(leaf, p->dense.n), MLTFR_OK);
    mltfr_params_view_router(p, leaf, from, &router);
    assert_int_equal(router.w - leaf, mltfr_params_offset(p, "router.w") - from);
    assert_int_equal(router.gate_w - leaf, mltfr_params_offset(p, "consensus.gate.w") - from);
    mltfr_params_view_backbone(p, leaf, 0, &backbone);
    assert_int_equal(backbone.layer[0].bo - leaf, mltfr_params_offset(p, "block0.attn.bo"));
    MLTFR_FREE(leaf);
    mltfr_params_destroy(&p);
}

/* ---- start values -------------------------------------------------------------------------- */

/* Mean, deviation and fourth moment of N(0, .02^2), within five errors of the estimate. */
static void assert_normal(mltfr_params *p, const char *name)
{
    const float *w = values(p, name);
    const double n = (double)size(must_find(p, name));
    double sum = 0, square = 0, fourth = 0;

    for (int64_t i = 0; i < (int64_t)n; i++) {
        const double x = w[i] / .02;
        sum += x / n;
        square += x * x / n;
        fourth += x * x * x * x / n;
    }
    assert_true(fabs(sum) < 5 / sqrt(n));
    assert_true(fabs(square - 1) < 5 * sqrt(2 / n));
    assert_true(fabs(fourth - 3) < 5 * sqrt(96 / n));
}

static void assert_all(mltfr_params *p, const char *name, float value)
{
    const float *w = values(p, name);

    for (int64_t i = 0; i < size(must_find(p, name)); i++)
        assert_true(w[i] == value);
}

static void start(void **state)
{
    static const char *const zeros[] = {"block0.attn.bq",  "block1.ffn.b1",    "block0.ln1.bias",
                                        "emb_ln.bias",     "final_ln.bias",    "expert0.wv",
                                        "expert2.log_tau", "consensus.wv",     "consensus.log_tau",
                                        "inject.w",        "consensus.gate.w", "consensus.gate.b"};
    static const char *const ones[] = {"emb_ln.weight", "block1.ln2.weight", "final_ln.weight"};
    static const char *const normal[] = {"item.weight",    "pos.weight",    "block0.attn.wq",
                                         "block1.attn.wo", "block0.ffn.w1", "block1.ffn.w2",
                                         "router.w"};
    mltfr_params_spec spec = whole_spec();
    mltfr_params *p = make(&spec, 0, I, all);

    (void)state;
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++)
        assert_all(p, zeros[i], 0.f);
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        assert_all(p, ones[i], 1.f);
    for (size_t i = 0; i < sizeof normal / sizeof *normal; i++)
        assert_normal(p, normal[i]);
    assert_memory_not_equal(values(p, "block0.attn.wq"), values(p, "block0.attn.wk"),
                            D * D * sizeof(float));
    assert_memory_not_equal(values(p, "expert0.wq"), values(p, "expert1.wq"),
                            D * R * sizeof(float));
    mltfr_params_destroy(&p);
}

/* |W W^T - 1| of rows where there are fewer rows than columns, else of columns. */
static double orthonormality(int64_t rows, int64_t cols, const float *w)
{
    const int64_t n = rows < cols ? rows : cols, len = rows < cols ? cols : rows;
    double worst = 0;

    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t c = 0; c < len; c++)
                sum += rows < cols ? (double)w[i * cols + c] * w[j * cols + c]
                                   : (double)w[c * cols + i] * w[c * cols + j];
            worst = fmax(worst, fabs(sum - (i == j)));
        }
    return worst;
}

static void orthonormal(void **state)
{
    const int64_t widths[][2] = {{R_C, R_S}, {40, 30}, {20, 12}}; /* r below, above, equal to d */

    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        mltfr_params_spec spec = whole_spec();
        spec.r_c = widths[i][0];
        spec.r_s = widths[i][1];
        mltfr_params *p = make(&spec, 0, I, all);
        const int64_t r = spec.r_c + spec.r_s;
        for (int64_t k = 0; k < K; k++)
            assert_true(orthonormality(D, r, p->expert[k].w) < 1e-6);
        assert_true(orthonormality(D, spec.r_c, values(p, "consensus.wq")) < 1e-6);
        mltfr_params_destroy(&p);
    }
}

static void seeds(void **state)
{
    mltfr_params_spec spec = whole_spec();
    mltfr_params *p = make(&spec, 0, I, all), *q = make(&spec, 0, I, all);

    (void)state;
    assert_memory_equal(p->item.w, q->item.w, I * D * sizeof(float));
    assert_int_equal(mltfr_params_init(q, 12), MLTFR_OK);
    assert_memory_not_equal(p->item.w, q->item.w, I * D * sizeof(float));
    assert_memory_not_equal(p->expert[0].w, q->expert[0].w, D * R * sizeof(float));
    mltfr_params_destroy(&p);
    mltfr_params_destroy(&q);
}

static int nothing_held(void **state)
{
    (void)state;
    return mltfr_mem_now() != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes), cmocka_unit_test(backbones), cmocka_unit_test(parts),
        cmocka_unit_test(slabs),  cmocka_unit_test(shares),    cmocka_unit_test(views),
        cmocka_unit_test(start),  cmocka_unit_test(seeds),     cmocka_unit_test(orthonormal),
    };

    return cmocka_run_group_tests(tests, NULL, nothing_held);
}
