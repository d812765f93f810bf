/* The configuration of a request: its file, then each --set. */
#include "app_impl.h"

const char app_default_config[] = "mltfr.yaml";

/* @local: the same text and the same assignments on every rank. */
static mltfr_status configure(const app_request *request, const char *path, const char *yaml,
                              mltfr_config *config)
{
    mltfr_status st = MLTFR_OK;

    if (yaml != NULL)
        MLTFR_TRY(mltfr_config_read(config, path, yaml));
    for (int i = 0; i < request->set_count; i++)
        MLTFR_TRY(mltfr_config_set(config, request->sets[i]));
    MLTFR_TRY(mltfr_config_check(config));
done:
    return st;
}

mltfr_status app_configure(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st = MLTFR_OK;
    const char *path = request->config;
    char *yaml = NULL;

    if (path == NULL && request->verb->source == APP_CONFIG_MLTFR_YAML &&
        app_exists(comm, app_default_config))
        path = app_default_config;
    if (path != NULL)
        MLTFR_TRY(app_load(comm, path, MLTFR_E_USAGE, &yaml));
    MLTFR_AGREE(comm, configure(request, path, yaml, config));
done:
    MLTFR_FREE(yaml);
    return st;
}
