/** @file mltfr/progress.h
 *  Long work shows how far it is: a bar that replaces itself, or plain lines at intervals.  Work
 *  that takes less than an interval shows nothing.  Layer: base.  @local */
#ifndef MLTFR_PROGRESS_H
#define MLTFR_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { MLTFR_PROGRESS_NONE, MLTFR_PROGRESS_LINES, MLTFR_PROGRESS_BAR } mltfr_progress_form;

/** The form for all that follows; nothing is shown before. */
void mltfr_progress_setup(mltfr_progress_form form);

/** What was set up. */
mltfr_progress_form mltfr_progress_shown(void);

/** Is it time for another word, the last one having been said at *last (seconds)?  Then sets it. */
bool mltfr_progress_due(double *last);

enum { MLTFR_BAR_BYTES = 48 };

/** `[#######.............]  35%` into text; returns it. */
const char *mltfr_progress_bar(double share, char text[MLTFR_BAR_BYTES]);

/** A piece of work with a known length. */
typedef struct {
    const char *what, *unit; /**< borrowed */
    int64_t total;
    double begin, last;
} mltfr_task;

/** @param unit  in the plural: "users" */
mltfr_task mltfr_task_begin(const char *what, const char *unit, int64_t total);

/** `done` of the task's total are done; shows that, with the speed and the time that is left. */
void mltfr_task_show(mltfr_task *task, int64_t done);

/** All is done: a line with the time and the speed, if anything was shown before. */
void mltfr_task_end(const mltfr_task *task);

#endif
