/* A run directory as its report needs it: the files that training, tokens and evaluate leave there.
 * All functions are @local. */
#ifndef MLTFR_REPORT_RUN_H
#define MLTFR_REPORT_RUN_H

#include "svg.h"

#include <cjson/cJSON.h>

typedef struct {
    char name[96];    /* from report_runs_name */
    const char *dir;  /* borrowed */
    cJSON *records;   /* array of the lines of metrics.jsonl but those of kind step */
    svg_series steps; /* loss by step */
    cJSON *result;    /* result.json; NULL while the run goes on */
    cJSON *spaces;    /* report of the token spaces, here or beside tokens.path, or NULL */
    char *config;     /* config.yaml */
} report_run;

/* Read what is there; metrics.jsonl and config.yaml must be.
 * @return MLTFR_E_DATA or MLTFR_E_IO naming the file (and line); free `run` in any case */
mltfr_status report_run_read(const char *dir, report_run *run);
void report_run_free(report_run *run);

/* Name the runs: the last part of each path, or as many parts as tell all of them apart. */
void report_runs_name(int count, report_run runs[]);

/* A number of a JSON object; of its array where index >= 0; of an object inside by OBJECT.NAME. NaN
 * where there is none. */
double report_number(const cJSON *object, const char *name, int index);

/* How many numbers the newest record of a kind has in an array; 0 where there is none. */
int report_width(const report_run *run, const char *kind, const char *name);

/* A series (to be freed) of a number in all records of a kind, by epoch. */
mltfr_status report_series(const report_run *run, const char *kind, const char *name, int index,
                           svg_series *out);
void report_series_free(svg_series *series);

/* Mean over the records of a kind; NaN where none has the number. */
double report_mean(const report_run *run, const char *kind, const char *name);

#endif
