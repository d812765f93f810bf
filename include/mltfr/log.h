/** @file mltfr/log.h
 *  Messages to people.  Layer: base.
 *
 *  Only rank 0 prints.  Notes and progress go to stdout, warnings and errors to stderr; all of
 *  them also go, with the time, to the log file of the run once there is one.  @local */
#ifndef MLTFR_LOG_H
#define MLTFR_LOG_H

#include <stdbool.h>

/** @param rank  0 prints; any other number is silent
 *  @param quiet notes are not printed (they still go to the log file) */
void mltfr_log_setup(int rank, bool quiet);

/** Append to this file from now on (rank 0 only); NULL ends it.  False if it cannot be opened. */
bool mltfr_log_open(const char *path);

/** Lock this file against other processes that ask for the lock; wait 10 s for one that has it.
 * @local
 *  @return false: another process has it.  true also where the file system has no locks. */
bool mltfr_log_lock(void);

/** A line for the user: what is being done, with which result. */
void mltfr_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** A result line: printed on stdout even where --quiet. */
void mltfr_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** A line that the next one replaces, for a terminal: progress within something long. */
void mltfr_bar(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** `mltfr_dist: warning: ...` on stderr. */
void mltfr_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** `mltfr_dist: error: ...` on stderr. */
void mltfr_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Seconds of a steady clock. */
double mltfr_seconds(void);

#endif
