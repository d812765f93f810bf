/* Each rank reads both files whole: they are small.  Eigenvectors have a sign to choose; it is read
 * off the maps (U: one sign a column for all tables and Zc; U_spec: one a table and column; pca/Z:
 * its own) and applied to every array with such columns. */
#include "golden.h"

#include <mltfr/file.h>
#include <mltfr/mem.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 64, MAX_TABLES = 8, PATH = 256, SHOWN = 5 };

typedef struct {
    mltfr_comm *comm;
    mltfr_file *expected, *actual;
    const char *skip;
    double tolerance, worst;
    char worst_name[PATH];
    int arrays, faults;
    int64_t r_c, r_s, K; /* of conditioning; 0 in training files */
    double shared[MAX_COLUMNS], specific[MAX_TABLES][MAX_COLUMNS], pca[MAX_COLUMNS];
} comparison;

typedef struct {
    char (*names)[PATH];
    int count;
} name_list;

static mltfr_status add_name(void *context, const char *name, const mltfr_shape *shape)
{
    name_list *list = context;

    (void)shape;
    if (strncmp(name, "expect/", 7) != 0 && strstr(name, "/expect/") == NULL)
        return MLTFR_OK;
    if (list->names != NULL)
        snprintf(list->names[list->count], PATH, "%s", name);
    list->count++;
    return MLTFR_OK;
}

/* All numbers of an array as double; NULL if it is missing. */
static double *load(mltfr_file *file, const char *name, mltfr_shape *shape)
{
    double *data = NULL;
    int64_t rows;

    if (!mltfr_file_has(file, name) || mltfr_file_shape(file, name, shape) != MLTFR_OK)
        return NULL;
    rows = shape->ndim == 0 ? 1 : shape->dims[0];
    if (MLTFR_NEW(data, mltfr_shape_count(shape)) != MLTFR_OK ||
        mltfr_file_read(file, name, MLTFR_F64, 0, rows, data) != MLTFR_OK)
        MLTFR_FREE(data);
    return data;
}

/* ---- signs --------------------------------------------------------------------------------- */

/* sign[j] of columns [first, first + n) of a map: that of the sum of products, 1 where none. */
static void read_signs(const comparison *c, const char *name, int64_t n, double *sign)
{
    mltfr_shape a, b;
    double *x = load(c->expected, name, &a), *y = load(c->actual, name, &b);

    for (int64_t j = 0; j < n && j < MAX_COLUMNS; j++) {
        double sum = 0;
        for (int64_t i = 0; x != NULL && y != NULL && i < a.dims[0] && i < b.dims[0]; i++)
            sum += x[i * a.dims[1] + j] * y[i * b.dims[1] + j];
        sign[j] = sum < 0 ? -1 : 1;
    }
    MLTFR_FREE(x);
    MLTFR_FREE(y);
}

static void find_signs(comparison *c)
{
    char name[PATH];

    read_signs(c, "conditioning/expect/0/U", c->r_c, c->shared);
    read_signs(c, "conditioning/expect/pca/Z", c->r_c + c->r_s, c->pca);
    for (int64_t k = 0; k < c->K; k++) {
        snprintf(name, sizeof name, "conditioning/expect/%d/U_spec", (int)k);
        read_signs(c, name, c->r_s, c->specific[k]);
    }
}

/* The sign that column j of an array is to be multiplied by. */
static double sign_of(const comparison *c, const char *name, int64_t j)
{
    const char *last = strrchr(name, '/') + 1;
    bool rows = strcmp(last, "Z") == 0 || strcmp(last, "Zh") == 0;
    int k = 0;

    if (c->K == 0)
        return 1;
    if (rows && strstr(name, "/pca/") != NULL)
        return c->pca[j];
    if (strcmp(last, "U") == 0 || strcmp(last, "Zc") == 0 || strcmp(last, "Zhc") == 0)
        return c->shared[j];
    sscanf(name, "conditioning/expect/%d/", &k);
    if (strcmp(last, "U_spec") == 0)
        return c->specific[k][j];
    if (rows)
        return j < c->r_c ? c->shared[j] : c->specific[k][j - c->r_c];
    return 1;
}

/* ---- arrays -------------------------------------------------------------------------------- */

static bool same_shape(const mltfr_shape *a, const mltfr_shape *b)
{
    bool same = a->ndim == b->ndim;

    for (int i = 0; same && i < a->ndim; i++)
        same = a->dims[i] == b->dims[i];
    return same;
}

/* Infinite where a number is not finite or a whole number differs. */
static double measure(const comparison *c, const char *name, const mltfr_shape *shape,
                      const double *x, const double *y)
{
    int64_t n = mltfr_shape_count(shape);
    int64_t cols = shape->ndim > 0 ? shape->dims[shape->ndim - 1] : 1;
    bool whole = shape->type != MLTFR_F32 && shape->type != MLTFR_F64;
    bool rounding = strstr(name, "grads/") != NULL && strstr(name, "attn.bk") != NULL;
    double differ = 0, size = 1e-6;

    for (int64_t i = 0; i < n; i++) {
        double d = fabs(x[i] - sign_of(c, name, i % cols) * y[i]);
        if (!(d == 0) && (whole || !isfinite(d)))
            return INFINITY;
        differ = fmax(differ, d);
        size = fmax(size, fabs(x[i]));
    }
    return rounding ? (differ <= 1e-6 ? 0 : differ) : differ / size;
}

static void fault(comparison *c, const char *name, const char *what, double value)
{
    c->faults++;
    if (mltfr_comm_rank(c->comm) == 0 && c->faults <= SHOWN)
        fprintf(stderr, "%s: %s (%.3g)\n", name, what, value);
}

static void compare(comparison *c, const char *name)
{
    mltfr_shape a, b;
    double *x = load(c->expected, name, &a), *y = load(c->actual, name, &b), value;
    size_t tail = c->skip != NULL ? strlen(c->skip) : 0, n = strlen(name);

    c->arrays++;
    if (x == NULL || y == NULL) {
        if (tail == 0 || tail > n || strcmp(name + n - tail, c->skip) != 0)
            fault(c, name, "missing", 0);
    } else if (!same_shape(&a, &b)) {
        fault(c, name, "of another shape", 0);
    } else {
        value = measure(c, name, &a, x, y);
        if (!(value <= c->worst)) {
            c->worst = value;
            snprintf(c->worst_name, PATH, "%s", name);
        }
        if (!(value <= c->tolerance))
            fault(c, name, "differs", value);
    }
    MLTFR_FREE(x);
    MLTFR_FREE(y);
}

static void read_kind(comparison *c)
{
    char *kind = NULL;

    if (mltfr_file_get_text(c->expected, "/", "kind", &kind) == MLTFR_OK &&
        strcmp(kind, "conditioning") == 0) {
        mltfr_file_get_i64(c->expected, "/", "r_c", &c->r_c);
        mltfr_file_get_i64(c->expected, "/", "r_s", &c->r_s);
        mltfr_file_get_i64(c->expected, "/", "K", &c->K);
        find_signs(c);
    }
    MLTFR_FREE(kind);
}

static int compare_all(comparison *c)
{
    name_list list = {0};

    mltfr_file_visit(c->expected, add_name, &list);
    if (MLTFR_NEW(list.names, list.count) != MLTFR_OK)
        return -1;
    list.count = 0;
    mltfr_file_visit(c->expected, add_name, &list);
    read_kind(c);
    for (int i = 0; i < list.count; i++)
        compare(c, list.names[i]);
    MLTFR_FREE(list.names);
    if (mltfr_comm_rank(c->comm) == 0)
        printf("%s: %d arrays, %d faults, worst %.3g %s\n", mltfr_file_path(c->expected), c->arrays,
               c->faults, c->worst, c->worst_name);
    return c->arrays == 0 ? -1 : c->faults;
}

int golden_compare(mltfr_comm *comm, const char *expected, const char *actual, double tolerance,
                   const char *skip)
{
    comparison *c = NULL;
    int result = -1;

    if (MLTFR_NEW(c, 1) != MLTFR_OK)
        return -1;
    *c = (comparison){.comm = comm, .skip = skip, .tolerance = tolerance, .worst = -1};
    if (mltfr_file_open(comm, expected, &c->expected) == MLTFR_OK &&
        mltfr_file_open(comm, actual, &c->actual) == MLTFR_OK)
        result = compare_all(c);
    else if (mltfr_comm_rank(comm) == 0)
        fprintf(stderr, "%s\n", mltfr_error_text);
    mltfr_file_destroy(&c->actual);
    mltfr_file_destroy(&c->expected);
    MLTFR_FREE(c);
    return result;
}

const char *golden_path(const char *name)
{
    static char path[1024];
    const char *root = getenv("MLTFR_SOURCE_DIR");

    snprintf(path, sizeof path, "%s/tests/golden/%s", root != NULL ? root : ".", name);
    return path;
}
