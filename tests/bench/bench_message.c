/* One message of more than 2^31 bytes at its real size: an exchange, a gather by all and a
 * broadcast of so many, each checked number by number and timed.  Two ranks take 9 GiB.
 *
 *      mpirun -np 2 build/tests/bench_message [bytes]        2^31 + 2^20 + 24 if not given */
#include "mpi_test.h"

#include <mltfr/exchange.h>
#include <mltfr/log.h>

#include <stdlib.h>

static int64_t n; /* numbers of a message */

/* Number i of what rank p sends. */
static int64_t number(int p, int64_t i)
{
    return i * 1000003 + p;
}

static void fill(int64_t count, int p, int64_t *x)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = number(p, i);
}

static void check(const char *what, int64_t count, int p, int64_t from, const int64_t *x)
{
    int64_t wrong = 0;

    for (int64_t i = 0; i < count; i++)
        wrong += x[i] != number(p, from + i);
    CHECK(wrong == 0, "%s: %lld of %lld numbers are wrong", what, (long long)wrong,
          (long long)count);
}

static void say(mltfr_comm *comm, const char *what, double begin)
{
    double seconds = mltfr_seconds() - begin;

    mltfr_comm_max_f64(comm, &seconds, 1);
    if (mltfr_comm_rank(comm) == 0)
        printf("%-10s a message of %lld bytes, %.2f s, %.2f GB/s\n", what, (long long)(8 * n),
               seconds, 8e-9 * (double)n / seconds);
}

/* Everybody sends a message to the next rank, and gets it back. */
static void exchange(mltfr_comm *comm, int64_t *mine, int64_t *other)
{
    const int size = mltfr_comm_size(comm), me = mltfr_comm_rank(comm);
    const int next = (me + 1) % size, before = (me + size - 1) % size;
    int64_t to[size], from[size];
    mltfr_exchange *plan;

    for (int p = 0; p < size; p++) {
        to[p] = p == next ? n : 0;
        from[p] = p == before ? n : 0;
    }
    fill(n, me, mine);
    MUST(mltfr_exchange_create_known(comm, to, from, &plan));
    double begin = mltfr_seconds();

    mltfr_exchange_forward(plan, 8, mine, other);
    say(comm, "exchange", begin);
    check("exchange", n, before, 0, other);
    fill(n, -1, mine);
    begin = mltfr_seconds();
    mltfr_exchange_reverse(plan, 8, other, mine);
    say(comm, "back", begin);
    check("back", n, me, 0, mine);
    mltfr_exchange_destroy(&plan);
}

/* Each rank has a share of one message. */
static void gather(mltfr_comm *comm, int64_t *mine, int64_t *all)
{
    const int size = mltfr_comm_size(comm), me = mltfr_comm_rank(comm);
    const int64_t first = mltfr_share_first(n, size, me);
    const int64_t count = mltfr_share_first(n, size, me + 1) - first;

    for (int64_t i = 0; i < count; i++)
        mine[i] = number(7, first + i);
    const double begin = mltfr_seconds();

    mltfr_comm_allgather_shares(comm, mine, n, 8, all);
    say(comm, "gather", begin);
    check("gather", n, 7, 0, all);
}

static void broadcast(mltfr_comm *comm, int64_t *x)
{
    const int last = mltfr_comm_size(comm) - 1;

    fill(n, mltfr_comm_rank(comm), x);
    const double begin = mltfr_seconds();

    mltfr_comm_bcast(comm, x, 8 * n, last);
    say(comm, "broadcast", begin);
    check("broadcast", n, last, 0, x);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm;
    int64_t *a, *b;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    n = (argc > 1 ? strtoll(argv[1], NULL, 10) : (INT64_C(1) << 31) + (1 << 20) + 24) / 8;
    MUST(MLTFR_NEW(a, n));
    MUST(MLTFR_NEW(b, n));
    exchange(comm, a, b);
    gather(comm, a, b);
    broadcast(comm, a);
    MLTFR_FREE(a);
    MLTFR_FREE(b);
    return mpi_test_end(&comm);
}
