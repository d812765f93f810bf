/* The .npy reader, from bytes in memory. */
#include "fuzz_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    return fuzz_table("fuzz.npy", data, bytes);
}
