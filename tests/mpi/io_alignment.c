/* The ways of alignment beside GCCA, the controls, five LLMs, the report and the neighbours: what
 * each is for, on planted tables; and that the number of ranks does not matter. */
#include "token_tables.h"

#include <stdlib.h>
#include <unistd.h>

static char path[2][64];

/* Made by all ranks and by one alone, the spaces are the same but for rounding. */
static void check_ranks(mltfr_comm *comm, mltfr_comm *self, planted tables[], int64_t K,
                        const mltfr_conditioning_options *o, const char *what)
{
    mltfr_conditioning_report report;

    if (self != NULL) {
        MUST(make(self, tables, K, o, path[1], &report));
        mltfr_conditioning_clear(&report);
    }
    mltfr_comm_barrier(comm);
    for (int64_t k = 0; k <= K; k++) {
        double worst = differ(comm, path[0], path[1], k, 1);
        CHECK(worst < 1e-6, "%s: space %d differs by %g", what, (int)k, worst);
    }
    mltfr_comm_barrier(comm);
}

/* ---- case ---------------------------------------------------------------------------------- */

/* Word and word, which lie on different ranks, mean together what the other LLM's word does. */
static void test_merged_case(mltfr_comm *comm, mltfr_comm *self)
{
    planted tables[2] = {default_table(0), default_table(1)};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report merged, lowest;

    tables[0].named = WORDS / 2;
    tables[1].cased = 8;
    o.merge_case = false;
    MUST(make(comm, tables, 2, &o, path[0], &lowest));
    o.merge_case = true;
    MUST(make(comm, tables, 2, &o, path[0], &merged));
    CHECK(merged.anchors == lowest.anchors, "%d and %d anchors", (int)merged.anchors,
          (int)lowest.anchors);
    CHECK(merged.p_at_1 > .9 && lowest.p_at_1 < .5, "P@1 %g, of the lowest token %g", merged.p_at_1,
          lowest.p_at_1);
    check_ranks(comm, self, tables, 2, &o, "merged case");
    mltfr_conditioning_clear(&merged);
    mltfr_conditioning_clear(&lowest);
}

/* ---- procrustes ---------------------------------------------------------------------------- */

/* Fewer anchors than dimensions: GCCA refuses, rotations find held-out words. */
static void test_procrustes(mltfr_comm *comm, mltfr_comm *self)
{
    planted tables[3] = {default_table(0), default_table(1), default_table(2)};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report report;

    for (int k = 0; k < 3; k++) {
        tables[k].width = MOST_WIDTH;
        tables[k].turned = .02;
        tables[k].named = 80;
    }
    o.shared_dim = 12;
    o.held_out = .3;
    CHECK(make(comm, tables, 2, &o, path[0], &report) == MLTFR_E_USAGE, "too few for GCCA");
    CHECK(strstr(mltfr_error_text, "procrustes") != NULL, "'%s'", mltfr_error_text);
    mltfr_conditioning_clear(&report);

    o.align = MLTFR_ALIGN_PROCRUSTES;
    MUST(make(comm, tables, 2, &o, path[0], &report));
    CHECK(report.anchors < MOST_WIDTH && report.hub == 0, "%d anchors, hub %d", (int)report.anchors,
          (int)report.hub);
    CHECK(report.dims == report.fitted - 1, "%d dimensions of %d anchors", (int)report.dims,
          (int)report.fitted);
    CHECK(report.p_at_1 > .9 && report.correlation[0] > .9, "P@1 %g, correlation %g", report.p_at_1,
          report.correlation[0]);
    check_ranks(comm, self, tables, 2, &o, "procrustes");
    mltfr_conditioning_clear(&report);

    tables[1].shuffled = true;
    MUST(make(comm, tables, 2, &o, path[0], &report));
    CHECK(report.p_at_1 < .3, "shuffled rows: P@1 %g", report.p_at_1);
    mltfr_conditioning_clear(&report);

    tables[1].shuffled = false;
    tables[2].scale = 100;
    MUST(make(comm, tables, 3, &o, path[0], &report));
    CHECK(report.p_at_1 > .9, "three LLMs: P@1 %g", report.p_at_1);
    mltfr_conditioning_clear(&report);
    o.shared_dim = 60;
    o.specific_dim = 0;
    CHECK(make(comm, tables, 2, &o, path[0], &report) == MLTFR_E_USAGE, "beyond the anchors");
    CHECK(strstr(mltfr_error_text, "tokens.shared_dim 60") != NULL, "'%s'", mltfr_error_text);
    mltfr_conditioning_clear(&report);
}

/* ---- controls ------------------------------------------------------------------------------ */

enum { FAMILY = 10 };

/* Families of words, two LLMs. */
static void family_tables(planted tables[2])
{
    for (int k = 0; k < 2; k++) {
        tables[k] = default_table(k);
        tables[k].family = FAMILY;
    }
}

/* Share of the rows of space 0 whose nearest, in the shared block, is of their family. */
static double families(mltfr_comm *comm, const char *file, int64_t r)
{
    int64_t count, ids[WORDS + EXTRA], found = 0;
    float *Z = read_space(comm, file, 0, &count);
    mltfr_file *f;

    MUST(mltfr_file_open(comm, file, &f));
    MUST(mltfr_file_read(f, "spaces/0/ids", MLTFR_I64, 0, count / r, ids));
    mltfr_file_destroy(&f);
    for (int64_t i = 0; i < count / r; i++) {
        double best = INFINITY;
        int64_t nearest = i;
        for (int64_t j = 0; j < count / r; j++) {
            double square = 0;
            for (int64_t t = 0; t < LATENT; t++)
                square += (Z[i * r + t] - Z[j * r + t]) * (Z[i * r + t] - Z[j * r + t]);
            if (i != j && square < best) {
                best = square;
                nearest = j;
            }
        }
        found += (ids[i] - EXTRA) / FAMILY == (ids[nearest] - EXTRA) / FAMILY;
    }
    MLTFR_FREE(Z);
    return (double)found / (double)(count / r);
}

/* The first LLM's first two moments: the mean, the largest eigenvalue of the covariance and the
 * sum of all. */
static void moments(mltfr_comm *comm, const mltfr_conditioning_report *report, const char *file,
                    double *mean, double *first, double *all)
{
    mltfr_file *f;

    MUST(mltfr_file_open(comm, file, &f));
    MUST(mltfr_file_read(f, "spaces/0/mean", MLTFR_F64, 0, report->llms[0].width, mean));
    mltfr_file_destroy(&f);
    *first = report->llms[0].spectrum[0];
    *all = 0;
    for (int64_t j = 0; j < report->llms[0].width; j++)
        *all += report->llms[0].spectrum[j];
}

/* Mean and covariance stay, within what 495 rows of 6 strong dimensions say. */
static void check_moments(mltfr_comm *comm, mltfr_control control)
{
    planted tables[2];
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report before, after;
    double mean[2][MOST_WIDTH], first[2], all[2], worst = 0;

    family_tables(tables);
    o.align = MLTFR_ALIGN_PCA;
    MUST(make(comm, tables, 2, &o, path[0], &before));
    moments(comm, &before, path[0], mean[0], &first[0], &all[0]);
    o.control = control;
    MUST(make(comm, tables, 2, &o, path[0], &after));
    moments(comm, &after, path[0], mean[1], &first[1], &all[1]);
    for (int64_t j = 0; j < tables[0].width; j++)
        worst = fmax(worst, fabs(mean[0][j] - mean[1][j]));
    CHECK(worst > 0 && worst < .6, "%s: mean moves by %g", after.control, worst);
    CHECK(fabs(first[1] / first[0] - 1) < .25, "%s: first eigenvalue %g, was %g", after.control,
          first[1], first[0]);
    CHECK(fabs(all[1] / all[0] - 1) < .15, "%s: variance %g, was %g", after.control, all[1],
          all[0]);
    mltfr_conditioning_clear(&before);
    mltfr_conditioning_clear(&after);
}

static void test_gaussian(mltfr_comm *comm, mltfr_comm *self)
{
    planted tables[2];
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report plain, alone, joint;
    double same[3];

    family_tables(tables);
    MUST(make(comm, tables, 2, &o, path[0], &plain));
    same[0] = families(comm, path[0], LATENT + 8);
    o.control = MLTFR_CONTROL_GAUSSIAN;
    MUST(make(comm, tables, 2, &o, path[0], &alone));
    same[1] = families(comm, path[0], LATENT + 8);
    check_ranks(comm, self, tables, 2, &o, "gaussian");
    o.control = MLTFR_CONTROL_GAUSSIAN_JOINT;
    MUST(make(comm, tables, 2, &o, path[0], &joint));
    same[2] = families(comm, path[0], LATENT + 8);
    check_ranks(comm, self, tables, 2, &o, "gaussian-joint");

    CHECK(alone.p_at_1 < .1 && alone.correlation[0] < .5 && alone.pairs[0].canonical[0] < .5,
          "gaussian: P@1 %g, correlation %g, canonical %g", alone.p_at_1, alone.correlation[0],
          alone.pairs[0].canonical[0]);
    for (int j = 0; j < LATENT; j++)
        CHECK(fabs(joint.correlation[j] - plain.correlation[j]) < .05,
              "gaussian-joint: correlation %d is %g, was %g", j, joint.correlation[j],
              plain.correlation[j]);
    CHECK(same[0] > .8 && same[1] < .1 && same[2] < .1,
          "nearest of the same family: %g, gaussian %g, gaussian-joint %g", same[0], same[1],
          same[2]);
    mltfr_conditioning_clear(&plain);
    mltfr_conditioning_clear(&alone);
    mltfr_conditioning_clear(&joint);
    check_moments(comm, MLTFR_CONTROL_GAUSSIAN);
    check_moments(comm, MLTFR_CONTROL_GAUSSIAN_JOINT);
}

/* Three LLMs that lack different words. */
static void test_joint_missing(mltfr_comm *comm)
{
    planted tables[3] = {default_table(0), default_table(1), default_table(2)};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report plain, joint;

    tables[1].scale = 1000;
    MUST(make(comm, tables, 3, &o, path[0], &plain));
    o.control = MLTFR_CONTROL_GAUSSIAN_JOINT;
    MUST(make(comm, tables, 3, &o, path[0], &joint));
    CHECK(fabs(joint.correlation[0] - plain.correlation[0]) < .05 &&
              joint.p_at_1 > plain.p_at_1 - .1,
          "correlation %g, was %g; P@1 %g, was %g", joint.correlation[0], plain.correlation[0],
          joint.p_at_1, plain.p_at_1);
    mltfr_conditioning_clear(&plain);
    mltfr_conditioning_clear(&joint);

    o.control = MLTFR_CONTROL_GAUSSIAN_JOINT;
    CHECK(make(comm, tables, 1, &o, path[0], &joint) == MLTFR_E_USAGE, "one LLM alone");
    mltfr_conditioning_clear(&joint);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* The first column of a space, sorted. */
static float *sorted_column(mltfr_comm *comm, const char *file, int64_t k, int64_t r, int64_t *n)
{
    int64_t count;
    float *Z = read_space(comm, file, k, &count);

    *n = count / r;
    for (int64_t i = 0; i < *n; i++)
        Z[i] = Z[i * r];
    qsort(Z, (size_t)*n, sizeof *Z, by_value);
    return Z;
}

/* The first space stays, the second has the same rows in another order. */
static void test_shuffle(mltfr_comm *comm, mltfr_comm *self)
{
    planted tables[2] = {default_table(0), default_table(1)};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report report;
    int64_t n, m;
    double worst = 0;

    o.align = MLTFR_ALIGN_PCA;
    MUST(make(comm, tables, 2, &o, path[0], &report));
    mltfr_conditioning_clear(&report);
    o.control = MLTFR_CONTROL_SHUFFLE;
    MUST(make(comm, tables, 2, &o, path[1], &report));
    mltfr_conditioning_clear(&report);
    CHECK(differ(comm, path[0], path[1], 0, 1) == 0, "the first space changes");
    CHECK(differ(comm, path[0], path[1], 1, 1) > .1, "the second space stays");
    float *x = sorted_column(comm, path[0], 1, LATENT + 8, &n);
    float *y = sorted_column(comm, path[1], 1, LATENT + 8, &m);
    for (int64_t i = 0; n == m && i < n; i++)
        worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
    CHECK(n == m && worst < 1e-5, "other rows: %g", worst);
    MLTFR_FREE(x);
    MLTFR_FREE(y);

    o.align = MLTFR_ALIGN_GCCA;
    MUST(make(comm, tables, 2, &o, path[0], &report));
    CHECK(report.p_at_1 < .1, "P@1 %g", report.p_at_1);
    mltfr_conditioning_clear(&report);
    check_ranks(comm, self, tables, 2, &o, "shuffle");
}

static void test_scale(mltfr_comm *comm)
{
    planted tables[2] = {default_table(0), default_table(1)};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report report;

    MUST(make(comm, tables, 2, &o, path[0], &report));
    mltfr_conditioning_clear(&report);
    o.control = MLTFR_CONTROL_SCALE;
    MUST(make(comm, tables, 2, &o, path[1], &report));
    mltfr_conditioning_clear(&report);
    CHECK(differ(comm, path[1], path[0], 0, 10) < 1e-5, "the first space is not ten times larger");
    CHECK(differ(comm, path[1], path[0], 1, 1) == 0, "the second space changes");
    CHECK(differ(comm, path[1], path[0], 2, 1) == 0, "the consensus space changes");
}

/* Units in place of tokens. */
static void test_identity(mltfr_comm *comm, mltfr_comm *self)
{
    planted tables[2] = {default_table(0), default_table(1)};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report report;

    o.control = MLTFR_CONTROL_IDENTITY;
    MUST(make(comm, tables, 2, &o, path[0], &report));
    mltfr_conditioning_clear(&report);
    for (int64_t k = 0; k <= 2; k++) {
        int64_t n, r = k < 2 ? o.shared_dim + o.specific_dim : o.shared_dim;
        float *Z = read_space(comm, path[0], k, &n);
        CHECK(n == r * r, "space %d has %d numbers", (int)k, (int)n);
        for (int64_t i = 0; n == r * r && i < n; i++)
            CHECK(Z[i] == (i % (r + 1) == 0 ? 1 : 0), "space %d, number %d", (int)k, (int)i);
        MLTFR_FREE(Z);
    }
    check_ranks(comm, self, tables, 2, &o, "identity");
}

/* ---- many LLMs, report, neighbours ---------------------------------------------------------- */

static void check_pairs(const mltfr_conditioning_report *r)
{
    double mean = 0, p_at_1 = 0;
    const mltfr_pair_report *p = &r->pairs[0];

    CHECK(r->pair_count == LLMS * (LLMS - 1) / 2, "%d pairs", (int)r->pair_count);
    for (int64_t i = 0; i < r->pair_count; i++) {
        mean += r->pairs[i].correlation[1] / (double)r->pair_count;
        p_at_1 += (r->pairs[i].p_at_1[0] + r->pairs[i].p_at_1[1]) / 2 / (double)r->pair_count;
        CHECK(r->pairs[i].p_at_1[0] > .6 && r->pairs[i].p_at_1[1] > .6, "pair %d", (int)i);
        CHECK(r->pairs[i].canonical != NULL && r->pairs[i].canonical[0] > .95 &&
                  r->pairs[i].canonical[0] > r->pairs[i].correlation[0] - .01,
              "pair %d: canonical correlation %g, correlation %g", (int)i,
              r->pairs[i].canonical != NULL ? r->pairs[i].canonical[0] : NAN,
              r->pairs[i].correlation[0]);
    }
    CHECK(fabs(mean - r->correlation[1]) < 1e-12, "mean correlation %g, %g", mean,
          r->correlation[1]);
    CHECK(fabs(p_at_1 - r->p_at_1) < 1e-12, "mean P@1 %g, %g", p_at_1, r->p_at_1);
    CHECK(p->j == 0 && p->l == 1 && p->anchors > 350 && p->anchors < WORDS * 6 / 7 &&
              p->held_out > 40 && p->held_out < p->anchors / 3,
          "pair %d %d: %d anchors, %d held out", (int)p->j, (int)p->l, (int)p->anchors,
          (int)p->held_out);
}

static void test_five(mltfr_comm *comm, mltfr_comm *self)
{
    planted tables[LLMS];
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report r;

    for (int k = 0; k < LLMS; k++)
        tables[k] = default_table(k);
    o.shared_dim = 0;
    MUST(make(comm, tables, LLMS, &o, path[0], &r));
    CHECK(r.r_c == LATENT && r.auto_dim == LATENT, "auto gives %d", (int)r.r_c);
    check_pairs(&r);
    for (int k = 0; k < LLMS; k++) {
        const mltfr_llm_report *l = &r.llms[k];
        int64_t half = mltfr_spectrum_dims(l, .5), most = mltfr_spectrum_dims(l, .9);
        CHECK(half >= 2 && half <= LATENT && most >= half && most <= LATENT + 2,
              "%s: spectrum %d %d", l->name, (int)half, (int)most);
        CHECK(mltfr_spectrum_dims(l, 0) == 0 && mltfr_spectrum_dims(l, 2) == l->width, "ends");
    }
    CHECK(r.operations[MLTFR_PHASE_ALIGN] > 1e6 && r.seconds[MLTFR_PHASE_ALIGN] > 0, "costs");
    CHECK(r.memory > 1 << 20, "memory %lld", (long long)r.memory);
    mltfr_conditioning_clear(&r);
    check_ranks(comm, self, tables, LLMS, &o, "five LLMs");
}

/* Of a row of space k: the nearest others, by going through all of them. */
static void check_near(mltfr_comm *comm, mltfr_spaces *s, int64_t k, const char *word)
{
    mltfr_neighbour near[4];
    int64_t row, count, width = k < s->K ? s->r_c + s->r_s : s->r_c, better = 0;

    MUST(mltfr_spaces_find(s, k, word, &row));
    CHECK(row >= 0, "space %d has no %s", (int)k, word);
    if (row < 0)
        return;
    MUST(mltfr_spaces_neighbours(s, k, NULL, row, 4, near));
    float *Z = read_space(comm, mltfr_file_path(s->file), k, &count);
    for (int64_t i = 0; i < count / width; i++) {
        double xy = 0, xx = 0, yy = 0;
        for (int64_t t = 0; t < width; t++) {
            xy += (double)Z[row * width + t] * Z[i * width + t];
            xx += (double)Z[row * width + t] * Z[row * width + t];
            yy += (double)Z[i * width + t] * Z[i * width + t];
        }
        better += i != row && xy / sqrt(xx * yy) > near[3].cosine + 1e-6;
        if (i == near[0].row)
            CHECK(fabs(xy / sqrt(xx * yy) - near[0].cosine) < 1e-6, "cosine %g", near[0].cosine);
    }
    CHECK(better == 3 && near[0].row != row && near[0].cosine >= near[1].cosine,
          "space %d: %d rows are nearer than the fourth", (int)k, (int)better);
    MLTFR_FREE(Z);
}

static void test_neighbours(mltfr_comm *comm)
{
    planted tables[2];
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report report;
    mltfr_spaces *s;
    int64_t row;

    family_tables(tables);
    MUST(make(comm, tables, 2, &o, path[0], &report));
    mltfr_conditioning_clear(&report);
    MUST(mltfr_spaces_open(comm, path[0], &s));
    check_near(comm, s, 0, "aer"); /* behind a mark; in the second LLM spelt Aer */
    check_near(comm, s, 1, "aer");
    check_near(comm, s, 2, "aer");
    MUST(mltfr_spaces_find(s, 0, "#7", &row));
    CHECK(row >= 0, "#7 is a token");
    MUST(mltfr_spaces_find(s, 0, "", &row));
    CHECK(row == -1, "no word is row %d", (int)row);
    MUST(mltfr_spaces_find(s, 0, "nothing", &row));
    CHECK(row == -1, "nothing is row %d", (int)row);
    mltfr_spaces_close(&s);
}

int main(int argc, char **argv)
{
    mltfr_comm *comm, *self;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    MUST(mltfr_comm_group(comm, 0, 0, &self));
    mltfr_log_setup(1, true); /* no warnings: they are meant */
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof path[i], "io_alignment.%d.np%d.h5", i, mltfr_comm_size(comm));
    test_merged_case(comm, self);
    test_procrustes(comm, self);
    test_gaussian(comm, self);
    test_joint_missing(comm);
    test_shuffle(comm, self);
    test_scale(comm);
    test_identity(comm, self);
    test_five(comm, self);
    test_neighbours(comm);
    mltfr_comm_barrier(comm);
    for (int i = 0; i < 2; i++)
        unlink(path[i]);
    mltfr_comm_destroy(&self);
    return mpi_test_end(&comm);
}
