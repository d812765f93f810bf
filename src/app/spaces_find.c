/* Where a run's token spaces come from: tokens.tables, conditioned once into the run directory;
 * tokens.path; or the data file itself, where it is a planted example. */
#include <mltfr/conditioning.h>
#include <mltfr/log.h>

#include "app_impl.h"

#include <string.h>

/* @local */
static mltfr_conditioning_options options_of(const mltfr_settings *s)
{
    static const mltfr_align aligns[] = {
        [MLTFR_TOKENS_ALIGN_GCCA] = MLTFR_ALIGN_GCCA,
        [MLTFR_TOKENS_ALIGN_PCA] = MLTFR_ALIGN_PCA,
        [MLTFR_TOKENS_ALIGN_PROCRUSTES] = MLTFR_ALIGN_PROCRUSTES,
    };
    static const mltfr_control controls[] = {
        [MLTFR_TOKENS_CONTROL_NONE] = MLTFR_CONTROL_NONE,
        [MLTFR_TOKENS_CONTROL_GAUSSIAN] = MLTFR_CONTROL_GAUSSIAN,
        [MLTFR_TOKENS_CONTROL_GAUSSIAN_JOINT] = MLTFR_CONTROL_GAUSSIAN_JOINT,
        [MLTFR_TOKENS_CONTROL_SHUFFLE] = MLTFR_CONTROL_SHUFFLE,
        [MLTFR_TOKENS_CONTROL_SCALE] = MLTFR_CONTROL_SCALE,
    };
    mltfr_conditioning_options o = mltfr_conditioning_defaults();

    o.align = aligns[s->tokens_align];
    o.control = controls[s->tokens_control];
    o.shared_dim = s->tokens_shared_dim;
    o.specific_dim = s->tokens_specific_dim;
    o.whole_words = s->tokens_whole_words;
    o.eps = s->tokens_eps;
    o.held_out = s->tokens_held_out;
    o.drop = s->tokens_drop;
    o.seed = (uint64_t)s->train_seed;
    return o;
}

/* @local */
static mltfr_status tables_open(const mltfr_settings *s, const char *tensor, mltfr_table *tables[],
                                mltfr_table_source sources[])
{
    mltfr_status st = MLTFR_OK;

    for (int64_t k = 0; k < s->tokens_tables_count; k++) {
        const char *own = s->tokens_tables[k].tensor;

        MLTFR_TRY(
            mltfr_table_open(s->tokens_tables[k].path, own != NULL ? own : tensor, &tables[k]));
        sources[k] =
            mltfr_table_as_source(tables[k], s->tokens_tables[k].name, s->tokens_tables[k].path);
    }
done:
    return st;
}

mltfr_status app_condition(mltfr_comm *comm, const mltfr_settings *s, const char *tensor,
                           const char *out, const char *json)
{
    mltfr_status st;
    mltfr_table *tables[MLTFR_MAX_LLMS] = {NULL};
    mltfr_table_source sources[MLTFR_MAX_LLMS];
    mltfr_conditioning_options options = options_of(s);
    mltfr_conditioning_report report = {0};

    MLTFR_AGREE(comm, tables_open(s, tensor, tables, sources));
    MLTFR_TRY(mltfr_condition(comm, sources, s->tokens_tables_count, &options, out, &report));
    MLTFR_TRY(app_report_spaces(comm, &report, json));
    mltfr_conditioning_say(&report);
done:
    mltfr_conditioning_clear(&report);
    for (int64_t k = 0; k < s->tokens_tables_count; k++)
        mltfr_table_close(&tables[k]);
    return st;
}

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

/* Condition beside the final name, add the recipe, and only then give the file its name. */
static mltfr_status make_spaces(mltfr_comm *comm, const mltfr_settings *s, const char *path,
                                const char *recipe)
{
    mltfr_status st;
    mltfr_file *file = NULL;
    char *part = NULL, *json = NULL;

    MLTFR_AGREE(comm, app_part(path, &part));
    MLTFR_AGREE(comm, app_join(s->run_dir, "spaces.json", &json));
    MLTFR_TRY(app_condition(comm, s, NULL, part, json));
    MLTFR_TRY(mltfr_file_append(comm, part, &file));
    MLTFR_TRY(mltfr_file_set_text(file, "spaces", "recipe", recipe));
    MLTFR_TRY(mltfr_file_seal(&file));
    MLTFR_TRY(app_rename(comm, part, path));
done:
    mltfr_file_destroy(&file);
    MLTFR_FREE(part);
    MLTFR_FREE(json);
    return st;
}

/* The spaces of tokens.tables in the run directory; made there unless they may be reused. */
static mltfr_status conditioned(mltfr_comm *comm, mltfr_config *config, app_spaces_use use)
{
    const mltfr_settings *s = mltfr_config_settings(config);
    mltfr_status st;
    char *path = NULL, *recipe = NULL;

    MLTFR_AGREE(comm, app_join(s->run_dir, "spaces.h5", &path));
    MLTFR_AGREE(comm, recipe_of(s, &recipe));
    if (use == APP_SPACES_NEED)
        MLTFR_TRY(app_require(comm, "run.dir", path));
    if (use == APP_SPACES_REUSE && !app_exists(comm, path))
        use = APP_SPACES_MAKE;
    if (use == APP_SPACES_MAKE)
        MLTFR_TRY(make_spaces(comm, s, path, recipe));
    else
        MLTFR_TRY(check_recipe(comm, path, recipe));
    MLTFR_AGREE(comm, mltfr_config_put(config, "tokens.path", path));
done:
    MLTFR_FREE(path);
    MLTFR_FREE(recipe);
    return st;
}

mltfr_status app_find_spaces(mltfr_comm *comm, mltfr_config *config, app_spaces_use use)
{
    const mltfr_settings *s = mltfr_config_settings(config);
    mltfr_status st = MLTFR_OK;
    bool planted;

    if (!s->model_experts)
        return MLTFR_OK;
    if (s->tokens_tables_count > 0)
        return conditioned(comm, config, use);
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
