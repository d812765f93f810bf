/* The token spaces of a run, from the report that conditioning left in its directory. */
#include "report_page.h"

#include <math.h>

/* The numbers of an array by their place, from 1; summed and over their total where cumulative. */
static mltfr_status array_series(const cJSON *array, bool cumulative, svg_series *out)
{
    mltfr_status st = MLTFR_OK;
    const int n = cJSON_GetArraySize(array);
    const cJSON *item;
    double sum = 0;

    MLTFR_TRY(MLTFR_NEW(out->x, n));
    MLTFR_TRY(MLTFR_NEW(out->y, n));
    cJSON_ArrayForEach(item, array)
    {
        const double x = cJSON_IsNumber(item) ? item->valuedouble : NAN;

        sum += x;
        out->x[out->n] = (double)(out->n + 1);
        out->y[out->n++] = cumulative ? sum : x;
    }
    for (int64_t i = 0; cumulative && i < out->n; i++)
        out->y[i] /= sum;
done:
    return st;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

    return text != NULL ? text : "?";
}

/* A line for each member of a list, of the array each has under a name. */
static mltfr_status list_chart(const cJSON *list, const char *name, bool spectra, const char *title,
                               mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;
    const int most = cJSON_GetArraySize(list);
    const cJSON *item;
    svg_series *series = NULL;
    int n = 0;

    MLTFR_TRY(MLTFR_NEW(series, most));
    cJSON_ArrayForEach(item, list)
    {
        svg_series *s = &series[n];

        if (spectra)
            snprintf(s->name, sizeof s->name, "%s", text_of(item, "name"));
        else
            snprintf(s->name, sizeof s->name, "%.40s and %.40s", text_of(item, "a"),
                     text_of(item, "b"));
        s->colour = n++;
        MLTFR_TRY(array_series(cJSON_GetObjectItemCaseSensitive(item, name), spectra, s));
    }
    svg_lines(page, &(svg_chart){title, "dimension", true, n, series});
done:
    for (int i = 0; series != NULL && i < most; i++)
        report_series_free(&series[i]);
    MLTFR_FREE(series);
    return st;
}

static void llm_row(mltfr_text *page, const cJSON *llm)
{
    const cJSON *dropped = cJSON_GetObjectItemCaseSensitive(llm, "dropped");

    mltfr_text_add(page, "<tr><th>");
    svg_escaped(page, text_of(llm, "name"));
    mltfr_text_add(page,
                   "</th><td>%.0f x %.0f</td><td>%.0f</td><td>%.0f special, %.0f unused, %.0f of "
                   "low norm</td><td>%.0f</td><td>%.3f, then %.3f</td></tr>\n",
                   report_number(llm, "rows", -1), report_number(llm, "width", -1),
                   report_number(llm, "kept", -1), report_number(dropped, "special", -1),
                   report_number(dropped, "byte_or_unused", -1),
                   report_number(dropped, "low_norm", -1), report_number(llm, "anchors", -1),
                   report_number(llm, "mean_cosine", -1),
                   report_number(llm, "mean_cosine_conditioned", -1));
}

static mltfr_status run_spaces(const report_run *run, mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;
    const cJSON *llms = cJSON_GetObjectItemCaseSensitive(run->spaces, "llms"), *llm;
    const cJSON *pairs = cJSON_GetObjectItemCaseSensitive(run->spaces, "pairs");

    mltfr_text_add(page, "<h3>");
    svg_escaped(page, run->name);
    mltfr_text_add(page,
                   "</h3><p>%s, control: %s, %.0f shared and %.0f specific dimensions, "
                   "P@1 %.3f</p><div class=\"wide\"><table><tr><th>LLM</th><th>table</th>"
                   "<th>kept</th><th>dropped</th><th>anchors</th><th>mean cosine</th></tr>\n",
                   text_of(run->spaces, "align"), text_of(run->spaces, "control"),
                   report_number(run->spaces, "shared_dim", -1),
                   report_number(run->spaces, "specific_dim", -1),
                   report_number(run->spaces, "p_at_1", -1));
    cJSON_ArrayForEach(llm, llms) llm_row(page, llm);
    mltfr_text_add(page, "</table></div><div class=\"charts\">\n");
    MLTFR_TRY(
        list_chart(llms, "spectrum", true, "Share of the variance in the first dimensions", page));
    MLTFR_TRY(list_chart(pairs, "correlation", false, "Correlation on held-out anchors", page));
    mltfr_text_add(page, "</div>\n");
done:
    return st;
}

mltfr_status report_spaces(int count, const report_run runs[], mltfr_text *page)
{
    mltfr_status st = MLTFR_OK;
    const size_t before = page->size;

    for (int i = 0; i < count; i++) {
        if (runs[i].spaces == NULL)
            continue;
        if (page->size == before)
            mltfr_text_add(page, "<section><h2>Token spaces</h2>\n");
        MLTFR_TRY(run_spaces(&runs[i], page));
    }
    if (page->size != before)
        mltfr_text_add(page, "</section>\n");
done:
    return st;
}
