/* A golden file is loaded into a model as training would hold it, on any number of ranks, and run
 * through the functions of training.  Names and layouts are those of the files themselves. */
#include "replay_impl.h"

#include <mltfr/conditioning.h>
#include <mltfr/trainer.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- arrays -------------------------------------------------------------------------------- */

mltfr_status mltfr_replay_get(mltfr_replay_case *c, mltfr_dtype type, void *out, int64_t *count,
                              const char *format, ...)
{
    mltfr_status st = MLTFR_OK;
    mltfr_shape shape;
    char name[128];
    void *data = NULL;
    va_list ap;

    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    MLTFR_AGREE(c->comm, mltfr_file_shape(c->in, name, &shape));
    *count = mltfr_shape_count(&shape);
    MLTFR_AGREE(c->comm, mltfr_alloc(&data, (size_t)*count, (size_t)mltfr_dtype_bytes(type)));
    MLTFR_TRY(mltfr_file_read(c->in, name, type, 0, shape.ndim == 0 ? 1 : shape.dims[0], data));
    memcpy(out, &data, sizeof data);
    data = NULL;
done:
    MLTFR_FREE(data);
    return st;
}

mltfr_status mltfr_replay_put(mltfr_replay_case *c, mltfr_dtype type, int ndim,
                              const int64_t dims[], int64_t first, int64_t own, const void *data,
                              const char *format, ...)
{
    mltfr_shape shape = {.type = type, .ndim = ndim};
    char name[128];
    va_list ap;

    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    for (int i = 0; i < ndim; i++)
        shape.dims[i] = dims[i];
    return mltfr_file_write(c->out, name, &shape, first, own, data);
}

/* ---- configuration ------------------------------------------------------------------------- */

static mltfr_status number(mltfr_replay_case *c, const char *name, double *out)
{
    return mltfr_file_get_f64(c->in, "/", name, out);
}

static mltfr_status integer(mltfr_replay_case *c, const char *name, int64_t *out)
{
    return mltfr_file_get_i64(c->in, "/", name, out);
}

static mltfr_status read_rates(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_settings *s = &c->settings;

    MLTFR_TRY(number(c, "lr", &c->lr));
    MLTFR_TRY(number(c, "clip", &c->clip));
    MLTFR_TRY(number(c, "beta1", &s->train_beta1));
    MLTFR_TRY(number(c, "beta2", &s->train_beta2));
    MLTFR_TRY(number(c, "adam_eps", &s->train_adam_eps));
    MLTFR_TRY(number(c, "weight_decay", &s->train_weight_decay));
    MLTFR_TRY(number(c, "bias_u", &s->router_bias_rate));
    MLTFR_TRY(number(c, "rho", &s->fisher_pull));
    MLTFR_TRY(number(c, "fisher_decay", &s->fisher_decay));
    MLTFR_TRY(number(c, "kappa", &s->fisher_kappa));
    MLTFR_TRY(number(c, "lam", &s->fisher_ridge));
    MLTFR_TRY(number(c, "eta", &s->fisher_blend));
done:
    return st;
}

/* The file has no such attributes where the backbone is SASRec. */
static mltfr_status read_backbone(mltfr_replay_case *c, mltfr_backbone_shape *b)
{
    static const char *const words[] = {[MLTFR_MODEL_BACKBONE_SASREC] = "sasrec",
                                        [MLTFR_MODEL_BACKBONE_BSAREC] = "bsarec",
                                        [MLTFR_MODEL_BACKBONE_GRU4REC] = "gru4rec"};
    const int count = sizeof words / sizeof *words;
    mltfr_status st = MLTFR_OK;
    char *word = NULL;
    double alpha = 0.;

    if (!mltfr_file_has_attr(c->in, "/", "backbone"))
        return MLTFR_OK;
    MLTFR_TRY(mltfr_file_get_text(c->in, "/", "backbone", &word));
    while (b->kind < count && strcmp(word, words[b->kind]) != 0)
        b->kind++;
    MLTFR_TRY(integer(c, "average", &b->average));
    MLTFR_TRY(number(c, "alpha", &alpha));
    b->alpha = (float)alpha;
    if (b->kind == count || b->average < 1 || !(alpha >= 0. && alpha <= 1.))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: backbone %s with average %lld and alpha %g: not taken",
                   mltfr_file_path(c->in), word, (long long)b->average, alpha);
done:
    MLTFR_FREE(word);
    return st;
}

static mltfr_status read_spec(mltfr_replay_case *c, mltfr_params_spec *spec)
{
    mltfr_status st = MLTFR_OK;
    mltfr_settings *s = &c->settings;
    int64_t inject, post, detach, consensus;
    double ln_eps;

    MLTFR_TRY(read_backbone(c, &spec->backbone));
    MLTFR_TRY(integer(c, "n_items", &spec->items));
    MLTFR_TRY(integer(c, "d", &spec->backbone.d));
    MLTFR_TRY(integer(c, "n_layers", &spec->backbone.layers));
    MLTFR_TRY(integer(c, "n_heads", &spec->backbone.heads));
    MLTFR_TRY(integer(c, "L", &spec->backbone.max_len));
    MLTFR_TRY(integer(c, "K", &spec->K));
    MLTFR_TRY(integer(c, "r_c", &spec->r_c));
    MLTFR_TRY(integer(c, "r_s", &spec->r_s));
    MLTFR_TRY(integer(c, "inject", &inject));
    MLTFR_TRY(integer(c, "norm_post", &post));
    MLTFR_TRY(integer(c, "consensus", &consensus));
    MLTFR_TRY(integer(c, "k_r", &s->router_top_k));
    MLTFR_TRY(integer(c, "M", &s->filter_pool));
    MLTFR_TRY(integer(c, "m", &s->filter_top_m));
    MLTFR_TRY(integer(c, "detach_query", &detach));
    MLTFR_TRY(number(c, "ln_eps", &ln_eps));
    const mltfr_backbone_shape *b = &spec->backbone;

    if (spec->items < 1 || b->d < 1 || b->layers < 0 || b->layers > MLTFR_MAX_LAYERS ||
        b->heads < 1 || b->d % b->heads != 0 || b->max_len < 1 || spec->K < 1 ||
        spec->K > MLTFR_MAX_LLMS || spec->r_c < 1 || spec->r_s < 0 || s->router_top_k < 1 ||
        s->filter_pool < 1 || s->filter_top_m < 1 || s->filter_top_m > MLTFR_MAX_TOP ||
        consensus == 0 || (post == 0 && b->kind != MLTFR_MODEL_BACKBONE_SASREC))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: sizes that this program does not take",
                   mltfr_file_path(c->in));
    spec->backbone.ln_eps = (float)ln_eps;
    spec->backbone.pre_norm = post == 0;
    spec->inject = inject != 0;
    spec->experts = true;
    s->filter_detach_query = detach != 0;
done:
    return st;
}

/* ---- the model ----------------------------------------------------------------------------- */

void mltfr_replay_space_name(int64_t K, int64_t k, char name[24])
{
    if (k < K)
        snprintf(name, 24, "%lld", (long long)k);
    else
        snprintf(name, 24, "c");
}

static mltfr_status view_spaces(mltfr_replay_case *c, const mltfr_params_spec *spec)
{
    mltfr_status st = MLTFR_OK;
    mltfr_shape shape;
    char space[24], name[64];

    c->spaces = (mltfr_spaces){
        .K = spec->K, .r_c = spec->r_c, .r_s = spec->r_s, .file = c->in, .comm = c->comm};
    for (int64_t k = 0; k <= spec->K; k++) {
        const int64_t width = k < spec->K ? spec->r_c + spec->r_s : spec->r_c;

        mltfr_replay_space_name(spec->K, k, space);
        snprintf(name, sizeof name, "spaces/%s/Z", space);
        MLTFR_TRY(mltfr_file_shape(c->in, name, &shape));
        if (shape.ndim != 2 || shape.dims[0] < 1 || shape.dims[1] != width)
            MLTFR_FAIL(MLTFR_E_DATA, "%s: %s: %lld columns are needed", mltfr_file_path(c->in),
                       name, (long long)width);
        c->spaces.rows[k] = shape.dims[0];
    }
done:
    return st;
}

static mltfr_status load_tensor(mltfr_replay_case *c, const mltfr_tensor *t, const char *group,
                                float *slab)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_params *p = c->e->params;
    const int64_t first = t->place == MLTFR_PLACE_ITEM ? p->item_first : 0;
    const int64_t rows = mltfr_params_local(p, t) / t->dims[1];
    const mltfr_shape shape = {MLTFR_F32, t->ndim, {t->dims[0], t->dims[1]}};
    char name[80];

    snprintf(name, sizeof name, "%s/%s", group, t->name);
    MLTFR_TRY(mltfr_file_read_as(c->in, name, &shape, first, rows, slab + t->offset));
done:
    return st;
}

static mltfr_status load_params(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_params *p = c->e->params;

    for (int64_t i = 0; i < p->count; i++) {
        const mltfr_tensor *t = &p->tensor[i];
        const mltfr_slab *s = mltfr_params_slab(p, t);
        MLTFR_TRY(load_tensor(c, t, "params", s->w));
        if (!t->trained)
            continue;
        MLTFR_TRY(load_tensor(c, t, "adam/m", s->m));
        MLTFR_TRY(load_tensor(c, t, "adam/v", s->v));
    }
done:
    return st;
}

static mltfr_status load_state(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;
    mltfr_fisher *f = e->fisher;

    MLTFR_TRY(
        mltfr_file_read_list(c->in, "state/router_bias", MLTFR_F32, 0, e->K, e->at.router_bias));
    MLTFR_TRY(mltfr_file_read_as(c->in, "state/fisher/num_A",
                                 &(mltfr_shape){MLTFR_F64, 3, {e->K, e->r_c, e->r_c}}, 0, e->K,
                                 f->num_A));
    MLTFR_TRY(
        mltfr_file_read_list(c->in, "state/fisher/sum_omega", MLTFR_F64, 0, e->K, f->sum_omega));
    MLTFR_TRY(
        mltfr_file_read_list(c->in, "state/fisher/num_beta", MLTFR_F64, 0, e->K, f->num_beta));
    MLTFR_TRY(mltfr_file_read_list(c->in, "state/fisher/n_rows", MLTFR_F64, 0, e->K, f->n_rows));
    MLTFR_TRY(integer(c, "step", &e->at.step));
    e->at.expert_start = 0;
done:
    return st;
}

mltfr_status mltfr_replay_restore(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;

    for (int64_t k = 0; k <= e->K; k++) {
        mltfr_token_space *s = &e->space[k];
        const int64_t own = s->group != NULL ? s->M : 0;
        char name[64];
        snprintf(name, sizeof name, "spaces/%lld/pool_ids", (long long)k);
        MLTFR_TRY(mltfr_file_read_list(c->in, k < e->K ? name : "spaces/c/pool_ids", MLTFR_I64, 0,
                                       own, s->pool));
        MLTFR_AGREE(e->comm, mltfr_pool_rows(e, k));
    }
    mltfr_experts_project(e);
    if (e->spec.inject)
        MLTFR_TRY(mltfr_file_read_as(c->in, "state/X_I",
                                     &(mltfr_shape){MLTFR_F32, 2, {e->spec.items, e->r_c}},
                                     e->item_first, e->item_rows, e->X_I));
    MLTFR_TRY(mltfr_inject_apply(e));
done:
    return st;
}

static mltfr_status check_ids(mltfr_replay_case *c, const char *where, int64_t n,
                              const int32_t *ids)
{
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 1 || ids[i] > c->e->spec.items)
            return mltfr_fail(MLTFR_E_DATA, "%s: %s: item %d: 1 to %lld are allowed",
                              mltfr_file_path(c->in), where, (int)ids[i],
                              (long long)c->e->spec.items);
    return MLTFR_OK;
}

/* A batch of the users between the n offsets. */
static mltfr_status make_batch(mltfr_replay_case *c, const char *where, int64_t n,
                               const int64_t *off, mltfr_batch **out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t longest = c->e->spec.backbone.max_len;
    int32_t *lengths = NULL;

    if (n < 2 || off[0] != 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %s/offsets: no sequences", mltfr_file_path(c->in), where);
    MLTFR_TRY(MLTFR_NEW(lengths, n));
    for (int64_t u = 0; u + 1 < n; u++) {
        if (off[u + 1] <= off[u] || off[u + 1] - off[u] > longest)
            MLTFR_FAIL(MLTFR_E_DATA, "%s: %s/offsets: sequence %lld: 1 to %lld items are allowed",
                       mltfr_file_path(c->in), where, (long long)u, (long long)longest);
        lengths[u] = (int32_t)(off[u + 1] - off[u]);
    }
    MLTFR_TRY(mltfr_batch_create(n - 1, lengths, out));
done:
    MLTFR_FREE(lengths);
    return st;
}

mltfr_status mltfr_replay_sequences(mltfr_replay_case *c, const char *where, mltfr_batch **out)
{
    mltfr_status st = MLTFR_OK;
    int64_t *off = NULL, n = 0;
    char name[64];

    MLTFR_TRY(mltfr_replay_get(c, MLTFR_I64, &off, &n, "%s/offsets", where));
    MLTFR_AGREE(c->comm, make_batch(c, where, n, off, out));
    snprintf(name, sizeof name, "%s/items", where);
    MLTFR_TRY(mltfr_file_read_as(c->in, name, &(mltfr_shape){MLTFR_I32, 1, {(*out)->rows}}, 0,
                                 (*out)->rows, (*out)->items));
    MLTFR_AGREE(c->comm, check_ids(c, name, (*out)->rows, (*out)->items));
done:
    MLTFR_FREE(off);
    return st;
}

static mltfr_status load_batch(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_replay_sequences(c, "batch", &c->batch));
    const int64_t n = c->batch->rows;

    MLTFR_TRY(mltfr_file_read_as(c->in, "batch/targets", &(mltfr_shape){MLTFR_I32, 1, {n}}, 0, n,
                                 c->batch->targets));
    MLTFR_AGREE(c->comm, check_ids(c, "batch/targets", n, c->batch->targets));
done:
    return st;
}

mltfr_status mltfr_replay_load(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_params_spec spec = {0};
    double rms_eps = 0.;

    c->settings = mltfr_settings_defaults();
    MLTFR_AGREE(c->comm, read_rates(c));
    MLTFR_AGREE(c->comm, read_spec(c, &spec));
    MLTFR_AGREE(c->comm, number(c, "rms_eps", &rms_eps));
    MLTFR_AGREE(c->comm, view_spaces(c, &spec));
    MLTFR_TRY(mltfr_engine_create(c->comm, &c->settings, &spec, &c->e));
    c->e->rms_eps = (float)rms_eps;
    MLTFR_TRY(mltfr_engine_load_spaces(c->e, &c->spaces));
    MLTFR_TRY(load_params(c));
    MLTFR_TRY(load_state(c));
    MLTFR_TRY(mltfr_replay_restore(c));
    MLTFR_TRY(load_batch(c));
done:
    return st;
}

void mltfr_replay_unload(mltfr_replay_case *c)
{
    mltfr_batch_destroy(&c->batch);
    mltfr_engine_destroy(&c->e);
}

static mltfr_status replay_training(mltfr_comm *comm, mltfr_file *in, const char *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_replay_case c = {.comm = comm, .in = in};

    MLTFR_TRY(mltfr_replay_load(&c));
    MLTFR_TRY(mltfr_file_create(comm, out, &c.out));
    MLTFR_TRY(mltfr_replay_probes(&c));
    MLTFR_TRY(mltfr_replay_restore(&c));
    MLTFR_TRY(mltfr_replay_step(&c));
    MLTFR_TRY(mltfr_file_close(&c.out));
done:
    mltfr_file_destroy(&c.out);
    mltfr_replay_unload(&c);
    return st;
}

mltfr_status mltfr_replay(mltfr_comm *comm, const char *in, const char *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *file = NULL;
    char *format = NULL, *kind = NULL;

    MLTFR_TRY(mltfr_file_open(comm, in, &file));
    st = mltfr_file_get_text(file, "/", "format", &format);
    if (st == MLTFR_OK)
        st = mltfr_file_get_text(file, "/", "kind", &kind);
    if (st == MLTFR_E_DATA || (st == MLTFR_OK && strcmp(format, "mltfr-golden") != 0))
        st = mltfr_fail(MLTFR_E_DATA, "%s: not a golden file, as tests/golden has them", in);
    MLTFR_AGREE(comm, st);
    if (strcmp(kind, "training") == 0) {
        st = replay_training(comm, file, out);
    } else {
        mltfr_file_destroy(&file);
        st = mltfr_replay_conditioning(comm, in, out);
    }
done:
    MLTFR_FREE(format);
    MLTFR_FREE(kind);
    mltfr_file_destroy(&file);
    return st;
}
