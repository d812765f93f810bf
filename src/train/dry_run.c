/* train --dry-run: a plan of the run, rates from a few steps of a smaller planted one of the same
 * widths, and what follows from both. */
#include "plan.h"

#include <mltfr/log.h>
#include <mltfr/trainer.h>
#include <mltfr/versions.h>

#include <stdio.h>
#include <unistd.h>

/* Sizes that steps of a fraction of a second have. */
enum { MOST_USERS = 256, MOST_ITEMS = 12288, MOST_LLMS = 2, TOKENS = 4096 };

static const double seconds_each = .3;

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- rates --------------------------------------------------------------------------------- */

static mltfr_status measure_session(mltfr_session *s, mltfr_rates *rates)
{
    mltfr_status st = MLTFR_OK;
    mltfr_steps_done plain = {0}, mixed = {0};
    const bool experts = s->engine->K > 0;

    s->engine->at.epoch = 1;
    MLTFR_TRY(mltfr_measure_steps(s, seconds_each, &plain));
    if (experts) {
        MLTFR_TRY(mltfr_start_experts(s));
        MLTFR_TRY(mltfr_measure_steps(s, seconds_each, &mixed));
    }
    mltfr_rates_of(s, &plain, experts ? &mixed : NULL, rates);
done:
    return st;
}

static mltfr_status measure_rates(mltfr_comm *comm, const mltfr_settings *set,
                                  const mltfr_plan *plan, mltfr_rates *rates)
{
    mltfr_status st = MLTFR_OK;
    mltfr_settings small = *set;
    mltfr_session s = {0};
    const mltfr_params_spec *spec = &plan->spec;

    small.train_batch = least_of(set->train_batch, MOST_USERS);
    small.filter_users = least_of(set->filter_users, MOST_USERS);
    const mltfr_imagined sizes = {.users = 4 * small.train_batch,
                                  .items =
                                      spec->items < 30 ? 30 : least_of(spec->items, MOST_ITEMS),
                                  .llms = spec->K > 0 ? least_of(spec->K, MOST_LLMS) : 1,
                                  .r_c = spec->K > 0 ? spec->r_c : 1,
                                  .r_s = spec->r_s,
                                  .tokens = set->filter_pool > TOKENS ? set->filter_pool : TOKENS,
                                  .anchors = set->filter_pool > TOKENS ? set->filter_pool : TOKENS};

    MLTFR_TRY(mltfr_session_imagine(comm, &small, &sizes, &s));
    MLTFR_TRY(measure_session(&s, rates));
    MLTFR_TRY(mltfr_measure_network(comm, seconds_each / 4., rates));
done:
    mltfr_session_close(&s);
    return st;
}

/* ---- one number of ranks ------------------------------------------------------------------- */

static void say_memory(const mltfr_prediction *x)
{
    static const char *const names[] = {
#define X(name, text) text,
        MLTFR_MEMORY_LIST(X)
#undef X
    };
    mltfr_text text = {0};

    for (int i = 0; i < MLTFR_MEMORY_COUNT; i++)
        if (x->bytes[i] > 0.)
            mltfr_text_add(&text, "%s%s %.1f", text.size > 0 ? ", " : "", names[i],
                           x->bytes[i] / 1048576.);
    mltfr_say("memory   at most %.1f MiB a rank: %s", x->memory / 1048576.,
              text.data != NULL ? text.data : "");
    mltfr_text_destroy(&text);
}

static void say_expert(const mltfr_plan_share *x, const char *name, int64_t k)
{
    const mltfr_token_space *s = &x->space[k];

    mltfr_say("expert   %s: %lld tokens, pool of %lld, owner rank %d, ranks %d to %d", name,
              (long long)s->rows, (long long)s->M, s->owner, s->first_rank, s->last_rank);
}

/* Who holds what; x is the first rank's share, which no other one exceeds by more than a block. */
static void say_placement(const mltfr_session *s, const mltfr_plan *plan, const mltfr_plan_share *x)
{
    const mltfr_engine *e = &x->outline;

    mltfr_say("items    %lld in %lld blocks of %lld: at most %lld rows a rank",
              (long long)e->spec.items, (long long)e->item_blocks, (long long)e->item_block,
              (long long)e->item_rows);
    for (int64_t k = 0; k < e->K; k++)
        say_expert(x, s->spaces->names[k], k);
    if (e->K > 0) {
        say_expert(x, "consensus", e->K);
        mltfr_say(
            "place    the fullest rank has %.2f of the mean of token rows, %.2f of the work with "
            "experts",
            plan->outline.placed, plan->fullest_experts);
    }
    mltfr_say("users    %lld a batch, at most %lld positions in %lld blocks: %lld blocks a rank",
              (long long)plan->batch->users, (long long)plan->batch->rows,
              (long long)plan->batch->blocks, (long long)x->blocks);
}

static void say_time(const mltfr_plan *plan, const mltfr_prediction *x)
{
    const mltfr_step_time *t = &x->part;

    mltfr_say("step     %.4f s: backbone %.4f, loss %.4f, experts %.4f, optimise %.4f, rest %.4f, "
              "exchange %.4f",
              x->step, t->backbone, t->loss, t->experts, t->optimise, t->rest, t->exchange);
    mltfr_say("epoch    %.2f s: %lld steps, %.0f positions; pools, validation and checkpoints come "
              "on top",
              x->step * plan->epoch_rows / (double)plan->batch->rows, (long long)plan->steps,
              plan->epoch_rows);
}

static mltfr_status say_one(const mltfr_session *s, mltfr_plan *plan, const mltfr_rates *rates,
                            int size)
{
    mltfr_status st = MLTFR_OK;
    mltfr_prediction x;
    mltfr_plan_share *first = NULL;

    MLTFR_TRY(mltfr_predict(plan, rates, size, &x));
    MLTFR_TRY(MLTFR_NEW(first, 1));
    MLTFR_TRY(mltfr_plan_share_of(plan, 0, first));
    say_memory(&x);
    say_placement(s, plan, first);
    say_time(plan, &x);
done:
    MLTFR_FREE(first);
    return st;
}

/* ---- several ------------------------------------------------------------------------------- */

static mltfr_status say_table(mltfr_plan *plan, const mltfr_rates *rates, int count,
                              const int ranks[])
{
    mltfr_status st = MLTFR_OK;
    mltfr_prediction one, x;

    MLTFR_TRY(mltfr_predict(plan, rates, 1, &one));
    mltfr_say("%6s %12s %10s %10s %10s %10s", "ranks", "MiB a rank", "s a step", "s an epoch",
              "exchange", "speed-up");
    for (int i = 0; i < count; i++) {
        MLTFR_TRY(mltfr_predict(plan, rates, ranks[i], &x));
        mltfr_say("%6d %12.1f %10.4f %10.2f %8.1f %% %10.2f", ranks[i], x.memory / 1048576., x.step,
                  x.step * plan->epoch_rows / (double)plan->batch->rows,
                  100. * x.part.exchange / x.step, one.step / x.step);
    }
done:
    return st;
}

static void say_title(mltfr_comm *comm, int count, const int ranks[])
{
    char host[64] = "", many[32] = "several numbers of ranks";

    gethostname(host, sizeof host - 1);
    if (count == 1)
        snprintf(many, sizeof many, "%d ranks", ranks[0]);
    mltfr_say("dry run  %s, a core each, at the rates of %d here (%s, BLAS kernel %s)%s", many,
              mltfr_comm_size(comm), host, mltfr_blas_kernel(),
              mltfr_comm_size(comm) == 1 ? "; exchange assumed: 2 us a message, 5 GB/s" : "");
}

mltfr_status mltfr_dry_run(mltfr_comm *comm, const mltfr_settings *settings,
                           const mltfr_spaces *spaces, int count, const int ranks[])
{
    mltfr_status st = MLTFR_OK;
    mltfr_session s = {0};
    mltfr_plan plan = {0};
    mltfr_rates rates;

    MLTFR_TRY(mltfr_session_peek(comm, settings, spaces, &s));
    MLTFR_AGREE(comm, mltfr_plan_create(&s, &plan));
    MLTFR_TRY(measure_rates(comm, settings, &plan, &rates));
    say_title(comm, count, ranks);
    if (settings->model_experts && settings->item_inject != MLTFR_ITEM_INJECT_NONE)
        mltfr_warn("item.inject: its time comes on top, and can be most of a step");
    if (count == 1)
        st = say_one(&s, &plan, &rates, ranks[0]);
    else
        st = say_table(&plan, &rates, count, ranks);
    MLTFR_AGREE(comm, st);
done:
    mltfr_plan_destroy(&plan);
    mltfr_session_close(&s);
    return st;
}
