/* tokens: LLM token tables to a token-space file. */
#include "app_impl.h"

mltfr_status app_tokens(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    const mltfr_settings *settings = mltfr_config_settings(config);
    mltfr_status st = MLTFR_OK;
    char *json = NULL;

    if (request->out == NULL)
        MLTFR_FAIL(MLTFR_E_USAGE, "tokens needs --out FILE");
    if (settings->tokens_tables_count == 0)
        MLTFR_FAIL(MLTFR_E_USAGE, "tokens needs tokens.tables, a list of "
                                  "{name: NAME, path: FILE}");
    MLTFR_AGREE(comm, app_json_beside(request->out, &json));
    MLTFR_TRY(app_condition(comm, settings, request->tensor, request->out, json));
done:
    MLTFR_FREE(json);
    return st;
}
