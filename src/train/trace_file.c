/* Ranks append to the file one after the other, so no rank holds another one's events. */
#include "trace_file.h"

#include <mltfr/log.h>
#include <mltfr/trace.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

static void path_of(const mltfr_settings *set, char path[PATH_BYTES])
{
    if (strcmp(set->run_trace, "true") == 0)
        snprintf(path, PATH_BYTES, "%s/trace.json", set->run_dir);
    else
        snprintf(path, PATH_BYTES, "%s", set->run_trace);
}

static bool is_wanted(const mltfr_settings *set)
{
    return set->run_trace[0] != '\0' && strcmp(set->run_trace, "false") != 0;
}

mltfr_status mltfr_trace_file_begin(mltfr_comm *comm, const mltfr_settings *set)
{
    mltfr_status st = MLTFR_OK;

    char path[PATH_BYTES];

    if (!is_wanted(set))
        return MLTFR_OK;
    path_of(set, path);
    mltfr_note("trace   %s is written at the end", path);
    mltfr_comm_barrier(comm);
    MLTFR_AGREE(comm, mltfr_trace_start());
done:
    if (st != MLTFR_OK)
        mltfr_trace_stop();
    return st;
}

static mltfr_status append(const char *path, int rank, int size)
{
    FILE *to = fopen(path, rank == 0 ? "w" : "a");

    if (to != NULL)
        fprintf(
            to,
            "%s{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"args\":{\"name\":\"rank %d\"}}",
            rank == 0 ? "[\n" : ",\n", rank, rank);
    const bool failed =
        to == NULL || !mltfr_trace_print(to, rank) || (rank == size - 1 && fputs("\n]\n", to) < 0);

    if ((to != NULL && fclose(to) != 0) || failed)
        return mltfr_fail(MLTFR_E_IO, "run.trace: %s: %s", path, strerror(errno));
    return MLTFR_OK;
}

static mltfr_status write_all(mltfr_comm *comm, const char *path)
{
    mltfr_status st = MLTFR_OK;
    const int size = mltfr_comm_size(comm), me = mltfr_comm_rank(comm);

    for (int p = 0; p < size; p++)
        MLTFR_AGREE(comm, p == me ? append(path, me, size) : MLTFR_OK);
done:
    return st;
}

mltfr_status mltfr_trace_file_end(mltfr_comm *comm, const mltfr_settings *set, mltfr_status st)
{
    char path[PATH_BYTES];
    mltfr_status written = MLTFR_OK;

    if (!mltfr_trace_on)
        return st;
    path_of(set, path);
    if (st == MLTFR_OK || st == MLTFR_STOPPED)
        written = write_all(comm, path);
    mltfr_trace_stop();
    return written != MLTFR_OK ? written : st;
}
