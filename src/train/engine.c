/* Who holds what: item ranges, shards of token spaces, parameters. */
#include "engine.h"

#include <math.h>
#include <string.h>

const char *const mltfr_spent_names[] = {
#define X(name, text) text,
    MLTFR_PHASE_LIST(X)
#undef X
};

/* ---- create -------------------------------------------------------------------------------- */

static void place_items(mltfr_engine *e)
{
    const int64_t I = e->spec.items;
    int64_t rows = (I + ITEM_BLOCKS - 1) / ITEM_BLOCKS;

    e->item_block = (rows + 15) / 16 * 16;
    e->item_blocks = (I + e->item_block - 1) / e->item_block;
    e->first_block = mltfr_share_first(e->item_blocks, e->size, e->rank);
    e->last_block = mltfr_share_first(e->item_blocks, e->size, e->rank + 1);
    e->item_first = e->first_block * e->item_block < I ? e->first_block * e->item_block : I;
    int64_t end = e->last_block * e->item_block < I ? e->last_block * e->item_block : I;
    e->item_rows = end - e->item_first;
}

static mltfr_status create_params(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;
    bool *holds = NULL;

    MLTFR_TRY(MLTFR_NEW(holds, e->K + 1)); /* none before they are placed */
    MLTFR_TRY(mltfr_params_create(&e->spec, e->item_first, e->item_rows, holds, &e->params));
done:
    MLTFR_FREE(holds);
    return st;
}

static mltfr_status create_items(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = e->item_rows, d = e->spec.backbone.d;

    e->E = e->params->item.w;
    e->dE = e->params->item.g;
    if (!e->spec.inject)
        goto done;
    MLTFR_TRY(MLTFR_NEW(e->E, n * d));
    if (e->set->item_inject != MLTFR_ITEM_INJECT_MIXTURE) {
        MLTFR_TRY(MLTFR_NEW(e->X_I, n * e->r_c));
        goto done;
    }
    MLTFR_TRY(MLTFR_NEW(e->J_I, n * e->m));
    MLTFR_TRY(MLTFR_NEW(e->s_I, n * e->m));
    MLTFR_TRY(MLTFR_NEW(e->a_I, n * e->m));
    MLTFR_TRY(MLTFR_NEW(e->Vt_I, e->set->filter_pool * d));
done:
    return st;
}

static mltfr_status create_expert_state(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(MLTFR_NEW(e->space, e->K + 1));
    MLTFR_TRY(MLTFR_NEW(e->phi, e->K + 1));
    MLTFR_TRY(MLTFR_NEW(e->at.router_bias, e->K + 1));
    if (e->K > 0)
        MLTFR_TRY(mltfr_fisher_create(e->K, e->r_c, &e->fisher));
    if (e->K > 0)
        MLTFR_TRY(mltfr_fisher_create(e->K, e->r_c, &e->fresh));
done:
    return st;
}

static mltfr_status create_local(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(create_params(e));
    MLTFR_TRY(create_items(e));
    MLTFR_TRY(create_expert_state(e));
done:
    return st;
}

void mltfr_engine_outline(mltfr_engine *e, const mltfr_settings *set, const mltfr_params_spec *spec,
                          int rank, int size)
{
    *e = (mltfr_engine){.rank = rank,
                        .size = size,
                        .set = set,
                        .spec = *spec,
                        .rms_eps = 1e-6f,
                        .at.expert_start = -1};
    if (spec->experts) {
        e->K = spec->K;
        e->r_c = spec->r_c;
        e->r = spec->r_c + spec->r_s;
        e->k_r = e->K;
        if (set->router_gates == MLTFR_ROUTER_GATES_LEARNED && set->router_top_k < e->K)
            e->k_r = set->router_top_k;
        e->m = set->filter_top_m;
    }
    place_items(e);
}

mltfr_status mltfr_engine_create(mltfr_comm *comm, const mltfr_settings *set,
                                 const mltfr_params_spec *spec, mltfr_engine **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = NULL;

    *out = NULL;
    MLTFR_AGREE(comm, MLTFR_NEW(e, 1));
    mltfr_engine_outline(e, set, spec, mltfr_comm_rank(comm), mltfr_comm_size(comm));
    e->comm = comm;
    MLTFR_AGREE(comm, create_local(e));
    *out = e;
    e = NULL;
done:
    mltfr_engine_destroy(&e);
    return st;
}

/* ---- token spaces -------------------------------------------------------------------------- */

static void view_weights(mltfr_engine *e, mltfr_token_space *s)
{
    const int64_t d = e->spec.backbone.d;
    float *w = e->params->dense.w;

    if (s->k < e->K) {
        w = e->params->expert[s->k].w;
        s->wq = w;
        s->wv = w + d * e->r;
        s->log_tau = w + 2 * d * e->r;
    } else {
        s->wq = w + mltfr_params_offset(e->params, "consensus.wq");
        s->wv = w + mltfr_params_offset(e->params, "consensus.wv");
        s->log_tau = w + mltfr_params_offset(e->params, "consensus.log_tau");
    }
}

static mltfr_status alloc_space(mltfr_engine *e, mltfr_token_space *s)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d;

    MLTFR_TRY(MLTFR_NEW(s->Z, s->row_count * s->width));
    MLTFR_TRY(MLTFR_NEW(s->key_scale, s->row_count));
    MLTFR_TRY(MLTFR_NEW(s->cbar, s->row_count));
    MLTFR_TRY(MLTFR_NEW(s->pool, s->M));
    MLTFR_TRY(MLTFR_NEW(s->Z_pool, s->M * s->width));
    MLTFR_TRY(MLTFR_NEW(s->Zh_pool, s->M * s->width));
    MLTFR_TRY(MLTFR_NEW(s->Kt, s->M * d));
    MLTFR_TRY(MLTFR_NEW(s->Vt, s->M * d));
done:
    return st;
}

static void set_key_scales(mltfr_token_space *s)
{
    for (int64_t i = 0; i < s->row_count; i++) {
        double sum = 0.;
        for (int64_t c = 0; c < s->width; c++)
            sum += (double)s->Z[i * s->width + c] * s->Z[i * s->width + c];
        s->key_scale[i] = sum > 0. ? (float)(1. / sqrt(sum)) : 0.f;
    }
}

static mltfr_status load_space(mltfr_engine *e, mltfr_spaces *spaces, int64_t k)
{
    mltfr_status st = MLTFR_OK;
    mltfr_token_space *s = &e->space[k];

    if (s->M < e->m)
        st = mltfr_fail(MLTFR_E_USAGE,
                        "filter.top_m: %lld tokens are asked of a pool of %lld (%s space)",
                        (long long)e->m, (long long)s->M, k < e->K ? "LLM" : "consensus");
    MLTFR_AGREE(e->comm, st);
    MLTFR_TRY(mltfr_comm_group(e->comm, s->first_rank, s->last_rank, &s->group));
    if (s->group != NULL) {
        st = alloc_space(e, s);
        if (st == MLTFR_OK && k < e->K)
            st = mltfr_params_hold(e->params, k);
        view_weights(e, s);
    }
    MLTFR_AGREE(e->comm, st);
    MLTFR_TRY(mltfr_spaces_read(spaces, k, s->row_first, s->row_count, s->Z));
    set_key_scales(s);
done:
    return st;
}

mltfr_status mltfr_engine_load_spaces(mltfr_engine *e, mltfr_spaces *spaces)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_AGREE(e->comm, mltfr_hold_spaces(e, spaces->rows));
    for (int64_t k = 0; k < mltfr_space_count(e); k++)
        mltfr_hold_rows(e, k);
    for (int64_t k = 0; k < mltfr_space_count(e); k++)
        MLTFR_TRY(load_space(e, spaces, k));
done:
    return st;
}

/* ---- destroy ------------------------------------------------------------------------------- */

static void free_space(mltfr_token_space *s)
{
    mltfr_comm_destroy(&s->group);
    MLTFR_FREE(s->first);
    MLTFR_FREE(s->Z);
    MLTFR_FREE(s->key_scale);
    MLTFR_FREE(s->cbar);
    MLTFR_FREE(s->pool);
    MLTFR_FREE(s->Z_pool);
    MLTFR_FREE(s->Zh_pool);
    MLTFR_FREE(s->Kt);
    MLTFR_FREE(s->Vt);
}

void mltfr_engine_destroy(mltfr_engine **engine)
{
    mltfr_engine *e = *engine;

    if (e == NULL)
        return;
    for (int64_t k = 0; e->space != NULL && k <= e->K; k++)
        free_space(&e->space[k]);
    mltfr_exchange_destroy(&e->run.item.plan); /* what is under way needs the rooms */
    mltfr_exchange_destroy(&e->run.routed.plan);
    for (size_t i = 0; i < sizeof e->run.rooms / sizeof e->run.rooms[0]; i++)
        mltfr_room_release(&e->run.rooms[i]);
    mltfr_treesum_destroy(&e->run.sum);
    for (int i = 0; i < 2; i++)
        mltfr_gather_destroy(&e->run.gather[i]);
    for (size_t i = 0; i < sizeof e->item_rooms / sizeof e->item_rooms[0]; i++)
        mltfr_room_release(&e->item_rooms[i]);
    if (e->params != NULL && e->E != e->params->item.w)
        MLTFR_FREE(e->E);
    MLTFR_FREE(e->X_I);
    MLTFR_FREE(e->J_I);
    MLTFR_FREE(e->s_I);
    MLTFR_FREE(e->a_I);
    MLTFR_FREE(e->Vt_I);
    mltfr_room_release(&e->touched.room);
    MLTFR_FREE(e->frequency);
    MLTFR_FREE(e->space);
    MLTFR_FREE(e->phi);
    MLTFR_FREE(e->at.router_bias);
    mltfr_fisher_destroy(&e->fisher);
    mltfr_fisher_destroy(&e->fresh);
    mltfr_params_destroy(&e->params);
    MLTFR_FREE(*engine);
}
