/* One table lists every tensor; slabs and views follow from it. */
#include <mltfr/mem.h>
#include <mltfr/params.h>
#include <mltfr/rng.h>

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { PER_LAYER = 19, PER_EXPERT = 3, OTHERS = 16 };

/* ---- the table ----------------------------------------------------------------------------- */

__attribute__((format(printf, 6, 7))) static mltfr_tensor *
add(mltfr_params *p, mltfr_place place, int ndim, int64_t rows, int64_t cols, const char *name, ...)
{
    mltfr_tensor *t = &p->tensor[p->count++];
    va_list ap;

    va_start(ap, name);
    vsnprintf(t->name, sizeof t->name, name, ap);
    va_end(ap);
    t->ndim = ndim;
    t->dims[0] = rows;
    t->dims[1] = cols;
    t->place = place;
    t->part_of_sasrec = t->trained = true;
    if (place == MLTFR_PLACE_DENSE) {
        t->offset = p->dense.n;
        p->dense.n += rows * cols;
    }
    return t;
}

static void add_norm(mltfr_params *p, const char *name)
{
    const int64_t d = p->spec.backbone.d;

    add(p, MLTFR_PLACE_DENSE, 1, d, 1, "%s.weight", name);
    add(p, MLTFR_PLACE_DENSE, 1, d, 1, "%s.bias", name);
}

static void add_layer(mltfr_params *p, int64_t b)
{
    const int64_t d = p->spec.backbone.d;
    const mltfr_place D = MLTFR_PLACE_DENSE;
    char name[40];

    snprintf(name, sizeof name, "block%lld.ln1", (long long)b);
    add_norm(p, name);
    for (const char *x = "qkvo"; *x; x++) {
        add(p, D, 2, d, d, "block%lld.attn.w%c", (long long)b, *x);
        add(p, D, 1, d, 1, "block%lld.attn.b%c", (long long)b, *x);
    }
    snprintf(name, sizeof name, "block%lld.ln2", (long long)b);
    add_norm(p, name);
    add(p, D, 2, 4 * d, d, "block%lld.ffn.w1", (long long)b);
    add(p, D, 1, 4 * d, 1, "block%lld.ffn.b1", (long long)b);
    add(p, D, 2, d, 4 * d, "block%lld.ffn.w2", (long long)b);
    add(p, D, 1, d, 1, "block%lld.ffn.b2", (long long)b);
    if (p->spec.backbone.kind != MLTFR_MODEL_BACKBONE_BSAREC)
        return;
    add(p, D, 1, d, 1, "block%lld.freq.sqrt_beta", (long long)b);
    snprintf(name, sizeof name, "block%lld.ln_freq", (long long)b);
    add_norm(p, name);
}

static void add_gru(mltfr_params *p, int64_t b)
{
    const int64_t d = p->spec.backbone.d;
    const mltfr_place D = MLTFR_PLACE_DENSE;

    add(p, D, 2, 3 * d, d, "block%lld.gru.w_ih", (long long)b);
    add(p, D, 2, 3 * d, d, "block%lld.gru.w_hh", (long long)b);
    add(p, D, 1, 3 * d, 1, "block%lld.gru.b_ih", (long long)b);
    add(p, D, 1, 3 * d, 1, "block%lld.gru.b_hh", (long long)b);
}

static void add_backbone(mltfr_params *p)
{
    const mltfr_backbone_shape *b = &p->spec.backbone;
    const mltfr_place D = MLTFR_PLACE_DENSE;
    const bool gru = b->kind == MLTFR_MODEL_BACKBONE_GRU4REC;

    if (!gru)
        add(p, D, 2, b->max_len, b->d, "pos.weight");
    add_norm(p, "emb_ln");
    for (int64_t i = 0; i < b->layers; i++)
        (gru ? add_gru : add_layer)(p, i);
    if (b->pre_norm)
        add_norm(p, "final_ln");
    if (gru) {
        add(p, D, 2, b->d, b->d, "dense.weight");
        add(p, D, 1, b->d, 1, "dense.bias");
    }
}

static void add_expert(mltfr_params *p, int64_t k)
{
    const int64_t d = p->spec.backbone.d, r = p->spec.r_c + p->spec.r_s;
    const long long n = k;
    mltfr_tensor *t[PER_EXPERT];

    t[0] = add(p, MLTFR_PLACE_EXPERT, 2, d, r, "expert%lld.wq", n);
    t[1] = add(p, MLTFR_PLACE_EXPERT, 2, r, d, "expert%lld.wv", n);
    t[2] = add(p, MLTFR_PLACE_EXPERT, 1, 1, 1, "expert%lld.log_tau", n);
    t[1]->offset = d * r;
    t[2]->offset = 2 * d * r;
    for (int i = 0; i < PER_EXPERT; i++) {
        t[i]->expert = k;
        t[i]->part_of_sasrec = false;
    }
}

static void add_shared_experts(mltfr_params *p)
{
    const mltfr_place D = MLTFR_PLACE_DENSE;
    const mltfr_params_spec *s = &p->spec;
    const int64_t d = s->backbone.d, before = p->count;

    add(p, D, 2, d, s->r_c, "consensus.wq");
    add(p, D, 2, s->r_c, d, "consensus.wv")->trained = s->train_consensus_wv;
    add(p, D, 1, 1, 1, "consensus.log_tau");
    add(p, D, 1, d, 1, "consensus.gate.w");
    add(p, D, 1, 1, 1, "consensus.gate.b");
    add(p, D, 2, d, s->K, "router.w");
    if (s->inject)
        add(p, D, 2, s->r_c, d, "inject.w");
    for (int64_t i = before; i < p->count; i++)
        p->tensor[i].part_of_sasrec = false;
}

static void fill_table(mltfr_params *p)
{
    const mltfr_params_spec *s = &p->spec;

    add(p, MLTFR_PLACE_ITEM, 2, s->items, s->backbone.d, "item.weight");
    add_backbone(p);
    if (!s->experts)
        return;
    for (int64_t k = 0; k < s->K; k++)
        add_expert(p, k);
    add_shared_experts(p);
}

/* ---- views --------------------------------------------------------------------------------- */

static float *at(const mltfr_params *p, float *base, int64_t from, const char *name)
{
    const mltfr_tensor *t = mltfr_params_find(p, name);

    return t == NULL ? NULL : base + (t->offset - from);
}

typedef struct {
    const char *name;
    size_t field; /* where its pointer stands */
} view_entry;

#define OF_LAYER(name, field)                                                                      \
    {                                                                                              \
        name, offsetof(struct mltfr_layer_weights, field)                                          \
    }
static const view_entry of_layer[] = {OF_LAYER("ln1.weight", ln1_w),
                                      OF_LAYER("ln1.bias", ln1_b),
                                      OF_LAYER("attn.wq", wq),
                                      OF_LAYER("attn.wk", wk),
                                      OF_LAYER("attn.wv", wv),
                                      OF_LAYER("attn.wo", wo),
                                      OF_LAYER("attn.bq", bq),
                                      OF_LAYER("attn.bk", bk),
                                      OF_LAYER("attn.bv", bv),
                                      OF_LAYER("attn.bo", bo),
                                      OF_LAYER("ln2.weight", ln2_w),
                                      OF_LAYER("ln2.bias", ln2_b),
                                      OF_LAYER("ffn.w1", w1),
                                      OF_LAYER("ffn.b1", b1),
                                      OF_LAYER("ffn.w2", w2),
                                      OF_LAYER("ffn.b2", b2),
                                      OF_LAYER("freq.sqrt_beta", sqrt_beta),
                                      OF_LAYER("ln_freq.weight", ln_freq_w),
                                      OF_LAYER("ln_freq.bias", ln_freq_b),
                                      OF_LAYER("gru.w_ih", w_ih),
                                      OF_LAYER("gru.w_hh", w_hh),
                                      OF_LAYER("gru.b_ih", b_ih),
                                      OF_LAYER("gru.b_hh", b_hh)};

static void view_layer(const mltfr_params *p, float *base, int64_t from, int64_t b,
                       struct mltfr_layer_weights *w)
{
    for (size_t i = 0; i < sizeof of_layer / sizeof *of_layer; i++) {
        char name[40];
        float *x;

        snprintf(name, sizeof name, "block%lld.%s", (long long)b, of_layer[i].name);
        x = at(p, base, from, name);
        memcpy((char *)w + of_layer[i].field, &x, sizeof x);
    }
}

void mltfr_params_view_backbone(const mltfr_params *p, float *base, int64_t from,
                                mltfr_backbone_weights *w)
{
    w->pos = at(p, base, from, "pos.weight");
    w->emb_ln_w = at(p, base, from, "emb_ln.weight");
    w->emb_ln_b = at(p, base, from, "emb_ln.bias");
    w->final_ln_w = at(p, base, from, "final_ln.weight");
    w->final_ln_b = at(p, base, from, "final_ln.bias");
    w->dense_w = at(p, base, from, "dense.weight");
    w->dense_b = at(p, base, from, "dense.bias");
    for (int64_t b = 0; b < p->spec.backbone.layers; b++)
        view_layer(p, base, from, b, &w->layer[b]);
}

void mltfr_params_view_router(const mltfr_params *p, float *base, int64_t from,
                              mltfr_router_weights *w)
{
    w->w = at(p, base, from, "router.w");
    w->gate_w = at(p, base, from, "consensus.gate.w");
    w->gate_b = at(p, base, from, "consensus.gate.b");
}

/* ---- life ---------------------------------------------------------------------------------- */

static mltfr_status slab_alloc(mltfr_slab *s)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(MLTFR_NEW(s->w, s->n));
    MLTFR_TRY(MLTFR_NEW(s->g, s->n));
    MLTFR_TRY(MLTFR_NEW(s->m, s->n));
    MLTFR_TRY(MLTFR_NEW(s->v, s->n));
done:
    return st;
}

static void slab_free(mltfr_slab *s)
{
    MLTFR_FREE(s->w);
    MLTFR_FREE(s->g);
    MLTFR_FREE(s->m);
    MLTFR_FREE(s->v);
}

static int64_t expert_floats(const mltfr_params_spec *spec)
{
    return 2 * spec->backbone.d * (spec->r_c + spec->r_s) + 1;
}

mltfr_status mltfr_params_create(const mltfr_params_spec *spec, int64_t item_first,
                                 int64_t item_rows, const bool holds[], mltfr_params **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_params *p = NULL;
    const int64_t d = spec->backbone.d, K = spec->experts ? spec->K : 0;

    *out = NULL;
    MLTFR_TRY(MLTFR_NEW(p, 1));
    p->spec = *spec;
    p->item_first = item_first;
    p->item_rows = item_rows;
    MLTFR_TRY(MLTFR_NEW(p->tensor, spec->backbone.layers * PER_LAYER + K * PER_EXPERT + OTHERS));
    MLTFR_TRY(MLTFR_NEW(p->expert, K));
    fill_table(p);
    p->item.n = item_rows * d;
    for (int64_t k = 0; k < K; k++) {
        p->expert[k].n = holds[k] ? expert_floats(spec) : 0;
        MLTFR_TRY(slab_alloc(&p->expert[k]));
    }
    MLTFR_TRY(slab_alloc(&p->item));
    MLTFR_TRY(slab_alloc(&p->dense));
    mltfr_params_view_backbone(p, p->dense.w, 0, &p->backbone_w);
    mltfr_params_view_router(p, p->dense.w, 0, &p->router_w);
    *out = p;
    p = NULL;
done:
    mltfr_params_destroy(&p);
    return st;
}

mltfr_status mltfr_params_hold(mltfr_params *params, int64_t k)
{
    mltfr_slab *s = &params->expert[k];

    if (s->n > 0)
        return MLTFR_OK;
    slab_free(s);
    s->n = expert_floats(&params->spec);
    return slab_alloc(s);
}

void mltfr_params_destroy(mltfr_params **params)
{
    mltfr_params *p = *params;

    if (p == NULL)
        return;
    for (int64_t k = 0; p->expert != NULL && k < (p->spec.experts ? p->spec.K : 0); k++)
        slab_free(&p->expert[k]);
    slab_free(&p->item);
    slab_free(&p->dense);
    MLTFR_FREE(p->expert);
    MLTFR_FREE(p->tensor);
    MLTFR_FREE(*params);
}

const mltfr_tensor *mltfr_params_find(const mltfr_params *params, const char *name)
{
    for (int64_t i = 0; i < params->count; i++)
        if (strcmp(params->tensor[i].name, name) == 0)
            return &params->tensor[i];
    return NULL;
}

mltfr_slab *mltfr_params_slab(mltfr_params *params, const mltfr_tensor *tensor)
{
    switch (tensor->place) {
    case MLTFR_PLACE_ITEM:
        return &params->item;
    case MLTFR_PLACE_EXPERT:
        return &params->expert[tensor->expert];
    default:
        return &params->dense;
    }
}

int64_t mltfr_params_local(const mltfr_params *params, const mltfr_tensor *tensor)
{
    if (tensor->place == MLTFR_PLACE_ITEM)
        return params->item.n;
    if (tensor->place == MLTFR_PLACE_EXPERT && params->expert[tensor->expert].n == 0)
        return 0;
    return tensor->dims[0] * tensor->dims[1];
}

int64_t mltfr_backbone_numbers(const mltfr_backbone_shape *shape)
{
    const int64_t d = shape->d, with_bias = d * d + d;

    switch (shape->kind) {
    case MLTFR_MODEL_BACKBONE_GRU4REC:
        return 2 * d + shape->layers * 6 * with_bias + with_bias;
    case MLTFR_MODEL_BACKBONE_BSAREC:
        return shape->max_len * d + 2 * d + shape->layers * (12 * d * d + 16 * d);
    default:
        return shape->max_len * d + 2 * d + shape->layers * (12 * d * d + 13 * d) +
               (shape->pre_norm ? 2 * d : 0);
    }
}

int64_t mltfr_params_backbone_end(const mltfr_params *params)
{
    for (int64_t i = 0; i < params->count; i++)
        if (params->tensor[i].place == MLTFR_PLACE_DENSE && !params->tensor[i].part_of_sasrec)
            return params->tensor[i].offset;
    return params->dense.n;
}

int64_t mltfr_params_offset(const mltfr_params *params, const char *name)
{
    return mltfr_params_find(params, name)->offset;
}

/* ---- start values -------------------------------------------------------------------------- */

/* Orthonormal rows (columns where rows > cols) of normal numbers, by Gram-Schmidt in double. */
static mltfr_status draw_orthonormal(uint64_t key, int64_t rows, int64_t cols, float *w)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = rows < cols ? rows : cols, len = rows < cols ? cols : rows;
    double *a = NULL;

    MLTFR_TRY(MLTFR_NEW(a, n * len));
    for (int64_t i = 0; i < n; i++) {
        double *x = a + i * len, norm = 0.;
        for (int64_t c = 0; c < len; c++)
            x[c] = mltfr_rng_normal(key, (uint64_t)(i * len + c));
        for (int64_t j = 0; j < 2 * i; j++) { /* twice: once is not orthogonal enough */
            const double *y = a + j % i * len;
            double dot = 0.;
            for (int64_t c = 0; c < len; c++)
                dot += x[c] * y[c];
            for (int64_t c = 0; c < len; c++)
                x[c] -= dot * y[c];
        }
        for (int64_t c = 0; c < len; c++)
            norm += x[c] * x[c];
        for (int64_t c = 0; c < len; c++)
            x[c] /= sqrt(norm);
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < cols; c++)
            w[i * cols + c] = (float)(rows < cols ? a[i * len + c] : a[c * len + i]);
done:
    MLTFR_FREE(a);
    return st;
}

/* Normal numbers have a standard deviation of .02, 1 or 1 / sqrt(columns). */
typedef enum { ZERO, ONE, NORMAL, UNIT_NORMAL, FAN_NORMAL, ORTHONORMAL } start_kind;

static start_kind start_of(const mltfr_tensor *t)
{
    const char *dot = strrchr(t->name, '.');

    if (strstr(t->name, "ln") != NULL && strcmp(dot, ".weight") == 0)
        return ONE;
    if (strncmp(t->name, "expert", 6) == 0 || strncmp(t->name, "consensus", 9) == 0)
        return strcmp(dot, ".wq") == 0 ? ORTHONORMAL : ZERO;
    if (strcmp(dot, ".sqrt_beta") == 0)
        return UNIT_NORMAL;
    if (t->ndim == 2 && (strstr(t->name, ".gru.") != NULL || strcmp(t->name, "dense.weight") == 0))
        return FAN_NORMAL;
    return t->ndim == 2 && strcmp(t->name, "inject.w") != 0 ? NORMAL : ZERO;
}

static mltfr_status draw(mltfr_params *p, int64_t number, uint64_t seed)
{
    const mltfr_tensor *t = &p->tensor[number];
    float *w = mltfr_params_slab(p, t)->w + t->offset;
    const int64_t n = mltfr_params_local(p, t);
    const uint64_t key = mltfr_rng_key(seed, MLTFR_RNG_INIT, (uint64_t)number);
    const int64_t first = t->place == MLTFR_PLACE_ITEM ? p->item_first * t->dims[1] : 0;
    const start_kind kind = start_of(t);
    const double width = kind == NORMAL        ? .02
                         : kind == UNIT_NORMAL ? 1.
                                               : 1. / sqrt((double)t->dims[1]);

    if (kind == ORTHONORMAL && n > 0)
        return draw_orthonormal(key, t->dims[0], t->dims[1], w);
    for (int64_t i = 0; i < n; i++)
        w[i] = kind == ONE || kind == ZERO
                   ? (float)(kind == ONE)
                   : (float)(width * mltfr_rng_normal(key, (uint64_t)(first + i)));
    return MLTFR_OK;
}

mltfr_status mltfr_params_init(mltfr_params *params, uint64_t seed)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t i = 0; i < params->count; i++)
        MLTFR_TRY(draw(params, i, seed));
done:
    return st;
}
