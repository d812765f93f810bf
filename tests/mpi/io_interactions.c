/* Reading on all ranks, the HDF5 form there and back, the synthetic file, agreed failures. */
#include <mltfr/file.h>
#include <mltfr/interactions.h>
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/spaces.h>
#include <mltfr/synthetic.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mltfr_comm *comm;
static int failures;
static char path[64];

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: rank %d: %s is false (%s)\n", __FILE__, __LINE__,              \
                    mltfr_comm_rank(comm), #condition, mltfr_error_text);                          \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static bool is_root(void)
{
    return mltfr_comm_rank(comm) == 0;
}

static void put_file(const char *text, size_t bytes)
{
    if (is_root()) {
        FILE *file = fopen(path, "wb");

        CHECK(file != NULL && fwrite(text, 1, bytes, file) == bytes);
        fclose(file);
    }
    mltfr_comm_barrier(comm);
}

static mltfr_status read_file(int format, mltfr_interactions **out)
{
    mltfr_settings settings = mltfr_settings_defaults();

    settings.data_path = path;
    settings.data_format = format;
    return mltfr_interactions_read(comm, &settings, out);
}

static bool same_names(char **a, char **b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

static bool same(const mltfr_interactions *a, const mltfr_interactions *b)
{
    return a->users == b->users && a->items == b->items && a->count == b->count &&
           a->duplicates == b->duplicates && a->short_users == b->short_users &&
           a->only_held_out == b->only_held_out &&
           memcmp(a->offsets, b->offsets, (size_t)(a->users + 1) * sizeof *a->offsets) == 0 &&
           memcmp(a->ids, b->ids, (size_t)a->count * sizeof *a->ids) == 0 &&
           same_names(a->user_names, b->user_names, a->users) &&
           same_names(a->item_names, b->item_names, a->items);
}

static const char table[] = "user_id,item_id,timestamp\nanna,x,3\nanna,y,1\nanna,z,2\n"
                            "bo,z,1\nbo,z,1\nanna,w,4\ncarl,\xc3\xa9t\xc3\xa9,1\n";

static void test_text_and_back(void)
{
    mltfr_interactions *data = NULL, *again = NULL;
    char line[256];

    put_file(table, sizeof table - 1);
    CHECK(read_file(MLTFR_DATA_FORMAT_AUTO, &data) == MLTFR_OK);
    mltfr_interactions_summary(data, line, sizeof line);
    CHECK(strcmp(line, "users=3 items=5 interactions=6 duplicates=1 short_users=2 "
                       "only_held_out=2") == 0);
    CHECK(strcmp(data->user_names[2], "carl") == 0);
    CHECK(strcmp(data->item_names[data->ids[5] - 1], "\xc3\xa9t\xc3\xa9") == 0);
    CHECK(strcmp(data->item_names[data->ids[0] - 1], "y") == 0);
    CHECK(mltfr_interactions_write(comm, path, data) == MLTFR_OK);
    for (int format = MLTFR_DATA_FORMAT_AUTO; format <= MLTFR_DATA_FORMAT_HDF5;
         format += MLTFR_DATA_FORMAT_HDF5 - MLTFR_DATA_FORMAT_AUTO) {
        CHECK(read_file(format, &again) == MLTFR_OK && same(data, again));
        mltfr_interactions_destroy(&again);
    }
    mltfr_interactions_destroy(&data);
}

/* A failure on all ranks alike, with these words in its text. */
static void refuse(int format, const char *words)
{
    mltfr_interactions *data = NULL;

    CHECK(read_file(format, &data) == MLTFR_E_DATA);
    CHECK(data == NULL);
    CHECK(strstr(mltfr_error_text, words) != NULL);
    mltfr_comm_barrier(comm);
}

static void test_failures(void)
{
    mltfr_settings settings = mltfr_settings_defaults();
    mltfr_interactions *data;

    if (is_root())
        unlink(path);
    mltfr_comm_barrier(comm);
    refuse(MLTFR_DATA_FORMAT_AUTO, ": No such file or directory");
    refuse(MLTFR_DATA_FORMAT_HDF5, ": No such file or directory");
    put_file("1 2\n1\n", 6);
    refuse(MLTFR_DATA_FORMAT_PAIRS, ":2: '1' is not a pair");
    refuse(MLTFR_DATA_FORMAT_HDF5, "not an HDF5 file");
    put_file("", 0);
    refuse(MLTFR_DATA_FORMAT_AUTO, "no interactions");
    CHECK(mltfr_interactions_read(comm, &settings, &data) == MLTFR_E_USAGE);
    CHECK(strstr(mltfr_error_text, "data.path") != NULL);
}

/* ---- damaged HDF5: a good file of two users and two items, in which one thing is wrong ------- */

typedef struct {
    const char *words; /* of the message */
    const char *format;
    int64_t version, offsets[3], id, name_offset;
    const char *name_bytes;
} damage;

static void put_array(mltfr_file *file, const char *name, mltfr_dtype type, int64_t n,
                      const void *all)
{
    mltfr_shape shape = {type, 1, {n}};

    CHECK(mltfr_file_write(file, name, &shape, 0, is_root() ? n : 0, all) == MLTFR_OK);
}

static void put_damaged(const damage *d)
{
    mltfr_file *file = NULL;
    int32_t ids[] = {1, 2, (int32_t)d->id};
    int64_t names[] = {0, d->name_offset, 2};

    CHECK(mltfr_file_create(comm, path, &file) == MLTFR_OK);
    put_array(file, "interactions/offsets", MLTFR_I64, 3, d->offsets);
    put_array(file, "interactions/ids", MLTFR_I32, 3, ids);
    put_array(file, "interactions/user_names_offsets", MLTFR_I64, 3, names);
    put_array(file, "interactions/user_names_bytes", MLTFR_U8, 2, d->name_bytes);
    put_array(file, "interactions/item_names_offsets", MLTFR_I64, 3, (int64_t[]){0, 1, 2});
    if (d->words == NULL || strstr(d->words, "item_names_bytes") == NULL)
        put_array(file, "interactions/item_names_bytes", MLTFR_U8, 2, "xy");
    CHECK(mltfr_file_set_text(file, "interactions", "format", d->format) == MLTFR_OK);
    CHECK(mltfr_file_set_i64(file, "interactions", "version", d->version) == MLTFR_OK);
    CHECK(mltfr_file_set_i64(file, "interactions", "duplicates", 0) == MLTFR_OK);
    CHECK(mltfr_file_close(&file) == MLTFR_OK);
}

static void test_damaged(void)
{
    static const char good[] = "mltfr-interactions";
    static const damage cases[] = {
        {NULL, good, 1, {0, 2, 3}, 1, 1, "ab"},
        {"the format is 'else'", "else", 1, {0, 2, 3}, 1, 1, "ab"},
        {"version 9", good, 9, {0, 2, 3}, 1, 1, "ab"},
        {"users: offset 1 is -1", good, 1, {0, -1, 3}, 1, 1, "ab"},
        {"users: offset 2 is 4", good, 1, {0, 2, 4}, 1, 1, "ab"},
        {"users: offset 1 is 2 after 1", good, 1, {1, 2, 3}, 1, 1, "ab"},
        {"users: the last offset is 2, 3 is needed", good, 1, {0, 1, 2}, 1, 1, "ab"},
        {"ids[2] is 3, 1 to 2 are allowed", good, 1, {0, 2, 3}, 3, 1, "ab"},
        {"ids[2] is 0", good, 1, {0, 2, 3}, 0, 1, "ab"},
        {"user names: offset 1 is 7", good, 1, {0, 2, 3}, 1, 7, "ab"},
        {"user names: a NUL byte", good, 1, {0, 2, 3}, 1, 1, "a\0"},
        {"no array 'interactions/item_names_bytes'", good, 1, {0, 2, 3}, 1, 1, "ab"},
    };
    mltfr_interactions *data = NULL;
    mltfr_file *file = NULL;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_damaged(&cases[i]);
        if (cases[i].words != NULL)
            refuse(MLTFR_DATA_FORMAT_AUTO, cases[i].words);
        else
            CHECK(read_file(MLTFR_DATA_FORMAT_AUTO, &data) == MLTFR_OK && data->short_users == 2);
        mltfr_interactions_destroy(&data);
    }
    CHECK(mltfr_file_create(comm, path, &file) == MLTFR_OK);
    put_array(file, "else", MLTFR_I64, 1, (int64_t[]){1});
    CHECK(mltfr_file_close(&file) == MLTFR_OK);
    refuse(MLTFR_DATA_FORMAT_AUTO, "no group 'interactions'");
}

/* Space k in the file is the one that was made. */
static void check_space(mltfr_spaces *spaces, const mltfr_synthetic_spec *spec, int64_t k)
{
    int64_t rows, width;
    float *made = NULL, *read = NULL;

    CHECK(mltfr_synthetic_space(spec, k, &rows, &width, &made) == MLTFR_OK);
    CHECK(spaces->rows[k] == rows);
    CHECK(MLTFR_NEW(read, rows * width) == MLTFR_OK);
    CHECK(mltfr_spaces_read(spaces, k, 0, rows, read) == MLTFR_OK);
    CHECK(memcmp(made, read, (size_t)(rows * width) * sizeof *read) == 0);
    MLTFR_FREE(read);
    MLTFR_FREE(made);
}

static void test_synthetic(void)
{
    mltfr_synthetic_spec spec = mltfr_synthetic_defaults();
    mltfr_interactions *made = NULL, *data = NULL;
    mltfr_spaces *spaces = NULL;
    int64_t ends[3] = {0};
    char strings[14] = "";

    CHECK(mltfr_synthetic_write(comm, path, &spec) == MLTFR_OK);
    CHECK(read_file(MLTFR_DATA_FORMAT_AUTO, &data) == MLTFR_OK);
    CHECK(mltfr_synthetic_make(&spec, &made) == MLTFR_OK && same(made, data));
    CHECK(mltfr_spaces_open(comm, path, &spaces) == MLTFR_OK);
    CHECK(spaces->K == 2 && spaces->r_c == 16 && spaces->r_s == 16);
    CHECK(strcmp(spaces->names[1], "synthetic1") == 0);
    for (int64_t k = 0; k <= spec.llms; k++)
        check_space(spaces, &spec, k);
    CHECK(mltfr_file_read(spaces->file, "spaces/1/strings_offsets", MLTFR_I64, 299, 3, ends) ==
          MLTFR_OK);
    CHECK(ends[1] - ends[0] == 4 && ends[2] - ends[1] == 6);
    CHECK(mltfr_file_read(spaces->file, "spaces/1/strings_bytes", MLTFR_U8, ends[0], 10, strings) ==
          MLTFR_OK);
    CHECK(strcmp(strings, "w299w300_1") == 0);
    CHECK(mltfr_file_has(spaces->file, "spaces/1/ids"));
    mltfr_spaces_close(&spaces);
    mltfr_interactions_destroy(&made);
    mltfr_interactions_destroy(&data);
}

int main(int argc, char **argv)
{
    size_t before;
    int64_t all;

    if (mltfr_comm_start(&argc, &argv, &comm) != MLTFR_OK)
        return 1;
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    before = mltfr_mem_now();
    snprintf(path, sizeof path, "/tmp/mltfr-interactions-%lld", (long long)getpid());
    mltfr_comm_bcast(comm, path, sizeof path, 0);
    test_text_and_back();
    test_failures();
    test_damaged();
    test_synthetic();
    if (is_root())
        unlink(path);
    CHECK(mltfr_mem_now() == before);
    all = failures;
    mltfr_comm_sum_i64(comm, &all, 1);
    mltfr_comm_finish(&comm);
    return all != 0 || mltfr_mem_now() != 0;
}
