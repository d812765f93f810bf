/* Ids that a user names, looked up among those of the data.  Rank 0 reads and looks up, the others
 * receive numbers. */
#include "interactions_impl.h"

#include <mltfr/mem.h>
#include <mltfr/selection.h>

#include <string.h>

static mltfr_status add_names(mltfr_idmap *map, char *const *names, int64_t n)
{
    mltfr_status st = MLTFR_OK;
    int32_t number;

    for (int64_t i = 0; i < n; i++) {
        MLTFR_TRY(
            mltfr_idmap_add(map, (mltfr_slice){names[i], (int64_t)strlen(names[i])}, &number));
        if (number != i) /* later names would have wrong numbers */
            MLTFR_FAIL(MLTFR_E_DATA, "the name '%.60s' is there twice", names[i]);
    }
done:
    return st;
}

static mltfr_slice trim_id(mltfr_slice s, char end, char **next)
{
    char *stop = memchr(s.at, end, (size_t)s.n);
    mltfr_slice id = {s.at, stop != NULL ? stop - s.at : s.n};

    *next = stop != NULL ? stop + 1 : s.at + s.n;
    return mltfr_slice_trim(id);
}

/* ---- selections ---------------------------------------------------------------------------- */

static void selection_add(mltfr_selection *s, const mltfr_idmap *map, mltfr_slice id)
{
    const int32_t number = mltfr_idmap_find(map, id);

    if (number >= 0)
        s->number[s->count++] = number;
    else if (s->unknown++ == 0)
        mltfr_slice_show(id, s->first);
}

static int64_t count_char(mltfr_slice s, char c)
{
    int64_t count = 0;

    for (int64_t i = 0; i < s.n; i++)
        count += s.at[i] == c;
    return count;
}

/* The ids of a text, each ended by `end` or by the end of the text; empty ones mean nothing. */
static mltfr_status select_ids(mltfr_slice text, char end, char *const *names, int64_t n,
                               mltfr_selection **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_idmap map = {0};
    mltfr_selection *s = NULL;
    char *stop = text.at + text.n;

    *out = NULL;
    MLTFR_TRY(add_names(&map, names, n));
    MLTFR_TRY(MLTFR_NEW(s, 1));
    MLTFR_TRY(MLTFR_NEW(s->number, count_char(text, end) + 1));
    while (text.at < stop) {
        mltfr_slice id = trim_id((mltfr_slice){text.at, stop - text.at}, end, &text.at);

        if (id.n > 0)
            selection_add(s, &map, id);
    }
    *out = s;
    s = NULL;
done:
    mltfr_selection_destroy(&s);
    mltfr_idmap_free(&map);
    return st;
}

mltfr_status mltfr_selection_split(const char *list, char *const *names, int64_t n,
                                   mltfr_selection **out)
{
    mltfr_status st = MLTFR_OK;
    char *copy = NULL;

    *out = NULL;
    MLTFR_TRY(mltfr_strdup(list, &copy));
    MLTFR_TRY(select_ids((mltfr_slice){copy, (int64_t)strlen(copy)}, ',', names, n, out));
done:
    MLTFR_FREE(copy);
    return st;
}

static mltfr_status read_ids(const char *path, char *const *names, int64_t n, mltfr_selection **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_reader text = {0};

    MLTFR_TRY(mltfr_reader_load(path, &text));
    MLTFR_TRY(select_ids((mltfr_slice){text.next, text.end - text.next}, '\n', names, n, out));
done:
    mltfr_reader_free(&text);
    return st;
}

mltfr_status mltfr_selection_read(mltfr_comm *comm, const char *path, char *const *names, int64_t n,
                                  mltfr_selection **out)
{
    mltfr_status st = MLTFR_OK;
    const bool root = mltfr_comm_rank(comm) == 0;
    mltfr_selection *s = NULL, head = {0};

    *out = NULL;
    MLTFR_AGREE(comm, root ? read_ids(path, names, n, &s) : MLTFR_OK);
    if (root)
        head = *s;
    mltfr_comm_bcast(comm, &head, sizeof head, 0);
    if (!root && (st = MLTFR_NEW(s, 1)) == MLTFR_OK) {
        *s = head;
        st = MLTFR_NEW(s->number, head.count);
    }
    MLTFR_AGREE(comm, st);
    mltfr_comm_bcast(comm, s->number, s->count * (int64_t)sizeof *s->number, 0);
    *out = s;
    s = NULL;
done:
    mltfr_selection_destroy(&s);
    return st;
}

void mltfr_selection_destroy(mltfr_selection **selection)
{
    if (*selection == NULL)
        return;
    MLTFR_FREE((*selection)->number);
    MLTFR_FREE(*selection);
}

/* ---- sequences ----------------------------------------------------------------------------- */

static mltfr_slice next_item(mltfr_slice *line, bool tabs)
{
    mltfr_slice id;
    char *next;

    if (!tabs) {
        mltfr_slice_word(line, &id);
        return id;
    }
    id = trim_id(*line, '\t', &next);
    *line = (mltfr_slice){next, line->n - (next - line->at)};
    return id;
}

static void add_sequence(mltfr_sequences *s, const mltfr_idmap *items, mltfr_slice line, bool tabs)
{
    int64_t at = s->offsets[s->count];
    const int64_t known = at, unknown = s->unknown;

    while (line.n > 0) {
        const mltfr_slice id = next_item(&line, tabs);
        const int32_t number = mltfr_idmap_find(items, id);

        if (number >= 0)
            s->ids[at++] = number + 1;
        else
            s->unknown += id.n > 0;
    }
    s->unknown_lines += s->unknown > unknown;
    s->empty += at == known;
    s->offsets[++s->count] = at;
}

static mltfr_status sequences_alloc(int64_t count, int64_t ids, mltfr_sequences **out)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(MLTFR_NEW(*out, 1));
    MLTFR_TRY(MLTFR_NEW((*out)->offsets, count + 1));
    MLTFR_TRY(MLTFR_NEW((*out)->line, count));
    MLTFR_TRY(MLTFR_NEW((*out)->ids, ids));
done:
    return st;
}

/* Lines and items of a text, at most. */
static void measure(mltfr_reader text, bool tabs, int64_t *lines, int64_t *items)
{
    mltfr_slice line;

    for (*lines = *items = 0; mltfr_reader_line(&text, &line); ++*lines)
        while (line.n > 0)
            *items += next_item(&line, tabs).n > 0;
}

static mltfr_status read_sequences(const char *path, const mltfr_interactions *data,
                                   mltfr_sequences **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_reader text = {0};
    mltfr_idmap items = {0};
    mltfr_slice line;
    int64_t lines, ids;

    MLTFR_TRY(mltfr_reader_load(path, &text));
    const bool tabs = memchr(text.next, '\t', (size_t)(text.end - text.next)) != NULL;

    measure(text, tabs, &lines, &ids);
    if (lines == 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: no sequence: a line of item ids each is needed", path);
    MLTFR_TRY(add_names(&items, data->item_names, data->items));
    MLTFR_TRY(sequences_alloc(lines, ids, out));
    while (mltfr_reader_line(&text, &line)) {
        (*out)->line[(*out)->count] = text.line;
        add_sequence(*out, &items, line, tabs);
    }
done:
    mltfr_idmap_free(&items);
    mltfr_reader_free(&text);
    return st;
}

mltfr_status mltfr_sequences_read(mltfr_comm *comm, const char *path,
                                  const mltfr_interactions *data, mltfr_sequences **out)
{
    mltfr_status st = MLTFR_OK;
    const bool root = mltfr_comm_rank(comm) == 0;
    mltfr_sequences *s = NULL;
    struct {
        mltfr_sequences head; /* its pointers mean nothing */
        int64_t ids;
    } n = {{0}, 0};

    *out = NULL;
    st = root ? read_sequences(path, data, &s) : MLTFR_OK;
    if (root && st == MLTFR_OK) {
        n.head = *s;
        n.ids = s->offsets[s->count];
    }
    MLTFR_AGREE(comm, st);
    mltfr_comm_bcast(comm, &n, sizeof n, 0);
    if (!root)
        st = sequences_alloc(n.head.count, n.ids, &s);
    MLTFR_AGREE(comm, st);
    n.head.offsets = s->offsets, n.head.line = s->line, n.head.ids = s->ids;
    *s = n.head;
    mltfr_comm_bcast(comm, s->offsets, (s->count + 1) * (int64_t)sizeof *s->offsets, 0);
    mltfr_comm_bcast(comm, s->line, s->count * (int64_t)sizeof *s->line, 0);
    mltfr_comm_bcast(comm, s->ids, n.ids * (int64_t)sizeof *s->ids, 0);
    *out = s;
    s = NULL;
done:
    mltfr_sequences_destroy(&s);
    return st;
}

void mltfr_sequences_destroy(mltfr_sequences **sequences)
{
    if (*sequences == NULL)
        return;
    MLTFR_FREE((*sequences)->offsets);
    MLTFR_FREE((*sequences)->ids);
    MLTFR_FREE((*sequences)->line);
    MLTFR_FREE(*sequences);
}

/* ---- names --------------------------------------------------------------------------------- */

mltfr_status mltfr_names_match(char *const *names, int64_t n, char *const *among, int64_t m,
                               int32_t *number)
{
    mltfr_status st;
    mltfr_idmap map = {0};

    MLTFR_TRY(add_names(&map, among, m));
    for (int64_t i = 0; i < n; i++)
        number[i] = mltfr_idmap_find(&map, (mltfr_slice){names[i], (int64_t)strlen(names[i])});
done:
    mltfr_idmap_free(&map);
    return st;
}

mltfr_status mltfr_names_read(const char *path, char ***out, int64_t *n)
{
    mltfr_status st = MLTFR_OK;
    mltfr_reader text = {0};
    mltfr_slice line;
    char *at;

    *out = NULL;
    *n = 0;
    MLTFR_TRY(mltfr_reader_load(path, &text));
    mltfr_reader again = text;

    while (mltfr_reader_line(&again, &line))
        ++*n;
    MLTFR_TRY(mltfr_names_alloc(*n, text.end - text.next + 1, out));
    at = (char *)(*out + *n);
    while (mltfr_reader_line(&text, &line)) {
        memcpy(at, line.at, (size_t)line.n);
        at += line.n + 1;
    }
    mltfr_names_link(*out, *n);
done:
    mltfr_reader_free(&text);
    return st;
}
