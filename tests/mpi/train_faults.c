/* Each call of a kind fails in turn, on one rank at a time, anywhere in a short run that goes on
 * from a checkpoint: every rank ends with the same status, none hangs (the timeout says so), the
 * message names the rank and the file, nothing stays allocated or open, and the checkpoint from
 * before is what it was.
 *
 *      train_faults DIR POINT [TRIALS]        POINT of tests/support/fault.h; so many a rank
 *
 * Without a fault all trials are done. */
#include "checkpoint.h"
#include "fault.h"
#include "mpi_test.h"
#include "planted.h"

#include <mltfr/log.h>
#include <mltfr/trainer.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 1024, TRIALS = 4, BEFORE = 2, STEPS = 6 };

static char dir[PATH / 4], run_dir[PATH / 2], kept[PATH], first[PATH];

/* ---- what is there ------------------------------------------------------------------------- */

static int64_t entries(const char *path)
{
    DIR *d = opendir(path);
    int64_t n = 0;

    if (d == NULL)
        return 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static bool same_bytes(const char *a, const char *b)
{
    FILE *x = fopen(a, "rb"), *y = fopen(b, "rb");
    int cx = 0, cy = 0;

    while (x != NULL && y != NULL && cx == cy && cx != EOF) {
        cx = fgetc(x);
        cy = fgetc(y);
    }
    if (x != NULL)
        fclose(x);
    if (y != NULL)
        fclose(y);
    return x != NULL && y != NULL && cx == cy;
}

/* The checkpoint from before is there, at worst set aside as one that could not be read; whatever
 * has a checkpoint's name is one. */
static void check_directory(mltfr_comm *comm, const char *trial)
{
    char path[PATH];

    snprintf(path, sizeof path, "%.1000s.aside", first);
    if (mltfr_comm_rank(comm) == 0)
        CHECK(same_bytes(kept, first) || same_bytes(kept, path),
              "%s: the checkpoint from before is another", trial);
    for (int64_t step = BEFORE; step <= STEPS; step++) {
        mltfr_checkpoint_path(run_dir, step, path, sizeof path);
        int64_t there = access(path, F_OK) == 0;
        mltfr_comm_max_i64(comm, &there, 1);
        if (there != 0)
            CHECK(mltfr_checkpoint_check(comm, path) == MLTFR_OK, "%s: %s", trial,
                  mltfr_error_text);
    }
}

/* Back to the one checkpoint, by rank 0. */
static void restore(mltfr_comm *comm)
{
    char command[4 * PATH];

    mltfr_comm_barrier(comm);
    snprintf(command, sizeof command, "rm -rf %s && mkdir -p %s/checkpoints && cp %s %s", run_dir,
             run_dir, kept, first);
    if (mltfr_comm_rank(comm) == 0 && system(command) != 0)
        mltfr_panic("%s", command);
    mltfr_comm_barrier(comm);
}

/* ---- trials -------------------------------------------------------------------------------- */

static mltfr_status train(mltfr_comm *comm, const mltfr_settings *set, const char *resume)
{
    const mltfr_train_options options = {.resume = resume, .config = "a test"};

    return mltfr_train(comm, set, &options);
}

static void check_status(mltfr_comm *comm, mltfr_status st, const char *point, int rank,
                         const char *trial)
{
    const mltfr_status bad = strcmp(point, "alloc") == 0 ? MLTFR_E_NOMEM : MLTFR_E_IO;
    int64_t worst = st, best = -(int64_t)st;
    char who[16];

    snprintf(who, sizeof who, "rank %d", rank);
    mltfr_comm_max_i64(comm, &worst, 1);
    mltfr_comm_max_i64(comm, &best, 1);
    CHECK(worst == -best, "%s: status %d here", trial, (int)st);
    CHECK(st == MLTFR_OK || st == bad, "%s: status %d: %s", trial, (int)st, mltfr_error_text);
    if (st == MLTFR_OK)
        return;
    CHECK(mltfr_comm_size(comm) == 1 || strstr(mltfr_error_text, who) != NULL, "%s: %s", trial,
          mltfr_error_text);
    CHECK(bad == MLTFR_E_NOMEM || strstr(mltfr_error_text, dir) != NULL, "%s: %s", trial,
          mltfr_error_text);
}

static void trial(mltfr_comm *comm, const mltfr_settings *set, const char *point, int64_t count,
                  int rank)
{
    const int64_t files = entries("/proc/self/fd");
    const size_t before = mltfr_mem_now();
    char name[64];

    snprintf(name, sizeof name, "%s:%d@%d", point, (int)count, rank);
    fault_arm(point, count, rank);
    const mltfr_status st = train(comm, set, "auto");

    fault_arm("", 0, 0);
    check_status(comm, st, point, rank, name);
    CHECK(mltfr_mem_now() == before, "%s: %zu bytes leaked", name, mltfr_mem_now() - before);
    if (st == MLTFR_OK || strchr("aofrc", point[0]) != NULL) /* HDF5 keeps what it cannot write */
        CHECK(entries("/proc/self/fd") == files, "%s: a file stays open", name);
    check_directory(comm, name);
    restore(comm);
}

/* All passes of a rank through the point, or so many of them, evenly spread. */
static void trials(mltfr_comm *comm, const mltfr_settings *set, const char *point, int64_t most)
{
    fault_arm(point, 0, -1);
    MUST(train(comm, set, "auto"));

    int64_t passes[mltfr_comm_size(comm)], mine = fault_passed();

    fault_arm("", 0, 0);
    restore(comm);
    mltfr_comm_allgather(comm, &mine, sizeof mine, passes);
    mltfr_comm_sum_i64(comm, &mine, 1);
    CHECK(mine > 0, "%s: nothing passes there", point);
    for (int rank = 0; rank < mltfr_comm_size(comm); rank++) {
        const int64_t n = passes[rank] < most ? passes[rank] : most;
        for (int64_t i = 0; i < n; i++)
            trial(comm, set, point, 1 + i * passes[rank] / n, rank);
        if (mltfr_comm_rank(comm) == 0)
            printf("%s on rank %d: %d of %d passes\n", point, rank, (int)n, (int)passes[rank]);
    }
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;
    planted p = planted_defaults();
    char path[PATH];

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    if (argc < 3)
        mltfr_panic("train_faults DIR POINT [TRIALS]");
    mltfr_log_setup(1, true); /* silent: warnings are what is asked for here */
    snprintf(dir, sizeof dir, "%s", argv[1]);
    snprintf(run_dir, sizeof run_dir, "%s/run", dir);
    snprintf(kept, sizeof kept, "%s/kept.h5", dir);
    snprintf(path, sizeof path, "%s/data.h5", dir);
    mltfr_checkpoint_path(run_dir, BEFORE, first, sizeof first);
    if (mltfr_comm_rank(comm) == 0) {
        mkdir(dir, 0777);
        mkdir(run_dir, 0777);
    }
    mltfr_comm_barrier(comm);
    p.synthetic.llms = 3; /* two ranks share the second: its group and another meet on a rank */
    planted_write(comm, path, &p);

    mltfr_settings set = planted_settings(path);

    set.run_dir = run_dir;
    set.checkpoint_keep = STEPS;
    set.checkpoint_every = 2;
    set.train_max_steps = set.train_epochs = STEPS;
    set.fisher_start = set.fisher_every = 1;
    set.item_inject = MLTFR_ITEM_INJECT_STATIC;
    set.filter_detach_query = false;
    set.run_stop_after = "2";
    if (train(comm, &set, "no") != MLTFR_STOPPED)
        mltfr_panic("%s", mltfr_error_text);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0 && rename(first, kept) != 0)
        mltfr_panic("%s: no checkpoint", first);
    restore(comm);
    set.run_stop_after = "";
    trials(comm, &set, argv[2], argc > 3 ? atoll(argv[3]) : TRIALS);
    return mpi_test_end(&comm);
}
