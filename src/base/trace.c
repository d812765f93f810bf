/* The events of a timeline, in memory until they are printed. */
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/trace.h>

#include <string.h>

typedef struct {
    const char *kind, *name;
    double begin, seconds;
} event;

bool mltfr_trace_on;

static struct {
    event *event; /* [MLTFR_TRACE_EVENTS] */
    int64_t count, lost;
    double zero;
} trace;

mltfr_status mltfr_trace_start(void)
{
    mltfr_status st = MLTFR_OK;

    mltfr_trace_stop();
    MLTFR_TRY(MLTFR_NEW(trace.event, MLTFR_TRACE_EVENTS));
    trace.count = trace.lost = 0;
    trace.zero = mltfr_seconds();
    mltfr_trace_on = true;
done:
    return st;
}

void mltfr_trace_add(const char *kind, const char *name, double begin, double end)
{
    if (!mltfr_trace_on)
        return;
    if (trace.count == MLTFR_TRACE_EVENTS)
        trace.lost++;
    else
        trace.event[trace.count++] = (event){kind, name, begin - trace.zero, end - begin};
}

bool mltfr_trace_print(FILE *to, int process)
{
    fprintf(to,
            ",\n{\"ph\":\"M\",\"name\":\"process_labels\",\"pid\":%d,\"args\":{\"labels\":"
            "\"%lld events, %lld later ones left out\"}}",
            process, (long long)trace.count, (long long)trace.lost);
    for (int64_t i = 0; i < trace.count; i++) {
        const event *x = &trace.event[i];
        fprintf(to,
                ",\n{\"ph\":\"X\",\"cat\":\"%s\",\"name\":\"%.*s\",\"pid\":%d,\"tid\":0,"
                "\"ts\":%.3f,\"dur\":%.3f}",
                x->kind, (int)strcspn(x->name, "("), x->name, process, 1e6 * x->begin,
                1e6 * x->seconds);
    }
    return !ferror(to);
}

void mltfr_trace_stop(void)
{
    mltfr_trace_on = false;
    MLTFR_FREE(trace.event);
    trace.count = 0;
}
