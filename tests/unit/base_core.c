/* Memory, random numbers, status: what everything else stands on. */
#include <mltfr/crc.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- memory -------------------------------------------------------------------------------- */

static void memory_is_zeroed_and_counted(void **state)
{
    (void)state;
    for (size_t n = 0; n < 300; n += 7) {
        double *x;
        assert_int_equal(MLTFR_NEW(x, n), MLTFR_OK);
        assert_non_null(x);
        assert_int_equal((uintptr_t)x % 64, 0);
        assert_true(mltfr_mem_now() >= n * sizeof *x);
        assert_true(mltfr_mem_peak() >= mltfr_mem_now());
        for (size_t i = 0; i < n; i++) {
            assert_true(x[i] == 0.);
            x[i] = 1.; /* dirty for the next one */
        }
        MLTFR_FREE(x);
        assert_null(x);
        MLTFR_FREE(x);
        assert_int_equal(mltfr_mem_now(), 0);
    }
}

static void too_much_memory(void **state)
{
    const size_t sizes[][2] = {{SIZE_MAX, 1}, {SIZE_MAX / 2, 3}, {SIZE_MAX / 8 + 1, 8}};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *p = &p;
        mltfr_error_text[0] = '\0';
        assert_int_equal(mltfr_alloc(&p, sizes[i][0], sizes[i][1]), MLTFR_E_NOMEM);
        assert_null(p);
        assert_non_null(strstr(mltfr_error_text, "out of memory"));
    }
    assert_int_equal(mltfr_mem_now(), 0);
}

static void rooms_grow(void **state)
{
    mltfr_room room = {0};
    int32_t *a, *b;

    (void)state;
    assert_int_equal(MLTFR_TAKE(&room, a, 0), MLTFR_OK);
    assert_non_null(a);
    assert_int_equal(MLTFR_TAKE(&room, a, 10), MLTFR_OK);
    a[9] = 5;
    assert_int_equal(MLTFR_TAKE(&room, b, 4), MLTFR_OK); /* it fits: the same room */
    assert_ptr_equal(a, b);
    assert_int_equal(b[9], 5);
    assert_int_equal(MLTFR_TAKE(&room, b, 1000), MLTFR_OK);
    assert_true(room.bytes >= 4000);
    assert_int_equal(mltfr_room_take(&room, &b, SIZE_MAX / 2, 4), MLTFR_E_NOMEM);
    mltfr_room_release(&room);
    mltfr_room_release(&room);
    assert_int_equal(mltfr_mem_now(), 0);
}

static void strings_are_copied(void **state)
{
    char text[] = "tokens", *copy;

    (void)state;
    assert_int_equal(mltfr_strdup(text, &copy), MLTFR_OK);
    text[0] = 'x';
    assert_string_equal(copy, "tokens");
    MLTFR_FREE(copy);
}

/* ---- random numbers ------------------------------------------------------------------------ */

/* Each of 0 .. n - 1 once, in another order for another key. */
static void permutations(void **state)
{
    const uint64_t sizes[] = {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const uint64_t n = sizes[s];
        uint64_t differ = 0;
        uint8_t *seen;
        assert_int_equal(MLTFR_NEW(seen, n), MLTFR_OK);
        for (uint64_t i = 0; i < n; i++) {
            const uint64_t at = mltfr_rng_permute(7, n, i);
            assert_true(at < n);
            assert_int_equal(seen[at]++, 0);
            differ += at != mltfr_rng_permute(8, n, i);
        }
        assert_true(n < 16 || differ > n / 2);
        MLTFR_FREE(seen);
    }
}

/* Where each element goes is nearly uniform over keys. */
static void permutations_are_even(void **state)
{
    enum { N = 7, TRIALS = 7000 };
    int64_t count[N] = {0};

    (void)state;
    for (uint64_t t = 0; t < TRIALS; t++)
        count[mltfr_rng_permute(mltfr_rng_key(1, MLTFR_RNG_SHUFFLE, t), N, 3)]++;
    for (int i = 0; i < N; i++)
        assert_true(llabs(count[i] - TRIALS / N) < 6 * 31); /* six standard deviations */
}

static void uniforms_and_normals(void **state)
{
    enum { N = 100000 };
    const uint64_t key = mltfr_rng_key(5, MLTFR_RNG_INIT, 2);
    double sum = 0, square = 0, normal = 0, normal_square = 0, lag = 0, last = 0;

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        const double u = mltfr_rng_uniform(key, i), x = mltfr_rng_normal(key, i);
        assert_true(u >= 0. && u < 1. && isfinite(x));
        assert_true(mltfr_rng_below(key, i, 10) < 10);
        sum += u / N;
        square += u * u / N;
        normal += x / N;
        normal_square += x * x / N;
        lag += x * last / N;
        last = x;
    }
    assert_true(fabs(sum - .5) < 5 * .29 / sqrt(N));
    assert_true(fabs(square - 1. / 3.) < 5 * .3 / sqrt(N));
    assert_true(fabs(normal) < 5 / sqrt(N));
    assert_true(fabs(normal_square - 1) < 5 * sqrt(2. / N));
    assert_true(fabs(lag) < 5 / sqrt(N));
}

/* Another seed, purpose, step or index gives another number; the same ones the same. */
static void streams_differ(void **state)
{
    const uint64_t key = mltfr_rng_key(1, MLTFR_RNG_DROPOUT, 3);

    (void)state;
    assert_true(key == mltfr_rng_key(1, MLTFR_RNG_DROPOUT, 3));
    assert_true(key != mltfr_rng_key(2, MLTFR_RNG_DROPOUT, 3));
    assert_true(key != mltfr_rng_key(1, MLTFR_RNG_FISHER, 3));
    assert_true(key != mltfr_rng_key(1, MLTFR_RNG_DROPOUT, 4));
    assert_true(mltfr_rng_bits(key, 0) != mltfr_rng_bits(key, 1));
    assert_true(mltfr_rng_bits(key, 1) == mltfr_rng_bits(key, 1));
}

/* Shares of 32-bit numbers below a limit, along a row and along the rows. */
static void masks_are_even(void **state)
{
    enum { N = 20000 };
    const uint32_t limit = UINT32_C(1) << 30; /* a quarter */
    int64_t along = 0, down = 0;

    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        along += mltfr_rng_bits32(12345, i) < limit;
        down += mltfr_rng_bits32((uint32_t)mltfr_rng_key(1, MLTFR_RNG_DROPOUT, i), 3) < limit;
    }
    assert_true(llabs(along - N / 4) < 6 * 61);
    assert_true(llabs(down - N / 4) < 6 * 61);
}

/* ---- status -------------------------------------------------------------------------------- */

static mltfr_status leave(mltfr_status code, bool *past)
{
    mltfr_status st = MLTFR_OK;

    *past = false;
    MLTFR_TRY(code);
    *past = true;
    MLTFR_FAIL(MLTFR_E_DATA, "line %d: %s", 3, "bad");
done:
    return st;
}

static void failures_are_passed_on(void **state)
{
    bool past;

    (void)state;
    assert_int_equal(leave(MLTFR_E_IO, &past), MLTFR_E_IO);
    assert_false(past);
    assert_int_equal(leave(MLTFR_OK, &past), MLTFR_E_DATA);
    assert_true(past);
    assert_string_equal(mltfr_error_text, "line 3: bad");
}

static void long_texts_are_cut(void **state)
{
    static char text[3 * MLTFR_ERROR_BYTES];

    (void)state;
    memset(text, 'a', sizeof text - 1);
    assert_int_equal(mltfr_fail(MLTFR_E_USAGE, "%s", text), MLTFR_E_USAGE);
    assert_int_equal(strlen(mltfr_error_text), MLTFR_ERROR_BYTES - 1);
}

/* Mild to severe, and the exit status that scripts rely on. */
static void exit_statuses(void **state)
{
    (void)state;
    assert_int_equal(mltfr_status_exit(MLTFR_OK), 0);
    assert_int_equal(mltfr_status_exit(MLTFR_STOPPED), 75);
    assert_int_equal(mltfr_status_exit(MLTFR_E_DATA), 1);
    assert_int_equal(mltfr_status_exit(MLTFR_E_NOMEM), 1);
    assert_int_equal(mltfr_status_exit(MLTFR_E_USAGE), 2);
    assert_int_equal(mltfr_status_exit(MLTFR_E_INTERNAL), 70);
    assert_true(MLTFR_OK < MLTFR_STOPPED && MLTFR_STOPPED < MLTFR_E_DATA &&
                MLTFR_E_DATA < MLTFR_E_INTERNAL);
    for (int code = MLTFR_OK; code <= MLTFR_E_INTERNAL; code++)
        assert_true(strlen(mltfr_status_text((mltfr_status)code)) > 0);
}

static int nothing_held(void **state)
{
    (void)state;
    return mltfr_mem_now() != 0;
}

/* ---- checksums ----------------------------------------------------------------------------- */

static void crc_is_the_known_one(void **state)
{
    uint8_t x[48] = {0};

    (void)state; /* the examples of RFC 3720 */
    assert_int_equal(mltfr_crc_standard(mltfr_crc(0, "123456789", 9), 9), 0xe3069283);
    assert_int_equal(mltfr_crc_standard(mltfr_crc(0, x, 32), 32), 0x8a9136aa);
    for (int i = 0; i < 32; i++)
        x[i] = (uint8_t)i;
    assert_int_equal(mltfr_crc_standard(mltfr_crc(0, x, 32), 32), 0x46dd794e);
    assert_int_equal(mltfr_crc_standard(0, 0), 0);
}

/* Any cut, over the border of what is summed at a time, and any place in memory. */
static void crc_of_parts(void **state)
{
    enum { N = 40000 };
    static uint8_t x[N];
    uint32_t whole, one = 0;

    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = (uint8_t)mltfr_rng_bits(7, (uint64_t)i);
    whole = mltfr_crc(0, x, N);
    for (int i = 0; i < N; i++)
        one = mltfr_crc(one, x + i, 1);
    assert_int_equal(one, whole);
    for (int cut = 0; cut <= N; cut += 997) {
        const uint32_t a = mltfr_crc(0, x, cut), b = mltfr_crc(0, x + cut, N - cut);
        assert_int_equal(mltfr_crc_shift(a, N - cut) ^ b, whole);
        assert_int_equal(mltfr_crc(a, x + cut, N - cut), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_counted),
        cmocka_unit_test(too_much_memory),
        cmocka_unit_test(rooms_grow),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(permutations),
        cmocka_unit_test(permutations_are_even),
        cmocka_unit_test(uniforms_and_normals),
        cmocka_unit_test(streams_differ),
        cmocka_unit_test(masks_are_even),
        cmocka_unit_test(failures_are_passed_on),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(exit_statuses),
        cmocka_unit_test(crc_is_the_known_one),
        cmocka_unit_test(crc_of_parts),
    };

    return cmocka_run_group_tests(tests, NULL, nothing_held);
}
