/* What BLAS is, and that it uses one thread. */
#include <mltfr/versions.h>

#include <cblas.h>
#include <stdio.h>

void mltfr_blas_version(char *text, size_t bytes)
{
    snprintf(text, bytes, "%s", openblas_get_config());
}

const char *mltfr_blas_kernel(void)
{
    return openblas_get_corename();
}

void mltfr_blas_setup(void)
{
    openblas_set_num_threads(1);
}
