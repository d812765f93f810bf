/* A signal sets a flag; the flags of all ranks meet in one small reduction a step, so that all of
 * them stop after the same step. */
#include "stop.h"

#include <mltfr/log.h>
#include <mltfr/text.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, SIGNALS = 2 };

typedef enum { NOBODY, STOP_AFTER, STOP_FILE, SIGNAL } asker;

static const int numbers[SIGNALS] = {SIGUSR1, SIGTERM};
static struct sigaction before[SIGNALS];
static bool catching;
static volatile sig_atomic_t signalled;

static void note_signal(int number)
{
    (void)number;
    signalled = 1;
}

mltfr_status mltfr_stop_begin(mltfr_comm *comm, const mltfr_settings *set, mltfr_stop *out)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    int64_t seconds;

    *out = (mltfr_stop){.comm = comm, .run_dir = set->run_dir, .begin = mltfr_seconds()};
    if (!mltfr_text_to_stop(set->run_stop_after, &out->steps, &seconds))
        return mltfr_fail(MLTFR_E_USAGE,
                          "run.stop_after: '%s' is neither a number of steps nor a time such as "
                          "90s or 3h50m",
                          set->run_stop_after);
    out->seconds = (double)seconds;
    signalled = 0;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < SIGNALS && !catching; i++)
        sigaction(numbers[i], &action, &before[i]);
    catching = true;
    return MLTFR_OK;
}

void mltfr_stop_end(void)
{
    for (int i = 0; i < SIGNALS && catching; i++)
        sigaction(numbers[i], &before[i], NULL);
    catching = false;
}

static asker look(const mltfr_stop *s, int64_t steps)
{
    char path[PATH_BYTES];

    if (signalled)
        return SIGNAL;
    if (mltfr_comm_rank(s->comm) != 0)
        return NOBODY;
    snprintf(path, sizeof path, "%s/stop", s->run_dir);
    if (unlink(path) == 0)
        return STOP_FILE;
    if ((s->steps > 0 && steps >= s->steps) ||
        (s->seconds > 0. && mltfr_seconds() - s->begin > s->seconds))
        return STOP_AFTER;
    return NOBODY;
}

bool mltfr_stop_asked(mltfr_stop *stop, int64_t steps)
{
    static const char *const why[] = {NULL, "run.stop_after", "the file stop", "a signal"};
    int64_t who = look(stop, steps);

    mltfr_comm_max_i64(stop->comm, &who, 1);
    stop->why = why[who];
    return stop->why != NULL;
}
