/* Shared by the readers of interactions.  All functions are @local unless they say otherwise. */
#ifndef MLTFR_INTERACTIONS_IMPL_H
#define MLTFR_INTERACTIONS_IMPL_H

#include <mltfr/file.h>
#include <mltfr/interactions.h>
#include <mltfr/progress.h>

/** A stretch of a text that lives elsewhere; it is not ended by NUL. */
typedef struct {
    char *at;
    int64_t n;
} mltfr_slice;

enum { MLTFR_SHOWN_BYTES = 44 };

/** The slice as it may stand in a message: cut where long, on one line.  Returns `text`. */
const char *mltfr_slice_show(mltfr_slice slice, char text[MLTFR_SHOWN_BYTES]);
bool mltfr_reader_is(mltfr_slice slice, const char *text);
mltfr_slice mltfr_slice_trim(mltfr_slice slice);

/** Cut the next field between blanks off a line; false where nothing is left. */
bool mltfr_slice_word(mltfr_slice *line, mltfr_slice *word);

/** A text file in memory, read line by line. */
typedef struct {
    const char *path; /**< borrowed */
    char *data;       /**< owned; ended by NUL */
    char *next, *end; /**< what is still to be read */
    int64_t line;     /**< number of the line read last */
} mltfr_reader;

/** Is this an HDF5 file?  MLTFR_E_DATA with the reason where it cannot be opened. */
mltfr_status mltfr_reader_probe(const char *path, bool *is_hdf5);

/** Read a file in one go; a byte order mark is left out.  On failure nothing is owned.
 *  @return MLTFR_E_DATA with the reason, or with the line of a NUL byte */
mltfr_status mltfr_reader_load(const char *path, mltfr_reader *out);
void mltfr_reader_free(mltfr_reader *text);

/** The next line that is not blank, without its end; false at the end of the text. */
bool mltfr_reader_line(mltfr_reader *text, mltfr_slice *line);

/** MLTFR_E_DATA with `FILE:LINE: ` in front. */
mltfr_status mltfr_reader_fail(const mltfr_reader *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Tell the form of a text by its name and content; leaves the text at its start. */
mltfr_status mltfr_reader_format(mltfr_reader *text, const mltfr_settings *settings, int *format);

/** Ids, numbered from 0 in the order of their first appearance: a hash table of open addresses. */
typedef struct {
    int64_t count, slots;
    struct mltfr_idmap_entry {
        mltfr_slice id;
        uint64_t hash;
    } * entries;    /**< [slots / 2] */
    uint32_t *slot; /**< [slots]: number + 1, or 0 */
} mltfr_idmap;

/** The number of an id, a new one where it was not seen before; the id's text is kept. */
mltfr_status mltfr_idmap_add(mltfr_idmap *map, mltfr_slice id, int32_t *number);

/** The number of an id, or -1 where it was never added. */
int32_t mltfr_idmap_find(const mltfr_idmap *map, mltfr_slice id);
void mltfr_idmap_free(mltfr_idmap *map);

/** The ids as strings: one block, the pointers and behind them the bytes. */
mltfr_status mltfr_idmap_names(const mltfr_idmap *map, char ***out);

/** Room for n names with `bytes` bytes in all (ends counted); the bytes start at (*out) + n. */
mltfr_status mltfr_names_alloc(int64_t n, int64_t bytes, char ***out);

/** Set the pointers once the bytes are there. */
void mltfr_names_link(char **names, int64_t n);

/** Bytes of all names, ends counted. */
int64_t mltfr_names_bytes(char *const *names, int64_t n);

/** Rows in the order of the file. */
typedef struct {
    struct mltfr_row {
        int32_t user, item; /**< from 0 */
        double time;
    } * row;
    int64_t count, room;
    bool timed;      /**< the time means something */
    mltfr_task task; /**< reading, in MiB of the text */
    mltfr_idmap users, items;
} mltfr_rows;

/** Add a row; empty and too many ids are failures that name the line. */
mltfr_status mltfr_rows_add(mltfr_rows *rows, const mltfr_reader *text, mltfr_slice user,
                            mltfr_slice item, double time);

/** Sequences by user and time, duplicates dropped, counts made; uses the rows up. */
mltfr_status mltfr_rows_finish(mltfr_rows *rows, const mltfr_settings *settings,
                               mltfr_interactions **out);
void mltfr_rows_free(mltfr_rows *rows);

/** Parse a text of a known form into rows. */
mltfr_status mltfr_rows_parse(mltfr_rows *rows, mltfr_reader *text, const mltfr_settings *settings,
                              int format);

/** Drop users and items with fewer interactions than these, again and again until none is left.
 *  @return MLTFR_E_DATA where nothing is left */
mltfr_status mltfr_interactions_filter(mltfr_interactions *data, int64_t min_user,
                                       int64_t min_item);

/** Cut by time: the newest `share` of the interactions is for the test, as much before it for
 *  validation.  Needs data->times, rising within a user. */
mltfr_status mltfr_interactions_cut(mltfr_interactions *data, double share);

/** Count short users and items that are only held out. */
mltfr_status mltfr_interactions_count(mltfr_interactions *data);

/** Group "interactions" of a file.  @collective{comm}, of the file as well; only rank 0 receives.
 *  What is read is checked: a damaged file is MLTFR_E_DATA. */
mltfr_status mltfr_interactions_load(mltfr_comm *comm, const char *path, mltfr_interactions **out);
mltfr_status mltfr_interactions_put(mltfr_comm *comm, mltfr_file *file,
                                    const mltfr_interactions *data);

#endif
