/* One checkpoint at a time is on its way; the one before stays until it is whole. */
#include "checkpoint.h"

#include <mltfr/log.h>

#include <string.h>
#include <sys/stat.h>

static mltfr_status complete(mltfr_keeper *k)
{
    mltfr_status st = MLTFR_OK;
    struct stat file;

    mltfr_watchdog_phase("checkpoint");
    MLTFR_TRY(mltfr_saving_end(&k->saving));
    k->count++;
    if (stat(k->saving.path, &file) == 0)
        k->bytes = file.st_size;
    mltfr_checkpoint_prune(k->comm, k->set->run_dir, k->set->checkpoint_keep, k->saving_best);
done:
    return st;
}

mltfr_status mltfr_keeper_wait(mltfr_keeper *k)
{
    const double begin = mltfr_seconds();
    mltfr_status st = MLTFR_OK;

    if (k->saving.file != NULL)
        st = complete(k);
    k->waited += mltfr_seconds() - begin;
    return st;
}

mltfr_status mltfr_keeper_look(mltfr_keeper *k)
{
    return k->saving.file != NULL && mltfr_file_written(k->saving.file) ? mltfr_keeper_wait(k)
                                                                        : MLTFR_OK;
}

mltfr_status mltfr_keeper_save(mltfr_keeper *k, mltfr_engine *e, const mltfr_loop_state *loop)
{
    char path[4096];
    const mltfr_saving_options options = {.path = path,
                                          .config = k->config,
                                          .digest = k->digest,
                                          .copy = k->set->checkpoint_async ? &k->copy : NULL};
    mltfr_status st = MLTFR_OK;
    double begin;

    MLTFR_TRY(mltfr_keeper_wait(k));
    begin = mltfr_seconds();
    mltfr_checkpoint_path(k->set->run_dir, e->at.step, path, sizeof path);
    MLTFR_TRY(mltfr_saving_begin(&k->saving, e, loop, &options));
    k->saving_best = loop->best_step;
    if (!k->set->checkpoint_async)
        MLTFR_TRY(complete(k));
    k->waited += mltfr_seconds() - begin;
done:
    return st;
}

void mltfr_keeper_say(const mltfr_keeper *k)
{
    const double mib = (double)k->bytes / 1048576., slowest = mltfr_checkpoint_seconds();

    if (k->count > 0)
        mltfr_note("checkpoints  %lld of %.1f MiB, the slowest in %.3f s (%.0f MiB/s); training "
                   "waited %.3f s for them",
                   (long long)k->count, mib, slowest, mib / slowest, k->waited);
}

void mltfr_keeper_end(mltfr_keeper *k)
{
    char text[MLTFR_ERROR_BYTES];

    memcpy(text, mltfr_error_text, sizeof text); /* what led here is what shall be said */
    if (k->saving.file != NULL && complete(k) != MLTFR_OK)
        memcpy(mltfr_error_text, text, sizeof text);
    mltfr_room_release(&k->copy);
    mltfr_checkpoint_prune_end();
}
