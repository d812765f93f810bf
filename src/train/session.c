#include "session.h"
#include "binding.h"

#include <mltfr/log.h>
#include <mltfr/rng.h>
#include <mltfr/synthetic.h>

#include <string.h>

/* The file the token spaces are in: tokens.path, or the data file itself (data --synthetic). */
static const char *spaces_path(const mltfr_settings *set)
{
    return set->tokens_path[0] != '\0' ? set->tokens_path : set->data_path;
}

mltfr_params_spec mltfr_session_spec(const mltfr_session *s)
{
    const mltfr_settings *set = s->set;
    mltfr_params_spec spec = {.backbone = {.kind = set->model_backbone,
                                           .d = set->model_dim,
                                           .layers = set->model_blocks,
                                           .heads = set->model_heads,
                                           .max_len = set->data_max_len,
                                           .pre_norm = set->model_norm == MLTFR_MODEL_NORM_PRE,
                                           .ln_eps = 1e-5f,
                                           .dropout = (float)set->model_dropout,
                                           .average = set->model_average,
                                           .alpha = (float)set->model_alpha},
                              .items = s->data->items,
                              .experts = set->model_experts};

    if (spec.experts) {
        spec.inject = set->item_inject != MLTFR_ITEM_INJECT_NONE;
        spec.train_consensus_wv = set->fisher_rule == MLTFR_FISHER_RULE_NONE;
        spec.K = s->spaces->K;
        spec.r_c = s->spaces->r_c;
        spec.r_s = s->spaces->r_s;
    }
    return spec;
}

static uint64_t digest_of(const mltfr_session *s)
{
    uint64_t h = mltfr_mix64((uint64_t)s->data->items + 1);

    for (int64_t u = 0; u < s->data->users; u++)
        h = mltfr_mix64(h ^ (uint64_t)s->data->offsets[u + 1]);
    for (int64_t i = 0; i < s->data->count; i++)
        h = mltfr_mix64(h ^ (uint64_t)s->data->ids[i]);
    for (int64_t i = 0; s->data->cuts != NULL && i < 2 * s->data->users; i++)
        h = mltfr_mix64(h ^ (uint64_t)s->data->cuts[i]);
    return s->spaces == NULL ? h : mltfr_mix64(h ^ s->spaces->digest);
}

static mltfr_status list_examples(mltfr_session *s)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_interactions_examples(s->data, s->set->data_max_len,
                                          s->set->data_windows == MLTFR_DATA_WINDOWS_ALL,
                                          &s->examples, &s->count));
    if (s->count == 0)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: no user has a transition to train on (2 items, or 4 where "
                   "two are held out)",
                   s->set->data_path);
done:
    return st;
}

/* How often each item is a target, cumulated: negatives are drawn from it. */
static mltfr_status count_targets(mltfr_session *s)
{
    mltfr_status st = MLTFR_OK;
    int64_t *f = NULL;

    if (s->set->train_loss != MLTFR_TRAIN_LOSS_SAMPLED ||
        s->set->train_negatives_by != MLTFR_TRAIN_NEGATIVES_BY_FREQUENCY)
        return MLTFR_OK;
    MLTFR_TRY(MLTFR_NEW(f, s->data->items + 1));
    for (int64_t x = 0; x < s->count; x++)
        for (int32_t i = 0; i < s->examples[x].n; i++)
            f[s->data->ids[s->examples[x].first + i + 1]]++;
    for (int64_t i = 0; i < s->data->items; i++)
        f[i + 1] += f[i];
    s->engine->frequency = f;
done:
    return st;
}

/* All the rest, once data and spaces are there. */
static mltfr_status complete(mltfr_session *s)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_AGREE(s->comm, list_examples(s));
    const mltfr_params_spec spec = mltfr_session_spec(s);

    MLTFR_TRY(mltfr_engine_create(s->comm, s->set, &spec, &s->engine));
    s->engine->item_ids = s->data->item_names;
    for (int64_t k = 0; k < s->engine->K; k++)
        s->engine->llm_names[k] = s->spaces->names[k];
    if (s->spaces != NULL)
        MLTFR_TRY(mltfr_engine_load_spaces(s->engine, s->spaces));
    MLTFR_AGREE(s->comm, count_targets(s));
    MLTFR_AGREE(s->comm, mltfr_params_init(s->engine->params, (uint64_t)s->set->train_seed));
    MLTFR_TRY(mltfr_inject_apply(s->engine));
    s->digest = digest_of(s);
done:
    return st;
}

static mltfr_status read_data(mltfr_session *s)
{
    mltfr_status st = MLTFR_OK;
    char summary[512];

    mltfr_watchdog_phase("reading interactions");
    MLTFR_TRY(mltfr_interactions_read(s->comm, s->set, &s->data));
    mltfr_interactions_summary(s->data, summary, sizeof summary);
    mltfr_note("data    %s", summary);
done:
    return st;
}

static mltfr_status read_inputs(mltfr_session *s)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_settings *set = s->set;

    MLTFR_TRY(read_data(s));
    mltfr_watchdog_phase("reading token spaces");
    if (set->model_experts) {
        MLTFR_TRY(mltfr_spaces_open(s->comm, spaces_path(set), &s->spaces));
        mltfr_note("spaces  %s: %lld LLMs, shared %lld, specific %lld dimensions", spaces_path(set),
                   (long long)s->spaces->K, (long long)s->spaces->r_c, (long long)s->spaces->r_s);
    }
done:
    return st;
}

mltfr_status mltfr_session_open(mltfr_comm *comm, const mltfr_settings *set, mltfr_session *s)
{
    mltfr_status st = MLTFR_OK;

    *s = (mltfr_session){.comm = comm, .set = set};
    MLTFR_TRY(mltfr_binding_check(comm));
    MLTFR_TRY(read_inputs(s));
    MLTFR_TRY(complete(s));
done:
    if (st != MLTFR_OK)
        mltfr_session_close(s);
    return st;
}

mltfr_status mltfr_session_peek(mltfr_comm *comm, const mltfr_settings *set,
                                const mltfr_spaces *spaces, mltfr_session *s)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_synthetic_spec planted = mltfr_synthetic_defaults();

    *s = (mltfr_session){.comm = comm, .set = set};
    MLTFR_TRY(mltfr_binding_check(comm));
    if (set->data_path[0] == '\0')
        MLTFR_AGREE(comm, mltfr_synthetic_make(&planted, &s->data));
    else
        MLTFR_TRY(read_data(s));
    if (set->model_experts && spaces != NULL)
        MLTFR_AGREE(comm, mltfr_spaces_imagine(comm, spaces->K, spaces->r_c, spaces->r_s,
                                               spaces->rows, &s->spaces));
    else if (set->model_experts)
        MLTFR_TRY(mltfr_spaces_open(comm, spaces_path(set), &s->spaces));
    MLTFR_AGREE(comm, list_examples(s));
done:
    if (st != MLTFR_OK)
        mltfr_session_close(s);
    return st;
}

mltfr_status mltfr_session_imagine(mltfr_comm *comm, const mltfr_settings *set,
                                   const mltfr_imagined *sizes, mltfr_session *s)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_synthetic_spec spec = {.users = sizes->users,
                                       .items = sizes->items,
                                       .clusters = (sizes->items + 19) / 20,
                                       .llms = sizes->llms,
                                       .shared_dim = sizes->r_c,
                                       .specific_dim = sizes->r_s,
                                       .seed = (uint64_t)set->train_seed};
    int64_t rows[MLTFR_MAX_LLMS + 1];

    *s = (mltfr_session){.comm = comm, .set = set};
    MLTFR_TRY(mltfr_binding_check(comm));
    MLTFR_AGREE(comm, mltfr_synthetic_make(&spec, &s->data));
    for (int64_t k = 0; k < sizes->llms; k++)
        rows[k] = sizes->tokens;
    rows[sizes->llms] = sizes->anchors;
    if (set->model_experts)
        MLTFR_AGREE(comm, mltfr_spaces_imagine(comm, sizes->llms, sizes->r_c, sizes->r_s, rows,
                                               &s->spaces));
    MLTFR_TRY(complete(s));
done:
    if (st != MLTFR_OK)
        mltfr_session_close(s);
    return st;
}

void mltfr_session_close(mltfr_session *s)
{
    mltfr_engine_destroy(&s->engine);
    mltfr_spaces_close(&s->spaces);
    mltfr_interactions_destroy(&s->data);
    MLTFR_FREE(s->examples);
}

int64_t mltfr_session_steps(const mltfr_session *s)
{
    return (s->count + s->set->train_batch - 1) / s->set->train_batch;
}

mltfr_status mltfr_session_batch(const mltfr_session *s, int64_t epoch, int64_t i,
                                 mltfr_batch **out)
{
    mltfr_status st = MLTFR_OK;
    const uint64_t key =
        mltfr_rng_key((uint64_t)s->set->train_seed, MLTFR_RNG_SHUFFLE, (uint64_t)epoch);
    const int64_t first = i * s->set->train_batch;
    const int64_t n =
        s->count - first < s->set->train_batch ? s->count - first : s->set->train_batch;
    const mltfr_example **chosen = NULL;
    int32_t *lengths = NULL;

    if (*out == NULL)
        MLTFR_TRY(MLTFR_NEW(*out, 1));
    MLTFR_TRY(MLTFR_TAKE(&(*out)->rooms[4], chosen, n));
    MLTFR_TRY(MLTFR_TAKE(&(*out)->rooms[5], lengths, n));
    for (int64_t u = 0; u < n; u++) {
        chosen[u] = &s->examples[mltfr_rng_permute(key, (uint64_t)s->count, (uint64_t)(first + u))];
        lengths[u] = chosen[u]->n;
    }
    MLTFR_TRY(mltfr_batch_take(n, lengths, out));
    for (int64_t u = 0; u < n; u++) {
        const int32_t *ids = s->data->ids + chosen[u]->first;
        const size_t bytes = (size_t)lengths[u] * sizeof *ids;
        memcpy((*out)->items + (*out)->off[u], ids, bytes);
        memcpy((*out)->targets + (*out)->off[u], ids + 1, bytes);
    }
done:
    return st;
}
