/** @file mltfr/watchdog.h
 *  The end of a run that does not get on.  Each rank has a pulse in memory that the ranks of its
 *  node share; a thread in each rank looks at them.  When none beats for too long, or a rank is
 *  gone, one line on stderr names the rank that is late and its phase, and the ranks leave with
 *  status 70.  Layer: base.  @local */
#ifndef MLTFR_WATCHDOG_H
#define MLTFR_WATCHDOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** What a rank shows of itself.  Only its own rank writes to it. */
typedef struct {
    _Alignas(128) int rank; /**< a cache line or two for each: nobody slows a neighbour down */
    int pid;                /**< 0: it has not begun */
    atomic_int over;        /**< ended in order, or says itself why not */
    atomic_int waiting;     /**< inside a call that waits for other ranks */
    atomic_int told;        /**< of the first pulse: somebody has said what is wrong */
    atomic_uint beats;      /**< grows whenever something got done */
    atomic_int allowed;     /**< seconds that the call it is in may take besides */
    char phase[28];         /**< what it is at, and ... */
    char part[28];          /**< ... within that; both end with 0 */
} mltfr_pulse;

/** This rank's pulse; one that nobody sees where there is no watch. */
extern mltfr_pulse *mltfr_own_pulse;

/** Watch from now on.  One watch at a time.
 *  @param pulses   [count], those of this node's ranks, zeroed; kept until the stop
 *  @param own      which of them is this rank's
 *  @param rank     for messages
 *  @param seconds  of silence on this node that end the run; 0: only a rank that is gone does */
void mltfr_watchdog_start(mltfr_pulse *pulses, int count, int own, int rank, int64_t seconds);
void mltfr_watchdog_stop(void);

/** This rank ends by itself, and says why: the others need not. */
void mltfr_watchdog_leave(void);

/** What comes now; something got done.  A part belongs to the phase. */
void mltfr_watchdog_phase(const char *phase);
void mltfr_watchdog_kick(const char *part);

/** A call that follows gets nothing done for long, as a large decomposition: all ranks of the node
 *  have `seconds` more.  0: it is over. */
void mltfr_watchdog_allow(double seconds);

/** Around a call that waits for other ranks. */
static inline void mltfr_watchdog_wait(void)
{
    atomic_store_explicit(&mltfr_own_pulse->waiting, 1, memory_order_relaxed);
}
static inline void mltfr_watchdog_go_on(void)
{
    atomic_fetch_add_explicit(&mltfr_own_pulse->beats, 1, memory_order_relaxed);
    atomic_store_explicit(&mltfr_own_pulse->waiting, 0, memory_order_relaxed);
}

#endif
