/* For tests with sanitizers.  Open MPI loads plugins and unloads them again, in MPI_Init those that
   are of no use and in MPI_Finalize the others.  What they leave behind has then an allocator
   without a name, which no suppression matches. */
#include <dlfcn.h>
#include <link.h>
#include <mpi.h>

#pragma weak __lsan_disable
#pragma weak __lsan_enable
void __lsan_disable(void);
void __lsan_enable(void);

int MPI_Init(int *argc, char ***argv)
{
    int provided;
    return MPI_Init_thread(argc, argv, MPI_THREAD_SINGLE, &provided);
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    if (__lsan_disable)
        __lsan_disable();
    int code = PMPI_Init_thread(argc, argv, required, provided);
    if (__lsan_enable)
        __lsan_enable();
    return code;
}

static int keep(struct dl_phdr_info *library, size_t size, void *context)
{
    (void)size;
    (void)context;
    dlopen(library->dlpi_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    return 0;
}

int MPI_Finalize(void)
{
    dl_iterate_phdr(keep, NULL);
    return PMPI_Finalize();
}
