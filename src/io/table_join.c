/* Files read as one: their bytes, one after the other, as the pieces of a file too large to be sent
 * whole.  Each piece is mapped.  Headers and strings must lie in one run of memory, so address
 * space for the whole is reserved and the blocks that are asked for are copied into it; rows of a
 * table are read where they lie. */
#include "table_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { BLOCK = 1 << 18 };

struct mltfr_join {
    mltfr_image *pieces;
    size_t *ends; /* [count] */
    int64_t count;
    uint8_t *memory; /* reserved; the image's `data` */
    size_t bytes;
    bool *here; /* blocks of memory that have been filled */
};

void mltfr_join_close(mltfr_join **join)
{
    mltfr_join *j = *join;

    if (j == NULL)
        return;
    for (int64_t i = 0; i < j->count; i++)
        mltfr_image_close(&j->pieces[i]);
    if (j->memory != NULL)
        munmap(j->memory, j->bytes);
    MLTFR_FREE(j->pieces);
    MLTFR_FREE(j->ends);
    MLTFR_FREE(j->here);
    MLTFR_FREE(*join);
}

static mltfr_status reserve(mltfr_join *j, const char *name)
{
    mltfr_status st = MLTFR_OK;
    void *memory = mmap(NULL, j->bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        MLTFR_FAIL(MLTFR_E_NOMEM, "%s: no room for %zu bytes: %s", name, j->bytes, strerror(errno));
    j->memory = memory;
    MLTFR_TRY(MLTFR_NEW(j->here, (j->bytes - 1) / BLOCK + 1));
done:
    return st;
}

mltfr_status mltfr_image_join(const char *name, mltfr_image *pieces, int64_t count,
                              mltfr_image *out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_join *j = NULL;

    memset(out, 0, sizeof *out);
    MLTFR_TRY(MLTFR_NEW(j, 1));
    MLTFR_TRY(MLTFR_NEW(j->pieces, count));
    MLTFR_TRY(MLTFR_NEW(j->ends, count));
    j->count = count;
    for (int64_t i = 0; i < count; i++) {
        j->pieces[i] = pieces[i];
        memset(&pieces[i], 0, sizeof pieces[i]);
        if (__builtin_add_overflow(j->bytes, j->pieces[i].bytes, &j->bytes))
            MLTFR_FAIL(MLTFR_E_DATA, "%s: the size of all files overflows", name);
        j->ends[i] = j->bytes;
    }
    MLTFR_TRY(reserve(j, name));
    MLTFR_TRY(mltfr_strdup(name, &out->path));
    out->data = j->memory;
    out->bytes = j->bytes;
    out->join = j;
    j = NULL;
done:
    mltfr_join_close(&j);
    return st;
}

const char *mltfr_image_first(const mltfr_image *image)
{
    return image->join != NULL ? image->join->pieces[0].path : image->path;
}

const uint8_t *mltfr_image_span(const mltfr_image *image, size_t offset, size_t *left)
{
    const mltfr_join *j = image->join;
    int64_t i = 0;

    if (j == NULL) {
        *left = image->bytes - offset;
        return image->data + offset;
    }
    while (i < j->count - 1 && j->ends[i] <= offset)
        i++;
    *left = j->ends[i] - offset;
    return j->pieces[i].data + (j->pieces[i].bytes - *left);
}

static void copy_spans(const mltfr_image *image, size_t offset, size_t bytes, uint8_t *out)
{
    while (bytes > 0) {
        size_t n;
        const uint8_t *from = mltfr_image_span(image, offset, &n);

        n = n < bytes ? n : bytes;
        memcpy(out, from, n);
        offset += n;
        bytes -= n;
        out += n;
    }
}

const uint8_t *mltfr_image_view(const mltfr_image *image, size_t offset, size_t bytes,
                                uint8_t *scratch)
{
    size_t left;
    const uint8_t *here = mltfr_image_span(image, offset, &left);

    if (left >= bytes)
        return here;
    copy_spans(image, offset, bytes, scratch);
    return scratch;
}

void mltfr_image_need(const mltfr_image *image, size_t offset, size_t bytes)
{
    mltfr_join *j = image->join;

    if (j == NULL || bytes == 0)
        return;
    for (size_t b = offset / BLOCK; b <= (offset + bytes - 1) / BLOCK; b++) {
        size_t from = b * BLOCK, left = j->bytes - from;

        if (!j->here[b])
            copy_spans(image, from, left < BLOCK ? left : BLOCK, j->memory + from);
        j->here[b] = true;
    }
}
