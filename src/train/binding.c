/* Ranks that share a core wait for each other, and ranks on unlike CPUs compute other bits. */
#include "binding.h"
#include "fingerprint.h"

#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/versions.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- shared cores -------------------------------------------------------------------------- */

static bool is_within(const cpu_set_t *a, const cpu_set_t *b)
{
    cpu_set_t both;

    CPU_AND(&both, a, b);
    return CPU_EQUAL(&both, a);
}

/* How many ranks of p's host can only run on the cores of rank p; the first two of them. */
static int count_within(int size, const mltfr_place_of_rank ranks[], int p, int first[2])
{
    int n = 0;

    for (int i = 0; i < size; i++)
        if (strcmp(ranks[i].host, ranks[p].host) == 0 &&
            is_within(&ranks[i].cores, &ranks[p].cores)) {
            if (n < 2)
                first[n] = i;
            n++;
        }
    return n;
}

void mltfr_binding_warning(int size, const mltfr_place_of_rank ranks[], char *text, size_t bytes)
{
    int first[2], worst = 0;
    double most = 0.;

    text[0] = '\0';
    for (int p = 0; p < size; p++) {
        const double load =
            count_within(size, ranks, p, first) / (double)CPU_COUNT(&ranks[p].cores);
        if (load > most) {
            most = load;
            worst = p;
        }
    }
    if (most <= 1.)
        return;
    const int n = count_within(size, ranks, worst, first), cores = CPU_COUNT(&ranks[worst].cores);

    if (cores == 1)
        snprintf(
            text, bytes,
            "%d ranks (%d and %d are the first) run on one core of %s and take turns: run mpirun "
            "with --bind-to core, or with --bind-to none where several runs share the machine",
            n, first[0], first[1], ranks[worst].host);
    else
        snprintf(text, bytes,
                 "%d ranks share %d cores of %s: fewer ranks are faster; at least set "
                 "OMPI_MCA_mpi_yield_when_idle=1",
                 n, cores, ranks[worst].host);
}

/* ---- unlike CPUs --------------------------------------------------------------------------- */

static mltfr_status compare(int size, const mltfr_place_of_rank ranks[])
{
    for (int p = 1; p < size; p++)
        if (ranks[p].fingerprint != ranks[0].fingerprint)
            return mltfr_fail(
                MLTFR_E_USAGE,
                "rank %d on %s (BLAS kernel %s) computes other bits than rank 0 on %s "
                "(%s): set OPENBLAS_CORETYPE to a kernel that all machines have, or "
                "use machines of one type",
                p, ranks[p].host, ranks[p].kernel, ranks[0].host, ranks[0].kernel);
    for (int p = 1; p < size; p++)
        if (strcmp(ranks[p].kernel, ranks[0].kernel) != 0) {
            mltfr_warn(
                "rank %d on %s uses the BLAS kernel %s, rank 0 on %s uses %s: the bits agree, "
                "the speed may not",
                p, ranks[p].host, ranks[p].kernel, ranks[0].host, ranks[0].kernel);
            break;
        }
    return MLTFR_OK;
}

/* The CPU that stands for the core of `cpu`: the first of its hardware threads. */
static int core_of(int cpu)
{
    char path[96];
    int first = cpu;

    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *from = fopen(path, "r");

    if (from != NULL && fscanf(from, "%d", &first) != 1)
        first = cpu;
    if (from != NULL)
        fclose(from);
    return first;
}

static void find_cores(cpu_set_t *cores)
{
    cpu_set_t cpus;

    CPU_ZERO(cores);
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) {
        memset(cores, 0xff, sizeof *cores); /* not known: nothing to warn of */
        return;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &cpus))
            CPU_SET(core_of(cpu), cores);
}

static void warn_of_slow_kernel(const char *kernel)
{
    const char *faster = mltfr_blas_faster(kernel);

    if (faster != NULL)
        mltfr_warn("the BLAS kernel %s is slow on this processor: set OPENBLAS_CORETYPE=%s", kernel,
                   faster);
}

static mltfr_place_of_rank find_myself(void)
{
    mltfr_place_of_rank me;

    memset(&me, 0, sizeof me);
    gethostname(me.host, sizeof me.host - 1);
    snprintf(me.kernel, sizeof me.kernel, "%s", mltfr_blas_kernel());
    me.fingerprint = mltfr_fingerprint();
    find_cores(&me.cores);
    return me;
}

mltfr_status mltfr_binding_check(mltfr_comm *comm)
{
    mltfr_status st = MLTFR_OK;
    const int size = mltfr_comm_size(comm);
    const mltfr_place_of_rank me = find_myself();
    mltfr_place_of_rank *ranks = NULL;
    char text[512];

    MLTFR_AGREE(comm, MLTFR_NEW(ranks, size));
    mltfr_comm_allgather(comm, &me, sizeof me, ranks);
    mltfr_binding_warning(size, ranks, text, sizeof text);
    if (text[0] != '\0')
        mltfr_warn("%s", text);
    MLTFR_AGREE(comm, compare(size, ranks));
    warn_of_slow_kernel(me.kernel);
done:
    MLTFR_FREE(ranks);
    return st;
}
