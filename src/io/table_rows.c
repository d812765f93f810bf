/* The rows of a table as float32, and the hash of the bytes they are made of. */
#include "table_impl.h"

#include <mltfr/kernel.h>
#include <mltfr/watchdog.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

enum { CHUNK = 16 << 20 }; /* bytes hashed at a time */

/* Are all exponents below that of Inf and NaN?  Integer arithmetic: it vectorises. */
MLTFR_KERNEL static bool all_finite(const float *x, int64_t n)
{
    uint32_t bad = 0;

    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &x[i], sizeof bits);
        bad |= (bits & UINT32_C(0x7f800000)) == UINT32_C(0x7f800000);
    }
    return bad == 0;
}

static mltfr_status not_finite(const mltfr_table *table, int64_t row, const float *x)
{
    char quoted[MLTFR_QUOTE_BYTES];
    int64_t column = 0;

    while (isfinite(x[column]))
        column++;
    return mltfr_fail(MLTFR_E_DATA,
                      "%s: tensor '%s': row %" PRId64 ", column %" PRId64
                      " is %s; allowed: finite float32 values",
                      table->tensor->image->path, mltfr_slice_quote(table->tensor->name, quoted),
                      row, column, isnan(x[column]) ? "NaN" : "infinite");
}

mltfr_status mltfr_table_read(const mltfr_table *table, int64_t first, int64_t rows, float *out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_table_tensor *t = table->tensor;
    int64_t V = t->dims[0], D = t->dims[1], blocks = D / t->kind->block;
    size_t stride = (size_t)blocks * (size_t)t->kind->bytes;

    if (first < 0 || rows < 0 || first > V || rows > V - first)
        MLTFR_FAIL(MLTFR_E_INTERNAL, "%s: rows %" PRId64 " to %" PRId64 " of a table of %" PRId64,
                   t->image->path, first, first + rows - 1, V);
    for (int64_t row = first; row < first + rows; row++, out += D) {
        size_t at = t->offset + (size_t)row * stride;

        t->kind->decode(mltfr_image_view(t->image, at, stride, table->seam), blocks, out);
        if (!all_finite(out, D))
            MLTFR_TRY(not_finite(table, row, out));
    }
done:
    return st;
}

void mltfr_table_forget(const mltfr_table *table)
{
    const mltfr_table_tensor *t = table->tensor;

    mltfr_image_forget(t->image, t->offset, t->bytes);
}

mltfr_status mltfr_table_tensor_hash(const mltfr_table_tensor *tensor, uint64_t *out)
{
    XXH64_state_t *state = XXH64_createState();
    size_t at = tensor->offset, end = at + tensor->bytes, n;

    if (state == NULL)
        return mltfr_fail(MLTFR_E_NOMEM, "%s: out of memory for a hash", tensor->image->path);
    XXH64_reset(state, 0);
    for (; at < end; at += n) {
        const uint8_t *here = mltfr_image_span(tensor->image, at, &n);

        n = n < end - at ? n : end - at;
        n = n < CHUNK ? n : CHUNK;
        mltfr_watchdog_go_on();
        XXH64_update(state, here, n);
        mltfr_image_forget(tensor->image, at, n);
    }
    *out = XXH64_digest(state);
    XXH64_freeState(state);
    return MLTFR_OK;
}

uint64_t mltfr_table_digest(mltfr_table *table)
{
    if (!table->digested)
        table->digested = mltfr_table_tensor_hash(table->tensor, &table->digest) == MLTFR_OK;
    return table->digest;
}
