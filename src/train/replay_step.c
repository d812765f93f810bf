/* One training step of a golden file in the order of C6, with everything on the way written. */
#include "replay_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- own queries --------------------------------------------------------------------------- */

/* [N][cols] of which this rank has the rows of its queries. */
static mltfr_status put_rows(mltfr_replay_case *c, mltfr_dtype type, int64_t cols, const void *data,
                             const char *name)
{
    const mltfr_run *run = &c->e->run;
    const int64_t dims[] = {c->batch->rows, cols};

    return mltfr_replay_put(c, type, cols == 0 ? 1 : 2, dims, run->q0, run->queries, data, "%s",
                            name);
}

static mltfr_status put_one(mltfr_replay_case *c, double value, const char *name)
{
    return mltfr_replay_put(c, MLTFR_F64, 0, NULL, 0, c->e->rank == 0, &value, "%s", name);
}

static mltfr_status put_forward(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_run *run = &c->e->run;
    const int64_t d = c->e->spec.backbone.d, K = c->e->K;

    MLTFR_TRY(put_rows(c, MLTFR_F32, d, run->h, "expect/h"));
    MLTFR_TRY(put_rows(c, MLTFR_F32, d, run->q, "expect/q"));
    MLTFR_TRY(put_rows(c, MLTFR_F32, d, run->delta, "expect/delta"));
    MLTFR_TRY(put_rows(c, MLTFR_F32, d, run->H + run->q0 * d, "expect/h_out"));
    MLTFR_TRY(put_rows(c, MLTFR_F32, K, run->routes.p, "expect/route/p"));
    MLTFR_TRY(put_rows(c, MLTFR_F32, K, run->routes.g, "expect/route/g"));
    MLTFR_TRY(put_rows(c, MLTFR_U8, K, run->routes.selected, "expect/route/selected"));
    MLTFR_TRY(put_rows(c, MLTFR_F32, 0, run->routes.gate, "expect/route/gate"));
done:
    return st;
}

/* ---- filters ------------------------------------------------------------------------------- */

typedef struct {
    int32_t *J;
    float *a, *x, *y;
} filter_rows;

static mltfr_status filter_rooms(int64_t n, int64_t m, int64_t width, int64_t d, filter_rows *f)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(MLTFR_NEW(f->J, n * m));
    MLTFR_TRY(MLTFR_NEW(f->a, n * m));
    MLTFR_TRY(MLTFR_NEW(f->x, n * width));
    MLTFR_TRY(MLTFR_NEW(f->y, n * d));
done:
    return st;
}

static void free_filter(filter_rows *f)
{
    MLTFR_FREE(f->J);
    MLTFR_FREE(f->a);
    MLTFR_FREE(f->x);
    MLTFR_FREE(f->y);
}

static mltfr_status put_filter(mltfr_replay_case *c, const char *k, int64_t width,
                               const filter_rows *f)
{
    mltfr_status st = MLTFR_OK;
    const int64_t m = c->e->m, d = c->e->spec.backbone.d;
    char name[64];

    snprintf(name, sizeof name, "expect/filter/%s/J", k);
    MLTFR_TRY(put_rows(c, MLTFR_I32, m, f->J, name));
    snprintf(name, sizeof name, "expect/filter/%s/a", k);
    MLTFR_TRY(put_rows(c, MLTFR_F32, m, f->a, name));
    snprintf(name, sizeof name, "expect/filter/%s/x", k);
    MLTFR_TRY(put_rows(c, MLTFR_F32, width, f->x, name));
    snprintf(name, sizeof name, "expect/filter/%s/y", k);
    MLTFR_TRY(put_rows(c, MLTFR_F32, d, f->y, name));
done:
    return st;
}

static mltfr_status put_consensus_filter(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_engine *e = c->e;
    const mltfr_run *run = &e->run;
    filter_rows f = {run->J_c, run->a_c, NULL, run->y_c};

    MLTFR_AGREE(e->comm, MLTFR_NEW(f.x, run->queries * e->r_c));
    mltfr_filter_mix(run->queries, e->m, f.J, f.a, e->space[e->K].Z_pool, e->r_c, e->r_c, f.x);
    MLTFR_TRY(put_filter(c, "c", e->r_c, &f));
done:
    MLTFR_FREE(f.x);
    return st;
}

/* x of all received rows at the experts; J, a and x then go back as y did. */
static mltfr_status return_choices(mltfr_replay_case *c, filter_rows *sent)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;
    mltfr_routed *r = &e->run.routed;
    const int64_t blocks = c->batch->blocks, m = e->m, w = e->r;
    const int64_t n = mltfr_exchange_sent(r->plan);
    float *x = NULL;

    st = MLTFR_NEW(x, r->received * w);
    if (st == MLTFR_OK)
        st = filter_rooms(n, m, w, 0, sent);
    MLTFR_AGREE(e->comm, st);
    for (int64_t k = 0; k < e->K; k++)
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t at = r->recv_at[k * blocks + b];
            if (at >= 0)
                mltfr_filter_mix(r->count[b * e->K + k], m, r->J + at * m, r->a + at * m,
                                 e->space[k].Z_pool, w, w, x + at * w);
        }
    mltfr_exchange_reverse(r->plan, m * (int64_t)sizeof *r->J, r->J, sent->J);
    mltfr_exchange_reverse(r->plan, m * (int64_t)sizeof *r->a, r->a, sent->a);
    mltfr_exchange_reverse(r->plan, w * (int64_t)sizeof *x, x, sent->x);
done:
    MLTFR_FREE(x);
    return st;
}

static void place_rows(const mltfr_engine *e, int64_t k, const filter_rows *sent, filter_rows *f)
{
    const mltfr_run *run = &e->run;
    const mltfr_routed *r = &run->routed;
    const int64_t m = e->m, w = e->r, d = e->spec.backbone.d;

    for (int64_t b = run->first; b < run->last; b++) {
        const int64_t from = r->send_at[(b - run->first) * e->K + k];
        for (int64_t i = from; i < from + r->count[b * e->K + k]; i++) {
            const int64_t q = r->row[i];
            memcpy(f->J + q * m, sent->J + i * m, (size_t)m * sizeof *f->J);
            memcpy(f->a + q * m, sent->a + i * m, (size_t)m * sizeof *f->a);
            memcpy(f->x + q * w, sent->x + i * w, (size_t)w * sizeof *f->x);
            memcpy(f->y + q * d, r->y_back + i * d, (size_t)d * sizeof *f->y);
        }
    }
}

static mltfr_status put_filters(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;
    const int64_t n = e->run.queries, d = e->spec.backbone.d;
    filter_rows sent = {0}, f = {0};

    MLTFR_TRY(return_choices(c, &sent));
    for (int64_t k = 0; k < e->K; k++) {
        char name[24];
        free_filter(&f);
        MLTFR_AGREE(e->comm, filter_rooms(n, e->m, e->r, d, &f));
        for (int64_t i = 0; i < n * e->m; i++)
            f.J[i] = -1; /* rows not routed to k */
        place_rows(e, k, &sent, &f);
        snprintf(name, sizeof name, "%lld", (long long)k);
        MLTFR_TRY(put_filter(c, name, e->r, &f));
    }
    MLTFR_TRY(put_consensus_filter(c));
done:
    free_filter(&sent);
    free_filter(&f);
    return st;
}

/* ---- tensors ------------------------------------------------------------------------------- */

static mltfr_status put_tensor(mltfr_replay_case *c, const mltfr_tensor *t, const float *slab,
                               const char *group)
{
    const mltfr_engine *e = c->e;
    int64_t first = 0, own = e->rank == 0 ? t->dims[0] : 0;

    if (t->place == MLTFR_PLACE_ITEM) {
        first = e->item_first;
        own = e->item_rows;
    } else if (t->place == MLTFR_PLACE_EXPERT) {
        own = e->rank == e->space[t->expert].owner ? t->dims[0] : 0;
    }
    return mltfr_replay_put(c, MLTFR_F32, t->ndim, t->dims, first, own, slab + t->offset, "%s/%s",
                            group, t->name);
}

static mltfr_status put_gradients(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_params *p = c->e->params;

    for (int64_t i = 0; i < p->count; i++)
        if (p->tensor[i].trained)
            MLTFR_TRY(put_tensor(c, &p->tensor[i], mltfr_params_slab(p, &p->tensor[i])->g,
                                 "expect/grads"));
done:
    return st;
}

static mltfr_status put_adam(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;
    mltfr_params *p = e->params;
    const int64_t dims[] = {e->r, e->spec.backbone.d};

    for (int64_t i = 0; i < p->count; i++) {
        const mltfr_tensor *t = &p->tensor[i];
        if (!t->trained)
            continue;
        MLTFR_TRY(put_tensor(c, t, mltfr_params_slab(p, t)->m, "expect/adam_after/m"));
        MLTFR_TRY(put_tensor(c, t, mltfr_params_slab(p, t)->v, "expect/adam_after/v"));
    }
    for (int64_t k = 0; k < e->K; k++)
        MLTFR_TRY(mltfr_replay_put(c, MLTFR_F32, 2, dims, 0,
                                   e->rank == e->space[k].owner ? e->r : 0, e->space[k].wv,
                                   "expect/wv_after_adam/%lld", (long long)k));
    MLTFR_TRY(put_one(c, e->grad_norm, "expect/grad_norm"));
    MLTFR_TRY(put_one(c, e->clip_scale, "expect/clip_scale"));
done:
    return st;
}

static mltfr_status put_params(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_params *p = c->e->params;

    for (int64_t i = 0; i < p->count; i++)
        MLTFR_TRY(put_tensor(c, &p->tensor[i], mltfr_params_slab(p, &p->tensor[i])->w,
                             "expect/params_after"));
done:
    return st;
}

/* ---- Fisher -------------------------------------------------------------------------------- */

static mltfr_status put_fisher(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_engine *e = c->e;
    const mltfr_fisher *f = e->fisher;
    const int64_t K = e->K, own = e->rank == 0 ? K : 0, dims[] = {K, e->r_c, e->r_c};
    double *A = NULL, *s = NULL, *beta = NULL;

    st = MLTFR_NEW(A, K * e->r_c * e->r_c);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(s, K);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(beta, K);
    MLTFR_AGREE(c->comm, st);
    mltfr_fisher_ratios(f, A, s, beta);
    const struct {
        const char *name;
        int ndim;
        const double *data;
    } sets[] = {{"num_A", 3, f->num_A},
                {"sum_omega", 1, f->sum_omega},
                {"num_beta", 1, f->num_beta},
                {"n_rows", 1, f->n_rows},
                {"A", 3, A},
                {"s", 1, s},
                {"beta", 1, beta},
                {"phi", 1, e->phi}};

    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        MLTFR_TRY(mltfr_replay_put(c, MLTFR_F64, sets[i].ndim, dims, 0, own, sets[i].data,
                                   "expect/fisher/%s", sets[i].name));
done:
    MLTFR_FREE(A);
    MLTFR_FREE(s);
    MLTFR_FREE(beta);
    return st;
}

static mltfr_status run_consensus(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;
    const int64_t dims[] = {e->r_c, e->spec.backbone.d};
    double *W = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(W, dims[0] * dims[1]));
    MLTFR_TRY(mltfr_consensus_update(e, W));
    MLTFR_TRY(put_fisher(c));
    MLTFR_TRY(mltfr_replay_put(c, MLTFR_F64, 2, dims, 0, e->rank == 0 ? dims[0] : 0, W,
                               "expect/fisher/W_star"));
    mltfr_consensus_pull_all(e, c->lr);
done:
    MLTFR_FREE(W);
    return st;
}

/* ---- the step ------------------------------------------------------------------------------ */

static mltfr_status put_losses(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;

    MLTFR_TRY(put_one(c, e->run.loss, "expect/loss"));
    MLTFR_TRY(put_rows(c, MLTFR_F32, 0, e->run.row_loss, "expect/row_loss"));
    MLTFR_TRY(mltfr_replay_put(c, MLTFR_I64, 1, &e->K, 0, e->rank == 0 ? e->K : 0,
                               e->run.routed.load, "expect/expert_load"));
done:
    return st;
}

mltfr_status mltfr_replay_step(mltfr_replay_case *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = c->e;

    MLTFR_TRY(mltfr_run_forward(e, c->batch, MLTFR_TRAIN_DRY));
    MLTFR_TRY(put_forward(c));
    MLTFR_TRY(put_filters(c));
    MLTFR_TRY(mltfr_run_backward(e, true));
    MLTFR_TRY(put_losses(c));
    MLTFR_TRY(put_gradients(c));
    MLTFR_TRY(mltfr_fisher_sample(e, &e->run, INFINITY));
    MLTFR_TRY(mltfr_optimise(e, c->lr, c->clip));
    MLTFR_TRY(put_adam(c));
    MLTFR_TRY(run_consensus(c));
    mltfr_router_balance(e->K, e->run.routed.load, (float)c->settings.router_bias_rate,
                         e->at.router_bias);
    MLTFR_TRY(mltfr_replay_put(c, MLTFR_F32, 1, &e->K, 0, e->rank == 0 ? e->K : 0,
                               e->at.router_bias, "expect/bias_after"));
    MLTFR_TRY(put_params(c));
done:
    return st;
}
