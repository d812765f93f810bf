/* What the page says of the runs: results, curves, experts, time, settings.  Colour i is run i
 * where runs are compared, and expert i within a run. */
#include "report_page.h"

#include "report_style.h"

#include <mltfr/phases.h>

#include <math.h>
#include <string.h>

enum { BINS = 400 };

/* ---- head ---------------------------------------------------------------------------------- */

void report_head(int count, const report_run runs[], mltfr_text *page)
{
    mltfr_text_add(page,
                   "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                   "<meta name=\"generator\" content=\"mltfr_dist " MLTFR_VERSION "\">\n<title>");
    for (int i = 0; i < count; i++) {
        mltfr_text_add(page, i == 0 ? "" : ", ");
        svg_escaped(page, runs[i].name);
    }
    mltfr_text_add(page, "</title>\n<style>%s</style></head>\n<body><main>\n<h1>", report_style);
    for (int i = 0; i < count; i++) {
        mltfr_text_add(page, i == 0 ? "" : " <small>and</small> ");
        svg_escaped(page, runs[i].name);
    }
    mltfr_text_add(page, "</h1>\n");
}

/* ---- results ------------------------------------------------------------------------------- */

/* 95 % interval of a mean: by its standard error, or for a share of n users Wilson's. */
typedef struct {
    double value, low, high;
} estimate;

static estimate mean_of(const cJSON *metrics, const char *name)
{
    char error[32];
    estimate e = {.value = report_number(metrics, name, -1)};

    snprintf(error, sizeof error, "%s_se", name);
    const double half = 1.96 * report_number(metrics, error, -1);

    e.low = e.value - half;
    e.high = e.value + half;
    return e;
}

static estimate share_of(const cJSON *metrics, const char *name)
{
    const double p = report_number(metrics, name, -1), n = report_number(metrics, "users", -1);
    const double z2 = 1.96 * 1.96, middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    const double half = 1.96 * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n);

    return (estimate){p, middle - half, middle + half};
}

static void cell(mltfr_text *page, const char *format, double x)
{
    mltfr_text_add(page, "<td>");
    if (isfinite(x))
        mltfr_text_add(page, format, x);
    else
        mltfr_text_add(page, "-");
    mltfr_text_add(page, "</td>");
}

static void estimate_cell(mltfr_text *page, estimate e)
{
    if (isfinite(e.low))
        mltfr_text_add(page, "<td>%.4f <small>%.4f-%.4f</small></td>", e.value, e.low, e.high);
    else
        cell(page, "%.4f", e.value);
}

static void result_row(mltfr_text *page, const report_run *run)
{
    const cJSON *test = cJSON_GetObjectItemCaseSensitive(run->result, "test");

    mltfr_text_add(page, "<tr><th>");
    svg_escaped(page, run->name);
    mltfr_text_add(page, "</th>");
    if (test == NULL)
        mltfr_text_add(page, "<td colspan=\"3\">the run has not ended</td>");
    else {
        estimate_cell(page, mean_of(test, "ndcg@10"));
        estimate_cell(page, share_of(test, "hr@10"));
        estimate_cell(page, mean_of(test, "mrr"));
    }
    cell(page, "%.0f", report_number(test, "users", -1));
    cell(page, "%.0f", report_number(run->result, "best_epoch", -1));
    cell(page, "%.1f", report_number(run->result, "seconds", -1));
    cell(page, "%.0f", report_number(run->result, "ranks", -1));
    mltfr_text_add(page, "</tr>\n");
}

static void result_bars(int count, const report_run runs[], mltfr_text *page)
{
    svg_bar bars[APP_MOST_OPERANDS];
    int n = 0;

    for (int i = 0; i < count; i++) {
        const cJSON *test = cJSON_GetObjectItemCaseSensitive(runs[i].result, "test");
        const estimate e = mean_of(test, "ndcg@10");

        if (!isfinite(e.value))
            continue;
        bars[n] = (svg_bar){.value = e.value, .low = e.low, .high = e.high, .colour = i};
        snprintf(bars[n].label, sizeof bars[n].label, "%.18s", runs[i].name);
        snprintf(bars[n++].note, sizeof bars->note, "%.4f", e.value);
    }
    if (n > 1)
        svg_bars(page, "Test NDCG@10, 95 % intervals", n, bars);
}

void report_results(int count, const report_run runs[], mltfr_text *page)
{
    mltfr_text_add(page,
                   "<section><h2>Test</h2><div class=\"wide\"><table><tr><th>run</th>"
                   "<th>NDCG@10</th><th>HR@10</th><th>MRR</th><th>users</th><th>best epoch</th>"
                   "<th>seconds</th><th>ranks</th></tr>\n");
    for (int i = 0; i < count; i++)
        result_row(page, &runs[i]);
    mltfr_text_add(page,
                   "</table></div><p>Small figures: 95 %% intervals over users (HR: Wilson's; "
                   "the others: 1.96 standard errors). They say nothing of other seeds.</p>\n"
                   "<div class=\"charts\">");
    result_bars(count, runs, page);
    mltfr_text_add(page, "</div></section>\n");
}

/* ---- learning ------------------------------------------------------------------------------ */

/* One number of a kind by epoch, a line for each run. */
static mltfr_status runs_chart(int count, const report_run runs[], const char *kind,
                               const char *name, const char *title, bool from_zero,
                               mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;
    svg_series series[APP_MOST_OPERANDS] = {{.n = 0}};

    for (int i = 0; i < count; i++) {
        MLTFR_TRY(report_series(&runs[i], kind, name, -1, &series[i]));
        series[i].colour = i;
    }
    svg_lines(page, &(svg_chart){title, "epoch", from_zero, count, series});
done:
    for (int i = 0; i < count; i++)
        report_series_free(&series[i]);
    return st;
}

/* Means of as many neighbours as make at most BINS points. */
static mltfr_status thin(const svg_series *all, svg_series *out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t each = all->n / BINS + 1;

    snprintf(out->name, sizeof out->name, "%s", all->name);
    MLTFR_TRY(MLTFR_NEW(out->x, BINS + 1));
    MLTFR_TRY(MLTFR_NEW(out->y, BINS + 1));
    for (int64_t at = 0; at < all->n; at += each, out->n++) {
        const int64_t end = at + each < all->n ? at + each : all->n;

        for (int64_t i = at; i < end; i++)
            out->y[out->n] += all->y[i] / (double)(end - at);
        out->x[out->n] = all->x[end - 1];
    }
done:
    return st;
}

static mltfr_status steps_chart(int count, const report_run runs[], mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;
    svg_series series[APP_MOST_OPERANDS] = {{.n = 0}};

    for (int i = 0; i < count; i++) {
        MLTFR_TRY(thin(&runs[i].steps, &series[i]));
        series[i].colour = i;
    }
    svg_lines(page, &(svg_chart){"Training loss by step", "step", false, count, series});
done:
    for (int i = 0; i < count; i++)
        report_series_free(&series[i]);
    return st;
}

mltfr_status report_learning(int count, const report_run runs[], mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;

    mltfr_text_add(page, "<section><h2>Learning</h2><div class=\"charts\">\n");
    MLTFR_TRY(runs_chart(count, runs, "valid", "ndcg@10", "Validation NDCG@10", true, page));
    MLTFR_TRY(runs_chart(count, runs, "valid", "hr@10", "Validation HR@10", true, page));
    MLTFR_TRY(runs_chart(count, runs, "epoch", "loss", "Training loss by epoch", false, page));
    MLTFR_TRY(steps_chart(count, runs, page));
    mltfr_text_add(page, "</div></section>\n");
done:
    return st;
}

/* ---- experts ------------------------------------------------------------------------------- */

/* Names of the LLMs, from the report of the token spaces where there is one. */
static void expert_name(const report_run *run, int k, char *out, size_t bytes)
{
    const cJSON *llm = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(run->spaces, "llms"), k);
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(llm, "name"));

    if (name != NULL)
        snprintf(out, bytes, "%s", name);
    else if (k > 0 && k == report_width(run, "experts", "load"))
        snprintf(out, bytes, "consensus");
    else
        snprintf(out, bytes, "expert %d", k);
}

/* Loads are counts of rows: shares of them can be compared over time. */
static void to_shares(int K, svg_series series[])
{
    for (int64_t i = 0; K > 0 && i < series[0].n; i++) {
        double sum = 0;

        for (int k = 0; k < K; k++)
            sum += series[k].y[i];
        for (int k = 0; k < K; k++)
            series[k].y[i] /= sum;
    }
}

/* An array of a kind by epoch, a line for each expert of one run. */
static mltfr_status experts_chart(const report_run *run, const char *kind, const char *name,
                                  const char *title, bool shares, mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;
    const int K = report_width(run, kind, name);
    svg_series *series = NULL;

    if (K == 0) /* a run of an older version */
        return MLTFR_OK;
    MLTFR_TRY(MLTFR_NEW(series, K));
    for (int k = 0; k < K; k++) {
        MLTFR_TRY(report_series(run, kind, name, k, &series[k]));
        expert_name(run, k, series[k].name, sizeof series[k].name);
        series[k].colour = k;
    }
    if (shares)
        to_shares(K, series);
    svg_lines(page, &(svg_chart){title, "epoch", true, K, series});
done:
    for (int k = 0; series != NULL && k < K; k++)
        report_series_free(&series[k]);
    MLTFR_FREE(series);
    return st;
}

static mltfr_status run_experts(const report_run *run, mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;

    mltfr_text_add(page, "<h3>");
    svg_escaped(page, run->name);
    mltfr_text_add(page, "</h3><div class=\"charts\">\n");
    MLTFR_TRY(experts_chart(run, "experts", "load", "Share of the routed rows", true, page));
    MLTFR_TRY(experts_chart(run, "experts", "phi", "Fisher weights phi", false, page));
    MLTFR_TRY(experts_chart(run, "experts", "distance", "Distance of experts to the consensus",
                            false, page));
    MLTFR_TRY(experts_chart(run, "experts", "entropy", "Entropy of the token weights, in log m",
                            false, page));
    MLTFR_TRY(experts_chart(run, "pools", "new", "Share of the pool that is new", false, page));
    MLTFR_TRY(
        experts_chart(run, "experts", "grad_experts", "Gradient norm of the experts", false, page));
    mltfr_text_add(page, "</div>\n");
done:
    return st;
}

/* What has one number a run: all runs in one picture. */
static mltfr_status mixture_charts(int count, const report_run runs[], mltfr_text *page)
{
    static const char *const charts[][2] = {
        {"gate", "Mean gate of the consensus expert"},
        {"delta", "|Delta| / |h|"},
        {"grad.mixture", "Gradient norm of router, gate and consensus"},
        {"grad.backbone", "Gradient norm of the backbone"},
    };
    mltfr_status st = MLTFR_OK;

    mltfr_text_add(page, "<section><h2>Experts</h2><div class=\"charts\">\n");
    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++)
        MLTFR_TRY(runs_chart(count, runs, "experts", charts[i][0], charts[i][1], true, page));
    mltfr_text_add(page, "</div>\n");
done:
    return st;
}

mltfr_status report_experts(int count, const report_run runs[], mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;
    const size_t before = page->size;

    for (int i = 0; i < count; i++) {
        if (report_width(&runs[i], "experts", "load") == 0)
            continue;
        if (page->size == before)
            MLTFR_TRY(mixture_charts(count, runs, page));
        MLTFR_TRY(run_experts(&runs[i], page));
    }
    if (page->size != before)
        mltfr_text_add(page, "</section>\n");
done:
    return st;
}

/* ---- time ---------------------------------------------------------------------------------- */

static const char *const phases[] = {
#define X(name, text) text,
    MLTFR_PHASE_LIST(X)
#undef X
};
enum { PHASES = sizeof phases / sizeof *phases };

/* Mean seconds an epoch of a phase; the part in which it waited as an interval at the bar's end. */
static bool phase_bar(const report_run *run, const char *phase, svg_bar *out)
{
    char name[64];

    snprintf(name, sizeof name, "wait.%s", phase);
    const double seconds = report_mean(run, "time", phase);
    const double measured = report_mean(run, "time", name),
                 wait = isfinite(measured) ? measured : 0;

    if (!(seconds > 0))
        return false;
    *out = (svg_bar){.value = seconds, .low = seconds - wait, .high = seconds};
    snprintf(out->label, sizeof out->label, "%s", phase);
    snprintf(out->note, sizeof out->note, "%.3g s (%.0f %%)", seconds, 100 * wait / seconds);
    return true;
}

/* The phases against the limit: what the products alone would take at the peak that was measured.
 */
static void run_time(const report_run *run, int colour, mltfr_text *page)
{
    svg_bar bars[PHASES + 1];
    char title[256];
    const double whole = report_mean(run, "time", "train"),
                 rate = report_mean(run, "time", "gflops");
    const double peak = report_mean(run, "time", "peak");
    const double limit = report_mean(run, "time", "gflop") / peak;
    int n = 0;

    for (int i = 0; i < PHASES; i++)
        n += phase_bar(run, phases[i], &bars[n]);
    for (int i = 0; i < n; i++)
        bars[i].colour = colour;
    if (n > 0 && isfinite(limit)) {
        bars[n] = (svg_bar){.label = "all at the peak", .value = limit, .colour = colour};
        snprintf(bars[n++].note, sizeof bars->note, "%.3g s", limit);
    }
    snprintf(title, sizeof title,
             "%s: %.3g s an epoch, %.0f %% waiting for others; %.3g of %.4g GF/s, %.0f %%",
             run->name, whole, 100 * report_mean(run, "time", "exposed"), rate, peak,
             100 * report_mean(run, "time", "share"));
    svg_bars(page, title, n, bars);
}

void report_time(int count, const report_run runs[], mltfr_text *page)
{
    mltfr_text_add(page,
                   "<section><h2>Time</h2><p>Mean seconds of an epoch in each phase, on the "
                   "slowest rank; the line at the end of a bar and the share in brackets are the "
                   "part spent waiting. All "
                   "at the peak: what the matrix products of the epoch would take at the speed "
                   "that this machine reached at the start.</p>\n<div class=\"charts\">\n");
    for (int i = 0; i < count; i++)
        run_time(&runs[i], i, page);
    mltfr_text_add(page, "</div></section>\n");
}

/* ---- settings ------------------------------------------------------------------------------ */

void report_settings(int count, const report_run runs[], mltfr_text *page)
{
    mltfr_text_add(page, "<section><h2>Configuration</h2>\n");
    for (int i = 0; i < count; i++) {
        mltfr_text_add(page, "<details><summary>");
        svg_escaped(page, runs[i].dir);
        mltfr_text_add(page, "/config.yaml</summary><pre>");
        svg_escaped(page, runs[i].config);
        mltfr_text_add(page, "</pre></details>\n");
    }
    mltfr_text_add(page, "</section>\n");
}
