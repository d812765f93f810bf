/* The same bits at any number of ranks: a small example is trained, and its checkpoint and metrics
 * are compared with those of the reference run, byte by byte.
 *
 *      train_bits VARIANT train  DIR              a run of its own: the reference
 *      train_bits VARIANT train  DIR REFERENCE    the same on another number of ranks
 *      train_bits VARIANT stop   DIR STEPS        stops after so many steps
 *      train_bits VARIANT again  DIR STEPS        goes on from there and stops again
 *      train_bits VARIANT finish DIR REFERENCE    goes on to the end
 *
 * The first three begin with an empty DIR. */
#include "mpi_test.h"
#include "planted.h"

#include <mltfr/file.h>
#include <mltfr/log.h>
#include <mltfr/trainer.h>

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 1024, STEPS = 14 };

/* ---- variants ------------------------------------------------------------------------------ */

typedef struct {
    const char *name;
    void (*set)(planted *p, mltfr_settings *set);
    int arrays; /* a checkpoint has more */
} variant;

/* Four user blocks and five item blocks: with five ranks one has no users. */
static void few(planted *p, mltfr_settings *set)
{
    (void)p;
    (void)set;
}

/* Three LLMs and sharded vocabularies, a top-1 choice, injection, an attached query, clip, decay, a
 * schedule, windows, eight user blocks. */
static void many(planted *p, mltfr_settings *set)
{
    p->synthetic.users = 200;
    p->synthetic.llms = 3;
    p->copies = 5;
    set->data_windows = MLTFR_DATA_WINDOWS_ALL;
    set->data_max_len = 12;
    set->model_norm = MLTFR_MODEL_NORM_PRE;
    set->filter_detach_query = false;
    set->filter_refresh = 2;
    set->router_top_k = 1;
    set->router_z_loss = 1e-3;
    set->item_inject = MLTFR_ITEM_INJECT_STATIC;
    set->train_batch = 180;
    set->train_clip = .5;
    set->train_weight_decay = .01;
    set->train_warmup_steps = 3;
    set->train_schedule = MLTFR_TRAIN_SCHEDULE_COSINE;
}

/* The sampled loss, lazy Adam, two of three LLMs, the Switch loss, mixed injection, another rule.
 */
static void sampled(planted *p, mltfr_settings *set)
{
    p->synthetic.llms = 3;
    set->router_balance = MLTFR_ROUTER_BALANCE_SWITCH;
    set->fisher_rule = MLTFR_FISHER_RULE_DIAGONAL;
    set->item_inject = MLTFR_ITEM_INJECT_MIXTURE;
    set->train_loss = MLTFR_TRAIN_LOSS_SAMPLED;
    set->train_negatives = 16;
    set->train_negatives_by = MLTFR_TRAIN_NEGATIVES_BY_FREQUENCY;
    set->train_adam = MLTFR_TRAIN_ADAM_LAZY;
}

/* One negative, and a consensus that is learned. */
static void binary(planted *p, mltfr_settings *set)
{
    p->copies = 3;
    set->fisher_rule = MLTFR_FISHER_RULE_NONE;
    set->train_loss = MLTFR_TRAIN_LOSS_BCE;
}

/* One LLM, which all ranks share. */
static void lone(planted *p, mltfr_settings *set)
{
    p->synthetic.llms = 1;
    p->copies = 5;
    set->router_top_k = 1;
}

/* The other backbones, with experts and without. */
static void bsarec(planted *p, mltfr_settings *set)
{
    (void)p;
    set->model_backbone = MLTFR_MODEL_BACKBONE_BSAREC;
    set->model_average = 3;
    set->model_blocks = 2;
    set->filter_detach_query = false;
    set->item_inject = MLTFR_ITEM_INJECT_MIXTURE;
}

static void gru4rec(planted *p, mltfr_settings *set)
{
    bsarec(p, set);
    set->model_backbone = MLTFR_MODEL_BACKBONE_GRU4REC;
    set->data_windows = MLTFR_DATA_WINDOWS_ALL;
    set->data_max_len = 12;
}

static void bsarec_alone(planted *p, mltfr_settings *set)
{
    bsarec(p, set);
    set->model_experts = false;
}

static void gru4rec_alone(planted *p, mltfr_settings *set)
{
    gru4rec(p, set);
    set->model_experts = false;
}

static const variant variants[] = {{"few", few, 50},
                                   {"many", many, 50},
                                   {"sampled", sampled, 50},
                                   {"binary", binary, 50},
                                   {"lone", lone, 50},
                                   {"bsarec", bsarec, 50},
                                   {"gru4rec", gru4rec, 50},
                                   {"bsarec_alone", bsarec_alone, 50},
                                   {"gru4rec_alone", gru4rec_alone, 38}};

static const variant *find_variant(const char *name)
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (strcmp(variants[i].name, name) == 0)
            return &variants[i];
    mltfr_panic("no variant '%s'", name);
}

/* ---- a run --------------------------------------------------------------------------------- */

static void remove_all(const char *pattern)
{
    glob_t found;

    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        unlink(found.gl_pathv[i]);
    globfree(&found);
}

/* An empty directory. */
static void make_directory(mltfr_comm *comm, const char *dir)
{
    char pattern[PATH];

    if (mltfr_comm_rank(comm) == 0) {
        if (mkdir(dir, 0777) != 0 && errno != EEXIST)
            mltfr_panic("%s: %s", dir, strerror(errno));
        snprintf(pattern, sizeof pattern, "%s/*.*", dir);
        remove_all(pattern);
        snprintf(pattern, sizeof pattern, "%s/checkpoints/*", dir);
        remove_all(pattern);
    }
    mltfr_comm_barrier(comm);
}

typedef struct {
    const variant *variant;
    const char *how, *dir, *last; /* last: STEPS or REFERENCE, or NULL */
} request;

static bool is(const request *r, const char *how)
{
    return strcmp(r->how, how) == 0;
}

static void run(mltfr_comm *comm, const request *r)
{
    const bool stops = is(r, "stop") || is(r, "again");
    const mltfr_train_options options = {.resume = "auto", .config = "a test"};
    planted p = planted_defaults();
    mltfr_settings set;
    char path[PATH];

    snprintf(path, sizeof path, "%s/data.h5", r->dir);
    set = planted_settings(path);
    set.run_dir = r->dir;
    set.train_max_steps = STEPS;
    set.train_epochs = STEPS;
    set.run_stop_after = stops ? r->last : "";
    set.checkpoint_async = mltfr_comm_size(comm) % 2 == 0; /* it changes no bit */
    r->variant->set(&p, &set);
    if (is(r, "train") || is(r, "stop")) {
        make_directory(comm, r->dir);
        planted_write(comm, path, &p);
    }
    const mltfr_status st = mltfr_train(comm, &set, &options);

    CHECK(st == (stops ? MLTFR_STOPPED : MLTFR_OK), "status %d: %s", (int)st, mltfr_error_text);
}

/* ---- checkpoints --------------------------------------------------------------------------- */

typedef struct {
    mltfr_file *mine, *reference;
    int arrays;
} pair;

static void *load(mltfr_file *file, const char *name, const mltfr_shape *shape)
{
    void *data;

    MUST(mltfr_alloc(&data, (size_t)mltfr_shape_count(shape),
                     (size_t)mltfr_dtype_bytes(shape->type)));
    MUST(mltfr_file_read(file, name, shape->type, 0, shape->ndim == 0 ? 1 : shape->dims[0], data));
    return data;
}

static mltfr_status compare_array(void *context, const char *name, const mltfr_shape *shape)
{
    pair *x = context;
    const size_t bytes = (size_t)(mltfr_shape_count(shape) * mltfr_dtype_bytes(shape->type));
    mltfr_shape mine;

    x->arrays++;
    if (mltfr_file_shape(x->mine, name, &mine) != MLTFR_OK ||
        memcmp(mine.dims, shape->dims, (size_t)shape->ndim * sizeof *mine.dims) != 0) {
        CHECK(false, "%s: missing, or of another shape", name);
        return MLTFR_OK;
    }
    void *a = load(x->mine, name, shape), *b = load(x->reference, name, shape);

    CHECK(memcmp(a, b, bytes) == 0, "%s: other bits", name);
    MLTFR_FREE(a);
    MLTFR_FREE(b);
    return MLTFR_OK;
}

static void compare_numbers(const pair *x)
{
    static const char *const names[] = {"step",      "epoch",      "expert_start",
                                        "best_step", "best_epoch", "consensus_started",
                                        "epoch_rows"};
    double mine = 0, reference = 1;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int64_t a = 0, b = 1;
        MUST(mltfr_file_get_i64(x->mine, "/", names[i], &a));
        MUST(mltfr_file_get_i64(x->reference, "/", names[i], &b));
        CHECK(a == b, "%s: %d, %d", names[i], (int)a, (int)b);
    }
    MUST(mltfr_file_get_f64(x->mine, "/", "epoch_loss", &mine));
    MUST(mltfr_file_get_f64(x->reference, "/", "epoch_loss", &reference));
    CHECK(mine == reference, "epoch_loss: %.17g, %.17g", mine, reference);
}

/* By rank 0 alone: self is its group of one. */
static void compare_checkpoints(mltfr_comm *self, const request *r)
{
    const char *dir = r->dir, *reference = r->last;
    char path[PATH];
    pair x = {0};

    snprintf(path, sizeof path, "%s/checkpoints/step-%08d.h5", dir, STEPS);
    MUST(mltfr_file_open(self, path, &x.mine));
    snprintf(path, sizeof path, "%s/checkpoints/step-%08d.h5", reference, STEPS);
    MUST(mltfr_file_open(self, path, &x.reference));
    MUST(mltfr_file_visit(x.reference, compare_array, &x));
    CHECK(x.arrays > r->variant->arrays, "only %d arrays", x.arrays);
    compare_numbers(&x);
    mltfr_file_destroy(&x.mine);
    mltfr_file_destroy(&x.reference);
}

/* ---- metrics ------------------------------------------------------------------------------- */

/* The next line that does not tell the time alone, cut before what does; false at the end. */
static bool next_line(FILE *from, char line[PATH])
{
    while (fgets(line, PATH, from) != NULL) {
        char *seconds = strstr(line, ",\"seconds\"");

        if (strstr(line, "\"kind\":\"time\"") != NULL)
            continue;
        if (seconds != NULL)
            *seconds = '\0';
        return true;
    }
    line[0] = '\0';
    return false;
}

static FILE *open_metrics(const char *dir)
{
    char path[PATH];
    FILE *from;

    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    from = fopen(path, "r");
    if (from == NULL)
        mltfr_panic("%s: %s", path, strerror(errno));
    return from;
}

/* Losses, loads, phi and the metrics of every validation and of the test, with all their digits. */
static void compare_metrics(const char *dir, const char *reference)
{
    FILE *mine = open_metrics(dir), *other = open_metrics(reference);
    char a[PATH], b[PATH];
    int lines = 0, tests = 0;
    bool more = true;

    while (more && failures == 0) {
        more = next_line(mine, a);
        CHECK(next_line(other, b) == more && strcmp(a, b) == 0, "metrics: '%s', '%s'", a, b);
        lines += more;
        tests += strstr(a, "\"kind\":\"test\"") != NULL;
    }
    CHECK(failures > 0 || (lines > STEPS && tests == 1), "%d lines, %d tests", lines, tests);
    fclose(mine);
    fclose(other);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm, *self;
    request r;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    if (argc < 4)
        mltfr_panic("train_bits VARIANT train|stop|again|finish DIR [REFERENCE|STEPS]");
    r = (request){find_variant(argv[1]), argv[2], argv[3], argv[4]};
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    MUST(mltfr_comm_group(comm, 0, 0, &self));
    run(comm, &r);
    if (self != NULL && r.last != NULL && (is(&r, "train") || is(&r, "finish"))) {
        compare_checkpoints(self, &r);
        compare_metrics(r.dir, r.last);
    }
    mltfr_comm_barrier(comm);
    mltfr_comm_destroy(&self);
    return mpi_test_end(&comm);
}
