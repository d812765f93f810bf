/** @file mltfr/rng.h
 *  Counter-based random numbers: a value is a hash of (seed, purpose, step, global index), so it
 *  does not depend on who draws it or in which order (method, pitfall 2).  Layer: base.
 *  All functions are @local and pure. */
#ifndef MLTFR_RNG_H
#define MLTFR_RNG_H

#include <stdint.h>

/** What a stream of numbers is for; one value a use, so that no two uses share numbers. */
typedef enum {
    MLTFR_RNG_INIT = 1, /**< parameters; step = number of the tensor */
    MLTFR_RNG_SHUFFLE,  /**< order of users; step = epoch */
    MLTFR_RNG_DROPOUT,  /**< backbone; step = step * 64 + site */
    MLTFR_RNG_FILTER_DROPOUT,
    MLTFR_RNG_EXPERT_DROPOUT,
    MLTFR_RNG_LEVEL_A_USERS,
    MLTFR_RNG_LEVEL_A_ROWS,
    MLTFR_RNG_EXPLORE,
    MLTFR_RNG_FISHER,
    MLTFR_RNG_NEGATIVES,
    MLTFR_RNG_HELD_OUT,
    MLTFR_RNG_SYNTHETIC,
    MLTFR_RNG_CONTROL, /**< tables of tokens.control; step = LLM, or their number: all together */
    MLTFR_RNG_TIES     /**< equal times of data.ties: shuffled; step = user */
} mltfr_rng_purpose;

/** Mix 64 bits so that each input bit moves each output bit (a bijection). */
static inline uint64_t mltfr_mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/** Key of a stream. */
static inline uint64_t mltfr_rng_key(uint64_t seed, mltfr_rng_purpose purpose, uint64_t step)
{
    uint64_t k = mltfr_mix64(seed + UINT64_C(0x9e3779b97f4a7c15));

    k = mltfr_mix64(k ^ ((uint64_t)purpose * UINT64_C(0xd1342543de82ef95)));
    return mltfr_mix64(k + step * UINT64_C(0x9e3779b97f4a7c15));
}

/** The 64 random bits of index `i` of a stream. */
static inline uint64_t mltfr_rng_bits(uint64_t key, uint64_t i)
{
    return mltfr_mix64(mltfr_mix64(key + i * UINT64_C(0x9e3779b97f4a7c15)) ^ key);
}

/** Uniform in [0, 1), 53 bits. */
static inline double mltfr_rng_uniform(uint64_t key, uint64_t i)
{
    return (double)(mltfr_rng_bits(key, i) >> 11) * 0x1p-53;
}

/** Uniform integer in [0, n), n < 2^32 (multiply-shift; its bias is below n / 2^32). */
static inline uint64_t mltfr_rng_below(uint64_t key, uint64_t i, uint64_t n)
{
    return ((mltfr_rng_bits(key, i) >> 32) * n) >> 32;
}

/** Standard normal (Box-Muller on the two halves of the bits). */
double mltfr_rng_normal(uint64_t key, uint64_t i);

/** The i-th element of a random permutation of 0 .. n - 1 (a Feistel network, cycle-walked). */
uint64_t mltfr_rng_permute(uint64_t key, uint64_t n, uint64_t i);

/** 32 random bits of a stream in few, vectorisable operations: for dropout masks.
 *  `key32` is the low half of mltfr_rng_key of the row, `i` the column. */
static inline uint32_t mltfr_rng_bits32(uint32_t key32, uint32_t i)
{
    uint32_t x = i * UINT32_C(0x9e3779b9) + key32;

    x ^= x >> 16;
    x *= UINT32_C(0x21f0aaad);
    x ^= x >> 15;
    x *= UINT32_C(0xd35a2d97);
    return x ^ (x >> 15);
}

#endif
