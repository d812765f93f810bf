/* Memory that the ranks of a node share for the watchdog: an anonymous file of the first of them,
 * which the others open by way of /proc.  It has no name, so nothing stays behind whatever happens.
 * A rank that cannot have it watches itself alone. */
#include "comm_impl.h"

#include <mltfr/watchdog.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
    mltfr_pulse *pulses; /* NULL: none are shared */
    int count;
} page;

static mltfr_pulse alone;

static size_t page_bytes(int count)
{
    return (size_t)count * sizeof(mltfr_pulse);
}

/* Map the file; -1 is none. */
static mltfr_pulse *map(int fd, int count)
{
    void *at = fd < 0 ? MAP_FAILED
                      : mmap(NULL, page_bytes(count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return at == MAP_FAILED ? NULL : at;
}

/* @collective{node}; NULL on all ranks where one cannot */
static mltfr_pulse *share(MPI_Comm node, int rank, int count)
{
    struct {
        int pid, fd;
    } of = {getpid(), -1};
    char path[64];
    mltfr_pulse *pulses = NULL;
    int fd = rank == 0 ? memfd_create("mltfr-watchdog", MFD_CLOEXEC) : -1, all;

    if (fd >= 0 && ftruncate(fd, (off_t)page_bytes(count)) == 0)
        of.fd = fd;
    MLTFR_MPI(MPI_Bcast(&of, 2, MPI_INT, 0, node));
    snprintf(path, sizeof path, "/proc/%d/fd/%d", of.pid, of.fd);
    if (rank != 0 && of.fd >= 0)
        fd = open(path, O_RDWR | O_CLOEXEC);
    pulses = map(fd, count);
    all = pulses != NULL;
    MLTFR_MPI(MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, node));
    if (fd >= 0)
        close(fd);
    if (pulses != NULL && !all)
        munmap(pulses, page_bytes(count));
    return all ? pulses : NULL;
}

void mltfr_comm_watch(mltfr_comm *comm, int64_t seconds)
{
    MPI_Comm node;
    int rank;

    mltfr_comm_unwatch();
    MLTFR_MPI(
        MPI_Comm_split_type(comm->mpi, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &node));
    MLTFR_MPI(MPI_Comm_rank(node, &rank));
    MLTFR_MPI(MPI_Comm_size(node, &page.count));
    page.pulses = share(node, rank, page.count);
    MLTFR_MPI(MPI_Comm_free(&node));
    if (page.pulses != NULL)
        mltfr_watchdog_start(page.pulses, page.count, rank, comm->rank, seconds);
    else
        mltfr_watchdog_start(&alone, 1, 0, comm->rank, seconds);
}

void mltfr_comm_unwatch(void)
{
    mltfr_watchdog_stop();
    if (page.pulses != NULL)
        munmap(page.pulses, page_bytes(page.count));
    page.pulses = NULL;
}
