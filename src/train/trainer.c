/* The training loop: epochs of steps, validation, early stopping, checkpoints, the end. */
#include "init.h"
#include "report.h"
#include "session.h"
#include "stop.h"
#include "trace_file.h"

#include <mltfr/log.h>
#include <mltfr/progress.h>
#include <mltfr/text.h>
#include <mltfr/trainer.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

typedef struct {
    mltfr_session session;
    const mltfr_train_options *options;
    mltfr_run_files files;
    mltfr_loop_state loop;
    mltfr_stop stop;
    mltfr_batch *batch; /* of the step */
    mltfr_keeper keeper;
    int64_t steps_here;   /* done since this start */
    int64_t rows_here;    /* of this epoch, since this start */
    int64_t steps_before; /* of this epoch, done before this start */
    int64_t checkpointed; /* step of the newest checkpoint; -1: none */
    bool spoiled;         /* the engine has something of a checkpoint */
    double begin, epoch_begin, last_progress;
    mltfr_timing timing;
} trainer;

/* ---- checkpoints --------------------------------------------------------------------------- */

static mltfr_status save(trainer *t)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = t->session.engine;

    mltfr_watchdog_phase("checkpoint");
    if (t->checkpointed == e->at.step)
        return MLTFR_OK;
    const double begin = mltfr_seconds();

    MLTFR_TRY(mltfr_check_finite(e)); /* the one before is of more use than this */
    MLTFR_TRY(mltfr_keeper_save(&t->keeper, e, &t->loop));
    t->checkpointed = e->at.step;
    mltfr_stop_saved(&t->stop, mltfr_seconds() - begin, mltfr_checkpoint_seconds());
done:
    return st;
}

static bool is_there(const char *run_dir, int64_t step, struct stat *out)
{
    char path[PATH_BYTES];

    mltfr_checkpoint_path(run_dir, step, path, sizeof path);
    return stat(path, out) == 0;
}

/* What the directory holds besides, once it is known where the run goes on (path; empty: from the
 * start).  Later checkpoints and a result are another story's.  The best checkpoint so far may not
 * be here to come back to, as after --resume=FILE of another directory: then it is forgotten. */
static void settle(trainer *t, const char *path)
{
    const mltfr_session *s = &t->session;
    const char *dir = s->set->run_dir;
    const int64_t step = s->engine->at.step;
    struct stat from, own, best;
    char result[PATH_BYTES];
    struct {
        bool own, best;
    } has = {false, false};

    if (mltfr_comm_rank(s->comm) == 0) {
        has.own = stat(path, &from) == 0 && is_there(dir, step, &own) &&
                  own.st_ino == from.st_ino && own.st_dev == from.st_dev;
        has.best = has.own && is_there(dir, t->loop.best_step, &best);
        snprintf(result, sizeof result, "%s/result.json", dir);
        unlink(result);
    }
    mltfr_comm_bcast(s->comm, &has, sizeof has, 0);
    t->checkpointed = has.own ? step : -1;
    mltfr_checkpoint_sweep(s->comm, dir);
    if (strcmp(t->options->resume, "no") == 0)
        mltfr_checkpoint_prune(s->comm, dir, 0, -1);
    else
        mltfr_checkpoint_set_aside(s->comm, dir, has.own ? step : step - 1);
    if (t->loop.best_step > 0 && !has.best) {
        mltfr_warn("%s: the best checkpoint so far (step %" PRId64 ") is not here: the next "
                   "validation is the best",
                   dir, t->loop.best_step);
        t->loop.best_step = t->loop.best_epoch = t->loop.bad_evaluations = 0;
        t->loop.best_ndcg = -1.;
    }
    mltfr_checkpoint_prune_end();
    mltfr_comm_barrier(s->comm);
}

static const mltfr_loop_state fresh_loop = {.best_ndcg = -1.};

static mltfr_status go_on_from(void *context, const char *path)
{
    trainer *t = context;
    const double begin = mltfr_seconds();
    mltfr_status st = MLTFR_OK;

    t->spoiled = true;
    MLTFR_TRY(mltfr_checkpoint_read(t->session.engine, &t->loop, t->options->config,
                                    t->session.digest, path));
    mltfr_stop_saved(&t->stop, 0., mltfr_seconds() - begin); /* a write takes as long */
done:
    return st;
}

/* No checkpoint could be used, and those that were tried may have left something behind. */
static mltfr_status start_afresh(trainer *t)
{
    mltfr_status st = MLTFR_OK;
    mltfr_comm *comm = t->session.comm;
    const mltfr_settings *set = t->session.set;

    t->loop = fresh_loop;
    if (!t->spoiled)
        goto done;
    mltfr_warn("%s: no checkpoint is whole: the run starts anew", set->run_dir);
    mltfr_session_close(&t->session);
    MLTFR_TRY(mltfr_session_open(comm, set, &t->session));
done:
    return st;
}

static mltfr_status resume(trainer *t)
{
    mltfr_status st = MLTFR_OK;
    const char *how = t->options->resume;
    char path[PATH_BYTES] = "";

    if (strcmp(how, "auto") == 0) {
        MLTFR_TRY(mltfr_checkpoint_newest(t->session.comm, t->session.set->run_dir, go_on_from, t,
                                          path, sizeof path));
    } else if (strcmp(how, "no") != 0) {
        snprintf(path, sizeof path, "%s", how);
        MLTFR_TRY(go_on_from(t, path));
    }
    if (path[0] == '\0')
        MLTFR_TRY(start_afresh(t));
    else
        mltfr_note("resume  %s: step %" PRId64 ", epoch %" PRId64, path, t->session.engine->at.step,
                   t->session.engine->at.epoch);
    /* Before anything is removed: the checkpoint to start from may be one of this directory. */
    if (t->session.engine->at.step == 0)
        MLTFR_TRY(mltfr_init_apply(&t->session, t->options->init));
    settle(t, path);
done:
    return st;
}

/* ---- reports ------------------------------------------------------------------------------- */

/* @collective */
static void report_step(trainer *t, int64_t rows)
{
    mltfr_engine *e = t->session.engine;

    t->loop.epoch_loss += e->run.loss * (double)rows;
    t->loop.epoch_rows += rows;
    if (e->pools_changed)
        mltfr_report_pools(&t->files, e);
    e->pools_changed = false;
    if (e->at.step % t->session.set->run_log_every == 0)
        mltfr_run_files_line(&t->files, "{\"kind\":\"step\",\"step\":%" PRId64 ",\"loss\":%.17g}",
                             e->at.step, e->run.loss);
}

static void report_progress(trainer *t, int64_t done, int64_t steps)
{
    const mltfr_engine *e = t->session.engine;
    const bool bar = mltfr_progress_shown() == MLTFR_PROGRESS_BAR;
    char drawn[MLTFR_BAR_BYTES] = "";

    if (done == steps || !mltfr_progress_due(&t->last_progress))
        return;
    const double spent = t->last_progress - t->epoch_begin;

    if (bar)
        mltfr_progress_bar((double)done / (double)steps, drawn);
    (bar ? mltfr_bar
         : mltfr_note)("epoch %3" PRId64 "/%" PRId64 "  %s%sstep %" PRId64 "/%" PRId64
                       "  loss %.4f  %.0f positions/s  epoch ends in %.0f s",
                       e->at.epoch, t->session.set->train_epochs, drawn, bar ? "  " : "", done,
                       steps, e->run.loss, (double)t->rows_here / spent,
                       spent / (double)(done - t->steps_before) * (double)(steps - done));
}

/* @collective */
static mltfr_status report_epoch(trainer *t)
{
    const mltfr_engine *e = t->session.engine;
    const double seconds = mltfr_seconds() - t->epoch_begin;
    const double loss = t->loop.epoch_loss / (double)t->loop.epoch_rows;
    const double rate = (double)t->rows_here / seconds;

    mltfr_run_files_line(&t->files,
                         "{\"kind\":\"epoch\",\"epoch\":%" PRId64 ",\"step\":%" PRId64
                         ",\"loss\":%.17g,\"seconds\":%.6f,\"positions_per_s\":%.1f}",
                         e->at.epoch, e->at.step, loss, seconds, rate);
    mltfr_report_time(&t->files, &t->timing, t->session.engine, seconds);
    if (mltfr_progress_shown() != MLTFR_PROGRESS_NONE)
        mltfr_note("epoch %3" PRId64 "/%" PRId64 "  loss %.4f  %.2f s  %.0f positions/s",
                   e->at.epoch, t->session.set->train_epochs, loss, seconds, rate);
    return mltfr_report_experts(&t->files, t->session.engine);
}

/* ---- epochs -------------------------------------------------------------------------------- */

/* Experts that are to start later may gain yet: until then no validation is a bad one. */
static bool is_warming_up(const mltfr_engine *e)
{
    return e->K > 0 && !mltfr_experts_on(e);
}

static mltfr_status validate(trainer *t)
{
    mltfr_status st = MLTFR_OK;
    mltfr_session *s = &t->session;
    mltfr_metrics m;

    MLTFR_TRY(mltfr_check_finite(s->engine)); /* a score would not say which tensor it is */
    MLTFR_TRY(mltfr_evaluate_engine(s->engine, s->data, MLTFR_SPLIT_VALID, &m));
    mltfr_report_metrics(&t->files, s->engine, "valid", &m);
    const bool better = m.users > 0 && m.ndcg[1] > t->loop.best_ndcg;

    if (better) {
        t->loop.best_ndcg = m.ndcg[1];
        t->loop.best_step = s->engine->at.step;
        t->loop.best_epoch = s->engine->at.epoch;
        t->loop.bad_evaluations = 0;
    } else if (m.users > 0 && !is_warming_up(s->engine)) {
        t->loop.bad_evaluations++;
    }
    if (mltfr_progress_shown() != MLTFR_PROGRESS_NONE)
        mltfr_note("valid   ndcg@10=%.4f hr@10=%.4f%s", m.ndcg[1], m.hr[1], better ? "  best" : "");
done:
    return st;
}

/* @local  @return MLTFR_STOPPED in place of the batch where this rank is to stop */
static mltfr_status next_batch(trainer *t, int64_t epoch, int64_t i)
{
    const mltfr_status st = mltfr_stop_look(&t->stop, t->steps_here);

    return st != MLTFR_OK ? st : mltfr_session_batch(&t->session, epoch, i, &t->batch);
}

static mltfr_status train_batch(trainer *t, int64_t epoch, int64_t i, int64_t *rows)
{
    mltfr_status st = MLTFR_OK;

    mltfr_watchdog_phase("step");
    MLTFR_AGREE(t->session.comm, next_batch(t, epoch, i));
    if (i == 0) {
        mltfr_watchdog_phase("start of an epoch");
        MLTFR_TRY(mltfr_schedule_epoch(&t->session, epoch));
        t->loop.epoch_loss = 0.;
        t->loop.epoch_rows = 0;
    }
    MLTFR_TRY(mltfr_schedule_step(&t->session, t->batch));
    mltfr_timing_step(&t->timing, t->session.engine);
    *rows = t->batch->rows;
    t->steps_here++;
    t->rows_here += t->batch->rows;
done:
    return st;
}

static bool is_last_step(const trainer *t)
{
    const int64_t most = t->session.set->train_max_steps;

    return most > 0 && t->session.engine->at.step >= most;
}

/* Steps of an epoch from where it stands; leaves early at the last step, or a stop. */
static mltfr_status run_steps(trainer *t, int64_t epoch)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_settings *set = t->session.set;
    const int64_t steps = mltfr_session_steps(&t->session);
    int64_t rows = 0;

    for (int64_t i = t->session.engine->at.step - (epoch - 1) * steps; i < steps; i++) {
        MLTFR_TRY(train_batch(t, epoch, i, &rows));
        report_step(t, rows);
        report_progress(t, i + 1, steps);
        MLTFR_TRY(mltfr_keeper_look(&t->keeper));
        if (is_last_step(t))
            break;
        if (set->checkpoint_every > 0 && t->session.engine->at.step % set->checkpoint_every == 0 &&
            i + 1 < steps)
            MLTFR_TRY(save(t));
    }
done:
    return st;
}

static mltfr_status run_epoch(trainer *t, int64_t epoch)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_settings *set = t->session.set;
    const int64_t steps = mltfr_session_steps(&t->session);

    t->rows_here = 0;
    t->steps_before = t->session.engine->at.step - (epoch - 1) * steps;
    mltfr_timing_begin(&t->timing, t->session.engine);
    t->epoch_begin = t->last_progress = t->timing.begin;
    MLTFR_TRY(run_steps(t, epoch));
    const bool whole = t->session.engine->at.step == epoch * steps;
    const bool last = is_last_step(t) || (whole && epoch == set->train_epochs);

    if (whole || last)
        MLTFR_TRY(report_epoch(t));
    if (last || (whole && set->eval_every > 0 && epoch % set->eval_every == 0))
        MLTFR_TRY(validate(t));
    if (last || (whole && set->checkpoint_every == 0) ||
        t->loop.best_step == t->session.engine->at.step ||
        (set->checkpoint_every > 0 && t->session.engine->at.step % set->checkpoint_every == 0))
        MLTFR_TRY(save(t));
done:
    return st;
}

static bool is_out_of_patience(const trainer *t)
{
    const int64_t patience = t->session.set->train_patience;

    return patience > 0 && t->loop.bad_evaluations >= patience;
}

static bool is_over(const trainer *t, int64_t epoch)
{
    return epoch > t->session.set->train_epochs || is_last_step(t) || is_out_of_patience(t);
}

static mltfr_status run_epochs(trainer *t)
{
    mltfr_status st = MLTFR_OK;
    const int64_t steps = mltfr_session_steps(&t->session);

    for (int64_t epoch = t->session.engine->at.step / steps + 1; !is_over(t, epoch); epoch++)
        MLTFR_TRY(run_epoch(t, epoch));
    if (is_out_of_patience(t))
        mltfr_note("end     no gain in %" PRId64 " validations (train.patience)",
                   t->loop.bad_evaluations);
done:
    return st;
}

/* The error text says why. */
static mltfr_status stop_early(trainer *t)
{
    mltfr_status st = MLTFR_OK;

    mltfr_note("stop    after step %" PRId64 ": %s", t->session.engine->at.step, mltfr_error_text);
    MLTFR_TRY(save(t));
    MLTFR_TRY(mltfr_keeper_wait(&t->keeper));
    mltfr_keeper_say(&t->keeper);
    mltfr_note("stopped at step %" PRId64 " with a complete checkpoint; --resume=auto goes on",
               t->session.engine->at.step);
    st = MLTFR_STOPPED;
done:
    return st;
}

/* ---- the end ------------------------------------------------------------------------------- */

/* Read the best checkpoint; where it is damaged, the last one. */
static mltfr_status read_best(trainer *t, char *path, size_t bytes)
{
    mltfr_status st;
    mltfr_session *s = &t->session;
    const mltfr_progress end = s->engine->at;
    mltfr_loop_state ignored;

    mltfr_checkpoint_path(t->files.dir, t->loop.best_step, path, bytes);
    if (t->loop.best_step == end.step)
        return MLTFR_OK;
    st = mltfr_checkpoint_read(s->engine, &ignored, NULL, s->digest, path);
    if (st != MLTFR_E_DATA && st != MLTFR_E_IO)
        return st;
    mltfr_warn("%s; it was the best: the last step is the result", mltfr_error_text);
    t->loop.best_step = end.step;
    t->loop.best_epoch = end.epoch;
    mltfr_checkpoint_path(t->files.dir, end.step, path, bytes);
    return mltfr_checkpoint_read(s->engine, &ignored, NULL, s->digest, path);
}

/* Test with the best parameters (those of the end where nobody has an item for validation). */
static mltfr_status finish(trainer *t)
{
    mltfr_status st = MLTFR_OK;
    mltfr_session *s = &t->session;
    mltfr_metrics valid, test;
    char path[PATH_BYTES];

    if (t->loop.best_step == 0) {
        t->loop.best_step = s->engine->at.step;
        t->loop.best_epoch = s->engine->at.epoch;
    }
    MLTFR_TRY(save(t));
    MLTFR_TRY(mltfr_keeper_wait(&t->keeper));
    MLTFR_TRY(read_best(t, path, sizeof path));
    if (t->loop.best_epoch > 0 && is_warming_up(s->engine))
        mltfr_warn("the best epoch, %" PRId64 ", is one before the experts start "
                   "(train.warmup_epochs=%" PRId64 "): the result is the backbone's",
                   t->loop.best_epoch, s->set->train_warmup_epochs);
    MLTFR_TRY(mltfr_evaluate_engine(s->engine, s->data, MLTFR_SPLIT_VALID, &valid));
    if (valid.users == 0)
        mltfr_warn("no user has an item for validation: the last step is the result");
    MLTFR_TRY(mltfr_evaluate_engine(s->engine, s->data, MLTFR_SPLIT_TEST, &test));
    mltfr_report_metrics(&t->files, s->engine, "test", &test);
    const mltfr_result result = {&t->loop, &valid, &test, mltfr_seconds() - t->begin,
                                 mltfr_comm_size(s->comm)};

    MLTFR_TRY(mltfr_run_files_result(&t->files, &result));
    int64_t peak = (int64_t)mltfr_mem_peak();

    mltfr_comm_max_i64(s->comm, &peak, 1);
    mltfr_note("best    epoch %" PRId64 ", %s", t->loop.best_epoch, path);
    mltfr_keeper_say(&t->keeper);
    mltfr_note("memory  at most %.1f MiB a rank", (double)peak / 1048576.);
    mltfr_run_files_say("test", &test);
done:
    return st;
}

/* A result of another configuration is no answer: that is an error, as it is for a checkpoint. */
static mltfr_status look_for_end(mltfr_comm *comm, const mltfr_settings *set,
                                 const mltfr_train_options *options, bool *ended)
{
    mltfr_status st = MLTFR_OK;
    mltfr_metrics test = {0};
    char best[PATH_BYTES];

    *ended = strcmp(options->resume, "auto") == 0 &&
             mltfr_run_files_ended(comm, set->run_dir, &test, best, sizeof best);
    if (!*ended)
        goto done;
    MLTFR_TRY(mltfr_checkpoint_of_run(comm, best, options->config));
    mltfr_note("%s: this run has ended; --resume=no starts anew, --resume=FILE goes on from a "
               "checkpoint",
               set->run_dir);
    mltfr_run_files_say("test", &test);
done:
    return st;
}

mltfr_status mltfr_train(mltfr_comm *comm, const mltfr_settings *settings,
                         const mltfr_train_options *options)
{
    mltfr_status st = MLTFR_OK;
    trainer t = {.options = options, .begin = mltfr_seconds()};
    bool ended;

    MLTFR_TRY(look_for_end(comm, settings, options, &ended));
    if (ended)
        goto done;
    MLTFR_TRY(mltfr_stop_begin(settings, mltfr_comm_rank(comm) == 0, &t.stop));
    MLTFR_TRY(mltfr_trace_file_begin(comm, settings));
    MLTFR_TRY(mltfr_timing_create(comm, &t.timing));
    MLTFR_TRY(mltfr_session_open(comm, settings, &t.session));
    mltfr_report_placement(&t.session);
    MLTFR_TRY(resume(&t));
    t.keeper = (mltfr_keeper){
        .comm = comm, .set = settings, .config = options->config, .digest = t.session.digest};
    MLTFR_TRY(mltfr_run_files_open(comm, settings->run_dir, options->config,
                                   t.session.engine->at.step, &t.files));
    st = run_epochs(&t);
    if (st == MLTFR_STOPPED)
        st = stop_early(&t);
    MLTFR_TRY(st);
    MLTFR_TRY(finish(&t));
done:
    mltfr_keeper_end(&t.keeper);
    st = mltfr_trace_file_end(comm, settings, st);
    mltfr_stop_end();
    mltfr_run_files_close(&t.files);
    mltfr_batch_destroy(&t.batch);
    mltfr_session_close(&t.session);
    return st;
}
