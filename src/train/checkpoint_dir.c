/* The directory of checkpoints.  Rank 0 looks and acts; steps are compared as numbers. */
#include "checkpoint.h"

#include <mltfr/background.h>
#include <mltfr/log.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

void mltfr_checkpoint_path(const char *run_dir, int64_t step, char *path, size_t bytes)
{
    snprintf(path, bytes, "%s/checkpoints/step-%08" PRId64 ".h5", run_dir, step);
}

/* The step of a file's name; -1 where it is no checkpoint's. */
static int64_t step_of(const char *name)
{
    char digits[19] = "";
    int end = 0;

    return sscanf(name, "step-%18[0-9].h5%n", digits, &end) == 1 && end > 0 && name[end] == '\0'
               ? strtoll(digits, NULL, 10)
               : -1;
}

static int by_step(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Up to `most` steps into `steps`, if there is one; count: of all checkpoints there are. */
static mltfr_status scan(DIR *directory, const char *path, int64_t *steps, int64_t most,
                         int64_t *count)
{
    *count = 0;
    rewinddir(directory);
    for (;;) {
        errno = 0;
        const struct dirent *d = readdir(directory);
        if (d == NULL && errno != 0)
            return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
        if (d == NULL)
            return MLTFR_OK;
        if (step_of(d->d_name) < 0)
            continue;
        if (*count < most)
            steps[*count] = step_of(d->d_name);
        ++*count;
    }
}

/* Steps of the checkpoints, rising; none where there is no directory.  One that cannot be read is
 * an error: its checkpoints would count as none, and be set aside. */
static mltfr_status list(const char *run_dir, int64_t **steps, int64_t *count)
{
    mltfr_status st = MLTFR_OK;
    char path[PATH_BYTES];
    DIR *directory;
    int64_t most;

    *steps = NULL;
    *count = 0;
    snprintf(path, sizeof path, "%s/checkpoints", run_dir);
    directory = opendir(path);
    if (directory == NULL && errno == ENOENT)
        return MLTFR_OK;
    if (directory == NULL)
        return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    MLTFR_TRY(scan(directory, path, NULL, 0, &most));
    MLTFR_TRY(MLTFR_NEW(*steps, most));
    MLTFR_TRY(scan(directory, path, *steps, most, count)); /* there may be more by now */
    *count = *count < most ? *count : most;
    qsort(*steps, (size_t)*count, sizeof **steps, by_step);
done:
    closedir(directory);
    return st;
}

mltfr_status mltfr_checkpoint_newest(mltfr_comm *comm, const char *run_dir,
                                     mltfr_checkpoint_use *use, void *context, char *path,
                                     size_t bytes)
{
    mltfr_status st = MLTFR_OK;
    int64_t *steps = NULL, count = 0;

    path[0] = '\0';
    MLTFR_AGREE(comm, mltfr_comm_rank(comm) == 0 ? list(run_dir, &steps, &count) : MLTFR_OK);
    mltfr_comm_bcast(comm, &count, sizeof count, 0);
    while (count-- > 0) {
        int64_t step = steps != NULL ? steps[count] : 0;
        mltfr_comm_bcast(comm, &step, sizeof step, 0);
        mltfr_checkpoint_path(run_dir, step, path, bytes);
        st = use(context, path);
        if (st != MLTFR_E_DATA && st != MLTFR_E_IO)
            break;
        mltfr_warn("%s; it is skipped", mltfr_error_text);
        path[0] = '\0';
        st = MLTFR_OK;
    }
done:
    MLTFR_FREE(steps);
    return st;
}

/* ---- removal ------------------------------------------------------------------------------- */

/* Files that go in the background; the path of one that is gone becomes empty. */
static struct {
    mltfr_background task;
    int64_t count;
    char (*path)[PATH_BYTES];
} removal;

static void remove_all(void *context)
{
    (void)context;
    for (int64_t i = 0; i < removal.count; i++)
        if (unlink(removal.path[i]) == 0)
            removal.path[i][0] = '\0';
}

void mltfr_checkpoint_prune_end(void)
{
    mltfr_background_wait(&removal.task);
    for (int64_t i = 0; i < removal.count; i++)
        if (removal.path[i][0] != '\0')
            mltfr_warn("%s: cannot be removed", removal.path[i]);
    removal.count = 0;
    MLTFR_FREE(removal.path);
}

void mltfr_checkpoint_prune(mltfr_comm *comm, const char *run_dir, int64_t keep, int64_t best_step)
{
    int64_t *steps = NULL, count = 0;

    mltfr_checkpoint_prune_end();
    if (mltfr_comm_rank(comm) != 0 || list(run_dir, &steps, &count) != MLTFR_OK)
        return;
    if (count > keep && MLTFR_NEW(removal.path, count - keep) == MLTFR_OK) {
        for (int64_t i = 0; i < count - keep; i++)
            if (steps[i] != best_step)
                mltfr_checkpoint_path(run_dir, steps[i], removal.path[removal.count++], PATH_BYTES);
        mltfr_background_start(&removal.task, remove_all, NULL);
    }
    MLTFR_FREE(steps);
}

void mltfr_checkpoint_sweep(mltfr_comm *comm, const char *run_dir)
{
    char path[PATH_BYTES];
    struct dirent *d;
    DIR *directory;

    snprintf(path, sizeof path, "%s/checkpoints", run_dir);
    directory = mltfr_comm_rank(comm) == 0 ? opendir(path) : NULL;
    while (directory != NULL && (d = readdir(directory)) != NULL) {
        const char *end = strrchr(d->d_name, '.');
        if (strncmp(d->d_name, "step-", 5) == 0 && end != NULL && strcmp(end, ".part") == 0)
            unlinkat(dirfd(directory), d->d_name, 0);
    }
    if (directory != NULL)
        closedir(directory);
}

/* A name beside `path` that nothing has yet. */
static void free_name(const char *path, char *aside, size_t bytes)
{
    snprintf(aside, bytes, "%s.aside", path);
    for (int i = 2; access(aside, F_OK) == 0; i++)
        snprintf(aside, bytes, "%s.aside%d", path, i);
}

void mltfr_checkpoint_set_aside(mltfr_comm *comm, const char *run_dir, int64_t step)
{
    int64_t *steps = NULL, count = 0;
    char path[PATH_BYTES], aside[PATH_BYTES + 24];

    if (mltfr_comm_rank(comm) != 0 || list(run_dir, &steps, &count) != MLTFR_OK)
        return;
    while (count-- > 0 && steps[count] > step) {
        mltfr_checkpoint_path(run_dir, steps[count], path, sizeof path);
        free_name(path, aside, sizeof aside);
        if (rename(path, aside) != 0)
            mltfr_warn("%s: cannot be renamed: %s", path, strerror(errno));
        else
            mltfr_warn("%s is later than where the run goes on: renamed to %s", path, aside);
    }
    MLTFR_FREE(steps);
}
