/* A header of one cache line in front of each block holds its size, so that what is held can be
 * reported and tests can insist that all of it was given back. */
#include <mltfr/mem.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LINE = 64, HUGE_PAGE = 2 << 20 };

static size_t held, peak;
static int64_t given;

/* A large block is faulted in by pages of 2 MiB: hundreds of times fewer faults, which are slow on
 * virtual machines.  It is advice: where the system does not take it nothing is lost. */
static void ask_for_huge_pages(char *block, size_t bytes)
{
    uintptr_t first = ((uintptr_t)block + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uintptr_t last = ((uintptr_t)block + bytes) / HUGE_PAGE * HUGE_PAGE;

    if (first < last)
        madvise(block + (first - (uintptr_t)block), last - first, MADV_HUGEPAGE);
}

mltfr_status mltfr_alloc(void *pointer, size_t count, size_t size)
{
    char *block = NULL;
    void *user = NULL;

    memcpy(pointer, &user, sizeof user);
    if (size != 0 && count > (PTRDIFF_MAX - 2 * LINE) / size)
        return mltfr_fail(MLTFR_E_NOMEM, "out of memory: %zu objects of %zu bytes", count, size);
    size_t bytes = count * size, whole = LINE + (bytes + LINE - 1) / LINE * LINE;

    block = aligned_alloc(LINE, whole);
    if (block == NULL)
        return mltfr_fail(MLTFR_E_NOMEM, "out of memory: %zu bytes", bytes);
    ask_for_huge_pages(block, whole);
    memset(block, 0, whole);
    memcpy(block, &whole, sizeof whole);
    given++;
    held += whole;
    if (held > peak)
        peak = held;
    user = block + LINE;
    memcpy(pointer, &user, sizeof user);
    return MLTFR_OK;
}

void mltfr_release(void *pointer)
{
    char *user;
    size_t whole;

    memcpy(&user, pointer, sizeof user);
    if (user == NULL)
        return;
    memcpy(&whole, user - LINE, sizeof whole);
    held -= whole;
    free(user - LINE);
    user = NULL;
    memcpy(pointer, &user, sizeof user);
}

mltfr_status mltfr_strdup(const char *text, char **out)
{
    size_t bytes = strlen(text) + 1;
    mltfr_status st = mltfr_alloc(out, bytes, 1);

    if (st == MLTFR_OK)
        memcpy(*out, text, bytes);
    return st;
}

mltfr_status mltfr_room_take(mltfr_room *room, void *out, size_t count, size_t size)
{
    mltfr_status st = MLTFR_OK;

    if (room->data == NULL || (size > 0 && count > room->bytes / size)) {
        mltfr_room_release(room);
        st = mltfr_alloc(&room->data, count, size);
        room->bytes = st == MLTFR_OK ? count * size : 0;
    }
    memcpy(out, &room->data, sizeof room->data);
    return st;
}

void mltfr_room_release(mltfr_room *room)
{
    MLTFR_FREE(room->data);
    room->bytes = 0;
}

size_t mltfr_mem_now(void)
{
    return held;
}

size_t mltfr_mem_peak(void)
{
    return peak;
}

int64_t mltfr_mem_count(void)
{
    return given;
}

void mltfr_mem_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
