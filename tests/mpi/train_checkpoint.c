/* The directory of checkpoints: where the newest is damaged the one before is used; later ones and
 * those of other runs are not taken for this run's; many of them leave nothing behind.
 *
 *      train_checkpoint DIR */
#include "checkpoint.h"
#include "mpi_test.h"
#include "planted_session.h"

#include <mltfr/log.h>
#include <mltfr/trainer.h>

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 1024, STEPS = 6 };

static char dir[PATH / 2], data[PATH];

/* ---- files --------------------------------------------------------------------------------- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Copy a file, all of it or its first `size` bytes.  By rank 0; the others wait. */
static void copy(mltfr_comm *comm, const char *from, const char *to, int64_t size)
{
    char byte;
    FILE *in, *out;

    if (mltfr_comm_rank(comm) == 0) {
        in = fopen(from, "rb");
        out = fopen(to, "wb");
        for (int64_t i = 0; (size < 0 || i < size) && fread(&byte, 1, 1, in) == 1; i++)
            fwrite(&byte, 1, 1, out);
        fclose(in);
        fclose(out);
    }
    mltfr_comm_barrier(comm);
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

static mltfr_status use(void *comm, const char *path)
{
    return mltfr_checkpoint_check(comm, path);
}

/* The newest is damaged: the one before is used, and the newest does not come back. */
static void test_fallback(mltfr_comm *comm, mltfr_settings set)
{
    char path[PATH], whole[PATH];

    set.run_stop_after = "2";
    CHECK(train(comm, &set, "no") == MLTFR_STOPPED, "%s", mltfr_error_text);
    CHECK(train(comm, &set, "auto") == MLTFR_STOPPED, "%s", mltfr_error_text);
    snprintf(whole, sizeof whole, "%s", step_path(4));
    copy(comm, whole, step_path(5), 1000);
    copy(comm, whole, step_path(100000000), -1); /* later, though of lesser name than 9 ... */
    copy(comm, whole, step_path(99999999), 1000);
    MUST(mltfr_checkpoint_newest(comm, dir, use, comm, path, sizeof path));
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

/* ---- many ---------------------------------------------------------------------------------- */

static int open_files(void)
{
    int n = 0;
    DIR *all = opendir("/proc/self/fd");

    for (; readdir(all) != NULL; n++) {
    }
    closedir(all);
    return n;
}

static long resident_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *from = fopen("/proc/self/status", "r");

    while (fgets(line, sizeof line, from) != NULL)
        sscanf(line, "VmRSS: %ld", &kib);
    fclose(from);
    return kib;
}

/* One a step, half of them in the background: neither files nor memory grow, and only the newest
 * and the best stay. */
static void test_many(mltfr_comm *comm, mltfr_settings set)
{
#ifdef __SANITIZE_ADDRESS__
    const int64_t many = 20;
#else
    const int64_t many = mltfr_comm_size(comm) == 1 ? 300 : 50;
#endif
    const mltfr_loop_state loop = {.best_step = 3};
    mltfr_session s;
    int files = 0;
    long kib = 0;

    set.checkpoint_keep = 2;
    mltfr_checkpoint_prune(comm, dir, 0, -1); /* of a test that was ended */
    mltfr_checkpoint_prune_end();
    MUST(mltfr_session_open(comm, &set, &s));
    mltfr_keeper k = {.comm = comm, .set = &set, .config = "a test", .digest = s.digest};
    int64_t *step = &s.engine->at.step;

    for (*step = 1; *step <= many; ++*step) {
        set.checkpoint_async = *step % 2;
        MUST(mltfr_keeper_save(&k, s.engine, &loop));
        MUST(mltfr_keeper_look(&k));
        files = *step == many / 2 ? open_files() : files;
        kib = *step == many / 2 ? resident_kib() : kib;
    }
    MUST(mltfr_keeper_wait(&k));
    CHECK(open_files() <= files, "%d open files, %d before", open_files(), files);
    CHECK(many < 50 || resident_kib() < kib + 2048, "%ld KiB, %ld before", resident_kib(), kib);
    CHECK(k.count == many, "%d checkpoints", (int)k.count);
    mltfr_keeper_end(&k);
    mltfr_comm_barrier(comm);
    CHECK(exists(step_path(many)) && exists(step_path(many - 1)) && exists(step_path(3)) &&
              !exists(step_path(many - 2)) && !exists(step_path(1)),
          "other files than the newest two and the best");
    mltfr_session_close(&s);
    mltfr_comm_barrier(comm);
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
    test_stop_file(comm, &set);
    test_signal(comm, &set);
    test_fallback(comm, set);
    test_resume_file(comm, set);
    test_many(comm, set);
    return mpi_test_end(&comm);
}
