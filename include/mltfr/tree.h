/** @file mltfr/tree.h
 *  The canonical sum: one binary tree over the numbers of fixed blocks.  Layer: base.  @local
 *
 *  Node [lo, hi) has the children [lo, mid) and [mid, hi) with mid = lo + (hi - lo + 1) / 2; a leaf
 *  is one block.  A rank that owns the blocks [first, last) sums the maximal nodes inside its
 *  range; the rest of the tree is finished from those partial sums.  The order of additions is a
 *  property of the number of blocks alone, so the result has the same bits on any number of ranks.
 *
 *            [0,5)                    rank 0 owns 0 1 2 : one partial sum [0,3)
 *         [0,3)    [3,5)              rank 1 owns 3 4   : one partial sum [3,5)
 *      [0,2) 2     3   4
 *      0   1                                                                                    */
#ifndef MLTFR_TREE_H
#define MLTFR_TREE_H

#include <mltfr/status.h>

#include <stdint.h>

typedef struct {
    int64_t lo, hi;
} mltfr_span;

enum { MLTFR_TREE_SPANS = 64 };

/** The maximal nodes of the tree over n blocks inside [first, last), in order.
 *  @param spans  [MLTFR_TREE_SPANS], or NULL to count only
 *  @return how many there are; 0 for an empty range */
int mltfr_tree_cover(int64_t n, int64_t first, int64_t last, mltfr_span spans[]);

/** Finish the tree over n blocks from partial sums that cover [0, n), in order.
 *  @param parts  [count][width]; overwritten
 *  @param out    [width], the sum; zero where n is 0 */
void mltfr_tree_fold(int64_t n, const mltfr_span spans[], int count, int64_t width, float *parts,
                     float *out);

/** Running sum of the blocks [first, last) of n, given in order. */
typedef struct mltfr_treesum mltfr_treesum;

mltfr_status mltfr_treesum_create(int64_t n, int64_t first, int64_t last, int64_t width,
                                  mltfr_treesum **out);
/** Where the next block's value goes: [width], zeroed; valid until the push. */
float *mltfr_treesum_next(mltfr_treesum *sum);
/** The next block's value is there. */
void mltfr_treesum_push(mltfr_treesum *sum);
/** After the last push: the partial sums of the rank's maximal nodes, [count][width] in order;
 *  count may be NULL. */
float *mltfr_treesum_parts(mltfr_treesum *sum, int *count);
/** Back to the first block, for another sum over the same blocks. */
void mltfr_treesum_rewind(mltfr_treesum *sum);
/** Make *kept ready for the blocks [first, last) of n of any width; what memory it has stays.
 *  @param kept  NULL at first; to be destroyed */
mltfr_status mltfr_treesum_take(int64_t n, int64_t first, int64_t last, int64_t width,
                                mltfr_treesum **kept);
void mltfr_treesum_destroy(mltfr_treesum **sum);

#endif
