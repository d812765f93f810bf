/** @file mltfr/mem.h
 *  Counted, zeroed, 64-byte aligned memory.  Layer: base.  All functions are @local. */
#ifndef MLTFR_MEM_H
#define MLTFR_MEM_H

#include <mltfr/status.h>

#include <stddef.h>
#include <stdint.h>

/** Give `*pointer` room for `count` objects of `size` bytes, zeroed; count 0 gives a valid pointer.
 *  @param pointer  address of the pointer to set (NULL on failure)
 *  @return MLTFR_E_NOMEM if the product overflows or memory is short */
mltfr_status mltfr_alloc(void *pointer, size_t count, size_t size);

/** Free what mltfr_alloc gave and set `*pointer` to NULL; NULL is allowed. */
void mltfr_release(void *pointer);

/** A new copy of a string, to be released with MLTFR_FREE. */
mltfr_status mltfr_strdup(const char *text, char **out);

/** Room that is kept and only ever grows: for work space that is needed again and again. */
typedef struct {
    void *data; /**< content is lost when it grows */
    size_t bytes;
} mltfr_room;

/** At least count * size bytes in *out; what was there is lost when the room must grow.
 *  @param out  address of the pointer to set; the memory stays the room's */
mltfr_status mltfr_room_take(mltfr_room *room, void *out, size_t count, size_t size);
void mltfr_room_release(mltfr_room *room);

/** Bytes held now, and the most that were held at any time. */
size_t mltfr_mem_now(void);
size_t mltfr_mem_peak(void);

/** Blocks that mltfr_alloc has given so far. */
int64_t mltfr_mem_count(void);

/** Give memory that was freed back to the system, which the allocator keeps for later. */
void mltfr_mem_trim(void);

/** MLTFR_TRY(MLTFR_NEW(p, n)): room for n objects of *p. */
#define MLTFR_NEW(p, n) mltfr_alloc(&(p), (size_t)(n), sizeof *(p))
#define MLTFR_FREE(p)   mltfr_release(&(p))
/** MLTFR_TRY(MLTFR_TAKE(&room, p, n)): room for n objects of *p. */
#define MLTFR_TAKE(room, p, n) mltfr_room_take((room), &(p), (size_t)(n), sizeof *(p))

#endif
