/* Level A of the filter: vocabulary to pool (E11), exact, without gradient.
 *
 *      sharer p of k:   scores of all queries against its token blocks, top m each
 *                       -- exchange by query --> merge, softmax, votes  -- gather --> all sharers
 *                       votes of its own tokens; cbar -> first sharer: choice of the pool
 *
 * A token block has a fixed size and a query block too, so a score has the same bits whoever
 * computes it; merging by (score, lowest id) is exact in any order. */
#include "engine.h"

#include <mltfr/linalg.h>
#include <mltfr/pool.h>

#include <math.h>
#include <string.h>

typedef struct {
    float value; /* score, later weight */
    int32_t id;  /* token row; -1: none */
} vote;

typedef struct {
    mltfr_engine *e;
    mltfr_token_space *s;
    int64_t n;       /* queries */
    const float *q;  /* [n][d] */
    float *Kt;       /* [TOKEN_BLOCK][d] */
    float *tile;     /* [QUERY_BLOCK][TOKEN_BLOCK] */
    vote *best;      /* [n][m] of the own tokens, falling */
    vote *in, *mine; /* [sharers][own queries][m], [own queries][m] */
    float *cbar;     /* [V], owner */
} level_a;

/* ---- pool rows ----------------------------------------------------------------------------- */

static int64_t rows_before(const mltfr_engine *e, const mltfr_token_space *s, int p)
{
    const int64_t blocks = (s->rows + TOKEN_BLOCK - 1) / TOKEN_BLOCK;
    const int64_t at = mltfr_space_first(e, s->k, blocks, p) * TOKEN_BLOCK;

    return at < s->rows ? at : s->rows;
}

/* Pools come from files too. */
static mltfr_status check_pool(const mltfr_token_space *s)
{
    for (int64_t i = 0; i < s->M; i++)
        if (s->pool[i] < (i == 0 ? 0 : s->pool[i - 1] + 1) || s->pool[i] >= s->rows)
            return mltfr_fail(MLTFR_E_DATA,
                              "the pool of space %lld: member %lld is token %lld: rising numbers "
                              "below %lld are allowed",
                              (long long)s->k, (long long)i, (long long)s->pool[i],
                              (long long)s->rows);
    return MLTFR_OK;
}

mltfr_status mltfr_pool_rows(mltfr_engine *e, int64_t k)
{
    mltfr_status st = MLTFR_OK;
    mltfr_token_space *s = &e->space[k];
    const int64_t w = s->width;
    int64_t bytes[e->size];
    float *mine = NULL;

    if (s->group == NULL)
        return MLTFR_OK;
    st = check_pool(s);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(mine, s->M * w);
    MLTFR_AGREE(s->group, st);
    memset(bytes, 0, sizeof bytes);
    int64_t i = 0, own = 0;
    for (int p = s->first_rank; p <= s->last_rank; p++)
        for (; i < s->M && s->pool[i] < rows_before(e, s, p + 1); i++) {
            bytes[p - s->first_rank] += w * (int64_t)sizeof *mine;
            if (p == e->rank)
                memcpy(mine + own++ * w, s->Z + (s->pool[i] - s->row_first) * w,
                       (size_t)w * sizeof *mine);
        }
    mltfr_comm_allgatherv(s->group, mine, bytes, s->Z_pool);
    for (i = 0; i < s->M; i++) {
        double sum = 0.;
        for (int64_t c = 0; c < w; c++)
            sum += (double)s->Z_pool[i * w + c] * s->Z_pool[i * w + c];
        const float scale = sum > 0. ? (float)(1. / sqrt(sum)) : 0.f;
        for (int64_t c = 0; c < w; c++)
            s->Zh_pool[i * w + c] = s->Z_pool[i * w + c] * scale;
    }
    s->pool_size = s->M;
done:
    MLTFR_FREE(mine);
    return st;
}

/* ---- scores -------------------------------------------------------------------------------- */

/* Merge two falling lists; where scores are equal, `a` holds the lower ids. */
static void merge(int64_t m, vote *a, const vote *b)
{
    vote out[m];
    int64_t i = 0, j = 0;

    for (int64_t n = 0; n < m; n++) {
        const bool from_b = a[i].id < 0 || (b[j].id >= 0 && b[j].value > a[i].value);
        out[n] = from_b ? b[j++] : a[i++];
    }
    memcpy(a, out, sizeof out);
}

/* One score into a full list; its token comes after those in the list. */
static void insert(int64_t m, vote *best, vote offer)
{
    int64_t at = m - 1;

    for (; at > 0 && best[at - 1].value < offer.value; at--)
        best[at] = best[at - 1];
    best[at] = offer;
}

/* Scores above the last of a full list are rare after the first tokens. */
static void scan(int64_t m, vote *best, int64_t tokens, int64_t token0, const float *scores)
{
    int32_t index[TOKEN_BLOCK + 16];
    const int64_t n = mltfr_scores_above(tokens, scores, best[m - 1].value, index);

    for (int64_t i = 0; i < n; i++)
        if (scores[index[i]] > best[m - 1].value)
            insert(m, best, (vote){scores[index[i]], (int32_t)token0 + index[i]});
}

/* Lists that are not full yet. */
static void fill(int64_t m, vote *best, int64_t tokens, int64_t token0, const float *scores)
{
    const int64_t keep = tokens < m ? tokens : m;
    int32_t J[m];
    float s[m];
    vote list[m];

    mltfr_top_m(tokens, keep, scores, J, s);
    for (int64_t j = 0; j < m; j++)
        list[j] = j < keep ? (vote){s[j], (int32_t)token0 + J[j]} : (vote){0.f, -1};
    merge(m, best, list);
}

static void score_tile(level_a *x, int64_t token0, int64_t tokens, int64_t query0, int64_t queries)
{
    const int64_t d = x->e->spec.backbone.d, m = x->e->m;

    mltfr_gemm_nt(queries, tokens, d, x->q + query0 * d, d, x->Kt, d, 0.f, x->tile, tokens);
    for (int64_t i = 0; i < queries; i++) {
        vote *best = x->best + (query0 + i) * m;
        (best[m - 1].id < 0 ? fill : scan)(m, best, tokens, token0, x->tile + i * tokens);
    }
}

static void score_own(level_a *x)
{
    const mltfr_token_space *s = x->s;
    const int64_t d = x->e->spec.backbone.d, w = s->width;

    for (int64_t i = 0; i < x->n * x->e->m; i++)
        x->best[i] = (vote){0.f, -1};
    for (int64_t t = 0; t < s->row_count; t += TOKEN_BLOCK) {
        const int64_t rows = s->row_count - t < TOKEN_BLOCK ? s->row_count - t : TOKEN_BLOCK;
        mltfr_gemm_nt(rows, d, w, s->Z + t * w, w, s->wq, w, 0.f, x->Kt, d);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t c = 0; c < d; c++)
                x->Kt[i * d + c] *= s->key_scale[t + i];
        for (int64_t q = 0; q < x->n; q += QUERY_BLOCK)
            score_tile(x, s->row_first + t, rows, q,
                       x->n - q < QUERY_BLOCK ? x->n - q : QUERY_BLOCK);
    }
}

/* ---- votes --------------------------------------------------------------------------------- */

static void weigh(int64_t m, float tau, vote *list)
{
    float sum = 0.f, top = tau * list[0].value;

    for (int64_t j = 0; j < m; j++) {
        list[j].value = list[j].id < 0 ? 0.f : expf(tau * list[j].value - top);
        sum += list[j].value;
    }
    for (int64_t j = 0; j < m; j++)
        list[j].value /= sum;
}

/* Each sharer merges and weighs its share of the queries; then everybody has all lists. */
static mltfr_status share_votes(level_a *x)
{
    mltfr_status st = MLTFR_OK;
    mltfr_token_space *s = x->s;
    const int64_t m = x->e->m;
    const int size = mltfr_comm_size(s->group), me = mltfr_comm_rank(s->group);
    const int64_t own = mltfr_share_first(x->n, size, me + 1) - mltfr_share_first(x->n, size, me);
    int64_t to[size], from[size];
    mltfr_exchange *plan = NULL;

    for (int p = 0; p < size; p++) {
        to[p] = mltfr_share_first(x->n, size, p + 1) - mltfr_share_first(x->n, size, p);
        from[p] = own;
    }
    st = MLTFR_NEW(x->in, size * own * m);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(x->mine, own * m);
    if (st == MLTFR_OK)
        st = mltfr_exchange_create_known(s->group, to, from, &plan);
    MLTFR_AGREE(s->group, st);
    mltfr_exchange_forward(plan, m * (int64_t)sizeof(vote), x->best, x->in);
    for (int64_t i = 0; i < own; i++) {
        vote *list = x->mine + i * m;
        memcpy(list, x->in + i * m, (size_t)m * sizeof *list);
        for (int p = 1; p < size; p++)
            merge(m, list, x->in + (p * own + i) * m);
        weigh(m, expf(*s->log_tau), list);
    }
    mltfr_comm_allgather_shares(s->group, x->mine, x->n, m * (int64_t)sizeof(vote), x->best);
done:
    mltfr_exchange_destroy(&plan);
    return st;
}

static void count_votes(level_a *x)
{
    mltfr_token_space *s = x->s;

    for (int64_t i = 0; i < s->row_count; i++)
        s->cbar[i] *= .5f;
    for (int64_t i = 0; i < x->n * x->e->m; i++) {
        const int64_t at = x->best[i].id - s->row_first;
        if (x->best[i].id >= 0 && at >= 0 && at < s->row_count)
            s->cbar[at] += x->best[i].value;
    }
}

/* ---- choice -------------------------------------------------------------------------------- */

typedef struct {
    mltfr_explore_of *explore;
    void *context;
    int64_t k;
} explorer;

static int64_t explore_one(void *context, int64_t i)
{
    const explorer *x = context;

    return x->explore(x->context, x->k, i);
}

/* Both rise. */
static int64_t count_new(const mltfr_token_space *s, const int64_t *pool)
{
    int64_t same = 0;

    for (int64_t i = 0, j = 0; i < s->M && j < s->pool_size;) {
        same += pool[i] == s->pool[j];
        if (pool[i] < s->pool[j])
            i++;
        else
            j++;
    }
    return s->M - same;
}

static mltfr_status choose(level_a *x, explorer *next)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = x->e;
    mltfr_token_space *s = x->s;
    const int size = mltfr_comm_size(s->group);
    int64_t bytes[size];
    const bool first = e->rank == s->owner;
    int64_t *pool = NULL;

    for (int p = 0; p < size; p++)
        bytes[p] =
            (rows_before(e, s, s->first_rank + p + 1) - rows_before(e, s, s->first_rank + p)) *
            (int64_t)sizeof(float);
    st = MLTFR_NEW(x->cbar, first ? s->rows : 0);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(pool, s->M);
    MLTFR_AGREE(s->group, st);
    mltfr_comm_gatherv(s->group, s->cbar, bytes, x->cbar, s->root);
    if (first)
        st = mltfr_pool_choose(s->rows, s->M, e->set->filter_explore, x->cbar, s->pool,
                               s->pool_size, explore_one, next, pool);
    MLTFR_AGREE(s->group, st);
    mltfr_comm_bcast(s->group, pool, s->M * (int64_t)sizeof *pool, s->root);
    s->pool_new = count_new(s, pool);
    memcpy(s->pool, pool, (size_t)s->M * sizeof *pool);
    MLTFR_TRY(mltfr_pool_rows(e, s->k));
done:
    MLTFR_FREE(pool);
    return st;
}

/* The own tokens of one space: nobody else is needed, so no rank waits for another's LLM. */
static mltfr_status score_space(level_a *x)
{
    mltfr_status st = MLTFR_OK;
    const int64_t d = x->e->spec.backbone.d;

    MLTFR_TRY(MLTFR_NEW(x->Kt, TOKEN_BLOCK * d));
    MLTFR_TRY(MLTFR_NEW(x->tile, QUERY_BLOCK * TOKEN_BLOCK));
    MLTFR_TRY(MLTFR_NEW(x->best, x->n * x->e->m));
    score_own(x);
done:
    MLTFR_FREE(x->Kt);
    MLTFR_FREE(x->tile);
    return st;
}

/* before: as in experts.c, of the spaces before this one. */
static mltfr_status refresh_space(level_a *x, explorer *next, mltfr_status before)
{
    mltfr_status st = before;

    MLTFR_AGREE(x->s->group, st);
    MLTFR_TRY(share_votes(x));
    count_votes(x);
    MLTFR_TRY(choose(x, next));
done:
    MLTFR_FREE(x->best);
    MLTFR_FREE(x->in);
    MLTFR_FREE(x->mine);
    MLTFR_FREE(x->cbar);
    return st;
}

mltfr_status mltfr_refresh_pools(mltfr_engine *e, int64_t n, const float *q,
                                 mltfr_explore_of *explore, void *context)
{
    mltfr_status st = MLTFR_OK;
    const int64_t spaces = mltfr_space_count(e);
    level_a x[MLTFR_MAX_LLMS + 1];

    for (int64_t k = 0; k < spaces; k++) {
        x[k] = (level_a){.e = e, .s = &e->space[k], .n = n, .q = q};
        if (st == MLTFR_OK && x[k].s->group != NULL)
            st = score_space(&x[k]);
    }
    for (int64_t k = 0; k < spaces; k++) {
        explorer next = {explore, context, k};
        if (x[k].s->group != NULL)
            st = refresh_space(&x[k], &next, st);
    }
    MLTFR_AGREE(e->comm, st);
    mltfr_experts_project(e);
done:
    return st;
}
