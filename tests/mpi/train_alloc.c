/* Allocations fail one at a time, on one rank at a time, anywhere in a short run: every rank ends
 * with the same status, none hangs (the timeout says so), nothing stays allocated.
 *
 *      train_alloc DIR [TRIALS]        so many of them, spread over the run
 *
 * The linker sends the calls of the libraries here (--wrap). */
#include "mpi_test.h"
#include "planted.h"

#include <mltfr/log.h>
#include <mltfr/rng.h>
#include <mltfr/trainer.h>

#include <stdlib.h>
#include <sys/stat.h>

enum { PATH = 1024, TRIALS = 30, STEPS = 6 };

mltfr_status __real_mltfr_alloc(void *pointer, size_t count, size_t size);
mltfr_status __wrap_mltfr_alloc(void *pointer, size_t count, size_t size);
mltfr_status __real_mltfr_room_take(mltfr_room *room, void *out, size_t count, size_t size);
mltfr_status __wrap_mltfr_room_take(mltfr_room *room, void *out, size_t count, size_t size);

static int64_t calls, failing; /* failing: number of the call that fails; 0: none */

static bool fails(void)
{
    return ++calls == failing;
}

mltfr_status __wrap_mltfr_alloc(void *pointer, size_t count, size_t size)
{
    if (!fails())
        return __real_mltfr_alloc(pointer, count, size);
    *(void **)pointer = NULL;
    return mltfr_fail(MLTFR_E_NOMEM, "planted: out of memory");
}

mltfr_status __wrap_mltfr_room_take(mltfr_room *room, void *out, size_t count, size_t size)
{
    return fails() ? mltfr_fail(MLTFR_E_NOMEM, "planted: out of memory")
                   : __real_mltfr_room_take(room, out, count, size);
}

/* A run with every part of training in it; how many allocations this rank asked for. */
static mltfr_status run(mltfr_comm *comm, const mltfr_settings *set, int64_t fail_at)
{
    const mltfr_train_options options = {.resume = "no", .config = "a test"};

    calls = 0;
    failing = fail_at;
    const mltfr_status st = mltfr_train(comm, set, &options);

    failing = 0;
    return st;
}

static void trial(mltfr_comm *comm, const mltfr_settings *set, int64_t number, int64_t most)
{
    const uint64_t key = mltfr_rng_key(5, MLTFR_RNG_SYNTHETIC, (uint64_t)number);
    const bool mine = number % mltfr_comm_size(comm) == mltfr_comm_rank(comm);
    const int64_t at = 1 + (int64_t)mltfr_rng_below(key, 0, (uint64_t)most);
    const size_t before = mltfr_mem_now();
    const mltfr_status st = run(comm, set, mine ? at : 0);
    int64_t worst = st, best = -(int64_t)st;

    CHECK(mltfr_mem_now() == before, "trial %d: %zu bytes leaked", (int)number,
          mltfr_mem_now() - before);
    mltfr_comm_max_i64(comm, &worst, 1);
    mltfr_comm_max_i64(comm, &best, 1);
    CHECK(worst == -best, "trial %d, call %d: status %d here", (int)number, (int)at, (int)st);
    CHECK(st == MLTFR_OK || st == MLTFR_E_NOMEM, "trial %d: status %d: %s", (int)number, (int)st,
          mltfr_error_text);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;
    planted p = planted_defaults();
    char path[PATH];

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    if (argc < 2)
        mltfr_panic("train_alloc DIR [TRIALS]");
    mltfr_log_setup(mltfr_comm_rank(comm) == 0 ? 1 : mltfr_comm_rank(comm), true); /* silent */
    if (mltfr_comm_rank(comm) == 0)
        mkdir(argv[1], 0777);
    mltfr_comm_barrier(comm);
    snprintf(path, sizeof path, "%s/data.h5", argv[1]);
    p.synthetic.llms = 3; /* two ranks share the second: its group and another meet on a rank */
    planted_write(comm, path, &p);

    mltfr_settings set = planted_settings(path);

    set.run_dir = argv[1];
    set.train_max_steps = set.train_epochs = STEPS;
    set.fisher_start = set.fisher_every = 1;
    set.item_inject = MLTFR_ITEM_INJECT_STATIC;
    set.filter_detach_query = false;
    MUST(run(comm, &set, 0));
    const int64_t most = calls, trials = argc > 2 ? atoll(argv[2]) : TRIALS;

    for (int64_t i = 0; i < trials; i++)
        trial(comm, &set, i, most);
    return mpi_test_end(&comm);
}
