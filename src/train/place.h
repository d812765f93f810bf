/* Where experts live and who computes their rows: plain arithmetic, the same on every rank.
 * Private to the layer train; all functions are @local. */
#ifndef MLTFR_PLACE_H
#define MLTFR_PLACE_H

#include <stdint.h>

/* Tokens of K spaces over P ranks.  cost[k]: what space k takes, in any unit; units[k]: the pieces
 * it may be split into.  Longest first, each to the least loaded rank; one that would reach above
 * 1.1 times the mean fills ranks up to the mean, one after the other.
 *  first  [K][P + 1] rank p holds the units [first[p], first[p + 1]) of k
 *  owner  [K] the first rank with the largest part: it holds Adam's state
 *  load   [P] cost of each rank */
void mltfr_place_spaces(int64_t K, const double cost[], const int64_t units[], int P,
                        int64_t *first, int owner[], double load[]);

/* Routed rows of one step, to be placed. */
typedef struct {
    int64_t K, blocks;
    int P;
    const int32_t *rows; /* [blocks][K] */
    const double *cost;  /* [K] of a row */
    const double *fixed; /* [K] of each rank with rows of k, besides the owner */
    const int *owner;    /* [K] */
    const int *holders;  /* [K][2] the first and the last rank that may compute rows of k */
} mltfr_routed_rows;

/* An expert stays with its owner while that rank has at most 1.1 times the mean; what is above goes
 * to holders with room for it and for the fixed cost.
 *  first  [K][P + 1] rank p computes the user blocks [first[p], first[p + 1]) of k
 *  load   [P] what each rank has to do besides; with its part of the rows, out */
void mltfr_place_rows(const mltfr_routed_rows *x, int64_t *first, double load[]);

#endif
