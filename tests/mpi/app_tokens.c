/* Tables in files to spaces, their JSON report, and `inspect --neighbours`, as the verbs do it. */
#include "../../src/app/app_impl.h"
#include "mpi_test.h"

#include <mltfr/config.h>
#include <mltfr/log.h>
#include <mltfr/rng.h>
#include <mltfr/spaces.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORDS = 400, LATENT = 4 };

static char folder[64];

static double normal(int what, int64_t i, int64_t j)
{
    return mltfr_rng_normal(mltfr_rng_key((uint64_t)what, MLTFR_RNG_SYNTHETIC, (uint64_t)i),
                            (uint64_t)j);
}

static FILE *create(const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        mltfr_panic("%s: cannot be made", path);
    return file;
}

/* A folder with table.npy and vocab.txt: words with a common latent vector. */
static void write_table(int k, int width)
{
    char name[128], head[117];
    FILE *file;

    snprintf(name, sizeof name, "%s/%d", folder, k);
    mkdir(name, 0777);
    snprintf(name, sizeof name, "%d/vocab.txt", k);
    file = create(name);
    for (int i = 0; i < WORDS; i++)
        fprintf(file, "%c%c%c\n", 'a' + i / 676, 'a' + i / 26 % 26, 'a' + i % 26);
    fclose(file);
    snprintf(name, sizeof name, "%d/table.npy", k);
    file = create(name);
    snprintf(head, sizeof head, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }",
             WORDS, width);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, file);
    fprintf(file, "%-117s\n", head);
    for (int i = 0; i < WORDS; i++)
        for (int j = 0; j < width; j++) {
            double x = .2 * normal(3 + k, i, j);
            for (int t = 0; t < LATENT; t++)
                x += normal(1, i, t) * normal(10 + k, t, j);
            float value = (float)x;
            fwrite(&value, sizeof value, 1, file);
        }
    fclose(file);
}

static mltfr_config *configure(const char *more)
{
    mltfr_config *config;
    char yaml[512];

    snprintf(yaml, sizeof yaml,
             "tokens:\n  tables:\n    - {name: one, path: %s/0/table.npy}\n"
             "    - {name: two, path: %s/1/table.npy}\n"
             "  shared_dim: 4\n  specific_dim: 3\n%s",
             folder, folder, more);
    MUST(mltfr_config_create(&config));
    MUST(mltfr_config_read(config, "test", yaml));
    return config;
}

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(object, name);

    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* What a script would read. */
static void check_json(mltfr_comm *comm, const char *path)
{
    char *text;

    MUST(app_load(comm, path, MLTFR_E_DATA, &text));
    cJSON *all = cJSON_Parse(text);
    const cJSON *llms = cJSON_GetObjectItem(all, "llms"),
                *pairs = cJSON_GetObjectItem(all, "pairs");
    const cJSON *two = cJSON_GetArrayItem(llms, 1), *pair = cJSON_GetArrayItem(pairs, 0);

    CHECK(cJSON_GetArraySize(llms) == 2 && cJSON_GetArraySize(pairs) == 1, "'%s'", text);
    CHECK(number(two, "rows") == WORDS && number(two, "width") == 16, "rows, width");
    CHECK(number(cJSON_GetObjectItem(two, "dropped"), "low_norm") == WORDS / 100, "dropped");
    CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(two, "spectrum")) == 16, "spectrum");
    CHECK(number(pair, "anchors") == number(all, "anchors") && number(pair, "p_at_1") > .8,
          "pair: P@1 %g", number(pair, "p_at_1"));
    CHECK(number(all, "p_at_1") == number(pair, "p_at_1"), "P@1 %g", number(all, "p_at_1"));
    CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(all, "correlation")) == 12, "correlation");
    CHECK(number(cJSON_GetObjectItem(all, "seconds"), "align") >= 0, "seconds");
    CHECK(number(all, "ranks") == mltfr_comm_size(comm), "ranks");
    CHECK(strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(all, "control")), "none") == 0,
          "control");
    cJSON_Delete(all);
    MLTFR_FREE(text);
}

/* Where the spaces came from. */
static void check_origin(mltfr_comm *comm, const char *path)
{
    static const char *const versions[] = {"program", "mpi", "hdf5", "blas", "scalapack"};
    mltfr_file *file;
    char *text;
    int64_t digest;

    MUST(mltfr_file_open(comm, path, &file));
    MUST(mltfr_file_get_text(file, "spaces/1", "path", &text));
    CHECK(strstr(text, "/1/table.npy") != NULL, "path '%s'", text);
    MLTFR_FREE(text);
    MUST(mltfr_file_get_i64(file, "spaces/1", "digest", &digest));
    CHECK(digest != 0, "no digest");
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        MUST(mltfr_file_get_text(file, "spaces", versions[i], &text));
        CHECK(*text != '\0', "%s is not said", versions[i]);
        MLTFR_FREE(text);
    }
    mltfr_file_destroy(&file);
}

static void test_tokens(mltfr_comm *comm, const char *spaces, const char *json)
{
    mltfr_config *config = configure("");

    MUST(app_condition(comm, mltfr_config_settings(config), NULL, spaces, json));
    check_json(comm, json);
    check_origin(comm, spaces);
    mltfr_config_destroy(&config);
}

static void test_neighbours(mltfr_comm *comm, const char *spaces)
{
    char table[128];

    CHECK(app_neighbours(comm, spaces, "abc") == MLTFR_OK, "%s", mltfr_error_text);
    CHECK(app_neighbours(comm, spaces, "absent") == MLTFR_E_DATA, "a word that is not there");
    snprintf(table, sizeof table, "%s/0/table.npy", folder);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0)
        unlink(table);
    mltfr_comm_barrier(comm);
    CHECK(app_neighbours(comm, spaces, "abc") == MLTFR_OK, "without a table: %s", mltfr_error_text);
}

/* Each word of tokens.align and tokens.control reaches conditioning. */
static void test_words(mltfr_comm *comm, const char *spaces, const char *json)
{
    static const char *const lines[] = {"  align: procrustes\n",       "  align: pca\n",
                                        "  control: gaussian\n",       "  control: shuffle\n",
                                        "  control: gaussian-joint\n", "  control: scale\n"};

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        mltfr_config *config = configure(lines[i]);
        mltfr_file *file;
        char *align, *control, line[64];
        MUST(app_condition(comm, mltfr_config_settings(config), NULL, spaces, json));
        MUST(mltfr_file_open(comm, spaces, &file));
        MUST(mltfr_file_get_text(file, "spaces", "align", &align));
        MUST(mltfr_file_get_text(file, "spaces", "control", &control));
        snprintf(line, sizeof line, "  %s: %s\n", i < 2 ? "align" : "control",
                 i < 2 ? align : control);
        CHECK(strcmp(line, lines[i]) == 0, "%s for %s", line, lines[i]);
        mltfr_file_destroy(&file);
        MLTFR_FREE(align);
        MLTFR_FREE(control);
        mltfr_config_destroy(&config);
    }
}

static void clean_up(const char *spaces, const char *json)
{
    static const char *const names[] = {"0/table.npy", "0/vocab.txt", "1/table.npy", "1/vocab.txt"};
    char path[128];

    unlink(spaces);
    unlink(json);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    for (int k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "%s/%d", folder, k);
        rmdir(path);
    }
    rmdir(folder);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;
    char spaces[96], json[96];

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    bool root = mltfr_comm_rank(comm) == 0;
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    snprintf(folder, sizeof folder, "app_tokens.np%d", mltfr_comm_size(comm));
    snprintf(spaces, sizeof spaces, "%s/spaces.h5", folder);
    snprintf(json, sizeof json, "%s/spaces.json", folder);
    if (root) {
        mkdir(folder, 0777);
        write_table(0, 12);
        write_table(1, 16);
    }
    mltfr_comm_barrier(comm);
    test_tokens(comm, spaces, json);
    test_words(comm, spaces, json);
    test_tokens(comm, spaces, json);
    test_neighbours(comm, spaces);
    mltfr_comm_barrier(comm);
    if (root)
        clean_up(spaces, json);
    return mpi_test_end(&comm);
}
