/* inspect: what a file holds. */
#include <mltfr/interactions.h>
#include <mltfr/log.h>
#include <mltfr/spaces.h>
#include <mltfr/table.h>

#include "app_impl.h"

#include <string.h>

static mltfr_status say_array(void *context, const char *name, const mltfr_shape *shape)
{
    static const char *const types[] = {[MLTFR_F32] = "float32",
                                        [MLTFR_F64] = "float64",
                                        [MLTFR_I32] = "int32",
                                        [MLTFR_I64] = "int64",
                                        [MLTFR_U8] = "uint8"};
    int64_t *arrays = context;
    mltfr_text line = {0};
    char *all = NULL;

    ++*arrays;
    mltfr_text_add(&line, "  %-40s %s", name, types[shape->type]);
    for (int i = 0; i < shape->ndim; i++)
        mltfr_text_add(&line, "%s%lld", i == 0 ? " " : " x ", (long long)shape->dims[i]);
    mltfr_status st = mltfr_text_take(&line, &all);

    if (st == MLTFR_OK)
        mltfr_say("%s", all);
    MLTFR_FREE(all);
    return st;
}

/* What a checkpoint or a golden file says of itself.  @local */
static mltfr_status say_format(mltfr_file *file)
{
    static const char *const names[] = {"format", "kind", "program"};
    mltfr_status st = MLTFR_OK;
    char *value = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        st = mltfr_file_get_text(file, "/", names[i], &value);
        if (st == MLTFR_E_DATA) { /* there is none, or another program's of another type */
            st = MLTFR_OK;
            continue;
        }
        MLTFR_TRY(st);
        mltfr_say("%s: %s", names[i], value);
        MLTFR_FREE(value);
    }
done:
    return st;
}

static mltfr_status say_arrays(mltfr_comm *comm, const char *path)
{
    mltfr_status st;
    mltfr_file *file = NULL;
    int64_t arrays = 0;

    MLTFR_TRY(mltfr_file_open(comm, path, &file));
    MLTFR_AGREE(comm, say_format(file));
    MLTFR_AGREE(comm, mltfr_file_visit(file, say_array, &arrays));
    mltfr_say("arrays: %lld", (long long)arrays);
done:
    mltfr_file_destroy(&file);
    return st;
}

static mltfr_status say_interactions(mltfr_comm *comm, const mltfr_config *config)
{
    mltfr_interactions *data = NULL;
    char summary[512];
    mltfr_status st = mltfr_interactions_read(comm, mltfr_config_settings(config), &data);

    if (st != MLTFR_OK)
        return st;
    mltfr_interactions_summary(data, summary, sizeof summary);
    mltfr_say("interactions: %s", summary);
    mltfr_interactions_destroy(&data);
    return MLTFR_OK;
}

static mltfr_status say_spaces(mltfr_comm *comm, const char *path, bool verify)
{
    mltfr_spaces *spaces = NULL;
    mltfr_status st;

    MLTFR_TRY(mltfr_spaces_open(comm, path, &spaces));
    mltfr_say("token spaces: %lld of %lld shared and %lld specific dimensions, digest %016llx",
              (long long)spaces->K, (long long)spaces->r_c, (long long)spaces->r_s,
              (unsigned long long)spaces->digest);
    for (int64_t k = 0; k < spaces->K; k++)
        mltfr_say("  %s: %lld tokens", spaces->names[k], (long long)spaces->rows[k]);
    mltfr_say("  consensus: %lld anchors", (long long)spaces->rows[spaces->K]);
    if (verify)
        MLTFR_TRY(mltfr_spaces_verify(spaces));
    if (verify)
        mltfr_say("  verified: the content has this digest");
done:
    mltfr_spaces_close(&spaces);
    return st;
}

static void say_damage(void *context, const char *name, int64_t first, int64_t last)
{
    (void)context;
    mltfr_say("  damaged: %s, rows %lld to %lld", name, (long long)first, (long long)last);
}

/* @local */
static mltfr_status verify_arrays(mltfr_file *file)
{
    mltfr_verified seen;
    mltfr_status st = mltfr_file_verify(file, say_damage, NULL, &seen);

    if (st != MLTFR_OK)
        return st;
    if (seen.damaged > 0)
        return mltfr_fail(MLTFR_E_DATA,
                          "%s: damaged: %lld of %lld blocks do not have their checksum",
                          mltfr_file_path(file), (long long)seen.damaged, (long long)seen.blocks);
    if (seen.sealed)
        mltfr_say("  verified: %lld blocks of %lld arrays, and all else, have their checksums",
                  (long long)seen.blocks, (long long)seen.arrays);
    else
        mltfr_say("  not verified: the file carries no checksums");
    return MLTFR_OK;
}

/* What this program writes carries checksums.  @collective{comm} */
static mltfr_status verify_file(mltfr_comm *comm, const char *path)
{
    mltfr_status st;
    mltfr_file *file = NULL;

    MLTFR_TRY(mltfr_file_open(comm, path, &file));
    MLTFR_AGREE(comm, mltfr_comm_rank(comm) == 0 ? verify_arrays(file) : MLTFR_OK);
done:
    mltfr_file_destroy(&file);
    return st;
}

static mltfr_status inspect_hdf5(mltfr_comm *comm, const char *path, bool verify,
                                 const mltfr_config *config)
{
    mltfr_status st;
    bool interactions, spaces;

    mltfr_say("%s: HDF5", path);
    if (verify)
        MLTFR_TRY(verify_file(comm, path));
    MLTFR_TRY(app_holds(comm, path, "interactions", &interactions));
    MLTFR_TRY(app_holds(comm, path, "spaces", &spaces));
    if (interactions)
        MLTFR_TRY(say_interactions(comm, config));
    if (spaces)
        MLTFR_TRY(say_spaces(comm, path, verify));
    MLTFR_TRY(say_arrays(comm, path));
done:
    return st;
}

/* Files of one table, separated by commas.  @collective{comm} */
static bool is_list(mltfr_comm *comm, const char *path)
{
    return strchr(path, ',') != NULL && !app_exists(comm, path);
}

/* A directory, or a file that its name or its first bytes call a token table; what is none is
 * taken for interactions.  @collective{comm} */
static bool is_table(mltfr_comm *comm, const char *path)
{
    return mltfr_table_is(path) || app_is_directory(comm, path) ||
           app_starts_with(comm, path, "GGUF") || app_starts_with(comm, path, "\x93NUMPY");
}

/* One process reads a table. */
static mltfr_status inspect_table(mltfr_comm *comm, const app_request *request)
{
    mltfr_status st = MLTFR_OK;

    if (mltfr_comm_rank(comm) == 0)
        st = mltfr_table_describe(request->operands[0], request->tensor, request->verify);
    return mltfr_comm_agree(comm, st);
}

mltfr_status app_inspect(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st;
    const char *path = request->operands[0];

    if (is_list(comm, path))
        return inspect_table(comm, request);
    MLTFR_TRY(app_require(comm, "inspect", path));
    if (request->neighbours != NULL)
        return app_neighbours(comm, path, request->neighbours);
    MLTFR_AGREE(comm, mltfr_config_put(config, "data.path", path));
    if (app_is_hdf5(comm, path))
        MLTFR_TRY(inspect_hdf5(comm, path, request->verify, config));
    else if (!is_table(comm, path))
        MLTFR_TRY(say_interactions(comm, config));
    else
        MLTFR_TRY(inspect_table(comm, request));
done:
    return st;
}
