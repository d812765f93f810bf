/** @file mltfr/selection.h
 *  Users, items and sequences that somebody names by their ids, as numbers of the data.  Layer: io.
 */
#ifndef MLTFR_SELECTION_H
#define MLTFR_SELECTION_H

#include <mltfr/interactions.h>

enum { MLTFR_SELECTION_SHOWN = 44 };

/** Ids found among the names of users or items. */
typedef struct {
    int64_t count;
    int32_t *number;                   /**< [count] from 0, in the order given, repeats kept */
    int64_t unknown;                   /**< ids that are not among the names ... */
    char first[MLTFR_SELECTION_SHOWN]; /**< ... and the first of them, fit for a message */
} mltfr_selection;

/** Read a text file with one id a line.  Rank 0 reads, all ranks receive.  @collective{comm}
 *  @param names  [n] of the data
 *  @return MLTFR_E_DATA where it cannot be read */
mltfr_status mltfr_selection_read(mltfr_comm *comm, const char *path, char *const *names, int64_t n,
                                  mltfr_selection **out);

/** The ids of a list `ID,ID,...`.  @local */
mltfr_status mltfr_selection_split(const char *list, char *const *names, int64_t n,
                                   mltfr_selection **out);

/** Free and set to NULL; NULL is allowed.  @local */
void mltfr_selection_destroy(mltfr_selection **selection);

/** Sequences of items: number i is ids[offsets[i] .. offsets[i + 1]), oldest first, ids from 1. */
typedef struct {
    int64_t count;
    int64_t *offsets; /**< [count + 1] */
    int32_t *ids;
    int64_t *line;         /**< [count] of the file, from 1 */
    int64_t unknown;       /**< items that are not in the data: they were left out */
    int64_t unknown_lines; /**< lines that had such items */
    int64_t empty;         /**< sequences without any known item */
} mltfr_sequences;

/** Read a text file with a sequence of item ids a line: between tabs where the file has a tab, else
 *  between blanks.  Blank lines are no sequences.  Rank 0 reads, all ranks receive.
 *  @collective{comm}  @return MLTFR_E_DATA where it cannot be read or holds no sequence */
mltfr_status mltfr_sequences_read(mltfr_comm *comm, const char *path,
                                  const mltfr_interactions *data, mltfr_sequences **out);

/** Free and set to NULL; NULL is allowed.  @local */
void mltfr_sequences_destroy(mltfr_sequences **sequences);

/** The place of each of n names among m others, which differ; -1 where it is not there.  @local
 *  @param number  [n] */
mltfr_status mltfr_names_match(char *const *names, int64_t n, char *const *among, int64_t m,
                               int32_t *number);

/** The lines of a text file that are not blank.  @local
 *  @param out  [*n] one block, owned by the caller (MLTFR_FREE) */
mltfr_status mltfr_names_read(const char *path, char ***out, int64_t *n);

#endif
