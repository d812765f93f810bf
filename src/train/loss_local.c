#include "engine.h"
mltfr_status mltfr_loss_local(mltfr_engine *e, mltfr_run *run)
{
    (void)e; (void)run;
    return mltfr_fail(MLTFR_E_USAGE, "train.loss: only softmax");
}
