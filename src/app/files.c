/* Files as all ranks see them: rank 0 looks, the others are told. */
#include <mltfr/file.h>

#include "app_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool app_exists(mltfr_comm *comm, const char *path)
{
    struct stat info;
    bool exists = mltfr_comm_rank(comm) == 0 && stat(path, &info) == 0;

    mltfr_comm_bcast(comm, &exists, sizeof exists, 0);
    return exists;
}

mltfr_status app_require(mltfr_comm *comm, const char *key, const char *path)
{
    struct stat info;
    mltfr_status st = MLTFR_OK;

    if (mltfr_comm_rank(comm) == 0 && stat(path, &info) != 0)
        st = mltfr_fail(MLTFR_E_DATA, "%s: %s: %s", key, path, strerror(errno));
    return mltfr_comm_agree(comm, st);
}

bool app_is_directory(mltfr_comm *comm, const char *path)
{
    struct stat info;
    bool is = mltfr_comm_rank(comm) == 0 && stat(path, &info) == 0 && S_ISDIR(info.st_mode);

    mltfr_comm_bcast(comm, &is, sizeof is, 0);
    return is;
}

bool app_starts_with(mltfr_comm *comm, const char *path, const char *bytes)
{
    char head[16] = "";
    size_t length = strlen(bytes);
    FILE *file = mltfr_comm_rank(comm) == 0 ? fopen(path, "rb") : NULL;
    bool is =
        file != NULL && fread(head, 1, length, file) == length && memcmp(head, bytes, length) == 0;

    if (file != NULL)
        fclose(file);
    mltfr_comm_bcast(comm, &is, sizeof is, 0);
    return is;
}

bool app_is_hdf5(mltfr_comm *comm, const char *path)
{
    return app_starts_with(comm, path, "\x89HDF\r\n\x1a\n");
}

mltfr_status app_holds(mltfr_comm *comm, const char *path, const char *group, bool *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *file = NULL;

    *out = false;
    if (!app_is_hdf5(comm, path))
        return MLTFR_OK;
    MLTFR_TRY(mltfr_file_open(comm, path, &file));
    *out = mltfr_file_has(file, group) && mltfr_file_has_attr(file, group, "format");
done:
    mltfr_file_destroy(&file);
    return st;
}

mltfr_status app_load(mltfr_comm *comm, const char *path, mltfr_status missing, char **out)
{
    mltfr_status st = MLTFR_OK;
    int64_t bytes = 0;

    *out = NULL;
    if (mltfr_comm_rank(comm) == 0) {
        st = mltfr_text_load(path, out);
        bytes = st == MLTFR_OK ? (int64_t)strlen(*out) + 1 : 0;
    }
    MLTFR_AGREE(comm, st == MLTFR_E_IO ? missing : st);
    mltfr_comm_bcast(comm, &bytes, sizeof bytes, 0);
    if (mltfr_comm_rank(comm) != 0)
        st = MLTFR_NEW(*out, bytes);
    MLTFR_AGREE(comm, st);
    mltfr_comm_bcast(comm, *out, bytes, 0);
done:
    if (st != MLTFR_OK)
        MLTFR_FREE(*out);
    return st;
}

/* mkdir of a path and of what is missing above it. */
static mltfr_status make_directories(const char *path)
{
    mltfr_status st = MLTFR_OK;
    char *copy = NULL;

    MLTFR_TRY(mltfr_strdup(path, &copy));
    for (char *c = copy + 1; *copy != '\0'; c++) {
        bool last = *c == '\0';

        if (*c != '/' && !last)
            continue;
        *c = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            MLTFR_FAIL(MLTFR_E_IO, "%s: %s", copy, strerror(errno));
        if (last)
            break;
        *c = '/';
    }
done:
    MLTFR_FREE(copy);
    return st;
}

mltfr_status app_make_directory(mltfr_comm *comm, const char *path)
{
    mltfr_status st = mltfr_comm_rank(comm) == 0 ? make_directories(path) : MLTFR_OK;

    return mltfr_comm_agree(comm, st);
}

mltfr_status app_rename(mltfr_comm *comm, const char *from, const char *to)
{
    mltfr_status st = MLTFR_OK;

    if (mltfr_comm_rank(comm) == 0 && rename(from, to) != 0)
        st = mltfr_fail(MLTFR_E_IO, "%s: %s", to, strerror(errno));
    return mltfr_comm_agree(comm, st);
}

mltfr_status app_part(const char *path, char **out)
{
    mltfr_text name = {0};

    mltfr_text_add(&name, "%s.part", path);
    return mltfr_text_take(&name, out);
}

/* @local */
static mltfr_status write_text(const char *path, const mltfr_text *text)
{
    FILE *file = fopen(path, "w");
    bool whole;

    if (file == NULL)
        return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    whole = fwrite(text->data, 1, text->size, file) == text->size;
    whole = fclose(file) == 0 && whole;
    return whole ? MLTFR_OK : mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
}

mltfr_status app_write_by(mltfr_comm *comm, const char *path, app_writer *write, const void *what)
{
    mltfr_status st;
    char *part = NULL;

    MLTFR_AGREE(comm, app_part(path, &part));
    st = write(comm, part, what);
    if (st != MLTFR_OK && part != NULL && mltfr_comm_rank(comm) == 0)
        unlink(part);
    MLTFR_TRY(st);
    MLTFR_TRY(app_rename(comm, part, path));
done:
    MLTFR_FREE(part);
    return st;
}

static mltfr_status write_by_first(mltfr_comm *comm, const char *path, const void *text)
{
    return mltfr_comm_agree(comm, mltfr_comm_rank(comm) == 0 ? write_text(path, text) : MLTFR_OK);
}

mltfr_status app_write(mltfr_comm *comm, const char *path, const mltfr_text *text)
{
    mltfr_status st;

    MLTFR_AGREE(comm, text->st);
    MLTFR_TRY(app_write_by(comm, path, write_by_first, text));
done:
    return st;
}

mltfr_status app_join(const char *directory, const char *name, char **out)
{
    mltfr_text path = {0};

    mltfr_text_add(&path, "%s/%s", directory, name);
    return mltfr_text_take(&path, out);
}

mltfr_status app_json_beside(const char *path, char **out)
{
    mltfr_text name = {0};
    const size_t length = strlen(path);
    const bool ends = length > 3 && strcmp(path + length - 3, ".h5") == 0;

    mltfr_text_add(&name, "%.*s.json", (int)(ends ? length - 3 : length), path);
    return mltfr_text_take(&name, out);
}
