/* The rows of a table as raw float32, for comparison with other readers.
 *   table_dump FILE TENSOR OUT */
#include <mltfr/mem.h>
#include <mltfr/table.h>

#include <stdio.h>

static mltfr_status dump(const char *path, const char *tensor, FILE *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table *t = NULL;
    float *row = NULL;

    MLTFR_TRY(mltfr_table_open(path, tensor, &t));
    size_t width = (size_t)mltfr_table_width(t);
    MLTFR_TRY(MLTFR_NEW(row, width));
    for (int64_t i = 0; i < mltfr_table_rows(t); i++) {
        MLTFR_TRY(mltfr_table_read(t, i, 1, row));
        if (fwrite(row, sizeof *row, width, out) != width)
            MLTFR_FAIL(MLTFR_E_IO, "%s: could not be written out", path);
    }
done:
    MLTFR_FREE(row);
    mltfr_table_close(&t);
    return st;
}

int main(int argc, char *argv[])
{
    FILE *out = argc == 4 ? fopen(argv[3], "wb") : NULL;

    if (out == NULL) {
        fprintf(stderr, "usage: table_dump FILE TENSOR OUT\n");
        return 2;
    }
    mltfr_status st = dump(argv[1], argv[2], out);
    if (fclose(out) != 0 || st != MLTFR_OK)
        fprintf(stderr, "table_dump: %s\n", mltfr_error_text);
    return st != MLTFR_OK;
}
