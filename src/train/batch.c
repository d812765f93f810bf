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

mltfr_status mltfr_batch_take(int64_t users, const int32_t lengths[], mltfr_batch **kept)
{
    mltfr_status st = MLTFR_OK;
    int64_t rows = 0;

    for (int64_t u = 0; u < users; u++)
        rows += lengths[u];
    if (rows > INT32_MAX)
        MLTFR_FAIL(MLTFR_E_USAGE, "train.batch: %lld positions in a batch; %d are allowed",
                   (long long)rows, INT32_MAX);
    if (*kept == NULL)
        MLTFR_TRY(MLTFR_NEW(*kept, 1));
    mltfr_batch *b = *kept;

    b->users = users;
    MLTFR_TRY(MLTFR_TAKE(&b->rooms[0], b->off, users + 1));
    b->off[0] = 0;
    for (int64_t u = 0; u < users; u++)
        b->off[u + 1] = b->off[u] + lengths[u];
    b->rows = rows;
    b->blocks = BLOCKS_A_CUT * ((b->rows + ROWS_A_CUT - 1) / ROWS_A_CUT);
    MLTFR_TRY(MLTFR_TAKE(&b->rooms[1], b->block_user, b->blocks + 1));
    MLTFR_TRY(MLTFR_TAKE(&b->rooms[2], b->items, b->rows));
    MLTFR_TRY(MLTFR_TAKE(&b->rooms[3], b->targets, b->rows));
    cut(b);
done:
    return st;
}

mltfr_status mltfr_batch_create(int64_t users, const int32_t lengths[], mltfr_batch **out)
{
    *out = NULL;
    const mltfr_status st = mltfr_batch_take(users, lengths, out);

    if (st != MLTFR_OK)
        mltfr_batch_destroy(out);
    return st;
}

void mltfr_batch_destroy(mltfr_batch **batch)
{
    mltfr_batch *b = *batch;

    if (b == NULL)
        return;
    for (size_t i = 0; i < sizeof b->rooms / sizeof b->rooms[0]; i++)
        mltfr_room_release(&b->rooms[i]);
    MLTFR_FREE(*batch);
}
