/* What conditioning says of its work: a figure a line, for people and for scripts. */
#include "conditioning_impl.h"

#include <mltfr/log.h>
#include <mltfr/mem.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* ---- filling in ---------------------------------------------------------------------------- */

static void count_common(const mltfr_anchors *an, mltfr_pair_report *pair)
{
    for (int64_t a = 0; a < an->count; a++)
        if (an->ids[a * an->K + pair->j] >= 0 && an->ids[a * an->K + pair->l] >= 0) {
            pair->anchors++;
            pair->held_out += an->held[a];
        }
}

mltfr_status mltfr_report_anchors(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_anchors *an = &c->anchors;
    mltfr_conditioning_report *r = c->report;

    r->anchors = an->count;
    r->held_out = an->held_count;
    r->fitted = c->pca ? 0 : an->count - an->held_count;
    for (int64_t a = 0; a < an->count; a++)
        for (int64_t k = 0; k < c->K; k++)
            r->llms[k].anchors += an->ids[a * an->K + k] >= 0;
    MLTFR_TRY(MLTFR_NEW(r->pairs, c->K * (c->K - 1) / 2));
    for (int64_t j = 0; j < c->K; j++)
        for (int64_t l = j + 1; l < c->K; l++) {
            mltfr_pair_report *pair = &r->pairs[r->pair_count++];
            *pair = (mltfr_pair_report){.j = j, .l = l, .p_at_1 = {NAN, NAN}};
            count_common(an, pair);
        }
done:
    return st;
}

mltfr_status mltfr_report_spaces(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;

    c->report->r_c = c->r_c;
    c->report->r_s = c->r_s;
    for (int64_t k = 0; k < c->K; k++) {
        const mltfr_llm *llm = &c->llms[k];
        double **spectrum = &c->report->llms[k].spectrum;
        if (llm->lam == NULL)
            continue;
        MLTFR_TRY(MLTFR_NEW(*spectrum, llm->D));
        memcpy(*spectrum, llm->lam, (size_t)llm->D * sizeof **spectrum);
    }
done:
    return st;
}

int64_t mltfr_report_memory(mltfr_comm *comm)
{
    struct rusage usage;
    int64_t most = getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;

    mltfr_comm_max_i64(comm, &most, 1);
    return most;
}

void mltfr_conditioning_clear(mltfr_conditioning_report *report)
{
    for (int64_t k = 0; k < MLTFR_MAX_LLMS; k++)
        MLTFR_FREE(report->llms[k].spectrum);
    for (int64_t i = 0; i < report->pair_count; i++) {
        MLTFR_FREE(report->pairs[i].correlation);
        MLTFR_FREE(report->pairs[i].canonical);
    }
    MLTFR_FREE(report->pairs);
    MLTFR_FREE(report->correlation);
    report->pair_count = 0;
    report->dims = 0;
}

/* ---- names --------------------------------------------------------------------------------- */

const char *mltfr_align_name(const mltfr_conditioner *c)
{
    static const char *const names[] = {
        [MLTFR_ALIGN_GCCA] = "gcca",
        [MLTFR_ALIGN_PCA] = "pca",
        [MLTFR_ALIGN_PROCRUSTES] = "procrustes",
    };

    return names[c->pca ? MLTFR_ALIGN_PCA : c->options->align];
}

const char *mltfr_control_name(mltfr_control control)
{
    static const char *const names[] = {
        [MLTFR_CONTROL_NONE] = "none",
        [MLTFR_CONTROL_GAUSSIAN] = "gaussian",
        [MLTFR_CONTROL_GAUSSIAN_JOINT] = "gaussian-joint",
        [MLTFR_CONTROL_SHUFFLE] = "shuffle",
        [MLTFR_CONTROL_SCALE] = "scale",
        [MLTFR_CONTROL_IDENTITY] = "identity",
    };

    return names[control];
}

const char *mltfr_conditioning_phase_name(mltfr_conditioning_phase phase)
{
    static const char *const names[] = {
        [MLTFR_PHASE_READ] = "read",     [MLTFR_PHASE_ANCHOR] = "anchors",
        [MLTFR_PHASE_ALIGN] = "align",   [MLTFR_PHASE_JUDGE] = "judge",
        [MLTFR_PHASE_FINISH] = "finish", [MLTFR_PHASE_WRITE] = "write",
    };

    return names[phase];
}

/* ---- saying it ----------------------------------------------------------------------------- */

int64_t mltfr_spectrum_dims(const mltfr_llm_report *llm, double share)
{
    double total = 0, sum = 0;
    int64_t n = 0;

    for (int64_t i = 0; i < llm->width; i++)
        total += fmax(llm->spectrum[i], 0);
    while (n < llm->width && sum < share * total)
        sum += fmax(llm->spectrum[n++], 0);
    return n;
}

static void say_llm(const mltfr_llm_report *l)
{
    double total = 0;

    mltfr_say("%s: %lld tokens x %lld, %lld kept (dropped: %lld special, %lld byte or unused, "
              "%lld of low norm), %lld anchors, mean cosine %.3f -> %.3f",
              l->name, (long long)l->rows, (long long)l->width, (long long)l->kept,
              (long long)l->special, (long long)l->odd, (long long)l->low, (long long)l->anchors,
              l->cosine, l->cosine_after);
    if (l->spectrum == NULL)
        return;
    for (int64_t i = 0; i < l->width; i++)
        total += fmax(l->spectrum[i], 0);
    mltfr_say("%s: spectrum: %.1f %% of the variance in the first dimension, 50 %% in %lld, 90 %% "
              "in %lld, 99 %% in %lld of %lld",
              l->name, total > 0 ? 100 * l->spectrum[0] / total : 0,
              (long long)mltfr_spectrum_dims(l, .5), (long long)mltfr_spectrum_dims(l, .9),
              (long long)mltfr_spectrum_dims(l, .99), (long long)l->width);
}

/* Some of the correlations; what comes before them is for the reader of the line. */
static void say_correlations(const char *before, int64_t dims, const double *correlation)
{
    static const int64_t which[] = {1, 16, 64, 128, 256};

    for (size_t i = 0; i < sizeof which / sizeof *which && which[i] <= dims; i++)
        mltfr_say("%s %lld %.3f", before, (long long)which[i], correlation[which[i] - 1]);
}

static void say_pair(const mltfr_conditioning_report *r, const mltfr_pair_report *p)
{
    char names[160], before[192];

    snprintf(names, sizeof names, "%s %s: ", r->llms[p->j].name, r->llms[p->l].name);
    mltfr_say("%sanchors %lld, %lld of them held out", names, (long long)p->anchors,
              (long long)p->held_out);
    snprintf(before, sizeof before, "%scorrelation", names);
    if (p->correlation != NULL)
        say_correlations(before, r->dims, p->correlation);
    snprintf(before, sizeof before, "%scanonical correlation", names);
    if (p->canonical != NULL)
        say_correlations(before, r->r_c, p->canonical);
    if (!isnan(p->p_at_1[0]))
        mltfr_say("%sP@1 %.3f (%.3f there, %.3f back)", names, (p->p_at_1[0] + p->p_at_1[1]) / 2,
                  p->p_at_1[0], p->p_at_1[1]);
}

static void say_judgement(const mltfr_conditioning_report *r)
{
    if (r->dims > 0) {
        say_correlations("correlation", r->dims, r->correlation);
        mltfr_say("correlation above .45: %lld dimensions", (long long)r->auto_dim);
    }
    if (!isnan(r->p_at_1))
        mltfr_say("P@1 %.3f", r->p_at_1);
}

static void say_costs(const mltfr_conditioning_report *r)
{
    double seconds = 0, operations = 0;

    for (int i = 0; i < MLTFR_PHASES; i++) {
        seconds += r->seconds[i];
        operations += r->operations[i];
        mltfr_say("seconds %s %.2f (%.1f GF/s)", mltfr_conditioning_phase_name(i), r->seconds[i],
                  1e-9 * r->operations[i] / fmax(r->seconds[i], 1e-9));
    }
    mltfr_say("seconds %.2f (%.1f GF/s)", seconds, 1e-9 * operations / fmax(seconds, 1e-9));
    mltfr_say("memory at most %.1f MiB a rank", (double)r->memory / 1048576);
}

void mltfr_conditioning_say(const mltfr_conditioning_report *r)
{
    for (int64_t k = 0; k < r->K; k++)
        say_llm(&r->llms[k]);
    mltfr_say("dimensions %lld shared + %lld specific", (long long)r->r_c, (long long)r->r_s);
    mltfr_say("anchors %lld: %lld fitted, %lld held out", (long long)r->anchors,
              (long long)r->fitted, (long long)r->held_out);
    if (r->hub >= 0)
        mltfr_say("hub %s", r->llms[r->hub].name);
    for (int64_t i = 0; i < r->pair_count; i++)
        say_pair(r, &r->pairs[i]);
    say_judgement(r);
    say_costs(r);
}
