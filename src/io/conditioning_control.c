/* tokens.control: tables that take the place of those that were read, after E5 and before E7, so
 * that everything later treats them alike.  A rank makes the rows of its own tokens.
 *
 * gaussian: row of token i = mu_k + z_i S_k^1/2, with the mean and the covariance of the LLM's kept
 * rows; nothing joins the LLMs.
 *
 * gaussian-joint: rows of anchor a = mu_k^a + z_a G_k: one draw z_a, sum D_k wide, for all LLMs,
 * G = J^1/2 = [G_1 .. G_K], J_jl = mean of x_j^T x_l over the anchors that j and l both have (x_k:
 * the anchor's row less the mean mu_k^a of all anchors of k).  Where LLMs lack different anchors J
 * need not be a covariance: negative eigenvalues count as 0.  All tokens of an anchor (those that
 * differ in case only) get the one row: what they differ by is lost.  Other rows are drawn as in
 * `gaussian`, with their own mean and covariance.
 *
 * shuffle: the kept rows of each LLM but the first trade places.
 *
 * z is a hash of (seed, LLM or all, token or anchor, column); roots are the symmetric ones, which
 * unlike eigenvectors do not depend on the grid beyond rounding. */
#include "conditioning_impl.h"

#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/product.h>
#include <mltfr/rng.h>
#include <mltfr/watchdog.h>

#include <math.h>
#include <string.h>

static uint64_t key_of(const mltfr_conditioner *c, int64_t stream)
{
    return mltfr_rng_key(c->options->seed, MLTFR_RNG_CONTROL, (uint64_t)stream);
}

/* ---- roots --------------------------------------------------------------------------------- */

/* S <- S^1/2 = (V lam^1/4) (V lam^1/4)^T. */
static mltfr_status take_root(mltfr_conditioner *c, mltfr_matrix *S)
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *V = NULL, *Vt = NULL;
    int64_t n = mltfr_view_all(S).rows;
    double *lam = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(lam, n));
    MLTFR_TRY(mltfr_matrix_create(c->grid, n, n, &V));
    MLTFR_TRY(mltfr_matrix_eigen(S, lam, V));
    for (int64_t j = 0; j < n; j++)
        lam[j] = sqrt(sqrt(fmax(lam[j], 0)));
    mltfr_matrix_scale(V, lam);
    MLTFR_TRY(mltfr_matrix_create(c->grid, n, n, &Vt));
    mltfr_matrix_transpose(mltfr_view_all(V), mltfr_view_all(Vt));
    mltfr_matrix_multiply(1, mltfr_view_all(Vt), true, mltfr_view_all(Vt), 0, mltfr_view_all(S));
done:
    mltfr_matrix_destroy(&V);
    mltfr_matrix_destroy(&Vt);
    MLTFR_FREE(lam);
    return st;
}

/* ---- drawing ------------------------------------------------------------------------------- */

/* Rows of one LLM that are drawn from one Gaussian. */
typedef struct {
    const mltfr_llm *llm;
    mltfr_rows *made;    /* where they go: this rank's tokens */
    const int64_t *draw; /* [count of kept rows] number of the draw of each, -1: not of these */
    uint64_t key;
    int64_t depth;      /* width of z */
    const double *mean; /* [D] */
    const double *root; /* [depth][D] */
} gaussian;

/* n standard normals of draw i, two from each pair of uniforms (Box-Muller). */
static void normals(uint64_t key, int64_t i, int64_t n, double *z)
{
    for (int64_t j = 0; j < n; j += 2) {
        uint64_t at = (uint64_t)(i * (n + n % 2) + j);
        double length = sqrt(-2 * log(1 - mltfr_rng_uniform(key, at)));
        double angle = 6.283185307179586476925 * mltfr_rng_uniform(key, at + 1);
        z[j] = length * cos(angle);
        if (j + 1 < n)
            z[j + 1] = length * sin(angle);
    }
}

/* The rows of one block of tokens: as many as there are whoever draws them. */
static void draw_block(mltfr_conditioner *c, const gaussian *g, int64_t block, double *z, double *x)
{
    const mltfr_llm *llm = g->llm;
    int64_t first = llm->kept_before[block], end = llm->kept_before[block + 1], n = 0;

    for (int64_t i = first; i < end; i++)
        if (g->draw[i] >= 0)
            normals(g->key, g->draw[i], g->depth, z + n++ * g->depth);
    if (n == 0)
        return;
    mltfr_product_nn(n, llm->D, g->depth, z, g->root, x);
    c->operations += 2. * (double)n * (double)llm->D * (double)g->depth;
    for (int64_t i = first, at = 0; i < end; i++)
        if (g->draw[i] >= 0) {
            mltfr_vector_add(llm->D, 1, g->mean, x + at * llm->D);
            mltfr_rows_put(g->made, llm->kept[i] - llm->tokens.begin, x + at++ * llm->D);
        }
}

/* All own rows of the Gaussian. */
static mltfr_status draw(mltfr_conditioner *c, const gaussian *g)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &g->llm->tokens;
    double *z = NULL, *x = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(z, b->size * g->depth));
    MLTFR_AGREE(c->comm, MLTFR_NEW(x, b->size * g->llm->D));
    for (int64_t block = b->first; block < b->last; block++) {
        draw_block(c, g, block, z, x);
        mltfr_watchdog_go_on();
    }
done:
    MLTFR_FREE(z);
    MLTFR_FREE(x);
    return st;
}

/* Room for the rows to be made, which do not take effect before they are all there. */
static mltfr_status make_room(mltfr_conditioner *c, const mltfr_llm *llm, mltfr_rows *made)
{
    return mltfr_comm_agree(c->comm, mltfr_rows_create(made, llm->tokens.end - llm->tokens.begin,
                                                       llm->D, llm->source.wide));
}

/* ---- gaussian ------------------------------------------------------------------------------ */

/* Kept rows of one LLM that are marked, less a mean. */
typedef struct {
    mltfr_llm *llm;
    const int64_t *draw;
    const double *mean;
} part;

static int64_t fill_part(void *context, int64_t block, int64_t cols, double *X)
{
    const part *p = context;
    const mltfr_llm *llm = p->llm;
    int64_t first, n = 0;
    const mltfr_rows *rows = mltfr_llm_block(p->llm, block, &first);

    for (int64_t i = llm->kept_before[block]; i < llm->kept_before[block + 1]; i++)
        if (p->draw[i] >= 0)
            mltfr_rows_get(rows, llm->kept[i] - first, cols, p->mean, X + n++ * cols);
    return n;
}

static mltfr_status part_mean(mltfr_conditioner *c, const part *p, int64_t count, double *mean)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &p->llm->tokens;
    int64_t D = p->llm->D;
    double *sums = NULL, *X = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(sums, (b->last - b->first) * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(X, b->size * D));
    for (int64_t block = b->first; block < b->last; block++) {
        int64_t n = fill_part((void *)p, block, D, X);
        for (int64_t i = 0; i < n; i++)
            mltfr_vector_add(D, 1, X + i * D, sums + (block - b->first) * D);
    }
    MLTFR_AGREE(c->comm, p->llm->st);
    MLTFR_TRY(mltfr_blocks_sum(c->comm, b, D, sums, mean));
    for (int64_t j = 0; j < D; j++)
        mean[j] /= (double)count;
done:
    MLTFR_FREE(sums);
    MLTFR_FREE(X);
    return st;
}

/* Draw the marked rows with their own mean and covariance. */
static mltfr_status draw_alone(mltfr_conditioner *c, int64_t k, const int64_t *marks, int64_t count,
                               mltfr_rows *made)
{
    mltfr_status st = MLTFR_OK;
    mltfr_llm *llm = &c->llms[k];
    part p = {llm, marks, NULL};
    mltfr_row_blocks X = {&p, llm->tokens.first, llm->tokens.last, llm->tokens.size, fill_part};
    mltfr_matrix *S = NULL;
    double *mean = NULL, *root = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(mean, llm->D));
    MLTFR_TRY(part_mean(c, &p, count, mean));
    p.mean = mean;
    MLTFR_TRY(mltfr_matrix_create(c->grid, llm->D, llm->D, &S));
    MLTFR_TRY(mltfr_matrix_gram(S, &X, 1. / (double)count));
    MLTFR_AGREE(c->comm, llm->st);
    MLTFR_TRY(take_root(c, S));
    MLTFR_AGREE(c->comm, MLTFR_NEW(root, llm->D * llm->D));
    MLTFR_TRY(mltfr_matrix_get(S, 0, llm->D, root));
    mltfr_matrix_destroy(&S);
    MLTFR_TRY(draw(c, &(gaussian){llm, made, marks, key_of(c, k), llm->D, mean, root}));
done:
    mltfr_matrix_destroy(&S);
    MLTFR_FREE(mean);
    MLTFR_FREE(root);
    return st;
}

static mltfr_status make_gaussian(mltfr_conditioner *c, int64_t k, mltfr_rows *made)
{
    mltfr_status st = MLTFR_OK;
    mltfr_llm *llm = &c->llms[k];
    int64_t *marks = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(marks, llm->count));
    memcpy(marks, llm->kept, (size_t)llm->count * sizeof *marks);
    MLTFR_TRY(draw_alone(c, k, marks, llm->count, made));
done:
    MLTFR_FREE(marks);
    return st;
}

/* ---- gaussian-joint ------------------------------------------------------------------------ */

/* For each kept row its anchor, or -1; and the other way round its token where it is no anchor. */
static int64_t split_rows(const mltfr_conditioner *c, int64_t k, int64_t *anchor, int64_t *other)
{
    const mltfr_anchors *an = &c->anchors;
    const mltfr_llm *llm = &c->llms[k];
    int64_t others = 0;

    memset(anchor, -1, (size_t)llm->count * sizeof *anchor);
    for (int64_t a = 0; a < an->count; a++)
        for (int64_t i = an->begins[a * an->K + k]; i < an->begins[a * an->K + k + 1]; i++)
            anchor[mltfr_llm_kept_index(llm, an->tokens[i])] = a;
    for (int64_t i = 0; i < llm->count; i++) {
        other[i] = anchor[i] < 0 ? llm->kept[i] : -1;
        others += anchor[i] < 0;
    }
    return others;
}

/* Anchors that LLMs j and l both have. */
static int64_t common(const mltfr_anchors *an, int64_t j, int64_t l)
{
    int64_t n = 0;

    for (int64_t a = 0; a < an->count; a++)
        n += an->ids[a * an->K + j] >= 0 && an->ids[a * an->K + l] >= 0;
    return n;
}

/* Mean of all anchors of an LLM into mean_anchor, for now; 1 / root mean square of what is left. */
static mltfr_status centre_anchors(mltfr_conditioner *c, int64_t k, double *scale)
{
    mltfr_status st = MLTFR_OK;
    mltfr_llm *llm = &c->llms[k];
    const mltfr_blocks *b = &c->anchors.blocks;
    int64_t D = llm->D, n = common(&c->anchors, k, k);
    double *sums = NULL, *total = NULL, *x = NULL;

    MLTFR_TRY(mltfr_anchor_rows(c, llm, false, D, &llm->anchor_rows));
    MLTFR_AGREE(c->comm, MLTFR_NEW(llm->mean_anchor, D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(sums, 2 * (b->last - b->first) * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(total, 2 * D));
    MLTFR_AGREE(c->comm, MLTFR_NEW(x, D));
    for (int64_t a = b->begin; a < b->end; a++) {
        double *sum = sums + 2 * (a / b->size - b->first) * D;
        mltfr_rows_get(&llm->anchor_rows, a - b->begin, D, NULL, x);
        mltfr_vector_add(D, 1, x, sum);
        mltfr_vector_add_squares(D, x, sum + D);
    }
    MLTFR_TRY(mltfr_blocks_sum(c->comm, b, 2 * D, sums, total));
    double square = 0;
    for (int64_t j = 0; j < D; j++) {
        llm->mean_anchor[j] = total[j] / (double)n;
        square += total[D + j] / (double)n - llm->mean_anchor[j] * llm->mean_anchor[j];
    }
    *scale = square > 0 ? 1 / sqrt(square) : 1;
done:
    MLTFR_FREE(sums);
    MLTFR_FREE(total);
    MLTFR_FREE(x);
    return st;
}

/* J^1/2, each LLM's rows at unit size. */
static mltfr_status joint_root(mltfr_conditioner *c, const double *scale, mltfr_matrix **J)
{
    mltfr_status st = MLTFR_OK;
    mltfr_stack all = mltfr_stack_all(c);
    mltfr_matrix *S = NULL;

    all.scale = scale;
    MLTFR_TRY(mltfr_stack_gram(&all, 1, &S));
    MLTFR_TRY(mltfr_matrix_create(c->grid, c->total_width, c->total_width, J));
    for (int64_t j = 0; j < c->K; j++)
        for (int64_t l = j; l < c->K; l++) {
            int64_t n = common(&c->anchors, j, l);
            if (n > 0)
                mltfr_matrix_add(1. / (double)n, mltfr_stack_block(c, S, j, l), 0,
                                 mltfr_stack_block(c, *J, j, l));
        }
    mltfr_matrix_destroy(&S);
    MLTFR_TRY(take_root(c, *J));
done:
    mltfr_matrix_destroy(&S);
    return st;
}

/* LLM k's rows from the common draws, and those that are no anchors from draws of their own. */
static mltfr_status make_joint(mltfr_conditioner *c, int64_t k, double scale, mltfr_matrix *J,
                               mltfr_rows *made)
{
    mltfr_status st = MLTFR_OK;
    mltfr_llm *llm = &c->llms[k];
    mltfr_view part_k = mltfr_stack_block(c, J, 0, k);
    int64_t *anchor = NULL, *other = NULL, others;
    double *root = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(anchor, llm->count));
    MLTFR_AGREE(c->comm, MLTFR_NEW(other, llm->count));
    others = split_rows(c, k, anchor, other);
    MLTFR_AGREE(c->comm, MLTFR_NEW(root, c->total_width * llm->D));
    MLTFR_TRY(mltfr_matrix_get(J, part_k.col, llm->D, root));
    for (int64_t i = 0; i < c->total_width * llm->D; i++)
        root[i] /= scale;
    MLTFR_TRY(draw(c, &(gaussian){llm, made, anchor, key_of(c, c->K), c->total_width,
                                  llm->mean_anchor, root}));
    MLTFR_FREE(root);
    if (others > 0)
        MLTFR_TRY(draw_alone(c, k, other, others, made));
done:
    MLTFR_FREE(anchor);
    MLTFR_FREE(other);
    MLTFR_FREE(root);
    return st;
}

static mltfr_status make_all_joint(mltfr_conditioner *c, mltfr_rows made[])
{
    mltfr_status st = MLTFR_OK;
    mltfr_matrix *J = NULL;
    double scale[MLTFR_MAX_LLMS];

    if (c->anchors.count < 2)
        MLTFR_FAIL(MLTFR_E_USAGE,
                   "tokens.control: gaussian-joint needs two LLMs with strings in common, there "
                   "are %lld anchors",
                   (long long)c->anchors.count);
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(centre_anchors(c, k, &scale[k]));
    MLTFR_TRY(joint_root(c, scale, &J));
    for (int64_t k = 0; k < c->K; k++) {
        mltfr_rows_destroy(&c->llms[k].anchor_rows);
        MLTFR_TRY(make_joint(c, k, scale[k], J, &made[k]));
        MLTFR_FREE(c->llms[k].mean_anchor);
    }
done:
    mltfr_matrix_destroy(&J);
    return st;
}

/* ---- shuffle ------------------------------------------------------------------------------- */

static mltfr_status read_shuffled(const mltfr_conditioner *c, int64_t k, mltfr_rows *made)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_llm *llm = &c->llms[k];
    const mltfr_blocks *b = &llm->tokens;
    uint64_t key = key_of(c, k), n = (uint64_t)llm->count;

    for (int64_t i = llm->kept_before[b->first]; i < llm->kept_before[b->last]; i++) {
        int64_t from = llm->kept[mltfr_rng_permute(key, n, (uint64_t)i)];
        MLTFR_TRY(llm->source.read(llm->source.context, from, 1,
                                   mltfr_rows_at(made, llm->kept[i] - b->begin)));
    }
done:
    return st;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static mltfr_status make_one(mltfr_conditioner *c, int64_t k, mltfr_rows *made)
{
    if (c->options->control == MLTFR_CONTROL_GAUSSIAN)
        return make_gaussian(c, k, made);
    return mltfr_comm_agree(c->comm, read_shuffled(c, k, made));
}

mltfr_status mltfr_control_tables(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_control control = c->options->control;
    mltfr_rows made[MLTFR_MAX_LLMS] = {{0}};

    if (control == MLTFR_CONTROL_NONE || control == MLTFR_CONTROL_SCALE ||
        control == MLTFR_CONTROL_IDENTITY) /* these act on what is finished */
        goto done;
    if (control == MLTFR_CONTROL_SHUFFLE && c->K == 1)
        mltfr_warn("tokens.control: shuffle leaves the first LLM as it is, and there is no other");
    for (int64_t k = control == MLTFR_CONTROL_SHUFFLE ? 1 : 0; k < c->K; k++) {
        MLTFR_TRY(make_room(c, &c->llms[k], &made[k]));
        if (control != MLTFR_CONTROL_GAUSSIAN_JOINT)
            MLTFR_TRY(make_one(c, k, &made[k]));
    }
    if (control == MLTFR_CONTROL_GAUSSIAN_JOINT)
        MLTFR_TRY(make_all_joint(c, made));
    for (int64_t k = 0; k < c->K; k++)
        if (made[k].data != NULL) {
            c->llms[k].made = made[k];
            made[k] = (mltfr_rows){0};
            MLTFR_TRY(mltfr_llm_mean(c, &c->llms[k], &c->report->llms[k].cosine));
        }
done:
    for (int64_t k = 0; k < MLTFR_MAX_LLMS; k++)
        mltfr_rows_destroy(&made[k]);
    return st;
}
