/* What this machine can do, measured in milliseconds.  Private to the layer train. */
#ifndef MLTFR_MEASURE_H
#define MLTFR_MEASURE_H

#include <mltfr/comm.h>

typedef enum { MLTFR_GEMM_NN, MLTFR_GEMM_NT, MLTFR_GEMM_TN, MLTFR_GEMM_BLAS } mltfr_gemm_form;

/* C[m][n] of a form of mltfr/linalg.h with k products each; BLAS: nn by BLAS itself. */
typedef struct {
    mltfr_gemm_form form;
    int64_t m, n, k;
} mltfr_gemm_shape;

/* The best GF/s of repetitions over about so many seconds, at least two.  @local */
mltfr_status mltfr_measure_gemm(mltfr_gemm_shape shape, double seconds, double *gflops);

/* The sum over ranks that all measure BLAS at once: what there is to be had.  @collective */
mltfr_status mltfr_measure_peak(mltfr_comm *comm, int64_t n, double seconds, double *gflops);

/* Best bytes a second of copying more than a cache holds.  @local */
mltfr_status mltfr_measure_copy(double seconds, double *bytes_per_second);

/* Median seconds of an exchange in which each rank sends `bytes` to each rank.  @collective */
mltfr_status mltfr_measure_exchange(mltfr_comm *comm, int64_t bytes, double seconds, double *out);

/* Shall all ranks go on measuring?  At least `least` times, then until the seconds are over by rank
 * 0's clock.  @collective */
bool mltfr_measure_more(mltfr_comm *comm, int done, int least, double begin, double seconds);

#endif
