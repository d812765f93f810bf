/* A number that is not finite ends the training where it is met; the message names step, rank and
 * tensor, on every rank the same.
 *
 *      train_finite PATH       of a file that is made, but for its end */
#include "planted_session.h"

#include <mltfr/log.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 6 }; /* the experts are on */

/* Spoil one number of a tensor where it is held, on rank `rank` alone; false: not here. */
static bool spoil(mltfr_session *s, const char *name, int rank, float value)
{
    for (int64_t i = 0; i < s->engine->params->count; i++) {
        const mltfr_tensor *t = &s->engine->params->tensor[i];
        if (strcmp(t->name, name) != 0 || s->engine->rank != rank ||
            mltfr_params_local(s->engine->params, t) == 0)
            continue;
        mltfr_params_slab(s->engine->params, t)->w[t->offset] = value;
        return true;
    }
    return false;
}

static mltfr_status one_step(mltfr_session *s)
{
    const int64_t steps = mltfr_session_steps(s), done = s->engine->at.step;
    mltfr_batch *batch = NULL;

    MUST(mltfr_session_batch(s, done / steps + 1, done % steps, &batch));
    const mltfr_status st = mltfr_schedule_step(s, batch);

    mltfr_batch_destroy(&batch);
    return st;
}

static void check_text(const char *what, const char *name, int64_t step, int rank)
{
    char text[128];

    snprintf(text, sizeof text, "step %d, rank %d: %s is not finite", (int)step, rank, name);
    CHECK(strncmp(mltfr_error_text, text, strlen(text)) == 0, "%s: %s", what, mltfr_error_text);
}

/* A spoiled tensor is found by the next step, and before a checkpoint is written. */
static void test_tensor(mltfr_comm *comm, const mltfr_settings *set, const char *name, float value)
{
    for (int rank = 0; rank < mltfr_comm_size(comm); rank++) {
        mltfr_session s;

        MUST(mltfr_session_open(comm, set, &s));
        planted_steps(&s, STEPS, NULL);
        MUST(mltfr_check_finite(s.engine));

        int64_t here = spoil(&s, name, rank, value);

        mltfr_comm_max_i64(comm, &here, 1);
        if (here != 0) {
            CHECK(mltfr_check_finite(s.engine) == MLTFR_E_NUMERIC, "%s", name);
            check_text("checkpoint", name, STEPS, rank);
            CHECK(one_step(&s) == MLTFR_E_NUMERIC, "%s", name);
            check_text("step", name, STEPS + 1, rank);
        }
        mltfr_session_close(&s);
    }
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;
    planted p = planted_defaults();
    char path[1024];

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    if (argc < 2)
        mltfr_panic("train_finite PATH");
    mltfr_log_setup(1, true);
    snprintf(path, sizeof path, "%s.np%d.h5", argv[1], mltfr_comm_size(comm));
    planted_write(comm, path, &p);

    const mltfr_settings set = planted_settings(path);

    test_tensor(comm, &set, "item.weight", NAN);
    test_tensor(comm, &set, "block0.attn.wq", INFINITY);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0)
        unlink(path);
    return mpi_test_end(&comm);
}
