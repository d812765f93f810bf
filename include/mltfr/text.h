/** @file mltfr/text.h
 *  Strings: a growing buffer, strict numbers, the nearest known name.  Layer: base.
 *  All functions are @local. */
#ifndef MLTFR_TEXT_H
#define MLTFR_TEXT_H

#include <mltfr/mem.h>

#include <stdbool.h>

/** A growing string.  Starts as {0}; `data` is NULL or ends with a 0 byte at data[size].  Once an
 *  addition has failed, all later ones are skipped, so only the end result needs a check. */
typedef struct {
    char *data;
    size_t size, room;
    mltfr_status st;
} mltfr_text;

/** Append printf text, or bytes as they are.  Failure (MLTFR_E_NOMEM) is kept in text->st. */
void mltfr_text_add(mltfr_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void mltfr_text_add_bytes(mltfr_text *text, const char *bytes, size_t count);

/** Append a word in double quotes, with escapes that JSON and YAML both read. */
void mltfr_text_add_quoted(mltfr_text *text, const char *word);

/** Append a number with the fewest digits that read back to the same double. */
void mltfr_text_add_real(mltfr_text *text, double x);

/** Hand over the string ("" where nothing was added) and empty the buffer.
 *  @param out  owned by the caller (MLTFR_FREE); NULL on failure */
mltfr_status mltfr_text_take(mltfr_text *text, char **out);

/** Free the buffer and make it {0} again. */
void mltfr_text_destroy(mltfr_text *text);

/** Read a whole word as a decimal number; false where it is not one, or does not fit (a real must
 *  be finite).  No blanks, no hexadecimal. */
bool mltfr_text_to_i64(const char *word, int64_t *out);
bool mltfr_text_to_f64(const char *word, double *out);

/** Read `15` as a number of steps, and `90s`, `3h50m`, `1d` as seconds; the other result is 0, as
 *  both are for an empty word.  False where it is neither. */
bool mltfr_text_to_stop(const char *word, int64_t *steps, int64_t *seconds);

/** Insertions, deletions, replacements and swaps of neighbours that lead from a to b; a capital
 *  and its small letter are equal. */
int64_t mltfr_text_distance(const char *a, const char *b);

/** The best of the names tried so far for a mistyped word; starts as {word, NULL, 0}. */
typedef struct {
    const char *word, *name;
    int64_t distance;
} mltfr_nearest;

/** Try a name; the first of equally near ones stays. */
void mltfr_nearest_try(mltfr_nearest *nearest, const char *name);

/** Bytes of a small text file with a 0 byte at the end.
 *  @param out  owned by the caller (MLTFR_FREE)
 *  @return MLTFR_E_IO naming the file; a directory, a file above 16 MiB or one with a 0 byte too */
mltfr_status mltfr_text_load(const char *path, char **out);

#endif
