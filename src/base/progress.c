#include <mltfr/log.h>
#include <mltfr/progress.h>
#include <mltfr/watchdog.h>

#include <inttypes.h>
#include <stdio.h>

enum { BAR_WIDTH = 24 };

static const double line_seconds = 5., bar_seconds = .2; /* between two words */

static mltfr_progress_form form;

void mltfr_progress_setup(mltfr_progress_form wanted)
{
    form = wanted;
}

mltfr_progress_form mltfr_progress_shown(void)
{
    return form;
}

bool mltfr_progress_due(double *last)
{
    const double now = mltfr_seconds();

    if (form == MLTFR_PROGRESS_NONE ||
        now - *last < (form == MLTFR_PROGRESS_BAR ? bar_seconds : line_seconds))
        return false;
    *last = now;
    return true;
}

const char *mltfr_progress_bar(double share, char text[MLTFR_BAR_BYTES])
{
    const int full = (int)(share * BAR_WIDTH);
    char bar[BAR_WIDTH + 1] = "";

    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    snprintf(text, MLTFR_BAR_BYTES, "[%s] %3.0f%%", bar, 100. * share);
    return text;
}

mltfr_task mltfr_task_begin(const char *what, const char *unit, int64_t total)
{
    const double now = mltfr_seconds();

    return (mltfr_task){what, unit, total, now, now};
}

void mltfr_task_show(mltfr_task *t, int64_t done)
{
    char bar[MLTFR_BAR_BYTES] = "";

    mltfr_watchdog_go_on();
    if (done <= 0 || done >= t->total || !mltfr_progress_due(&t->last))
        return;
    const double share = (double)done / (double)t->total, spent = t->last - t->begin;

    if (form == MLTFR_PROGRESS_BAR)
        mltfr_progress_bar(share, bar);
    else
        snprintf(bar, sizeof bar, "%3.0f%%", 100. * share);
    (form == MLTFR_PROGRESS_BAR ? mltfr_bar : mltfr_note)(
        "%-10s %s  %" PRId64 "/%" PRId64 " %s  %.0f/s  %.0f s left", t->what, bar, done, t->total,
        t->unit, (double)done / spent, spent / share - spent);
}

void mltfr_task_end(const mltfr_task *t)
{
    const double spent = mltfr_seconds() - t->begin;

    if (t->last > t->begin)
        mltfr_note("%-10s %" PRId64 " %s in %.1f s, %.0f/s", t->what, t->total, t->unit, spent,
                   (double)t->total / spent);
}
