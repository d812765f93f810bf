/* Which files a path stands for:
 *   a file                               itself; of GGUF splits, NAME-00001-of-00003.gguf, all
 *   a directory                          model.safetensors; the shards of its index; its only file
 *   NAME.index.json                      the shards it names, which lie beside it
 *   FILE,FILE,..                         these, in this order
 * Nothing outside the directory of an index is opened, whatever the index says. */
#include "table_impl.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INDEX_DEPTH = 64 };

static const char index_name[] = "model.safetensors.index.json";

bool mltfr_has_ending(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);

    return n >= m && strcmp(name + n - m, ending) == 0;
}

static mltfr_status add_path(mltfr_table_paths *paths, mltfr_slice directory, mltfr_slice name)
{
    mltfr_status st = MLTFR_OK;

    if (paths->list == NULL)
        MLTFR_TRY(MLTFR_NEW(paths->list, MLTFR_TABLE_FILES));
    if (paths->count == MLTFR_TABLE_FILES)
        MLTFR_FAIL(MLTFR_E_DATA, "%.*s%.*s: more than %d files", (int)directory.bytes,
                   directory.data, (int)name.bytes, name.data, MLTFR_TABLE_FILES);
    char **to = &paths->list[paths->count];
    MLTFR_TRY(MLTFR_NEW(*to, directory.bytes + name.bytes + 1));
    memcpy(*to, directory.data, directory.bytes);
    memcpy(*to + directory.bytes, name.data, name.bytes);
    paths->count++;
done:
    return st;
}

void mltfr_table_paths_close(mltfr_table_paths *paths)
{
    for (int64_t i = 0; i < paths->count; i++)
        MLTFR_FREE(paths->list[i]);
    MLTFR_FREE(paths->list);
    paths->count = 0;
}

/* The path up to its last slash. */
static mltfr_slice directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return (mltfr_slice){path, slash != NULL ? (size_t)(slash + 1 - path) : 0};
}

/* ---- an index: {"weight_map": {TENSOR: FILE, ..}, ..} */

typedef struct {
    const mltfr_image *image;
    mltfr_table_paths *paths;
    bool in_map, had_map;
} index_reader;

static mltfr_status add_shard(index_reader *r, const mltfr_json_event *e)
{
    mltfr_slice directory = directory_of(r->image->path);
    char quoted[MLTFR_QUOTE_BYTES];

    if (e->escaped || e->text.bytes == 0 || e->text.bytes > 255 || e->text.data[0] == '.' ||
        memchr(e->text.data, '/', e->text.bytes) != NULL)
        return mltfr_fail(MLTFR_E_DATA,
                          "%s: weight_map: '%s' is no plain name of a file beside the index",
                          r->image->path, mltfr_slice_quote(e->text, quoted));
    for (int64_t i = r->paths->count - 1; i >= 0; i--)
        if (mltfr_slice_is(e->text, r->paths->list[i] + directory.bytes))
            return MLTFR_OK;
    return add_path(r->paths, directory, e->text);
}

static mltfr_status visit_index(void *context, const mltfr_json_event *e)
{
    index_reader *r = context;

    if (e->depth == 1 && e->kind == MLTFR_JSON_KEY) {
        r->in_map = mltfr_json_is(e, "weight_map");
        r->had_map = r->had_map || r->in_map;
    }
    if (!r->in_map || e->depth < 2 || e->kind == MLTFR_JSON_KEY)
        return MLTFR_OK;
    if (e->depth > 2 || e->kind != MLTFR_JSON_STRING)
        return mltfr_fail(MLTFR_E_DATA, "%s: weight_map is no map of tensors to files",
                          r->image->path);
    return add_shard(r, e);
}

mltfr_status mltfr_table_index_parse(const mltfr_image *image, mltfr_table_paths *out)
{
    mltfr_status st = MLTFR_OK;
    index_reader r = {.image = image, .paths = out};

    MLTFR_TRY(mltfr_json_walk(image, 0, image->bytes, INDEX_DEPTH, visit_index, &r));
    if (!r.had_map || out->count == 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: there is no weight_map with files", image->path);
done:
    return st;
}

static mltfr_status add_index(const char *path, mltfr_table_paths *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_image image;

    MLTFR_TRY(mltfr_image_map(path, &image));
    st = mltfr_table_index_parse(&image, out);
    mltfr_image_close(&image);
done:
    return st;
}

/* ---- GGUF splits: PREFIX-00001-of-00003.gguf */

enum { SPLIT_BYTES = 20 }; /* of -00001-of-00003.gguf */

/* How many files the name says there are, 0 if it is no split; *number is which one it is. */
static long split_count(const char *path, long *number)
{
    size_t bytes = strlen(path);
    char digits[2][6];

    if (bytes < SPLIT_BYTES ||
        sscanf(path + bytes - SPLIT_BYTES, "-%5[0-9]-of-%5[0-9].gguf", digits[0], digits[1]) != 2 ||
        strlen(digits[0]) != 5 || strlen(digits[1]) != 5 || !mltfr_has_ending(path, ".gguf"))
        return 0;
    *number = strtol(digits[0], NULL, 10);
    return strtol(digits[1], NULL, 10);
}

static mltfr_status add_splits(const char *path, long count, mltfr_table_paths *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice prefix = {path, strlen(path) - SPLIT_BYTES};
    char ending[64];

    for (long i = 1; i <= count; i++) {
        int n = snprintf(ending, sizeof ending, "-%05ld-of-%05ld.gguf", i, count);

        MLTFR_TRY(add_path(out, prefix, (mltfr_slice){ending, (size_t)n}));
        if (access(out->list[i - 1], F_OK) != 0)
            MLTFR_FAIL(MLTFR_E_IO, "%s: %s: one of the %ld splits of %s", out->list[i - 1],
                       strerror(errno), count, path);
    }
done:
    return st;
}

static mltfr_status add_file(const char *path, mltfr_table_paths *out)
{
    long number = 0, count = split_count(path, &number);

    if (mltfr_has_ending(path, ".index.json"))
        return add_index(path, out);
    if (count > 1 && number >= 1 && number <= count)
        return add_splits(path, count, out);
    return add_path(out, (mltfr_slice){"", 0}, (mltfr_slice){path, strlen(path)});
}

/* ---- directories and lists */

/* Of several splits only the first counts. */
static bool is_table_name(const char *name)
{
    long number = 1;

    split_count(name, &number);
    return number == 1 &&
           (mltfr_has_ending(name, ".gguf") || mltfr_has_ending(name, ".safetensors") ||
            mltfr_has_ending(name, ".npy"));
}

/* The name of the file to read in a directory. */
static mltfr_status find_in(const char *path, DIR *directory, char name[256])
{
    struct dirent *entry;
    bool index = false;
    int found = 0;

    while ((entry = readdir(directory)) != NULL) {
        index = index || strcmp(entry->d_name, index_name) == 0;
        if (!is_table_name(entry->d_name))
            continue;
        found++;
        snprintf(name, 256, "%s", entry->d_name);
        if (strcmp(name, "model.safetensors") == 0)
            return MLTFR_OK;
    }
    if (index)
        strcpy(name, index_name);
    if (index || found == 1)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_DATA,
                      "%s: the directory has %d files .gguf, .safetensors or .npy; allowed: one, "
                      "or model.safetensors, or %s",
                      path, found, index_name);
}

static mltfr_status add_directory(const char *path, mltfr_table_paths *out)
{
    mltfr_status st = MLTFR_OK;
    DIR *directory = opendir(path);
    char name[256] = "", *file = NULL;
    size_t bytes = strlen(path) + sizeof name + 2;

    if (directory == NULL)
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    MLTFR_TRY(find_in(path, directory, name));
    MLTFR_TRY(MLTFR_NEW(file, bytes));
    snprintf(file, bytes, "%s/%s", path, name);
    MLTFR_TRY(add_file(file, out));
done:
    MLTFR_FREE(file);
    if (directory != NULL)
        closedir(directory);
    return st;
}

static mltfr_status add_list(const char *path, mltfr_table_paths *out)
{
    mltfr_status st = MLTFR_OK;

    for (const char *at = path;; at++) {
        size_t n = strcspn(at, ",");

        if (n == 0)
            MLTFR_FAIL(MLTFR_E_IO, "%s: an empty name in a list of files", path);
        MLTFR_TRY(add_path(out, (mltfr_slice){"", 0}, (mltfr_slice){at, n}));
        at += n;
        if (*at == '\0')
            break;
    }
done:
    return st;
}

mltfr_status mltfr_table_paths_find(const char *path, mltfr_table_paths *out)
{
    mltfr_status st = MLTFR_OK;
    struct stat info;

    memset(out, 0, sizeof *out);
    if (stat(path, &info) == 0)
        st = S_ISDIR(info.st_mode) ? add_directory(path, out) : add_file(path, out);
    else if (strchr(path, ',') != NULL)
        st = add_list(path, out);
    else
        st = mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    if (st != MLTFR_OK)
        mltfr_table_paths_close(out);
    return st;
}
