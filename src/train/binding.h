/* Where the ranks run, checked once at the start.  Private to the layer train. */
#ifndef MLTFR_BINDING_H
#define MLTFR_BINDING_H

#include <mltfr/comm.h>

#include <sched.h>

enum { HOST_BYTES = 64, KERNEL_BYTES = 32 };

/* One rank, as it says itself. */
typedef struct {
    char host[HOST_BYTES], kernel[KERNEL_BYTES]; /* of BLAS */
    uint64_t fingerprint;
    cpu_set_t cores; /* it may run on; a core is its first hardware thread */
} mltfr_place_of_rank;

/* One line of warning, with the remedy, where ranks have to share cores: more of them may only run
 * on some cores than there are.  The text is empty where there is nothing to say.  @local */
void mltfr_binding_warning(int size, const mltfr_place_of_rank ranks[], char *text, size_t bytes);

/* All ranks tell where they run.  Warns of shared cores and of other BLAS kernels.  @collective
 *  @return MLTFR_E_USAGE naming the first rank, with its host, that computes other bits than rank 0
 */
mltfr_status mltfr_binding_check(mltfr_comm *comm);

#endif
