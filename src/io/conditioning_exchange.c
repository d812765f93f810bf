/* Rows of anchors travel from the rank that has the token to the rank that has the anchor:
 *
 *      tokens of LLM k    rank 0 | rank 1 | rank 2      blocks of token ids
 *                            \  /  \  ...
 *      anchors            rank 0 | rank 1 | rank 2      blocks of anchors in byte order
 *
 * Anchors ascend on both sides, so rows leave sorted by receiver, and each sender's rows arrive in
 * the order of the anchors. */
#include "conditioning_impl.h"

#include <mltfr/exchange.h>
#include <mltfr/mem.h>

#include <string.h>

/* Rank that has token `id` of an LLM, or anchor a. */
static int owner(const mltfr_conditioner *c, const mltfr_blocks *b, int64_t thing)
{
    return mltfr_share_owner(b->blocks, mltfr_comm_size(c->comm), thing / b->size);
}

/* LLM k's token of anchor a, -1 where it has none. */
static int64_t token_of(const mltfr_conditioner *c, const mltfr_llm *llm, int64_t a)
{
    return c->anchors.ids[a * c->anchors.K + (llm - c->llms)];
}

/* Rows to and from each rank. */
static void count_rows(const mltfr_conditioner *c, const mltfr_llm *llm, int64_t *to, int64_t *from)
{
    int me = mltfr_comm_rank(c->comm);

    for (int64_t a = 0; a < c->anchors.count; a++) {
        int64_t id = token_of(c, llm, a);
        if (id < 0)
            continue;
        int sender = owner(c, &llm->tokens, id), receiver = owner(c, &c->anchors.blocks, a);
        to[receiver] += sender == me;
        from[sender] += receiver == me;
    }
}

/* Own rows, by rising anchor. */
static void pack(const mltfr_conditioner *c, mltfr_llm *llm, bool finished, size_t bytes,
                 char *send)
{
    int me = mltfr_comm_rank(c->comm);

    for (int64_t a = 0; a < c->anchors.count; a++) {
        int64_t id = token_of(c, llm, a);
        if (id < 0 || owner(c, &llm->tokens, id) != me)
            continue;
        if (finished)
            memcpy(send, mltfr_rows_at(&llm->Z, mltfr_llm_kept_index(llm, id) - llm->first_kept),
                   bytes);
        else
            mltfr_llm_row(llm, id, send);
        send += bytes;
    }
}

/* Put what came to its anchor; one cursor a sender. */
static void unpack(const mltfr_conditioner *c, const mltfr_llm *llm, const int64_t *from,
                   size_t bytes, const char *received, mltfr_rows *out)
{
    int size = mltfr_comm_size(c->comm);
    const mltfr_blocks *b = &c->anchors.blocks;
    const char *cursor[size];

    for (int p = 0; p < size; p++) {
        cursor[p] = received;
        received += (size_t)from[p] * bytes;
    }
    for (int64_t a = b->begin; a < b->end; a++) {
        int64_t id = token_of(c, llm, a);
        if (id < 0)
            continue;
        int p = owner(c, &llm->tokens, id);
        memcpy(mltfr_rows_at(out, a - b->begin), cursor[p], bytes);
        cursor[p] += bytes;
    }
}

mltfr_status mltfr_anchor_rows(mltfr_conditioner *c, mltfr_llm *llm, bool finished, int64_t cols,
                               mltfr_rows *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &c->anchors.blocks;
    int size = mltfr_comm_size(c->comm);
    int64_t to[size], from[size];
    mltfr_exchange *plan = NULL;
    char *send = NULL, *received = NULL;

    memset(to, 0, sizeof to);
    memset(from, 0, sizeof from);
    count_rows(c, llm, to, from);
    MLTFR_AGREE(c->comm, mltfr_exchange_create_known(c->comm, to, from, &plan));
    MLTFR_AGREE(c->comm, mltfr_rows_create(out, b->end - b->begin, cols, llm->source.wide));
    size_t bytes = (size_t)cols * mltfr_rows_element(out);
    MLTFR_AGREE(c->comm, mltfr_alloc(&send, (size_t)mltfr_exchange_sent(plan), bytes));
    MLTFR_AGREE(c->comm, mltfr_alloc(&received, (size_t)mltfr_exchange_received(plan), bytes));
    pack(c, llm, finished, bytes, send);
    MLTFR_AGREE(c->comm, llm->st);
    mltfr_exchange_forward(plan, (int64_t)bytes, send, received);
    unpack(c, llm, from, bytes, received, out);
done:
    mltfr_exchange_destroy(&plan);
    MLTFR_FREE(send);
    MLTFR_FREE(received);
    return st;
}
