/* The report of conditioning as JSON, for scripts and the HTML page. */
#include <mltfr/conditioning.h>

#include "app_impl.h"

#include <cjson/cJSON.h>

/* Missing numbers (NaN) become null. */
static void add_numbers(cJSON *to, const char *name, const double *x, int64_t n)
{
    if (x != NULL)
        cJSON_AddItemToObject(to, name, cJSON_CreateDoubleArray(x, (int)n));
    else
        cJSON_AddNullToObject(to, name);
}

static void add_llm(cJSON *list, const mltfr_llm_report *l)
{
    cJSON *llm = cJSON_CreateObject(), *dropped;

    cJSON_AddItemToArray(list, llm);
    cJSON_AddStringToObject(llm, "name", l->name);
    cJSON_AddNumberToObject(llm, "rows", (double)l->rows);
    cJSON_AddNumberToObject(llm, "width", (double)l->width);
    cJSON_AddNumberToObject(llm, "kept", (double)l->kept);
    dropped = cJSON_AddObjectToObject(llm, "dropped");
    cJSON_AddNumberToObject(dropped, "special", (double)l->special);
    cJSON_AddNumberToObject(dropped, "byte_or_unused", (double)l->odd);
    cJSON_AddNumberToObject(dropped, "low_norm", (double)l->low);
    cJSON_AddNumberToObject(llm, "anchors", (double)l->anchors);
    cJSON_AddNumberToObject(llm, "mean_cosine", l->cosine);
    cJSON_AddNumberToObject(llm, "mean_cosine_conditioned", l->cosine_after);
    add_numbers(llm, "spectrum", l->spectrum, l->width);
}

static void add_pair(cJSON *list, const mltfr_conditioning_report *r, const mltfr_pair_report *p)
{
    cJSON *pair = cJSON_CreateObject();

    cJSON_AddItemToArray(list, pair);
    cJSON_AddStringToObject(pair, "a", r->llms[p->j].name);
    cJSON_AddStringToObject(pair, "b", r->llms[p->l].name);
    cJSON_AddNumberToObject(pair, "anchors", (double)p->anchors);
    cJSON_AddNumberToObject(pair, "held_out", (double)p->held_out);
    cJSON_AddNumberToObject(pair, "p_at_1", (p->p_at_1[0] + p->p_at_1[1]) / 2);
    cJSON_AddNumberToObject(pair, "p_at_1_a_to_b", p->p_at_1[0]);
    cJSON_AddNumberToObject(pair, "p_at_1_b_to_a", p->p_at_1[1]);
    add_numbers(pair, "correlation", p->correlation, r->dims);
    add_numbers(pair, "canonical", p->canonical, r->r_c);
}

static void add_alignment(cJSON *all, const mltfr_conditioning_report *r)
{
    cJSON *pairs;

    cJSON_AddNumberToObject(all, "anchors", (double)r->anchors);
    cJSON_AddNumberToObject(all, "fitted", (double)r->fitted);
    cJSON_AddNumberToObject(all, "held_out", (double)r->held_out);
    if (r->hub >= 0)
        cJSON_AddStringToObject(all, "hub", r->llms[r->hub].name);
    pairs = cJSON_AddArrayToObject(all, "pairs");
    for (int64_t i = 0; i < r->pair_count; i++)
        add_pair(pairs, r, &r->pairs[i]);
    add_numbers(all, "correlation", r->correlation, r->dims);
    cJSON_AddNumberToObject(all, "auto_dim", (double)r->auto_dim);
    cJSON_AddNumberToObject(all, "p_at_1", r->p_at_1);
}

static void add_costs(cJSON *all, const mltfr_conditioning_report *r, int ranks)
{
    cJSON *seconds = cJSON_AddObjectToObject(all, "seconds");
    cJSON *operations = cJSON_AddObjectToObject(all, "operations");

    for (int i = 0; i < MLTFR_PHASES; i++) {
        cJSON_AddNumberToObject(seconds, mltfr_conditioning_phase_name(i), r->seconds[i]);
        cJSON_AddNumberToObject(operations, mltfr_conditioning_phase_name(i), r->operations[i]);
    }
    cJSON_AddNumberToObject(all, "memory_bytes_a_rank", (double)r->memory);
    cJSON_AddNumberToObject(all, "ranks", ranks);
}

/* @local */
static mltfr_status print(cJSON *all, mltfr_text *out)
{
    char *text = cJSON_Print(all);

    if (text == NULL)
        return mltfr_fail(MLTFR_E_NOMEM, "out of memory for the report of the token spaces");
    mltfr_text_add(out, "%s\n", text);
    cJSON_free(text);
    return out->st;
}

mltfr_status app_report_spaces(mltfr_comm *comm, const mltfr_conditioning_report *r,
                               const char *path)
{
    mltfr_status st = MLTFR_OK;
    cJSON *all = cJSON_CreateObject(), *llms = cJSON_AddArrayToObject(all, "llms");
    mltfr_text text = {0};

    cJSON_AddStringToObject(all, "program", "mltfr_dist " MLTFR_VERSION);
    cJSON_AddStringToObject(all, "align", r->align);
    cJSON_AddStringToObject(all, "control", r->control);
    cJSON_AddNumberToObject(all, "shared_dim", (double)r->r_c);
    cJSON_AddNumberToObject(all, "specific_dim", (double)r->r_s);
    for (int64_t k = 0; k < r->K; k++)
        add_llm(llms, &r->llms[k]);
    add_alignment(all, r);
    add_costs(all, r, mltfr_comm_size(comm));
    MLTFR_AGREE(comm, print(all, &text));
    MLTFR_TRY(app_write(comm, path, &text));
done:
    cJSON_Delete(all);
    mltfr_text_destroy(&text);
    return st;
}
