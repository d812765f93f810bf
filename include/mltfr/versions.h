/** @file mltfr/versions.h
 *  What the program was linked with, and the set-up of BLAS.  Layers: comm (MPI, HDF5, ScaLAPACK)
 *  and num (BLAS).  All functions are @local and work before MPI starts. */
#ifndef MLTFR_VERSIONS_H
#define MLTFR_VERSIONS_H

#include <stddef.h>

/** Name and version of a library as one line; cut to `bytes`.  ScaLAPACK has no call for its
 *  version: the file of the shared library says it. */
void mltfr_mpi_version(char *text, size_t bytes);
void mltfr_hdf5_version(char *text, size_t bytes);
void mltfr_scalapack_version(char *text, size_t bytes);
void mltfr_blas_version(char *text, size_t bytes);

/** The kernel BLAS has chosen for this processor, e.g. "SkylakeX"; a constant string. */
const char *mltfr_blas_kernel(void);

/** A kernel that this processor runs faster than the named one, for OPENBLAS_CORETYPE; NULL where
 *  none is known.  OpenBLAS takes an old kernel for a processor newer than itself. */
const char *mltfr_blas_faster(const char *kernel);

/** One BLAS thread a rank: more would change the bits and fight over the cores. */
void mltfr_blas_setup(void);

#endif
