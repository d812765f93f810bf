/** @file mltfr/synthetic.h
 *  A planted example: interactions with an order to learn, and token spaces with clusters that
 *  are shared between LLMs.  It stands in where no data is given, and in tests.  Layer: io.
 *
 *  Everything is a hash of the seed: the same numbers for every number of ranks. */
#ifndef MLTFR_SYNTHETIC_H
#define MLTFR_SYNTHETIC_H

#include <mltfr/interactions.h>

typedef struct {
    int64_t users, items; /**< sequences of 6 to 30 items, none twice */
    int64_t clusters;     /**< of items, and of tokens; at most items */
    int64_t llms;         /**< token spaces (K) */
    int64_t shared_dim;   /**< width of the shared block (r_c) */
    int64_t specific_dim; /**< width of an LLM's own block (r_s), may be 0 */
    uint64_t seed;
} mltfr_synthetic_spec;

/** 600 users, 200 items in 10 clusters, 2 LLMs of 16 + 16 dimensions.  @local */
mltfr_synthetic_spec mltfr_synthetic_defaults(void);

/** The interactions.  @local  @return MLTFR_E_USAGE for a spec out of range */
mltfr_status mltfr_synthetic_make(const mltfr_synthetic_spec *spec, mltfr_interactions **out);

/** Token space k, conditioned as by E10; k = llms is the consensus space.  @local
 *  @param rows   V' of the LLM, or A anchors of the consensus space
 *  @param width  r_c + r_s, or r_c
 *  @param Z      [rows][width], owned by the caller (MLTFR_FREE) */
mltfr_status mltfr_synthetic_space(const mltfr_synthetic_spec *spec, int64_t k, int64_t *rows,
                                   int64_t *width, float **Z);

/** One new file with the group "interactions" (mltfr/interactions.h) and the group "spaces"
 *  (mltfr/spaces.h).  @collective{comm} */
mltfr_status mltfr_synthetic_write(mltfr_comm *comm, const char *path,
                                   const mltfr_synthetic_spec *spec);

#endif
