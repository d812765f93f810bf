/* Comparison of a replayed golden file with the golden file itself. */
#ifndef MLTFR_TEST_GOLDEN_H
#define MLTFR_TEST_GOLDEN_H

#include <mltfr/comm.h>

/** Compare every array of every group named `expect` of the file `expected` with the array of the
 *  same path in `actual`.  The measure is max|difference| / max(max|expected|, 1e-6), for the
 *  gradient of attn.bk (zero but for rounding) max|difference|; whole numbers must be equal. Arrays
 *  of `conditioning` are compared up to the signs of eigenvectors that nothing fixes.  Prints the
 *  worst array, and the first of those that are beyond the tolerance or missing.  @collective{comm}
 *  @param skip  a path that ends in this may be missing, or NULL
 *  @return how many arrays are missing or beyond the tolerance; -1 if a file cannot be read or
 *          expects nothing */
int golden_compare(mltfr_comm *comm, const char *expected, const char *actual, double tolerance,
                   const char *skip);

/** Path of a file under tests/golden of the source tree (MLTFR_SOURCE_DIR); a static string that
 *  the next call overwrites. */
const char *golden_path(const char *name);

#endif
