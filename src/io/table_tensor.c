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

mltfr_status mltfr_table_names_check(const mltfr_image *image, const char *what, mltfr_slice *names,
                                     int64_t count)
{
    char quoted[MLTFR_QUOTE_BYTES];

    qsort(names, (size_t)count, sizeof *names, by_name);
    for (int64_t i = 1; i < count; i++)
        if (by_name(&names[i - 1], &names[i]) == 0)
            return mltfr_fail(MLTFR_E_DATA, "%s: two %s are named '%s'", image->path, what,
                              mltfr_slice_quote(names[i], quoted));
    return MLTFR_OK;
}

static mltfr_status check_names(const mltfr_image *image, const mltfr_table_tensors *tensors)
{
    mltfr_status st = MLTFR_OK;
    mltfr_slice *names = NULL;

    MLTFR_TRY(MLTFR_NEW(names, tensors->count));
    for (int64_t i = 0; i < tensors->count; i++)
        names[i] = tensors->list[i].name;
    MLTFR_TRY(mltfr_table_names_check(image, "tensors", names, tensors->count));
done:
    MLTFR_FREE(names);
    return st;
}

mltfr_status mltfr_table_tensors_check(const mltfr_image *image, mltfr_table_tensors *tensors,
                                       size_t base, bool dense)
{
    mltfr_status st = MLTFR_OK;
    char quoted[MLTFR_QUOTE_BYTES];
    size_t end = base;

    MLTFR_TRY(check_names(image, tensors));
    if (tensors->count > 0)
        qsort(tensors->list, (size_t)tensors->count, sizeof *tensors->list, by_offset);
    for (int64_t i = 0; i < tensors->count; i++) {
        const mltfr_table_tensor *t = &tensors->list[i];

        if (t->offset < end || (dense && t->offset != end))
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s: tensor '%s' begins at byte %zu, but the one before ends "
                       "at %zu",
                       image->path, mltfr_slice_quote(t->name, quoted), t->offset, end);
        end = t->offset + t->bytes;
    }
    if (dense && end != image->bytes)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: the last tensor ends at byte %zu of a file of %zu",
                   image->path, end, image->bytes);
done:
    return st;
}

/* The last part of the names under which models keep the table, best known first. */
static const char *const endings[] = {"embed_tokens.weight", "wte.weight", "word_embeddings.weight",
                                      "token_embd.weight", "embeddings.weight"};

static bool ends_with(mltfr_slice text, const char *ending)
{
    size_t n = strlen(ending);

    return text.bytes >= n && memcmp(text.data + text.bytes - n, ending, n) == 0;
}

/* How many two-dimensional tensors fit; *out is the last.  NULL and 0 stand for any. */
static int64_t find(const mltfr_table_tensors *tensors, const char *ending, int64_t rows,
                    const mltfr_table_tensor **out)
{
    int64_t found = 0;

    for (int64_t i = 0; i < tensors->count; i++) {
        const mltfr_table_tensor *t = &tensors->list[i];

        if (t->ndim != 2 || (ending != NULL && !ends_with(t->name, ending)) ||
            (rows != 0 && t->dims[0] != rows))
            continue;
        *out = t;
        found++;
    }
    return found;
}

/* By the rule; NULL if no tensor or several fit. */
static const mltfr_table_tensor *by_rule(const mltfr_table_tensors *tensors, int64_t strings)
{
    const mltfr_table_tensor *t = NULL;

    if (tensors->count == 1)
        return &tensors->list[0];
    for (size_t e = 0; e < sizeof endings / sizeof *endings; e++) {
        int64_t found = find(tensors, endings[e], 0, &t);

        if (found > 1)
            found = strings == 0 ? 0 : find(tensors, endings[e], strings, &t);
        if (found == 1)
            return t;
    }
    return strings > 0 && find(tensors, NULL, strings, &t) == 1 ? t : NULL;
}

/* `'a' [3x4], 'b' [5x6], ...`: the two-dimensional tensors, as many as fit. */
static void list_candidates(const mltfr_table_tensors *tensors, char *out, size_t bytes)
{
    char quoted[MLTFR_QUOTE_BYTES];
    size_t used = 0;

    snprintf(out, bytes, "none");
    for (int64_t i = 0; i < tensors->count; i++) {
        const mltfr_table_tensor *t = &tensors->list[i];

        if (t->ndim != 2)
            continue;
        if (used + MLTFR_QUOTE_BYTES + 64 > bytes) {
            snprintf(out + used, bytes - used, ", ...");
            return;
        }
        used += (size_t)snprintf(out + used, bytes - used, "%s'%s' [%lldx%lld]",
                                 used > 0 ? ", " : "", mltfr_slice_quote(t->name, quoted),
                                 (long long)t->dims[0], (long long)t->dims[1]);
    }
}

static const mltfr_table_tensor *by_exact_name(const mltfr_table_tensors *tensors, const char *name)
{
    for (int64_t i = 0; i < tensors->count; i++)
        if (mltfr_slice_is(tensors->list[i].name, name))
            return &tensors->list[i];
    return NULL;
}

static mltfr_status check_choice(const mltfr_image *image, const mltfr_table_tensor *t)
{
    mltfr_status st = MLTFR_OK;
    char quoted[MLTFR_QUOTE_BYTES];

    mltfr_slice_quote(t->name, quoted);
    if (t->ndim != 2)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: tensor '%s' has %d dimensions; a table has 2", image->path,
                   quoted, t->ndim);
    if (t->dims[0] == 0 || t->dims[1] == 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: tensor '%s' is empty (%lldx%lld)", image->path, quoted,
                   (long long)t->dims[0], (long long)t->dims[1]);
    if (t->kind->decode == NULL)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: tensor '%s' is stored as %s; allowed: F32 F16 BF16 F64 Q4_0 "
                   "Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K",
                   image->path, quoted, t->kind->name);
done:
    return st;
}

mltfr_status mltfr_table_tensors_pick(const mltfr_image *image, const mltfr_table_tensors *tensors,
                                      const char *wanted, int64_t strings,
                                      const mltfr_table_tensor **out)
{
    mltfr_status st = MLTFR_OK;
    char candidates[512];

    *out = NULL;
    const mltfr_table_tensor *t =
        wanted != NULL ? by_exact_name(tensors, wanted) : by_rule(tensors, strings);
    if (t == NULL) {
        list_candidates(tensors, candidates, sizeof candidates);
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %s%s%s; its two-dimensional tensors: %s", image->path,
                   wanted != NULL ? "no tensor is named '"
                                  : "it is not clear which tensor is the "
                                    "token table",
                   wanted != NULL ? wanted : "", wanted != NULL ? "'" : "", candidates);
    }
    MLTFR_TRY(check_choice(image, t));
    *out = t;
done:
    return st;
}
