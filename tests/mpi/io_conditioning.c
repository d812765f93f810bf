/* Conditioning as a whole: the golden file; planted tables with a shared space, on all ranks and on
 * one alone; what must change nothing (a scaled table) and what must destroy the alignment
 * (shuffled rows); the spaces file; what is refused. */
#include "golden.h"
#include "token_tables.h"

#include <unistd.h>

enum { MADE = 3 }; /* LLMs */

/* ---- tests --------------------------------------------------------------------------------- */

static char path[3][64];

static void test_golden(mltfr_comm *comm)
{
    char expected[1024];

    snprintf(expected, sizeof expected, "%s", golden_path("golden_conditioning.h5"));
    MUST(mltfr_replay_conditioning(comm, expected, path[0]));
    CHECK(golden_compare(comm, expected, path[0], 1e-8, NULL) == 0, "golden");
    CHECK(golden_compare(comm, expected, golden_path("golden_small.h5"), 1, "c") != 0,
          "any passes");
}

static void check_counts(const mltfr_conditioning_report *r)
{
    const mltfr_llm_report *l = &r->llms[0];
    double share = (double)r->held_out / (double)r->anchors;

    CHECK(l->special == 1 && l->odd == 2 && l->low == 5, "%d %d %d", (int)l->special, (int)l->odd,
          (int)l->low);
    CHECK(l->kept == WORDS - 5 && l->rows == WORDS + EXTRA, "kept %d", (int)l->kept);
    CHECK(r->fitted + r->held_out == r->anchors && r->anchors > WORDS * 9 / 10, "anchors %d",
          (int)r->anchors);
    CHECK(share > .14 && share < .26, "held out %g", share);
    CHECK(l->cosine > .2 && fabs(l->cosine_after) < .02, "cosine %g %g", l->cosine,
          l->cosine_after);
    CHECK(r->p_at_1 > .8, "P@1 %g", r->p_at_1);
    CHECK(r->correlation[0] > .95 && r->correlation[LATENT] < .4 && r->auto_dim == LATENT,
          "correlation %g %g, auto %d", r->correlation[0], r->correlation[LATENT],
          (int)r->auto_dim);
}

static void test_planted(mltfr_comm *comm, mltfr_comm *self)
{
    planted tables[MADE] = {default_table(0), default_table(1), default_table(2)};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report all, one;
    int rank = mltfr_comm_rank(comm);

    MUST(make(comm, tables, MADE, &o, path[0], &all));
    check_counts(&all);
    if (rank == 0)
        MUST(make(self, tables, MADE, &o, path[1], &one));
    mltfr_comm_barrier(comm);
    for (int64_t k = 0; k <= MADE; k++)
        CHECK(differ(comm, path[0], path[1], k, 1) < 1e-6, "space %d depends on the ranks", (int)k);
    if (rank == 0) {
        CHECK(all.p_at_1 == one.p_at_1, "P@1 %g, alone %g", all.p_at_1, one.p_at_1);
        mltfr_conditioning_clear(&one);
    }
    mltfr_conditioning_clear(&all);
}

/* A raw table times 10 is undone; `auto` finds the planted dimensions. */
static void test_scaled(mltfr_comm *comm)
{
    planted tables[MADE] = {default_table(0), default_table(1), default_table(2)};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report report;

    tables[1].scale = 10;
    o.shared_dim = 0;
    MUST(make(comm, tables, MADE, &o, path[1], &report));
    CHECK(report.r_c == LATENT, "auto gives %d", (int)report.r_c);
    for (int64_t k = 0; k <= MADE; k++)
        CHECK(differ(comm, path[0], path[1], k, 1) < 1e-4, "space %d depends on the scale", (int)k);
    mltfr_conditioning_clear(&report);
}

/* Without a specific block, too. */
static void test_shuffled(mltfr_comm *comm)
{
    planted tables[2] = {default_table(0), default_table(1)};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report report;

    tables[1].shuffled = true;
    o.specific_dim = 0;
    MUST(make(comm, tables, 2, &o, path[1], &report));
    CHECK(report.p_at_1 < .1, "shuffled rows: P@1 %g", report.p_at_1);
    mltfr_conditioning_clear(&report);
}

/* Unit variance over sqrt(r), centred but for the clip; strings and digest. */
static void test_file(mltfr_comm *comm)
{
    mltfr_spaces *spaces;
    int64_t count, *offsets, r = LATENT + 8;
    float *Z = read_space(comm, path[0], 1, &count);
    double mean = 0, square = 0;
    char *strings;

    for (int64_t i = 0; i < count; i += r) {
        mean += Z[i];
        square += (double)Z[i] * Z[i];
    }
    square *= (double)(r * r) / (double)count;
    CHECK(fabs(mean) * (double)r / (double)count < .01, "mean %g", mean);
    CHECK(square > .9 && square < 1.0001, "variance %g", square);
    MLTFR_FREE(Z);

    MUST(mltfr_spaces_open(comm, path[0], &spaces));
    CHECK(spaces->K == MADE && spaces->r_c == LATENT && spaces->r_s == 8, "header");
    CHECK(strcmp(spaces->names[1], "beta") == 0, "name %s", spaces->names[1]);
    MUST(mltfr_spaces_strings(spaces, MADE, 1, 2, &strings, &offsets));
    CHECK(offsets[2] == 6 && memcmp(strings, "aacaad", 6) == 0, "anchors %.*s", (int)offsets[2],
          strings);
    MLTFR_FREE(strings);
    MLTFR_FREE(offsets);
    CHECK(mltfr_spaces_verify(spaces) == MLTFR_OK, "%s", mltfr_error_text);
    spaces->digest ^= 1;
    CHECK(mltfr_spaces_verify(spaces) == MLTFR_E_DATA, "a wrong digest is accepted");
    mltfr_spaces_close(&spaces);
}

/* One LLM; two without strings. */
static void test_pca(mltfr_comm *comm)
{
    planted tables[2] = {default_table(0), default_table(1)};
    mltfr_table_source sources[2] = {source_of(&tables[0]), source_of(&tables[1])};
    mltfr_conditioning_options o = small_options();
    mltfr_conditioning_report report;
    int64_t n, m;

    MUST(mltfr_condition(comm, sources, 1, &o, path[0], &report));
    CHECK(isnan(report.p_at_1) && report.anchors == 0, "one LLM: P@1 %g", report.p_at_1);
    mltfr_conditioning_clear(&report);
    o.align = MLTFR_ALIGN_PCA;
    sources[0].string = sources[1].string = NULL;
    MUST(mltfr_condition(comm, sources, 2, &o, path[1], &report));
    mltfr_conditioning_clear(&report);
    float *Z = read_space(comm, path[1], 0, &n), *Zc = read_space(comm, path[1], 2, &m);
    CHECK(n * LATENT == m * (LATENT + 8), "%d and %d", (int)n, (int)m);
    for (int64_t i = 0; i < m; i++)
        CHECK(Zc[i] == Z[i / LATENT * (LATENT + 8) + i % LATENT], "consensus at %d", (int)i);
    MLTFR_FREE(Z);
    MLTFR_FREE(Zc);
}

static void expect(mltfr_comm *comm, planted tables[], const mltfr_conditioning_options *o,
                   mltfr_status status, const char *words)
{
    mltfr_conditioning_report report;
    mltfr_status st = make(comm, tables, 2, o, path[2], &report);

    CHECK(st == status, "status %d for: %s", (int)st, words);
    CHECK(st == MLTFR_OK || strstr(mltfr_error_text, words) != NULL, "'%s' does not say '%s'",
          mltfr_error_text, words);
    CHECK(access(path[2], F_OK) != 0, "a file is left");
    mltfr_conditioning_clear(&report);
}

static void test_refusals(mltfr_comm *comm)
{
    planted tables[2] = {default_table(0), default_table(1)};
    mltfr_conditioning_options o = small_options();

    o.specific_dim = 20;
    expect(comm, tables, &o, MLTFR_E_USAGE, "tokens.shared_dim");
    expect(comm, tables, &o, MLTFR_E_USAGE, "alpha");
    o = small_options();
    o.held_out = .95;
    expect(comm, tables, &o, MLTFR_E_USAGE, "tokens.align: procrustes");
    o = small_options();
    tables[1].bad_row = WORDS - 1;
    expect(comm, tables, &o, MLTFR_E_DATA, "beta: row 499");
}

int main(int argc, char **argv)
{
    mltfr_comm *comm, *self;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    MUST(mltfr_comm_group(comm, 0, 0, &self));
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    for (int i = 0; i < 3; i++)
        snprintf(path[i], sizeof path[i], "io_conditioning.%d.np%d.h5", i, mltfr_comm_size(comm));
    test_golden(comm);
    test_planted(comm, self);
    test_scaled(comm);
    test_shuffled(comm);
    test_file(comm);
    test_pca(comm);
    test_refusals(comm);
    mltfr_comm_barrier(comm);
    for (int i = 0; i < 3; i++)
        unlink(path[i]);
    mltfr_comm_destroy(&self);
    return mpi_test_end(&comm);
}
