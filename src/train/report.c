#include "report.h"

#include <inttypes.h>

void mltfr_report_placement(const mltfr_session *s)
{
    const mltfr_engine *e = s->engine;

    for (int64_t k = 0; s->spaces != NULL && k < e->K; k++)
        mltfr_note("place   %s: owner rank %d, ranks %d to %d", s->spaces->names[k],
                   e->space[k].owner, e->space[k].first_rank, e->space[k].last_rank);
    if (s->spaces != NULL)
        mltfr_note("place   token rows: the fullest rank has %.2f of the mean", e->placed);
}

static void add_line(mltfr_run_files *files, mltfr_text *text)
{
    if (text->st == MLTFR_OK)
        mltfr_run_files_line(files, "%s", text->data);
    mltfr_text_destroy(text);
}

static void add_list(mltfr_text *text, const char *name, int64_t n, const double *x)
{
    mltfr_text_add(text, ",\"%s\":[", name);
    for (int64_t i = 0; i < n; i++)
        mltfr_text_add(text, "%s%.10g", i > 0 ? "," : "", x[i]);
    mltfr_text_add(text, "]");
}

void mltfr_report_pools(mltfr_run_files *files, mltfr_engine *e)
{
    double fresh[MLTFR_MAX_LLMS + 1];
    mltfr_text text = {0};

    mltfr_pools_new(e, fresh);
    mltfr_text_add(&text, "{\"kind\":\"pools\",\"epoch\":%" PRId64 ",\"step\":%" PRId64,
                   e->at.epoch, e->at.step);
    add_list(&text, "new", mltfr_space_count(e), fresh);
    mltfr_text_add(&text, "}");
    add_line(files, &text);
}

mltfr_status mltfr_report_experts(mltfr_run_files *files, mltfr_engine *e)
{
    mltfr_status st = MLTFR_OK;
    mltfr_diagnosis seen;
    double load[MLTFR_MAX_LLMS], away[MLTFR_MAX_LLMS];
    mltfr_text text = {0};

    if (!mltfr_experts_on(e))
        return MLTFR_OK;
    MLTFR_TRY(mltfr_diagnose(e, &seen));
    for (int64_t k = 0; k < e->K; k++)
        load[k] = (double)e->run.routed.load[k];
    mltfr_consensus_distances(e, away);
    mltfr_text_add(&text, "{\"kind\":\"experts\",\"epoch\":%" PRId64 ",\"step\":%" PRId64,
                   e->at.epoch, e->at.step);
    add_list(&text, "load", e->K, load);
    mltfr_text_add(&text, ",\"gate\":%.6g", e->run.gate);
    add_list(&text, "phi", e->K, e->phi);
    add_list(&text, "distance", e->K, away);
    mltfr_text_add(&text, ",\"residual\":%.3g,\"delta\":%.10g", e->residual, seen.delta);
    add_list(&text, "entropy", mltfr_space_count(e), seen.entropy);
    mltfr_text_add(&text, ",\"grad\":{\"items\":%.10g,\"backbone\":%.10g,\"mixture\":%.10g}",
                   seen.grad_item, seen.grad_backbone, seen.grad_mixture);
    add_list(&text, "grad_experts", e->K, seen.grad_expert);
    mltfr_text_add(&text, "}");
    add_line(files, &text);
done:
    return st;
}

void mltfr_report_time(mltfr_run_files *files, const mltfr_timing *timing, const mltfr_engine *e,
                       double seconds)
{
    mltfr_text text = {0};

    mltfr_timing_text(timing, e, seconds, &text);
    add_line(files, &text);
}

void mltfr_report_metrics(mltfr_run_files *files, const mltfr_engine *e, const char *kind,
                          const mltfr_metrics *m)
{
    char text[512];

    mltfr_metrics_json(m, text, sizeof text);
    mltfr_run_files_line(files, "{\"kind\":\"%s\",\"epoch\":%" PRId64 ",\"step\":%" PRId64 ",%s}",
                         kind, e->at.epoch, e->at.step, text);
}
