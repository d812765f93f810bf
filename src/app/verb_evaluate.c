/* evaluate: a checkpoint, its configuration with what the user puts on top, and a split. */
#include <mltfr/log.h>
#include <mltfr/trainer.h>

#include "app_impl.h"

#include <string.h>

/* RUN/evaluate-<split>.json, one object. */
static mltfr_status write_json(mltfr_comm *comm, const char *run_dir, const char *split,
                               const char *checkpoint, const mltfr_metrics *metrics)
{
    mltfr_status st;
    char inside[512], name[32], *path = NULL;
    mltfr_text json = {0};

    mltfr_metrics_json(metrics, inside, sizeof inside);
    mltfr_text_add(&json, "{\"split\":\"%s\",\"checkpoint\":", split);
    mltfr_text_add_quoted(&json, checkpoint);
    mltfr_text_add(&json, ",%s}\n", inside);
    snprintf(name, sizeof name, "evaluate-%s.json", split);
    MLTFR_AGREE(comm, app_join(run_dir, name, &path));
    MLTFR_TRY(app_make_directory(comm, run_dir));
    MLTFR_TRY(app_write(comm, path, &json));
done:
    MLTFR_FREE(path);
    mltfr_text_destroy(&json);
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
    mltfr_status st = MLTFR_OK;
    mltfr_config *full = NULL;
    mltfr_metrics metrics;
    char *checkpoint = NULL;

    MLTFR_TRY(app_checkpoint(comm, request, config, &checkpoint, &full));
    const mltfr_settings *settings = mltfr_config_settings(full);
    mltfr_split split = strcmp(request->split, "test") == 0 ? MLTFR_SPLIT_TEST : MLTFR_SPLIT_VALID;

    MLTFR_TRY(mltfr_evaluate(comm, settings, checkpoint, split, &metrics));
    MLTFR_TRY(write_json(comm, settings->run_dir, request->split, checkpoint, &metrics));
    say_metrics(request->split, &metrics);
done:
    MLTFR_FREE(checkpoint);
    mltfr_config_destroy(&full);
    return st;
}
