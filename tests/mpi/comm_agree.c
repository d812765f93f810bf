/* The worst status of any rank becomes everybody's, with its text; groups of ranks; sums, maxima
 * and gathers; shares. */
#include "mpi_test.h"

#include <string.h>

/* What a rank says that found a fault, and what it may have said before. */
static mltfr_status say(mltfr_comm *comm, mltfr_status code)
{
    return code == MLTFR_OK ? code : mltfr_fail(code, "rank %d", mltfr_comm_rank(comm));
}

static void check_agreed(mltfr_comm *comm, mltfr_status mine, mltfr_status worst, int whose)
{
    char text[32];

    mltfr_fail(MLTFR_E_DATA, "an old text");
    const mltfr_status got = mltfr_comm_agree(comm, say(comm, mine));

    snprintf(text, sizeof text, "rank %d", whose);
    CHECK(got == worst, "status %d, expected %d", (int)got, (int)worst);
    if (worst != MLTFR_OK)
        CHECK(strcmp(mltfr_error_text, text) == 0, "'%s', expected '%s'", mltfr_error_text, text);
}

static void test_agree(mltfr_comm *comm)
{
    const int me = mltfr_comm_rank(comm), size = mltfr_comm_size(comm);

    check_agreed(comm, MLTFR_OK, MLTFR_OK, 0);
    for (int p = 0; p < size; p++) { /* one alone, then a milder one everywhere else */
        check_agreed(comm, me == p ? MLTFR_E_IO : MLTFR_OK, MLTFR_E_IO, p);
        check_agreed(comm, me == p ? MLTFR_E_NOMEM : MLTFR_E_DATA, MLTFR_E_NOMEM, p);
        check_agreed(comm, me == p ? MLTFR_STOPPED : MLTFR_OK, MLTFR_STOPPED, p);
    }
    check_agreed(comm, MLTFR_E_USAGE, MLTFR_E_USAGE, 0); /* equal ones: the first rank's text */
}

/* The macro leaves by done: with everybody. */
static mltfr_status leave(mltfr_comm *comm, int culprit, bool *past)
{
    mltfr_status st = MLTFR_OK;

    *past = false;
    MLTFR_AGREE(comm, say(comm, mltfr_comm_rank(comm) == culprit ? MLTFR_E_NUMERIC : MLTFR_OK));
    *past = true;
done:
    return st;
}

static void test_leave(mltfr_comm *comm)
{
    bool past;

    for (int p = 0; p < mltfr_comm_size(comm); p++) {
        CHECK(leave(comm, p, &past) == MLTFR_E_NUMERIC && !past, "rank %d fails alone", p);
    }
    CHECK(leave(comm, -1, &past) == MLTFR_OK && past, "nobody fails");
}

static void test_group(mltfr_comm *comm, int first, int last)
{
    const int me = mltfr_comm_rank(comm);
    const bool member = me >= first && me <= last;
    mltfr_comm *group;
    int64_t sum = me;

    MUST(mltfr_comm_group(comm, first, last, &group));
    CHECK((group != NULL) == member, "rank %d of [%d, %d]", me, first, last);
    if (group != NULL) {
        CHECK(mltfr_comm_rank(group) == me - first, "rank %d", me);
        CHECK(mltfr_comm_size(group) == last - first + 1, "of [%d, %d]", first, last);
        mltfr_comm_sum_i64(group, &sum, 1);
        CHECK(sum == (int64_t)(last - first + 1) * (first + last) / 2, "sum %d", (int)sum);
    }
    mltfr_comm_destroy(&group);
    CHECK(group == NULL, "not set to NULL");
}

static void test_gathers(mltfr_comm *comm)
{
    const int me = mltfr_comm_rank(comm), size = mltfr_comm_size(comm);
    int64_t bytes[size], most[2] = {me, -me}, root = me;
    char mine[size + 1], all[size * (size + 1) / 2 + 1], want[sizeof all];
    int64_t at = 0;

    for (int p = 0; p < size; p++) { /* rank p gives p bytes: rank 0 none */
        bytes[p] = p;
        for (int i = 0; i < p; i++)
            want[at++] = (char)('a' + p);
    }
    memset(mine, 'a' + me, sizeof mine);
    memset(all, 0, sizeof all);
    mltfr_comm_allgatherv(comm, mine, bytes, all);
    CHECK(memcmp(all, want, (size_t)at) == 0, "rank %d: allgatherv", me);
    memset(all, 0, sizeof all);
    mltfr_comm_gatherv(comm, mine, bytes, all, size - 1);
    CHECK(me < size - 1 || memcmp(all, want, (size_t)at) == 0, "gatherv");
    mltfr_comm_max_i64(comm, most, 2);
    CHECK(most[0] == size - 1 && most[1] == 0, "maxima %d %d", (int)most[0], (int)most[1]);
    mltfr_comm_bcast(comm, &root, sizeof root, size - 1);
    CHECK(root == size - 1, "broadcast %d", (int)root);
}

/* Consecutive, complete, even, and the owner is who has it. */
static void test_shares(int size)
{
    for (int64_t n = 0; n <= 40; n++) {
        CHECK(mltfr_share_first(n, size, 0) == 0, "n=%d", (int)n);
        CHECK(mltfr_share_first(n, size, size) == n, "n=%d", (int)n);
        for (int p = 0; p < size; p++) {
            const int64_t from = mltfr_share_first(n, size, p);
            const int64_t to = mltfr_share_first(n, size, p + 1);
            CHECK(to - from >= n / size && to - from <= (n + size - 1) / size, "n=%d p=%d", (int)n,
                  p);
            for (int64_t i = from; i < to; i++)
                CHECK(mltfr_share_owner(n, size, i) == p, "n=%d i=%d", (int)n, (int)i);
        }
    }
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    test_agree(comm);
    test_leave(comm);
    for (int first = 0; first < mltfr_comm_size(comm); first++)
        for (int last = first; last < mltfr_comm_size(comm); last++)
            test_group(comm, first, last);
    test_gathers(comm);
    test_shares(mltfr_comm_size(comm));
    return mpi_test_end(&comm);
}
