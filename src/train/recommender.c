#include "recommender.h"

#include <string.h>

mltfr_status mltfr_recommender_open(mltfr_comm *comm, const mltfr_settings *settings,
                                    const char *checkpoint, mltfr_recommender **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_recommender *r = NULL;
    mltfr_loop_state ignored;

    *out = NULL;
    MLTFR_AGREE(comm, MLTFR_NEW(r, 1));
    MLTFR_TRY(mltfr_session_open(comm, settings, &r->session));
    MLTFR_TRY(
        mltfr_checkpoint_read(r->session.engine, &ignored, NULL, r->session.digest, checkpoint));
    *out = r;
    r = NULL;
done:
    mltfr_recommender_close(&r);
    return st;
}

void mltfr_recommender_close(mltfr_recommender **recommender)
{
    if (*recommender == NULL)
        return;
    mltfr_session_close(&(*recommender)->session);
    MLTFR_FREE(*recommender);
}

const mltfr_interactions *mltfr_recommender_data(const mltfr_recommender *recommender)
{
    return recommender->session.data;
}

mltfr_history mltfr_recommender_history(const mltfr_recommender *recommender, int64_t user)
{
    const mltfr_interactions *data = recommender->session.data;

    return (mltfr_history){data->ids + data->offsets[user],
                           data->offsets[user + 1] - data->offsets[user]};
}

mltfr_status mltfr_history_batch(const mltfr_engine *e, int64_t n, const mltfr_history histories[],
                                 mltfr_batch **out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t most = e->spec.backbone.max_len;
    int32_t *lengths = NULL;

    *out = NULL;
    MLTFR_TRY(MLTFR_NEW(lengths, n));
    for (int64_t i = 0; i < n; i++)
        lengths[i] = (int32_t)(histories[i].n < most ? histories[i].n : most);
    MLTFR_TRY(mltfr_batch_create(n, lengths, out));
    for (int64_t i = 0; i < n; i++)
        memcpy((*out)->items + (*out)->off[i], histories[i].items + histories[i].n - lengths[i],
               (size_t)lengths[i] * sizeof(int32_t));
done:
    MLTFR_FREE(lengths);
    return st;
}
