/* A global batch cut into user blocks: 4 ceil(rows / 1024) of them, at the user nearest below an
 * even cut, so that 1, 2 or 4 ranks get equal work.  A block may be empty. */
#include "engine.h"

enum { BLOCKS_A_CUT = 4, ROWS_A_CUT = 1024 };

static void cut(mltfr_batch *b)
{
    int64_t user = 0;

    for (int64_t i = 0; i <= b->blocks; i++) {
        while (user < b->users && b->off[user] < b->rows * i / b->blocks)
            user++;
        b->block_user[i] = i == b->blocks ? b->users : user;
    }
}

mltfr_status mltfr_batch_create(int64_t users, const int32_t lengths[], mltfr_batch **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_batch *b = NULL;
    int64_t rows = 0;

    *out = NULL;
    for (int64_t u = 0; u < users; u++)
        rows += lengths[u];
    if (rows > INT32_MAX)
        MLTFR_FAIL(MLTFR_E_USAGE, "train.batch: %lld positions in a batch; %d are allowed",
                   (long long)rows, INT32_MAX);
    MLTFR_TRY(MLTFR_NEW(b, 1));
    b->users = users;
    MLTFR_TRY(MLTFR_NEW(b->off, users + 1));
    for (int64_t u = 0; u < users; u++)
        b->off[u + 1] = b->off[u] + lengths[u];
    b->rows = rows;
    b->blocks = BLOCKS_A_CUT * ((b->rows + ROWS_A_CUT - 1) / ROWS_A_CUT);
    MLTFR_TRY(MLTFR_NEW(b->block_user, b->blocks + 1));
    MLTFR_TRY(MLTFR_NEW(b->items, b->rows));
    MLTFR_TRY(MLTFR_NEW(b->targets, b->rows));
    cut(b);
    *out = b;
    b = NULL;
done:
    mltfr_batch_destroy(&b);
    return st;
}

void mltfr_batch_destroy(mltfr_batch **batch)
{
    mltfr_batch *b = *batch;

    if (b == NULL)
        return;
    MLTFR_FREE(b->off);
    MLTFR_FREE(b->block_user);
    MLTFR_FREE(b->items);
    MLTFR_FREE(b->targets);
    MLTFR_FREE(*batch);
}
