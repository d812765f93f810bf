/* inspect --neighbours WORD: the nearest tokens of a word in each space of a file, conditioned, and
 * raw where the table it came from is still there. */
#include <mltfr/log.h>
#include <mltfr/spaces.h>

#include "app_impl.h"

enum { NEAREST = 10 };

/* One line: "  name raw: a 0.91, b 0.88". */
static mltfr_status say_near(mltfr_spaces *s, int64_t k, const char *what,
                             const mltfr_neighbour near[])
{
    mltfr_status st = MLTFR_OK;
    mltfr_text line = {0};
    char *bytes = NULL, *all = NULL;
    int64_t *offsets = NULL;

    mltfr_text_add(&line, "  %s %s:", k < s->K ? s->names[k] : "consensus", what);
    for (int i = 0; i < NEAREST && near[i].row >= 0; i++) {
        MLTFR_TRY(mltfr_spaces_strings(s, k, near[i].row, 1, &bytes, &offsets));
        mltfr_text_add(&line, i == 0 ? " " : ", ");
        mltfr_text_add_bytes(&line, bytes, (size_t)offsets[1]);
        mltfr_text_add(&line, " %.2f", near[i].cosine);
        MLTFR_FREE(bytes);
        MLTFR_FREE(offsets);
    }
    MLTFR_AGREE(s->comm, mltfr_text_take(&line, &all));
    mltfr_say("%s", all);
done:
    mltfr_text_destroy(&line);
    MLTFR_FREE(bytes);
    MLTFR_FREE(offsets);
    MLTFR_FREE(all);
    return st;
}

/* The table of space k by the path in the file; MLTFR_E_DATA where it is not that table.  @local */
static mltfr_status open_table(mltfr_spaces *s, int64_t k, mltfr_table **out)
{
    mltfr_status st = MLTFR_OK;
    char group[32], *path = NULL, *tensor = NULL;
    int64_t rows, width;

    *out = NULL;
    snprintf(group, sizeof group, "spaces/%lld", (long long)k);
    if (!mltfr_file_has_attr(s->file, group, "path"))
        MLTFR_FAIL(MLTFR_E_DATA, "the file does not say where the table is");
    MLTFR_TRY(mltfr_file_get_text(s->file, group, "path", &path));
    MLTFR_TRY(mltfr_file_get_text(s->file, group, "tensor", &tensor));
    MLTFR_TRY(mltfr_file_get_i64(s->file, group, "rows", &rows));
    MLTFR_TRY(mltfr_file_get_i64(s->file, group, "width", &width));
    MLTFR_TRY(mltfr_table_open(path, *tensor != '\0' ? tensor : NULL, out));
    if (mltfr_table_rows(*out) != rows || mltfr_table_width(*out) != width)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %lld x %lld, not the table of %lld x %lld", path,
                   (long long)mltfr_table_rows(*out), (long long)mltfr_table_width(*out),
                   (long long)rows, (long long)width);
done:
    MLTFR_FREE(path);
    MLTFR_FREE(tensor);
    return st;
}

/* Where the table cannot be opened, that is said and no error. */
static mltfr_status say_raw(mltfr_spaces *s, int64_t k, int64_t row)
{
    mltfr_status st;
    mltfr_table *table = NULL;
    mltfr_neighbour near[NEAREST];

    if (mltfr_comm_agree(s->comm, open_table(s, k, &table)) != MLTFR_OK) {
        mltfr_say("  %s raw: not shown: %s", s->names[k], mltfr_error_text);
        st = MLTFR_OK;
        goto done;
    }
    MLTFR_TRY(mltfr_spaces_neighbours(s, k, table, row, NEAREST, near));
    MLTFR_TRY(say_near(s, k, "raw", near));
done:
    mltfr_table_close(&table);
    return st;
}

/* Space k; found: whether it has the word. */
static mltfr_status say_space(mltfr_spaces *s, int64_t k, const char *word, bool *found)
{
    mltfr_status st;
    mltfr_neighbour near[NEAREST];
    int64_t row;

    MLTFR_TRY(mltfr_spaces_find(s, k, word, &row));
    if (row < 0) {
        mltfr_say("  %s: no token '%s'", k < s->K ? s->names[k] : "consensus", word);
        goto done;
    }
    *found = true;
    if (k < s->K)
        MLTFR_TRY(say_raw(s, k, row));
    MLTFR_TRY(mltfr_spaces_neighbours(s, k, NULL, row, NEAREST, near));
    MLTFR_TRY(say_near(s, k, "conditioned", near));
done:
    return st;
}

mltfr_status app_neighbours(mltfr_comm *comm, const char *path, const char *word)
{
    mltfr_status st;
    mltfr_spaces *spaces = NULL;
    bool found = false;

    MLTFR_TRY(mltfr_spaces_open(comm, path, &spaces));
    mltfr_say("nearest tokens of '%s', by cosine", word);
    for (int64_t k = 0; k <= spaces->K; k++)
        MLTFR_TRY(say_space(spaces, k, word, &found));
    if (!found)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: no space has a token '%s'", path, word);
done:
    mltfr_spaces_close(&spaces);
    return st;
}
