/** @file mltfr/interactions.h
 *  Who interacted with what, in order of time; readers, split and statistics.  Layer: io. */
#ifndef MLTFR_INTERACTIONS_H
#define MLTFR_INTERACTIONS_H

#include <mltfr/comm.h>
#include <mltfr/settings.h>

#include <stddef.h>

/** All sequences.  User u has items ids[offsets[u] .. offsets[u + 1]), oldest first; item ids are
 *  1-based (1 .. items).  Users and items are numbered by first appearance in the file, in every
 *  text form, whatever their ids look like; this program's own form keeps its numbers. */
typedef struct {
    int64_t users, items, count;
    int64_t *offsets;   /**< [users + 1] */
    int32_t *ids;       /**< [count] */
    char **user_names;  /**< [users], as in the source */
    char **item_names;  /**< [items]: that of item i is item_names[i - 1] */
    int64_t duplicates; /**< repeated (user, item, time) rows that were dropped */
    int64_t dropped, dropped_users, dropped_items; /**< by data.min_user and data.min_item */
    int64_t *cuts;         /**< NULL: leave-one-out; else [users][2], a split by time: how many of a
                                user's items train, and how many are older than the test */
    double *times;         /**< [count] until the split by time is cut; else NULL */
    int64_t short_users;   /**< users without a held-out case: with leave-one-out those with fewer
                                than 3 items */
    int64_t only_held_out; /**< items that occur in validation or test items only */
} mltfr_interactions;

/** One window of training input: positions ids[first .. first + n), the target of each is the
 *  next id (method, Protocol). */
typedef struct {
    int32_t user, n;
    int64_t first;
} mltfr_example;

/** One held-out item and the history (its last max_len items) it is ranked after. */
typedef struct {
    int32_t user, n, target;
    int64_t first;
} mltfr_case;

typedef enum { MLTFR_SPLIT_VALID, MLTFR_SPLIT_TEST } mltfr_split;

/** Read a file of settings->data_format (auto: told by its content and name).  Rank 0 reads, all
 *  ranks receive the same.  @collective{comm}
 *  @return MLTFR_E_DATA or MLTFR_E_IO naming file, line and reason, the same on every rank */
mltfr_status mltfr_interactions_read(mltfr_comm *comm, const mltfr_settings *settings,
                                     mltfr_interactions **out);

/** Read a file in one of the text forms, for this process alone; notes go to the log.  @local
 *  @return MLTFR_E_DATA naming file, line and reason */
mltfr_status mltfr_interactions_parse(const mltfr_settings *settings, mltfr_interactions **out);

/** Write the HDF5 form: group "interactions" of a new file.  @collective{comm} */
mltfr_status mltfr_interactions_write(mltfr_comm *comm, const char *path,
                                      const mltfr_interactions *data);

/** Free and set to NULL.  @local */
void mltfr_interactions_destroy(mltfr_interactions **data);

/** Training windows by user, the newest window of a user first; users without a transition have
 *  none.  With windows = all a window holds the older transitions in further stretches of max_len.
 *  @local  @param out  [*count], owned by the caller (MLTFR_FREE) */
mltfr_status mltfr_interactions_examples(const mltfr_interactions *data, int64_t max_len,
                                         bool all_windows, mltfr_example **out, int64_t *count);

/** How many of a user's items train: the first ones.  @local */
int64_t mltfr_interactions_trains(const mltfr_interactions *data, int64_t user);

/** Held-out cases by user: with leave-one-out the last item but one or the last, of users with 3
 *  items at least; in a split by time a user's first item of the period, after all older ones.
 *  @local */
mltfr_status mltfr_interactions_cases(const mltfr_interactions *data, int64_t max_len,
                                      mltfr_split split, mltfr_case **out, int64_t *count);

/** `users=943 items=1682 interactions=100000 ...` into text, on one line.  @local */
void mltfr_interactions_summary(const mltfr_interactions *data, char *text, size_t bytes);

#endif
