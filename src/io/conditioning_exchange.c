/* Rows of anchors travel from the rank that has the token to the rank that has the anchor:
 *
 *      tokens of LLM k    rank 0 | rank 1 | rank 2      blocks of token ids
 *                            \  /  \  ...
 *      anchors            rank 0 | rank 1 | rank 2      blocks of anchors in byte order
 *
 * In each pass every rank gets the rows of one of its blocks, so that few of them are on their way
 * at a time.  Anchors and their tokens ascend on both sides: rows leave sorted by receiver, and
 * each sender's rows arrive in the order in which they are added up. */
#include "conditioning_impl.h"

#include <mltfr/exchange.h>
#include <mltfr/mem.h>

#include <string.h>

/* One pass. */
typedef struct {
    const mltfr_conditioner *c;
    mltfr_llm *llm;
    bool finished; /* rows of Z, not of the table */
    int64_t pass;  /* number of the block within its rank */
    int64_t cols;
    int64_t *to, *from; /* [size] rows to and from each rank */
    char *send;
    mltfr_rows received; /* by sender */
    double *row, *mean;  /* [cols] */
} transfer;

/* Rank that has a token. */
static int owner(const transfer *t, int64_t id)
{
    const mltfr_blocks *b = &t->llm->tokens;

    return mltfr_share_owner(b->blocks, mltfr_comm_size(t->c->comm), id / b->size);
}

/* Rank p's anchors [first, end) of this pass. */
static void block_of(const transfer *t, int p, int64_t *first, int64_t *end)
{
    const mltfr_blocks *b = &t->c->anchors.blocks;
    const int size = mltfr_comm_size(t->c->comm);
    int64_t block = mltfr_share_first(b->blocks, size, p) + t->pass;
    int64_t last = mltfr_share_first(b->blocks, size, p + 1);

    *first = mltfr_blocks_begin(b, block < last ? block : last);
    *end = mltfr_blocks_begin(b, block < last ? block + 1 : last);
}

/* Where the tokens of LLM k's anchor a begin, and where they end, in the list of tokens. */
static int64_t tokens_begin(const transfer *t, int64_t a)
{
    return t->c->anchors.begins[a * t->c->K + (t->llm - t->c->llms)];
}

static int64_t tokens_end(const transfer *t, int64_t a)
{
    return t->c->anchors.begins[a * t->c->K + (t->llm - t->c->llms) + 1];
}

static void count_rows(transfer *t)
{
    const int size = mltfr_comm_size(t->c->comm), me = mltfr_comm_rank(t->c->comm);
    int64_t a, end;

    memset(t->to, 0, (size_t)size * sizeof *t->to);
    memset(t->from, 0, (size_t)size * sizeof *t->from);
    for (int p = 0; p < size; p++)
        for (block_of(t, p, &a, &end); a < end; a++)
            for (int64_t i = tokens_begin(t, a); i < tokens_end(t, a); i++) {
                const int sender = owner(t, t->c->anchors.tokens[i]);
                t->to[p] += sender == me;
                t->from[sender] += p == me;
            }
}

static void get_row(const transfer *t, int64_t id, void *out)
{
    mltfr_llm *llm = t->llm;

    if (t->finished)
        memcpy(out, mltfr_rows_at(&llm->Z, mltfr_llm_kept_index(llm, id) - llm->first_kept),
               (size_t)t->cols * mltfr_rows_element(&t->received));
    else
        mltfr_llm_row(llm, id, out);
}

/* Own rows, by receiver, anchor and token. */
static void pack(const transfer *t)
{
    const int me = mltfr_comm_rank(t->c->comm);
    char *send = t->send;
    int64_t a, end;

    for (int p = 0; p < mltfr_comm_size(t->c->comm); p++)
        for (block_of(t, p, &a, &end); a < end; a++)
            for (int64_t i = tokens_begin(t, a); i < tokens_end(t, a); i++) {
                if (owner(t, t->c->anchors.tokens[i]) != me)
                    continue;
                get_row(t, t->c->anchors.tokens[i], send);
                send += (size_t)t->cols * mltfr_rows_element(&t->received);
            }
}

/* The mean of what came for each anchor; one cursor a sender. */
static void unpack(const transfer *t, mltfr_rows *out)
{
    const int size = mltfr_comm_size(t->c->comm), me = mltfr_comm_rank(t->c->comm);
    int64_t a, end, cursor[size], at = 0;

    for (int p = 0; p < size; p++) {
        cursor[p] = at;
        at += t->from[p];
    }
    for (block_of(t, me, &a, &end); a < end; a++) {
        const int64_t first = tokens_begin(t, a), last = tokens_end(t, a);
        memset(t->mean, 0, (size_t)t->cols * sizeof *t->mean);
        for (int64_t i = first; i < last; i++) {
            const int p = owner(t, t->c->anchors.tokens[i]);
            mltfr_rows_get(&t->received, cursor[p]++, t->cols, NULL, t->row);
            mltfr_vector_add(t->cols, 1 / (double)(last - first), t->row, t->mean);
        }
        mltfr_rows_put(out, a - t->c->anchors.blocks.begin, t->mean);
    }
}

static mltfr_status one_pass(transfer *t, mltfr_rows *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_comm *comm = t->c->comm;
    mltfr_exchange *plan = NULL;
    const bool wide = t->llm->source.wide;

    count_rows(t);
    MLTFR_AGREE(comm, mltfr_exchange_create_known(comm, t->to, t->from, &plan));
    MLTFR_AGREE(comm,
                mltfr_rows_create(&t->received, mltfr_exchange_received(plan), t->cols, wide));
    const size_t bytes = (size_t)t->cols * mltfr_rows_element(&t->received);
    MLTFR_AGREE(comm, mltfr_alloc(&t->send, (size_t)mltfr_exchange_sent(plan), bytes));
    pack(t);
    MLTFR_AGREE(comm, t->llm->st);
    mltfr_exchange_forward(plan, (int64_t)bytes, t->send, t->received.data);
    unpack(t, out);
done:
    mltfr_exchange_destroy(&plan);
    mltfr_rows_destroy(&t->received);
    MLTFR_FREE(t->send);
    return st;
}

mltfr_status mltfr_anchor_rows(mltfr_conditioner *c, mltfr_llm *llm, bool finished, int64_t cols,
                               mltfr_rows *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &c->anchors.blocks;
    const int size = mltfr_comm_size(c->comm);
    int64_t to[size], from[size];
    transfer t = {.c = c, .llm = llm, .finished = finished, .cols = cols, .to = to, .from = from};

    MLTFR_AGREE(c->comm, mltfr_rows_create(out, b->end - b->begin, cols, llm->source.wide));
    MLTFR_AGREE(c->comm, MLTFR_NEW(t.row, cols));
    MLTFR_AGREE(c->comm, MLTFR_NEW(t.mean, cols));
    for (; t.pass * size < b->blocks; t.pass++)
        MLTFR_TRY(one_pass(&t, out));
done:
    MLTFR_FREE(t.row);
    MLTFR_FREE(t.mean);
    return st;
}
