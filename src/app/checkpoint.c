/* The checkpoint that a verb works from, and the configuration that goes with it. */
#include <mltfr/file.h>
#include <mltfr/trainer.h>

#include "app_impl.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* The configuration a checkpoint was made with. */
static mltfr_status configuration_of(mltfr_comm *comm, const char *path, char **out)
{
    mltfr_status st;
    mltfr_file *file = NULL;

    MLTFR_TRY(app_require(comm, "checkpoint", path));
    MLTFR_TRY(mltfr_file_open(comm, path, &file));
    if (!mltfr_file_has_attr(file, "/", "config"))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: not a checkpoint: RUN/checkpoints/step-NNNNNNNN.h5 is needed",
                   path);
    MLTFR_AGREE(comm, mltfr_file_get_text(file, "/", "config", out));
done:
    mltfr_file_destroy(&file);
    return st;
}

/* A checkpoint DIR/checkpoints/NAME is of the run DIR, whatever it was called when it was made. */
static mltfr_status put_run_dir(mltfr_config *config, const char *checkpoint)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s", checkpoint);
    char *folder = dirname(path);
    const char *name = strrchr(folder, '/');

    if (strcmp(name != NULL ? name + 1 : folder, "checkpoints") != 0)
        return MLTFR_OK;
    return mltfr_config_put(config, "run.dir", dirname(folder));
}

/* The checkpoint's configuration, and --config and --set on top of it.  Token spaces that these
 * name (own) take the place of the tables of the checkpoint's run. */
static mltfr_status configure(mltfr_comm *comm, const app_request *request, const mltfr_config *own,
                              const char *checkpoint, mltfr_config **out)
{
    mltfr_status st;
    char *yaml = NULL;

    MLTFR_TRY(configuration_of(comm, checkpoint, &yaml));
    MLTFR_AGREE(comm, mltfr_config_create(out));
    MLTFR_AGREE(comm, mltfr_config_read(*out, checkpoint, yaml));
    MLTFR_AGREE(comm, put_run_dir(*out, checkpoint));
    if (mltfr_config_settings(own)->tokens_path[0] != '\0')
        MLTFR_AGREE(comm, mltfr_config_set(*out, "tokens.tables=[]"));
    MLTFR_TRY(app_configure(comm, request, *out));
    MLTFR_TRY(app_require(comm, "data.path", mltfr_config_settings(*out)->data_path));
    MLTFR_TRY(app_find_spaces(comm, *out, NULL, false));
done:
    MLTFR_FREE(yaml);
    return st;
}

mltfr_status app_checkpoint(mltfr_comm *comm, const app_request *request,
                            const mltfr_config *config, char **checkpoint, mltfr_config **full)
{
    mltfr_status st;
    char best[PATH_MAX];
    const char *path = request->checkpoint;

    if (path == NULL) {
        MLTFR_TRY(
            mltfr_run_checkpoint(comm, mltfr_config_settings(config)->run_dir, best, sizeof best));
        path = best;
    }
    MLTFR_AGREE(comm, mltfr_strdup(path, checkpoint));
    MLTFR_TRY(configure(comm, request, config, *checkpoint, full));
done:
    return st;
}

mltfr_status app_recommender(mltfr_comm *comm, const app_request *request,
                             const mltfr_config *config, app_model *out)
{
    mltfr_status st;

    *out = (app_model){0};
    MLTFR_TRY(app_checkpoint(comm, request, config, &out->checkpoint, &out->config));
    out->settings = mltfr_config_settings(out->config);
    MLTFR_TRY(mltfr_recommender_open(comm, out->settings, out->checkpoint, &out->recommender));
    out->data = mltfr_recommender_data(out->recommender);
done:
    if (st != MLTFR_OK)
        app_model_close(out);
    return st;
}

void app_model_close(app_model *model)
{
    mltfr_recommender_close(&model->recommender);
    mltfr_config_destroy(&model->config);
    MLTFR_FREE(model->checkpoint);
}
