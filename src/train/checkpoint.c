/* What a checkpoint holds, and reading it.  Damage of any kind is MLTFR_E_DATA, so that the one
 * before can be tried; MLTFR_E_USAGE is what would be refused of that one too. */
#include "checkpoint_impl.h"
#include "fingerprint.h"

#include <mltfr/log.h>
#include <mltfr/versions.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- arrays -------------------------------------------------------------------------------- */

static const int64_t bytes_an_array = 4096; /* more than what HDF5 keeps of one */

/* An array of which this rank moves the rows [first, first + own). */
static mltfr_status array(walk *w, mltfr_dtype type, int ndim, const int64_t dims[], int64_t first,
                          int64_t own, void *data, const char *format, ...)
    __attribute__((format(printf, 8, 9)));

static mltfr_status array(walk *w, mltfr_dtype type, int ndim, const int64_t dims[], int64_t first,
                          int64_t own, void *data, const char *format, ...)
{
    mltfr_shape shape = {.type = type, .ndim = ndim};
    char name[128];
    va_list ap;

    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    for (int i = 0; i < ndim; i++)
        shape.dims[i] = dims[i];
    switch (w->mode) {
    case RESERVE:
        return mltfr_file_reserve(w->file, name, &shape);
    case COUNT:
        w->bytes += mltfr_shape_count(&shape) * mltfr_dtype_bytes(type) + bytes_an_array;
        return MLTFR_OK;
    case FILL:
        return mltfr_file_fill(w->file, name, &shape, first, own, data);
    default:
        return mltfr_file_read_as(w->file, name, &shape, first, own, data);
    }
}

/* Rows of a tensor that this rank writes (one rank each) or reads (all that hold it). */
static void rows_of(const walk *w, const mltfr_tensor *t, int64_t *first, int64_t *own)
{
    const mltfr_engine *e = w->e;
    bool acts = e->rank == 0 || w->mode == READ;

    *first = 0;
    *own = t->dims[0];
    if (t->place == MLTFR_PLACE_ITEM) {
        *first = e->item_first;
        *own = e->item_rows;
        return;
    }
    if (t->place == MLTFR_PLACE_EXPERT)
        acts = w->mode == READ ? e->space[t->expert].group != NULL
                               : e->rank == e->space[t->expert].owner;
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
    const int64_t own = w->mode == READ ? s->group != NULL : w->e->rank == s->owner;

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
    const int64_t own = w->mode == READ || e->rank == 0, dims[] = {e->spec.items, e->r_c};

    MLTFR_TRY(array(w, MLTFR_F32, 1, &e->K, 0, own * e->K, e->at.router_bias, "state/router_bias"));
    MLTFR_TRY(walk_fisher(w, own));
    for (int64_t k = 0; k < mltfr_space_count(e); k++)
        MLTFR_TRY(walk_space(w, k));
    if (e->X_I != NULL)
        MLTFR_TRY(array(w, MLTFR_F32, 2, dims, e->item_first, e->item_rows, e->X_I, "state/X_I"));
done:
    return st;
}

mltfr_status mltfr_walk_arrays(walk *w)
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
    return w->mode == READ ? mltfr_file_get_i64(w->file, "/", name, value)
                           : mltfr_file_set_i64(w->file, "/", name, *value);
}

static mltfr_status real(walk *w, const char *name, double *value)
{
    return w->mode == READ ? mltfr_file_get_f64(w->file, "/", name, value)
                           : mltfr_file_set_f64(w->file, "/", name, *value);
}

mltfr_status mltfr_walk_numbers(walk *w, mltfr_loop_state *loop)
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
    MLTFR_TRY(real(w, "best_ndcg@10", &loop->best_ndcg));
    MLTFR_TRY(real(w, "epoch_loss", &loop->epoch_loss));
    MLTFR_TRY(real(w, "residual", &w->e->residual));
    at->consensus_started = started != 0;
done:
    return st;
}

/* ---- read ---------------------------------------------------------------------------------- */

static mltfr_status check_header(mltfr_file *f)
{
    mltfr_status st = MLTFR_OK;
    const char *path = mltfr_file_path(f);
    int64_t version;
    char *format = NULL;

    MLTFR_TRY(mltfr_file_get_text(f, "/", "format", &format));
    if (strcmp(format, "mltfr-checkpoint") != 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: not a checkpoint of this program", path);
    MLTFR_TRY(mltfr_file_get_i64(f, "/", "version", &version));
    if (version != FORMAT_VERSION)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: version %lld of the format of checkpoints, %s than %d, which is read", path,
                   (long long)version, version > FORMAT_VERSION ? "newer" : "older",
                   FORMAT_VERSION);
done:
    MLTFR_FREE(format);
    return st;
}

static mltfr_status open_whole(mltfr_comm *comm, const char *path, mltfr_file **out)
{
    mltfr_status st = MLTFR_OK;

    *out = NULL;
    MLTFR_TRY(mltfr_file_open_sealed(comm, path, out));
    MLTFR_AGREE(comm, check_header(*out));
done:
    if (st != MLTFR_OK)
        mltfr_file_destroy(out);
    return st;
}

/* The first damage is the one reported. */
static void note_damage(void *context, const char *name, int64_t first, int64_t last)
{
    char *text = context;

    if (text[0] == '\0')
        snprintf(text, 256, "array '%.128s', rows %lld to %lld", name, (long long)first,
                 (long long)last);
}

static mltfr_status verify(mltfr_file *f)
{
    mltfr_verified seen;
    char text[256] = "";
    const mltfr_status st = mltfr_file_verify(f, note_damage, text, &seen);

    if (st == MLTFR_OK && seen.damaged > 0)
        return mltfr_fail(MLTFR_E_DATA, "%s: damaged: %s", mltfr_file_path(f), text);
    return st;
}

mltfr_status mltfr_checkpoint_check(mltfr_comm *comm, const char *path)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *file = NULL;

    MLTFR_TRY(open_whole(comm, path, &file));
    MLTFR_AGREE(comm, mltfr_comm_rank(comm) == 0 ? verify(file) : MLTFR_OK);
done:
    mltfr_file_destroy(&file);
    return st;
}

/* May a run with this configuration, if there is one, go on from the file? */
static mltfr_status check_config(mltfr_file *f, const char *config)
{
    mltfr_status st = MLTFR_OK;
    char *then = NULL;

    MLTFR_TRY(mltfr_file_get_text(f, "/", "config", &then));
    if (config != NULL)
        MLTFR_TRY(mltfr_checkpoint_compare(mltfr_file_path(f), then, config));
done:
    MLTFR_FREE(then);
    return st;
}

/* Is it of a run like this one?  A run does not pass over what is whole, but not its own. */
static mltfr_status check_run(mltfr_file *f, const char *config, uint64_t digest)
{
    mltfr_status st = MLTFR_OK;
    int64_t written_with;

    MLTFR_TRY(mltfr_file_get_i64(f, "/", "input_digest", &written_with));
    MLTFR_TRY(check_config(f, config));
    if ((uint64_t)written_with != digest)
        st = mltfr_fail(config != NULL ? MLTFR_E_USAGE : MLTFR_E_DATA,
                        "%s: written with other interactions or token spaces than are given now",
                        mltfr_file_path(f));
done:
    return st;
}

mltfr_status mltfr_checkpoint_of_run(mltfr_comm *comm, const char *path, const char *config)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *file = NULL;

    if (mltfr_file_open(comm, path, &file) != MLTFR_OK)
        return MLTFR_OK;
    MLTFR_AGREE(comm, check_config(file, config));
done:
    mltfr_file_destroy(&file);
    return st;
}

/* Other arithmetic is allowed, but said. */
static void compare_fingerprint(mltfr_file *f)
{
    int64_t written_with;
    char *kernel = NULL;

    if (mltfr_file_get_i64(f, "/", "fingerprint", &written_with) == MLTFR_OK &&
        mltfr_file_get_text(f, "/", "kernel", &kernel) == MLTFR_OK &&
        (uint64_t)written_with != mltfr_fingerprint())
        mltfr_warn("%s: written with BLAS kernel %s, this is %s: what follows differs in its last "
                   "digits from an unbroken run",
                   mltfr_file_path(f), kernel, mltfr_blas_kernel());
    MLTFR_FREE(kernel);
}

/* What follows from the arrays that were read. */
static mltfr_status restore_pools(mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;

    if (mltfr_experts_on(e)) {
        for (int64_t k = 0; k < mltfr_space_count(e); k++)
            MLTFR_AGREE(e->comm, mltfr_pool_rows(e, k));
        mltfr_experts_project(e);
    }
    MLTFR_TRY(mltfr_inject_apply(e)); /* E' is kept apart from E in the warm-up too */
done:
    return st;
}

mltfr_status mltfr_checkpoint_read(mltfr_engine *e, mltfr_loop_state *loop, const char *config,
                                   uint64_t digest, const char *path)
{
    mltfr_status st = MLTFR_OK;
    walk w = {.e = e, .mode = READ};

    MLTFR_TRY(open_whole(e->comm, path, &w.file));
    MLTFR_AGREE(e->comm, check_run(w.file, config, digest));
    MLTFR_AGREE(e->comm, mltfr_walk_numbers(&w, loop));
    compare_fingerprint(w.file);
    MLTFR_TRY(mltfr_walk_arrays(&w));
    MLTFR_TRY(restore_pools(e));
done:
    mltfr_file_destroy(&w.file);
    return st;
}
