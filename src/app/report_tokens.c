/* The tokens that the users' votes of level A (E11) hold highest, from a run's best checkpoint and
 * its token spaces. */
#include "report_page.h"

#include <mltfr/log.h>
#include <mltfr/spaces.h>
#include <mltfr/trainer.h>

enum { TOP = 24, PATH_BYTES = 4096 };

/* Rows of the highest votes, falling; of equals the lowest.  @return how many have a vote */
static int choose(int64_t n, const float *votes, int64_t top[TOP])
{
    int count = 0;

    for (int64_t i = 0; i < n; i++) {
        int at = count < TOP ? count : TOP;

        while (at > 0 && votes[top[at - 1]] < votes[i])
            at--;
        if (at == TOP || !(votes[i] > 0))
            continue;
        count += count < TOP;
        for (int j = count - 1; j > at; j--)
            top[j] = top[j - 1];
        top[at] = i;
    }
    return count;
}

static mltfr_status add_tokens(mltfr_text *page, mltfr_spaces *s, int64_t k, const float *votes)
{
    mltfr_status st = MLTFR_OK;
    int64_t top[TOP], *offsets = NULL;
    const int count = choose(s->rows[k], votes, top);
    char *bytes = NULL, *word = NULL;
    mltfr_text copy = {0};

    mltfr_text_add(page, "<h4>");
    svg_escaped(page, k < s->K ? s->names[k] : "consensus");
    mltfr_text_add(page, "</h4><p class=\"tokens\">");
    for (int i = 0; i < count; i++) {
        MLTFR_TRY(mltfr_spaces_strings(s, k, top[i], 1, &bytes, &offsets));
        mltfr_text_add_bytes(&copy, bytes, (size_t)offsets[1]);
        MLTFR_TRY(mltfr_text_take(&copy, &word));
        mltfr_text_add(page, "<span title=\"votes %.3g\">", (double)votes[top[i]]);
        svg_escaped(page, word[0] != '\0' ? word : "?");
        mltfr_text_add(page, "</span> ");
        MLTFR_FREE(bytes);
        MLTFR_FREE(offsets);
        MLTFR_FREE(word);
    }
    mltfr_text_add(page, "</p>\n");
done:
    mltfr_text_destroy(&copy);
    MLTFR_FREE(bytes);
    MLTFR_FREE(offsets);
    MLTFR_FREE(word);
    return st;
}

static mltfr_status add_spaces(mltfr_text *page, mltfr_spaces *s, mltfr_file *checkpoint)
{
    mltfr_status st = MLTFR_OK;
    float *votes = NULL;
    char name[64];

    for (int64_t k = 0; k <= s->K; k++) {
        const mltfr_shape shape = {.type = MLTFR_F32, .ndim = 1, .dims = {s->rows[k]}};

        snprintf(name, sizeof name, "state/space/%lld/cbar", (long long)k);
        if (!mltfr_file_has(checkpoint, name))
            continue; /* no consensus expert */
        MLTFR_TRY(MLTFR_NEW(votes, s->rows[k]));
        MLTFR_TRY(mltfr_file_read_as(checkpoint, name, &shape, 0, s->rows[k], votes));
        MLTFR_TRY(add_tokens(page, s, k, votes));
        MLTFR_FREE(votes);
    }
done:
    MLTFR_FREE(votes);
    return st;
}

/* `self` is rank 0 alone. */
static mltfr_status add_run(mltfr_comm *self, const report_run *run, mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;
    mltfr_config *config = NULL;
    mltfr_file *checkpoint = NULL;
    mltfr_spaces *spaces = NULL;
    char path[PATH_BYTES];

    MLTFR_TRY(mltfr_config_create(&config));
    MLTFR_TRY(mltfr_config_read(config, run->name, run->config));
    if (!mltfr_config_settings(config)->model_experts)
        goto done;
    MLTFR_TRY(mltfr_config_put(config, "run.dir", run->dir));
    MLTFR_TRY(app_find_spaces(self, config, NULL, false));
    MLTFR_TRY(mltfr_run_checkpoint(self, run->dir, path, sizeof path));
    MLTFR_TRY(mltfr_file_open(self, path, &checkpoint));
    MLTFR_TRY(mltfr_spaces_open(self, mltfr_config_settings(config)->tokens_path, &spaces));
    mltfr_text_add(page, "<h3>");
    svg_escaped(page, run->name);
    mltfr_text_add(page, "</h3>\n");
    MLTFR_TRY(add_spaces(page, spaces, checkpoint));
done:
    mltfr_spaces_close(&spaces);
    mltfr_file_destroy(&checkpoint);
    mltfr_config_destroy(&config);
    return st;
}

void report_tokens(mltfr_comm *self, int count, const report_run runs[], mltfr_text *page)
{
    mltfr_text inside = {0};

    for (int i = 0; i < count; i++) {
        mltfr_text part = {0};

        if (add_run(self, &runs[i], &part) != MLTFR_OK)
            mltfr_warn("%s: its top tokens are not shown: %s", runs[i].dir, mltfr_error_text);
        else if (part.size > 0)
            mltfr_text_add_bytes(&inside, part.data, part.size);
        mltfr_text_destroy(&part);
    }
    if (inside.size > 0) {
        mltfr_text_add(page, "<section><h2>Top tokens</h2><p>Highest votes of users' states for "
                             "each vocabulary, at the checkpoint that was ranked.</p>\n");
        mltfr_text_add_bytes(page, inside.data, inside.size);
        mltfr_text_add(page, "</section>\n");
    }
    mltfr_text_destroy(&inside);
}
