/** @file mltfr/crc.h
 *  CRC32C, the checksum of iSCSI and ext4 (polynomial 0x1EDC6F41, reflected).  Layer: base.
 *
 *  Here without the inversions at its start and end: then the sum of a sequence is the exclusive or
 *  of what its parts contribute, each computed by whoever holds it.  All functions are @local. */
#ifndef MLTFR_CRC_H
#define MLTFR_CRC_H

#include <stdint.h>

/** Sum of `bytes` bytes that follow what `crc` is the sum of; 0 at the start. */
uint32_t mltfr_crc(uint32_t crc, const void *data, int64_t bytes);

/** The sum after `bytes` zeros: what a part contributes where so many bytes follow it. */
uint32_t mltfr_crc_shift(uint32_t crc, int64_t bytes);

/** The CRC32C of others, with both inversions, of `bytes` bytes whose plain sum is `crc`. */
uint32_t mltfr_crc_standard(uint32_t crc, int64_t bytes);

#endif
