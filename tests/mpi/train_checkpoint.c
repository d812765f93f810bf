/* Checkpoints that came to harm, and the directory they are in: damage of any kind is seen, the one
 * before is used; later ones and those of other runs are not taken for this run's.
 *
 *      train_checkpoint DIR */
#include "checkpoint.h"
#include "mpi_test.h"
#include "planted_session.h"

#include <mltfr/log.h>
#include <mltfr/rng.h>
#include <mltfr/trainer.h>

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 1024, STEPS = 6, FLIPS = 60, CUTS = 10 };

static char dir[PATH / 2], data[PATH];

/* ---- harm ---------------------------------------------------------------------------------- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Copy a file, all of it or its first `size` bytes, with bit `flip` turned over (-1: none).  By
 * rank 0; the others wait. */
static void copy(mltfr_comm *comm, const char *from, const char *to, int64_t size, int64_t flip)
{
    char byte;
    FILE *in, *out;

    if (mltfr_comm_rank(comm) == 0) {
        in = fopen(from, "rb");
        out = fopen(to, "wb");
        for (int64_t i = 0; (size < 0 || i < size) && fread(&byte, 1, 1, in) == 1; i++) {
            byte = (char)(byte ^ (flip / 8 == i && flip >= 0 ? 1 << flip % 8 : 0));
            fwrite(&byte, 1, 1, out);
        }
        fclose(in);
        fclose(out);
    }
    mltfr_comm_barrier(comm);
}

/* No bit of a file is without a guard. */
static void test_flips(mltfr_session *s, const char *good, const char *bad, int64_t size)
{
    const uint64_t key = mltfr_rng_key(3, MLTFR_RNG_SYNTHETIC, 0);
    mltfr_loop_state loop;

    MUST(mltfr_checkpoint_read(s->engine, &loop, s->digest, good));
    for (int i = 0; i < FLIPS; i++) {
        const uint64_t bit = mltfr_rng_below(key, (uint64_t)i, (uint64_t)size * 8);
        copy(s->comm, good, bad, -1, (int64_t)bit);
        CHECK(mltfr_checkpoint_read(s->engine, &loop, s->digest, bad) == MLTFR_E_DATA, "bit %llu",
              (unsigned long long)bit);
    }
}

static void test_cuts(mltfr_session *s, const char *good, const char *bad, int64_t size)
{
    for (int i = 0; i < CUTS; i++) {
        copy(s->comm, good, bad, size * i / CUTS, -1);
        CHECK(mltfr_checkpoint_check(s->comm, bad) != MLTFR_OK, "cut to %d/%d", i, CUTS);
    }
    CHECK(mltfr_checkpoint_check(s->comm, data) != MLTFR_OK, "a foreign file");
    CHECK(mltfr_checkpoint_check(s->comm, dir) != MLTFR_OK, "a directory");
}

static void test_harm(mltfr_comm *comm, const mltfr_settings *set)
{
    mltfr_session s;
    mltfr_loop_state loop = {.best_ndcg = -1.};
    char good[PATH], bad[PATH];
    struct stat file;

    snprintf(good, sizeof good, "%s/good.h5", dir);
    snprintf(bad, sizeof bad, "%s/bad.h5", dir);
    MUST(mltfr_session_open(comm, set, &s));
    planted_steps(&s, STEPS, NULL);
    CHECK(mltfr_checkpoint_seconds() == 0., "a time before the first write");
    MUST(mltfr_checkpoint_write(s.engine, &loop, "a test", s.digest, good));
    double seconds = mltfr_checkpoint_seconds();

    mltfr_comm_bcast(comm, &seconds, sizeof seconds, 0);
    CHECK(seconds > 0. && seconds == mltfr_checkpoint_seconds(), "the time of the write");
    CHECK(stat(good, &file) == 0, "no file");
    test_flips(&s, good, bad, (int64_t)file.st_size);
    test_cuts(&s, good, bad, (int64_t)file.st_size);
    mltfr_session_close(&s);
}

/* ---- the directory ------------------------------------------------------------------------- */

static mltfr_status train(mltfr_comm *comm, const mltfr_settings *set, const char *resume)
{
    const mltfr_train_options options = {.resume = resume, .config = "a test"};
    const mltfr_status st = mltfr_train(comm, set, &options);

    mltfr_comm_barrier(comm);
    return st;
}

static const char *step_path(int64_t step)
{
    static char path[PATH];

    mltfr_checkpoint_path(dir, step, path, sizeof path);
    return path;
}

/* The newest is damaged: the one before is used, and the newest does not come back. */
static void test_fallback(mltfr_comm *comm, mltfr_settings set)
{
    char path[PATH], whole[PATH];

    set.run_stop_after = "2";
    CHECK(train(comm, &set, "no") == MLTFR_STOPPED, "%s", mltfr_error_text);
    CHECK(train(comm, &set, "auto") == MLTFR_STOPPED, "%s", mltfr_error_text);
    snprintf(whole, sizeof whole, "%s", step_path(4));
    copy(comm, whole, step_path(5), 1000, -1);
    copy(comm, whole, step_path(100000000), -1, -1); /* later, though of lesser name than 9 ... */
    copy(comm, whole, step_path(99999999), 1000, -1);
    MUST(mltfr_checkpoint_newest(comm, dir, path, sizeof path));
    CHECK(strcmp(path, step_path(100000000)) == 0, "%s", path);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0)
        unlink(step_path(100000000));
    mltfr_comm_barrier(comm);
    CHECK(train(comm, &set, "auto") == MLTFR_OK, "%s", mltfr_error_text);
    CHECK(exists(step_path(STEPS)) && !exists(step_path(5)) && !exists(step_path(99999999)),
          "what is there is not this run's");
}

/* From an older one of its own, and from one of another directory. */
static void test_resume_file(mltfr_comm *comm, mltfr_settings set)
{
    char path[PATH], result[PATH], other[PATH / 2];
    const char *own = set.run_dir;

    set.run_stop_after = "1";
    set.train_max_steps = STEPS + 4;
    snprintf(path, sizeof path, "%s", step_path(4));
    snprintf(result, sizeof result, "%s/result.json", own);
    CHECK(exists(path) && exists(result), "the run before has not ended");
    mltfr_comm_barrier(comm);
    CHECK(train(comm, &set, path) == MLTFR_STOPPED, "%s", mltfr_error_text);
    CHECK(exists(step_path(5)) && !exists(step_path(6)) && !exists(result), "not set aside");
    snprintf(other, sizeof other, "%.400s.other", own);
    if (mltfr_comm_rank(comm) == 0)
        mkdir(other, 0777);
    mltfr_comm_barrier(comm);
    set.run_dir = other;
    set.eval_every = 0;
    set.run_stop_after = "";
    CHECK(train(comm, &set, path) == MLTFR_OK, "%s", mltfr_error_text);
}

static void test_stop_file(mltfr_comm *comm, const mltfr_settings *set)
{
    char path[PATH];

    snprintf(path, sizeof path, "%s/stop", dir);
    if (mltfr_comm_rank(comm) == 0)
        fclose(fopen(path, "w"));
    mltfr_comm_barrier(comm);
    CHECK(train(comm, set, "no") == MLTFR_STOPPED, "%s", mltfr_error_text);
    CHECK(exists(step_path(0)) && !exists(path), "no checkpoint, or the request is still there");
    mltfr_comm_barrier(comm);
}

/* The last rank alone is told; the run goes on from step 0. */
static void test_signal(mltfr_comm *comm, const mltfr_settings *set)
{
    mltfr_train_listen();
    if (mltfr_comm_rank(comm) == mltfr_comm_size(comm) - 1)
        raise(SIGUSR1);
    CHECK(train(comm, set, "no") == MLTFR_STOPPED && strcmp(mltfr_error_text, "SIGUSR1") == 0, "%s",
          mltfr_error_text);
    CHECK(train(comm, set, "auto") == MLTFR_OK && exists(step_path(STEPS)), "%s", mltfr_error_text);
    mltfr_comm_barrier(comm);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;
    planted p = planted_defaults();

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    if (argc < 2)
        mltfr_panic("train_checkpoint DIR");
    mltfr_log_setup(1, true); /* silent: warnings are what is asked for here */
    snprintf(dir, sizeof dir, "%s", argv[1]);
    snprintf(data, sizeof data, "%s/data.h5", dir);
    if (mltfr_comm_rank(comm) == 0)
        mkdir(dir, 0777);
    mltfr_comm_barrier(comm);
    planted_write(comm, data, &p);

    mltfr_settings set = planted_settings(data);

    set.run_dir = dir;
    set.train_max_steps = set.train_epochs = STEPS;
    set.checkpoint_every = 2;
    set.checkpoint_keep = 9;
    test_harm(comm, &set);
    test_stop_file(comm, &set);
    test_signal(comm, &set);
    test_fallback(comm, set);
    test_resume_file(comm, set);
    return mpi_test_end(&comm);
}
