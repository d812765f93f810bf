/* train: settle data and token spaces, then leave the rest to the trainer. */
#include <mltfr/log.h>
#include <mltfr/trainer.h>

#include "app_impl.h"

#include <errno.h>
#include <string.h>

/* The planted example stands in for data, in the run directory. */
static mltfr_status use_synthetic(mltfr_comm *comm, mltfr_config *config)
{
    mltfr_status st;
    char *path = NULL;
    mltfr_synthetic_spec spec = mltfr_synthetic_defaults();

    MLTFR_AGREE(comm, app_join(mltfr_config_settings(config)->run_dir, "synthetic.h5", &path));
    mltfr_note("data.path is not set: this run trains the built-in synthetic example (%s)", path);
    if (!app_exists(comm, path))
        MLTFR_TRY(app_synthetic_write(comm, path, &spec));
    MLTFR_AGREE(comm, mltfr_config_put(config, "data.path", path));
done:
    MLTFR_FREE(path);
    return st;
}

/* One train at a time writes to the directory: the one that has its log. */
static mltfr_status open_log(mltfr_comm *comm, const char *run_dir)
{
    mltfr_status st;
    char *path = NULL;

    MLTFR_AGREE(comm, app_join(run_dir, "log.txt", &path));
    MLTFR_AGREE(comm, mltfr_log_open(path)
                          ? MLTFR_OK
                          : mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno)));
    MLTFR_AGREE(comm,
                mltfr_log_lock()
                    ? MLTFR_OK
                    : mltfr_fail(MLTFR_E_IO, "%s: another train is at work on this run", run_dir));
done:
    MLTFR_FREE(path);
    return st;
}

/* Keys of the interface that this version reads and does not act on. */
static void warn_of_idle_keys(const mltfr_settings *settings)
{
    if (!settings->run_reproducible)
        mltfr_warn("run.reproducible: false has no effect in this version: sums are always "
                   "canonical");
}

/* The data, and the run directory that everything goes to. */
static mltfr_status prepare(mltfr_comm *comm, mltfr_config *config)
{
    const mltfr_settings *settings = mltfr_config_settings(config);
    bool given = settings->data_path[0] != '\0';
    mltfr_status st = MLTFR_OK;

    warn_of_idle_keys(settings);
    if (given)
        MLTFR_TRY(app_require(comm, "data.path", settings->data_path));
    MLTFR_TRY(app_make_directory(comm, settings->run_dir));
    MLTFR_TRY(open_log(comm, settings->run_dir));
    if (!given)
        MLTFR_TRY(use_synthetic(comm, config));
done:
    return st;
}

mltfr_status app_train(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    const mltfr_settings *settings = mltfr_config_settings(config);
    bool fresh = strcmp(request->resume, "no") == 0;
    mltfr_train_options options = {.resume = request->resume, .init = request->init};
    char *text = NULL;
    mltfr_status st = MLTFR_OK;

    if (request->dry_run != NULL)
        return app_dry_run(comm, request, config);
    mltfr_train_listen();
    if (request->init != NULL)
        MLTFR_TRY(app_require(comm, "--init", request->init));
    if (settings->item_init[0] != '\0')
        MLTFR_TRY(app_require(comm, "item.init", settings->item_init));
    MLTFR_TRY(prepare(comm, config));
    MLTFR_AGREE(comm, mltfr_config_text(settings, &text)); /* before tokens.path is filled in */
    MLTFR_TRY(app_find_spaces(comm, config, app_spaces_make, fresh));
    options.config = text;
    MLTFR_TRY(mltfr_train(comm, settings, &options));
done:
    MLTFR_FREE(text);
    return st;
}
