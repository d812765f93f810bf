/* Who holds which token space, and who computes its routed rows: place.c with the sizes of a
 * model. */
#include "place.h"
#include "work.h"

#include <math.h>
#include <string.h>

static const double spare_bytes = 64 << 20; /* a rank may take for pools of others' experts */

/* ---- token rows ---------------------------------------------------------------------------- */

int64_t mltfr_space_first(const mltfr_engine *e, int64_t k, int64_t n, int p)
{
    const int64_t *first = e->space[k].first, all = first[e->size];

    return (n * first[p] + all - 1) / all;
}

static void describe(mltfr_engine *e, int64_t k, int64_t rows)
{
    mltfr_token_space *s = &e->space[k];

    s->k = k;
    s->width = k < e->K ? e->r : e->r_c;
    s->rows = rows;
    s->M = e->set->filter_pool < rows ? e->set->filter_pool : rows;
}

static int64_t token_blocks(const mltfr_token_space *s)
{
    return (s->rows + TOKEN_BLOCK - 1) / TOKEN_BLOCK;
}

/* Bytes of a pool: rows, unit rows, keys and values. */
static double pool_bytes(const mltfr_engine *e, const mltfr_token_space *s)
{
    return 4. * (double)s->M * 2. * (double)(s->width + e->spec.backbone.d);
}

/* The sharers: the ranks from the first to the last one with token rows, and as many around the
 * owner as have memory for the pool, so that routed rows can go where there is time for them. */
static void choose_sharers(const mltfr_engine *e, mltfr_token_space *s, double spare, double pools)
{
    const int P = e->size, fit = pools > spare ? (int)(spare * P / pools) : P;
    const int around = fit > 1 ? fit : 1;
    int from = s->owner - around / 2, last = s->owner;

    from = from > P - around ? P - around : from;
    s->first_rank = s->owner;
    for (int p = P - 1; p >= 0; p--)
        if (s->first[p + 1] > s->first[p]) {
            s->first_rank = p;
            last = p > last ? p : last;
        }
    from = from < 0 ? 0 : from;
    s->first_rank = from < s->first_rank ? from : s->first_rank;
    s->last_rank = from + around - 1 > last ? from + around - 1 : last;
    s->root = s->owner - s->first_rank;
}

/* The consensus's tokens are split evenly, and all ranks have its pool. */
static void hold_consensus(const mltfr_engine *e, mltfr_token_space *s)
{
    for (int p = 0; p <= e->size; p++)
        s->first[p] = mltfr_share_first(token_blocks(s), e->size, p);
    choose_sharers(e, s, 0., 0.);
}

/* Place token rows by their bytes; level A's time goes with them. */
static void hold_llms(mltfr_engine *e, int64_t *first)
{
    const int64_t K = e->K, P = e->size;
    double cost[MLTFR_MAX_LLMS] = {0.}, load[P], all = 0., pools = 0., most = 0.;
    int64_t units[MLTFR_MAX_LLMS] = {0};
    int owner[MLTFR_MAX_LLMS];

    for (int64_t k = 0; k < K; k++) {
        const mltfr_token_space *s = &e->space[k];
        units[k] = token_blocks(s);
        all += cost[k] = (double)s->rows * (4. * (double)s->width + 8.);
        pools += pool_bytes(e, s);
    }
    mltfr_place_spaces(K, cost, units, (int)P, first, owner, load);
    for (int64_t k = 0; k < K; k++) {
        mltfr_token_space *s = &e->space[k];
        memcpy(s->first, first + k * (P + 1), (size_t)(P + 1) * sizeof *first);
        s->owner = owner[k];
        choose_sharers(e, s, fmax(spare_bytes, .1 * all / (double)P), pools);
    }
    for (int p = 0; p < P; p++)
        most = load[p] > most ? load[p] : most;
    e->placed = all > 0. ? most * (double)P / all : 1.;
}

mltfr_status mltfr_hold_spaces(mltfr_engine *e, const int64_t rows[])
{
    mltfr_status st = MLTFR_OK;
    int64_t *first = NULL;

    MLTFR_TRY(MLTFR_NEW(first, e->K * (e->size + 1)));
    for (int64_t k = 0; k < mltfr_space_count(e); k++) {
        describe(e, k, rows[k]);
        MLTFR_TRY(MLTFR_NEW(e->space[k].first, e->size + 1));
    }
    hold_llms(e, first);
    if (e->K > 0)
        hold_consensus(e, &e->space[e->K]);
done:
    MLTFR_FREE(first);
    return st;
}

void mltfr_hold_rows(const mltfr_engine *e, int64_t k)
{
    mltfr_token_space *s = &e->space[k];
    const int64_t first = s->first[e->rank] * TOKEN_BLOCK;
    const int64_t last = s->first[e->rank + 1] * TOKEN_BLOCK;

    s->row_first = first < s->rows ? first : s->rows;
    s->row_count = (last < s->rows ? last : s->rows) - s->row_first;
}

/* ---- routed rows --------------------------------------------------------------------------- */

/* Half of the products with an expert's weights form keys and values on each rank that has rows;
 * the other half are the owner's, for the gradients. */
void mltfr_hold_routed(const mltfr_engine *e, int64_t blocks, const int32_t *rows, int64_t *first,
                       double load[])
{
    double cost[MLTFR_MAX_LLMS], fixed[MLTFR_MAX_LLMS];
    int owner[MLTFR_MAX_LLMS], holders[2 * MLTFR_MAX_LLMS];
    const mltfr_routed_rows x = {.K = e->K,
                                 .blocks = blocks,
                                 .P = e->size,
                                 .rows = rows,
                                 .cost = cost,
                                 .fixed = fixed,
                                 .owner = owner,
                                 .holders = holders};

    for (int p = 0; p < e->size; p++)
        load[p] = 0.;
    for (int64_t k = 0; k < e->K; k++) {
        const mltfr_token_space *s = &e->space[k];
        cost[k] = mltfr_flop_filter(e, k, 1.);
        fixed[k] = .5 * mltfr_flop_weights(e, k);
        owner[k] = s->owner;
        holders[2 * k] = s->first_rank;
        holders[2 * k + 1] = s->last_rank;
        load[s->owner] += mltfr_flop_weights(e, k);
    }
    mltfr_place_rows(&x, first, load);
}
