/* Progress: what a bar looks like, and when it is time for a word. */
#include <mltfr/log.h>
#include <mltfr/progress.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void test_bar(void **state)
{
    char text[MLTFR_BAR_BYTES];

    (void)state;
    assert_string_equal(mltfr_progress_bar(0., text), "[........................]   0%");
    assert_string_equal(mltfr_progress_bar(.5, text), "[############............]  50%");
    assert_string_equal(mltfr_progress_bar(1., text), "[########################] 100%");
}

static void test_due(void **state)
{
    const struct timespec pause = {0, 250000000};
    double last = 0.;

    (void)state;
    mltfr_progress_setup(MLTFR_PROGRESS_NONE);
    assert_false(mltfr_progress_due(&last));
    mltfr_progress_setup(MLTFR_PROGRESS_BAR);
    last = mltfr_seconds();
    assert_false(mltfr_progress_due(&last));
    nanosleep(&pause, NULL);
    assert_true(mltfr_progress_due(&last));
    assert_false(mltfr_progress_due(&last));
}

/* A task is shown on the way, not at its ends. */
static void test_task(void **state)
{
    const struct timespec pause = {0, 250000000};
    mltfr_task task;

    (void)state;
    mltfr_progress_setup(MLTFR_PROGRESS_BAR);
    task = mltfr_task_begin("test", "things", 10);
    nanosleep(&pause, NULL);
    mltfr_task_show(&task, 0);
    mltfr_task_show(&task, 10);
    assert_true(task.last <= task.begin && task.last >= task.begin);
    mltfr_task_show(&task, 5);
    assert_true(task.last > task.begin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bar),
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_task),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
