/** @file mltfr/watchdog.h
 *  The end of a run that does not get on: a rank that waits too long in one phase names itself and
 *  the phase on stderr and leaves with status 70, which ends the others.  Layer: base.  @local */
#ifndef MLTFR_WATCHDOG_H
#define MLTFR_WATCHDOG_H

#include <stdint.h>

/** Watch from now on.  @param rank  for the message  @param seconds  of silence; 0 ends the watch
 */
void mltfr_watchdog_start(int rank, int64_t seconds);

/** Something got done; what comes now is `phase`, a string that stays. */
void mltfr_watchdog_kick(const char *phase);

#endif
