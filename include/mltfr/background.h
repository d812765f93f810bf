/** @file mltfr/background.h
 *  One piece of work beside the main thread.  Layer: base.  All functions are @local.
 *
 *  The work calls nothing of MPI, HDF5, mltfr_alloc, mltfr_fail or the log: none of them expects
 *  threads.  It takes no signals. */
#ifndef MLTFR_BACKGROUND_H
#define MLTFR_BACKGROUND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/** All zero before the first use, and again after each wait. */
typedef struct {
    pthread_t thread;
    bool running; /**< there is a thread to wait for */
    atomic_bool done;
    void (*work)(void *context);
    void *context;
} mltfr_background;

/** Begin; where there can be no thread the work is done at once.
 *  @param context  kept until the wait */
void mltfr_background_start(mltfr_background *task, void (*work)(void *context), void *context);

/** Is nothing left to wait for? */
bool mltfr_background_done(mltfr_background *task);

/** Wait for the end; what the work wrote can be read then. */
void mltfr_background_wait(mltfr_background *task);

#endif
