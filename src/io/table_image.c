/* The bytes of a file, and text that comes from it.  A file is mapped, not read: of a table of
 * gigabytes a rank touches its own rows.  Text is quoted before it goes into a message, so that a
 * name of a file cannot break the line it is printed on. */
#include "table_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A clone without the large files has these few lines of text in their place. */
static mltfr_status check_pointer(const mltfr_image *image)
{
    static const char pointer[] = "version https://git-lfs";
    size_t n = sizeof pointer - 1;

    if (image->bytes < n || memcmp(image->data, pointer, n) != 0)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_DATA, "%s: a Git LFS pointer, not the file it stands for",
                      image->path);
}

static mltfr_status map_descriptor(const char *path, int fd, mltfr_image *out)
{
    mltfr_status st = MLTFR_OK;
    struct stat info;

    if (fstat(fd, &info) != 0)
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        MLTFR_FAIL(MLTFR_E_IO, "%s: not a regular file", path);
    if (info.st_size == 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: the file is empty", path);
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        MLTFR_FAIL(MLTFR_E_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    out->data = data;
    out->bytes = (size_t)info.st_size;
    out->mapped = true;
done:
    return st;
}

mltfr_status mltfr_image_map(const char *path, mltfr_image *out)
{
    mltfr_status st = MLTFR_OK;
    int fd = -1;

    memset(out, 0, sizeof *out);
    MLTFR_TRY(mltfr_strdup(path, &out->path));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        MLTFR_FAIL(MLTFR_E_IO, "%s: %s", path, strerror(errno));
    MLTFR_TRY(map_descriptor(path, fd, out));
    MLTFR_TRY(check_pointer(out));
done:
    if (fd >= 0)
        close(fd);
    if (st != MLTFR_OK)
        mltfr_image_close(out);
    return st;
}

mltfr_status mltfr_image_borrow(const char *name, const void *data, size_t bytes, mltfr_image *out)
{
    mltfr_status st = MLTFR_OK;

    memset(out, 0, sizeof *out);
    out->data = data;
    out->bytes = bytes;
    MLTFR_TRY(mltfr_strdup(name, &out->path));
    MLTFR_TRY(check_pointer(out));
done:
    if (st != MLTFR_OK)
        mltfr_image_close(out);
    return st;
}

void mltfr_image_close(mltfr_image *image)
{
    if (image->mapped)
        munmap((void *)(uintptr_t)image->data, image->bytes);
    mltfr_join_close(&image->join);
    MLTFR_FREE(image->path);
    memset(image, 0, sizeof *image);
}

void mltfr_image_forget(const mltfr_image *image, size_t offset, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t first = (offset + page - 1) / page * page, last = (offset + bytes) / page * page;

    if (image->mapped && first < last)
        madvise((void *)(uintptr_t)(image->data + first), last - first, MADV_DONTNEED);
}

bool mltfr_slice_is(mltfr_slice text, const char *word)
{
    return text.bytes == strlen(word) && memcmp(text.data, word, text.bytes) == 0;
}

size_t mltfr_utf8_bytes(const unsigned char *s, size_t left)
{
    size_t n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    /* too long a form, a surrogate, beyond U+10FFFF */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

/* The same, 0 for control characters too. */
static size_t printable(const unsigned char *s, size_t left)
{
    bool control = s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && left > 1 && s[1] < 0xa0);

    return control ? 0 : mltfr_utf8_bytes(s, left);
}

const char *mltfr_slice_quote(mltfr_slice text, char out[MLTFR_QUOTE_BYTES])
{
    const unsigned char *s = (const unsigned char *)text.data;
    size_t used = 0, i = 0;

    while (i < text.bytes && used + 8 < MLTFR_QUOTE_BYTES) {
        size_t n = printable(s + i, text.bytes - i);

        if (n > 0)
            memcpy(out + used, s + i, n);
        else
            snprintf(out + used, 5, "\\x%02x", s[i]);
        used += n > 0 ? n : 4;
        i += n > 0 ? n : 1;
    }
    strcpy(out + used, i < text.bytes ? "..." : "");
    return out;
}
