/* report: one page of one run, or of several compared.  Rank 0 does it alone. */
#include <mltfr/log.h>

#include "report_page.h"

#include <string.h>

static mltfr_status write_page(int count, const report_run runs[], mltfr_comm *self,
                               mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;

    report_head(count, runs, page);
    report_results(count, runs, page);
    MLTFR_TRY(report_learning(count, runs, page));
    MLTFR_TRY(report_experts(count, runs, page));
    report_time(count, runs, page);
    MLTFR_TRY(report_spaces(count, runs, page));
    report_tokens(self, count, runs, page);
    report_settings(count, runs, page);
    mltfr_text_add(page, "</main></body></html>\n");
    st = page->st;
done:
    return st;
}

/* `self` is rank 0 alone. */
static mltfr_status make(mltfr_comm *self, const char *const dirs[], const char *out)
{
    mltfr_status st = MLTFR_OK;
    report_run runs[APP_MOST_OPERANDS] = {{.dir = NULL}};
    mltfr_text page = {0};
    int count = 0;

    for (; count < APP_MOST_OPERANDS && dirs[count] != NULL; count++)
        MLTFR_TRY(report_run_read(dirs[count], &runs[count]));
    report_runs_name(count, runs);
    MLTFR_TRY(write_page(count, runs, self, &page));
    MLTFR_TRY(app_write(self, out, &page));
done:
    for (int i = 0; i < APP_MOST_OPERANDS; i++)
        report_run_free(&runs[i]);
    mltfr_text_destroy(&page);
    return st;
}

mltfr_status app_report(mltfr_comm *comm, const app_request *request, mltfr_config *config)
{
    mltfr_status st;
    mltfr_comm *self = NULL;
    const char *own[APP_MOST_OPERANDS] = {mltfr_config_settings(config)->run_dir};
    const char *const *dirs = request->operands[0] != NULL ? request->operands : own;
    char *out = NULL;

    if (request->out == NULL)
        MLTFR_AGREE(comm, app_join(dirs[0], "report.html", &out));
    MLTFR_TRY(mltfr_comm_group(comm, 0, 0, &self));
    MLTFR_AGREE(comm, self == NULL ? MLTFR_OK : make(self, dirs, out != NULL ? out : request->out));
    mltfr_say("%s", out != NULL ? out : request->out);
done:
    mltfr_comm_destroy(&self);
    MLTFR_FREE(out);
    return st;
}
