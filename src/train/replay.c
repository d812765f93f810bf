#include <mltfr/trainer.h>
mltfr_status mltfr_replay(mltfr_comm *comm, const char *in, const char *out)
{ (void)comm;(void)in;(void)out; return mltfr_fail(MLTFR_E_USAGE, "replay"); }
