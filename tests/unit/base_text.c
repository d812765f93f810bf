/* Strings: buffer, strict numbers, durations, edit distance, loading. */
#include <mltfr/text.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int no_leak(void **state)
{
    (void)state;
    return mltfr_mem_now() != 0;
}

static void test_buffer(void **state)
{
    mltfr_text text = {0};
    char *all = NULL;

    (void)state;
    assert_int_equal(mltfr_text_take(&text, &all), MLTFR_OK);
    assert_string_equal(all, "");
    MLTFR_FREE(all);
    for (int i = 0; i < 1000; i++)
        mltfr_text_add(&text, "%03d", i);
    mltfr_text_add_quoted(&text, "a\"\\\n\x7f");
    assert_int_equal(mltfr_text_take(&text, &all), MLTFR_OK);
    assert_int_equal(strlen(all), 3000 + 19);
    assert_int_equal(strncmp(all + 2994, "998999", 6), 0);
    assert_string_equal(all + 3000, "\"a\\\"\\\\\\u000a\\u007f\"");
    assert_null(text.data);
    MLTFR_FREE(all);
}

static void real_is(double x, const char *expected)
{
    mltfr_text text = {0};

    mltfr_text_add_real(&text, x);
    assert_string_equal(text.data, expected);
    mltfr_text_destroy(&text);
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"",    " 1",  "1 ", "0x10",  "1e",
                                      "nan", "inf", "-",  "1.2.3", "+-1"};
    int64_t i;
    double x;

    (void)state;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        assert_false(mltfr_text_to_i64(bad[k], &i));
        assert_false(mltfr_text_to_f64(bad[k], &x));
    }
    assert_true(mltfr_text_to_i64("-9223372036854775808", &i) && i == INT64_MIN);
    assert_false(mltfr_text_to_i64("9223372036854775808", &i));
    assert_false(mltfr_text_to_i64("1.0", &i));
    assert_true(mltfr_text_to_f64("-.5e-3", &x) && x == -.5e-3);
    assert_false(mltfr_text_to_f64("1e999", &x));
    real_is(10, "10");
    real_is(.1, "0.1");
    real_is(1e-8, "1e-08");
    real_is(0.30000000000000004, "0.30000000000000004");
}

static void stop_is(const char *word, int64_t steps, int64_t seconds)
{
    int64_t a, b;

    assert_true(mltfr_text_to_stop(word, &a, &b));
    assert_int_equal(a, steps);
    assert_int_equal(b, seconds);
}

static void test_stop(void **state)
{
    static const char *const bad[] = {"0", "3x", "m", "5m3h", "1h1h", "0s", "-3", "3h 5m", "1.5h"};
    int64_t a, b;

    (void)state;
    stop_is("", 0, 0);
    stop_is("15", 15, 0);
    stop_is("90s", 0, 90);
    stop_is("3h50m", 0, 13800);
    stop_is("1d2s", 0, 86402);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_false(mltfr_text_to_stop(bad[k], &a, &b));
}

static void test_distance(void **state)
{
    mltfr_nearest nearest = {.word = "trian"};
    char longer[200];

    (void)state;
    assert_int_equal(mltfr_text_distance("", ""), 0);
    assert_int_equal(mltfr_text_distance("abc", ""), 3);
    assert_int_equal(mltfr_text_distance("", "abc"), 3);
    assert_int_equal(mltfr_text_distance("kitten", "sitting"), 3);
    assert_int_equal(mltfr_text_distance("bacth", "batch"), 1);
    assert_int_equal(mltfr_text_distance("Batch", "batch"), 0);
    memset(longer, 'x', sizeof longer);
    longer[199] = '\0';
    assert_int_equal(mltfr_text_distance(longer, "x"), 198);
    assert_int_equal(mltfr_text_distance("x", longer), 199);
    mltfr_nearest_try(&nearest, "tokens");
    mltfr_nearest_try(&nearest, "train");
    mltfr_nearest_try(&nearest, "trial");
    assert_string_equal(nearest.name, "train");
}

static void load_fails(const char *path, const char *text)
{
    char *all = NULL;

    assert_int_equal(mltfr_text_load(path, &all), MLTFR_E_IO);
    assert_null(all);
    assert_non_null(strstr(mltfr_error_text, text));
}

static void test_load(void **state)
{
    char path[] = "/tmp/base_text.XXXXXX", *all = NULL;
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, "a\nb", 3), 3);
    assert_int_equal(mltfr_text_load(path, &all), MLTFR_OK);
    assert_string_equal(all, "a\nb");
    MLTFR_FREE(all);
    assert_int_equal(write(fd, "\0", 1), 1);
    load_fails(path, "not a text file");
    close(fd);
    unlink(path);
    load_fails(path, "No such file");
    load_fails("/tmp", "Is a directory");
    load_fails("/dev/zero", "not a text file");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, no_leak)
    const struct CMUnitTest tests[] = {TEST(test_buffer), TEST(test_numbers), TEST(test_stop),
                                       TEST(test_distance), TEST(test_load)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
