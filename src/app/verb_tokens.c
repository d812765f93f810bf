/* tokens: LLM token tables to a token-space file. */
#include "app_impl.h"

mltfr_status app_tokens(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    const mltfr_settings *settings = mltfr_config_settings(config);

    if (request->out == NULL)
        return mltfr_fail(MLTFR_E_USAGE, "tokens needs --out FILE");
    if (settings->tokens_tables_count == 0)
        return mltfr_fail(MLTFR_E_USAGE, "tokens needs tokens.tables, a list of "
                                         "{name: NAME, path: FILE}");
    return app_condition(comm, settings, request->tensor, request->out);
}
