/* Rows to other ranks and back: each row says where it comes from and where it belongs, for counts
 * that are even, ragged, zero for some ranks, or zero for all. */
#include "mpi_test.h"

#include <mltfr/exchange.h>

#include <string.h>

typedef struct {
    int32_t from, to, number; /* row `number` of those that rank `from` sends to rank `to` */
} row;

/* Rows from rank p to rank q. */
typedef int64_t count_of(int p, int q);

static int64_t even(int p, int q)
{
    (void)p;
    (void)q;
    return 3;
}

static int64_t ragged(int p, int q)
{
    return (p * 7 + q * 5) % 4 * (1 + p);
}

static int64_t odd_ranks_are_empty(int p, int q)
{
    return p % 2 == 1 || q % 2 == 1 ? 0 : 2 + q;
}

static int64_t to_last(int p, int q)
{
    return q > p ? 40 : 0;
}

static int64_t none(int p, int q)
{
    (void)p;
    (void)q;
    return 0;
}

static void fill(int me, int size, count_of *count, row *rows)
{
    for (int q = 0; q < size; q++)
        for (int64_t i = 0; i < count(me, q); i++)
            *rows++ = (row){me, q, (int32_t)i};
}

static void check_received(int me, int size, count_of *count, const row *rows)
{
    for (int p = 0; p < size; p++)
        for (int64_t i = 0; i < count(p, me); i++, rows++)
            CHECK(rows->from == p && rows->to == me && rows->number == i,
                  "rank %d: row (%d, %d, %d) in place of (%d, %d, %d)", me, rows->from, rows->to,
                  rows->number, p, me, (int)i);
}

static void travel(mltfr_exchange *plan, int me, int size, count_of *count)
{
    const int64_t out = mltfr_exchange_sent(plan), in = mltfr_exchange_received(plan);
    row *sent, *received, *back;

    MUST(MLTFR_NEW(sent, out));
    MUST(MLTFR_NEW(received, in));
    MUST(MLTFR_NEW(back, out));
    fill(me, size, count, sent);
    mltfr_exchange_forward(plan, sizeof(row), sent, received);
    check_received(me, size, count, received);
    mltfr_exchange_reverse(plan, sizeof(row), received, back);
    CHECK(memcmp(sent, back, (size_t)out * sizeof *sent) == 0, "rank %d: there and back", me);
    MLTFR_FREE(sent);
    MLTFR_FREE(received);
    MLTFR_FREE(back);
}

/* Two at a time, in the background. */
static void travel_together(mltfr_exchange *plan, int me, int size, count_of *count)
{
    const int64_t out = mltfr_exchange_sent(plan), in = mltfr_exchange_received(plan);
    row *sent, *received;
    int64_t *number, *number_in, *back;

    MUST(MLTFR_NEW(sent, out));
    MUST(MLTFR_NEW(received, in));
    MUST(MLTFR_NEW(number, out));
    MUST(MLTFR_NEW(number_in, in));
    MUST(MLTFR_NEW(back, out));
    fill(me, size, count, sent);
    for (int64_t i = 0; i < out; i++)
        number[i] = 1000 * me + i;
    mltfr_exchange_begin_forward(plan, sizeof(row), sent, received);
    mltfr_exchange_begin_forward(plan, sizeof *number, number, number_in);
    for (int i = 0; i < 5; i++)
        mltfr_exchange_poll(plan);
    mltfr_exchange_end(plan);
    check_received(me, size, count, received);
    mltfr_exchange_begin_reverse(plan, sizeof *number, number_in, back);
    mltfr_exchange_end(plan);
    CHECK(memcmp(number, back, (size_t)out * sizeof *number) == 0, "rank %d: numbers", me);
    MLTFR_FREE(sent);
    MLTFR_FREE(received);
    MLTFR_FREE(number);
    MLTFR_FREE(number_in);
    MLTFR_FREE(back);
}

/* Rank p gives 7 p + 3 numbers to all, and to the last rank. */
static void test_gather(mltfr_comm *comm)
{
    const int me = mltfr_comm_rank(comm), size = mltfr_comm_size(comm);
    int64_t bytes[size], sum = 0, mine[7 * size + 3], all[size * (7 * size + 3)];

    for (int p = 0; p < size; p++)
        bytes[p] = (7 * p + 3) * (int64_t)sizeof *mine;
    for (int i = 0; i < 7 * me + 3; i++)
        mine[i] = 1000 * me + i;
    for (int root = -1; root < size; root += size) {
        memset(all, 0, sizeof all);
        if (root < 0)
            mltfr_comm_allgatherv(comm, mine, bytes, all);
        else
            mltfr_comm_gatherv(comm, mine, bytes, all, root);
        sum = 0;
        for (int p = 0; p < size && (root < 0 || root == me); p++)
            for (int i = 0; i < 7 * p + 3; i++)
                CHECK(all[sum++] == 1000 * p + i, "root %d, rank %d, number %d", root, p, i);
    }
}

/* By a plan that asks what comes, or by one that is told. */
static void test_exchange(mltfr_comm *comm, count_of *count, bool told)
{
    const int me = mltfr_comm_rank(comm), size = mltfr_comm_size(comm);
    int64_t to[size], from[size], out = 0, in = 0;
    mltfr_exchange *plan;

    for (int p = 0; p < size; p++) {
        out += to[p] = count(me, p);
        in += from[p] = count(p, me);
    }
    MUST(told ? mltfr_exchange_create_known(comm, to, from, &plan)
              : mltfr_exchange_create(comm, to, &plan));
    CHECK(mltfr_exchange_sent(plan) == out, "rank %d sends %lld", me, (long long)out);
    CHECK(mltfr_exchange_received(plan) == in, "rank %d receives %lld", me, (long long)in);
    travel(plan, me, size, count);
    travel(plan, me, size, count); /* a plan can be used again */
    travel_together(plan, me, size, count);
    mltfr_exchange_destroy(&plan);
    CHECK(plan == NULL, "not set to NULL");
    mltfr_exchange_destroy(&plan);
}

int main(int argc, char **argv)
{
    count_of *const cases[] = {even, ragged, odd_ranks_are_empty, to_last, none};
    mltfr_comm *comm;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    for (int small = 0; small < 2; small++) { /* then in pieces of 64 bytes and a rest */
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            test_exchange(comm, cases[i], false);
            test_exchange(comm, cases[i], true);
        }
        test_gather(comm);
        mltfr_message_piece = 64;
    }
    return mpi_test_end(&comm);
}
