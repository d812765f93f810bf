/* Checks for programs that run on several ranks: a failure is counted, said by the rank that finds
 * it, and makes every rank fail at the end. */
#ifndef MLTFR_MPI_TEST_H
#define MLTFR_MPI_TEST_H

#include <mltfr/comm.h>
#include <mltfr/mem.h>

#include <stdarg.h>
#include <stdio.h>

static int failures;

/* One line in one piece: ranks write at the same time. */
__attribute__((format(printf, 4, 5))) static inline void
check_failure(const char *file, int line, const char *condition, const char *format, ...)
{
    char text[3000];
    va_list ap;

    failures++;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, condition, text);
}

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            check_failure(__FILE__, __LINE__, #condition, __VA_ARGS__);                            \
    } while (0)

/* What the test itself cannot go on without. */
#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) != MLTFR_OK)                                                                    \
            mltfr_panic("%s: %s", #call, mltfr_error_text);                                        \
    } while (0)

/* End MPI.  The exit status, the same on every rank but for leaks of this one. @collective{comm} */
static inline int mpi_test_end(mltfr_comm **comm)
{
    int64_t all = failures;

    mltfr_comm_sum_i64(*comm, &all, 1);
    mltfr_comm_finish(comm);
    if (mltfr_mem_now() != 0)
        fprintf(stderr, "%zu bytes are still held\n", mltfr_mem_now());
    return all != 0 || mltfr_mem_now() != 0;
}

#endif
