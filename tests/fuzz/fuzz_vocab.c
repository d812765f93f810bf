/* The readers of vocabularies; the first byte of an input chooses the form. */
#include "fuzz_table.h"

#include "table_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const names[] = {"tokenizer.json", "vocab.txt", "vocab.json"};
    mltfr_table_vocab vocab;
    mltfr_image image;

    if (bytes < 2)
        return 0;
    if (mltfr_image_borrow(names[data[0] % 3], data + 1, bytes - 1, &image) != MLTFR_OK)
        return 0;
    if (mltfr_table_vocab_parse(&image, &vocab) == MLTFR_OK)
        for (int64_t i = 0; i < vocab.count; i++)
            expect(vocab.list[i].text != NULL);
    mltfr_table_vocab_close(&vocab);
    expect(mltfr_mem_now() == 0);
    return 0;
}
