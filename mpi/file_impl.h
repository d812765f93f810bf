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

#endif
