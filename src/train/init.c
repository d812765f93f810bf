/* Warm starts.  Items are matched by id, experts by the LLM's name:
 *
 *      old   item.weight [I0][d]   expert k0   router.w[:, k0]   all other tensors
 *                | by id              | by name    |                 | where the shape is equal
 *      new   item.weight [I][d]    expert k    router.w[:, k]    the same tensor
 *
 * Adam's moments, pools and statistics start anew. */
#include "init.h"

#include <mltfr/selection.h>
#include <mltfr/table.h>

#include <stdio.h>
#include <string.h>

enum { ROWS_AT_ONCE = 4096 };

/* Rows of vectors from somewhere. */
typedef struct {
    mltfr_session *s;
    const char *path;
    mltfr_file *file; /* HDF5: array `name`; collective */
    const char *name;
    mltfr_table *table; /* .npy */
    int64_t rows, width;
    char **ids; /* [rows], owned */
} source;

static mltfr_status read_rows(const source *x, int64_t first, int64_t n, float *out)
{
    return x->file != NULL ? mltfr_file_read(x->file, x->name, MLTFR_F32, first, n, out)
                           : mltfr_table_read(x->table, first, n, out);
}

/* ---- items --------------------------------------------------------------------------------- */

/* Copy the rows that this rank owns; every rank reads all of them, a piece at a time. */
static mltfr_status take_rows(const source *x, const int32_t *number)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_engine *e = x->s->engine;
    const int64_t d = x->width;
    float *rows = NULL;

    MLTFR_AGREE(e->comm, MLTFR_NEW(rows, ROWS_AT_ONCE * d));
    for (int64_t from = 0; from < x->rows; from += ROWS_AT_ONCE) {
        const int64_t n = x->rows - from < ROWS_AT_ONCE ? x->rows - from : ROWS_AT_ONCE;

        MLTFR_AGREE(e->comm, read_rows(x, from, n, rows));
        for (int64_t i = 0; i < n; i++) {
            const int64_t own = number[from + i] - e->item_first;

            if (number[from + i] >= 0 && own >= 0 && own < e->item_rows)
                memcpy(e->params->item.w + own * d, rows + i * d, (size_t)d * sizeof *rows);
        }
    }
done:
    MLTFR_FREE(rows);
    return st;
}

static mltfr_status take_items(const source *x)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_interactions *data = x->s->data;
    int32_t *number = NULL;
    int64_t taken = 0;

    if (x->width != x->s->set->model_dim)
        MLTFR_FAIL(MLTFR_E_USAGE, "%s: vectors of %lld numbers, model.dim is %lld", x->path,
                   (long long)x->width, (long long)x->s->set->model_dim);
    MLTFR_AGREE(x->s->comm, MLTFR_NEW(number, x->rows));
    MLTFR_AGREE(x->s->comm,
                mltfr_names_match(x->ids, x->rows, data->item_names, data->items, number));
    for (int64_t i = 0; i < x->rows; i++)
        taken += number[i] >= 0;
    if (taken == 0)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: none of its %lld items is in the data: ids must be those of "
                   "%s",
                   x->path, (long long)x->rows, x->s->set->data_path);
    MLTFR_TRY(take_rows(x, number));
    mltfr_note("init    %s: %lld of %lld items taken, %lld are fresh, %lld are no longer in the "
               "data",
               x->path, (long long)taken, (long long)data->items, (long long)(data->items - taken),
               (long long)(x->rows - taken));
done:
    MLTFR_FREE(number);
    return st;
}

/* ---- item.init ----------------------------------------------------------------------------- */

/* `items/vectors` with `items/ids`, as export writes them, or `vectors` with `ids`. */
static mltfr_status open_hdf5(source *x)
{
    mltfr_status st;
    mltfr_shape shape;
    int64_t n;

    MLTFR_TRY(mltfr_file_open(x->s->comm, x->path, &x->file));
    const bool grouped = mltfr_file_has(x->file, "items/vectors");

    x->name = grouped ? "items/vectors" : "vectors";
    MLTFR_AGREE(x->s->comm, mltfr_file_shape(x->file, x->name, &shape));
    MLTFR_TRY(mltfr_file_read_strings(x->file, grouped ? "items/ids" : "ids", &x->ids, &n));
    if (shape.ndim != 2 || shape.dims[0] != n)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: '%s' is not an array of %lld rows, one an id", x->path,
                   x->name, (long long)n);
    x->rows = n;
    x->width = shape.dims[1];
done:
    return st;
}

/* The ids of X.npy are in X.txt, those of X-vectors.npy in X-ids.txt. */
static void ids_path(const char *path, char *out, size_t bytes)
{
    static const char vectors[] = "-vectors";
    size_t n = strlen(path) - strlen(".npy");
    const bool exported =
        n > strlen(vectors) && strncmp(path + n - strlen(vectors), vectors, strlen(vectors)) == 0;

    n -= exported ? strlen(vectors) : 0;
    snprintf(out, bytes, "%.*s%s.txt", (int)n, path, exported ? "-ids" : "");
}

static mltfr_status open_npy(source *x)
{
    mltfr_status st = MLTFR_OK;
    char path[4096];
    int64_t n = 0;

    MLTFR_AGREE(x->s->comm, mltfr_table_open(x->path, NULL, &x->table));
    ids_path(x->path, path, sizeof path);
    MLTFR_AGREE(x->s->comm, mltfr_names_read(path, &x->ids, &n));
    x->rows = mltfr_table_rows(x->table);
    x->width = mltfr_table_width(x->table);
    if (n != x->rows)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %lld ids for the %lld rows of %s", path, (long long)n,
                   (long long)x->rows, x->path);
done:
    return st;
}

static void source_close(source *x)
{
    mltfr_file_destroy(&x->file);
    mltfr_table_close(&x->table);
    MLTFR_FREE(x->ids);
}

static mltfr_status init_items(mltfr_session *s)
{
    mltfr_status st;
    source x = {.s = s, .path = s->set->item_init};
    const size_t n = strlen(x.path);
    const bool npy = n > 4 && strcmp(x.path + n - 4, ".npy") == 0;

    MLTFR_TRY(npy ? open_npy(&x) : open_hdf5(&x));
    MLTFR_TRY(take_items(&x));
done:
    source_close(&x);
    return st;
}

/* ---- a checkpoint -------------------------------------------------------------------------- */

/* What of the old LLMs each new one is; -1: it is new. */
typedef struct {
    int64_t K, old_K;
    int32_t old[MLTFR_MAX_LLMS];
} llm_match;

static mltfr_status match_llms(mltfr_session *s, mltfr_file *file, llm_match *m)
{
    mltfr_status st = MLTFR_OK;
    char *names[MLTFR_MAX_LLMS], **old = NULL;

    *m = (llm_match){.K = s->engine->K};
    for (int64_t k = 0; k < m->K; k++) {
        names[k] = s->spaces->names[k];
        m->old[k] = -1;
    }
    if (m->K == 0 || !mltfr_file_has(file, "llms"))
        return MLTFR_OK;
    MLTFR_TRY(mltfr_file_read_strings(file, "llms", &old, &m->old_K));
    MLTFR_AGREE(s->comm, mltfr_names_match(names, m->K, old, m->old_K, m->old));
    for (int64_t k = 0; k < m->K; k++)
        mltfr_note("init    LLM %s: %s", names[k], m->old[k] >= 0 ? "taken" : "fresh");
done:
    MLTFR_FREE(old);
    return st;
}

/* Columns of router.w by LLM. */
static mltfr_status take_router(mltfr_session *s, mltfr_file *file, const mltfr_tensor *t,
                                const llm_match *m)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_shape shape = {MLTFR_F32, 2, {t->dims[0], m->old_K}};
    float *old = NULL, *w = s->engine->params->dense.w + t->offset;

    MLTFR_AGREE(s->comm, MLTFR_NEW(old, t->dims[0] * m->old_K));
    MLTFR_TRY(mltfr_file_read_as(file, "params/router.w", &shape, 0, t->dims[0], old));
    for (int64_t i = 0; i < t->dims[0]; i++)
        for (int64_t k = 0; k < m->K; k++)
            if (m->old[k] >= 0)
                w[i * m->K + k] = old[i * m->old_K + m->old[k]];
done:
    MLTFR_FREE(old);
    return st;
}

/* A tensor of the same shape, whole; *taken says whether there was one. */
static mltfr_status take_tensor(mltfr_session *s, mltfr_file *file, const mltfr_tensor *t,
                                const char *name, bool *taken)
{
    mltfr_status st;
    mltfr_shape shape;
    mltfr_slab *slab = mltfr_params_slab(s->engine->params, t);
    const bool holds = t->place == MLTFR_PLACE_DENSE || s->engine->space[t->expert].group != NULL;

    *taken = false;
    if (!mltfr_file_has(file, name))
        return MLTFR_OK;
    MLTFR_AGREE(s->comm, mltfr_file_shape(file, name, &shape));
    if (shape.ndim != t->ndim || shape.dims[0] != t->dims[0] ||
        (t->ndim == 2 && shape.dims[1] != t->dims[1]))
        return MLTFR_OK;
    shape.type = MLTFR_F32; /* whatever it is in the file */
    MLTFR_TRY(mltfr_file_read_as(file, name, &shape, 0, holds ? t->dims[0] : 0,
                                 holds ? slab->w + t->offset : NULL));
    *taken = true;
done:
    return st;
}

static mltfr_status take_tensors(mltfr_session *s, mltfr_file *file, const llm_match *m)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_params *p = s->engine->params;
    int64_t count = 0;

    for (int64_t i = 0; i < p->count; i++) {
        const mltfr_tensor *t = &p->tensor[i];
        char name[128];
        bool taken = true;

        snprintf(name, sizeof name, "params/%s", t->name);
        if (t->place == MLTFR_PLACE_EXPERT && m->old[t->expert] < 0)
            continue;
        if (t->place == MLTFR_PLACE_EXPERT)
            snprintf(name, sizeof name, "params/expert%d%s", (int)m->old[t->expert],
                     strchr(t->name, '.'));
        if (strcmp(t->name, "router.w") == 0 && m->old_K > 0)
            MLTFR_TRY(take_router(s, file, t, m));
        else if (t->place != MLTFR_PLACE_ITEM)
            MLTFR_TRY(take_tensor(s, file, t, name, &taken));
        count += taken;
    }
    mltfr_note("init    %s: %lld of %lld tensors taken", mltfr_file_path(file), (long long)count,
               (long long)p->count);
done:
    return st;
}

static mltfr_status init_checkpoint(mltfr_session *s, const char *path)
{
    mltfr_status st;
    source x = {.s = s, .path = path, .name = "params/item.weight"};
    mltfr_shape shape;
    llm_match llms;
    int64_t n;

    MLTFR_TRY(mltfr_checkpoint_check(s->comm, path));
    MLTFR_TRY(mltfr_file_open(s->comm, path, &x.file));
    MLTFR_TRY(mltfr_file_read_strings(x.file, "items", &x.ids, &n));
    MLTFR_AGREE(s->comm, mltfr_file_shape(x.file, x.name, &shape));
    if (shape.ndim != 2 || shape.dims[0] != n)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %lld ids of items for its rows", path, (long long)n);
    x.rows = n;
    x.width = shape.dims[1];
    MLTFR_TRY(take_items(&x));
    MLTFR_TRY(match_llms(s, x.file, &llms));
    MLTFR_TRY(take_tensors(s, x.file, &llms));
done:
    source_close(&x);
    return st;
}

mltfr_status mltfr_init_apply(mltfr_session *s, const char *checkpoint)
{
    mltfr_status st = MLTFR_OK;

    if (s->set->item_init[0] != '\0')
        MLTFR_TRY(init_items(s));
    if (checkpoint != NULL)
        MLTFR_TRY(init_checkpoint(s, checkpoint));
    MLTFR_TRY(mltfr_inject_apply(s->engine));
done:
    return st;
}
