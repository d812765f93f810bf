/* Steps allocate nothing once they have gone through an epoch's batches: neither plain ones, nor
 * those that sample Fisher information and solve for the consensus, with every loss and injection,
 * the query detached or not. */
#include "planted_session.h"

#include <mltfr/mem.h>

#include <stdio.h>
#include <unistd.h>

enum { PATH = 64 };

static char path[PATH];

/* Blocks taken on any rank by the steps of one epoch, going through the batches of epoch 1 again;
 * the consensus comes where it is due. */
static int64_t count_epoch(mltfr_session *s, mltfr_batch **batch)
{
    int64_t n = -mltfr_mem_count();

    for (int64_t i = 0; i < mltfr_session_steps(s); i++) {
        MUST(mltfr_session_batch(s, 1, i, batch));
        MUST(mltfr_schedule_step(s, *batch));
    }
    n += mltfr_mem_count();
    mltfr_comm_max_i64(s->comm, &n, 1);
    return n;
}

static void test(mltfr_comm *comm, const char *name, const mltfr_settings *set)
{
    mltfr_session s;
    mltfr_batch *batch = NULL;
    int64_t n = 1;

    MUST(mltfr_session_open(comm, set, &s));
    MUST(mltfr_schedule_epoch(&s, set->train_warmup_epochs + 1));
    CHECK(mltfr_experts_on(s.engine) && count_epoch(&s, &batch) > 0, "%s: nothing taken", name);
    /* The router's choice moves, and with it the number of rows a rank computes. */
    for (int i = 0; n > 0 && i < 20; i++)
        n = count_epoch(&s, &batch);
    CHECK(n == 0, "%s: %lld blocks in an epoch, after 20 epochs", name, (long long)n);
    CHECK(s.engine->at.consensus_started, "%s: no consensus", name);
    mltfr_batch_destroy(&batch);
    mltfr_session_close(&s);
}

int main(int argc, char **argv)
{
    const planted p = planted_defaults();
    mltfr_comm *comm;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    snprintf(path, PATH, "train_steady.np%d.h5", mltfr_comm_size(comm));
    planted_write(comm, path, &p);
    mltfr_settings set = planted_settings(path);

    test(comm, "softmax", &set);
    set.filter_detach_query = false;
    set.item_inject = MLTFR_ITEM_INJECT_MIXTURE;
    test(comm, "mixture of items", &set);
    set.item_inject = MLTFR_ITEM_INJECT_STATIC;
    set.train_loss = MLTFR_TRAIN_LOSS_SAMPLED;
    test(comm, "sampled", &set);
    set.train_loss = MLTFR_TRAIN_LOSS_BCE;
    test(comm, "binary", &set);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0)
        unlink(path);
    return mpi_test_end(&comm);
}
