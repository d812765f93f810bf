/* One input of a fuzzer as a file of a token table: it is opened and, where that works, read whole.
 * A failure must come with a text of one line; memory stays within a small multiple of the input.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Iinclude -Isrc/io \
 *     tests/fuzz/fuzz_gguf.c src/io/table*.c src/base/{status,mem,log}.c -lyajl -lxxhash -lm
 *   ./a.out -max_total_time=60 -rss_limit_mb=512 -timeout=5 CORPUS */
#ifndef FUZZ_TABLE_H
#define FUZZ_TABLE_H

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

static inline void fuzz_read(mltfr_table *t)
{
    int64_t rows = mltfr_table_rows(t);
    float *row = malloc((size_t)mltfr_table_width(t) * sizeof *row);
    size_t total = 0, length;

    expect(row != NULL);
    for (int64_t i = 0; i < rows; i++) {
        const char *s = mltfr_table_string(t, i, &length);

        for (size_t k = 0; k < length; k++)
            total += (unsigned char)s[k];
        if (mltfr_table_read(t, i, 1, row) == MLTFR_OK)
            total += row[0] > 0;
    }
    expect(total < SIZE_MAX && mltfr_table_tensor_name(t) != NULL);
    free(row);
}

static inline int fuzz_table(const char *name, const uint8_t *data, size_t bytes)
{
    static size_t largest;
    mltfr_table *t;

    mltfr_error_text[0] = '\0';
    mltfr_status st = mltfr_table_open_memory(name, data, bytes, NULL, &t);
    if (st == MLTFR_OK)
        fuzz_read(t);
    else
        expect(t == NULL && mltfr_error_text[0] != '\0' && strchr(mltfr_error_text, '\n') == NULL);
    mltfr_table_close(&t);
    expect(mltfr_mem_now() == 0);
    largest = bytes > largest ? bytes : largest;
    expect(mltfr_mem_peak() < 16 * largest + (1 << 16));
    return 0;
}

#endif
