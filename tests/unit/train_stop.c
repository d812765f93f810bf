/* When a run is to stop: signals, the file, steps, and a clock that leaves time for a checkpoint.
 */
#include "stop.h"

#include <mltfr/trainer.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/mltfr_stop_XXXXXX";

static mltfr_settings settings(const char *stop_after)
{
    return (mltfr_settings){.run_dir = dir, .run_stop_after = stop_after, .run_margin = 30};
}

/* A start of rank 0 in a job that ends in so many seconds. */
static mltfr_stop begin(const char *stop_after, int job_seconds)
{
    const mltfr_settings set = settings(stop_after);
    mltfr_stop stop;
    char end[32];

    snprintf(end, sizeof end, "%lld", (long long)time(NULL) + job_seconds);
    setenv("SLURM_JOB_END_TIME", end, 1);
    if (job_seconds == 0)
        unsetenv("SLURM_JOB_END_TIME");
    assert_int_equal(mltfr_stop_begin(&set, true, &stop), MLTFR_OK);
    return stop;
}

static void check_stops(mltfr_stop *stop, int64_t steps, const char *why)
{
    assert_int_equal(mltfr_stop_look(stop, steps), MLTFR_STOPPED);
    if (strstr(mltfr_error_text, why) == NULL)
        fail_msg("'%s' is not in '%s'", why, mltfr_error_text);
}

static void test_nothing(void **state)
{
    mltfr_stop stop = begin("", 0);

    (void)state;
    mltfr_stop_saved(&stop, 0., 1e9);
    for (int64_t steps = 0; steps < 5; steps++)
        assert_int_equal(mltfr_stop_look(&stop, steps), MLTFR_OK);
    mltfr_stop_end();
}

static void test_steps(void **state)
{
    mltfr_stop stop = begin("3", 0);

    (void)state;
    assert_int_equal(mltfr_stop_look(&stop, 2), MLTFR_OK);
    check_stops(&stop, 3, "run.stop_after=3");
    mltfr_stop_end();
}

/* On any rank, before and within the run; a second one, or one after the run, does no harm. */
static void test_signals(void **state)
{
    const int number[] = {SIGUSR1, SIGTERM, SIGUSR1};
    const char *const name[] = {"SIGUSR1", "SIGTERM", "SIGUSR1"};
    const mltfr_settings set = settings("");
    mltfr_stop stop;

    (void)state;
    for (int i = 0; i < 3; i++) {
        mltfr_train_listen();
        if (i == 2)
            raise(number[i]);
        assert_int_equal(mltfr_stop_begin(&set, i == 0, &stop), MLTFR_OK);
        if (i < 2)
            assert_int_equal(mltfr_stop_look(&stop, 0), MLTFR_OK);
        raise(number[i]);
        raise(number[i]);
        check_stops(&stop, 0, name[i]);
        mltfr_stop_end();
        raise(number[i]);
        mltfr_stop_end();
    }
    assert_int_equal(mltfr_stop_begin(&set, false, &stop), MLTFR_OK);
    assert_int_equal(mltfr_stop_look(&stop, 0), MLTFR_OK); /* those were of other runs */
    mltfr_stop_end();
}

/* Seen by rank 0, once. */
static void test_file(void **state)
{
    const mltfr_settings set = settings("");
    mltfr_stop first = begin("", 0), other;
    char path[64];

    (void)state;
    assert_int_equal(mltfr_stop_begin(&set, false, &other), MLTFR_OK);
    snprintf(path, sizeof path, "%s/stop", dir);
    fclose(fopen(path, "w"));
    assert_int_equal(mltfr_stop_look(&other, 1), MLTFR_OK);
    check_stops(&first, 1, "the file stop");
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(mltfr_stop_look(&first, 2), MLTFR_OK);
    mltfr_stop_end();
}

/* 100 s, 30 of them free: there is time for checkpoints of 60 s, not for those of 75 s. */
static void test_job_end(void **state)
{
    mltfr_stop stop = begin("", 100);

    (void)state;
    assert_int_equal(mltfr_stop_look(&stop, 0), MLTFR_OK);
    mltfr_stop_saved(&stop, 0., 60.);
    assert_int_equal(mltfr_stop_look(&stop, 1), MLTFR_OK);
    mltfr_stop_saved(&stop, 0., 75.);
    mltfr_stop_saved(&stop, 0., 1.); /* the slowest counts */
    check_stops(&stop, 2, "SLURM_JOB_END_TIME");
    mltfr_stop_end();
}

/* A step that took 80 s, besides a checkpoint: the next one would end too late. */
static void test_slow_step(void **state)
{
    mltfr_stop stop = begin("", 100);

    (void)state;
    assert_int_equal(mltfr_stop_look(&stop, 0), MLTFR_OK);
    stop.looked -= 85.;
    mltfr_stop_saved(&stop, 5., 1.);
    check_stops(&stop, 1, "a step takes 80");
    mltfr_stop_end();
}

static void test_too_late(void **state)
{
    mltfr_stop stop = begin("", 20);

    (void)state;
    check_stops(&stop, 0, "too soon for a step");
    mltfr_stop_end();
}

/* What is no end of this job is none. */
static void test_no_end(void **state)
{
    const char *const words[] = {"", "soon", "1e9", "12", "-1"};
    const mltfr_settings set = settings("");
    mltfr_stop stop;

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        setenv("SLURM_JOB_END_TIME", words[i], 1);
        assert_int_equal(mltfr_stop_begin(&set, true, &stop), MLTFR_OK);
        assert_int_equal(mltfr_stop_look(&stop, 0), MLTFR_OK);
        mltfr_stop_end();
    }
}

/* What comes before the first step, as conditioning, is a part of the time. */
static void test_from_the_start(void **state)
{
    (void)state;
    mltfr_stop_end();
    mltfr_train_listen();
    sleep(1);
    mltfr_stop stop = begin("1s", 0);

    check_stops(&stop, 1, "run.stop_after is in");
    mltfr_stop_end();
}

/* The earlier of two ends counts; run.stop_after lets one step pass, and keeps no margin. */
static void test_stop_after(void **state)
{
    mltfr_stop stop = begin("10s", 1000);

    (void)state;
    assert_int_equal(mltfr_stop_look(&stop, 0), MLTFR_OK);
    mltfr_stop_saved(&stop, 0., 5.);
    assert_int_equal(mltfr_stop_look(&stop, 1), MLTFR_OK);
    mltfr_stop_saved(&stop, 0., 20.);
    assert_int_equal(mltfr_stop_look(&stop, 0), MLTFR_OK);
    check_stops(&stop, 1, "run.stop_after");
    mltfr_stop_end();
    stop = begin("1h", 100);
    assert_int_equal(mltfr_stop_look(&stop, 0), MLTFR_OK);
    mltfr_stop_saved(&stop, 0., 80.);
    check_stops(&stop, 1, "SLURM_JOB_END_TIME");
    mltfr_stop_end();
}

static void test_bad_word(void **state)
{
    const mltfr_settings set = settings("soon");
    mltfr_stop stop;

    (void)state;
    assert_int_equal(mltfr_stop_begin(&set, true, &stop), MLTFR_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_signals),        cmocka_unit_test(test_file),
        cmocka_unit_test(test_job_end),        cmocka_unit_test(test_slow_step),
        cmocka_unit_test(test_too_late),       cmocka_unit_test(test_no_end),
        cmocka_unit_test(test_from_the_start), cmocka_unit_test(test_stop_after),
        cmocka_unit_test(test_bad_word),
    };

    if (mkdtemp(dir) == NULL)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return rmdir(dir) != 0 || failed;
}
