/* Conditioning the tables of a configuration into a file of token spaces. */
#include <mltfr/conditioning.h>

#include "app_impl.h"

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
        [MLTFR_TOKENS_CONTROL_IDENTITY] = MLTFR_CONTROL_IDENTITY,
    };
    mltfr_conditioning_options o = mltfr_conditioning_defaults();

    o.align = aligns[s->tokens_align];
    o.control = controls[s->tokens_control];
    o.shared_dim = s->tokens_shared_dim;
    o.specific_dim = s->tokens_specific_dim;
    o.whole_words = s->tokens_whole_words;
    o.merge_case = s->tokens_merge_case;
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

/* Condition beside the final name, add the recipe, and only then give the file its name. */
mltfr_status app_spaces_make(mltfr_comm *comm, const mltfr_settings *s, const char *path,
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
