/* The planted token spaces.  The first `anchors` rows of all LLMs are the same strings, the others
 * are an LLM's own; each string belongs to a cluster:
 *
 *      shared block     centre of its cluster + what the string means + noise of the LLM
 *      specific block   centre of another clustering, of this LLM only + noise
 *
 * Then E10: centred columns of unit variance, over sqrt(r), row norms clipped at their 99 %
 * quantile; the consensus space is the mean of the shared blocks over the anchors. */
#include "interactions_impl.h"
#include "synthetic_impl.h"

#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/spaces.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANCHORS = 300, ROWS = 600, NAME_BYTES = 48 };

/* V' of LLM k: they differ, as real ones do. */
static int64_t rows_of(int64_t k)
{
    return ROWS - 100 * (k % 3);
}

/* Row v of LLM k before E10. */
static void draw_row(const mltfr_synthetic_spec *spec, int64_t k, int64_t v, double *x)
{
    uint64_t centres = mltfr_synthetic_stream(spec, MLTFR_SYNTHETIC_CENTRES, 0);
    uint64_t own = mltfr_synthetic_stream(spec, MLTFR_SYNTHETIC_CENTRES, k + 1);
    uint64_t meaning =
        mltfr_synthetic_stream(spec, MLTFR_SYNTHETIC_MEANING, v < ANCHORS ? 0 : k + 1);
    uint64_t noise = mltfr_synthetic_stream(spec, MLTFR_SYNTHETIC_NOISE, k);
    int64_t r_c = spec->shared_dim, r_s = spec->specific_dim, r = r_c + r_s;
    int64_t cluster = v % spec->clusters;
    int64_t other = (int64_t)mltfr_rng_below(own, (uint64_t)v, (uint64_t)spec->clusters);

    for (int64_t j = 0; j < r_c; j++)
        x[j] = mltfr_rng_normal(centres, (uint64_t)(cluster * r_c + j)) +
               .4 * mltfr_rng_normal(meaning, (uint64_t)(v * r_c + j)) +
               .2 * mltfr_rng_normal(noise, (uint64_t)(v * r + j));
    for (int64_t j = 0; j < r_s; j++)
        x[r_c + j] = mltfr_rng_normal(own, UINT64_C(1) << 32 | (uint64_t)(other * r_s + j)) +
                     .4 * mltfr_rng_normal(noise, (uint64_t)(v * r + r_c + j));
}

/* Centre the columns and give them variance 1/r. */
static void scale_columns(double *x, int64_t rows, int64_t r)
{
    for (int64_t j = 0; j < r; j++) {
        double mean = 0, square = 0, scale;

        for (int64_t v = 0; v < rows; v++)
            mean += x[v * r + j] / (double)rows;
        for (int64_t v = 0; v < rows; v++)
            square += (x[v * r + j] - mean) * (x[v * r + j] - mean) / (double)rows;
        scale = 1 / sqrt((square > 0 ? square : 1) * (double)r);
        for (int64_t v = 0; v < rows; v++)
            x[v * r + j] = (x[v * r + j] - mean) * scale;
    }
}

static double norm(const double *x, int64_t r)
{
    double sum = 0;

    for (int64_t j = 0; j < r; j++)
        sum += x[j] * x[j];
    return sqrt(sum);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Shorten rows above the 99 % quantile (index .99 (V-1), interpolated) to it. */
static mltfr_status clip_rows(double *x, int64_t rows, int64_t r)
{
    double *norms = NULL, place = .99 * (double)(rows - 1), most;
    int64_t low = (int64_t)place;
    mltfr_status st = MLTFR_NEW(norms, rows);

    if (st != MLTFR_OK)
        return st;
    for (int64_t v = 0; v < rows; v++)
        norms[v] = norm(x + v * r, r);
    qsort(norms, (size_t)rows, sizeof *norms, by_value);
    most = norms[low] + (place - (double)low) * (norms[low + 1] - norms[low]);
    for (int64_t v = 0; v < rows; v++) {
        double length = norm(x + v * r, r);

        for (int64_t j = 0; j < r && length > most; j++)
            x[v * r + j] *= most / length;
    }
    MLTFR_FREE(norms);
    return st;
}

/* Z of LLM k in double: [rows][r]. */
static mltfr_status make_space(const mltfr_synthetic_spec *spec, int64_t k, double **out)
{
    int64_t rows = rows_of(k), r = spec->shared_dim + spec->specific_dim;
    mltfr_status st = MLTFR_NEW(*out, rows * r);

    if (st != MLTFR_OK)
        return st;
    for (int64_t v = 0; v < rows; v++)
        draw_row(spec, k, v, *out + v * r);
    scale_columns(*out, rows, r);
    return clip_rows(*out, rows, r);
}

/* Z_c: [anchors][r_c]. */
static mltfr_status make_consensus(const mltfr_synthetic_spec *spec, double **out)
{
    mltfr_status st = MLTFR_OK;
    int64_t r_c = spec->shared_dim, r = r_c + spec->specific_dim;
    double *z = NULL;

    MLTFR_TRY(MLTFR_NEW(*out, ANCHORS * r_c));
    for (int64_t k = 0; k < spec->llms; k++) {
        MLTFR_TRY(make_space(spec, k, &z));
        for (int64_t v = 0; v < ANCHORS; v++)
            for (int64_t j = 0; j < r_c; j++)
                (*out)[v * r_c + j] += z[v * r + j] / (double)spec->llms;
        MLTFR_FREE(z);
    }
done:
    MLTFR_FREE(z);
    return st;
}

mltfr_status mltfr_synthetic_space(const mltfr_synthetic_spec *spec, int64_t k, int64_t *rows,
                                   int64_t *width, float **Z)
{
    mltfr_status st = MLTFR_OK;
    bool consensus = k == spec->llms;
    double *z = NULL;

    *Z = NULL;
    MLTFR_TRY(mltfr_synthetic_check(spec));
    if (k < 0 || k > spec->llms)
        MLTFR_FAIL(MLTFR_E_USAGE, "synthetic space %lld, 0 to %lld are allowed", (long long)k,
                   (long long)spec->llms);
    MLTFR_TRY(consensus ? make_consensus(spec, &z) : make_space(spec, k, &z));
    *rows = consensus ? ANCHORS : rows_of(k);
    *width = spec->shared_dim + (consensus ? 0 : spec->specific_dim);
    MLTFR_TRY(MLTFR_NEW(*Z, *rows * *width));
    for (int64_t i = 0; i < *rows * *width; i++)
        (*Z)[i] = (float)z[i];
done:
    MLTFR_FREE(z);
    return st;
}

/* ---- the file ------------------------------------------------------------------------------ */

/* What a rank holds while the file is written: its rows of one space. */
typedef struct {
    float *Z;       /* all rows */
    int64_t *ids;   /* of the own rows, as the following ones */
    int64_t *start; /* of a row's string */
    char *strings;
    char name[32];
} part;

/* Strings of the rows of space k: w12 for an anchor, w512_1 for a row of LLM 1 alone. */
static mltfr_status make_strings(int64_t k, const mltfr_space *own, part *p)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(MLTFR_NEW(p->start, own->count + 1));
    MLTFR_TRY(MLTFR_NEW(p->strings, own->count * NAME_BYTES));
    for (int64_t i = 0; i < own->count; i++) {
        long long v = own->first + i;
        char *at = p->strings + p->start[i];
        int n = v < ANCHORS ? snprintf(at, NAME_BYTES, "w%lld", v)
                            : snprintf(at, NAME_BYTES, "w%lld_%lld", v, (long long)k);

        p->start[i + 1] = p->start[i] + n;
    }
done:
    return st;
}

static mltfr_status make_part(const mltfr_comm *comm, const mltfr_synthetic_spec *spec, int64_t k,
                              part *p, mltfr_space *own)
{
    mltfr_status st = MLTFR_OK;
    int size = mltfr_comm_size(comm), rank = mltfr_comm_rank(comm);
    bool consensus = k == spec->llms;
    int64_t width;

    MLTFR_TRY(mltfr_synthetic_space(spec, k, &own->rows, &width, &p->Z));
    own->first = mltfr_share_first(own->rows, size, rank);
    own->count = mltfr_share_first(own->rows, size, rank + 1) - own->first;
    MLTFR_TRY(make_strings(k, own, p));
    MLTFR_TRY(MLTFR_NEW(p->ids, own->count));
    for (int64_t i = 0; i < own->count; i++)
        p->ids[i] = own->first + i;
    snprintf(p->name, sizeof p->name, "synthetic%lld", (long long)k);
    own->name = consensus ? NULL : p->name;
    own->Z = p->Z + own->first * width;
    own->ids = consensus ? NULL : p->ids;
    own->strings = p->strings;
    own->offsets = p->start;
done:
    return st;
}

static mltfr_status put_spaces(mltfr_comm *comm, mltfr_file *file, const mltfr_synthetic_spec *spec)
{
    mltfr_status st = MLTFR_OK;
    part parts[MLTFR_MAX_LLMS + 1] = {{0}};
    mltfr_space spaces[MLTFR_MAX_LLMS + 1] = {{0}};

    for (int64_t k = 0; k <= spec->llms; k++)
        MLTFR_AGREE(comm, make_part(comm, spec, k, &parts[k], &spaces[k]));
    MLTFR_TRY(mltfr_spaces_write(comm, file, spec->llms, spec->shared_dim, spec->specific_dim,
                                 "synthetic", spaces));
done:
    for (int64_t k = 0; k <= spec->llms; k++) {
        MLTFR_FREE(parts[k].Z);
        MLTFR_FREE(parts[k].ids);
        MLTFR_FREE(parts[k].start);
        MLTFR_FREE(parts[k].strings);
    }
    return st;
}

mltfr_status mltfr_synthetic_write(mltfr_comm *comm, const char *path,
                                   const mltfr_synthetic_spec *spec)
{
    mltfr_status st = MLTFR_OK;
    mltfr_interactions *data = NULL;
    mltfr_file *file = NULL;

    MLTFR_AGREE(comm, mltfr_synthetic_make(spec, &data));
    MLTFR_TRY(mltfr_file_create(comm, path, &file));
    MLTFR_TRY(mltfr_interactions_put(comm, file, data));
    MLTFR_TRY(put_spaces(comm, file, spec));
    MLTFR_TRY(mltfr_file_seal(&file));
done:
    mltfr_file_destroy(&file);
    mltfr_interactions_destroy(&data);
    return st;
}
