/* Steps of training, timed from outside and by phase. */
#include "rates.h"
#include "measure.h"

#include <string.h>

/* Where nothing can be measured: a cluster's usual network. */
static const double usual_latency = 2e-6, usual_bandwidth = 5e9;

static double sum_of(mltfr_comm *comm, double seconds)
{
    int64_t ns = (int64_t)(1e9 * seconds);

    mltfr_comm_sum_i64(comm, &ns, 1);
    return 1e-9 * (double)ns;
}

/* Go on in the present epoch, round and round. */
static mltfr_status one_step(mltfr_session *s, mltfr_steps_done *done)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = s->engine;
    mltfr_batch *batch = NULL;

    MLTFR_AGREE(s->comm,
                mltfr_session_batch(s, e->at.epoch, e->at.step % mltfr_session_steps(s), &batch));
    MLTFR_TRY(mltfr_schedule_step(s, batch));
    const mltfr_work work = mltfr_work_of_step(e);

    done->steps++;
    done->rows += (double)batch->rows;
    done->work.backbone += work.backbone;
    done->work.loss += work.loss;
    done->work.experts += work.experts;
done:
    mltfr_batch_destroy(&batch);
    return st;
}

mltfr_status mltfr_measure_steps(mltfr_session *s, double seconds, mltfr_steps_done *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = s->engine;
    mltfr_timing clock = {0};

    MLTFR_TRY(one_step(s, out)); /* takes the rooms */
    *out = (mltfr_steps_done){0};
    mltfr_comm_barrier(s->comm);
    mltfr_timing_begin(&clock, e);
    while (mltfr_measure_more(s->comm, (int)out->steps, 1, clock.begin, seconds))
        MLTFR_TRY(one_step(s, out));
    mltfr_comm_barrier(s->comm);
    out->seconds = mltfr_seconds() - clock.begin;
    out->mpi = mltfr_comm_seconds() - clock.mpi;
    out->all_busy = sum_of(s->comm, out->seconds - out->mpi);
    for (int i = 0; i < MLTFR_SPENT_COUNT; i++)
        out->busy[i] = sum_of(s->comm, e->spent[i] - e->wait[i]);
    memcpy(out->wall, e->spent, sizeof out->wall);
    mltfr_comm_max_f64(s->comm, out->wall, MLTFR_SPENT_COUNT);
    mltfr_comm_max_f64(s->comm, &out->mpi, 1);
done:
    return st;
}

mltfr_status mltfr_start_experts(mltfr_session *s)
{
    return mltfr_schedule_epoch(s, s->set->train_warmup_epochs + 1);
}

mltfr_status mltfr_measure_network(mltfr_comm *comm, double seconds, mltfr_rates *rates)
{
    mltfr_status st = MLTFR_OK;
    const int others = mltfr_comm_size(comm) - 1;
    double small, large;

    rates->latency = usual_latency;
    rates->bandwidth = usual_bandwidth;
    if (others == 0)
        return MLTFR_OK;
    MLTFR_TRY(mltfr_measure_exchange(comm, 8, seconds, &small));
    MLTFR_TRY(mltfr_measure_exchange(comm, 1 << 20, seconds, &large));
    rates->latency = small / others;
    rates->bandwidth = others * (double)(1 << 20) / (large > small ? large - small : large);
done:
    return st;
}

static double parameters_of(const mltfr_session *s)
{
    const mltfr_engine *e = s->engine;

    return (double)(e->spec.items * e->spec.backbone.d) +
           (double)(e->params->dense.n * mltfr_comm_size(s->comm));
}

void mltfr_rates_of(const mltfr_session *s, const mltfr_steps_done *plain,
                    const mltfr_steps_done *mixed, mltfr_rates *rates)
{
    const double *busy = plain->busy, steps = (double)plain->steps;
    const double backbone = busy[MLTFR_SPENT_BACKBONE] + busy[MLTFR_SPENT_BACKBONE_BACK];
    const double loss = busy[MLTFR_SPENT_LOSS], adam = busy[MLTFR_SPENT_OPTIMISE];

    rates->backbone = plain->work.backbone / backbone;
    rates->loss = plain->work.loss / loss;
    rates->adam = adam / steps / parameters_of(s);
    rates->rest = (plain->all_busy - backbone - loss - adam) / plain->rows;
    rates->experts = 0.;
    if (mixed == NULL)
        return;
    busy = mixed->busy;
    rates->experts =
        mixed->work.experts / (busy[MLTFR_SPENT_EXPERTS] + busy[MLTFR_SPENT_EXPERTS_BACK] +
                               busy[MLTFR_SPENT_OPTIMISE] - adam * (double)mixed->steps / steps);
}
