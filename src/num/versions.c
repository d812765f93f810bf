/* What BLAS is, that it uses one thread, and that its kernel fits the processor. */
#include <mltfr/versions.h>

#include <cblas.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* OpenBLAS's own functions that choose the kernel, once, when the library is loaded: they are not
 * in its header, and may be absent. */
void gotoblas_dynamic_init(void) __attribute__((weak));
void gotoblas_dynamic_quit(void) __attribute__((weak));

/* OpenBLAS takes the kernels of 2004 for a processor that is newer than itself, ten times slower
 * than those it has for the same instructions (0.3.21 on an Emerald Rapids).  NULL: it chose well,
 * or was told what to choose. */
static const char *better_kernel(void)
{
    if (getenv("OPENBLAS_CORETYPE") != NULL || strcmp(openblas_get_corename(), "Prescott") != 0)
        return NULL;
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "Haswell";
#endif
    return NULL;
}

/* Before main: no product is made with one kernel and the next with another. */
__attribute__((constructor)) static void choose_kernel(void)
{
    const char *name = better_kernel();

    if (name == NULL || gotoblas_dynamic_init == NULL || gotoblas_dynamic_quit == NULL)
        return;
    setenv("OPENBLAS_CORETYPE", name, 1);
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv("OPENBLAS_CORETYPE");
}

void mltfr_blas_version(char *text, size_t bytes)
{
    snprintf(text, bytes, "%s", openblas_get_config());
}

const char *mltfr_blas_kernel(void)
{
    return openblas_get_corename();
}

#ifdef __x86_64__
#define CPU_HAS(feature) __builtin_cpu_supports(feature)
#define CPU_IS(vendor)   __builtin_cpu_is(vendor)
#else
#define CPU_HAS(feature) false
#define CPU_IS(vendor)   false
#endif

static bool is_one_of(const char *name, const char *const names[])
{
    while (*names != NULL && strcasecmp(name, *names) != 0)
        names++;
    return *names != NULL;
}

const char *mltfr_blas_faster(const char *kernel)
{
    static const char *const wide[] = {"SkylakeX", "Cooperlake", "Sapphirerapids", NULL};
    static const char *const old[] = {"Prescott", "Core2",       "Penryn",
                                      "Nehalem",  "Sandybridge", NULL};

    if (CPU_IS("intel") && CPU_HAS("avx512bw") && CPU_HAS("avx512vl") && !is_one_of(kernel, wide))
        return wide[0];
    return CPU_HAS("avx2") && CPU_HAS("fma") && is_one_of(kernel, old) ? "Haswell" : NULL;
}

void mltfr_blas_setup(void)
{
    openblas_set_num_threads(1);
}
