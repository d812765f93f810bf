/* Do two processes compute the same bits?  Private to the layer train. */
#ifndef MLTFR_FINGERPRINT_H
#define MLTFR_FINGERPRINT_H

#include <mltfr/comm.h>

/* The same number where BLAS kernel and instruction set give the same bits.  @local */
uint64_t mltfr_fingerprint(void);

/* MLTFR_E_USAGE, naming a rank, where that of any rank is not rank 0's.  @collective */
mltfr_status mltfr_fingerprint_agree(mltfr_comm *comm);

#endif
