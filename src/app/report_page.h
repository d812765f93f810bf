/* The sections of the report's page, in their order. */
#ifndef MLTFR_REPORT_PAGE_H
#define MLTFR_REPORT_PAGE_H

#include "app_impl.h"
#include "report_run.h"

/* Each appends a section, or nothing where no run has what it shows.  @local; the failure of an
 * addition is kept in page->st. */
void report_head(int count, const report_run runs[], mltfr_text *page);
void report_results(int count, const report_run runs[], mltfr_text *page);
mltfr_status report_learning(int count, const report_run runs[], mltfr_text *page);
mltfr_status report_experts(int count, const report_run runs[], mltfr_text *page);
void report_time(int count, const report_run runs[], mltfr_text *page);
mltfr_status report_spaces(int count, const report_run runs[], mltfr_text *page);
void report_settings(int count, const report_run runs[], mltfr_text *page);

/* A run whose checkpoint or spaces cannot be read is left out with a warning.
 * @param self  rank 0 alone */
void report_tokens(mltfr_comm *self, int count, const report_run runs[], mltfr_text *page);

#endif
