/* Reading a table and E5: special, byte-fallback and unused tokens go, then the share of the rest
 * of lowest norm (C15).  Each rank reads the rows of its own blocks; strings are read by all. */
#include "conditioning_impl.h"

#include <mltfr/mem.h>
#include <mltfr/progress.h>

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- strings ------------------------------------------------------------------------------- */

/* <0xHH> */
static bool is_byte(const char *s, size_t n)
{
    return n == 6 && memcmp(s, "<0x", 3) == 0 && isxdigit((unsigned char)s[3]) &&
           isxdigit((unsigned char)s[4]) && s[5] == '>';
}

/* [unusedN], <unusedN>, <unused_N> */
static bool is_unused(const char *s, size_t n)
{
    size_t at = 7, digits;

    if (n < 9 || (s[0] != '[' && s[0] != '<') || memcmp(s + 1, "unused", 6) != 0)
        return false;
    at += s[at] == '_';
    for (digits = 0; at < n && s[at] >= '0' && s[at] <= '9'; at++)
        digits++;
    return digits > 0 && at == n - 1 && (s[at] == ']' || s[at] == '>');
}

bool mltfr_token_is_odd(const char *s, size_t bytes)
{
    return is_byte(s, bytes) || is_unused(s, bytes);
}

/* ---- reading ------------------------------------------------------------------------------- */

mltfr_status mltfr_llm_load(mltfr_conditioner *c, mltfr_llm *llm)
{
    llm->V = llm->source.rows;
    llm->D = llm->source.width;
    llm->tokens = mltfr_blocks_of(c->comm, llm->V, c->options->block_rows);
    llm->page_block = -1;
    return mltfr_comm_agree(
        c->comm, mltfr_rows_create(&llm->page, llm->tokens.size, llm->D, llm->source.wide));
}

/* ---- norms --------------------------------------------------------------------------------- */

/* All own rows are looked at here. */
static mltfr_status own_norms(mltfr_llm *llm, double *norm)
{
    const mltfr_blocks *b = &llm->tokens;
    mltfr_task task = mltfr_task_begin(llm->source.name, "blocks", b->last - b->first);

    for (int64_t block = b->first; block < b->last; block++) {
        mltfr_task_show(&task, block - b->first);
        int64_t first, end = mltfr_blocks_begin(b, block + 1);
        const mltfr_rows *rows = mltfr_llm_block(llm, block, &first);
        for (int64_t id = first; id < end; id++) {
            norm[id - b->begin] = mltfr_rows_norm(rows, id - first);
            if (llm->st == MLTFR_OK && !isfinite(norm[id - b->begin]))
                llm->st = mltfr_fail(MLTFR_E_DATA,
                                     "token table %s: row %lld has values that are not finite",
                                     llm->source.name, (long long)id);
        }
    }
    return llm->st;
}

/* Norms of all V rows on every rank. */
static mltfr_status all_norms(mltfr_conditioner *c, mltfr_llm *llm, double *all)
{
    mltfr_status st = MLTFR_OK;
    int size = mltfr_comm_size(c->comm);
    int64_t bytes[size];
    double *mine = NULL;

    for (int p = 0; p < size; p++)
        bytes[p] = (mltfr_blocks_rank(&llm->tokens, c->comm, p + 1) -
                    mltfr_blocks_rank(&llm->tokens, c->comm, p)) *
                   (int64_t)sizeof *mine;
    MLTFR_AGREE(c->comm, MLTFR_NEW(mine, llm->tokens.end - llm->tokens.begin));
    MLTFR_AGREE(c->comm, own_norms(llm, mine));
    mltfr_comm_allgatherv(c->comm, mine, bytes, all);
done:
    MLTFR_FREE(mine);
    return st;
}

/* ---- E5 ------------------------------------------------------------------------------------ */

typedef struct {
    double norm;
    int64_t id;
} candidate;

static int by_norm(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->norm != y->norm)
        return x->norm < y->norm ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The tokens that their strings do not rule out, with their norms. */
static int64_t candidates(const mltfr_llm *llm, const double *norm, candidate *out,
                          mltfr_llm_report *report)
{
    const mltfr_table_source *t = &llm->source;
    int64_t n = 0;

    for (int64_t i = 0; i < llm->V; i++) {
        size_t bytes = 0;
        const char *s = t->string != NULL ? t->string(t->context, i, &bytes) : "";
        if (t->special != NULL && t->special(t->context, i))
            report->special++;
        else if (mltfr_token_is_odd(s, bytes))
            report->odd++;
        else
            out[n++] = (candidate){norm[i], i};
    }
    return n;
}

static int by_id(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Ids of the kept rows, ascending, and how many lie before each block. */
static mltfr_status keep(mltfr_llm *llm, const candidate *rows, int64_t n)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_blocks *b = &llm->tokens;

    llm->count = n;
    MLTFR_TRY(MLTFR_NEW(llm->kept, n));
    MLTFR_TRY(MLTFR_NEW(llm->kept_before, b->blocks + 1));
    for (int64_t i = 0; i < n; i++) {
        llm->kept[i] = rows[i].id;
        llm->kept_before[rows[i].id / b->size + 1]++;
    }
    for (int64_t i = 0; i < b->blocks; i++)
        llm->kept_before[i + 1] += llm->kept_before[i];
    llm->first_kept = llm->kept_before[b->first];
done:
    return st;
}

static mltfr_status choose(mltfr_conditioner *c, mltfr_llm *llm, const double *norm,
                           mltfr_llm_report *report)
{
    mltfr_status st = MLTFR_OK;
    candidate *rows = NULL;

    MLTFR_TRY(MLTFR_NEW(rows, llm->V));
    int64_t n = candidates(llm, norm, rows, report);
    report->low = (int64_t)(c->options->drop * (double)n);
    report->kept = n - report->low;
    if (report->kept < 2)
        MLTFR_FAIL(MLTFR_E_DATA, "token table %s: %lld of %lld rows are left, 2 are needed",
                   llm->source.name, (long long)report->kept, (long long)llm->V);
    qsort(rows, (size_t)n, sizeof *rows, by_norm);
    qsort(rows + report->low, (size_t)report->kept, sizeof *rows, by_id);
    MLTFR_TRY(keep(llm, rows + report->low, report->kept));
done:
    MLTFR_FREE(rows);
    return st;
}

mltfr_status mltfr_llm_clean(mltfr_conditioner *c, mltfr_llm *llm, mltfr_llm_report *report)
{
    mltfr_status st = MLTFR_OK;
    double *norm = NULL;

    MLTFR_AGREE(c->comm, MLTFR_NEW(norm, llm->V));
    MLTFR_TRY(all_norms(c, llm, norm));
    MLTFR_AGREE(c->comm, choose(c, llm, norm, report));
done:
    MLTFR_FREE(norm);
    return st;
}
