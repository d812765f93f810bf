/* data: interactions to the HDF5 form, with their statistics; or the planted example. */
#include <mltfr/interactions.h>
#include <mltfr/log.h>
#include <mltfr/text.h>

#include "app_impl.h"

#include <stdlib.h>
#include <string.h>

static void say_summary(const mltfr_interactions *data)
{
    char summary[512];

    mltfr_interactions_summary(data, summary, sizeof summary);
    mltfr_say("%s", summary);
}

static int by_value(const void *x, const void *y)
{
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

    return (a > b) - (a < b);
}

/* `name  min=.. median=.. mean=.. max=..` of n counts, which are put in order. */
static void say_counts(const char *name, int64_t n, int64_t *counts)
{
    double sum = 0.;

    qsort(counts, (size_t)n, sizeof *counts, by_value);
    for (int64_t i = 0; i < n; i++)
        sum += (double)counts[i];
    mltfr_say("%-22s least=%lld median=%lld mean=%.2f most=%lld", name, (long long)counts[0],
              (long long)counts[n / 2], sum / (double)n, (long long)counts[n - 1]);
}

/* What a user would ask of the data next.  @local */
static mltfr_status say_statistics(const mltfr_interactions *data)
{
    mltfr_status st = MLTFR_OK;
    int64_t *users = NULL, *items = NULL, valid = 0, test = 0, trains = 0;
    mltfr_case *cases = NULL;

    MLTFR_TRY(MLTFR_NEW(users, data->users));
    MLTFR_TRY(MLTFR_NEW(items, data->items));
    for (int64_t u = 0; u < data->users; u++) {
        users[u] = data->offsets[u + 1] - data->offsets[u];
        trains += mltfr_interactions_trains(data, u);
    }
    for (int64_t i = 0; i < data->count; i++)
        items[data->ids[i] - 1]++;
    say_counts("interactions a user", data->users, users);
    say_counts("interactions an item", data->items, items);
    MLTFR_TRY(mltfr_interactions_cases(data, 1, MLTFR_SPLIT_VALID, &cases, &valid));
    MLTFR_FREE(cases);
    MLTFR_TRY(mltfr_interactions_cases(data, 1, MLTFR_SPLIT_TEST, &cases, &test));
    mltfr_say("%-22s density=%.6f train=%lld valid_users=%lld test_users=%lld",
              data->cuts != NULL ? "split by time" : "split leave-one-out",
              (double)data->count / (double)data->users / (double)data->items, (long long)trains,
              (long long)valid, (long long)test);
done:
    MLTFR_FREE(users);
    MLTFR_FREE(items);
    MLTFR_FREE(cases);
    return st;
}

/* A whole number from an option; its range is the maker's affair. */
static mltfr_status read_count(const char *option, const char *text, int64_t *out)
{
    if (text != NULL && !mltfr_text_to_i64(text, out))
        return mltfr_fail(MLTFR_E_USAGE, "--%s: %s is not a whole number", option, text);
    return MLTFR_OK;
}

static mltfr_status write_data(mltfr_comm *comm, const char *path, const void *data)
{
    return mltfr_interactions_write(comm, path, data);
}

static mltfr_status write_synthetic(mltfr_comm *comm, const char *path, const void *spec)
{
    return mltfr_synthetic_write(comm, path, spec);
}

mltfr_status app_synthetic_write(mltfr_comm *comm, const char *path,
                                 const mltfr_synthetic_spec *spec)
{
    return app_write_by(comm, path, write_synthetic, spec);
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
    MLTFR_TRY(app_synthetic_write(comm, out, &spec));
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
        MLTFR_TRY(app_write_by(comm, out, write_data, data));
    say_summary(data);
    MLTFR_AGREE(comm, say_statistics(data));
done:
    mltfr_interactions_destroy(&data);
    return st;
}

/* Told by its name, so that nobody takes the file for text. */
static mltfr_status check_name(const char *out)
{
    const char *dot = out == NULL ? NULL : strrchr(out, '.');

    if (out != NULL && (dot == NULL || !app_word_in("h5|hdf5", dot + 1)))
        return mltfr_fail(MLTFR_E_USAGE,
                          "--out: %s: interactions are written as HDF5: end the name in .h5", out);
    return MLTFR_OK;
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
    MLTFR_TRY(check_name(request->out));
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
