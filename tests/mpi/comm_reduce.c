/* Canonical sums: the bits of the tree on one rank, for any number of blocks, also fewer blocks
 * than ranks and none at all, and for any cut of the blocks between ranks. */
#include "mpi_test.h"

#include <mltfr/reduce.h>
#include <mltfr/rng.h>

#include <math.h>
#include <string.h>

enum { MOST = 40, WIDTH = 7 };

/* Values of mixed magnitude: a sum in another order has other bits. */
static float value(int64_t block, int64_t i)
{
    uint64_t key = mltfr_rng_key(3, MLTFR_RNG_SYNTHETIC, 0), at = (uint64_t)(block * WIDTH + i);

    return (float)(mltfr_rng_normal(key, at) * pow(10., (double)(at % 7)));
}

/* Node by node as mltfr/tree.h defines it. */
static float expected(int64_t lo, int64_t hi, int64_t i)
{
    int64_t mid = lo + (hi - lo + 1) / 2;

    if (hi == lo)
        return 0.f;
    return hi - lo == 1 ? value(lo, i) : expected(lo, mid, i) + expected(mid, hi, i);
}

static mltfr_treesum *sum_of(int64_t n, int64_t first, int64_t last, int64_t width)
{
    mltfr_treesum *sum;

    MUST(mltfr_treesum_create(n, first, last, width, &sum));
    for (int64_t b = first; b < last; b++) {
        float *next = mltfr_treesum_next(sum);

        for (int64_t i = 0; i < width; i++)
            next[i] = value(b, i);
        mltfr_treesum_push(sum);
    }
    return sum;
}

static void check_sum(const char *what, int64_t n, int64_t width, const float *sum)
{
    float want[WIDTH];

    for (int64_t i = 0; i < width; i++)
        want[i] = expected(0, n, i);
    CHECK(memcmp(want, sum, (size_t)width * sizeof *sum) == 0, "%s of %d blocks, width %d", what,
          (int)n, (int)width);
}

/* Widths below the number of ranks leave some of them without columns. */
static void test_all(mltfr_comm *comm, int64_t n, int64_t width)
{
    const int size = mltfr_comm_size(comm), me = mltfr_comm_rank(comm);
    mltfr_treesum *sum =
        sum_of(n, mltfr_share_first(n, size, me), mltfr_share_first(n, size, me + 1), width);
    float out[WIDTH];

    memset(out, 0x55, sizeof out);
    MUST(mltfr_reduce_all(comm, n, width, mltfr_treesum_parts(sum, NULL), out));
    check_sum("sum for all", n, width, out);
    mltfr_treesum_destroy(&sum);
}

/* Where rank p begins under cut `which`: even, all at the first or the last rank, or by hash. */
static void make_cut(int which, int64_t n, int size, int64_t first[])
{
    for (int p = 0; p <= size; p++)
        first[p] = which == 0 ? mltfr_share_first(n, size, p) : which == 1 ? n : 0;
    first[0] = 0;
    first[size] = n;
    for (int p = 1; which > 2 && p < size; p++) {
        uint64_t key = mltfr_rng_key((uint64_t)which, MLTFR_RNG_SYNTHETIC, (uint64_t)n);
        uint64_t left = (uint64_t)(n - first[p - 1]) + 1;
        first[p] = first[p - 1] + (int64_t)mltfr_rng_below(key, (uint64_t)p, left);
    }
}

static void test_root(mltfr_comm *comm, int64_t n, int which)
{
    const int size = mltfr_comm_size(comm), me = mltfr_comm_rank(comm);
    int64_t first[size + 1];
    mltfr_treesum *sum;
    float out[WIDTH];

    make_cut(which, n, size, first);
    sum = sum_of(n, first[me], first[me + 1], WIDTH);
    memset(out, 0x55, sizeof out);
    MUST(mltfr_reduce_to(comm, n, first, WIDTH, mltfr_treesum_parts(sum, NULL), which % size, out));
    if (me == which % size)
        check_sum("sum for the root", n, WIDTH, out);
    mltfr_treesum_destroy(&sum);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    for (int64_t n = 0; n <= MOST; n++) {
        for (int64_t width = 1; width <= WIDTH; width += 2)
            test_all(comm, n, width);
        for (int which = 0; which < 6; which++)
            test_root(comm, n, which);
    }
    return mpi_test_end(&comm);
}
