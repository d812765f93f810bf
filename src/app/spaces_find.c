/* Where a run's token spaces come from: tokens.tables, conditioned once into the run directory;
 * tokens.path; or the data file itself, where it is a planted example. */
#include <mltfr/file.h>

#include "app_impl.h"

#include <string.h>

/* What the spaces of a run depend on, to be kept with them.  @local */
static mltfr_status recipe_of(const mltfr_settings *s, char **out)
{
    mltfr_text text = {0};

    for (const mltfr_key *key = mltfr_keys; key->name != NULL; key++) {
        if (strcmp(key->section, "tokens") != 0 && strcmp(key->name, "train.seed") != 0)
            continue;
        mltfr_text_add(&text, "%s: ", key->name);
        mltfr_key_value(key, s, &text);
        mltfr_text_add(&text, "\n");
    }
    return mltfr_text_take(&text, out);
}

/* Were the spaces of a file made by this recipe?  @collective{comm} */
static mltfr_status check_recipe(mltfr_comm *comm, const char *path, const char *recipe)
{
    mltfr_status st;
    mltfr_file *file = NULL;
    char *used = NULL;

    MLTFR_TRY(mltfr_file_open(comm, path, &file));
    if (mltfr_file_has_attr(file, "spaces", "recipe"))
        MLTFR_AGREE(comm, mltfr_file_get_text(file, "spaces", "recipe", &used));
    if (used == NULL || strcmp(used, recipe) != 0)
        MLTFR_FAIL(MLTFR_E_USAGE,
                   "%s was made with other tokens.* keys or train.seed; use another "
                   "run.dir, or --resume=no to start anew",
                   path);
done:
    MLTFR_FREE(used);
    mltfr_file_destroy(&file);
    return st;
}

/* The spaces of tokens.tables in the run directory; as app_find_spaces has it. */
static mltfr_status conditioned(mltfr_comm *comm, mltfr_config *config, app_make_spaces *make,
                                bool anew)
{
    const mltfr_settings *s = mltfr_config_settings(config);
    mltfr_status st;
    char *path = NULL, *recipe = NULL;

    MLTFR_AGREE(comm, app_join(s->run_dir, "spaces.h5", &path));
    MLTFR_AGREE(comm, recipe_of(s, &recipe));
    if (make == NULL)
        MLTFR_TRY(app_require(comm, "run.dir", path));
    if (make != NULL && (anew || !app_exists(comm, path)))
        MLTFR_TRY(make(comm, s, path, recipe));
    else
        MLTFR_TRY(check_recipe(comm, path, recipe));
    MLTFR_AGREE(comm, mltfr_config_put(config, "tokens.path", path));
done:
    MLTFR_FREE(path);
    MLTFR_FREE(recipe);
    return st;
}

mltfr_status app_find_spaces(mltfr_comm *comm, mltfr_config *config, app_make_spaces *make,
                             bool anew)
{
    const mltfr_settings *s = mltfr_config_settings(config);
    mltfr_status st = MLTFR_OK;
    bool planted;

    if (!s->model_experts)
        return MLTFR_OK;
    if (s->tokens_tables_count > 0)
        return conditioned(comm, config, make, anew);
    if (s->tokens_path[0] != '\0')
        return app_require(comm, "tokens.path", s->tokens_path);
    MLTFR_TRY(app_holds(comm, s->data_path, "spaces", &planted));
    if (!planted)
        MLTFR_FAIL(
            MLTFR_E_USAGE,
            "no token spaces for %s: give tokens.tables (or tokens.path), or train the plain "
            "backbone with model.experts: false",
            s->data_path);
    MLTFR_AGREE(comm, mltfr_config_put(config, "tokens.path", s->data_path));
done:
    return st;
}
