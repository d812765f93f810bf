#include "checkpoint.h"

#include <mltfr/file.h>
#include <mltfr/log.h>

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FORMAT_VERSION = 1 };

/* ---- one walk for writing and reading ------------------------------------------------------ */

typedef struct {
    mltfr_engine *e;
    mltfr_file *file;
    bool writing;
} walk;

/* An array of `rows` rows of which this rank moves [first, first + own). */
static mltfr_status array(walk *w, mltfr_dtype type, int ndim, const int64_t dims[], int64_t first,
                          int64_t own, void *data, const char *format, ...)
    __attribute__((format(printf, 8, 9)));

static mltfr_status array(walk *w, mltfr_dtype type, int ndim, const int64_t dims[], int64_t first,
                          int64_t own, void *data, const char *format, ...)
{
    mltfr_shape want = {.type = type, .ndim = ndim}, have;
    mltfr_status st = MLTFR_OK;
    char name[128];
    va_list ap;

    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    for (int i = 0; i < ndim; i++)
        want.dims[i] = dims[i];
    if (w->writing)
        return mltfr_file_write(w->file, name, &want, first, own, data);
    st = mltfr_file_shape(w->file, name, &have);
    if (st == MLTFR_OK &&
        (have.ndim != ndim || memcmp(have.dims, want.dims, sizeof(int64_t) * (size_t)ndim) != 0))
        st = mltfr_fail(MLTFR_E_DATA,
                        "%s: array '%s' has another shape than this configuration "
                        "makes",
                        mltfr_file_path(w->file), name);
    MLTFR_AGREE(w->e->comm, st);
    st = mltfr_file_read(w->file, name, type, first, own, data);
done:
    return st;
}

/* Rows of a tensor that this rank writes (one rank each) or reads (all that hold it). */
static void rows_of(const walk *w, const mltfr_tensor *t, int64_t *first, int64_t *own)
{
    const mltfr_engine *e = w->e;
    bool acts = e->rank == 0 || !w->writing;

    *first = 0;
    *own = t->dims[0];
    if (t->place == MLTFR_PLACE_ITEM) {
        *first = e->item_first;
        *own = e->item_rows;
        return;
    }
    if (t->place == MLTFR_PLACE_EXPERT)
        acts = w->writing ? e->rank == e->space[t->expert].first_rank
                          : e->space[t->expert].group != NULL;
    if (!acts)
        *own = 0;
}

static mltfr_status walk_tensor(walk *w, const mltfr_tensor *t)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slab *s = mltfr_params_slab(w->e->params, t);
    int64_t first, own, at = t->offset;

    rows_of(w, t, &first, &own);
    MLTFR_TRY(array(w, MLTFR_F32, t->ndim, t->dims, first, own, s->w + at, "params/%s", t->name));
    if (!t->trained)
        goto done;
    MLTFR_TRY(array(w, MLTFR_F32, t->ndim, t->dims, first, own, s->m + at, "adam/m/%s", t->name));
    MLTFR_TRY(array(w, MLTFR_F32, t->ndim, t->dims, first, own, s->v + at, "adam/v/%s", t->name));
done:
    return st;
}

static mltfr_status walk_space(walk *w, int64_t k)
{
    mltfr_status st = MLTFR_OK;
    mltfr_token_space *s = &w->e->space[k];
    const long long n = k;
    const int64_t own = w->writing ? w->e->rank == s->first_rank : s->group != NULL;

    MLTFR_TRY(array(w, MLTFR_F32, 1, &s->rows, s->row_first, s->row_count, s->cbar,
                    "state/space/%lld/cbar", n));
    MLTFR_TRY(array(w, MLTFR_I64, 1, &s->M, 0, own * s->M, s->pool, "state/space/%lld/pool", n));
done:
    return st;
}

static mltfr_status walk_fisher(walk *w, int64_t own)
{
    mltfr_status st = MLTFR_OK;
    mltfr_fisher *f = w->e->fisher;
    const int64_t K = f->K, dims[] = {K, f->r_c, f->r_c};

    MLTFR_TRY(array(w, MLTFR_F64, 3, dims, 0, own * K, f->num_A, "state/fisher/num_A"));
    MLTFR_TRY(array(w, MLTFR_F64, 1, dims, 0, own * K, f->sum_omega, "state/fisher/sum_omega"));
    MLTFR_TRY(array(w, MLTFR_F64, 1, dims, 0, own * K, f->num_beta, "state/fisher/num_beta"));
    MLTFR_TRY(array(w, MLTFR_F64, 1, dims, 0, own * K, f->n_rows, "state/fisher/n_rows"));
    MLTFR_TRY(array(w, MLTFR_F64, 1, dims, 0, own * K, w->e->phi, "state/fisher/phi"));
done:
    return st;
}

static mltfr_status walk_state(walk *w)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = w->e;
    const int64_t own = !w->writing || e->rank == 0, dims[] = {e->spec.items, e->r_c};

    MLTFR_TRY(array(w, MLTFR_F32, 1, &e->K, 0, own * e->K, e->at.router_bias, "state/router_bias"));
    MLTFR_TRY(walk_fisher(w, own));
    for (int64_t k = 0; k < e->K + e->spec.consensus; k++)
        MLTFR_TRY(walk_space(w, k));
    if (e->X_I != NULL)
        MLTFR_TRY(array(w, MLTFR_F32, 2, dims, e->item_first, e->item_rows, e->X_I, "state/X_I"));
done:
    return st;
}

static mltfr_status walk_arrays(walk *w)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t i = 0; i < w->e->params->count; i++)
        MLTFR_TRY(walk_tensor(w, &w->e->params->tensor[i]));
    if (w->e->K > 0)
        MLTFR_TRY(walk_state(w));
done:
    return st;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static mltfr_status integer(walk *w, const char *name, int64_t *value)
{
    return w->writing ? mltfr_file_set_i64(w->file, "params", name, *value)
                      : mltfr_file_get_i64(w->file, "params", name, value);
}

static mltfr_status real(walk *w, const char *name, double *value)
{
    return w->writing ? mltfr_file_set_f64(w->file, "params", name, *value)
                      : mltfr_file_get_f64(w->file, "params", name, value);
}

static mltfr_status walk_numbers(walk *w, mltfr_loop_state *loop)
{
    mltfr_status st = MLTFR_OK;
    mltfr_progress *at = &w->e->at;
    int64_t started = at->consensus_started;

    MLTFR_TRY(integer(w, "step", &at->step));
    MLTFR_TRY(integer(w, "epoch", &at->epoch));
    MLTFR_TRY(integer(w, "expert_start", &at->expert_start));
    MLTFR_TRY(integer(w, "consensus_started", &started));
    MLTFR_TRY(integer(w, "best_step", &loop->best_step));
    MLTFR_TRY(integer(w, "best_epoch", &loop->best_epoch));
    MLTFR_TRY(integer(w, "bad_evaluations", &loop->bad_evaluations));
    MLTFR_TRY(integer(w, "epoch_rows", &loop->epoch_rows));
    MLTFR_TRY(integer(w, "finished", &loop->finished));
    MLTFR_TRY(real(w, "best_ndcg@10", &loop->best_ndcg));
    MLTFR_TRY(real(w, "epoch_loss", &loop->epoch_loss));
    MLTFR_TRY(real(w, "residual", &w->e->residual));
    at->consensus_started = started != 0;
done:
    return st;
}

/* ---- write --------------------------------------------------------------------------------- */

static mltfr_status write_header(mltfr_file *f, const char *config, uint64_t digest)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_file_set_text(f, "/", "format", "mltfr-checkpoint"));
    MLTFR_TRY(mltfr_file_set_i64(f, "/", "version", FORMAT_VERSION));
    MLTFR_TRY(mltfr_file_set_text(f, "/", "program", MLTFR_VERSION));
    MLTFR_TRY(mltfr_file_set_text(f, "/", "config", config));
    MLTFR_TRY(mltfr_file_set_i64(f, "/", "input_digest", (int64_t)digest));
done:
    return st;
}

static mltfr_status publish(mltfr_comm *comm, const char *part, const char *path)
{
    if (mltfr_comm_rank(comm) == 0 && rename(part, path) != 0)
        return mltfr_fail(MLTFR_E_IO, "%s: cannot be renamed to %s: %s", part, path,
                          strerror(errno));
    return MLTFR_OK;
}

mltfr_status mltfr_checkpoint_write(mltfr_engine *e, const mltfr_loop_state *loop,
                                    const char *config, uint64_t digest, const char *path)
{
    mltfr_status st = MLTFR_OK;
    walk w = {.e = e, .writing = true};
    mltfr_loop_state copy = *loop;
    char part[4096];

    snprintf(part, sizeof part, "%s.part", path);
    MLTFR_TRY(mltfr_file_create(e->comm, part, &w.file));
    MLTFR_TRY(write_header(w.file, config, digest));
    MLTFR_TRY(walk_arrays(&w));
    MLTFR_TRY(walk_numbers(&w, &copy));
    MLTFR_TRY(mltfr_file_close(&w.file));
    MLTFR_AGREE(e->comm, publish(e->comm, part, path));
done:
    mltfr_file_destroy(&w.file);
    return st;
}

/* ---- read ---------------------------------------------------------------------------------- */

static mltfr_status check_header(mltfr_file *f, uint64_t digest)
{
    mltfr_status st = MLTFR_OK;
    int64_t version, written_with;
    char *format = NULL;

    MLTFR_TRY(mltfr_file_get_text(f, "/", "format", &format));
    if (strcmp(format, "mltfr-checkpoint") != 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: not a checkpoint of this program", mltfr_file_path(f));
    MLTFR_TRY(mltfr_file_get_i64(f, "/", "version", &version));
    if (version != FORMAT_VERSION)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: checkpoint format %lld, this program reads %d",
                   mltfr_file_path(f), (long long)version, FORMAT_VERSION);
    MLTFR_TRY(mltfr_file_get_i64(f, "/", "input_digest", &written_with));
    if ((uint64_t)written_with != digest)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: written with other interactions or token spaces than are given now",
                   mltfr_file_path(f));
done:
    MLTFR_FREE(format);
    return st;
}

/* What follows from the arrays that were read. */
static mltfr_status restore_pools(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;

    if (mltfr_experts_on(e)) {
        for (int64_t k = 0; k < e->K + e->spec.consensus && st == MLTFR_OK; k++)
            st = mltfr_pool_rows(e, k);
        MLTFR_AGREE(e->comm, st);
        mltfr_experts_project(e);
    }
    MLTFR_TRY(mltfr_inject_apply(e)); /* E' is kept apart from E in the warm-up too */
done:
    return st;
}

mltfr_status mltfr_checkpoint_read(mltfr_engine *e, mltfr_loop_state *loop, uint64_t digest,
                                   const char *path)
{
    mltfr_status st = MLTFR_OK;
    walk w = {.e = e};

    MLTFR_TRY(mltfr_file_open(e->comm, path, &w.file));
    MLTFR_AGREE(e->comm, check_header(w.file, digest));
    MLTFR_AGREE(e->comm, walk_numbers(&w, loop));
    MLTFR_TRY(walk_arrays(&w));
    MLTFR_TRY(restore_pools(e));
done:
    mltfr_file_destroy(&w.file);
    return st;
}

/* ---- the directory ------------------------------------------------------------------------- */

static int64_t list(const char *directory, glob_t *found)
{
    char pattern[4096];

    snprintf(pattern, sizeof pattern, "%s/step-[0-9]*.h5", directory);
    return glob(pattern, 0, NULL, found) == 0 ? (int64_t)found->gl_pathc : 0;
}

mltfr_status mltfr_checkpoint_newest(mltfr_comm *comm, const char *directory, char *path,
                                     size_t bytes)
{
    glob_t found = {0};

    memset(path, 0, bytes);
    if (mltfr_comm_rank(comm) == 0) {
        const int64_t n = list(directory, &found);
        if (n > 0)
            snprintf(path, bytes, "%s", found.gl_pathv[n - 1]);
        globfree(&found);
    }
    mltfr_comm_bcast(comm, path, (int64_t)bytes, 0);
    return MLTFR_OK;
}

void mltfr_checkpoint_prune(mltfr_comm *comm, const char *directory, int64_t keep,
                            int64_t best_step)
{
    glob_t found = {0};
    char best[4096];

    if (mltfr_comm_rank(comm) != 0)
        return;
    snprintf(best, sizeof best, "%s/step-%08" PRId64 ".h5", directory, best_step);
    const int64_t n = list(directory, &found);
    for (int64_t i = 0; i < n - keep; i++)
        if (strcmp(found.gl_pathv[i], best) != 0 && unlink(found.gl_pathv[i]) != 0)
            mltfr_warn("%s: cannot be removed: %s", found.gl_pathv[i], strerror(errno));
    globfree(&found);
}
