/* The readers of vocabularies, and of an index of shards; the first byte of an input chooses the
 * form. */
#include "fuzz_table.h"

#include "table_impl.h"

static mltfr_status read_vocab(mltfr_image *image)
{
    mltfr_table_vocab vocab;
    mltfr_status st = mltfr_table_vocab_parse(image, &vocab);
    size_t total = 0;

    for (int64_t i = 0; st == MLTFR_OK && i < vocab.count; i++) {
        mltfr_slice s = mltfr_vocab_string(&vocab, i);

        total += fuzz_sum(s.data, s.bytes);
    }
    expect(total < SIZE_MAX);
    mltfr_table_vocab_close(&vocab);
    return st;
}

static mltfr_status read_index(mltfr_image *image)
{
    mltfr_table_paths paths = {0};
    mltfr_status st = mltfr_table_index_parse(image, &paths);

    for (int64_t i = 0; i < paths.count; i++)
        expect(strchr(paths.list[i], '/') == NULL && paths.list[i][0] != '.');
    mltfr_table_paths_close(&paths);
    mltfr_image_close(image);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const names[] = {"tokenizer.json", "vocab.txt", "vocab.json", "index.json"};
    mltfr_image image;

    if (bytes < 2)
        return 0;
    fuzz_begin();
    mltfr_status st = mltfr_image_borrow(names[data[0] % 4], data + 1, bytes - 1, &image);
    if (st == MLTFR_OK)
        st = data[0] % 4 == 3 ? read_index(&image) : read_vocab(&image);
    fuzz_end(st, bytes);
    return 0;
}
