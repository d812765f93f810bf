/* Shared by the two halves of the synthetic example.  All functions are @local. */
#ifndef MLTFR_SYNTHETIC_IMPL_H
#define MLTFR_SYNTHETIC_IMPL_H

#include <mltfr/synthetic.h>

/** What a stream of random numbers is for. */
typedef enum {
    MLTFR_SYNTHETIC_LENGTHS = 1,
    MLTFR_SYNTHETIC_USERS,
    MLTFR_SYNTHETIC_CENTRES, /**< of the shared block; of LLM k's own block is stream k + 1 */
    MLTFR_SYNTHETIC_MEANING, /**< what a string means to all LLMs */
    MLTFR_SYNTHETIC_NOISE    /**< what an LLM adds */
} mltfr_synthetic_part;

uint64_t mltfr_synthetic_stream(const mltfr_synthetic_spec *spec, mltfr_synthetic_part part,
                                int64_t which);

/** MLTFR_E_USAGE for a spec out of range. */
mltfr_status mltfr_synthetic_check(const mltfr_synthetic_spec *spec);

#endif
