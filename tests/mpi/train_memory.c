/* What the formula says of memory against what was held at most: within 10 % on any number of
 * ranks, and what is to be shared is. */
#include "plan.h"

#include "mpi_test.h"

#include <mltfr/versions.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What `model` is: experts, or the plain backbone with a loss. */
static mltfr_settings settings(const char *model)
{
    mltfr_settings set = mltfr_settings_defaults();

    set.model_experts = strcmp(model, "experts") == 0;
    if (strcmp(model, "sampled") == 0) {
        set.train_loss = MLTFR_TRAIN_LOSS_SAMPLED;
        set.train_negatives = 4096;
    }
    if (strcmp(model, "bce") == 0)
        set.train_loss = MLTFR_TRAIN_LOSS_BCE;
    set.train_batch = 256;
    set.train_warmup_epochs = 0;
    set.filter_users = 256;
    set.filter_pool = 512;
    return set;
}

static const mltfr_imagined sizes = {.users = 1024,
                                     .items = 6000,
                                     .llms = 2,
                                     .r_c = 64,
                                     .r_s = 64,
                                     .tokens = 16384,
                                     .anchors = 5000};

/* Most bytes of any rank after steps and a validation. */
static double train_a_little(mltfr_session *s, int64_t steps)
{
    mltfr_metrics ignored;
    int64_t peak;

    MUST(mltfr_schedule_epoch(s, 1));
    for (int64_t i = 0; i < steps; i++) {
        mltfr_batch *batch = NULL;

        MUST(mltfr_session_batch(s, 1, i, &batch));
        MUST(mltfr_schedule_step(s, batch));
        mltfr_batch_destroy(&batch);
    }
    MUST(mltfr_evaluate_engine(s->engine, s->data, MLTFR_SPLIT_VALID, &ignored));
    peak = (int64_t)mltfr_mem_peak();
    mltfr_comm_max_i64(s->comm, &peak, 1);
    return (double)peak;
}

/* Each part of the memory on P ranks, beside that on one. */
static void check_shares(mltfr_plan *plan, int size)
{
    static const mltfr_memory shared[] = {MLTFR_MEMORY_ITEMS, MLTFR_MEMORY_TOKENS,
                                          MLTFR_MEMORY_ACTIVATIONS};
    const mltfr_rates rates = {1., 1., 1., 1., 1., 1., 1.};
    mltfr_prediction one, many;

    MUST(mltfr_predict(plan, &rates, 1, &one));
    MUST(mltfr_predict(plan, &rates, size, &many));
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        const double share = many.bytes[shared[i]] / fmax(1., one.bytes[shared[i]]);
        CHECK(share < 1.3 / size, "part %d: %.3f of that on one rank", (int)shared[i], share);
    }
}

static void check(mltfr_comm *comm, const char *model)
{
    const mltfr_settings set = settings(model);
    const mltfr_rates rates = {1., 1., 1., 1., 1., 1., 1.};
    mltfr_session s;
    mltfr_plan plan;
    mltfr_prediction x;

    MUST(mltfr_session_imagine(comm, &set, &sizes, &s));
    const double held = train_a_little(&s, 4);

    MUST(mltfr_plan_create(&s, &plan));
    MUST(mltfr_predict(&plan, &rates, mltfr_comm_size(comm), &x));
    if (mltfr_comm_rank(comm) == 0) {
        printf("%s: held %.2f MiB, formula %.2f MiB:", model, held / 1048576., x.memory / 1048576.);
        for (int i = 0; i < MLTFR_MEMORY_COUNT; i++)
            printf(" %.2f", x.bytes[i] / 1048576.);
        printf("\n");
    }
    CHECK(fabs(x.memory / held - 1.) < .1, "held %.0f bytes, the formula says %.0f", held,
          x.memory);
    check_shares(&plan, 1);
    check_shares(&plan, 2);
    check_shares(&plan, 4);
    mltfr_plan_destroy(&plan);
    mltfr_session_close(&s);
}

/* One of them in a process: the most ever held is that of the whole process. */
int main(int argc, char **argv)
{
    mltfr_comm *comm;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    if (argc != 2)
        mltfr_panic("train_memory plain|experts|sampled|bce");
    mltfr_blas_setup();
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    check(comm, argv[1]);
    return mpi_test_end(&comm);
}
