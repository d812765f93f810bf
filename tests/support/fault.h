/* A fault on demand: the count-th time that a rank passes a point, something goes wrong there.
 *
 *      MLTFR_FAULT=[ACTION-]POINT:COUNT[@RANK]         read when the program starts
 *
 * Points: alloc, open, read, write, short (a write of half the bytes), enospc, flush (of a stream),
 * fsync, rename, close and collective (an MPI_Allreduce).  Without an action the call fails; a
 * collective is left out on this rank.  Actions: die (SIGKILL), stop (SIGSTOP), exit (with status
 * 0), sleep (for ever).
 *
 * Part of test programs only: fault.c stands between the program and its libraries, so that what is
 * tested is what is installed.  Only files that are opened after MPI_Init count, whoever calls:
 * the program itself, HDF5 or MPI-IO. */
#ifndef MLTFR_TEST_FAULT_H
#define MLTFR_TEST_FAULT_H

#include <stdint.h>

/* From now on; count 0: nothing goes wrong, passes are counted.  rank -1: on every rank. */
void fault_arm(const char *point, int64_t count, int rank);

/* How often this rank has passed the point since then. */
int64_t fault_passed(void);

#endif
