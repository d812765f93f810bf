/* What MPI, HDF5 and ScaLAPACK are.  MPI's and HDF5's own calls are allowed before MPI_Init; the
 * version of ScaLAPACK is in the name of the file one of its routines was loaded from. */
#include <mltfr/versions.h>

#include <dlfcn.h>
#include <hdf5.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mltfr_mpi_version(char *text, size_t bytes)
{
    char name[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;

    MPI_Get_library_version(name, &length);
    name[strcspn(name, ",\n")] = '\0'; /* what follows is the packager's and the build's */
    snprintf(text, bytes, "%s", name);
}

void mltfr_hdf5_version(char *text, size_t bytes)
{
    unsigned major, minor, release;

    H5get_libversion(&major, &minor, &release);
    snprintf(text, bytes, "%u.%u.%u", major, minor, release);
}

/* The last part of the real name: libscalapack.so.2.2 is a link to libscalapack.so.2.2.1. */
static void loaded_from(const char *file, char *text, size_t bytes)
{
    char *real = realpath(file, NULL);
    const char *slash = strrchr(real != NULL ? real : file, '/');

    snprintf(text, bytes, "%s", slash != NULL ? slash + 1 : file);
    free(real);
}

void mltfr_scalapack_version(char *text, size_t bytes)
{
    Dl_info info;
    void *routine = dlsym(RTLD_DEFAULT, "pdposv_");

    if (routine != NULL && dladdr(routine, &info) != 0 && strstr(info.dli_fname, ".so") != NULL)
        loaded_from(info.dli_fname, text, bytes);
    else
        snprintf(text, bytes, "built in, version unknown");
}
