#include "run_files.h"

#include <mltfr/file.h>
#include <mltfr/log.h>
#include <mltfr/trainer.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* ---- metrics.jsonl ------------------------------------------------------------------------- */

static int64_t step_of(const char *line)
{
    const char *at = strstr(line, "\"step\":");

    return at == NULL ? 0 : strtoll(at + 7, NULL, 10);
}

/* Lines of what happened up to `step`; the test comes after all steps, whatever its line says. */
static bool stays(const char *line, int64_t step)
{
    return step_of(line) <= step && strchr(line, '\n') != NULL &&
           strstr(line, "\"kind\":\"test\"") == NULL;
}

/* Copy those lines into a new file that takes the old one's place. */
static mltfr_status cut_back(const char *path, int64_t step)
{
    mltfr_status st = MLTFR_OK;
    char part[PATH_BYTES + 8], *line = NULL;
    size_t room = 0;
    FILE *from = fopen(path, "r"), *to = NULL;

    if (from == NULL)
        return MLTFR_OK;
    snprintf(part, sizeof part, "%s.part", path);
    to = fopen(part, "w");
    while (to != NULL && getline(&line, &room, from) >= 0)
        if (stays(line, step) && fputs(line, to) < 0)
            break;
    const bool failed = to == NULL || ferror(to) || ferror(from);

    if ((to != NULL && fclose(to) != 0) || failed || rename(part, path) != 0)
        st = mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    fclose(from);
    free(line);
    return st;
}

static mltfr_status write_config(const mltfr_run_files *f, const char *config)
{
    char path[PATH_BYTES], part[PATH_BYTES];
    FILE *to;

    snprintf(path, sizeof path, "%s/config.yaml", f->dir);
    snprintf(part, sizeof part, "%s/config.yaml.part", f->dir);
    to = fopen(part, "w");
    const bool failed = to == NULL || fputs(config, to) < 0;

    if ((to != NULL && fclose(to) != 0) || failed || rename(part, path) != 0)
        return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    return MLTFR_OK;
}

static mltfr_status open_files(mltfr_run_files *f, const char *config, int64_t step)
{
    char path[PATH_BYTES];

    if (write_config(f, config) != MLTFR_OK)
        return MLTFR_E_IO;
    snprintf(path, sizeof path, "%s/checkpoints", f->dir);
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    snprintf(path, sizeof path, "%s/metrics.jsonl", f->dir);
    if (step == 0)
        unlink(path);
    else if (cut_back(path, step) != MLTFR_OK)
        return MLTFR_E_IO;
    f->metrics = fopen(path, "a");
    if (f->metrics == NULL)
        return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    return MLTFR_OK;
}

mltfr_status mltfr_run_files_open(mltfr_comm *comm, const char *dir, const char *config,
                                  int64_t step, mltfr_run_files *out)
{
    *out = (mltfr_run_files){.comm = comm, .dir = dir};
    return mltfr_comm_agree(comm,
                            mltfr_comm_rank(comm) == 0 ? open_files(out, config, step) : MLTFR_OK);
}

void mltfr_run_files_close(mltfr_run_files *files)
{
    if (files->metrics != NULL)
        fclose(files->metrics);
    files->metrics = NULL;
}

void mltfr_run_files_line(mltfr_run_files *files, const char *format, ...)
{
    va_list ap;

    if (files->metrics == NULL)
        return;
    va_start(ap, format);
    vfprintf(files->metrics, format, ap);
    va_end(ap);
    fputc('\n', files->metrics);
    if (fflush(files->metrics) == 0 || files->failed)
        return;
    files->failed = true;
    mltfr_warn("%s/metrics.jsonl: %s", files->dir, strerror(errno));
}

void mltfr_run_files_say(const char *split, const mltfr_metrics *metrics)
{
    mltfr_say("%s  ndcg@10=%.4f hr@10=%.4f users=%" PRId64, split, metrics->ndcg[1], metrics->hr[1],
              metrics->users);
}

/* ---- result.json --------------------------------------------------------------------------- */

static mltfr_status write_result(const mltfr_run_files *files, const mltfr_result *r)
{
    char path[PATH_BYTES], part[PATH_BYTES], best[PATH_BYTES], valid[512], test[512];
    FILE *to;

    snprintf(path, sizeof path, "%s/result.json", files->dir);
    snprintf(part, sizeof part, "%s/result.json.part", files->dir);
    mltfr_checkpoint_path(files->dir, r->loop->best_step, best, sizeof best);
    mltfr_metrics_json(r->valid, valid, sizeof valid);
    mltfr_metrics_json(r->test, test, sizeof test);
    to = fopen(part, "w");
    if (to != NULL)
        fprintf(to,
                "{\"best_checkpoint\":\"checkpoints/%s\",\"best_epoch\":%" PRId64
                ",\"best_step\":%" PRId64 ",\n \"valid\":{%s},\n \"test\":{%s},\n"
                " \"seconds\":%.3f,\"ranks\":%d}\n",
                strrchr(best, '/') + 1, r->loop->best_epoch, r->loop->best_step, valid, test,
                r->seconds, r->ranks);
    const bool failed = to == NULL || ferror(to) || fflush(to) != 0 || fsync(fileno(to)) != 0;

    if ((to != NULL && fclose(to) != 0) || failed || rename(part, path) != 0)
        return mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    return MLTFR_OK;
}

mltfr_status mltfr_run_files_result(mltfr_run_files *files, const mltfr_result *result)
{
    return mltfr_comm_agree(
        files->comm, mltfr_comm_rank(files->comm) == 0 ? write_result(files, result) : MLTFR_OK);
}

/* The number behind "name": in the part of the text that begins with "section":. */
static double number(const char *text, const char *section, const char *name)
{
    char key[64];
    const char *at = strstr(text, section);

    snprintf(key, sizeof key, "\"%s\":", name);
    at = at == NULL ? NULL : strstr(at, key);
    return at == NULL ? 0. : strtod(at + strlen(key), NULL);
}

/* False where there is none, or not all of it: `ranks` is the last. */
static bool read_result(const char *dir, mltfr_metrics *test, char *best, size_t bytes)
{
    char path[PATH_BYTES], text[4096] = "";
    FILE *from;

    snprintf(path, sizeof path, "%s/result.json", dir);
    from = fopen(path, "r");
    if (from == NULL)
        return false;
    const size_t n = fread(text, 1, sizeof text - 1, from);

    fclose(from);
    text[n] = '\0';
    if (strstr(text, "\"ranks\":") == NULL)
        return false;
    *test = (mltfr_metrics){.users = (int64_t)number(text, "\"test\"", "users"),
                            .hr[1] = number(text, "\"test\"", "hr@10"),
                            .ndcg[1] = number(text, "\"test\"", "ndcg@10")};
    mltfr_checkpoint_path(dir, (int64_t)number(text, "{", "best_step"), best, bytes);
    return true;
}

bool mltfr_run_files_ended(mltfr_comm *comm, const char *dir, mltfr_metrics *test, char *best,
                           size_t bytes)
{
    int64_t ended = 0;

    memset(best, 0, bytes);
    if (mltfr_comm_rank(comm) == 0)
        ended = read_result(dir, test, best, bytes);
    mltfr_comm_bcast(comm, &ended, sizeof ended, 0);
    mltfr_comm_bcast(comm, test, sizeof *test, 0);
    mltfr_comm_bcast(comm, best, (int64_t)bytes, 0);
    return ended != 0;
}

static mltfr_status check(void *comm, const char *path)
{
    return mltfr_checkpoint_check(comm, path);
}

/* The best checkpoint that the one in `path` knows of, if it is whole; else path stays. */
static mltfr_status take_best(mltfr_comm *comm, const char *run_dir, char *path, size_t bytes)
{
    mltfr_status st = MLTFR_OK;
    mltfr_file *file = NULL;
    int64_t step = 0;
    char best[PATH_BYTES];

    MLTFR_TRY(mltfr_file_open(comm, path, &file));
    MLTFR_AGREE(comm, mltfr_file_get_i64(file, "/", "best_step", &step));
    mltfr_checkpoint_path(run_dir, step, best, sizeof best);
    if (step > 0 && strcmp(best, path) != 0 && mltfr_checkpoint_check(comm, best) == MLTFR_OK)
        snprintf(path, bytes, "%s", best);
done:
    mltfr_file_destroy(&file);
    return st;
}

mltfr_status mltfr_run_checkpoint(mltfr_comm *comm, const char *run_dir, char *path, size_t bytes)
{
    mltfr_metrics test = {0};
    mltfr_status st = MLTFR_OK;

    if (mltfr_run_files_ended(comm, run_dir, &test, path, bytes))
        return MLTFR_OK;
    MLTFR_TRY(mltfr_checkpoint_newest(comm, run_dir, check, comm, path, bytes));
    if (path[0] == '\0')
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s/checkpoints: there is no checkpoint: name one by --checkpoint FILE, or the "
                   "run by --set run.dir=DIR",
                   run_dir);
    MLTFR_TRY(take_best(comm, run_dir, path, bytes));
done:
    return st;
}
