/* A signal sets a flag.  The clock is compared with what a step and a checkpoint have taken so far:
 * the slowest of each has to fit in before the end. */
#include "stop.h"

#include <mltfr/log.h>
#include <mltfr/text.h>
#include <mltfr/trainer.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, SIGNALS = 2 };

static const struct {
    int number;
    const char *name;
} caught[SIGNALS] = {{SIGUSR1, "SIGUSR1"}, {SIGTERM, "SIGTERM"}};
static volatile sig_atomic_t signalled;
static double began; /* when this start began to listen; 0: it has not */

static const char job_end[] = "SLURM_JOB_END_TIME", stop_after[] = "run.stop_after";

/* ---- signals ------------------------------------------------------------------------------- */

static void note_signal(int number)
{
    signalled = number;
}

void mltfr_train_listen(void)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};

    if (began == 0.)
        began = mltfr_seconds();
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < SIGNALS; i++)
        sigaction(caught[i].number, &action, NULL);
}

void mltfr_stop_end(void)
{
    signalled = 0;
    began = 0.;
}

/* ---- the clock ----------------------------------------------------------------------------- */

static void end_by(mltfr_stop *s, double seconds, double margin, const char *clock)
{
    const double end = mltfr_seconds() + seconds;

    if (end - margin >= s->end - s->margin)
        return;
    s->end = end;
    s->margin = margin;
    s->clock = clock;
}

/* Slurm says when it will end a job, in seconds since 1970. */
static void read_job_end(mltfr_stop *s, double margin)
{
    const char *word = getenv(job_end);
    int64_t end;

    if (word == NULL)
        return;
    if (!mltfr_text_to_i64(word, &end))
        mltfr_warn("%s: '%s' is not a time in seconds: it is ignored", job_end, word);
    else if (end <= time(NULL))
        mltfr_warn("%s: %s has passed, it is of another job: it is ignored", job_end, word);
    else
        end_by(s, (double)(end - time(NULL)), margin, job_end);
}

static void announce(const mltfr_stop *s)
{
    const double seconds = fmax(s->end - mltfr_seconds(), 0.);
    const time_t end = time(NULL) + (time_t)fmin(seconds, 1e9);
    char when[32];
    struct tm tm;

    if (s->clock == NULL)
        return;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&end, &tm));
    mltfr_note("stop    in time for a checkpoint before %s, in %.0f s (%s)", when, seconds,
               s->clock);
}

mltfr_status mltfr_stop_begin(const mltfr_settings *set, bool leads, mltfr_stop *out)
{
    int64_t seconds;

    mltfr_train_listen();
    *out = (mltfr_stop){.leads = leads, .run_dir = set->run_dir, .end = INFINITY};
    if (!mltfr_text_to_stop(set->run_stop_after, &out->steps, &seconds))
        return mltfr_fail(MLTFR_E_USAGE,
                          "run.stop_after: '%s' is neither a number of steps nor a time such as "
                          "90s or 3h50m",
                          set->run_stop_after);
    if (leads) {
        read_job_end(out, (double)set->run_margin);
        if (seconds > 0)
            end_by(out, began + (double)seconds - mltfr_seconds(), 0., stop_after);
        announce(out);
    }
    return MLTFR_OK;
}

void mltfr_stop_saved(mltfr_stop *stop, double seconds, double slowest)
{
    stop->slowest_save = fmax(stop->slowest_save, slowest);
    stop->looked += seconds; /* not a part of the step */
}

/* The first step is taken whatever run.stop_after says: a loop of starts gets on. */
static mltfr_status look_at_clock(mltfr_stop *s, int64_t steps)
{
    const double now = mltfr_seconds(), left = s->end - now;

    if (steps > 0)
        s->slowest_step = fmax(s->slowest_step, now - s->looked);
    s->looked = now;
    if (left > s->slowest_step + s->slowest_save + s->margin ||
        (steps == 0 && s->clock == stop_after))
        return MLTFR_OK;
    return mltfr_fail(MLTFR_STOPPED,
                      "%s is in %.1f s%s: a step takes %.1f s, a checkpoint %.1f s, and %.0f s are "
                      "kept free",
                      s->clock, left, steps == 0 ? ", too soon for a step" : "", s->slowest_step,
                      s->slowest_save, s->margin);
}

/* ---- all of them --------------------------------------------------------------------------- */

mltfr_status mltfr_stop_look(mltfr_stop *stop, int64_t steps)
{
    char path[PATH_BYTES];

    for (int i = 0; i < SIGNALS; i++)
        if (signalled == caught[i].number)
            return mltfr_fail(MLTFR_STOPPED, "%s", caught[i].name);
    if (!stop->leads)
        return MLTFR_OK;
    snprintf(path, sizeof path, "%s/stop", stop->run_dir);
    if (unlink(path) == 0)
        return mltfr_fail(MLTFR_STOPPED, "the file stop");
    if (stop->steps > 0 && steps >= stop->steps)
        return mltfr_fail(MLTFR_STOPPED, "%s=%lld", stop_after, (long long)stop->steps);
    return look_at_clock(stop, steps);
}
