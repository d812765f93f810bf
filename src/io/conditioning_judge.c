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

mltfr_status mltfr_held_project(mltfr_conditioner *c, const mltfr_llm *llm, const double *map,
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
        c->operations += 2. * (double)(rows * cols * llm->D);
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

mltfr_status mltfr_held_common(const mltfr_anchors *an, int64_t j, int64_t l, int64_t *rows,
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

double mltfr_pearson(const double *a, const double *b, int64_t stride, const int64_t *rows,
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

/* Columns [first, first + cols) of one pair's correlations; two without two common anchors have
 * none. */
static mltfr_status correlate_pair(const mltfr_conditioner *c, mltfr_pair_report *pair, double *G[],
                                   int64_t first, int64_t cols)
{
    mltfr_status st = MLTFR_OK;
    int64_t *rows = NULL, n = 0;

    MLTFR_TRY(MLTFR_NEW(rows, c->anchors.held_count));
    MLTFR_TRY(mltfr_held_common(&c->anchors, pair->j, pair->l, rows, &n));
    if (n < 2)
        goto done;
    if (pair->correlation == NULL)
        MLTFR_TRY(MLTFR_NEW(pair->correlation, c->dims));
    for (int64_t i = 0; i < cols; i++)
        pair->correlation[first + i] = mltfr_pearson(G[pair->j] + i, G[pair->l] + i, cols, rows, n);
done:
    MLTFR_FREE(rows);
    return st;
}

/* Correlations of columns [first, first + cols), by pair. */
static mltfr_status correlate_panel(mltfr_conditioner *c, int64_t first, int64_t cols)
{
    mltfr_status st = MLTFR_OK;
    mltfr_conditioning_report *r = c->report;
    double *G[MLTFR_MAX_LLMS] = {NULL}, *map = NULL;

    for (int64_t k = 0; k < c->K; k++) {
        MLTFR_AGREE(c->comm, MLTFR_NEW(map, c->llms[k].D * cols));
        MLTFR_AGREE(c->comm, MLTFR_NEW(G[k], c->anchors.held_count * cols));
        MLTFR_TRY(mltfr_matrix_get(c->W[k], first, cols, map));
        MLTFR_TRY(mltfr_held_project(c, &c->llms[k], map, cols, G[k]));
        MLTFR_FREE(map);
    }
    for (int64_t i = 0; i < r->pair_count; i++)
        MLTFR_AGREE(c->comm, correlate_pair(c, &r->pairs[i], G, first, cols));
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
    double count = 0;

    MLTFR_AGREE(c->comm, MLTFR_NEW(r->correlation, c->dims));
    r->dims = c->dims;
    for (int64_t at = 0; at < r->dims; at += PANEL)
        MLTFR_TRY(correlate_panel(c, at, r->dims - at < PANEL ? r->dims - at : PANEL));
    for (int64_t i = 0; i < r->pair_count; i++)
        if (r->pairs[i].correlation != NULL) {
            count++;
            mltfr_vector_add(r->dims, 1, r->pairs[i].correlation, r->correlation);
        }
    for (int64_t i = 0; i < r->dims; i++)
        r->correlation[i] /= fmax(count, 1);
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
    int64_t r = c->r_c, fitted = mltfr_fitted(c, llm - c->llms, llm - c->llms);
    double *X = NULL, *G = NULL, *squares = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(X, b->size * llm->D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(G, b->size * r));
    MLTFR_AGREE(c->comm, MLTFR_NEW(squares, (b->last - b->first) * r));
    for (int64_t i = b->first; i < b->last; i++) {
        int64_t rows = mltfr_anchor_block(c, llm, false, i, llm->D, X);
        mltfr_product_nn(rows, r, llm->D, X, llm->U, G);
        c->operations += 2. * (double)(rows * r * llm->D);
        for (int64_t j = 0; j < rows; j++)
            mltfr_vector_add_squares(r, G + j * r, squares + (i - b->first) * r);
    }
    MLTFR_TRY(mltfr_blocks_sum(c->comm, b, r, squares, spread));
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
    MLTFR_TRY(mltfr_held_project(c, llm, llm->U, c->r_c, *out));
    normalise(c->anchors.held_count, c->r_c, spread, *out);
done:
    MLTFR_FREE(spread);
    return st;
}

/* Rows of A and B look for their like in each other.  Each rank has some blocks of A's rows: its
 * rows are finished, of B's it knows the best among its own rows of A. */
typedef struct {
    const double *A, *B; /* [n][r] unit rows */
    int64_t n, r;
    double *scores;        /* [QUERIES][CANDIDATES] */
    double *best, *best_B; /* [n] highest score of each row of A, of B */
    int64_t *row, *row_B;  /* [n] and where, the lowest of equals */
} search;

/* Scores of a block of A with a block of B. */
static void compare_blocks(search *s, int64_t first, int64_t rows, int64_t at, int64_t cols)
{
    mltfr_product_nt(rows, cols, s->r, s->A + first * s->r, s->B + at * s->r, s->scores);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            double x = s->scores[i * cols + j];
            if (x > s->best[first + i]) {
                s->best[first + i] = x;
                s->row[first + i] = at + j;
            }
            if (x > s->best_B[at + j]) {
                s->best_B[at + j] = x;
                s->row_B[at + j] = first + i;
            }
        }
}

/* This rank's blocks of A's rows with all of B; how many of A's rows found their own. */
static int64_t compare(mltfr_conditioner *c, search *s)
{
    mltfr_blocks queries = mltfr_blocks_of(c->comm, s->n, QUERIES);
    int64_t hits = 0;

    for (int64_t i = 0; i < s->n; i++)
        s->best[i] = s->best_B[i] = -INFINITY;
    for (int64_t q = queries.first; q < queries.last; q++) {
        int64_t first = mltfr_blocks_begin(&queries, q);
        int64_t rows = mltfr_blocks_begin(&queries, q + 1) - first;
        for (int64_t at = 0; at < s->n; at += CANDIDATES)
            compare_blocks(s, first, rows, at, s->n - at < CANDIDATES ? s->n - at : CANDIDATES);
    }
    for (int64_t i = queries.begin; i < queries.end; i++)
        hits += s->row[i] == i;
    c->operations += 2. * (double)(queries.end - queries.begin) * (double)(s->n * s->r);
    return hits;
}

/* How many of B's rows found their own: the best of all ranks, the lowest row of equals. */
static int64_t settle(mltfr_comm *comm, search *s)
{
    int64_t hits = 0;

    memcpy(s->best, s->best_B, (size_t)s->n * sizeof *s->best);
    mltfr_comm_max_f64(comm, s->best, s->n);
    for (int64_t i = 0; i < s->n; i++)
        s->row_B[i] = s->best_B[i] == s->best[i] ? -s->row_B[i] : -s->n;
    mltfr_comm_max_i64(comm, s->row_B, s->n);
    for (int64_t i = 0; i < s->n; i++)
        hits += -s->row_B[i] == i;
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

static mltfr_status search_rooms(search *s)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(MLTFR_NEW(s->scores, QUERIES * CANDIDATES));
    MLTFR_TRY(MLTFR_NEW(s->best, s->n));
    MLTFR_TRY(MLTFR_NEW(s->best_B, s->n));
    MLTFR_TRY(MLTFR_NEW(s->row, s->n));
    MLTFR_TRY(MLTFR_NEW(s->row_B, s->n));
done:
    return st;
}

/* Both directions of one pair. */
static mltfr_status search_pair(mltfr_conditioner *c, mltfr_pair_report *pair, double *G[])
{
    mltfr_status st = MLTFR_OK;
    int64_t *rows = NULL, n = 0, hits;
    double *A = NULL, *B = NULL;
    search s = {0};

    MLTFR_AGREE(c->comm, MLTFR_NEW(rows, c->anchors.held_count));
    MLTFR_AGREE(c->comm, mltfr_held_common(&c->anchors, pair->j, pair->l, rows, &n));
    if (n == 0)
        goto done;
    MLTFR_AGREE(c->comm, gather_rows(G[pair->j], c->r_c, rows, n, &A));
    MLTFR_AGREE(c->comm, gather_rows(G[pair->l], c->r_c, rows, n, &B));
    s = (search){.A = A, .B = B, .n = n, .r = c->r_c};
    MLTFR_AGREE(c->comm, search_rooms(&s));
    hits = compare(c, &s);
    mltfr_comm_sum_i64(c->comm, &hits, 1);
    pair->p_at_1[0] = (double)hits / (double)n;
    pair->p_at_1[1] = (double)settle(c->comm, &s) / (double)n;
done:
    MLTFR_FREE(rows);
    MLTFR_FREE(A);
    MLTFR_FREE(B);
    MLTFR_FREE(s.scores);
    MLTFR_FREE(s.best);
    MLTFR_FREE(s.best_B);
    MLTFR_FREE(s.row);
    MLTFR_FREE(s.row_B);
    return st;
}

mltfr_status mltfr_judge_retrieval(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_conditioning_report *r = c->report;
    double *G[MLTFR_MAX_LLMS] = {NULL}, shares = 0, count = 0;

    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(held_units(c, &c->llms[k], &G[k]));
    for (int64_t i = 0; i < r->pair_count; i++) {
        MLTFR_TRY(search_pair(c, &r->pairs[i], G));
        if (isnan(r->pairs[i].p_at_1[0]))
            continue;
        shares += r->pairs[i].p_at_1[0] + r->pairs[i].p_at_1[1];
        count += 2;
    }
    r->p_at_1 = count > 0 ? shares / count : NAN;
done:
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_FREE(G[k]);
    return st;
}
