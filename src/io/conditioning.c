/* From tables to spaces: the order of E5-E10, what is checked before, what is said after. */
#include "conditioning_impl.h"

#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/progress.h>
#include <mltfr/watchdog.h>

#include <math.h>
#include <stdio.h>

enum { SHOWN_SECONDS = 1 }; /* shorter phases are not mentioned on the way */

/* ---- tables and options -------------------------------------------------------------------- */

static mltfr_status read_table(void *table, int64_t first, int64_t rows, void *out)
{
    return mltfr_table_read(table, first, rows, out);
}

static void table_forget(void *table)
{
    mltfr_table_forget(table);
}

static const char *table_string(void *table, int64_t row, size_t *bytes)
{
    return mltfr_table_string(table, row, bytes);
}

static bool table_special(void *table, int64_t row)
{
    return mltfr_table_special(table, row);
}

static uint64_t table_digest(void *table)
{
    return mltfr_table_digest(table);
}

mltfr_table_source mltfr_table_as_source(mltfr_table *table, const char *name, const char *path)
{
    bool strings = mltfr_table_has_strings(table);

    return (mltfr_table_source){.context = table,
                                .name = name,
                                .path = path,
                                .tensor = mltfr_table_tensor_name(table),
                                .type = mltfr_table_type(table),
                                .rows = mltfr_table_rows(table),
                                .width = mltfr_table_width(table),
                                .read = read_table,
                                .forget = table_forget,
                                .string = strings ? table_string : NULL,
                                .special = strings ? table_special : NULL,
                                .digest = table_digest};
}

mltfr_conditioning_options mltfr_conditioning_defaults(void)
{
    return (mltfr_conditioning_options){.align = MLTFR_ALIGN_GCCA,
                                        .shared_dim = 128,
                                        .specific_dim = 128,
                                        .eps = 1e-2,
                                        .held_out = .2,
                                        .drop = .01,
                                        .seed = 1,
                                        .whole_words = true,
                                        .merge_case = true,
                                        .block_rows = 1024};
}

/* r_c of `auto` is at least 1. */
static mltfr_status check_widths(const mltfr_table_source tables[], int64_t K,
                                 const mltfr_conditioning_options *o)
{
    int64_t r_c = o->shared_dim > 0 ? o->shared_dim : 1;

    if (K < 1 || K > MLTFR_MAX_LLMS)
        return mltfr_fail(MLTFR_E_USAGE, "%lld token tables: 1 to %d are allowed", (long long)K,
                          MLTFR_MAX_LLMS);
    for (int64_t k = 0; k < K; k++)
        if (r_c + o->specific_dim > tables[k].width)
            return mltfr_fail(MLTFR_E_USAGE,
                              "tokens.shared_dim %lld and tokens.specific_dim %lld: together at "
                              "most %lld, the width of %s, are allowed",
                              (long long)r_c, (long long)o->specific_dim,
                              (long long)tables[k].width, tables[k].name);
    return MLTFR_OK;
}

/* ---- phases -------------------------------------------------------------------------------- */

static double operations(const mltfr_conditioner *c)
{
    return c->operations + (c->grid != NULL ? mltfr_grid_operations(c->grid) : 0);
}

static void begin_phase(mltfr_conditioner *c)
{
    c->clock = mltfr_seconds();
    c->counted = operations(c);
}

/* Operations are integers below 2^53: their sum over the ranks is exact. */
static void end_phase(mltfr_conditioner *c, mltfr_conditioning_phase phase)
{
    int64_t done = (int64_t)(operations(c) - c->counted);

    mltfr_comm_sum_i64(c->comm, &done, 1);
    c->report->operations[phase] += (double)done;
    const double spent = mltfr_seconds() - c->clock;

    c->report->seconds[phase] += spent;
    if (spent > SHOWN_SECONDS && mltfr_progress_shown() != MLTFR_PROGRESS_NONE)
        mltfr_note("conditioning: %s, %.0f s", mltfr_conditioning_phase_name(phase), spent);
    mltfr_mem_trim(); /* the next phase has other sizes */
    begin_phase(c);
}

static mltfr_status load(mltfr_conditioner *c, const mltfr_table_source tables[])
{
    mltfr_status st = MLTFR_OK;

    MLTFR_AGREE(c->comm, MLTFR_NEW(c->llms, c->K));
    for (int64_t k = 0; k < c->K; k++) {
        mltfr_llm *llm = &c->llms[k];
        mltfr_llm_report *r = &c->report->llms[k];
        llm->source = tables[k];
        MLTFR_TRY(mltfr_llm_load(c, llm));
        MLTFR_TRY(mltfr_llm_clean(c, llm, r));
        MLTFR_TRY(mltfr_llm_mean(c, llm, &r->cosine));
        mltfr_llm_forget(llm);
        snprintf(r->name, sizeof r->name, "%s", llm->source.name);
        r->rows = llm->V;
        r->width = llm->D;
        c->total_width += llm->D;
        c->narrowest = k == 0 || llm->D < c->narrowest ? llm->D : c->narrowest;
    }
    MLTFR_TRY(mltfr_grid_create(c->comm, c->narrowest, &c->grid));
done:
    return st;
}

static mltfr_status find_anchors(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    mltfr_anchors *an = &c->anchors;

    MLTFR_AGREE(c->comm, mltfr_anchors_find(c->llms, c->K, c->options, an));
    if (!c->pca)
        MLTFR_TRY(mltfr_anchors_hold_out(an, c->options));
    an->blocks = mltfr_blocks_of(c->comm, an->count, c->options->block_rows);
    MLTFR_AGREE(c->comm, mltfr_report_anchors(c));
done:
    return st;
}

/* `auto`: as many shared dimensions as hold on anchors that were not fitted, and fit in. */
static mltfr_status choose_shared(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    int64_t room = c->narrowest - c->r_s;

    if (c->options->shared_dim > c->dims)
        MLTFR_FAIL(MLTFR_E_USAGE,
                   "tokens.shared_dim %lld: the anchors that LLMs share with the hub span %lld "
                   "dimensions, so at most %lld are allowed",
                   (long long)c->options->shared_dim, (long long)c->dims, (long long)c->dims);
    if (c->options->shared_dim > 0)
        goto done;
    if (c->anchors.held_count == 0)
        MLTFR_FAIL(MLTFR_E_USAGE,
                   "tokens.shared_dim: auto needs anchors that are held out: "
                   "tokens.held_out is %g and there are %lld anchors",
                   c->options->held_out, (long long)c->anchors.count);
    if (c->report->auto_dim == 0)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "tokens.shared_dim: auto finds no shared dimension (held-out correlation %.2f, "
                   "above .45 is needed): set it to a number or set tokens.align: pca",
                   c->report->correlation[0]);
    c->r_c = c->report->auto_dim < room ? c->report->auto_dim : room;
done:
    return st;
}

/* E6-E8 or rotations, and C19: the shared block of each LLM. */
static mltfr_status align_anchors(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;
    bool judged = c->anchors.held_count > 0;

    for (int64_t k = 0; k < c->K; k++) {
        MLTFR_TRY(mltfr_anchor_rows(c, &c->llms[k], false, c->llms[k].D, &c->llms[k].anchor_rows));
        mltfr_llm_forget(&c->llms[k]);
    }
    end_phase(c, MLTFR_PHASE_ANCHOR);
    MLTFR_TRY(c->options->align == MLTFR_ALIGN_PROCRUSTES ? mltfr_procrustes(c) : mltfr_gcca(c));
    end_phase(c, MLTFR_PHASE_ALIGN);
    if (judged)
        MLTFR_TRY(mltfr_judge_correlation(c));
    MLTFR_TRY(choose_shared(c));
    MLTFR_TRY(mltfr_shared_maps(c));
    if (judged) {
        MLTFR_TRY(mltfr_judge_canonical(c));
        MLTFR_TRY(mltfr_judge_retrieval(c));
    }
    end_phase(c, MLTFR_PHASE_JUDGE);
    for (int64_t k = 0; k < c->K; k++) {
        mltfr_rows_destroy(&c->llms[k].anchor_rows);
        mltfr_matrix_destroy(&c->W[k]);
    }
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(mltfr_specific(c, &c->llms[k]));
done:
    return st;
}

static mltfr_status align_alone(mltfr_conditioner *c)
{
    mltfr_status st = MLTFR_OK;

    if (c->K > 1)
        mltfr_warn("tokens.align: pca with %lld LLMs: each space stands alone, their consensus has "
                   "no meaning%s",
                   (long long)c->K,
                   c->anchors.count == 0 ? " and is the first LLM's own space: no strings in common"
                                         : "");
    if (c->options->shared_dim == 0)
        MLTFR_FAIL(MLTFR_E_USAGE, "tokens.shared_dim: auto needs two LLMs and tokens.align: gcca");
    for (int64_t k = 0; k < c->K; k++)
        MLTFR_TRY(mltfr_pca(c, &c->llms[k]));
    end_phase(c, MLTFR_PHASE_ALIGN);
done:
    return st;
}

static void scale_first(mltfr_conditioner *c)
{
    for (int64_t i = 0; i < c->llms[0].Z.rows; i++)
        mltfr_rows_scale(&c->llms[0].Z, i, 10);
}

/* A finished space goes to its file before the next one is made: of all Z only one is in memory. */
mltfr_status mltfr_conditioner_finish(mltfr_conditioner *c, mltfr_spaces_writer *writer)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t k = 0; k < c->K; k++) {
        mltfr_watchdog_phase("conditioning: finish");
        MLTFR_TRY(mltfr_finish(c, &c->llms[k], &c->report->llms[k].cosine_after));
        mltfr_llm_release(&c->llms[k]);
        mltfr_llm_forget(&c->llms[k]);
        MLTFR_TRY(mltfr_consensus_add(c, k));
        if (k == 0 && c->options->control == MLTFR_CONTROL_SCALE)
            scale_first(c);
        end_phase(c, MLTFR_PHASE_FINISH);
        if (writer == NULL)
            continue;
        mltfr_watchdog_phase("conditioning: write");
        MLTFR_TRY(mltfr_conditioning_put(c, writer, k));
        mltfr_rows_destroy(&c->llms[k].Z);
        end_phase(c, MLTFR_PHASE_WRITE);
    }
    MLTFR_AGREE(c->comm, mltfr_report_spaces(c));
done:
    return st;
}

/* ---- the whole ----------------------------------------------------------------------------- */

mltfr_status mltfr_conditioner_align(mltfr_conditioner *c, mltfr_comm *comm,
                                     const mltfr_table_source tables[], int64_t K,
                                     const mltfr_conditioning_options *options,
                                     mltfr_conditioning_report *report)
{
    mltfr_status st = MLTFR_OK;

    *report = (mltfr_conditioning_report){.K = K, .p_at_1 = NAN, .hub = -1};
    *c = (mltfr_conditioner){.comm = comm,
                             .options = options,
                             .report = report,
                             .K = K,
                             .r_c = options->shared_dim,
                             .r_s = options->specific_dim,
                             .pca = K == 1 || options->align == MLTFR_ALIGN_PCA};
    report->align = mltfr_align_name(c);
    report->control = mltfr_control_name(options->control);
    MLTFR_TRY(check_widths(tables, K, options));
    begin_phase(c);
    mltfr_watchdog_phase("conditioning: read");
    MLTFR_TRY(load(c, tables));
    end_phase(c, MLTFR_PHASE_READ);
    mltfr_watchdog_phase("conditioning: anchors");
    MLTFR_TRY(find_anchors(c));
    MLTFR_TRY(mltfr_control_tables(c));
    end_phase(c, MLTFR_PHASE_ANCHOR);
    mltfr_watchdog_phase("conditioning: alignment");
    MLTFR_TRY(c->pca ? align_alone(c) : align_anchors(c));
done:
    return st;
}

void mltfr_conditioner_destroy(mltfr_conditioner *c)
{
    for (int64_t k = 0; k < MLTFR_MAX_LLMS; k++)
        mltfr_matrix_destroy(&c->W[k]);
    for (int64_t k = 0; c->llms != NULL && k < c->K; k++)
        mltfr_llm_destroy(&c->llms[k]);
    mltfr_grid_destroy(&c->grid);
    mltfr_anchors_destroy(&c->anchors);
    mltfr_rows_destroy(&c->Zc);
    MLTFR_FREE(c->llms);
    MLTFR_FREE(c->lam_R);
}

mltfr_status mltfr_condition(mltfr_comm *comm, const mltfr_table_source tables[], int64_t K,
                             const mltfr_conditioning_options *options, const char *out_path,
                             mltfr_conditioning_report *report)
{
    mltfr_conditioner c;
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_conditioner_align(&c, comm, tables, K, options, report));
    MLTFR_TRY(mltfr_conditioning_write(&c, out_path));
    end_phase(&c, MLTFR_PHASE_WRITE);
    report->memory = mltfr_report_memory(comm);
done:
    mltfr_conditioner_destroy(&c);
    return st;
}
