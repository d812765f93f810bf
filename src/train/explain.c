/* What the filter kept and the router chose, for the last position of some histories.
 *
 *      users' side    router, gate, tokens of the consensus: own queries, in order -- gatherv ->
 * rank 0 experts' side  (query, k, tokens, weights) of each received row             -- gatherv ->
 * rank 0 */
#include "recommender.h"

#include <string.h>

/* What an expert's side says of one row; m weights follow the m tokens. */
typedef struct {
    int32_t query, k;
    int32_t words[]; /* [m] tokens, [m] weights as floats */
} record;

static size_t record_bytes(const mltfr_engine *e)
{
    return sizeof(record) + (size_t)e->m * (sizeof(int32_t) + sizeof(float));
}

static mltfr_status alloc(const mltfr_engine *e, int64_t n, mltfr_explanation *out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t K = e->K, slots = n * (K + 1) * e->m;

    *out = (mltfr_explanation){.n = n, .K = K, .m = e->m};
    if (e->rank != 0)
        return MLTFR_OK;
    MLTFR_TRY(MLTFR_NEW(out->gate, n));
    MLTFR_TRY(MLTFR_NEW(out->router, n * K));
    MLTFR_TRY(MLTFR_NEW(out->token, slots));
    MLTFR_TRY(MLTFR_NEW(out->weight, slots));
    memset(out->token, -1, (size_t)slots * sizeof *out->token);
done:
    return st;
}

/* Rows of the own queries to rank 0, which has them in order of the queries. */
static void gather_rows(const mltfr_engine *e, const void *mine, int64_t row_bytes, void *all)
{
    int64_t bytes[e->size];

    mltfr_query_bytes(e, row_bytes, bytes);
    mltfr_comm_gatherv(e->comm, mine, bytes, all, 0);
}

/* The consensus's tokens are in the last slot of each history. */
static mltfr_status gather_users(const mltfr_engine *e, mltfr_explanation *out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t m = e->m, n = e->rank == 0 ? out->n : 0;
    const mltfr_run *run = &e->run;
    int32_t *J = NULL;
    float *a = NULL;

    gather_rows(e, run->routes.g, e->K * (int64_t)sizeof(float), out->router);
    gather_rows(e, run->routes.gate, sizeof(float), out->gate);
    st = MLTFR_NEW(J, n * m);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(a, n * m);
    MLTFR_AGREE(e->comm, st);
    gather_rows(e, run->J_c, m * (int64_t)sizeof *J, J);
    gather_rows(e, run->a_c, m * (int64_t)sizeof *a, a);
    for (int64_t u = 0; u < n; u++) {
        const int64_t at = (u * (e->K + 1) + e->K) * m;

        memcpy(out->token + at, J + u * m, (size_t)m * sizeof *J);
        memcpy(out->weight + at, a + u * m, (size_t)m * sizeof *a);
    }
done:
    MLTFR_FREE(J);
    MLTFR_FREE(a);
    return st;
}

/* Records of the rows that this rank's experts answered. */
static void fill_records(const mltfr_engine *e, char *at)
{
    const mltfr_routed *r = &e->run.routed;
    const int64_t blocks = e->run.batch->blocks, m = e->m;

    for (int64_t k = 0; k < e->K; k++)
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t first = r->recv_at[k * blocks + b];

            for (int64_t i = first; first >= 0 && i < first + r->count[b * e->K + k]; i++) {
                record *x = (record *)at;

                *x = (record){(int32_t)r->number[i], (int32_t)k};
                memcpy(x->words, r->J + i * m, (size_t)m * sizeof *r->J);
                memcpy(x->words + m, r->a + i * m, (size_t)m * sizeof *r->a);
                at += record_bytes(e);
            }
        }
}

static mltfr_status gather_experts(const mltfr_engine *e, mltfr_explanation *out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t size = (int64_t)record_bytes(e), m = e->m;
    int64_t bytes[e->size], own = e->run.routed.received * size, total = 0;
    char *mine = NULL, *all = NULL;

    mltfr_comm_allgather(e->comm, &own, sizeof own, bytes);
    for (int p = 0; p < e->size; p++)
        total += bytes[p];
    st = MLTFR_NEW(mine, own);
    if (st == MLTFR_OK)
        st = MLTFR_NEW(all, e->rank == 0 ? total : 0);
    MLTFR_AGREE(e->comm, st);
    fill_records(e, mine);
    mltfr_comm_gatherv(e->comm, mine, bytes, all, 0);
    for (int64_t i = 0; e->rank == 0 && i < total; i += size) {
        const record *x = (const record *)(all + i);
        const int64_t at = (x->query * (e->K + 1) + x->k) * m;

        memcpy(out->token + at, x->words, (size_t)m * sizeof *out->token);
        memcpy(out->weight + at, x->words + m, (size_t)m * sizeof *out->weight);
    }
done:
    MLTFR_FREE(mine);
    MLTFR_FREE(all);
    return st;
}

mltfr_status mltfr_explain(mltfr_recommender *recommender, int64_t n,
                           const mltfr_history histories[], mltfr_explanation *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = recommender->session.engine;
    mltfr_batch *batch = NULL;

    *out = (mltfr_explanation){0};
    if (!mltfr_experts_on(e))
        return mltfr_fail(MLTFR_E_DATA,
                          "no expert has started in this checkpoint (step %lld): "
                          "there is nothing to explain; train with model.experts, "
                          "beyond train.warmup_epochs",
                          (long long)e->at.step);
    st = mltfr_history_batch(e, n, histories, &batch);
    if (st == MLTFR_OK)
        st = alloc(e, n, out);
    MLTFR_AGREE(e->comm, st);
    MLTFR_TRY(mltfr_run_forward(e, batch, MLTFR_RANK));
    MLTFR_TRY(gather_users(e, out));
    MLTFR_TRY(gather_experts(e, out));
done:
    if (st != MLTFR_OK)
        mltfr_explanation_clear(out);
    mltfr_batch_destroy(&batch);
    return st;
}

void mltfr_explanation_clear(mltfr_explanation *explanation)
{
    MLTFR_FREE(explanation->gate);
    MLTFR_FREE(explanation->router);
    MLTFR_FREE(explanation->token);
    MLTFR_FREE(explanation->weight);
}

void mltfr_recommender_consensus(mltfr_recommender *recommender, double phi[], double distance[])
{
    mltfr_engine *e = recommender->session.engine;

    memcpy(phi, e->phi, (size_t)e->K * sizeof *phi);
    mltfr_consensus_distances(e, distance);
}
