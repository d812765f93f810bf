/* evaluate: a checkpoint, its configuration with what the user puts on top, and a split. */
#include <mltfr/log.h>

#include "app_impl.h"

#include <string.h>

/* The inside of the object that is written. */
static mltfr_status describe(mltfr_comm *comm, const app_request *request, const app_model *model,
                             const mltfr_ranked_split *ranked, mltfr_metrics *metrics,
                             mltfr_text *json)
{
    char inside[512];

    mltfr_metrics_of(ranked->count, ranked->rank, metrics);
    mltfr_metrics_json(metrics, inside, sizeof inside);
    mltfr_text_add(json, "{\"split\":\"%s\",\"checkpoint\":", request->split);
    mltfr_text_add_quoted(json, model->checkpoint);
    mltfr_text_add(json, ",%s", inside);
    const mltfr_status st = app_evaluate_more(comm, model, ranked, request->metrics, json);

    mltfr_text_add(json, "}\n");
    return st;
}

/* RUN/evaluate-<split>.json, or --out. */
static mltfr_status write_json(mltfr_comm *comm, const app_request *request, const char *run_dir,
                               const mltfr_text *json)
{
    mltfr_status st;
    char name[32], *path = NULL;

    snprintf(name, sizeof name, "evaluate-%s.json", request->split);
    if (request->out == NULL) {
        MLTFR_AGREE(comm, app_join(run_dir, name, &path));
        MLTFR_TRY(app_make_directory(comm, run_dir));
    }
    MLTFR_TRY(app_write(comm, request->out != NULL ? request->out : path, json));
done:
    MLTFR_FREE(path);
    return st;
}

/* A line a user. */
static mltfr_status write_users(mltfr_comm *comm, const char *path, const mltfr_interactions *data,
                                const mltfr_ranked_split *ranked)
{
    mltfr_status st;
    app_output out = {0};
    mltfr_text text = {0};

    MLTFR_TRY(app_output_open(comm, path, &out));
    mltfr_text_add(&text, "user_id,item_id,history,rank,hr@10,ndcg@10\n");
    for (int64_t i = 0; i < ranked->count && out.file != NULL; i++) {
        const mltfr_case *c = &ranked->cases[i];
        const int64_t rank = ranked->rank[i];

        app_add_csv(&text, data->user_names[c->user]);
        mltfr_text_add_bytes(&text, ",", 1);
        app_add_csv(&text, data->item_names[c->target - 1]);
        mltfr_text_add(&text, ",%lld,%lld,%d,%.17g\n",
                       (long long)(c->first + c->n - data->offsets[c->user]), (long long)rank,
                       rank <= 10, rank <= 10 ? mltfr_ndcg_of(rank) : 0.);
    }
    MLTFR_AGREE(comm, app_output_text(&out, &text));
    MLTFR_TRY(app_output_close(comm, &out));
done:
    app_output_discard(&out);
    mltfr_text_destroy(&text);
    return st;
}

static void say_metrics(const char *split, const mltfr_metrics *m)
{
    mltfr_say("hr@5 %.4f\nhr@10 %.4f\nhr@20 %.4f", m->hr[0], m->hr[1], m->hr[2]);
    mltfr_say("ndcg@5 %.4f\nndcg@10 %.4f\nndcg@20 %.4f", m->ndcg[0], m->ndcg[1], m->ndcg[2]);
    mltfr_say("mrr %.4f", m->mrr);
    mltfr_say("%s  ndcg@10=%.4f hr@10=%.4f users=%lld", split, m->ndcg[1], m->hr[1],
              (long long)m->users);
}

mltfr_status app_evaluate(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    const bool test = strcmp(request->split, "test") == 0;
    mltfr_status st;
    app_model model = {0};
    mltfr_ranked_split ranked = {0};
    mltfr_metrics metrics;
    mltfr_text json = {0};

    MLTFR_TRY(app_check_list("metrics", request->metrics, "coverage|popularity|length"));
    MLTFR_TRY(app_recommender(comm, request, config, &model));
    MLTFR_TRY(
        mltfr_rank_split(model.recommender, test ? MLTFR_SPLIT_TEST : MLTFR_SPLIT_VALID, &ranked));
    MLTFR_TRY(describe(comm, request, &model, &ranked, &metrics, &json));
    say_metrics(request->split, &metrics); /* before a file that may not be written */
    MLTFR_TRY(write_json(comm, request, model.settings->run_dir, &json));
    if (request->per_user != NULL)
        MLTFR_TRY(write_users(comm, request->per_user, model.data, &ranked));
done:
    mltfr_text_destroy(&json);
    mltfr_ranked_split_clear(&ranked);
    app_model_close(&model);
    return st;
}
