/* Placement by cost.  Two questions, both answered alike on every rank from the same numbers:
 *
 *      once          whose memory holds which token rows      by the cost of a space
 *      every step    who computes which routed blocks         by the rows that were routed
 *
 * The second one follows the router: however uneven its choice is, ranks that hold the pool of a
 * busy expert take over some of its blocks.  Bits do not depend on either. */
#include "place.h"

#include <stdbool.h>

static const double slack = 1.1; /* of the mean load, before anything is split */

/* The largest thing not yet done; -1: none. */
static int64_t largest(int64_t K, const double cost[], const bool done[])
{
    int64_t best = -1;

    for (int64_t k = 0; k < K; k++)
        if (!done[k] && (best < 0 || cost[k] > cost[best]))
            best = k;
    return best;
}

static int least_loaded(int from, int to, const double load[], const bool used[])
{
    int best = -1;

    for (int p = from; p <= to; p++)
        if (!used[p] && (best < 0 || load[p] < load[best]))
            best = p;
    return best;
}

/* One thing on its way to ranks. */
typedef struct {
    double cost, fixed; /* fixed: of each rank with a part of it, but for its home */
    int home, from, to; /* it may go to [from, to] */
} thing;

/* A rank's load before it takes any of x. */
static double before(const thing *x, const double load[], int p)
{
    return p == x->home ? load[p] : load[p] + x->fixed;
}

/* The level to which the ranks of x rise when it is poured over them. */
static double level_of(const thing *x, const double load[])
{
    double low = before(x, load, x->from), high = low;

    for (int p = x->from; p <= x->to; p++) {
        const double at = before(x, load, p);
        low = at < low ? at : low;
        high = at > high ? at : high;
    }
    high += x->cost;
    for (int i = 0; i < 60; i++) {
        const double level = .5 * (low + high);
        double room = 0.;

        for (int p = x->from; p <= x->to; p++)
            room += level > before(x, load, p) ? level - before(x, load, p) : 0.;
        *(room < x->cost ? &low : &high) = level;
    }
    return high;
}

/* What x gives to each rank: all to its home if that has at most 1.1 times the mean then; else its
 * home and the least loaded of the others fill up, one after the other, to the mean or as far as
 * they must. */
static void share_out(const thing *x, double mean, const double load[], int P, double part[])
{
    const double level = level_of(x, load), top = level > mean ? level : mean;
    double cost = x->cost;
    bool used[P];

    for (int q = 0; q < P; q++) {
        part[q] = 0.;
        used[q] = false;
    }
    if (load[x->home] + cost <= slack * mean) {
        part[x->home] = cost;
        return;
    }
    for (int p = x->home; p >= 0 && cost > 0.; p = least_loaded(x->from, x->to, load, used)) {
        const double room = top - before(x, load, p);
        used[p] = true;
        part[p] = room <= 0. ? 0. : room < cost ? room : cost;
        cost -= part[p];
    }
    part[x->home] += cost; /* what was rounded away */
}

static double sum(int64_t n, const double x[])
{
    double all = 0.;

    for (int64_t i = 0; i < n; i++)
        all += x[i];
    return all;
}

/* Parts of `cost` to whole units: rank p ends where the running sum does, to the nearest. */
static void cut_units(int64_t units, double cost, int P, const double part[], int64_t first[])
{
    double at = 0.;

    first[0] = 0;
    for (int p = 0; p < P; p++) {
        at += part[p];
        const int64_t end = cost > 0. ? (int64_t)(at / cost * (double)units + .5) : 0;
        first[p + 1] = p == P - 1 ? units : end < units ? end : units;
    }
}

void mltfr_place_spaces(int64_t K, const double cost[], const int64_t units[], int P,
                        int64_t *first, int owner[], double load[])
{
    const double mean = sum(K, cost) / P;
    bool done[K + 1];
    double part[P];

    for (int64_t k = 0; k < K; k++)
        done[k] = false;
    for (int p = 0; p < P; p++)
        load[p] = 0.;
    for (int64_t i = 0; i < K; i++) {
        const int64_t k = largest(K, cost, done);
        int64_t *cut = first + k * (P + 1);
        thing x = {.cost = cost[k], .to = P - 1};

        done[k] = true;
        for (int p = 1; p < P; p++)
            x.home = load[p] < load[x.home] ? p : x.home;
        share_out(&x, mean, load, P, part);
        cut_units(units[k], cost[k], P, part, cut);
        owner[k] = 0;
        for (int p = 0; p < P; p++) {
            load[p] += cost[k] * (double)(cut[p + 1] - cut[p]) / (double)units[k];
            if (cut[p + 1] - cut[p] > cut[owner[k] + 1] - cut[owner[k]])
                owner[k] = p;
        }
    }
}

/* Parts of expert k to whole user blocks. */
static void cut_blocks(const mltfr_routed_rows *x, int64_t k, const double part[], int64_t first[])
{
    double at = 0., end = 0.;
    int64_t b = 0;

    first[0] = 0;
    for (int p = 0; p < x->P; p++) {
        end += part[p];
        for (; b < x->blocks && at + .5 * x->cost[k] * x->rows[b * x->K + k] < end; b++)
            at += x->cost[k] * x->rows[b * x->K + k];
        first[p + 1] = b;
    }
}

/* Blocks without rows at the end go to the last rank that has any, or to the owner. */
static void close_cut(int64_t blocks, int P, int owner, int64_t first[])
{
    int last = first[P] == 0 ? owner : P - 1;

    while (last > 0 && first[P] > 0 && first[last] == first[P])
        last--;
    for (int p = last + 1; p <= P; p++)
        first[p] = blocks;
}

static void add_load(const mltfr_routed_rows *x, int64_t k, const int64_t first[], double load[])
{
    for (int p = 0; p < x->P; p++) {
        if (p != x->owner[k] && first[p] < first[p + 1])
            load[p] += x->fixed[k];
        for (int64_t b = first[p]; b < first[p + 1]; b++)
            load[p] += x->cost[k] * x->rows[b * x->K + k];
    }
}

void mltfr_place_rows(const mltfr_routed_rows *x, int64_t *first, double load[])
{
    const int64_t K = x->K;
    double cost[K + 1], part[x->P];
    bool done[K + 1];

    for (int64_t k = 0; k < K; k++) {
        done[k] = false;
        cost[k] = 0.;
        for (int64_t b = 0; b < x->blocks; b++)
            cost[k] += x->cost[k] * x->rows[b * K + k];
    }
    const double mean = (sum(x->P, load) + sum(K, cost)) / x->P;

    for (int64_t i = 0; i < K; i++) {
        const int64_t k = largest(K, cost, done);
        int64_t *cut = first + k * (x->P + 1);
        const thing one = {cost[k], x->fixed[k], x->owner[k], x->holders[2 * k],
                           x->holders[2 * k + 1]};

        done[k] = true;
        share_out(&one, mean, load, x->P, part);
        cut_blocks(x, k, part, cut);
        close_cut(x->blocks, x->P, x->owner[k], cut);
        add_load(x, k, cut, load);
    }
}
