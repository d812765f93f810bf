/* Lines of metrics.jsonl about an epoch (docs/formats.md).  Private to train. */
#ifndef MLTFR_REPORT_H
#define MLTFR_REPORT_H

#include "run_files.h"
#include "session.h"
#include "timing.h"

/* Who holds which LLM: a note a LLM.  @local */
void mltfr_report_placement(const mltfr_session *s);
/* What has changed in the pools, in the first step with them.  @collective */
void mltfr_report_pools(mltfr_run_files *files, mltfr_engine *e);
/* What the experts do; nothing while there are none.  @collective */
mltfr_status mltfr_report_experts(mltfr_run_files *files, mltfr_engine *e);
/* Where the time went.  @collective */
void mltfr_report_time(mltfr_run_files *files, const mltfr_timing *timing, const mltfr_engine *e,
                       double seconds);
/* kind: valid or test.  @local */
void mltfr_report_metrics(mltfr_run_files *files, const mltfr_engine *e, const char *kind,
                          const mltfr_metrics *m);

#endif
