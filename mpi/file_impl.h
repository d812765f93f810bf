/* Shared by the sources of mltfr/file.h. */
#ifndef MLTFR_FILE_IMPL_H
#define MLTFR_FILE_IMPL_H

#include "comm_impl.h"

#include <mltfr/file.h>

#include <hdf5.h>

/* An array as bytes: rows, cut into blocks of rows by its shape alone, and a checksum of each. */
typedef struct {
    int64_t row_bytes, rows, block_rows, blocks;
    uint32_t *crc; /* [blocks] plain sums (mltfr/crc.h); NULL: the array has none */
} mltfr_sums;

/* The checksums of an array that is being written: of the rows of this rank, zeros for others. */
typedef struct mltfr_written {
    struct mltfr_written *next;
    char *name;
    mltfr_sums sums;
} mltfr_written;

typedef struct mltfr_later mltfr_later;

struct mltfr_file {
    mltfr_comm *comm;
    hid_t id, transfer;
    char *path;
    bool sealed;            /* on reading: a right seal was found */
    mltfr_written *written; /* the newest first, in the same order on every rank */
    mltfr_later *later;     /* what is filled in the background; NULL: all at once */
};

/* ---- file.c -------------------------------------------------------------------------------- */

/* Flush and close, with what may go wrong on the way.  @local, but all ranks do it. */
mltfr_status mltfr_file_shut(mltfr_file *f);

/* ---- file_attr.c --------------------------------------------------------------------------- */

/* Set an attribute of the file itself.  @local, but all that opened the file do it. */
mltfr_status mltfr_file_mark(mltfr_file *f, const char *name, const char *text);

/* ---- file_array.c -------------------------------------------------------------------------- */

/* One transfer of rows, in an open data set, by this rank alone.  @local */
mltfr_status mltfr_file_load(mltfr_file *f, hid_t set, const mltfr_shape *shape, mltfr_dtype type,
                             int64_t first, int64_t rows, void *out);

/* ---- file_sums.c, all @local --------------------------------------------------------------- */

/* The sums of an array that is written, made when first asked for. */
mltfr_status mltfr_sums_of(mltfr_file *f, const char *name, const mltfr_shape *shape,
                           mltfr_sums **out);
/* Count in rows that this rank writes, each once. */
void mltfr_sums_add(mltfr_sums *s, int64_t first, int64_t rows, const void *data);
void mltfr_written_free(mltfr_written **list);

/* Keep the sums of an array as attributes of its data set. */
mltfr_status mltfr_sums_store(hid_t set, const mltfr_sums *s);

/* Read rows as `type`, and with them what is left of their blocks: all must have their sums. */
mltfr_status mltfr_sums_read(mltfr_file *f, const char *name, const mltfr_shape *shape,
                             mltfr_dtype type, int64_t first, int64_t rows, void *out);

/* ---- file_later.c, all @local -------------------------------------------------------------- */

mltfr_status mltfr_later_create(mltfr_later **out);
void mltfr_later_destroy(mltfr_later **later);

/* Note rows of an open data set; data is kept until mltfr_file_start. */
mltfr_status mltfr_later_note(mltfr_later *l, hid_t set, mltfr_sums *sums, int64_t first,
                              int64_t rows, const void *data);

/* Wait for the end of the background, and say how it went. */
mltfr_status mltfr_later_wait(mltfr_file *f);

/* ---- file_seal.c --------------------------------------------------------------------------- */

extern const char mltfr_sums_name[], mltfr_block_rows_name[]; /* of attributes */

/* Has the file a seal, and is it right?  Only the file system is asked.  @local
 *  @return MLTFR_E_DATA where it is not, or where one is needed and missing */
mltfr_status mltfr_seal_check(const char *path, bool needed, bool *sealed);

#endif
