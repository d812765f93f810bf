/* The tensors of a file: sizes from shapes, checks of the layout, and the choice of the table.
 * Whatever is multiplied or added here comes from a file, so it is checked for overflow first. */
#include "table_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mltfr_table_tensor_measure(mltfr_table_tensor *tensor)
{
    int64_t count = 1, bytes;
    int64_t run = tensor->ndim > 0 ? tensor->dims[tensor->ndim - 1] : 1;

    for (int i = 0; i < tensor->ndim; i++)
        if (__builtin_mul_overflow(count, tensor->dims[i], &count))
            return "the number of its elements overflows";
    if (run % tensor->kind->block != 0)
        return "its rows are no whole number of blocks of its type";
    if (__builtin_mul_overflow(count / tensor->kind->block, tensor->kind->bytes, &bytes))
        return "its size in bytes overflows";
    tensor->bytes = (size_t)bytes;
    return NULL;
}

static int by_name(const void *pa, const void *pb)
{
    const mltfr_slice *a = pa, *b = pb;
    size_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    int order = memcmp(a->data, b->data, common);

    return order != 0 ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int by_offset(const void *pa, const void *pb)
{
    const mltfr_table_tensor *a = pa, *b = pb;

    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? -1 : 1;
    return by_name(&a->name, &b->name);
}

mltfr_status mltfr_table_names_check(const char *path, const char *what, mltfr_slice *names,
                                     int64_t count)
{
    char quoted[MLTFR_QUOTE_BYTES];

    qsort(names, (size_t)count, sizeof *names, by_name);
    for (int64_t i = 1; i < count; i++)
        if (by_name(&names[i - 1], &names[i]) == 0)
            return mltfr_fail(MLTFR_E_DATA, "%s: two %s are named '%s'", path, what,
                              mltfr_slice_quote(names[i], quoted));
    return MLTFR_OK;
}

static mltfr_status check_names(const mltfr_table_file *f)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice *names = NULL;

    MLTFR_TRY(MLTFR_NEW(names, f->tensor_count));
    for (int64_t i = 0; i < f->tensor_count; i++)
        names[i] = f->tensors[i].name;
    MLTFR_TRY(mltfr_table_names_check(f->image.path, "tensors", names, f->tensor_count));
done:
    MLTFR_FREE(names);
    return st;
}

mltfr_status mltfr_table_tensors_check(mltfr_table_file *f, size_t base, bool dense)
{
    mltfr_status st = MLTFR_OK;
    char quoted[MLTFR_QUOTE_BYTES];
    size_t end = base;

    MLTFR_TRY(check_names(f));
    if (f->tensor_count > 0)
        qsort(f->tensors, (size_t)f->tensor_count, sizeof *f->tensors, by_offset);
    for (int64_t i = 0; i < f->tensor_count; i++) {
        const mltfr_table_tensor *t = &f->tensors[i];

        if (t->offset < end || (dense && t->offset != end))
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s: tensor '%s' begins at byte %zu, but the one before ends at %zu",
                       f->image.path, mltfr_slice_quote(t->name, quoted), t->offset, end);
        end = t->offset + t->bytes;
    }
    if (dense && end != f->image.bytes)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: the last tensor ends at byte %zu of a file of %zu",
                   f->image.path, end, f->image.bytes);
done:
    return st;
}

/* ---- which tensor is the table */

bool mltfr_table_rows_fit(int64_t rows, int64_t strings)
{
    int64_t most = strings / 16 > 255 ? strings / 16 : 255, surplus = rows - strings;

    return surplus >= 0 && surplus <= most && surplus < strings;
}

/* The last part of the names under which models keep the table, best known first. */
static const char *const endings[] = {
    "token_embd.weight",      "embed_tokens.weight",   "wte.weight",
    "word_embeddings.weight", "tok_embeddings.weight", "embed_in.weight",
    "shared.weight",          "embeddings.weight",     "embedding.weight"};

/* The ending is the name, or follows a dot in it. */
static bool ends_with(mltfr_slice text, const char *ending)
{
    size_t n = strlen(ending);

    return text.bytes >= n && memcmp(text.data + text.bytes - n, ending, n) == 0 &&
           (text.bytes == n || text.data[text.bytes - n - 1] == '.');
}

/* How many two-dimensional tensors have this ending, if it is not NULL, and rows that fit the
 * strings, if these are not 0; *out is the last. */
static int64_t find(const mltfr_table *t, const char *ending, int64_t strings,
                    const mltfr_table_tensor **out)
{
    int64_t found = 0;

    for (int64_t i = 0; i < t->tensor_count; i++) {
        const mltfr_table_tensor *tensor = t->tensors[i];

        if (tensor->ndim != 2 || (ending != NULL && !ends_with(tensor->name, ending)) ||
            (strings != 0 && !mltfr_table_rows_fit(tensor->dims[0], strings)))
            continue;
        *out = tensor;
        found++;
    }
    return found;
}

/* By the rule; NULL if no tensor or several fit.  Where no rows fit the strings, one is found
 * nevertheless, so that the message can say how they differ. */
static const mltfr_table_tensor *by_rule(const mltfr_table *t)
{
    const mltfr_table_tensor *tensor = NULL;
    int64_t strings = find(t, NULL, t->vocab.count, &tensor) > 0 ? t->vocab.count : 0;

    if (t->tensor_count == 1)
        return t->tensors[0];
    for (size_t e = 0; e < sizeof endings / sizeof *endings; e++)
        if (find(t, endings[e], strings, &tensor) == 1)
            return tensor;
    return find(t, NULL, strings, &tensor) == 1 ? tensor : NULL;
}

/* `'a' [3x4], 'b' [5x6], ...`: the two-dimensional tensors, as many as fit. */
static void list_candidates(const mltfr_table *t, char *out, size_t bytes)
{
    char quoted[MLTFR_QUOTE_BYTES];
    size_t used = 0;

    snprintf(out, bytes, "none");
    for (int64_t i = 0; i < t->tensor_count; i++) {
        const mltfr_table_tensor *tensor = t->tensors[i];

        if (tensor->ndim != 2)
            continue;
        if (used + MLTFR_QUOTE_BYTES + 64 > bytes) {
            snprintf(out + used, bytes - used, ", ...");
            return;
        }
        used += (size_t)snprintf(out + used, bytes - used, "%s'%s' [%lldx%lld]",
                                 used > 0 ? ", " : "", mltfr_slice_quote(tensor->name, quoted),
                                 (long long)tensor->dims[0], (long long)tensor->dims[1]);
    }
}

static const mltfr_table_tensor *by_exact_name(const mltfr_table *t, const char *name)
{
    for (int64_t i = 0; i < t->tensor_count; i++)
        if (mltfr_slice_is(t->tensors[i]->name, name))
            return t->tensors[i];
    return NULL;
}

static mltfr_status check_choice(const mltfr_table_tensor *t)
{
    mltfr_status st = MLTFR_OK;
    const char *path = t->image->path;
    char quoted[MLTFR_QUOTE_BYTES];

    mltfr_slice_quote(t->name, quoted);
    if (t->ndim != 2)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: tensor '%s' has %d dimensions; a table has 2", path, quoted,
                   t->ndim);
    if (t->dims[0] == 0 || t->dims[1] == 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: tensor '%s' is empty (%lldx%lld)", path, quoted,
                   (long long)t->dims[0], (long long)t->dims[1]);
    if (t->kind->decode == NULL)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: tensor '%s' is stored as %s; allowed: F32 F16 BF16 F64 Q4_0 "
                   "Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K",
                   path, quoted, t->kind->name);
done:
    return st;
}

mltfr_status mltfr_table_pick(const mltfr_table *t, const char *wanted,
                              const mltfr_table_tensor **out)
{
    mltfr_status st = MLTFR_OK;
    char candidates[512], quoted[MLTFR_QUOTE_BYTES];
    const char *path = t->files[0].image.path;

    *out = wanted != NULL ? by_exact_name(t, wanted) : by_rule(t);
    if (*out == NULL)
        list_candidates(t, candidates, sizeof candidates);
    if (*out == NULL && wanted != NULL)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: no tensor is named '%s'; its two-dimensional tensors: %s",
                   path, mltfr_slice_quote((mltfr_slice){wanted, strlen(wanted)}, quoted),
                   candidates);
    if (*out == NULL)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: it is not clear which tensor is the token table; its two-dimensional "
                   "tensors: %s",
                   path, candidates);
    MLTFR_TRY(check_choice(*out));
done:
    return st;
}
