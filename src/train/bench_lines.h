/* The lines of the verb bench, for people and as JSON.  Private to the layer train. */
#ifndef MLTFR_BENCH_LINES_H
#define MLTFR_BENCH_LINES_H

#include <mltfr/comm.h>
#include <mltfr/text.h>

typedef enum { BENCH_FLOP, BENCH_BYTES } bench_unit;

typedef struct {
    mltfr_comm *comm;
    double peak;      /* FLOP a second of all ranks: the limit of what is computed */
    double copy;      /* bytes a second of a rank copying memory: the limit of exchanges */
    mltfr_text *json; /* the list of lines so far, without its end */
    int count;
} bench_lines;

/* One line: what took so many seconds, for how much, and the rate that it could have had.  @local
 */
void bench_line(bench_lines *lines, const char *name, double seconds, bench_unit unit,
                double amount, double limit);

#endif
