#include <mltfr/rng.h>

#include <math.h>

double mltfr_rng_normal(uint64_t key, uint64_t i)
{
    double u = 1. - mltfr_rng_uniform(key, 2 * i), v = mltfr_rng_uniform(key, 2 * i + 1);

    return sqrt(-2. * log(u)) * cos(6.283185307179586476925 * v);
}

uint64_t mltfr_rng_permute(uint64_t key, uint64_t n, uint64_t i)
{
    int half = 1;

    while (half < 32 && (UINT64_C(1) << (2 * half)) < n)
        half++;
    const uint64_t mask = (UINT64_C(1) << half) - 1;

    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 4; round++) {
            uint64_t next = left ^ (mltfr_rng_bits(key + round, right) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}
