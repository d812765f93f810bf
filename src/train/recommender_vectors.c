/* What a trained model consists of, gathered on rank 0 piece by piece. */
#include "recommender.h"

#include <stdio.h>
#include <string.h>

int64_t mltfr_recommender_width(const mltfr_recommender *recommender)
{
    return recommender->session.engine->spec.backbone.d;
}

int64_t mltfr_recommender_experts(const mltfr_recommender *recommender)
{
    const mltfr_engine *e = recommender->session.engine;

    return mltfr_experts_on(e) ? e->K : 0;
}

/* ---- items and users ----------------------------------------------------------------------- */

/* First item of [first, first + n) that rank p, or one above it, owns. */
static int64_t owned_from(const mltfr_engine *e, int p, int64_t first, int64_t n)
{
    int64_t at = mltfr_share_first(e->item_blocks, e->size, p) * e->item_block;

    at = p == e->size ? e->spec.items : at;
    return at < first ? first : at > first + n ? first + n : at;
}

mltfr_status mltfr_recommender_items(mltfr_recommender *recommender, int64_t first, int64_t n,
                                     float *out)
{
    const mltfr_engine *e = recommender->session.engine;
    const int64_t d = e->spec.backbone.d, own = owned_from(e, e->rank, first, n);
    int64_t bytes[e->size];

    for (int p = 0; p < e->size; p++)
        bytes[p] = (owned_from(e, p + 1, first, n) - owned_from(e, p, first, n)) * d *
                   (int64_t)sizeof *out;
    mltfr_comm_gatherv(e->comm, bytes[e->rank] > 0 ? e->E + (own - e->item_first) * d : e->E, bytes,
                       out, 0);
    return MLTFR_OK;
}

mltfr_status mltfr_recommender_encode(mltfr_recommender *recommender, int64_t n,
                                      const mltfr_history histories[], float *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = recommender->session.engine;
    mltfr_batch *batch = NULL;

    if (n == 0)
        return MLTFR_OK;
    MLTFR_AGREE(e->comm, mltfr_history_batch(e, n, histories, &batch));
    MLTFR_TRY(mltfr_run_forward(e, batch, MLTFR_RANK));
    memcpy(out, e->run.H, (size_t)(n * e->spec.backbone.d) * sizeof *out);
done:
    mltfr_batch_destroy(&batch);
    return st;
}

/* ---- tokens -------------------------------------------------------------------------------- */

static mltfr_status pool_alloc(const mltfr_engine *e, const mltfr_token_space *s,
                               mltfr_token_pool *out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = e->spec.backbone.d;

    out->count = s->M;
    MLTFR_TRY(MLTFR_NEW(out->row, s->M));
    MLTFR_TRY(MLTFR_NEW(out->token, s->M));
    MLTFR_TRY(MLTFR_NEW(out->keys, s->M * d));
    MLTFR_TRY(MLTFR_NEW(out->values, s->M * d));
done:
    return st;
}

/* An array of the owner's to rank 0. */
static void from_owner(const mltfr_engine *e, const mltfr_token_space *s, const void *mine,
                       int64_t size, void *out)
{
    int64_t bytes[e->size];

    memset(bytes, 0, sizeof bytes);
    bytes[s->owner] = size;
    mltfr_comm_gatherv(e->comm, mine, bytes, out, 0);
}

/* Token ids of all rows of an LLM's space, where the file has them. */
static mltfr_status read_tokens(mltfr_session *s, int64_t k, int64_t rows, mltfr_token_pool *out)
{
    mltfr_status st = MLTFR_OK;
    char name[64];
    int64_t *ids = NULL;

    snprintf(name, sizeof name, "spaces/%lld/ids", (long long)k);
    for (int64_t j = 0; j < out->count && out->token != NULL; j++)
        out->token[j] = -1;
    if (k == s->engine->K || !mltfr_file_has(s->spaces->file, name))
        return MLTFR_OK;
    MLTFR_AGREE(s->comm, MLTFR_NEW(ids, rows));
    MLTFR_TRY(mltfr_file_read_list(s->spaces->file, name, MLTFR_I64, 0, rows, ids));
    for (int64_t j = 0; j < out->count && rows > 0; j++)
        out->token[j] = ids[out->row[j]];
done:
    MLTFR_FREE(ids);
    return st;
}

static mltfr_status pick_strings(const char *bytes, const int64_t *offsets, mltfr_token_pool *out)
{
    mltfr_status st = MLTFR_OK;
    int64_t size = out->count;
    char *at;

    for (int64_t j = 0; j < out->count; j++)
        size += offsets[out->row[j] + 1] - offsets[out->row[j]];
    MLTFR_TRY(
        mltfr_alloc(&out->string, (size_t)out->count * sizeof *out->string + (size_t)size, 1));
    at = (char *)(out->string + out->count);
    for (int64_t j = 0; j < out->count; j++) {
        const int64_t from = offsets[out->row[j]], n = offsets[out->row[j] + 1] - from;

        out->string[j] = memcpy(at, bytes + from, (size_t)n);
        at += n + 1;
    }
done:
    return st;
}

static mltfr_status read_strings(mltfr_session *s, int64_t k, int64_t rows, mltfr_token_pool *out)
{
    mltfr_status st;
    char *bytes = NULL;
    int64_t *offsets = NULL;

    MLTFR_TRY(mltfr_spaces_strings(s->spaces, k, 0, rows, &bytes, &offsets));
    MLTFR_AGREE(s->comm, rows > 0 ? pick_strings(bytes, offsets, out) : MLTFR_OK);
done:
    MLTFR_FREE(bytes);
    MLTFR_FREE(offsets);
    return st;
}

mltfr_status mltfr_recommender_pool(mltfr_recommender *recommender, int64_t k,
                                    mltfr_token_pool *out)
{
    mltfr_status st;
    mltfr_session *s = &recommender->session;
    const mltfr_engine *e = s->engine;
    const mltfr_token_space *space = &e->space[k];
    const int64_t rows = e->rank == 0 ? space->rows : 0, wide = space->M * e->spec.backbone.d;

    *out = (mltfr_token_pool){.name = k < e->K ? s->spaces->names[k] : "consensus"};
    MLTFR_AGREE(e->comm, e->rank == 0 ? pool_alloc(e, space, out) : MLTFR_OK);
    if (space->group != NULL)
        mltfr_expert_filter(e, k, false); /* brings Kt and Vt up to date */
    from_owner(e, space, space->pool, space->M * (int64_t)sizeof *space->pool, out->row);
    from_owner(e, space, space->Kt, wide * (int64_t)sizeof(float), out->keys);
    from_owner(e, space, space->Vt, wide * (int64_t)sizeof(float), out->values);
    MLTFR_TRY(read_tokens(s, k, rows, out));
    MLTFR_TRY(read_strings(s, k, rows, out));
done:
    if (st != MLTFR_OK)
        mltfr_token_pool_clear(out);
    return st;
}

void mltfr_token_pool_clear(mltfr_token_pool *pool)
{
    MLTFR_FREE(pool->row);
    MLTFR_FREE(pool->token);
    MLTFR_FREE(pool->string);
    MLTFR_FREE(pool->keys);
    MLTFR_FREE(pool->values);
    pool->count = 0;
}
