/* Words and their nearest tokens in a file of spaces.  Ranks go through the rows in turns of a
 * fixed size, each keeps the best it has seen, and all of them see the best of all. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { STEP = 4096 };

/* This rank's rows of the turn that begins at row `at`. */
static int64_t own_rows(const mltfr_spaces *s, int64_t k, int64_t at, int64_t *first)
{
    int64_t left;

    *first = at + STEP * mltfr_comm_rank(s->comm);
    left = s->rows[k] - *first;
    *first = left > 0 ? *first : s->rows[k];
    return left < 0 ? 0 : left < STEP ? left : STEP;
}

/* ---- words --------------------------------------------------------------------------------- */

enum { EXACT, MARKED, CASELESS, WAYS };

/* The first of the ways in which a token's string is the word; WAYS where it is not. */
static int matches(const char *string, size_t bytes, const char *word)
{
    size_t n = strlen(word), mark = mltfr_mark_bytes(string, bytes);

    if (bytes == n && memcmp(string, word, n) == 0)
        return EXACT;
    if (bytes - mark != n || n == 0)
        return WAYS;
    string += mark;
    return memcmp(string, word, n) == 0        ? MARKED
           : strncasecmp(string, word, n) == 0 ? CASELESS
                                               : WAYS;
}

mltfr_status mltfr_spaces_find(mltfr_spaces *s, int64_t k, const char *word, int64_t *row)
{
    mltfr_status st = MLTFR_OK;
    const int64_t none = s->rows[k];
    int64_t found[WAYS] = {-none, -none, -none}, *offsets = NULL, first;
    char *bytes = NULL;

    for (int64_t at = 0; at < s->rows[k]; at += STEP * mltfr_comm_size(s->comm)) {
        int64_t n = own_rows(s, k, at, &first);
        MLTFR_TRY(mltfr_spaces_strings(s, k, first, n, &bytes, &offsets));
        for (int64_t i = n - 1; i >= 0; i--) {
            int way = matches(bytes + offsets[i], (size_t)(offsets[i + 1] - offsets[i]), word);
            if (way < WAYS && -(first + i) > found[way])
                found[way] = -(first + i);
        }
        MLTFR_FREE(bytes);
        MLTFR_FREE(offsets);
    }
    mltfr_comm_max_i64(s->comm, found, WAYS);
    *row = -1;
    for (int way = WAYS - 1; way >= 0; way--)
        *row = found[way] > -none ? -found[way] : *row;
done:
    MLTFR_FREE(bytes);
    MLTFR_FREE(offsets);
    return st;
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* Rows of a space, or of the table behind it. */
typedef struct {
    mltfr_spaces *s;
    int64_t k, width;
    const mltfr_table *table;
    int64_t *ids; /* [STEP] tokens of the rows, where there is a table */
} source;

static mltfr_status read_tokens(const source *from, int64_t rows, float *X)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t i = 0; i < rows; i++) {
        if (from->ids[i] < 0 || from->ids[i] >= mltfr_table_rows(from->table))
            MLTFR_FAIL(MLTFR_E_DATA, "%s: has no token %lld", mltfr_table_path(from->table),
                       (long long)from->ids[i]);
        MLTFR_TRY(mltfr_table_read(from->table, from->ids[i], 1, X + i * from->width));
    }
done:
    return st;
}

/* Rows [first, first + rows) of X, each to unit length. */
static mltfr_status read_units(const source *from, int64_t first, int64_t rows, float *X)
{
    mltfr_status st = MLTFR_OK;
    mltfr_rows units = {rows, from->width, false, X};
    char name[64];

    if (from->table == NULL) {
        MLTFR_TRY(mltfr_spaces_read(from->s, from->k, first, rows, X));
    } else {
        snprintf(name, sizeof name, "spaces/%lld/ids", (long long)from->k);
        MLTFR_TRY(mltfr_file_read_list(from->s->file, name, MLTFR_I64, first, rows, from->ids));
        MLTFR_AGREE(from->s->comm, read_tokens(from, rows, X));
    }
    for (int64_t i = 0; i < rows; i++)
        mltfr_rows_scale(&units, i, 1 / fmax(mltfr_rows_norm(&units, i), 1e-30));
done:
    return st;
}

/* ---- the nearest --------------------------------------------------------------------------- */

/* Insert into a list in falling order; of equals the lower row stands first. */
static void insert(mltfr_neighbour near[], int64_t count, mltfr_neighbour one)
{
    for (int64_t i = 0; i < count; i++) {
        mltfr_neighbour here = near[i];
        if (here.row >= 0 &&
            (here.cosine > one.cosine || (here.cosine == one.cosine && here.row < one.row)))
            continue;
        near[i] = one;
        if (here.row < 0)
            return;
        one = here;
    }
}

static double dot(int64_t n, const float *x, const float *y)
{
    double sum = 0;

    for (int64_t j = 0; j < n; j++)
        sum += (double)x[j] * (double)y[j];
    return sum;
}

static mltfr_status merge(mltfr_comm *comm, int64_t count, mltfr_neighbour near[])
{
    mltfr_status st = MLTFR_OK;
    mltfr_neighbour *all = NULL;
    int64_t total = count * mltfr_comm_size(comm);

    MLTFR_AGREE(comm, MLTFR_NEW(all, total));
    mltfr_comm_allgather(comm, near, count * (int64_t)sizeof *near, all);
    for (int64_t i = 0; i < count; i++)
        near[i].row = -1;
    for (int64_t i = 0; i < total; i++)
        if (all[i].row >= 0)
            insert(near, count, all[i]);
done:
    MLTFR_FREE(all);
    return st;
}

mltfr_status mltfr_spaces_neighbours(mltfr_spaces *s, int64_t k, const mltfr_table *table,
                                     int64_t row, int64_t count, mltfr_neighbour near[])
{
    mltfr_status st = MLTFR_OK;
    source from = {.s = s, .k = k, .table = table};
    float *X = NULL, *x = NULL;
    int64_t first;

    from.width = table != NULL ? mltfr_table_width(table) : k < s->K ? s->r_c + s->r_s : s->r_c;
    for (int64_t i = 0; i < count; i++)
        near[i] = (mltfr_neighbour){.row = -1};
    MLTFR_AGREE(s->comm, MLTFR_NEW(from.ids, STEP));
    MLTFR_AGREE(s->comm, MLTFR_NEW(X, STEP * from.width));
    MLTFR_AGREE(s->comm, MLTFR_NEW(x, from.width));
    MLTFR_TRY(read_units(&from, row, 1, x));
    for (int64_t at = 0; at < s->rows[k]; at += STEP * mltfr_comm_size(s->comm)) {
        int64_t n = own_rows(s, k, at, &first);
        MLTFR_TRY(read_units(&from, first, n, X));
        for (int64_t i = 0; i < n; i++)
            if (first + i != row)
                insert(near, count,
                       (mltfr_neighbour){first + i, dot(from.width, x, X + i * from.width)});
    }
    MLTFR_TRY(merge(s->comm, count, near));
done:
    MLTFR_FREE(from.ids);
    MLTFR_FREE(X);
    MLTFR_FREE(x);
    return st;
}
