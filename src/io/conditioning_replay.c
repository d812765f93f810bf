/* The conditioning of a golden file: small float64 tables, held whole by every rank, go through the
 * very steps of mltfr_condition; what the file expects is written at its own path. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 96, BLOCK_ROWS = 48 }; /* small tables: some blocks for each of a few ranks */

/* ---- tables -------------------------------------------------------------------------------- */

typedef struct {
    int64_t rows, width, *offsets;
    double *T;
    char *strings, name[32];
    uint8_t *special;
} golden_table;

static mltfr_status golden_read(void *context, int64_t first, int64_t rows, void *out)
{
    const golden_table *t = context;

    memcpy(out, t->T + first * t->width, (size_t)(rows * t->width) * sizeof *t->T);
    return MLTFR_OK;
}

static const char *golden_string(void *context, int64_t row, size_t *bytes)
{
    const golden_table *t = context;

    *bytes = (size_t)(t->offsets[row + 1] - t->offsets[row]);
    return t->strings + t->offsets[row];
}

static bool golden_special(void *context, int64_t row)
{
    return ((const golden_table *)context)->special[row] != 0;
}

static mltfr_table_source golden_source(golden_table *t)
{
    return (mltfr_table_source){.context = t,
                                .name = t->name,
                                .rows = t->rows,
                                .width = t->width,
                                .wide = true,
                                .read = golden_read,
                                .string = golden_string,
                                .special = golden_special};
}

/* A whole array for every rank; `out` is the address of the pointer to it. */
static mltfr_status get(mltfr_comm *comm, mltfr_file *file, const char *name, mltfr_dtype type,
                        void *out, mltfr_shape *shape)
{
    mltfr_status st = MLTFR_OK;
    void *data;

    MLTFR_AGREE(comm, mltfr_file_shape(file, name, shape));
    MLTFR_AGREE(
        comm, mltfr_alloc(out, (size_t)mltfr_shape_count(shape), (size_t)mltfr_dtype_bytes(type)));
    memcpy(&data, out, sizeof data);
    MLTFR_TRY(mltfr_file_read(file, name, type, 0, shape->dims[0], data));
done:
    return st;
}

/* What is asked of each array of a table. */
static mltfr_status check_table(const golden_table *t, const mltfr_shape *T, int64_t specials,
                                int64_t offsets, int64_t bytes)
{
    bool good = T->ndim == 2 && specials == t->rows && offsets == t->rows + 1 &&
                t->offsets[0] == 0 && t->offsets[t->rows] == bytes;

    for (int64_t i = 0; good && i < t->rows; i++)
        good = t->offsets[i] <= t->offsets[i + 1];
    if (good)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_DATA, "golden table %s: arrays do not fit together", t->name);
}

static mltfr_status table_load(mltfr_comm *comm, mltfr_file *file, int64_t k, golden_table *t)
{
    mltfr_status st = MLTFR_OK;
    mltfr_shape T, special, offsets, bytes;
    char name[NAME];

    snprintf(t->name, sizeof t->name, "table%lld", (long long)k);
    snprintf(name, NAME, "conditioning/%lld/T", (long long)k);
    MLTFR_TRY(get(comm, file, name, MLTFR_F64, &t->T, &T));
    snprintf(name, NAME, "conditioning/%lld/special", (long long)k);
    MLTFR_TRY(get(comm, file, name, MLTFR_U8, &t->special, &special));
    snprintf(name, NAME, "conditioning/%lld/strings_offsets", (long long)k);
    MLTFR_TRY(get(comm, file, name, MLTFR_I64, &t->offsets, &offsets));
    snprintf(name, NAME, "conditioning/%lld/strings_bytes", (long long)k);
    MLTFR_TRY(get(comm, file, name, MLTFR_U8, &t->strings, &bytes));
    t->rows = T.dims[0];
    t->width = mltfr_shape_row(&T);
    st = check_table(t, &T, special.dims[0], offsets.dims[0], bytes.dims[0]);
done:
    return st;
}

static void table_free(golden_table *t)
{
    MLTFR_FREE(t->T);
    MLTFR_FREE(t->special);
    MLTFR_FREE(t->offsets);
    MLTFR_FREE(t->strings);
}

/* ---- results ------------------------------------------------------------------------------- */

typedef struct {
    mltfr_conditioner *c;
    mltfr_file *file;
    char group[NAME];
} target;

/* An array that every rank has. */
static mltfr_status put(const target *t, const char *what, mltfr_shape shape, const void *data)
{
    char name[2 * NAME];
    int64_t rows = shape.ndim == 0 ? 1 : shape.dims[0];

    snprintf(name, sizeof name, "%s/%s", t->group, what);
    return mltfr_file_write(t->file, name, &shape, 0, mltfr_comm_rank(t->c->comm) == 0 ? rows : 0,
                            data);
}

static mltfr_status put_vector(const target *t, const char *what, int64_t n, const double *x)
{
    return put(t, what, (mltfr_shape){MLTFR_F64, 1, {n}}, x);
}

static mltfr_status put_matrix(const target *t, const char *what, int64_t n, int64_t m,
                               const double *x)
{
    return put(t, what, (mltfr_shape){MLTFR_F64, 2, {n, m}}, x);
}

/* Rows that are shared out, then the same to unit norm. */
static mltfr_status put_rows(const target *t, const char *what, const char *keys, mltfr_rows *rows,
                             int64_t first, int64_t total)
{
    mltfr_status st = MLTFR_OK;
    mltfr_shape shape = {MLTFR_F64, 2, {total, rows->width}};
    char name[2 * NAME];

    snprintf(name, sizeof name, "%s/%s", t->group, what);
    MLTFR_TRY(mltfr_file_write(t->file, name, &shape, first, rows->rows, rows->data));
    for (int64_t i = 0; i < rows->rows; i++)
        mltfr_rows_scale(rows, i, 1 / fmax(mltfr_rows_norm(rows, i), 1e-300));
    snprintf(name, sizeof name, "%s/%s", t->group, keys);
    MLTFR_TRY(mltfr_file_write(t->file, name, &shape, first, rows->rows, rows->data));
done:
    return st;
}

/* U (U^T U)^-1 U^T. */
static mltfr_status put_projector(const target *t, const char *what, int64_t D, int64_t r,
                                  const double *map)
{
    mltfr_status st = MLTFR_OK;
    mltfr_grid *grid = t->c->grid;
    mltfr_matrix *U = NULL, *G = NULL, *B = NULL, *P = NULL;
    double *full = NULL;

    MLTFR_AGREE(t->c->comm, MLTFR_NEW(full, D * D));
    MLTFR_TRY(mltfr_matrix_create(grid, D, r, &U));
    MLTFR_TRY(mltfr_matrix_create(grid, r, r, &G));
    MLTFR_TRY(mltfr_matrix_create(grid, r, D, &B));
    MLTFR_TRY(mltfr_matrix_create(grid, D, D, &P));
    mltfr_view u = mltfr_view_all(U), b = mltfr_view_all(B);
    mltfr_matrix_set(U, map);
    mltfr_matrix_multiply(1, u, true, u, 0, mltfr_view_all(G));
    mltfr_matrix_transpose(u, b);
    MLTFR_TRY(mltfr_matrix_solve(G, B));
    mltfr_matrix_multiply(1, u, false, b, 0, mltfr_view_all(P));
    MLTFR_TRY(mltfr_matrix_get(P, 0, D, full));
    MLTFR_TRY(put_matrix(t, what, D, D, full));
done:
    mltfr_matrix_destroy(&U);
    mltfr_matrix_destroy(&G);
    mltfr_matrix_destroy(&B);
    mltfr_matrix_destroy(&P);
    MLTFR_FREE(full);
    return st;
}

static mltfr_status put_llm(const target *t, mltfr_llm *llm)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_conditioner *c = t->c;
    int64_t D = llm->D;

    MLTFR_TRY(put(t, "kept", (mltfr_shape){MLTFR_I64, 1, {llm->count}}, llm->kept));
    MLTFR_TRY(put_vector(t, "mu", D, llm->mean));
    MLTFR_TRY(put_vector(t, "mu_anchor", D, llm->mean_anchor));
    MLTFR_TRY(put_vector(t, "lam", D, llm->lam));
    MLTFR_TRY(put_vector(t, "lam_res", D, llm->lam_res));
    MLTFR_TRY(put_matrix(t, "U", D, c->r_c, llm->U));
    MLTFR_TRY(put_matrix(t, "U_spec", D, c->r_s, llm->U_spec));
    MLTFR_TRY(put_projector(t, "proj_shared", D, c->r_c, llm->U));
    MLTFR_TRY(put_projector(t, "proj_spec", D, c->r_s, llm->U_spec));
    MLTFR_TRY(put_rows(t, "Z", "Zh", &llm->Z, llm->first_kept, llm->count));
done:
    return st;
}

static mltfr_status put_common(const target *t)
{
    mltfr_status st = MLTFR_OK;
    mltfr_conditioner *c = t->c;
    const mltfr_anchors *an = &c->anchors;
    const mltfr_conditioning_report *r = c->report;

    MLTFR_TRY(
        put(t, "anchor_bytes", (mltfr_shape){MLTFR_U8, 1, {an->offsets[an->count]}}, an->bytes));
    MLTFR_TRY(put(t, "anchor_offsets", (mltfr_shape){MLTFR_I64, 1, {an->count + 1}}, an->offsets));
    MLTFR_TRY(put(t, "anchor_ids", (mltfr_shape){MLTFR_I64, 2, {an->count, an->K}}, an->ids));
    MLTFR_TRY(put_vector(t, "heldout_corr", r->dims, r->correlation));
    MLTFR_TRY(put(t, "p_at_1", (mltfr_shape){.type = MLTFR_F64}, &r->p_at_1));
    MLTFR_TRY(put(t, "r_c_auto", (mltfr_shape){.type = MLTFR_I64}, &r->auto_dim));
    MLTFR_TRY(put_vector(t, "lam_R", c->total_width, c->lam_R));
    MLTFR_TRY(put_rows(t, "Zc", "Zhc", &c->Zc, c->Zc_first, c->Zc_total));
done:
    return st;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static mltfr_status replay_gcca(mltfr_comm *comm, mltfr_file *file,
                                const mltfr_table_source tables[], int64_t K,
                                const mltfr_conditioning_options *options)
{
    mltfr_status st = MLTFR_OK;
    mltfr_conditioning_report report;
    mltfr_conditioner c;
    target t = {&c, file, "conditioning/expect"};

    MLTFR_TRY(mltfr_conditioner_align(&c, comm, tables, K, options, &report));
    MLTFR_TRY(mltfr_conditioner_finish(&c, NULL));
    MLTFR_TRY(put_common(&t));
    for (int64_t k = 0; k < K; k++) {
        snprintf(t.group, NAME, "conditioning/expect/%lld", (long long)k);
        MLTFR_TRY(put_llm(&t, &c.llms[k]));
    }
done:
    mltfr_conditioner_destroy(&c);
    mltfr_conditioning_clear(&report);
    return st;
}

/* The first table alone: E7-E9 fall back to PCA. */
static mltfr_status replay_pca(mltfr_comm *comm, mltfr_file *file, const mltfr_table_source *table,
                               const mltfr_conditioning_options *options)
{
    mltfr_status st = MLTFR_OK;
    mltfr_conditioning_report report;
    mltfr_conditioner c;
    target t = {&c, file, "conditioning/expect/pca"};

    MLTFR_TRY(mltfr_conditioner_align(&c, comm, table, 1, options, &report));
    MLTFR_TRY(mltfr_conditioner_finish(&c, NULL));
    MLTFR_TRY(put_vector(&t, "lam", c.llms[0].D, c.llms[0].lam));
    MLTFR_TRY(put_rows(&t, "Z", "Zh", &c.llms[0].Z, c.llms[0].first_kept, c.llms[0].count));
done:
    mltfr_conditioner_destroy(&c);
    mltfr_conditioning_clear(&report);
    return st;
}

static mltfr_status read_options(mltfr_file *file, int64_t *K, mltfr_conditioning_options *o)
{
    mltfr_status st = MLTFR_OK;
    char *kind = NULL;

    MLTFR_TRY(mltfr_file_get_text(file, "/", "kind", &kind));
    if (strcmp(kind, "conditioning") != 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: a golden file of kind '%s', not of conditioning",
                   mltfr_file_path(file), kind);
    MLTFR_TRY(mltfr_file_get_i64(file, "/", "K", K));
    if (*K < 2 || *K > MLTFR_MAX_LLMS)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %lld tables, 2 to %d are allowed", mltfr_file_path(file),
                   (long long)*K, MLTFR_MAX_LLMS);
    *o = mltfr_conditioning_defaults();
    o->whole_words = o->merge_case = false; /* the files follow E6 and C16 */
    o->block_rows = BLOCK_ROWS;
    MLTFR_TRY(mltfr_file_get_i64(file, "/", "r_c", &o->shared_dim));
    MLTFR_TRY(mltfr_file_get_i64(file, "/", "r_s", &o->specific_dim));
    MLTFR_TRY(mltfr_file_get_f64(file, "/", "eps", &o->eps));
done:
    MLTFR_FREE(kind);
    return st;
}

mltfr_status mltfr_replay_conditioning(mltfr_comm *comm, const char *in, const char *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *source = NULL, *file = NULL;
    golden_table golden[MLTFR_MAX_LLMS] = {{0}};
    mltfr_table_source tables[MLTFR_MAX_LLMS];
    mltfr_conditioning_options options;
    mltfr_shape held;
    uint8_t *mask = NULL;
    int64_t K = 0;

    MLTFR_TRY(mltfr_file_open(comm, in, &source));
    MLTFR_AGREE(comm, read_options(source, &K, &options));
    for (int64_t k = 0; k < K; k++) {
        MLTFR_TRY(table_load(comm, source, k, &golden[k]));
        tables[k] = golden_source(&golden[k]);
    }
    MLTFR_TRY(get(comm, source, "conditioning/heldout", MLTFR_U8, &mask, &held));
    options.held_mask = mask;
    options.held_count = held.dims[0];
    MLTFR_TRY(mltfr_file_create(comm, out, &file));
    MLTFR_TRY(replay_gcca(comm, file, tables, K, &options));
    MLTFR_TRY(replay_pca(comm, file, tables, &options));
    MLTFR_TRY(mltfr_file_close(&file));
done:
    mltfr_file_destroy(&file);
    mltfr_file_destroy(&source);
    for (int64_t k = 0; k < MLTFR_MAX_LLMS; k++)
        table_free(&golden[k]);
    MLTFR_FREE(mask);
    return st;
}
