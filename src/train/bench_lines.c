#include "bench_lines.h"

#include <mltfr/log.h>

void bench_line(bench_lines *lines, const char *name, double seconds, bench_unit unit,
                double amount, double limit)
{
    const double rate = amount / seconds;

    mltfr_say("%-28s %10.3f ms %9.2f %s %6.1f %%", name, 1e3 * seconds, 1e-9 * rate,
              unit == BENCH_FLOP ? "GF/s" : "GB/s", 100. * rate / limit);
    mltfr_text_add(lines->json,
                   "%s\n  {\"name\":\"%s\",\"seconds\":%.6g,\"%s\":%.6g,\"share\":%.5g}",
                   lines->count++ == 0 ? "" : ",", name, seconds,
                   unit == BENCH_FLOP ? "gflops" : "gbs", 1e-9 * rate, rate / limit);
}
