/* Shared by the sources of checkpoint.h: one walk over all that is done with a file. */
#ifndef MLTFR_CHECKPOINT_IMPL_H
#define MLTFR_CHECKPOINT_IMPL_H

#include "checkpoint.h"

#include <mltfr/file.h>

enum { FORMAT_VERSION = 2, PATH_BYTES = 4096 };

typedef enum { COUNT, RESERVE, FILL, READ } walk_mode;

typedef struct {
    mltfr_engine *e;
    mltfr_file *file;
    walk_mode mode;
    int64_t bytes; /* COUNT: what all arrays need, and a little more */
} walk;

/* Count, make, fill or read every array.  @collective{file} */
mltfr_status mltfr_walk_arrays(walk *w);

/* Set or get every number but those of the header.  Setting is @collective{file}. */
mltfr_status mltfr_walk_numbers(walk *w, mltfr_loop_state *loop);

#endif
