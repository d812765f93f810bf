/* Files of global arrays: what P ranks write, with ragged and empty shares, each rank reads back in
 * any cut, alone too; what cannot be read fails alike on every rank, with one text. */
#include "mpi_test.h"

#include <mltfr/file.h>

#include <string.h>
#include <unistd.h>

enum { ROWS = 11, COLS = 3, PATH = 512 };

static const mltfr_dtype types[] = {MLTFR_F32, MLTFR_F64, MLTFR_I32, MLTFR_I64, MLTFR_U8};

static void store(mltfr_dtype type, void *data, int64_t i, int64_t value)
{
    switch (type) {
    case MLTFR_F32:
        ((float *)data)[i] = (float)value;
        break;
    case MLTFR_F64:
        ((double *)data)[i] = (double)value;
        break;
    case MLTFR_I32:
        ((int32_t *)data)[i] = (int32_t)value;
        break;
    case MLTFR_I64:
        ((int64_t *)data)[i] = value;
        break;
    default:
        ((uint8_t *)data)[i] = (uint8_t)value;
    }
}

/* Rank p holds [first, last): evenly, or all rows on the last rank. */
static void share(const mltfr_comm *comm, bool even, int64_t *first, int64_t *last)
{
    const int size = mltfr_comm_size(comm), me = mltfr_comm_rank(comm);

    *first = even ? mltfr_share_first(ROWS, size, me) : me == size - 1 ? 0 : ROWS;
    *last = even ? mltfr_share_first(ROWS, size, me + 1) : ROWS;
}

static void write_arrays(mltfr_comm *comm, mltfr_file *file, bool even)
{
    int64_t first, last, data[ROWS * COLS];
    char name[64];

    share(comm, even, &first, &last);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        const mltfr_shape shape = {types[t], 2, {ROWS, COLS}};
        for (int64_t i = 0; i < (last - first) * COLS; i++)
            store(types[t], data, i, first * COLS + i);
        snprintf(name, sizeof name, "%s/type/%d", even ? "even" : "last", (int)t);
        MUST(mltfr_file_write(file, name, &shape, first, last - first, data));
    }
}

/* A scalar, an array without rows, and attributes. */
static void write_others(mltfr_comm *comm, mltfr_file *file)
{
    const mltfr_shape scalar = {MLTFR_F64, 0, {0}}, empty = {MLTFR_I32, 2, {0, 4}};
    const double pi = 3.25;

    MUST(mltfr_file_write(file, "scalar", &scalar, 0, mltfr_comm_rank(comm) == 0, &pi));
    MUST(mltfr_file_write(file, "empty", &empty, 0, 0, NULL));
    MUST(mltfr_file_set_i64(file, "even", "number", INT64_C(-5000000000)));
    MUST(mltfr_file_set_f64(file, "/", "real", .1));
    MUST(mltfr_file_set_text(file, "scalar", "text", "schön"));
    MUST(mltfr_file_set_text(file, "/", "none", ""));
}

static void check_rows(mltfr_file *file, const char *name, mltfr_dtype type, int64_t first,
                       int64_t last)
{
    int64_t got[ROWS * COLS], want[ROWS * COLS];
    const size_t bytes = (size_t)((last - first) * COLS * mltfr_dtype_bytes(type));

    for (int64_t i = 0; i < (last - first) * COLS; i++)
        store(type, want, i, first * COLS + i);
    MUST(mltfr_file_read(file, name, type, first, last - first, got));
    CHECK(memcmp(got, want, bytes) == 0, "%s [%d, %d) as type %d", name, (int)first, (int)last,
          (int)type);
}

/* Each array in even shares, whole on every rank, and converted to another type. */
static void check_arrays(mltfr_comm *comm, mltfr_file *file, const char *group)
{
    int64_t first, last;
    mltfr_shape shape;
    char name[64];

    share(comm, true, &first, &last);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        snprintf(name, sizeof name, "%s/type/%d", group, (int)t);
        MUST(mltfr_file_shape(file, name, &shape));
        CHECK(shape.type == types[t] && shape.ndim == 2 && shape.dims[0] == ROWS &&
                  shape.dims[1] == COLS,
              "%s: shape", name);
        check_rows(file, name, types[t], first, last);
        check_rows(file, name, types[t], 0, ROWS);
        check_rows(file, name, MLTFR_F64, first, last);
    }
}

static void check_others(mltfr_file *file)
{
    double real = 0;
    int64_t number = 0;
    mltfr_shape shape;
    char *text;

    MUST(mltfr_file_read(file, "scalar", MLTFR_F64, 0, 1, &real));
    CHECK(real == 3.25, "scalar %g", real);
    MUST(mltfr_file_shape(file, "empty", &shape));
    CHECK(shape.dims[0] == 0 && mltfr_shape_row(&shape) == 4 && mltfr_shape_count(&shape) == 0,
          "shape of nothing");
    MUST(mltfr_file_read(file, "empty", MLTFR_I32, 0, 0, NULL));
    MUST(mltfr_file_get_i64(file, "even", "number", &number));
    CHECK(number == INT64_C(-5000000000), "number %lld", (long long)number);
    MUST(mltfr_file_get_f64(file, "/", "real", &real));
    CHECK(real == .1, "real %.17g", real);
    MUST(mltfr_file_get_text(file, "scalar", "text", &text));
    CHECK(strcmp(text, "schön") == 0, "text '%s'", text);
    MLTFR_FREE(text);
    MUST(mltfr_file_get_text(file, "/", "none", &text));
    CHECK(strcmp(text, "") == 0, "text '%s'", text);
    MLTFR_FREE(text);
    CHECK(mltfr_file_has(file, "even/type") && mltfr_file_has(file, "even/type/0"), "has");
    CHECK(!mltfr_file_has(file, "even/type/9") && !mltfr_file_has(file, "no/such"), "has not");
    CHECK(mltfr_file_has_attr(file, "/", "real") && !mltfr_file_has_attr(file, "/", "reel"),
          "attributes");
}

typedef struct {
    int arrays;
    char last[128];
} visited;

static mltfr_status visit(void *context, const char *name, const mltfr_shape *shape)
{
    visited *v = context;

    (void)shape;
    CHECK(v->arrays == 0 || strcmp(v->last, name) < 0, "'%s' after '%s'", name, v->last);
    v->arrays++;
    snprintf(v->last, sizeof v->last, "%s", name);
    return MLTFR_OK;
}

static void read_file(mltfr_comm *comm, const char *path)
{
    mltfr_file *file;
    visited v = {0};

    MUST(mltfr_file_open(comm, path, &file));
    check_arrays(comm, file, "even");
    check_arrays(comm, file, "last");
    check_others(file);
    MUST(mltfr_file_visit(file, visit, &v));
    CHECK(v.arrays == 12, "%d arrays", v.arrays);
    CHECK(strcmp(mltfr_file_path(file), path) == 0, "'%s'", mltfr_file_path(file));
    mltfr_file_destroy(&file);
    CHECK(file == NULL, "not set to NULL");
}

/* `self` is a group of one on rank 0: a file of P ranks is the file of one. */
static void test_round_trip(mltfr_comm *comm, mltfr_comm *self, const char *path)
{
    mltfr_file *file;

    MUST(mltfr_file_create(comm, path, &file));
    write_arrays(comm, file, true);
    write_others(comm, file);
    MUST(mltfr_file_close(&file));
    CHECK(file == NULL, "not set to NULL");
    MUST(mltfr_file_append(comm, path, &file));
    write_arrays(comm, file, false);
    MUST(mltfr_file_close(&file));
    read_file(comm, path);
    if (self != NULL)
        read_file(self, path);
    mltfr_comm_barrier(comm);
}

/* ---- failures ------------------------------------------------------------------------------ */

static void check_failed(mltfr_comm *comm, mltfr_status st, mltfr_status expected, const char *text)
{
    const int size = mltfr_comm_size(comm);
    char all[size][MLTFR_ERROR_BYTES];
    int64_t worst = st;

    CHECK(st == expected, "status %d, expected %d (%s)", (int)st, (int)expected, mltfr_error_text);
    CHECK(strstr(mltfr_error_text, text) != NULL, "'%s' is not in '%s'", text, mltfr_error_text);
    mltfr_comm_max_i64(comm, &worst, 1);
    CHECK(worst == (int64_t)st, "another status elsewhere");
    mltfr_comm_allgather(comm, mltfr_error_text, MLTFR_ERROR_BYTES, all);
    CHECK(strcmp(all[0], mltfr_error_text) == 0, "'%s' elsewhere", all[0]);
    mltfr_fail(MLTFR_OK, "an old text of rank %d", mltfr_comm_rank(comm));
}

static void test_unreadable(mltfr_comm *comm, const char *path)
{
    char text[PATH + 8];
    mltfr_file *file;

    snprintf(text, sizeof text, "%s.text", path);
    if (mltfr_comm_rank(comm) == 0) {
        FILE *to = fopen(text, "w");
        fputs("not HDF5\n", to);
        fclose(to);
    }
    mltfr_comm_barrier(comm);
    check_failed(comm, mltfr_file_open(comm, "no/such.h5", &file), MLTFR_E_DATA, "no/such.h5");
    CHECK(file == NULL, "a file that is not there");
    check_failed(comm, mltfr_file_open(comm, text, &file), MLTFR_E_DATA, text);
    CHECK(file == NULL, "a text file");
    check_failed(comm, mltfr_file_create(comm, "no/such/folder.h5", &file), MLTFR_E_IO,
                 "no/such/folder.h5");
    CHECK(file == NULL, "a folder that is not there");
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0)
        unlink(text);
}

/* Also where one rank alone asks for too much. */
static void test_bad_reads(mltfr_comm *comm, const char *path)
{
    const bool last = mltfr_comm_rank(comm) == mltfr_comm_size(comm) - 1;
    int64_t data[(ROWS + 1) * COLS], number;
    mltfr_file *file;
    mltfr_shape shape;
    char *text;

    MUST(mltfr_file_open(comm, path, &file));
    check_failed(comm, mltfr_file_read(file, "even/none", MLTFR_F32, 0, 0, data), MLTFR_E_DATA,
                 "even/none");
    check_failed(comm, mltfr_file_read(file, "even/type", MLTFR_F32, 0, 0, data), MLTFR_E_DATA,
                 "even/type");
    check_failed(comm, mltfr_file_read(file, "even/type/3", MLTFR_I64, 0, ROWS + last, data),
                 MLTFR_E_DATA, "11 rows");
    check_failed(comm, mltfr_file_read(file, "even/type/3", MLTFR_I64, -(int64_t)last, 1, data),
                 MLTFR_E_DATA, "11 rows");
    CHECK(mltfr_file_shape(file, "none", &shape) == MLTFR_E_DATA, "shape of nothing");
    CHECK(mltfr_file_get_i64(file, "/", "none such", &number) == MLTFR_E_DATA, "no attribute");
    CHECK(mltfr_file_get_text(file, "/", "real", &text) == MLTFR_E_DATA && text == NULL,
          "a number is no text");
    check_rows(file, "even/type/3", MLTFR_I64, 0, ROWS); /* the file can still be read */
    mltfr_file_destroy(&file);
}

static void test_bad_writes(mltfr_comm *comm, const char *path)
{
    const bool last = mltfr_comm_rank(comm) == mltfr_comm_size(comm) - 1;
    const mltfr_shape shape = {MLTFR_I64, 1, {ROWS}};
    int64_t data[ROWS + 1] = {0};
    mltfr_file *file;

    MUST(mltfr_file_append(comm, path, &file));
    check_failed(comm, mltfr_file_write(file, "even/type/0", &shape, 0, 0, data), MLTFR_E_IO,
                 "even/type/0");
    check_failed(comm, mltfr_file_write(file, "too/many", &shape, 0, last ? ROWS + 1 : 0, data),
                 MLTFR_E_INTERNAL, "too/many");
    MUST(mltfr_file_close(&file));
}

int main(int argc, char **argv)
{
    mltfr_comm *comm, *self;
    char path[PATH];

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    MUST(mltfr_comm_group(comm, 0, 0, &self));
    snprintf(path, sizeof path, "comm_file.np%d.h5", mltfr_comm_size(comm));
    test_round_trip(comm, self, path);
    test_unreadable(comm, path);
    test_bad_reads(comm, path);
    test_bad_writes(comm, path);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0)
        unlink(path);
    mltfr_comm_destroy(&self);
    return mpi_test_end(&comm);
}
