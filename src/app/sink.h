/* Where exported arrays go: groups of one HDF5 file, or .npy files of a directory.  Rank 0 alone
 * opens and writes; on other ranks every call does nothing.  Private to the layer app. */
#ifndef MLTFR_APP_SINK_H
#define MLTFR_APP_SINK_H

#include "app_impl.h"

#include <mltfr/file.h>

typedef struct {
    mltfr_comm *self; /* rank 0 alone; NULL on others; borrowed */
    const char *path;
    bool hdf5;
    mltfr_file *file; /* hdf5 */
    char *part;
    app_output array; /* npy: the array under way ... */
    char *array_path; /* ... which borrows its path */
    char name[64];    /* of the array under way */
    mltfr_shape shape;
    int64_t next; /* row */
} app_sink;

/* All are @local to rank 0.  A name is GROUP/WHAT; in a directory it is GROUP-WHAT.npy or .txt. */
mltfr_status sink_open(mltfr_comm *self, const char *path, bool hdf5, app_sink *out);
mltfr_status sink_begin(app_sink *sink, const char *name, const mltfr_shape *shape);
mltfr_status sink_rows(app_sink *sink, int64_t rows, const void *data); /* the next ones */
mltfr_status sink_end(app_sink *sink);
mltfr_status sink_whole(app_sink *sink, const char *name, const mltfr_shape *shape,
                        const void *data);
/* Strings; quoted: a line of the text file is a JSON string, else the string itself, which then has
 * no line break. */
mltfr_status sink_strings(app_sink *sink, const char *name, int64_t n, char *const *strings,
                          bool quoted);
mltfr_status sink_close(app_sink *sink);
void sink_discard(app_sink *sink);

#endif
