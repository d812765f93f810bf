/* A checkpoint exists whole or not at all.  Rank 0 alone makes PATH.part with all its arrays and
 * numbers and takes the disk space for it: a full disk is an error here, inside a collective write
 * it would be a hang.  Then all ranks fill the arrays in, while they wait or in the background;
 * sealed, it gets its name. */
#include "checkpoint_impl.h"
#include "fingerprint.h"

#include <mltfr/log.h>
#include <mltfr/versions.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static mltfr_status write_header(mltfr_file *f, const char *config, uint64_t digest)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_file_set_text(f, "/", "format", "mltfr-checkpoint"));
    MLTFR_TRY(mltfr_file_set_i64(f, "/", "version", FORMAT_VERSION));
    MLTFR_TRY(mltfr_file_set_text(f, "/", "program", MLTFR_VERSION));
    MLTFR_TRY(mltfr_file_set_text(f, "/", "kernel", mltfr_blas_kernel()));
    MLTFR_TRY(mltfr_file_set_i64(f, "/", "fingerprint", (int64_t)mltfr_fingerprint()));
    MLTFR_TRY(mltfr_file_set_text(f, "/", "config", config));
    MLTFR_TRY(mltfr_file_set_i64(f, "/", "input_digest", (int64_t)digest));
done:
    return st;
}

/* Make sure that the disk has room for every byte of the file, and for `least`. */
static mltfr_status take_space(const char *path, int64_t least)
{
    struct stat file;
    const int fd = open(path, O_RDWR | O_CREAT, 0666);
    int code = fd < 0 || fstat(fd, &file) != 0 ? errno : 0;

    if (code == 0) {
        do /* a signal ends it on some file systems */
            code = posix_fallocate(fd, 0, file.st_size > least ? file.st_size : least);
        while (code == EINTR);
    }
    if (fd >= 0 && close(fd) != 0 && code == 0)
        code = errno;
    return code == 0 ? MLTFR_OK : mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(code));
}

/* Everything but the content of the arrays, by the one rank of `self`. */
static mltfr_status write_skeleton(mltfr_comm *self, mltfr_engine *e, const mltfr_loop_state *loop,
                                   const char *config, uint64_t digest, const char *part)
{
    mltfr_status st = MLTFR_OK;
    walk w = {.e = e, .mode = COUNT};
    mltfr_loop_state copy = *loop;

    /* First of all, as HDF5 does not get over a full disk well; what a killed run left goes. */
    MLTFR_TRY(mltfr_walk_arrays(&w));
    unlink(part);
    MLTFR_TRY(take_space(part, w.bytes));
    w.mode = RESERVE;
    MLTFR_TRY(mltfr_file_create(self, part, &w.file));
    MLTFR_TRY(mltfr_walk_arrays(&w));
    MLTFR_TRY(mltfr_walk_numbers(&w, &copy));
    MLTFR_TRY(write_header(w.file, config, digest));
    if (e->item_ids != NULL)
        MLTFR_TRY(mltfr_file_write_strings(w.file, "items", e->spec.items, e->item_ids));
    if (e->K > 0 && e->llm_names[0] != NULL)
        MLTFR_TRY(mltfr_file_write_strings(w.file, "llms", e->K, e->llm_names));
    MLTFR_TRY(mltfr_file_close(&w.file));
    MLTFR_TRY(take_space(part, 1));
done:
    mltfr_file_destroy(&w.file);
    return st;
}

/* The file is on the disk; its name shall be there too before we go on. */
static mltfr_status publish(const char *part, const char *path)
{
    char directory[PATH_BYTES];
    int fd, code = rename(part, path) == 0 ? 0 : errno;

    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');

    snprintf(slash != NULL ? slash : directory, 2, slash == NULL ? "." : "");
    fd = code == 0 ? open(directory, O_RDONLY) : -1;
    if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL) /* there are file systems without that */
        code = errno;
    if (fd >= 0)
        close(fd);
    return code == 0 ? MLTFR_OK : mltfr_fail(MLTFR_E_IO, "%s: %s", path, strerror(code));
}

static double slowest; /* seconds of a write, over all ranks */

double mltfr_checkpoint_seconds(void)
{
    return slowest;
}

static void note_seconds(mltfr_comm *comm, double seconds)
{
    mltfr_comm_max_f64(comm, &seconds, 1);
    slowest = seconds > slowest ? seconds : slowest;
}

static void part_of(const mltfr_saving *s, char part[PATH_BYTES + 8])
{
    snprintf(part, PATH_BYTES + 8, "%s.part", s->path);
}

/* Fill the arrays of the part, now or (copy) in the background. */
static mltfr_status fill(mltfr_saving *s, mltfr_engine *e, const char *part, mltfr_room *copy)
{
    mltfr_status st = MLTFR_OK;
    walk w = {.e = e, .mode = FILL};

    MLTFR_TRY(mltfr_file_append_later(s->comm, part, &w.file));
    MLTFR_TRY(mltfr_walk_arrays(&w));
    MLTFR_TRY(mltfr_file_start(w.file, copy));
    s->file = w.file;
    w.file = NULL;
done:
    mltfr_file_destroy(&w.file);
    return st;
}

mltfr_status mltfr_saving_begin(mltfr_saving *s, mltfr_engine *e, const mltfr_loop_state *loop,
                                const mltfr_saving_options *o)
{
    mltfr_status st = MLTFR_OK;
    mltfr_comm *self = NULL;
    char part[PATH_BYTES + 8];

    s->comm = e->comm;
    s->begin = mltfr_seconds();
    snprintf(s->path, sizeof s->path, "%s", o->path);
    part_of(s, part);
    MLTFR_TRY(mltfr_comm_group(e->comm, 0, 0, &self));
    MLTFR_AGREE(e->comm, self == NULL ? MLTFR_OK
                                      : write_skeleton(self, e, loop, o->config, o->digest, part));
    st = fill(s, e, part, o->copy);
    if (st == MLTFR_E_NOMEM && o->copy != NULL) {
        mltfr_warn("checkpoint.async: %s: training waits for this checkpoint", mltfr_error_text);
        st = fill(s, e, part, NULL);
    }
done:
    if (st != MLTFR_OK)
        mltfr_saving_drop(s);
    mltfr_comm_destroy(&self);
    return st;
}

mltfr_status mltfr_saving_end(mltfr_saving *s)
{
    mltfr_status st = MLTFR_OK;
    char part[PATH_BYTES + 8];

    part_of(s, part);
    MLTFR_TRY(mltfr_file_seal(&s->file));
    MLTFR_AGREE(s->comm, mltfr_comm_rank(s->comm) == 0 ? publish(part, s->path) : MLTFR_OK);
    note_seconds(s->comm, mltfr_seconds() - s->begin);
done:
    if (st != MLTFR_OK)
        mltfr_saving_drop(s);
    return st;
}

void mltfr_saving_drop(mltfr_saving *s)
{
    char part[PATH_BYTES + 8];

    part_of(s, part);
    mltfr_file_destroy(&s->file);
    if (mltfr_comm_rank(s->comm) == 0)
        unlink(part);
}

mltfr_status mltfr_checkpoint_write(mltfr_engine *e, const mltfr_loop_state *loop,
                                    const char *config, uint64_t digest, const char *path)
{
    const mltfr_saving_options options = {.path = path, .config = config, .digest = digest};
    mltfr_status st = MLTFR_OK;
    mltfr_saving s = {0};

    MLTFR_TRY(mltfr_saving_begin(&s, e, loop, &options));
    MLTFR_TRY(mltfr_saving_end(&s));
done:
    return st;
}
