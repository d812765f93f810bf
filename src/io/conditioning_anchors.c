/* E6: tokens of several LLMs with one surface form (C16).  In a vocabulary that marks where a word
 * starts, a token without the mark goes on with a word, as WordPiece's ##x does; whole_words leaves
 * those out (docs/results: held-out retrieval .935 with them, .959 without).  Every rank goes
 * through all strings: it is a sort of a few hundred thousand words, and all need the result.  Held
 * out is a matter of the form's hash alone, whatever else there is. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/text.h>

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

size_t mltfr_mark_bytes(const char *s, size_t n)
{
    if (n >= 2 && memcmp(s, "\xc4\xa0", 2) == 0)
        return 2;
    if (n >= 3 && memcmp(s, "\xe2\x96\x81", 3) == 0)
        return 3;
    return n >= 1 && s[0] == ' ';
}

/** The anchor form of a token's string into form [bytes]; its length, 0 if it has none. */
size_t mltfr_anchor_form(const char *s, size_t bytes, char *form)
{
    size_t mark = mltfr_mark_bytes(s, bytes), n = bytes - mark;

    for (size_t i = 0; i < n; i++) {
        char ch = s[mark + i];
        if (ch >= 'A' && ch <= 'Z')
            ch = (char)(ch - 'A' + 'a');
        else if (ch < 'a' || ch > 'z')
            return 0;
        form[i] = ch;
    }
    return n >= 2 ? n : 0;
}

/* ---- collecting ---------------------------------------------------------------------------- */

typedef struct {
    size_t at, bytes; /* of the form */
    int64_t k, id;
} entry;

static int compare_forms(const entry *x, const entry *y, const char *forms)
{
    size_t n = x->bytes < y->bytes ? x->bytes : y->bytes;
    int order = memcmp(forms + x->at, forms + y->at, n);

    return order != 0 ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_form(const void *a, const void *b, void *forms)
{
    const entry *x = a, *y = b;
    int order = compare_forms(x, y, forms);

    if (order == 0)
        order = (x->k > y->k) - (x->k < y->k);
    return order != 0 ? order : (x->id > y->id) - (x->id < y->id);
}

/* The longest string there is. */
static size_t longest(const mltfr_llm llms[], int64_t K)
{
    size_t most = 0, bytes;

    for (int64_t k = 0; k < K; k++)
        for (int64_t i = 0; llms[k].source.string != NULL && i < llms[k].count; i++) {
            llms[k].source.string(llms[k].source.context, llms[k].kept[i], &bytes);
            most = bytes > most ? bytes : most;
        }
    return most;
}

/* Does this vocabulary mark where words start?  A few marked tokens by accident do not count. */
static bool marks_words(const mltfr_llm *llm)
{
    int64_t marked = 0;
    size_t bytes;

    for (int64_t i = 0; llm->source.string != NULL && i < llm->count; i++) {
        const char *s = llm->source.string(llm->source.context, llm->kept[i], &bytes);
        marked += mltfr_mark_bytes(s, bytes) > 1;
    }
    return marked > llm->count / 10;
}

/* Every kept token with a form; the forms one after the other in `forms`. */
static mltfr_status collect(const mltfr_llm llms[], int64_t K, bool whole_words, mltfr_text *forms,
                            entry *list, int64_t *count)
{
    mltfr_status st = MLTFR_OK;
    char *form = NULL;
    size_t bytes, n;

    MLTFR_TRY(MLTFR_NEW(form, longest(llms, K) + 1));
    *count = 0;
    for (int64_t k = 0; k < K; k++) {
        const mltfr_table_source *t = &llms[k].source;
        const bool needs_mark = whole_words && marks_words(&llms[k]);
        for (int64_t i = 0; t->string != NULL && i < llms[k].count; i++) {
            const char *s = t->string(t->context, llms[k].kept[i], &bytes);
            n = mltfr_anchor_form(s, bytes, form);
            if (n == 0 || (needs_mark && mltfr_mark_bytes(s, bytes) == 0))
                continue;
            list[(*count)++] = (entry){forms->size, n, k, llms[k].kept[i]};
            mltfr_text_add_bytes(forms, form, n);
        }
    }
    st = forms->st;
done:
    MLTFR_FREE(form);
    return st;
}

/* ---- choosing ------------------------------------------------------------------------------ */

/* End of the run of entries with the form of entry i, and how many LLMs are in it. */
static int64_t run_end(const entry *list, int64_t count, int64_t i, const char *forms,
                       int64_t *llms)
{
    int64_t j = i + 1;

    *llms = 1;
    for (; j < count && compare_forms(&list[i], &list[j], forms) == 0; j++)
        *llms += list[j].k != list[j - 1].k;
    return j;
}

/* A run as an anchor; its entries are sorted by LLM and id. */
static void take_run(mltfr_anchors *a, const entry *list, int64_t first, int64_t end,
                     const char *forms, bool merge)
{
    int64_t *ids = a->ids + a->count * a->K, *begins = a->begins + a->count * a->K;
    int64_t at = a->offsets[a->count], i = first;

    for (int64_t k = 0; k < a->K; k++) {
        begins[k + 1] = begins[k];
        ids[k] = i < end && list[i].k == k ? list[i].id : -1;
        for (; i < end && list[i].k == k; i++)
            if (merge || list[i].id == ids[k])
                a->tokens[begins[k + 1]++] = list[i].id;
    }
    memcpy(a->bytes + at, forms + list[first].at, list[first].bytes);
    a->offsets[++a->count] = at + (int64_t)list[first].bytes;
}

static mltfr_status choose(mltfr_anchors *a, const entry *list, int64_t count,
                           const mltfr_text *forms, bool merge)
{
    mltfr_status st = MLTFR_OK;
    int64_t llms, found = 0;

    for (int64_t i = 0; i < count;) {
        i = run_end(list, count, i, forms->data, &llms);
        found += llms >= 2;
    }
    MLTFR_TRY(MLTFR_NEW(a->bytes, forms->size));
    MLTFR_TRY(MLTFR_NEW(a->offsets, found + 1));
    MLTFR_TRY(MLTFR_NEW(a->ids, found * a->K));
    MLTFR_TRY(MLTFR_NEW(a->begins, found * a->K + 1));
    MLTFR_TRY(MLTFR_NEW(a->tokens, merge ? count : found * a->K));
    MLTFR_TRY(MLTFR_NEW(a->held, found));
    for (int64_t i = 0, end; i < count; i = end) {
        end = run_end(list, count, i, forms->data, &llms);
        if (llms >= 2)
            take_run(a, list, i, end, forms->data, merge);
    }
done:
    return st;
}

mltfr_status mltfr_anchors_find(const mltfr_llm llms[], int64_t K,
                                const mltfr_conditioning_options *options, mltfr_anchors *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_text forms = {0};
    entry *list = NULL;
    int64_t room = 0, count = 0;

    *out = (mltfr_anchors){.K = K};
    for (int64_t k = 0; k < K; k++)
        room += llms[k].count;
    MLTFR_TRY(MLTFR_NEW(list, room));
    MLTFR_TRY(collect(llms, K, options->whole_words, &forms, list, &count));
    qsort_r(list, (size_t)count, sizeof *list, by_form, forms.data);
    MLTFR_TRY(choose(out, list, count, &forms, options->merge_case));
done:
    mltfr_text_destroy(&forms);
    MLTFR_FREE(list);
    return st;
}

/* ---- held out ------------------------------------------------------------------------------ */

mltfr_status mltfr_anchors_hold_out(mltfr_anchors *a, const mltfr_conditioning_options *options)
{
    uint64_t key = mltfr_rng_key(options->seed, MLTFR_RNG_HELD_OUT, 0);

    if (options->held_mask != NULL && options->held_count != a->count)
        return mltfr_fail(MLTFR_E_DATA,
                          "%lld anchors are marked as held out or not, there are %lld",
                          (long long)options->held_count, (long long)a->count);
    for (int64_t i = 0; i < a->count; i++) {
        uint64_t hash = XXH3_64bits_withSeed(a->bytes + a->offsets[i],
                                             (size_t)(a->offsets[i + 1] - a->offsets[i]), key);
        a->held[i] = options->held_mask != NULL
                         ? options->held_mask[i] != 0
                         : (double)(hash >> 11) * 0x1p-53 < options->held_out;
        a->held_count += a->held[i];
    }
    return MLTFR_OK;
}

bool mltfr_anchor_in(const mltfr_anchors *a, int64_t i, int64_t k, bool held)
{
    return a->ids[i * a->K + k] >= 0 && a->held[i] == held;
}

void mltfr_anchors_destroy(mltfr_anchors *a)
{
    MLTFR_FREE(a->bytes);
    MLTFR_FREE(a->offsets);
    MLTFR_FREE(a->ids);
    MLTFR_FREE(a->begins);
    MLTFR_FREE(a->tokens);
    MLTFR_FREE(a->held);
    a->count = 0;
}
