#include "timing.h"
#include "measure.h"
#include "work.h"

#include <mltfr/trace.h>

#include <inttypes.h>
#include <string.h>

enum { PEAK_ORDER = 512 };

static const double peak_seconds = .03;

void mltfr_engine_spent(mltfr_engine *e, mltfr_spent phase, double begin, double mpi)
{
    const double end = mltfr_seconds();

    if (--e->phases_open == 0) {
        e->spent[phase] += end - begin;
        e->wait[phase] += mltfr_comm_seconds() - mpi;
    }
    mltfr_trace_add("phase", mltfr_spent_names[phase], begin, end);
}

mltfr_status mltfr_timing_create(mltfr_comm *comm, mltfr_timing *timing)
{
    return mltfr_measure_peak(comm, PEAK_ORDER, peak_seconds, &timing->peak);
}

void mltfr_timing_begin(mltfr_timing *timing, mltfr_engine *e)
{
    memset(e->spent, 0, sizeof e->spent);
    memset(e->wait, 0, sizeof e->wait);
    memset(&e->balance, 0, sizeof e->balance);
    memset(timing->load, 0, sizeof timing->load);
    timing->flop = 0.;
    timing->begin = mltfr_seconds();
    timing->mpi = mltfr_comm_seconds();
    timing->hidden = mltfr_comm_hidden_seconds();
}

void mltfr_timing_step(mltfr_timing *timing, const mltfr_engine *e)
{
    const mltfr_work work = mltfr_work_of_step(e);

    timing->flop += mltfr_work_sum(&work);
    for (int64_t k = 0; e->run.mixes && k < e->K; k++)
        timing->load[k] += e->run.routed.load[k];
}

/* Most rows of an expert over the mean of all experts; 0 while there are none. */
static double load_of(const mltfr_timing *timing, int64_t K)
{
    int64_t most = 0, sum = 0;

    for (int64_t k = 0; k < K; k++) {
        most = timing->load[k] > most ? timing->load[k] : most;
        sum += timing->load[k];
    }
    return sum > 0 ? (double)(most * K) / (double)sum : 0.;
}

/* Of all ranks: the most seconds of each phase, and what is hidden and exposed. */
typedef struct {
    double spent[MLTFR_SPENT_COUNT], wait[MLTFR_SPENT_COUNT], train, mpi, hidden, work, experts;
} rank_times;

static rank_times times_here(const mltfr_timing *timing, const mltfr_engine *e, double seconds)
{
    rank_times x = {.train = seconds,
                    .mpi = mltfr_comm_seconds() - timing->mpi,
                    .hidden = mltfr_comm_hidden_seconds() - timing->hidden};

    memcpy(x.spent, e->spent, sizeof x.spent);
    memcpy(x.wait, e->wait, sizeof x.wait);
    x.work = seconds - x.mpi;
    x.experts = e->balance.seconds;
    return x;
}

static double mean_of(mltfr_comm *comm, double seconds)
{
    int64_t ns = (int64_t)(1e9 * seconds);

    mltfr_comm_sum_i64(comm, &ns, 1);
    return 1e-9 * (double)ns / mltfr_comm_size(comm);
}

static void add_phases(mltfr_text *out, const char *before, const double seconds[])
{
    for (int i = 0; i < MLTFR_SPENT_COUNT; i++)
        mltfr_text_add(out, "%s\"%s\":%.6f", i == 0 ? before : ",", mltfr_spent_names[i],
                       seconds[i]);
}

void mltfr_timing_text(const mltfr_timing *timing, const mltfr_engine *e, double seconds,
                       mltfr_text *out)
{
    rank_times x = times_here(timing, e, seconds);
    const double work = mean_of(e->comm, x.work), experts = mean_of(e->comm, x.experts);

    mltfr_comm_max_f64(e->comm, (double *)&x, (int64_t)(sizeof x / sizeof(double)));
    const double steps = x.train - x.spent[MLTFR_SPENT_POOLS];
    const double rate = 1e-9 * timing->flop / (steps > 0. ? steps : 1.);

    mltfr_text_add(out, "{\"kind\":\"time\",\"epoch\":%" PRId64 ",\"step\":%" PRId64, e->at.epoch,
                   e->at.step);
    add_phases(out, ",", x.spent);
    add_phases(out, ",\"wait\":{", x.wait);
    mltfr_text_add(out, "},\"train\":%.6f,\"mpi\":%.6f,\"exposed\":%.4f,\"hidden\":%.4f", x.train,
                   x.mpi, x.mpi / x.train, x.hidden > 0. ? x.hidden / (x.hidden + x.mpi) : 0.);
    mltfr_text_add(out, ",\"gflop\":%.6g,\"gflops\":%.4g,\"peak\":%.4g,\"share\":%.4f",
                   1e-9 * timing->flop, rate, timing->peak, rate / timing->peak);
    mltfr_text_add(out, ",\"imbalance\":%.4f,\"load\":%.4f", x.work / work, load_of(timing, e->K));
    mltfr_text_add(out, ",\"load_placed\":%.4f,\"load_measured\":%.4f}",
                   e->balance.mean > 0. ? e->balance.most / e->balance.mean : 0.,
                   experts > 0. ? x.experts / experts : 0.);
}
