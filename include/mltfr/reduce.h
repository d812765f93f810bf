/** @file mltfr/reduce.h
 *  Canonical sums over blocks that ranks own: the same bits on any number of ranks
 *  (mltfr/tree.h).  Layer: comm (mpi/). */
#ifndef MLTFR_REDUCE_H
#define MLTFR_REDUCE_H

#include <mltfr/comm.h>
#include <mltfr/tree.h>

/** Sum over n blocks of vectors of `width` floats; rank p owns the blocks [first(p), first(p + 1))
 *  of mltfr_share_first(n, size, p).  Each rank adds the columns of one stretch of the vector.
 *  @collective{comm}
 *  @param parts  [mltfr_tree_cover of the own blocks][width]: sums of this rank's maximal nodes
 *  @param out    [width], the sum, on every rank
 *  @return MLTFR_E_NOMEM, the same on every rank */
mltfr_status mltfr_reduce_all(mltfr_comm *comm, int64_t n, int64_t width, const float *parts,
                              float *out);

/** The same with any first block of each rank (first[size] = n); out is set on the root only.
 *  @collective{comm}
 *  @param first  [size + 1], rising, the same on every rank
 *  @param parts  mltfr_treesum_parts of the own blocks; NULL where there are none */
mltfr_status mltfr_reduce_to(mltfr_comm *comm, int64_t n, const int64_t first[], int64_t width,
                             const float *parts, int root, float *out);

#endif
