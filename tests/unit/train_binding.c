/* Ranks that share cores, from what they say of themselves. */
#include "binding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { RANKS = 4 };

/* Rank i on host 'a' + host[i] with cores [first[i], last[i]]. */
static void warn_of(const int host[], const int first[], const int last[], int n, char text[512])
{
    mltfr_place_of_rank ranks[RANKS];

    memset(ranks, 0, sizeof ranks);
    for (int i = 0; i < n; i++) {
        snprintf(ranks[i].host, sizeof ranks[i].host, "host%d", host[i]);
        for (int c = first[i]; c <= last[i]; c++)
            CPU_SET(c, &ranks[i].cores);
    }
    mltfr_binding_warning(n, ranks, text, 512);
}

static void test_enough(void **state)
{
    char text[512];

    (void)state;
    warn_of((int[]){0, 0, 0, 0}, (int[]){0, 1, 2, 3}, (int[]){0, 1, 2, 3}, 4, text);
    assert_string_equal(text, ""); /* each its own core */
    warn_of((int[]){0, 0, 0, 0}, (int[]){0, 0, 0, 0}, (int[]){3, 3, 3, 3}, 4, text);
    assert_string_equal(text, ""); /* not bound, four cores */
    warn_of((int[]){0, 0, 1, 1}, (int[]){0, 1, 0, 1}, (int[]){0, 1, 0, 1}, 4, text);
    assert_string_equal(text, ""); /* the same numbers on two hosts */
    warn_of((int[]){0, 0, 0}, (int[]){0, 0, 2}, (int[]){1, 2, 2}, 3, text);
    assert_string_equal(text, ""); /* overlapping, but enough for each */
}

static void test_one_core(void **state)
{
    char text[512];

    (void)state;
    warn_of((int[]){0, 0, 1, 1}, (int[]){0, 1, 1, 1}, (int[]){0, 1, 1, 1}, 4, text);
    assert_non_null(strstr(text, "2 ranks (2 and 3 are the first) run on one core of host1"));
    assert_non_null(strstr(text, "--bind-to core"));
    warn_of((int[]){0, 0, 0}, (int[]){0, 0, 0}, (int[]){1, 0, 0}, 3, text);
    assert_non_null(strstr(text, "2 ranks (1 and 2 are the first) run on one core of host0"));
}

static void test_few_cores(void **state)
{
    char text[512];

    (void)state;
    warn_of((int[]){0, 0, 0, 0}, (int[]){0, 0, 0, 0}, (int[]){2, 2, 2, 2}, 4, text);
    assert_non_null(strstr(text, "4 ranks share 3 cores of host0"));
    assert_non_null(strstr(text, "OMPI_MCA_mpi_yield_when_idle=1"));
    warn_of((int[]){0, 0, 0}, (int[]){0, 0, 0}, (int[]){1, 0, 1}, 3, text);
    assert_non_null(strstr(text, "3 ranks share 2 cores of host0")); /* though rank 1 has its own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enough),
        cmocka_unit_test(test_one_core),
        cmocka_unit_test(test_few_cores),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
