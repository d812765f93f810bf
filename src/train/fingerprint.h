/* Do two processes compute the same bits?  Private to the layer train. */
#ifndef MLTFR_FINGERPRINT_H
#define MLTFR_FINGERPRINT_H

#include <stdint.h>

/* The same number where BLAS kernel and instruction set give the same bits.  @local */
uint64_t mltfr_fingerprint(void);

#endif
