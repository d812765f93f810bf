/* replay: a golden file, recomputed. */
#include <mltfr/trainer.h>

#include "app_impl.h"

mltfr_status app_replay(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st;

    (void)config; /* a golden file carries its own */
    MLTFR_TRY(app_require(comm, "replay", request->operands[0]));
    MLTFR_TRY(mltfr_replay(comm, request->operands[0], request->operands[1]));
done:
    return st;
}
