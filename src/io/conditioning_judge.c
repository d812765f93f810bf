/* C19: what the alignment is worth on anchors that it was not fitted on.  The held-out rows are
 * projected where they are, a panel of columns at a time, and gathered: a panel is small, so the
 * correlations are computed by every rank.  Retrieval is shared out by blocks of queries. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>
#include <mltfr/product.h>

#include <math.h>
#include <string.h>

enum { PANEL = 64, QUERIES = 256, CANDIDATES = 1024 };
static const double threshold = .45;

/* ---- projections --------------------------------------------------------------------------- */

/* Held-out anchors that rank p has. */
static int64_t held_on(const mltfr_conditioner *c, int p)
{
    const mltfr_anchors *an = &c->anchors;
    int64_t n = 0, end = mltfr_blocks_rank(&an->blocks, c->comm, p + 1);

    for (int64_t a = mltfr_blocks_rank(&an->blocks, c->comm, p); a < end; a++)
        n += an->held[a];
    return n;
}

/* G [held_count][cols] = held-out rows of an LLM (zero where it lacks one) times map [D][cols], on
 * every rank. */
static mltfr_status project_held(mltfr_conditioner *c, const mltfr_llm *llm, const double *map,
                                 int64_t cols, double *G)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &c->anchors.blocks;
    int size = mltfr_comm_size(c->comm);
    int64_t bytes[size], n = 0;
    double *X = NULL, *mine = NULL;

    for (int p = 0; p < size; p++)
        bytes[p] = held_on(c, p) * cols * (int64_t)sizeof *G;
    MLTFR_AGREE(c->comm, MLTFR_NEW(X, b->size * llm->D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(mine, held_on(c, mltfr_comm_rank(c->comm)) * cols));
    for (int64_t i = b->first; i < b->last; i++) {
        int64_t rows = mltfr_anchor_block(c, llm, true, i, llm->D, X);
        mltfr_product_nn(rows, cols, llm->D, X, map, mine + n * cols);
        n += rows;
    }
    mltfr_comm_allgatherv(c->comm, mine, bytes, G);
done:
    MLTFR_FREE(X);
    MLTFR_FREE(mine);
    return st;
}

/* For each held-out anchor: does LLM k have it? */
static void held_presence(const mltfr_anchors *an, int64_t k, bool *has)
{
    for (int64_t a = 0, n = 0; a < an->count; a++)
        if (an->held[a])
            has[n++] = an->ids[a * an->K + k] >= 0;
}

/* The held-out anchors that both LLMs have: their numbers among the held-out ones. */
static mltfr_status held_common(const mltfr_anchors *an, int64_t j, int64_t l, int64_t *rows,
                                int64_t *count)
{
    mltfr_status st = MLTFR_OK;
    bool *in_j = NULL, *in_l = NULL;

    MLTFR_TRY(MLTFR_NEW(in_j, an->held_count));
    MLTFR_TRY(MLTFR_NEW(in_l, an->held_count));
    held_presence(an, j, in_j);
    held_presence(an, l, in_l);
    *count = 0;
    for (int64_t i = 0; i < an->held_count; i++)
        if (in_j[i] && in_l[i])
            rows[(*count)++] = i;
done:
    MLTFR_FREE(in_j);
    MLTFR_FREE(in_l);
    return st;
}

/* ---- correlation --------------------------------------------------------------------------- */

/* Pearson correlation of one column of a and of b over the given rows. */
static double pearson(const double *a, const double *b, int64_t stride, const int64_t *rows,
                      int64_t n)
{
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;

    for (int64_t i = 0; i < n; i++) {
        ma += a[rows[i] * stride] / (double)n;
        mb += b[rows[i] * stride] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        double x = a[rows[i] * stride] - ma, y = b[rows[i] * stride] - mb;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Add the correlations of LLMs j and l to those of the panel; a pair without two common anchors
 * has none. */
static mltfr_status correlate_pair(const mltfr_conditioner *c, int64_t j, int64_t l, double *G[],
                                   int64_t cols, double *sum, int64_t *pairs)
{
    mltfr_status st = MLTFR_OK;
    int64_t *rows = NULL, n = 0;

    MLTFR_TRY(MLTFR_NEW(rows, c->anchors.held_count));
    MLTFR_TRY(held_common(&c->anchors, j, l, rows, &n));
    if (n < 2)
        goto done;
    *pairs += 1;
    for (int64_t i = 0; i < cols; i++)
        sum[i] += pearson(G[j] + i, G[l] + i, cols, rows, n);
done:
    MLTFR_FREE(rows);
    return st;
}

/* Correlations of columns [first, first + cols): the mean over all pairs of LLMs. */
static mltfr_status correlate_panel(mltfr_conditioner *c, int64_t first, int64_t cols, double *out)
{
    mltfr_status st = MLTFR_OK;
    double *G[MLTFR_MAX_LLMS] = {NULL}, *map = NULL;
    int64_t pairs = 0;

    for (int64_t k = 0; k < c->K; k++) {
        MLTFR_AGREE(c->comm, MLTFR_NEW(map, c->llms[k].D * cols));
        MLTFR_AGREE(c->comm, MLTFR_NEW(G[k], c->anchors.held_count * cols));
        MLTFR_TRY(mltfr_matrix_get(c->W[k], first, cols, map));
        MLTFR_TRY(project_held(c, &c->llms[k], map, cols, G[k]));
        MLTFR_FREE(map);
    }
    for (int64_t j = 0; j < c->K; j++)
        for (int64_t l = j + 1; l < c->K; l++)
            MLTFR_AGREE(c->comm, correlate_pair(c, j, l, G, cols, out, &pairs));
    for (int64_t i = 0; i < cols; i++)
        out[i] /= (double)(pairs > 0 ? pairs : 1);
done:
    MLTFR_FREE(map);
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_FREE(G[k]);
    return st;
}

mltfr_status mltfr_judge_correlation(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_conditioning_report *r = c->report;

    MLTFR_AGREE(c->comm, MLTFR_NEW(r->correlation, c->narrowest));
    r->dims = c->narrowest;
    for (int64_t at = 0; at < r->dims; at += PANEL) {
        int64_t cols = r->dims - at < PANEL ? r->dims - at : PANEL;
        MLTFR_TRY(correlate_panel(c, at, cols, r->correlation + at));
    }
    while (r->auto_dim < r->dims && r->correlation[r->auto_dim] > threshold)
        r->auto_dim++;
done:
    return st;
}

/* ---- retrieval ----------------------------------------------------------------------------- */

/* Standard deviation of each shared column over the fitted anchors; their mean is 0. */
static mltfr_status fitted_spread(mltfr_conditioner *c, const mltfr_llm *llm, double *spread)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &c->anchors.blocks;
    int64_t r = c->r_c, fitted = 0;
    double *X = NULL, *G = NULL, *squares = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(X, b->size * llm->D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(G, b->size * r));
    MLTFR_AGREE(c->comm, MLTFR_NEW(squares, (b->last - b->first) * r));
    for (int64_t i = b->first; i < b->last; i++) {
        int64_t rows = mltfr_anchor_block(c, llm, false, i, llm->D, X);
        mltfr_product_nn(rows, r, llm->D, X, llm->U, G);
        for (int64_t j = 0; j < rows * r; j++)
            squares[(i - b->first) * r + j % r] += G[j] * G[j];
    }
    MLTFR_TRY(mltfr_blocks_sum(c->comm, b, r, squares, spread));
    for (int64_t a = 0; a < c->anchors.count; a++)
        fitted += mltfr_anchor_in(&c->anchors, a, llm - c->llms, false);
    for (int64_t j = 0; j < r; j++)
        spread[j] = sqrt(spread[j] / (double)fitted);
done:
    MLTFR_FREE(X);
    MLTFR_FREE(G);
    MLTFR_FREE(squares);
    return st;
}

/* Columns to unit spread, then rows to unit length. */
static void normalise(int64_t rows, int64_t cols, const double *spread, double *G)
{
    for (int64_t i = 0; i < rows; i++) {
        double *g = G + i * cols, square = 0;
        for (int64_t j = 0; j < cols; j++) {
            g[j] /= fmax(spread[j], 1e-300);
            square += g[j] * g[j];
        }
        for (int64_t j = 0; j < cols; j++)
            g[j] /= fmax(sqrt(square), 1e-300);
    }
}

/* Held-out rows of one LLM as unit vectors, on every rank. */
static mltfr_status held_units(mltfr_conditioner *c, const mltfr_llm *llm, double **out)
{
    mltfr_status st = MLTFR_OK;
    double *spread = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(spread, c->r_c));
    MLTFR_AGREE(c->comm, MLTFR_NEW(*out, c->anchors.held_count * c->r_c));
    MLTFR_TRY(fitted_spread(c, llm, spread));
    MLTFR_TRY(project_held(c, llm, llm->U, c->r_c, *out));
    normalise(c->anchors.held_count, c->r_c, spread, *out);
done:
    MLTFR_FREE(spread);
    return st;
}

/* One direction of one pair of LLMs: A's rows look for their like among B's. */
typedef struct {
    const double *A, *B; /* [n][r] unit rows */
    int64_t n, r;
    double *scores; /* [QUERIES][CANDIDATES] */
} search;

/* Rows of A in [first, first + rows) whose nearest row of B, the lowest of equals, is their own. */
static int64_t count_hits(const search *s, int64_t first, int64_t rows)
{
    double best[QUERIES];
    int64_t where[QUERIES], hits = 0;

    for (int64_t at = 0; at < s->n; at += CANDIDATES) {
        int64_t m = s->n - at < CANDIDATES ? s->n - at : CANDIDATES;
        mltfr_product_nt(rows, m, s->r, s->A + first * s->r, s->B + at * s->r, s->scores);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < m; j++)
                if ((at == 0 && j == 0) || s->scores[i * m + j] > best[i]) {
                    best[i] = s->scores[i * m + j];
                    where[i] = at + j;
                }
    }
    for (int64_t i = 0; i < rows; i++)
        hits += where[i] == first + i;
    return hits;
}

/* This rank's share of the blocks of queries. */
static int64_t own_hits(const mltfr_comm *comm, const search *s)
{
    mltfr_blocks queries = mltfr_blocks_of(comm, s->n, QUERIES);
    int64_t hits = 0;

    for (int64_t q = queries.first; q < queries.last; q++) {
        int64_t first = mltfr_blocks_begin(&queries, q);
        hits += count_hits(s, first, mltfr_blocks_begin(&queries, q + 1) - first);
    }
    return hits;
}

static mltfr_status gather_rows(const double *G, int64_t cols, const int64_t *rows, int64_t n,
                                double **out)
{
    mltfr_status st = MLTFR_NEW(*out, n * cols);

    for (int64_t i = 0; st == MLTFR_OK && i < n; i++)
        memcpy(*out + i * cols, G + rows[i] * cols, (size_t)cols * sizeof *G);
    return st;
}

/* Both directions of one pair, added to the sum of shares found. */
static mltfr_status search_pair(mltfr_conditioner *c, int64_t j, int64_t l, double *G[],
                                double *shares, int64_t *count)
{
    mltfr_status st = MLTFR_OK;
    int64_t *rows = NULL, n = 0, hits[2];
    double *A = NULL, *B = NULL, *scores = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(rows, c->anchors.held_count));
    MLTFR_AGREE(c->comm, MLTFR_NEW(scores, QUERIES * CANDIDATES));
    MLTFR_AGREE(c->comm, held_common(&c->anchors, j, l, rows, &n));
    if (n == 0)
        goto done;
    MLTFR_AGREE(c->comm, gather_rows(G[j], c->r_c, rows, n, &A));
    MLTFR_AGREE(c->comm, gather_rows(G[l], c->r_c, rows, n, &B));
    hits[0] = own_hits(c->comm, &(search){A, B, n, c->r_c, scores});
    hits[1] = own_hits(c->comm, &(search){B, A, n, c->r_c, scores});
    mltfr_comm_sum_i64(c->comm, hits, 2);
    *shares += (double)hits[0] / (double)n + (double)hits[1] / (double)n;
    *count += 2;
done:
    MLTFR_FREE(rows);
    MLTFR_FREE(A);
    MLTFR_FREE(B);
    MLTFR_FREE(scores);
    return st;
}

mltfr_status mltfr_judge_retrieval(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    double *G[MLTFR_MAX_LLMS] = {NULL}, shares = 0;
    int64_t count = 0;

    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(held_units(c, &c->llms[k], &G[k]));
    for (int64_t j = 0; j < c->K; j++)
        for (int64_t l = j + 1; l < c->K; l++)
            MLTFR_TRY(search_pair(c, j, l, G, &shares, &count));
    c->report->p_at_1 = count > 0 ? shares / (double)count : NAN;
done:
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_FREE(G[k]);
    return st;
}
