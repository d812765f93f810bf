/* Readers of the text forms, what they refuse, the split and the synthetic example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <mltfr/interactions.h>
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/selection.h>
#include <mltfr/synthetic.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/mltfr-interactions-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

/* Parse `bytes` bytes as the file `name`. */
static mltfr_status parse_bytes(int format, const char *name, const char *text, size_t bytes,
                                mltfr_interactions **out)
{
    mltfr_settings settings = mltfr_settings_defaults();
    FILE *file = fopen(path_of(name), "wb");
    mltfr_status st;

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    fclose(file);
    settings.data_path = path_of(name);
    settings.data_format = format;
    st = mltfr_interactions_parse(&settings, out);
    unlink(path_of(name));
    return st;
}

/* The sequences in one line: `user:item,item user:item`. */
static void check(int format, const char *name, const char *text, const char *expected)
{
    mltfr_interactions *data;
    char line[1024] = "";
    size_t at = 0;

    if (parse_bytes(format, name, text, strlen(text), &data) != MLTFR_OK)
        fail_msg("%s", mltfr_error_text);
    for (int64_t u = 0; u < data->users; u++) {
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%s", u > 0 ? " " : "",
                               data->user_names[u]);
        for (int64_t i = data->offsets[u]; i < data->offsets[u + 1]; i++)
            at += (size_t)snprintf(line + at, sizeof line - at, "%c%s",
                                   i == data->offsets[u] ? ':' : ',',
                                   data->item_names[data->ids[i] - 1]);
    }
    assert_string_equal(line, expected);
    assert_int_equal(data->offsets[data->users], data->count);
    mltfr_interactions_destroy(&data);
}

/* A failure, and the words its text must hold. */
static void refuse(int format, const char *name, const char *text, const char *words)
{
    mltfr_interactions *data;

    assert_int_equal(parse_bytes(format, name, text, strlen(text), &data), MLTFR_E_DATA);
    assert_null(data);
    if (strstr(mltfr_error_text, words) == NULL)
        fail_msg("'%s' lacks '%s'", mltfr_error_text, words);
    assert_null(strchr(mltfr_error_text, '\n'));
}

enum {
    AUTO = MLTFR_DATA_FORMAT_AUTO,
    INTER = MLTFR_DATA_FORMAT_INTER,
    CSV = MLTFR_DATA_FORMAT_CSV,
    MOVIELENS = MLTFR_DATA_FORMAT_MOVIELENS,
    SEQUENCES = MLTFR_DATA_FORMAT_SEQUENCES,
    PAIRS = MLTFR_DATA_FORMAT_PAIRS
};

#define HEAD "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"

static void test_inter(void **state)
{
    (void)state;
    check(INTER, "a", HEAD "u1\ti3\t1\t20\nu2\ti1\t5\t3\nu1\ti1\t2\t10\n", "u1:i1,i3 u2:i1");
    check(AUTO, "a", "timestamp:float\titem_id:token\tuser_id:token\n2\tb\tx\n1\ta\tx\n", "x:a,b");
    check(AUTO, "a.inter", "item_id:token\tuser_id:token\nb\tx\na\tx\nb\tx\n", "x:b,a,b");
    check(INTER, "a", HEAD "a\"b\t\"x\t1\t1\n", "a\"b:\"x"); /* quotes mean nothing here */
}

static void test_csv(void **state)
{
    (void)state;
    check(CSV, "a", "user_id,item_id,timestamp\nu,b,2\nu,a,1.5\nu,c,1e3\n", "u:a,b,c");
    check(AUTO, "a", "x;timestamp;item_id;user_id\n0;2;b;u\n0;-1;a;u\n", "u:a,b");
    check(AUTO, "a.tsv", "item_id\tuser_id\nb b\tu\na\tu\n", "u:b b,a");
    check(CSV, "a", "\"user_id\",\"item_id\"\n\"u, \"\"1\"\"\",b\n \"u, \"\"1\"\"\" ,\"a\nc\"\n",
          "u, \"1\":b,a\nc");
    check(CSV, "a", "user_id, item_id , timestamp\n u , b , 2 \n\n  \nu,a,1", "u:a,b");
}

static void test_lines(void **state)
{
    (void)state;
    check(AUTO, "ratings.dat", "1::20::5::9\n2::10::1::3\n1::30::3::8\n", "1:30,20 2:10");
    check(AUTO, "a.txt", "1 5 6 7\n2 6\n3 5 5\n", "1:5,6,7 2:6 3:5,5");
    check(AUTO, "a.txt", "7 b a\n8 a b\n", "7:b,a 8:a,b");
    check(AUTO, "a.txt", "1 5\n2 6\n1 4\n1 5\n", "1:5,4,5 2:6");
    check(SEQUENCES, "a.txt", "1 5\n2 6\n1 4\n", "1:5,4 2:6");
    check(PAIRS, "a.txt", "1\t5\n", "1:5");
}

static void test_line_ends(void **state)
{
    (void)state;
    check(AUTO, "a", "\xef\xbb\xbf" HEAD "u\ti\t1\t2\r\n\r\n\nu\tj\t1\t1", "u:j,i");
    check(AUTO, "a.csv", "\xef\xbb\xbfuser_id,item_id\r\nu,\"i\"\r\nu,j\r\n", "u:i,j");
    check(AUTO, "a",
          "\xef\xbb\xbf"
          "1 2 3\r\n\r\n   \r\n2 4 5 6\r\n",
          "1:2,3 2:4,5,6");
}

static void test_ties_and_duplicates(void **state)
{
    mltfr_interactions *data;
    char line[256];
    const char *text = "user_id,item_id,timestamp\n"
                       "u,c,5\nu,a,5\nu,b,5\nu,a,5\nu,a,6\nv,a,5\nu,z,1\nu,c,5\nu,a,5.0\n";

    (void)state;
    check(CSV, "a", text, "u:z,c,a,b,a v:a");
    check(CSV, "a", "user_id,item_id,timestamp\nu,d,9\nu,b,5\nu,a,5\nu,c,5\nu,e,5\nu,f,1\n",
          "u:f,b,a,c,e,d");
    assert_int_equal(parse_bytes(CSV, "a", text, strlen(text), &data), MLTFR_OK);
    mltfr_interactions_summary(data, line, sizeof line);
    assert_string_equal(line, "users=2 items=4 interactions=6 duplicates=3 short_users=1 "
                              "only_held_out=1"); /* b is validation only; a trains before */
    mltfr_interactions_destroy(&data);
}

static void test_bad_values(void **state)
{
    (void)state;
    refuse(INTER, "a", HEAD "u\ti\t1\t2\nu\ti\t1\tsoon\n", "a:3: timestamp 'soon' is not a number");
    refuse(CSV, "a", "user_id,item_id,timestamp\nu,i,nan\n", ":2: timestamp 'nan'");
    refuse(CSV, "a", "user_id,item_id,timestamp\nu,i,0x10\n", ":2: timestamp '0x10'");
    refuse(CSV, "a", "user_id,item_id,timestamp\nu,i,1e999\n", ":2: timestamp '1e999'");
    refuse(CSV, "a", "user_id,item_id,timestamp\nu,i,\n", ":2: timestamp ''");
    refuse(CSV, "a", "user_id,item_id,timestamp\n\n\nu,i\n",
           ":4: 2 columns where the header has 3");
    refuse(CSV, "a", "user_id,item_id\nu,i,1\n", ":2: 3 columns where the header has 2");
    refuse(CSV, "a", "user_id,item_id\n,i\n", ":2: the user is empty");
    refuse(CSV, "a", "user_id,item_id\nu,\"\"\n", ":2: the item is empty");
    refuse(CSV, "a", "user_id,item_id\nu,\"i\n\n", "a quote is not closed");
    refuse(CSV, "a", "user_id,item_id\nu,\"i\nj\"\nu,\n", ":4: the item is empty");
    refuse(CSV, "a", "user_id,item_id\nu,\"i\"x\n", ":2: 'x' between a quote");
    refuse(MOVIELENS, "a", "1::2::3::4\n1::2\n", ":2: 2 columns, user::item::rating::time");
    refuse(MOVIELENS, "a", "1::2::3::4::5\n", ":1: 5 columns");
    refuse(MOVIELENS, "a", "1::2::3::\n", ":1: the time ''");
    refuse(SEQUENCES, "a", "1 2 3\n2\n", ":2: user '2' has no item");
    refuse(PAIRS, "a", "1 2\n\n1 2 3\n", ":3: '1 2 3' is not a pair");
    refuse(MLTFR_DATA_FORMAT_HDF5, "a", "1 2\n", "not an HDF5 file");
}

static void test_bad_headers(void **state)
{
    (void)state;
    refuse(AUTO, "a.csv", "user,item_id\nu,i\n", ":1: the header has no column 'user_id'");
    refuse(AUTO, "a.csv", "user_id,item\nu,i\n", "no column 'item_id' (data.item_field)");
    refuse(AUTO, "a.inter", "user_id\titem_id\nu\ti\n", ":1: 'user_id' in the header has no type");
    refuse(AUTO, "a.inter", "user_id:token,item_id:token\nu,i\n", "no column 'item_id'");
    refuse(AUTO, "a", "1\t2\t3\t4\n1\t3\t3\t4\n", "the form cannot be told from lines of 4 fields");
    refuse(AUTO, "a", "1\n2\n", "set data.format to inter, csv, movielens, sequences or pairs");
}

static void test_names_of_columns(void **state)
{
    mltfr_settings s = mltfr_settings_defaults();
    mltfr_interactions *data;
    FILE *file = fopen(path_of("b"), "w");

    (void)state;
    fputs("who,what,when\nu,b,2\nu,a,1\n", file);
    fclose(file);
    s.data_path = path_of("b");
    s.data_user_field = "who", s.data_item_field = "what", s.data_time_field = "when";
    assert_int_equal(mltfr_interactions_parse(&s, &data), MLTFR_OK);
    assert_string_equal(data->item_names[data->ids[0] - 1], "a");
    mltfr_interactions_destroy(&data);
    s.data_time_field = "at"; /* asked for by name, so it must be there */
    assert_int_equal(mltfr_interactions_parse(&s, &data), MLTFR_E_DATA);
    assert_non_null(strstr(mltfr_error_text, "no column 'at' (data.time_field)"));
    unlink(path_of("b"));
}

static void test_nothing(void **state)
{
    mltfr_settings s = mltfr_settings_defaults();
    mltfr_interactions *data;

    (void)state;
    for (int format = AUTO; format <= PAIRS; format++) {
        refuse(format, "a", "", "a: no interactions");
        refuse(format, "a", "\n \r\n\t\n", "a: no interactions");
    }
    refuse(AUTO, "a.inter", HEAD, "a.inter: no interactions");
    refuse(AUTO, "a.csv", "user_id,item_id", "a.csv: no interactions");
    s.data_path = path_of("absent");
    assert_int_equal(mltfr_interactions_parse(&s, &data), MLTFR_E_DATA);
    assert_non_null(strstr(mltfr_error_text, "/absent: No such file or directory"));
    s.data_path = directory;
    assert_int_equal(mltfr_interactions_parse(&s, &data), MLTFR_E_DATA);
    assert_non_null(strstr(mltfr_error_text, "Is a directory"));
}

static void test_odd_bytes(void **state)
{
    mltfr_interactions *data;
    const size_t n = 1 << 20;
    char *huge = malloc(n + 1);

    (void)state;
    assert_int_equal(parse_bytes(AUTO, "a", "1 2\n3 4\n\0 5\n", 12, &data), MLTFR_E_DATA);
    assert_non_null(strstr(mltfr_error_text, "a:3: a NUL byte"));
    memset(huge, 'x', n); /* one line without an end, one id as long as the file */
    huge[n] = '\0';
    refuse(AUTO, "a", huge, "cannot be told");
    refuse(SEQUENCES, "a", huge, "xxx...' has no item");
    refuse(CSV, "a", huge, "no column 'user_id'");
    for (size_t i = 1; i < n; i += 2)
        huge[i] = ' ';
    assert_int_equal(parse_bytes(AUTO, "a", huge, n, &data), MLTFR_OK);
    assert_int_equal(data->count, n / 2 - 1);
    assert_int_equal(data->items, 1);
    mltfr_interactions_destroy(&data);
    free(huge);
}

/* Many users in shuffled order with falling times: the hash table and the sort at work. */
static void test_many_rows(void **state)
{
    enum { USERS = 3000, EACH = 20 };
    mltfr_interactions *data;
    size_t room = USERS * EACH * 40 + 100, at;
    char *text = malloc(room);

    (void)state;
    at = (size_t)sprintf(text, "user_id,item_id,timestamp\n");
    for (int i = 0; i < USERS * EACH; i++) {
        int u = (int)(i * 7919LL % USERS), step = i / USERS;

        at += (size_t)sprintf(text + at, "user%d,item%d,%d\n", u, (u + step) % 5000, 100 - step);
    }
    assert_int_equal(parse_bytes(AUTO, "a.csv", text, at, &data), MLTFR_OK);
    assert_int_equal(data->users, USERS);
    assert_int_equal(data->count, USERS * EACH);
    for (int64_t u = 0; u < USERS; u++) {
        int number = atoi(data->user_names[u] + 4);

        assert_int_equal(number, u * 7919 % USERS);
        for (int i = 0; i < EACH; i++) {
            int32_t id = data->ids[data->offsets[u] + i];

            assert_int_equal(atoi(data->item_names[id - 1] + 4), (number + EACH - 1 - i) % 5000);
        }
    }
    mltfr_interactions_destroy(&data);
    free(text);
}

/* A user of n items, for n = 1 .. 8: items of user u are 1 .. u + 1. */
static mltfr_interactions *staircase(void)
{
    mltfr_interactions *data;
    const char *text = "a 1\n"
                       "b 1 2\n"
                       "c 1 2 3\n"
                       "d 1 2 3 4\n"
                       "e 1 2 3 4 5\n"
                       "f 1 2 3 4 5 6\n"
                       "g 1 2 3 4 5 6 7\n"
                       "h 1 2 3 4 5 6 7 8\n";

    assert_int_equal(parse_bytes(SEQUENCES, "a", text, strlen(text), &data), MLTFR_OK);
    assert_int_equal(data->short_users, 2);
    assert_int_equal(data->only_held_out, 2); /* 7 and 8 */
    return data;
}

static void test_examples(void **state)
{
    mltfr_interactions *data = staircase();
    mltfr_example *e;
    int64_t n, k = 0;

    (void)state;
    assert_int_equal(mltfr_interactions_examples(data, 3, false, &e, &n), MLTFR_OK);
    assert_int_equal(n, 6); /* b trains whole; c has one training item, which is no transition */
    for (int32_t u = 1; u < 8; u++) {
        int32_t items = u + 1, transitions = (items >= 3 ? items - 2 : items) - 1;

        if (transitions == 0)
            continue;
        assert_int_equal(e[k].user, u);
        assert_int_equal(e[k].n, transitions < 3 ? transitions : 3);
        assert_int_equal(e[k].first + e[k].n, data->offsets[u] + transitions);
        k++;
    }
    assert_int_equal(k, n);
    MLTFR_FREE(e);
    assert_int_equal(mltfr_interactions_examples(data, 3, true, &e, &n), MLTFR_OK);
    assert_int_equal(n, 8); /* g and h: 4 and 5 transitions in two windows */
    assert_int_equal(e[4].user, 6);
    assert_int_equal(e[4].first, data->offsets[6] + 1);
    assert_int_equal(e[5].user, 6);
    assert_int_equal(e[5].n, 1);
    assert_int_equal(e[5].first, data->offsets[6]);
    assert_int_equal(e[7].n, 2);
    MLTFR_FREE(e);
    mltfr_interactions_destroy(&data);
}

static void test_cases(void **state)
{
    mltfr_interactions *data = staircase();
    mltfr_case *c;
    int64_t n;

    (void)state;
    for (int split = MLTFR_SPLIT_VALID; split <= MLTFR_SPLIT_TEST; split++) {
        int held = split == MLTFR_SPLIT_TEST ? 1 : 2;

        assert_int_equal(mltfr_interactions_cases(data, 4, (mltfr_split)split, &c, &n), MLTFR_OK);
        assert_int_equal(n, 6);
        for (int64_t i = 0; i < n; i++) {
            int items = (int)i + 3, past = items - held;

            assert_int_equal(c[i].user, i + 2);
            assert_int_equal(c[i].target, past + 1); /* item number is place + 1 */
            assert_int_equal(c[i].n, past < 4 ? past : 4);
            assert_int_equal(data->ids[c[i].first + c[i].n - 1], past);
            assert_true(c[i].first >= data->offsets[c[i].user]);
        }
        MLTFR_FREE(c);
    }
    mltfr_interactions_destroy(&data);
}

static void test_synthetic_order(void **state)
{
    mltfr_synthetic_spec spec = mltfr_synthetic_defaults();
    mltfr_interactions *data, *again;
    int64_t follows = 0, steps = 0, count[200] = {0}, most = 0;

    (void)state;
    assert_int_equal(mltfr_synthetic_make(&spec, &data), MLTFR_OK);
    assert_int_equal(mltfr_synthetic_make(&spec, &again), MLTFR_OK);
    assert_memory_equal(data->ids, again->ids, (size_t)data->count * sizeof *data->ids);
    assert_string_equal(data->item_names[199], "i200");
    assert_int_equal(data->short_users, 0);
    for (int64_t u = 0; u < data->users; u++) {
        int64_t n = data->offsets[u + 1] - data->offsets[u];
        bool seen[200] = {false};

        assert_in_range(n, 6, 30);
        for (int64_t i = data->offsets[u]; i < data->offsets[u + 1]; i++) {
            assert_in_range(data->ids[i], 1, 200);
            assert_false(seen[data->ids[i] - 1]);
            seen[data->ids[i] - 1] = true;
            count[data->ids[i] - 1]++;
            if (i > data->offsets[u]) {
                follows += data->ids[i] == data->ids[i - 1] + 10;
                steps++;
            }
        }
    }
    for (int i = 0; i < 200; i++)
        most = count[i] > most ? count[i] : most;
    assert_true(follows > steps / 4);     /* the successor is the best guess */
    assert_true(most < data->count / 20); /* by far better than the most popular item */
    mltfr_interactions_destroy(&data);
    spec.seed = 2;
    assert_int_equal(mltfr_synthetic_make(&spec, &data), MLTFR_OK);
    assert_true(data->count != again->count);
    mltfr_interactions_destroy(&data);
    mltfr_interactions_destroy(&again);
    spec.items = 29;
    assert_int_equal(mltfr_synthetic_make(&spec, &data), MLTFR_E_USAGE);
}

static float cosine(const float *a, const float *b, int64_t n)
{
    float ab = 0, aa = 0, bb = 0;

    for (int64_t j = 0; j < n; j++)
        ab += a[j] * b[j], aa += a[j] * a[j], bb += b[j] * b[j];
    return ab / sqrtf(aa * bb);
}

static void test_synthetic_spaces(void **state)
{
    mltfr_synthetic_spec spec = mltfr_synthetic_defaults();
    int64_t rows[3], width[3];
    float *Z[3], same = 0, other = 0, pair = 0;

    (void)state;
    for (int k = 0; k < 3; k++)
        assert_int_equal(mltfr_synthetic_space(&spec, k, &rows[k], &width[k], &Z[k]), MLTFR_OK);
    assert_int_equal(rows[0], 600);
    assert_int_equal(rows[1], 500);
    assert_int_equal(rows[2], 300);
    assert_int_equal(width[1], 32);
    assert_int_equal(width[2], 16);
    for (int64_t j = 0; j < 32; j++) { /* E10, up to the few rows that are clipped */
        double mean = 0, square = 0;

        for (int64_t v = 0; v < 600; v++) {
            mean += Z[0][v * 32 + j] / 600.;
            square += Z[0][v * 32 + j] * Z[0][v * 32 + j] / 600.;
        }
        assert_true(fabs(mean) < .01 && fabs(square * 32 - 1) < .05);
    }
    for (int64_t v = 0; v < 290; v++) {
        same += cosine(Z[0] + v * 32, Z[0] + (v + 10) * 32, 16) / 290;
        other += cosine(Z[0] + v * 32, Z[0] + (v + 5) * 32, 16) / 290;
        pair += cosine(Z[0] + v * 32, Z[1] + v * 32, 16) / 290;
        for (int64_t j = 0; j < 16; j++)
            assert_float_equal(Z[2][v * 16 + j], (Z[0][v * 32 + j] + Z[1][v * 32 + j]) / 2, 1e-6);
    }
    assert_true(same > .6 && other < .3);   /* clusters */
    assert_true(pair > same && pair > .85); /* and a correspondence of rows beyond them */
    for (int k = 0; k < 3; k++)
        MLTFR_FREE(Z[k]);
    assert_int_equal(mltfr_synthetic_space(&spec, 3, rows, width, Z), MLTFR_E_USAGE);
}

static int setup(void **state)
{
    (void)state;
    mltfr_log_setup(0, true);
    return mkdtemp(directory) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(directory) != 0 || mltfr_mem_now() != 0;
}

/* A name that stands twice would give all later ones the number of the one before. */
static void test_names(void **state)
{
    char a[] = "a", b[] = "b", c[] = "c", x[] = "x", *names[] = {a, b, a, c}, *asked[] = {c, x};
    int32_t number[2];

    (void)state;
    assert_int_equal(mltfr_names_match(asked, 2, names + 1, 3, number), MLTFR_OK);
    assert_int_equal(number[0], 2);
    assert_int_equal(number[1], -1);
    assert_int_equal(mltfr_names_match(asked, 2, names, 4, number), MLTFR_E_DATA);
    assert_non_null(strstr(mltfr_error_text, "the name 'a' is there twice"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_inter),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_ties_and_duplicates),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_names_of_columns),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_odd_bytes),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_synthetic_order),
        cmocka_unit_test(test_synthetic_spaces),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
