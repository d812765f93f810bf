/* bench: measure this machine and the parts of the program on it. */
#include <mltfr/trainer.h>

#include "app_impl.h"

#include <unistd.h>

/* Token spaces of given data; planted ones need none. */
static mltfr_status find_inputs(mltfr_comm *comm, mltfr_config *config)
{
    const mltfr_settings *settings = mltfr_config_settings(config);
    mltfr_status st = MLTFR_OK;

    if (settings->data_path[0] == '\0')
        return MLTFR_OK;
    MLTFR_TRY(app_require(comm, "data.path", settings->data_path));
    MLTFR_TRY(app_find_spaces(comm, config, app_spaces_make, false));
done:
    return st;
}

mltfr_status app_bench(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    const mltfr_settings *settings = mltfr_config_settings(config);
    const bool was_there = app_exists(comm, settings->run_dir);
    mltfr_status st = MLTFR_OK;
    mltfr_text json = {0};

    MLTFR_TRY(app_make_directory(comm, settings->run_dir));
    MLTFR_TRY(find_inputs(comm, config));
    MLTFR_TRY(mltfr_bench(comm, settings, request->quick, &json));
    if (request->out != NULL)
        MLTFR_TRY(app_write(comm, request->out, &json));
done:
    if (!was_there && mltfr_comm_rank(comm) == 0)
        rmdir(settings->run_dir); /* not where something else came to be in it */
    mltfr_text_destroy(&json);
    return st;
}
