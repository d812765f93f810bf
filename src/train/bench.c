/* The verb bench: what this machine can do at most, then each part of the program beside that.
 * Parts are those of training, evaluation and checkpoints themselves, on the given data or on
 * planted ones of the sizes of bench.*. */
#include "bench_lines.h"
#include "binding.h"
#include "evaluate_impl.h"
#include "measure.h"
#include "rates.h"

#include <mltfr/rng.h>
#include <mltfr/trainer.h>
#include <mltfr/versions.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, PEAK_ORDER = 2048, PEAK_ORDER_QUICK = 512, FILTER_ROWS = 1024 };

typedef struct {
    mltfr_comm *comm;
    const mltfr_settings *set;
    double seconds; /* that one measurement may take */
    bool quick;
    mltfr_session session;
    bench_lines lines;
    mltfr_rates rates;
} bench;

/* ---- the limits ---------------------------------------------------------------------------- */

static mltfr_status measure_limits(bench *b)
{
    mltfr_status st = MLTFR_OK;
    const int64_t n = b->quick ? PEAK_ORDER_QUICK : PEAK_ORDER;
    const double flop = 2. * (double)(n * n * n) * mltfr_comm_size(b->comm);
    char name[48];

    MLTFR_TRY(mltfr_measure_peak(b->comm, n, b->seconds, &b->lines.peak));
    b->lines.peak *= 1e9;
    snprintf(name, sizeof name, "gemm %lldx%lldx%lld", (long long)n, (long long)n, (long long)n);
    bench_line(&b->lines, name, flop / b->lines.peak, BENCH_FLOP, flop, b->lines.peak);
    MLTFR_AGREE(b->comm, mltfr_measure_copy(b->seconds, &b->lines.copy));
    bench_line(&b->lines, "memory copy, one rank", 1. / b->lines.copy * (1 << 20), BENCH_BYTES,
               1 << 20, b->lines.copy);
done:
    return st;
}

/* ---- products as the step has them --------------------------------------------------------- */

static mltfr_status measure_shape(bench *b, const char *what, mltfr_gemm_shape x)
{
    static const char *const forms[] = {"nn", "nt", "tn"};
    mltfr_status st = MLTFR_OK;
    const double flop = 2. * (double)(x.m * x.n * x.k) * mltfr_comm_size(b->comm);
    char name[64];
    double rate;
    int64_t sum;

    mltfr_comm_barrier(b->comm);
    MLTFR_AGREE(b->comm, mltfr_measure_gemm(x, b->seconds / 4., &rate));
    sum = (int64_t)(1e6 * rate);
    mltfr_comm_sum_i64(b->comm, &sum, 1);
    snprintf(name, sizeof name, "%s %lldx%lldx%lld %s", what, (long long)x.m, (long long)x.n,
             (long long)x.k, forms[x.form]);
    bench_line(&b->lines, name, flop / (1e3 * (double)sum), BENCH_FLOP, flop, b->lines.peak);
done:
    return st;
}

static mltfr_status measure_shapes(bench *b)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_engine *e = b->session.engine;
    const int64_t d = e->spec.backbone.d, n = QUERY_BLOCK, cols = e->item_block;

    MLTFR_TRY(measure_shape(b, "linear", (mltfr_gemm_shape){MLTFR_GEMM_NT, n, d, d}));
    MLTFR_TRY(measure_shape(b, "inner", (mltfr_gemm_shape){MLTFR_GEMM_NT, n, 4 * d, d}));
    MLTFR_TRY(measure_shape(b, "logits", (mltfr_gemm_shape){MLTFR_GEMM_NT, n, cols, d}));
    MLTFR_TRY(measure_shape(b, "dh'", (mltfr_gemm_shape){MLTFR_GEMM_NN, n, d, cols}));
    MLTFR_TRY(measure_shape(b, "dE'", (mltfr_gemm_shape){MLTFR_GEMM_TN, cols, d, n}));
    if (e->K == 0)
        goto done;
    MLTFR_TRY(measure_shape(
        b, "pool", (mltfr_gemm_shape){MLTFR_GEMM_NT, MLTFR_FILTER_ROWS, e->space[e->K].M, d}));
    MLTFR_TRY(
        measure_shape(b, "tokens", (mltfr_gemm_shape){MLTFR_GEMM_NT, QUERY_BLOCK, TOKEN_BLOCK, d}));
done:
    return st;
}

/* ---- exchange ------------------------------------------------------------------------------ */

static mltfr_status measure_exchanges(bench *b)
{
    static const int64_t sizes[] = {1 << 10, 1 << 14, 1 << 18, 1 << 22};
    mltfr_status st = MLTFR_OK;
    const int others = mltfr_comm_size(b->comm) - 1;
    char name[48];
    double seconds;

    MLTFR_TRY(mltfr_measure_network(b->comm, b->seconds / 4., &b->rates));
    if (others == 0) {
        mltfr_say("exchange                     one rank has nobody to exchange with");
        goto done;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        MLTFR_TRY(mltfr_measure_exchange(b->comm, sizes[i], b->seconds / 4., &seconds));
        snprintf(name, sizeof name, "exchange %lld KiB a rank", (long long)sizes[i] >> 10);
        bench_line(&b->lines, name, seconds, BENCH_BYTES, (double)(others * sizes[i]),
                   b->lines.copy);
    }
done:
    return st;
}

/* ---- steps --------------------------------------------------------------------------------- */

static void step_line(bench *b, const char *name, const mltfr_steps_done *done)
{
    bench_line(&b->lines, name, done->seconds / (double)done->steps, BENCH_FLOP,
               mltfr_work_sum(&done->work) / (double)done->steps, b->lines.peak);
}

/* A part of the steps, with its waiting. */
static void part_line(bench *b, const char *name, const mltfr_steps_done *done, double seconds,
                      double flop)
{
    bench_line(&b->lines, name, seconds / (double)done->steps, BENCH_FLOP,
               flop / (double)done->steps, b->lines.peak);
}

static mltfr_status measure_plain(bench *b, mltfr_steps_done *plain)
{
    static const char *const steps[] = {[MLTFR_MODEL_BACKBONE_SASREC] = "step SASRec",
                                        [MLTFR_MODEL_BACKBONE_BSAREC] = "step BSARec",
                                        [MLTFR_MODEL_BACKBONE_GRU4REC] = "step GRU4Rec"};
    mltfr_status st = MLTFR_OK;

    b->session.engine->at.epoch = 1;
    MLTFR_TRY(mltfr_measure_steps(&b->session, 4. * b->seconds, plain));
    part_line(b, "backbone", plain,
              plain->wall[MLTFR_SPENT_BACKBONE] + plain->wall[MLTFR_SPENT_BACKBONE_BACK],
              plain->work.backbone);
    part_line(b, "softmax", plain, plain->wall[MLTFR_SPENT_LOSS], plain->work.loss);
    step_line(b, steps[b->session.engine->spec.backbone.kind], plain);
done:
    return st;
}

static mltfr_status measure_mixed(bench *b, mltfr_steps_done *mixed)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_measure_steps(&b->session, 4. * b->seconds, mixed));
    part_line(b, "experts", mixed,
              mixed->wall[MLTFR_SPENT_EXPERTS] + mixed->wall[MLTFR_SPENT_EXPERTS_BACK],
              mixed->work.experts);
    step_line(b, "step MLTFR", mixed);
done:
    return st;
}

/* ---- the filter ---------------------------------------------------------------------------- */

static int64_t explore_in_order(void *context, int64_t k, int64_t i)
{
    const mltfr_engine *e = context;

    return i % e->space[k].rows;
}

static void draw_queries(int64_t n, float *q)
{
    for (int64_t i = 0; i < n; i++)
        q[i] = (float)mltfr_rng_normal(1, (uint64_t)i);
}

static mltfr_status measure_level_a(bench *b)
{
    mltfr_status st = MLTFR_OK;
    mltfr_engine *e = b->session.engine;
    const int64_t n = e->set->filter_users, d = e->spec.backbone.d;
    float *q = NULL;

    MLTFR_AGREE(b->comm, MLTFR_NEW(q, n * d));
    draw_queries(n * d, q);
    mltfr_comm_barrier(b->comm);
    const double begin = mltfr_seconds();

    MLTFR_TRY(mltfr_refresh_pools(e, n, q, explore_in_order, e));
    mltfr_comm_barrier(b->comm);
    bench_line(&b->lines, "filter A", mltfr_seconds() - begin, BENCH_FLOP,
               mltfr_flop_level_a(e, (double)n), b->lines.peak);
done:
    MLTFR_FREE(q);
    return st;
}

typedef struct {
    float *q, *y, *s, *a, *scratch;
    int32_t *J;
    int64_t *row;
} filter_rooms;

static mltfr_status take_filter_rooms(const mltfr_filter *f, filter_rooms *x)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(MLTFR_NEW(x->q, FILTER_ROWS * f->d));
    MLTFR_TRY(MLTFR_NEW(x->y, FILTER_ROWS * f->d));
    MLTFR_TRY(MLTFR_NEW(x->s, FILTER_ROWS * f->m));
    MLTFR_TRY(MLTFR_NEW(x->a, FILTER_ROWS * f->m));
    MLTFR_TRY(MLTFR_NEW(x->J, FILTER_ROWS * f->m));
    MLTFR_TRY(MLTFR_NEW(x->row, FILTER_ROWS));
    MLTFR_TRY(MLTFR_NEW(x->scratch, mltfr_filter_scratch(f)));
done:
    return st;
}

/* Pool to m tokens, forward, of the consensus expert, whose pool every rank has. */
static mltfr_status measure_level_b(bench *b)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_engine *e = b->session.engine;
    const mltfr_filter f = mltfr_expert_filter(e, e->K, true);
    const double flop = 2. * FILTER_ROWS * (double)(f.d * (f.M + f.m)) * mltfr_comm_size(b->comm);
    filter_rooms x = {0};
    double begin;
    int n = 0;

    MLTFR_AGREE(b->comm, take_filter_rooms(&f, &x));
    draw_queries(FILTER_ROWS * f.d, x.q);
    for (begin = mltfr_seconds(); mltfr_measure_more(b->comm, n, 2, begin, b->seconds / 2.); n++)
        mltfr_filter_forward(&f, FILTER_ROWS, x.q, x.row, x.scratch, x.J, x.s, x.a, x.y);
    mltfr_comm_barrier(b->comm);
    bench_line(&b->lines, "filter B", (mltfr_seconds() - begin) / n, BENCH_FLOP, flop,
               b->lines.peak);
done:
    MLTFR_FREE(x.q);
    MLTFR_FREE(x.y);
    MLTFR_FREE(x.s);
    MLTFR_FREE(x.a);
    MLTFR_FREE(x.J);
    MLTFR_FREE(x.row);
    MLTFR_FREE(x.scratch);
    return st;
}

/* ---- evaluation ---------------------------------------------------------------------------- */

/* Forward of the backbone, and a product of each case with each item. */
static mltfr_status evaluation_flop(const bench *b, double *flop)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_engine *e = b->session.engine;
    double rows = 0., pairs = 0.;
    mltfr_case *cases = NULL;
    int64_t count = 0;

    MLTFR_TRY(mltfr_interactions_cases(b->session.data, e->spec.backbone.max_len, MLTFR_SPLIT_VALID,
                                       &cases, &count));
    for (int64_t i = 0; i < count; i++) {
        rows += cases[i].n;
        pairs += cases[i].n * (cases[i].n + 1.) / 2.;
    }
    *flop = mltfr_flop_backbone(&e->spec.backbone, rows, pairs) / 3. +
            2. * (double)(count * e->spec.items * e->spec.backbone.d);
done:
    MLTFR_FREE(cases);
    return st;
}

static mltfr_status measure_evaluation(bench *b)
{
    mltfr_status st = MLTFR_OK;
    mltfr_metrics ignored;
    double flop = 0., begin;

    MLTFR_AGREE(b->comm, evaluation_flop(b, &flop));
    mltfr_comm_barrier(b->comm);
    begin = mltfr_seconds();
    MLTFR_TRY(
        mltfr_evaluate_engine(b->session.engine, b->session.data, MLTFR_SPLIT_VALID, &ignored));
    mltfr_comm_barrier(b->comm);
    bench_line(&b->lines, "evaluation", mltfr_seconds() - begin, BENCH_FLOP, flop, b->lines.peak);
done:
    return st;
}

/* ---- checkpoint ---------------------------------------------------------------------------- */

/* Seconds to write and sync so many bytes as they are. */
static mltfr_status write_plainly(const char *path, int64_t bytes, double *seconds)
{
    enum { CHUNK = 4 << 20 };
    mltfr_status st = MLTFR_OK;
    char *chunk = NULL;
    const int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const double begin = mltfr_seconds();

    MLTFR_TRY(MLTFR_NEW(chunk, CHUNK));
    for (int64_t at = 0; at < bytes; at += CHUNK)
        if (to < 0 || write(to, chunk, (size_t)(bytes - at < CHUNK ? bytes - at : CHUNK)) < 0)
            MLTFR_FAIL(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    if (fsync(to) != 0)
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    *seconds = mltfr_seconds() - begin;
done:
    if (to >= 0)
        close(to);
    MLTFR_FREE(chunk);
    return st;
}

/* Rank 0: bytes of the file, and how long the disk takes for as many; both for all ranks. */
static mltfr_status measure_disk(bench *b, const char *path, double *bytes, double *seconds)
{
    mltfr_status st = MLTFR_OK;
    char raw[PATH_BYTES + 8];
    struct stat info = {0};
    double of[2] = {0., 0.};

    if (mltfr_comm_rank(b->comm) == 0 && stat(path, &info) == 0) {
        snprintf(raw, sizeof raw, "%s.raw", path);
        st = write_plainly(raw, info.st_size, &of[1]);
        unlink(raw);
        of[0] = (double)info.st_size;
    }
    MLTFR_AGREE(b->comm, st);
    mltfr_comm_bcast(b->comm, of, sizeof of, 0);
    *bytes = of[0];
    *seconds = of[1];
done:
    return st;
}

static mltfr_status measure_checkpoint(bench *b)
{
    mltfr_status st = MLTFR_OK;
    mltfr_session *s = &b->session;
    mltfr_loop_state loop = {.best_ndcg = -1.};
    char path[PATH_BYTES];
    double begin, wrote, read, bytes, disk;

    snprintf(path, sizeof path, "%s/bench.h5", b->set->run_dir);
    begin = mltfr_seconds();
    MLTFR_TRY(mltfr_checkpoint_write(s->engine, &loop, "", s->digest, path));
    wrote = mltfr_seconds() - begin;
    begin = mltfr_seconds();
    MLTFR_TRY(mltfr_checkpoint_read(s->engine, &loop, NULL, s->digest, path));
    read = mltfr_seconds() - begin;
    MLTFR_TRY(measure_disk(b, path, &bytes, &disk));
    bench_line(&b->lines, "disk, a plain file", disk, BENCH_BYTES, bytes, bytes / disk);
    bench_line(&b->lines, "checkpoint write", wrote, BENCH_BYTES, bytes, bytes / disk);
    bench_line(&b->lines, "checkpoint read", read, BENCH_BYTES, bytes, b->lines.copy);
done:
    if (mltfr_comm_rank(b->comm) == 0)
        unlink(path);
    return st;
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* positions: of a step. */
static void say_rates(bench *b, double positions)
{
    const mltfr_rates *r = &b->rates;

    mltfr_say(
        "model  backbone %.1f, loss %.1f, experts %.1f GF/s a rank; adam %.3f ns a parameter, "
        "rest %.3f us a row; exchange %.2f us a message, %.2f GB/s",
        1e-9 * r->backbone, 1e-9 * r->loss, 1e-9 * r->experts, 1e9 * r->adam, 1e6 * r->rest,
        1e6 * r->latency, 1e-9 * r->bandwidth);
    mltfr_text_add(b->lines.json,
                   "],\n \"rates\":{\"backbone\":%.6g,\"loss\":%.6g,\"experts\":%.6g,\"adam\":%.6g,"
                   "\"rest\":%.6g,\"latency\":%.6g,\"bandwidth\":%.6g,\"positions\":%.6g}}\n",
                   r->backbone, r->loss, r->experts, r->adam, r->rest, r->latency, r->bandwidth,
                   positions);
}

static mltfr_status measure_model(bench *b)
{
    mltfr_status st = MLTFR_OK;
    mltfr_steps_done plain = {0}, mixed = {0};
    const bool experts = b->session.engine->K > 0;

    MLTFR_TRY(measure_plain(b, &plain));
    MLTFR_TRY(measure_evaluation(b));
    if (experts) {
        MLTFR_TRY(mltfr_start_experts(&b->session));
        MLTFR_TRY(measure_level_a(b));
        MLTFR_TRY(measure_level_b(b));
        MLTFR_TRY(measure_mixed(b, &mixed));
    }
    MLTFR_TRY(measure_checkpoint(b));
    mltfr_rates_of(&b->session, &plain, experts ? &mixed : NULL, &b->rates);
    say_rates(b, plain.rows / (double)plain.steps);
done:
    return st;
}

static mltfr_status open_session(bench *b)
{
    const mltfr_settings *set = b->set;
    const mltfr_imagined sizes = {.users = 4 * set->train_batch,
                                  .items = set->bench_items,
                                  .llms = set->bench_llms,
                                  .r_c = set->tokens_shared_dim > 0 ? set->tokens_shared_dim : 128,
                                  .r_s = set->tokens_specific_dim,
                                  .tokens = set->bench_tokens,
                                  .anchors = (set->bench_tokens + 2) / 3};

    return set->data_path[0] != '\0' ? mltfr_session_open(b->comm, set, &b->session)
                                     : mltfr_session_imagine(b->comm, set, &sizes, &b->session);
}

static void say_sizes(bench *b)
{
    const mltfr_session *s = &b->session;
    const mltfr_engine *e = s->engine;
    char host[64] = "";

    gethostname(host, sizeof host - 1);
    mltfr_say("bench  %d ranks, %s, BLAS kernel %s; %lld users, %lld items, d %lld, %lld LLMs, "
              "batch %lld",
              mltfr_comm_size(b->comm), host, mltfr_blas_kernel(), (long long)s->data->users,
              (long long)e->spec.items, (long long)e->spec.backbone.d, (long long)e->K,
              (long long)b->set->train_batch);
    mltfr_text_add(
        b->lines.json,
        "{\"program\":\"mltfr_dist %s\",\"ranks\":%d,\"host\":\"%s\",\"kernel\":\"%s\",\n"
        " \"users\":%lld,\"items\":%lld,\"dim\":%lld,\"llms\":%lld,\"batch\":%lld,\n"
        " \"lines\":[",
        MLTFR_VERSION, mltfr_comm_size(b->comm), host, mltfr_blas_kernel(),
        (long long)s->data->users, (long long)e->spec.items, (long long)e->spec.backbone.d,
        (long long)e->K, (long long)b->set->train_batch);
}

mltfr_status mltfr_bench(mltfr_comm *comm, const mltfr_settings *settings, bool quick,
                         mltfr_text *json)
{
    mltfr_status st = MLTFR_OK;
    bench b = {.comm = comm,
               .set = settings,
               .seconds = quick ? .02 : .4,
               .quick = quick,
               .lines = {.comm = comm, .json = json}};

    MLTFR_TRY(open_session(&b));
    say_sizes(&b);
    MLTFR_TRY(measure_limits(&b));
    MLTFR_TRY(measure_shapes(&b));
    MLTFR_TRY(measure_exchanges(&b));
    MLTFR_TRY(measure_model(&b));
    MLTFR_AGREE(comm, json->st);
done:
    mltfr_session_close(&b.session);
    return st;
}
