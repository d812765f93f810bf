/* train --dry-run: the sizes of what is not there yet, and for which numbers of ranks. */
#include <mltfr/log.h>
#include <mltfr/synthetic.h>
#include <mltfr/table.h>
#include <mltfr/trainer.h>

#include "app_impl.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_NUMBERS = 32, MOST_RANKS = 4096 };

/* "" is this run's own number; else numbers with commas. */
static mltfr_status read_ranks(mltfr_comm *comm, const char *text, int ranks[], int *count)
{
    const char *at = text;

    ranks[0] = mltfr_comm_size(comm);
    *count = 1;
    for (int n = 0; *at != '\0'; *count = n) {
        char *end;
        const long value = strtol(at, &end, 10);
        const bool ends = *end == '\0' || (*end == ',' && end[1] != '\0');

        if (end == at || !ends || value < 1 || value > MOST_RANKS || n == MOST_NUMBERS)
            return mltfr_fail(MLTFR_E_USAGE,
                              "--dry-run: %s is not allowed: must be at most %d numbers of ranks "
                              "from 1 to %d, with commas",
                              text, MOST_NUMBERS, MOST_RANKS);
        ranks[n++] = (int)value;
        at = *end == ',' ? end + 1 : end;
    }
    return MLTFR_OK;
}

/* Sizes of spaces that tokens.tables would make: rows but for the dropped ones; half of the
 * smallest vocabulary are anchors, about what real pairs have.  @local */
static mltfr_status guess_spaces(const mltfr_settings *s, mltfr_spaces *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table *table = NULL;
    int64_t least = INT64_MAX;

    out->K = s->tokens_tables_count;
    out->r_c = s->tokens_shared_dim > 0 ? s->tokens_shared_dim : 128;
    out->r_s = s->tokens_specific_dim;
    for (int64_t k = 0; k < out->K; k++) {
        MLTFR_TRY(mltfr_table_open(s->tokens_tables[k].path, s->tokens_tables[k].tensor, &table));
        out->rows[k] = (int64_t)((1. - s->tokens_drop) * (double)mltfr_table_rows(table));
        least = out->rows[k] < least ? out->rows[k] : least;
        mltfr_table_close(&table);
    }
    out->rows[out->K] = (least + 1) / 2;
done:
    mltfr_table_close(&table);
    return st;
}

/* Those of the planted example.  @local */
static mltfr_status planted_spaces(mltfr_spaces *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_synthetic_spec spec = mltfr_synthetic_defaults();
    int64_t width;
    float *Z = NULL;

    out->K = spec.llms;
    out->r_c = spec.shared_dim;
    out->r_s = spec.specific_dim;
    for (int64_t k = 0; k <= out->K; k++) {
        MLTFR_TRY(mltfr_synthetic_space(&spec, k, &out->rows[k], &width, &Z));
        MLTFR_FREE(Z);
    }
done:
    return st;
}

/* Are the spaces there?  Else their sizes into `guess`.  @collective{comm} */
static mltfr_status look_for_spaces(mltfr_comm *comm, mltfr_config *config, bool *there,
                                    mltfr_spaces *guess)
{
    const mltfr_settings *s = mltfr_config_settings(config);
    mltfr_status st = MLTFR_OK;
    char *path = NULL;

    *there = false;
    if (s->data_path[0] == '\0') {
        MLTFR_AGREE(comm, planted_spaces(guess));
        goto done;
    }
    MLTFR_TRY(app_require(comm, "data.path", s->data_path));
    MLTFR_AGREE(comm, app_join(s->run_dir, "spaces.h5", &path));
    *there = !s->model_experts || s->tokens_tables_count == 0 || app_exists(comm, path);
    if (*there) {
        MLTFR_TRY(app_find_spaces(comm, config, NULL, false));
        goto done;
    }
    MLTFR_AGREE(comm, guess_spaces(s, guess));
    mltfr_note("spaces  not made yet: sizes are those of tokens.tables, half of the smallest are "
               "taken for anchors");
done:
    MLTFR_FREE(path);
    return st;
}

mltfr_status app_dry_run(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st = MLTFR_OK;
    mltfr_spaces *guess = NULL;
    int ranks[MOST_NUMBERS], count;
    bool there;

    MLTFR_AGREE(comm, read_ranks(comm, request->dry_run, ranks, &count));
    MLTFR_AGREE(comm, MLTFR_NEW(guess, 1));
    MLTFR_TRY(look_for_spaces(comm, config, &there, guess));
    MLTFR_TRY(
        mltfr_dry_run(comm, mltfr_config_settings(config), there ? NULL : guess, count, ranks));
done:
    MLTFR_FREE(guess);
    return st;
}
