/* data: interactions to the HDF5 form, with their statistics; or the planted example. */
#include <mltfr/interactions.h>
#include <mltfr/log.h>
#include <mltfr/synthetic.h>
#include <mltfr/text.h>

#include "app_impl.h"

static void say_summary(const mltfr_interactions *data)
{
    char summary[512];

    mltfr_interactions_summary(data, summary, sizeof summary);
    mltfr_say("%s", summary);
}

/* A whole number from an option; its range is the maker's affair. */
static mltfr_status read_count(const char *option, const char *text, int64_t *out)
{
    if (text != NULL && !mltfr_text_to_i64(text, out))
        return mltfr_fail(MLTFR_E_USAGE, "--%s: %s is not a whole number", option, text);
    return MLTFR_OK;
}

static mltfr_status make_synthetic(mltfr_comm *comm, const app_request *request)
{
    mltfr_status st;
    const char *out = request->out;
    mltfr_interactions *data = NULL;
    mltfr_synthetic_spec spec = mltfr_synthetic_defaults();

    if (out == NULL)
        return mltfr_fail(MLTFR_E_USAGE, "data --synthetic needs --out FILE");
    MLTFR_TRY(read_count("users", request->users, &spec.users));
    MLTFR_TRY(read_count("items", request->items, &spec.items));
    MLTFR_TRY(mltfr_synthetic_write(comm, out, &spec));
    MLTFR_AGREE(comm, mltfr_synthetic_make(&spec, &data));
    say_summary(data);
done:
    mltfr_interactions_destroy(&data);
    return st;
}

static mltfr_status convert(mltfr_comm *comm, const mltfr_settings *settings, const char *out)
{
    mltfr_status st;
    mltfr_interactions *data = NULL;

    MLTFR_TRY(mltfr_interactions_read(comm, settings, &data));
    if (out != NULL)
        MLTFR_TRY(mltfr_interactions_write(comm, out, data));
    say_summary(data);
done:
    mltfr_interactions_destroy(&data);
    return st;
}

mltfr_status app_data(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_settings *settings = mltfr_config_settings(config);

    if (request->synthetic && request->operands[0] != NULL)
        MLTFR_FAIL(MLTFR_E_USAGE, "data: --synthetic reads no file, yet '%s' is given",
                   request->operands[0]);
    if (!request->synthetic && (request->users != NULL || request->items != NULL))
        MLTFR_FAIL(MLTFR_E_USAGE, "data: --users and --items are for --synthetic");
    if (request->synthetic)
        return make_synthetic(comm, request);
    if (request->operands[0] != NULL)
        MLTFR_AGREE(comm, mltfr_config_put(config, "data.path", request->operands[0]));
    if (settings->data_path[0] == '\0')
        MLTFR_FAIL(MLTFR_E_USAGE, "data needs a file to read, or --synthetic");
    MLTFR_TRY(convert(comm, settings, request->out));
done:
    return st;
}
