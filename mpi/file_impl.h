/* Shared by the sources of mltfr/file.h. */
#ifndef MLTFR_FILE_IMPL_H
#define MLTFR_FILE_IMPL_H

#include "comm_impl.h"

#include <mltfr/file.h>

#include <hdf5.h>

struct mltfr_file {
    mltfr_comm *comm;
    hid_t id, transfer;
    char *path;
};

/** The attribute of an array that holds its checksum. */
#define MLTFR_CHECKSUM "checksum"

/** Sum over the elements [first, first + n) of an array of hashes of (number, bits): whoever holds
 *  which elements, the sum over all of them is the same.  @local */
uint64_t mltfr_checksum(mltfr_dtype type, int64_t first, int64_t n, const void *data);

/** The sum over all ranks.  @collective{comm} */
uint64_t mltfr_checksum_all(mltfr_comm *comm, uint64_t mine);

/** Make or set an attribute of one number.  @local */
herr_t mltfr_attr_make(hid_t object, const char *name, hid_t type, const void *value);
herr_t mltfr_attr_set(hid_t object, const char *name, hid_t type, const void *value);

#endif
