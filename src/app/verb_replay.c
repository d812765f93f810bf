/* replay: a golden file, recomputed. */
#include <mltfr/log.h>
#include <mltfr/trainer.h>

#include "app_impl.h"

static mltfr_status write_replay(mltfr_comm *comm, const char *path, const void *golden)
{
    return mltfr_replay(comm, golden, path);
}

mltfr_status app_replay(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st;

    (void)config; /* a golden file carries its own */
    MLTFR_TRY(app_require(comm, "replay", request->operands[0]));
    MLTFR_TRY(app_write_by(comm, request->operands[1], write_replay, request->operands[0]));
    mltfr_note("written to %s", request->operands[1]);
done:
    return st;
}
