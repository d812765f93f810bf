/* One input of a fuzzer as a file of a token table: it is opened and, where that works, read whole.
 * A failure must come with a text of one line; what is allocated is at most the size of the largest
 * input so far plus 16 MiB.  Built and run by tests/fuzz/run.sh. */
#ifndef FUZZ_TABLE_H
#define FUZZ_TABLE_H

#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/table.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* An expectation that does not hold ends the program: the fuzzer keeps the input. */
static inline void expect(int truth)
{
    if (!truth)
        abort();
}

static inline void fuzz_begin(void)
{
    mltfr_log_setup(1, true); /* notes are not printed */
    mltfr_error_text[0] = '\0';
}

/* What must hold after each input, whether it was taken or not. */
static inline void fuzz_end(mltfr_status st, size_t bytes)
{
    static size_t largest;

    if (st != MLTFR_OK)
        expect(mltfr_error_text[0] != '\0' && strchr(mltfr_error_text, '\n') == NULL);
    expect(mltfr_mem_now() == 0);
    largest = bytes > largest ? bytes : largest;
    expect(mltfr_mem_peak() <= largest + (16 << 20));
}

static inline size_t fuzz_sum(const char *s, size_t bytes)
{
    size_t total = 0;

    for (size_t i = 0; i < bytes; i++)
        total += (unsigned char)s[i];
    return total;
}

static inline void fuzz_read(mltfr_table *t)
{
    int64_t rows = mltfr_table_rows(t);
    float *row = malloc((size_t)mltfr_table_width(t) * sizeof *row);
    size_t total = 0, length;

    expect(row != NULL && mltfr_table_strings(t) <= rows);
    for (int64_t i = 0; i < rows; i++) {
        const char *s = mltfr_table_string(t, i, &length);

        total += fuzz_sum(s, length) + mltfr_table_special(t, i);
        if (mltfr_table_read(t, i, 1, row) == MLTFR_OK)
            total += row[0] > 0;
    }
    expect(total < SIZE_MAX && mltfr_table_tensor_name(t) != NULL);
    mltfr_table_digest(t);
    free(row);
}

static inline int fuzz_table(const char *name, const uint8_t *data, size_t bytes)
{
    mltfr_table *t;

    fuzz_begin();
    mltfr_status st = mltfr_table_open_memory(name, data, bytes, NULL, &t);
    expect((st == MLTFR_OK) == (t != NULL));
    if (t != NULL)
        fuzz_read(t);
    mltfr_table_close(&t);
    fuzz_end(st, bytes);
    return 0;
}

#endif
