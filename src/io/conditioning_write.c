/* The spaces file: the spaces themselves (mltfr/spaces.h), and where they came from.  It is written
 * beside its name and takes it when it is complete.
 *
 * For each LLM: mean [D], U [D][r_c], U_spec [D][r_s] in float64, Z = (T - mean) [U | U_spec]
 * before E10's scale; mean_anchor [D] where anchors were fitted; attributes rows, width, path,
 * tensor, type, digest.  For the consensus: anchor_ids [A][K], the token ids of each anchor, -1
 * where an LLM lacks it; correlation.  For all: the options, and the versions of the program, MPI,
 * HDF5, BLAS and ScaLAPACK. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>
#include <mltfr/versions.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- spaces -------------------------------------------------------------------------------- */

/* What one space borrows from while it is written. */
typedef struct {
    float *Z; /* a copy of rows that are not float */
    char *strings;
    int64_t *offsets;
} parts;

static void parts_free(parts *p)
{
    MLTFR_FREE(p->Z);
    MLTFR_FREE(p->strings);
    MLTFR_FREE(p->offsets);
}

/* The rows as float: as they are, or a copy. */
static mltfr_status float_rows(const mltfr_rows *rows, parts *p, const float **out)
{
    mltfr_status st = MLTFR_OK;

    *out = rows->data;
    if (!rows->wide)
        goto done;
    MLTFR_TRY(MLTFR_NEW(p->Z, rows->rows * rows->width));
    for (int64_t i = 0; i < rows->rows * rows->width; i++)
        p->Z[i] = (float)((const double *)rows->data)[i];
    *out = p->Z;
done:
    return st;
}

/* The strings of an LLM's own kept rows. */
static mltfr_status token_strings(const mltfr_llm *llm, parts *p)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_table_source *t = &llm->source;
    const int64_t *ids = llm->kept + llm->first_kept;
    int64_t n = llm->kept_before[llm->tokens.last] - llm->first_kept; /* Z may be gone */
    size_t bytes;

    MLTFR_TRY(MLTFR_NEW(p->offsets, n + 1));
    for (int64_t i = 0; i < n; i++) {
        t->string(t->context, ids[i], &bytes);
        p->offsets[i + 1] = p->offsets[i] + (int64_t)bytes;
    }
    MLTFR_TRY(MLTFR_NEW(p->strings, p->offsets[n]));
    for (int64_t i = 0; i < n; i++) {
        const char *s = t->string(t->context, ids[i], &bytes);
        if (bytes > 0)
            memcpy(p->strings + p->offsets[i], s, bytes);
    }
done:
    return st;
}

static mltfr_status llm_space(const mltfr_llm *llm, parts *p, mltfr_space *out)
{
    mltfr_status st = MLTFR_OK;
    const float *Z;

    MLTFR_TRY(float_rows(&llm->Z, p, &Z));
    if (llm->source.string != NULL)
        MLTFR_TRY(token_strings(llm, p));
    *out = (mltfr_space){.name = llm->source.name,
                         .rows = llm->count,
                         .first = llm->first_kept,
                         .count = llm->Z.rows,
                         .Z = Z,
                         .ids = llm->kept + llm->first_kept,
                         .strings = p->strings,
                         .offsets = p->offsets};
done:
    return st;
}

/* The forms of the own anchors. */
static mltfr_status anchor_strings(const mltfr_anchors *an, parts *p)
{
    mltfr_status st = MLTFR_OK;
    int64_t first = an->blocks.begin, n = an->blocks.end - first;

    MLTFR_TRY(MLTFR_NEW(p->offsets, n + 1));
    for (int64_t i = 0; i <= n; i++)
        p->offsets[i] = an->offsets[first + i] - an->offsets[first];
    MLTFR_TRY(MLTFR_NEW(p->strings, p->offsets[n]));
    memcpy(p->strings, an->bytes + an->offsets[first], (size_t)p->offsets[n]);
done:
    return st;
}

static mltfr_status consensus_part(const mltfr_conditioner *c, parts *p, mltfr_space *out)
{
    mltfr_status st = MLTFR_OK;
    const float *Z;

    MLTFR_TRY(float_rows(&c->Zc, p, &Z));
    if (c->anchors.count > 0)
        MLTFR_TRY(anchor_strings(&c->anchors, p));
    else if (c->llms[0].source.string != NULL)
        MLTFR_TRY(token_strings(&c->llms[0], p));
    *out = (mltfr_space){.rows = c->Zc_total,
                         .first = c->Zc_first,
                         .count = c->Zc.rows,
                         .Z = Z,
                         .strings = p->strings,
                         .offsets = p->offsets};
done:
    return st;
}

/* tokens.control: identity, in place of either: unit rows, which rank 0 has all.  They are no
 * tokens: there are no ids and no strings. */
static mltfr_status unit_space(const mltfr_conditioner *c, int64_t k, parts *p, mltfr_space *out)
{
    mltfr_status st = MLTFR_OK;
    int64_t r = k < c->K ? c->r_c + c->r_s : c->r_c;
    int64_t own = mltfr_comm_rank(c->comm) == 0 ? r : 0;

    MLTFR_TRY(MLTFR_NEW(p->Z, own * r));
    for (int64_t i = 0; i < own; i++)
        p->Z[i * r + i] = 1;
    *out = (mltfr_space){.name = k < c->K ? c->llms[k].source.name : NULL,
                         .rows = r,
                         .first = own > 0 ? 0 : r,
                         .count = own,
                         .Z = p->Z};
done:
    return st;
}

static mltfr_status any_space(const mltfr_conditioner *c, int64_t k, parts *p, mltfr_space *out)
{
    if (c->options->control == MLTFR_CONTROL_IDENTITY)
        return unit_space(c, k, p, out);
    return k < c->K ? llm_space(&c->llms[k], p, out) : consensus_part(c, p, out);
}

mltfr_status mltfr_conditioning_put(mltfr_conditioner *c, mltfr_spaces_writer *writer, int64_t k)
{
    mltfr_status st = MLTFR_OK;
    mltfr_space space;
    parts held = {0};

    MLTFR_AGREE(c->comm, any_space(c, k, &held, &space));
    MLTFR_TRY(mltfr_spaces_put(writer, k, &space));
done:
    parts_free(&held);
    return st;
}

/* The LLMs' spaces as they are finished, then the consensus space. */
static mltfr_status write_spaces(mltfr_conditioner *c, mltfr_file *file)
{
    mltfr_status st = MLTFR_OK;
    mltfr_spaces_writer writer = {c->comm, file, c->K, c->r_c, c->r_s, 0};

    MLTFR_TRY(mltfr_conditioner_finish(c, &writer));
    MLTFR_TRY(mltfr_conditioning_put(c, &writer, c->K));
    MLTFR_TRY(mltfr_spaces_put_end(&writer, c->report->align));
done:
    return st;
}

/* ---- provenance ---------------------------------------------------------------------------- */

/* An array that every rank has: rank 0 writes it. */
static mltfr_status put(mltfr_conditioner *c, mltfr_file *file, int64_t k, const char *what,
                        mltfr_shape shape, const void *data)
{
    char name[96];

    if (k >= 0)
        snprintf(name, sizeof name, "spaces/%lld/%s", (long long)k, what);
    else
        snprintf(name, sizeof name, "spaces/c/%s", what);
    return mltfr_file_write(file, name, &shape, 0,
                            mltfr_comm_rank(c->comm) == 0 ? shape.dims[0] : 0, data);
}

static mltfr_status write_llm(mltfr_conditioner *c, mltfr_file *file, int64_t k)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_llm *llm = &c->llms[k];
    const mltfr_table_source *t = &llm->source;
    char group[32];
    int64_t digest = 0;

    snprintf(group, sizeof group, "spaces/%lld", (long long)k);
    if (t->digest != NULL && mltfr_comm_rank(c->comm) == 0)
        digest = (int64_t)t->digest(t->context);
    mltfr_comm_bcast(c->comm, &digest, sizeof digest, 0);
    MLTFR_TRY(mltfr_file_set_i64(file, group, "digest", digest));
    MLTFR_TRY(mltfr_file_set_i64(file, group, "rows", llm->V));
    MLTFR_TRY(mltfr_file_set_i64(file, group, "width", llm->D));
    MLTFR_TRY(mltfr_file_set_text(file, group, "path", t->path != NULL ? t->path : ""));
    MLTFR_TRY(mltfr_file_set_text(file, group, "tensor", t->tensor != NULL ? t->tensor : ""));
    MLTFR_TRY(mltfr_file_set_text(file, group, "type", t->type != NULL ? t->type : ""));
    MLTFR_TRY(put(c, file, k, "mean", (mltfr_shape){MLTFR_F64, 1, {llm->D}}, llm->mean));
    MLTFR_TRY(put(c, file, k, "U", (mltfr_shape){MLTFR_F64, 2, {llm->D, c->r_c}}, llm->U));
    if (c->r_s > 0)
        MLTFR_TRY(
            put(c, file, k, "U_spec", (mltfr_shape){MLTFR_F64, 2, {llm->D, c->r_s}}, llm->U_spec));
    if (llm->mean_anchor != NULL)
        MLTFR_TRY(put(c, file, k, "mean_anchor", (mltfr_shape){MLTFR_F64, 1, {llm->D}},
                      llm->mean_anchor));
done:
    return st;
}

/* Versions of what the numbers went through. */
static mltfr_status write_versions(mltfr_file *file)
{
    static const struct {
        const char *name;
        void (*version)(char *, size_t);
    } libraries[] = {{"mpi", mltfr_mpi_version},
                     {"hdf5", mltfr_hdf5_version},
                     {"blas", mltfr_blas_version},
                     {"scalapack", mltfr_scalapack_version}};
    mltfr_status st = MLTFR_OK;
    char version[256];

    MLTFR_TRY(mltfr_file_set_text(file, "spaces", "program", "mltfr_dist " MLTFR_VERSION));
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        libraries[i].version(version, sizeof version);
        MLTFR_TRY(mltfr_file_set_text(file, "spaces", libraries[i].name, version));
    }
    MLTFR_TRY(mltfr_file_set_text(file, "spaces", "blas_kernel", mltfr_blas_kernel()));
done:
    return st;
}

static mltfr_status write_options(mltfr_conditioner *c, mltfr_file *file)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_conditioning_options *o = c->options;

    MLTFR_TRY(mltfr_file_set_text(file, "spaces", "control", c->report->control));
    MLTFR_TRY(mltfr_file_set_i64(file, "spaces", "shared_dim_asked", o->shared_dim));
    MLTFR_TRY(mltfr_file_set_f64(file, "spaces", "eps", o->eps));
    MLTFR_TRY(mltfr_file_set_f64(file, "spaces", "held_out", o->held_out));
    MLTFR_TRY(mltfr_file_set_f64(file, "spaces", "drop", o->drop));
    MLTFR_TRY(mltfr_file_set_i64(file, "spaces", "seed", (int64_t)o->seed));
    MLTFR_TRY(mltfr_file_set_i64(file, "spaces", "whole_words", o->whole_words));
    MLTFR_TRY(mltfr_file_set_i64(file, "spaces", "merge_case", o->merge_case));
    MLTFR_TRY(mltfr_file_set_i64(file, "spaces", "block_rows", o->block_rows));
    MLTFR_TRY(mltfr_file_set_i64(file, "spaces", "ranks", mltfr_comm_size(c->comm)));
    MLTFR_TRY(mltfr_file_set_i64(file, "spaces", "hub", c->report->hub));
done:
    return st;
}

static mltfr_status write_anchors(mltfr_conditioner *c, mltfr_file *file)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_anchors *an = &c->anchors;
    const mltfr_conditioning_report *r = c->report;

    if (an->count > 0 && c->options->control != MLTFR_CONTROL_IDENTITY)
        MLTFR_TRY(put(c, file, -1, "anchor_ids", (mltfr_shape){MLTFR_I64, 2, {an->count, an->K}},
                      an->ids));
    if (r->dims > 0)
        MLTFR_TRY(put(c, file, -1, "correlation", (mltfr_shape){MLTFR_F64, 1, {r->dims}},
                      r->correlation));
    MLTFR_TRY(mltfr_file_set_i64(file, "spaces/c", "fitted", r->fitted));
    MLTFR_TRY(mltfr_file_set_i64(file, "spaces/c", "held_out", r->held_out));
    if (!isnan(r->p_at_1))
        MLTFR_TRY(mltfr_file_set_f64(file, "spaces/c", "p_at_1", r->p_at_1));
done:
    return st;
}

/* ---- publishing ---------------------------------------------------------------------------- */

static mltfr_status sync_path(const char *path, int flags)
{
    int fd = open(path, flags);
    bool good = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return good ? MLTFR_OK : mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
}

/* Rank 0: give the complete file its name. */
static mltfr_status publish(const char *part, const char *path)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(sync_path(part, O_RDWR));
    if (rename(part, path) != 0)
        MLTFR_FAIL(MLTFR_E_IO, "%s: cannot take the place of %s: %s", part, path, strerror(errno));
done:
    return st;
}

static mltfr_status write_all(mltfr_conditioner *c, const char *part)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *file = NULL;

    MLTFR_TRY(mltfr_file_create(c->comm, part, &file));
    MLTFR_TRY(write_spaces(c, file));
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(write_llm(c, file, k));
    MLTFR_TRY(write_anchors(c, file));
    MLTFR_TRY(write_options(c, file));
    MLTFR_TRY(write_versions(file));
    MLTFR_TRY(mltfr_file_seal(&file));
done:
    mltfr_file_destroy(&file);
    return st;
}

mltfr_status mltfr_conditioning_write(mltfr_conditioner *c, const char *path)
{
    mltfr_status st = MLTFR_OK;
    bool root = mltfr_comm_rank(c->comm) == 0;
    size_t bytes = strlen(path) + sizeof ".part";
    char *part = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(part, bytes));
    snprintf(part, bytes, "%s.part", path);
    st = write_all(c, part);
    if (st == MLTFR_OK)
        st = mltfr_comm_agree(c->comm, root ? publish(part, path) : MLTFR_OK);
    if (st != MLTFR_OK && root)
        unlink(part);
done:
    MLTFR_FREE(part);
    return st;
}
