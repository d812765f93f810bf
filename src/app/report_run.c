#include "report_run.h"
#include "app_impl.h"

#include <mltfr/log.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096 };

/* ---- numbers ------------------------------------------------------------------------------- */

double report_number(const cJSON *object, const char *name, int index)
{
    const char *dot = strchr(name, '.');
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    char outer[64];

    if (dot != NULL) {
        snprintf(outer, sizeof outer, "%.*s", (int)(dot - name), name);
        item = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(object, outer),
                                                dot + 1);
    }
    if (index >= 0)
        item = cJSON_GetArrayItem(item, index);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static bool is_kind(const cJSON *record, const char *kind)
{
    const char *own = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "kind"));

    return own != NULL && strcmp(own, kind) == 0;
}

int report_width(const report_run *run, const char *kind, const char *name)
{
    const cJSON *record;
    int width = 0;

    cJSON_ArrayForEach(record, run->records) if (is_kind(record, kind)) width =
        cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(record, name));
    return width;
}

mltfr_status report_series(const report_run *run, const char *kind, const char *name, int index,
                           svg_series *out)
{
    mltfr_status st = MLTFR_OK;
    const int most = cJSON_GetArraySize(run->records);
    const cJSON *record;

    snprintf(out->name, sizeof out->name, "%s", run->name);
    out->n = 0;
    MLTFR_TRY(MLTFR_NEW(out->x, most));
    MLTFR_TRY(MLTFR_NEW(out->y, most));
    cJSON_ArrayForEach(record, run->records)
    {
        if (!is_kind(record, kind))
            continue;
        out->x[out->n] = report_number(record, "epoch", -1);
        out->y[out->n++] = report_number(record, name, index);
    }
done:
    return st;
}

void report_series_free(svg_series *series)
{
    MLTFR_FREE(series->x);
    MLTFR_FREE(series->y);
    series->n = 0;
}

double report_mean(const report_run *run, const char *kind, const char *name)
{
    const cJSON *record;
    double sum = 0;
    int n = 0;

    cJSON_ArrayForEach(record, run->records)
    {
        const double x = is_kind(record, kind) ? report_number(record, name, -1) : NAN;

        sum += isfinite(x) ? x : 0;
        n += isfinite(x);
    }
    return n > 0 ? sum / n : NAN;
}

/* ---- files --------------------------------------------------------------------------------- */

static mltfr_status join(const report_run *run, const char *name, char path[PATH_BYTES])
{
    if (snprintf(path, PATH_BYTES, "%s/%s", run->dir, name) >= PATH_BYTES)
        return mltfr_fail(MLTFR_E_IO, "%s: the path is too long", run->dir);
    return MLTFR_OK;
}

/* A JSON object in a file of its own; NULL where there is no such file, or not all of it. */
static mltfr_status read_object(const char *path, cJSON **out)
{
    mltfr_status st = MLTFR_OK;
    char *text = NULL;
    struct stat info;

    if (stat(path, &info) != 0)
        goto done;
    MLTFR_TRY(mltfr_text_load(path, &text));
    *out = cJSON_Parse(text);
    if (!cJSON_IsObject(*out)) {
        mltfr_warn("%s: not a JSON object: passed over", path);
        cJSON_Delete(*out);
        *out = NULL;
    }
done:
    MLTFR_FREE(text);
    return st;
}

/* Room for one more step; doubles as it fills. */
static mltfr_status grow(svg_series *s, int64_t *room)
{
    mltfr_status st = MLTFR_OK;
    svg_series larger = {0};

    if (s->n < *room)
        return MLTFR_OK;
    MLTFR_TRY(MLTFR_NEW(larger.x, 2 * *room + 1024));
    MLTFR_TRY(MLTFR_NEW(larger.y, 2 * *room + 1024));
    if (s->n > 0) {
        memcpy(larger.x, s->x, (size_t)s->n * sizeof *s->x);
        memcpy(larger.y, s->y, (size_t)s->n * sizeof *s->y);
    }
    MLTFR_FREE(s->x);
    MLTFR_FREE(s->y);
    s->x = larger.x;
    s->y = larger.y;
    *room = 2 * *room + 1024;
    larger = (svg_series){0};
done:
    report_series_free(&larger);
    return st;
}

/* Takes the record. */
static mltfr_status keep(report_run *run, cJSON *record, int64_t *room)
{
    mltfr_status st = MLTFR_OK;

    if (!is_kind(record, "step")) {
        cJSON_AddItemToArray(run->records, record);
        return MLTFR_OK;
    }
    MLTFR_TRY(grow(&run->steps, room));
    run->steps.x[run->steps.n] = report_number(record, "step", -1);
    run->steps.y[run->steps.n++] = report_number(record, "loss", -1);
done:
    cJSON_Delete(record);
    return st;
}

/* The last line of a run that goes on may be unfinished: it has no line end, and is passed over; so
 * is one that was cut short when the disk was full. */
static mltfr_status read_lines(report_run *run, FILE *from, const char *path)
{
    mltfr_status st = MLTFR_OK;
    char *line = NULL;
    size_t bytes = 0;
    int64_t room = 0, number = 0;

    while (getline(&line, &bytes, from) >= 0 && strchr(line, '\n') != NULL) {
        cJSON *record = cJSON_Parse(line);

        number++;
        if (!cJSON_IsObject(record)) {
            cJSON_Delete(record);
            mltfr_warn("%s:%lld: not a JSON object: passed over", path, (long long)number);
            continue;
        }
        MLTFR_TRY(keep(run, record, &room));
    }
done:
    free(line);
    return st;
}

static mltfr_status read_metrics(report_run *run)
{
    mltfr_status st = MLTFR_OK;
    char path[PATH_BYTES];
    FILE *from = NULL;

    MLTFR_TRY(join(run, "metrics.jsonl", path));
    from = fopen(path, "r");
    if (from == NULL)
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s: report needs the directory of a run (run.dir)", path,
                   strerror(errno));
    run->records = cJSON_CreateArray();
    MLTFR_TRY(read_lines(run, from, path));
done:
    if (from != NULL)
        fclose(from);
    return st;
}

/* The last parts of the path. */
static void name_run(report_run *run, int parts)
{
    const char *dir = run->dir;
    size_t end = strlen(dir), start;

    while (end > 1 && dir[end - 1] == '/')
        end--;
    for (start = end; start > 0 && (dir[start - 1] != '/' || --parts > 0); start--)
        ;
    snprintf(run->name, sizeof run->name, "%.*s", (int)(end - start), dir + start);
    snprintf(run->steps.name, sizeof run->steps.name, "%s", run->name);
}

static bool are_distinct(int count, const report_run runs[])
{
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(runs[i].name, runs[j].name) == 0)
                return false;
    return true;
}

void report_runs_name(int count, report_run runs[])
{
    enum { MOST_PARTS = 8 };

    for (int parts = 1; parts <= MOST_PARTS; parts++) {
        for (int i = 0; i < count; i++)
            name_run(&runs[i], parts);
        if (are_distinct(count, runs))
            return;
    }
}

/* The report beside tokens.path, where the run did not condition its own spaces. */
static mltfr_status read_shared_spaces(report_run *run)
{
    mltfr_status st = MLTFR_OK;
    mltfr_config *config = NULL;
    const char *spaces;
    char *json = NULL;

    MLTFR_TRY(mltfr_config_create(&config));
    if (mltfr_config_read(config, run->dir, run->config) != MLTFR_OK)
        goto done; /* of another version: its charts can still be drawn */
    spaces = mltfr_config_settings(config)->tokens_path;
    if (spaces[0] == '\0')
        goto done;
    MLTFR_TRY(app_json_beside(spaces, &json));
    MLTFR_TRY(read_object(json, &run->spaces));
done:
    MLTFR_FREE(json);
    mltfr_config_destroy(&config);
    return st;
}

mltfr_status report_run_read(const char *dir, report_run *run)
{
    mltfr_status st = MLTFR_OK;
    char path[PATH_BYTES];

    *run = (report_run){.dir = dir};
    MLTFR_TRY(read_metrics(run));
    MLTFR_TRY(join(run, "result.json", path));
    MLTFR_TRY(read_object(path, &run->result));
    MLTFR_TRY(join(run, "config.yaml", path));
    MLTFR_TRY(mltfr_text_load(path, &run->config));
    MLTFR_TRY(join(run, "spaces.json", path));
    MLTFR_TRY(read_object(path, &run->spaces));
    if (run->spaces == NULL)
        MLTFR_TRY(read_shared_spaces(run));
done:
    return st;
}

void report_run_free(report_run *run)
{
    report_series_free(&run->steps);
    cJSON_Delete(run->records);
    cJSON_Delete(run->result);
    cJSON_Delete(run->spaces);
    MLTFR_FREE(run->config);
}
