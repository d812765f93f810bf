/* Token tables in several files, and which tensor of several is the table: splits, shards, pieces,
 * directories; names, rows and strings that fit. */
#include <mltfr/mem.h>
#include <mltfr/table.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "table_files.h"

static buffer b;

static int set_up(void **state)
{
    (void)state;
    make_folder();
    mltfr_error_text[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder();
    return mltfr_mem_now() != 0;
}

static void ok(mltfr_status st)
{
    if (st != MLTFR_OK)
        print_error("%s\n", mltfr_error_text);
    assert_int_equal(st, MLTFR_OK);
}

static void save(const char *name)
{
    make_file(name, b.data, b.bytes);
}

/* "FOLDER/a,FOLDER/b" of "a,b". */
static const char *list_of(const char *names)
{
    static char list[1024];
    size_t used = 0;

    while (*names != '\0') {
        size_t n = strcspn(names, ",");

        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s/%.*s", used > 0 ? "," : "",
                                 folder, (int)n, names);
        names += n + (names[n] == ',');
    }
    return list;
}

static void fails(const char *path, const char *tensor, mltfr_status status, const char *reason)
{
    mltfr_table *t;

    mltfr_error_text[0] = '\0';
    mltfr_status st = mltfr_table_open(path, tensor, &t);
    if (st != status || t != NULL || strstr(mltfr_error_text, reason) == NULL ||
        strchr(mltfr_error_text, '\n') != NULL)
        fail_msg("status %d, '%s'; wanted '%s'", st, mltfr_error_text, reason);
    assert_int_equal(mltfr_mem_now(), 0);
}

/* The table is opened and is this tensor. */
static void picks(const char *path, const char *wanted, const char *name)
{
    mltfr_table *t;

    ok(mltfr_table_open(path, wanted, &t));
    assert_string_equal(mltfr_table_tensor_name(t), name);
    mltfr_table_close(&t);
}

/* Both hold the same table with the same strings. */
static void are_equal(const mltfr_table *x, const mltfr_table *y)
{
    static float a[64 * ROWS], c[64 * ROWS];
    int64_t V = mltfr_table_rows(x), D = mltfr_table_width(x);
    size_t n, m;

    assert_int_equal(mltfr_table_rows(y), V);
    assert_int_equal(mltfr_table_width(y), D);
    ok(mltfr_table_read(x, 0, V, a));
    ok(mltfr_table_read(y, 0, V, c));
    assert_memory_equal(a, c, (size_t)(V * D) * sizeof *a);
    assert_int_equal(mltfr_table_strings(x), mltfr_table_strings(y));
    for (int64_t i = 0; i < V && mltfr_table_has_strings(x); i++) {
        const char *s = mltfr_table_string(x, i, &n), *r = mltfr_table_string(y, i, &m);

        assert_int_equal(n, m);
        assert_memory_equal(s, r, n);
        assert_int_equal(mltfr_table_special(x, i), mltfr_table_special(y, i));
    }
}

/* ---- pieces of one file */

#define TENSOR(name, rows, width, from, to)                                                        \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" #rows "," #width "],\"data_offsets\":[" #from    \
    "," #to "]}"

static void make_whole(int format)
{
    if (format == 0)
        gguf_model(&b);
    else if (format == 1)
        safetensors(&b, "{" TENSOR("m.wte.weight", 4, 2, 0, 32) "," TENSOR("x", 2, 3, 32, 56) "}",
                    14);
    else
        npy(&b, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }  \n", 6);
}

static const char three_strings[] = "{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"c\":2}}}";

/* Cut anywhere into two and into three. */
static void pieces_are_read_as_one(void **state)
{
    mltfr_table *whole, *joined;

    (void)state;
    for (int format = 0; format < 3; format++) {
        make_whole(format);
        ok(mltfr_table_open_memory("whole", b.data, b.bytes, NULL, &whole));
        for (size_t cut = 1; cut < b.bytes - 1; cut += cut % 3 + 1) {
            make_file("m.part1", b.data, cut);
            make_file("m.part2", b.data + cut, 1);
            make_file("m.part3", b.data + cut + 1, b.bytes - cut - 1);
            ok(mltfr_table_open(list_of("m.part1,m.part2,m.part3"), NULL, &joined));
            are_equal(whole, joined);
            assert_true(mltfr_table_digest(whole) == mltfr_table_digest(joined));
            assert_string_equal(mltfr_table_path(joined), list_of("m.part1,m.part2,m.part3"));
            mltfr_table_close(&joined);
            made_count = 0;
        }
        mltfr_table_close(&whole);
    }
    make_whole(2);
    make_file("m.part1", b.data, 20);
    make_file("m.part2", b.data + 20, b.bytes - 20);
    make_file("tokenizer.json", three_strings, sizeof three_strings - 1);
    ok(mltfr_table_open(list_of("m.part1,m.part2"), NULL, &joined));
    assert_int_equal(mltfr_table_strings(joined), 3);
    mltfr_table_close(&joined);
    fails(list_of("m.part2,m.part1"), NULL, MLTFR_E_DATA, "not a GGUF, safetensors or .npy file");
    fails(list_of("m.part1,none"), NULL, MLTFR_E_IO, "none: No such file");
    fails(",", NULL, MLTFR_E_IO, "an empty name in a list");
    make_file("m.part1", "", 0);
    make_file("m.part2", "", 0);
    make_file("m.part3", "", 0);
    fails(list_of("m.part2,m.part1"), NULL, MLTFR_E_DATA, "m.part2: the file is empty");
}

/* A piece that is missing or twice there. */
static void pieces_that_do_not_fit(void **state)
{
    (void)state;
    gguf_model(&b);
    make_file("a", b.data, 300);
    make_file("b", b.data + 300, b.bytes - 300);
    make_file("c", b.data + 400, b.bytes - 400);
    fails(list_of("a,c"), NULL, MLTFR_E_DATA, "a,");
    fails(list_of("a,b,b"), NULL, MLTFR_E_DATA, "bytes follow the last tensor");
}

static void a_name_with_a_comma(void **state)
{
    (void)state;
    gguf_model(&b);
    save("a,b.gguf");
    picks(path_of("a,b.gguf"), NULL, "token_embd.weight");
}

/* ---- GGUF splits */

static void put_split_key(const char *name, uint64_t value)
{
    put_string(&b, name);
    put_int(&b, 2, 4);
    put_int(&b, value, 2);
}

/* Split `number` from 0: the first has the strings, the second a matrix, the third the table. */
static void split(int number, int count, const char *tensor, int version)
{
    static const int rows[] = {1, 2, ROWS};

    b.bytes = 0;
    gguf_header(&b, 1, number == 0 ? 3 : 2);
    memcpy(b.data + 4, &version, 4);
    put_split_key("split.no", (uint64_t)number);
    put_split_key("split.count", (uint64_t)count);
    if (number == 0) {
        gguf_array(&b, "tokenizer.ggml.tokens", 8, ROWS);
        for (int i = 0; i < ROWS; i++)
            put_string(&b, gguf_strings[i]);
    }
    gguf_tensor(&b, tensor, 4, (uint64_t)rows[number], 0, 0);
    align_to(&b, 32);
    put_floats(&b, 4 * rows[number]);
}

static void save_splits(int version)
{
    split(0, 3, "a.weight", version);
    save("m-00001-of-00003.gguf");
    split(1, 3, "b.weight", version);
    save("m-00002-of-00003.gguf");
    split(2, 3, "token_embd.weight", version);
    save("m-00003-of-00003.gguf");
}

#define SPLIT(n) "m-0000" #n "-of-00003.gguf"

static void gguf_splits(void **state)
{
    size_t bytes;
    mltfr_table *t;

    (void)state;
    for (int version = 2; version <= 3; version++) {
        const char *const paths[] = {"", SPLIT(1), SPLIT(3), NULL};

        save_splits(version);
        for (int i = 0; i < 4; i++) {
            float x[4];

            ok(mltfr_table_open(paths[i] != NULL ? path_of(paths[i])
                                                 : list_of(SPLIT(1) "," SPLIT(2) "," SPLIT(3)),
                                NULL, &t));
            assert_string_equal(mltfr_table_tensor_name(t), "token_embd.weight");
            assert_int_equal(mltfr_table_rows(t), ROWS);
            assert_memory_equal(mltfr_table_string(t, 4, &bytes), "ab", 2);
            assert_non_null(strstr(mltfr_table_path(t), SPLIT(3)));
            ok(mltfr_table_read(t, 5, 1, x));
            assert_true(x[3] == 23.0f);
            mltfr_table_close(&t);
        }
        remove_folder();
        make_folder();
    }
}

static void gguf_splits_that_do_not_fit(void **state)
{
    (void)state;
    save_splits(3);
    fails(list_of(SPLIT(1) "," SPLIT(3) "," SPLIT(2)), NULL, MLTFR_E_DATA,
          "it is split 3 of 3, read as 2 of 3");
    fails(list_of(SPLIT(1) "," SPLIT(2)), NULL, MLTFR_E_DATA, "it is split 1 of 3, read as 1 of 2");
    split(2, 3, "a.weight", 3);
    save(SPLIT(3));
    fails(path_of(SPLIT(1)), NULL, MLTFR_E_DATA, "two tensors of the files are named 'a.weight'");
    split(1, 3, "b.weight", 3);
    memcpy((char *)memmem(b.data, b.bytes, "split.no", 8) + 8, "\4", 1);
    save(SPLIT(2));
    fails(path_of(SPLIT(1)), NULL, MLTFR_E_DATA, "");
    gguf_model(&b);
    save(SPLIT(2));
    fails(path_of(SPLIT(1)), NULL, MLTFR_E_DATA, "it is split 1 of 1, read as 2 of 3");
    save("one.gguf");
    fails(list_of("one.gguf,one.gguf"), NULL, MLTFR_E_DATA, "it is split 1 of 1, read as 1 of 2");
    make_whole(1);
    save("s");
    fails(list_of(SPLIT(1) ",s"), NULL, MLTFR_E_DATA, "it is split 1 of 3");
    unlink(path_of(SPLIT(2)));
    fails(path_of(SPLIT(1)), NULL, MLTFR_E_IO, "one of the 3 splits of");
    split(0, 2, "a.weight", 3);
    save("lone.gguf");
    fails(path_of("lone.gguf"), NULL, MLTFR_E_DATA, "it is split 1 of 2, read as 1 of 1");
    split(0, 2, "a.weight", 3);
    memcpy((char *)memmem(b.data, b.bytes, "split.no", 8) + 8, "\3", 1);
    save("lone.gguf");
    fails(path_of("lone.gguf"), NULL, MLTFR_E_DATA, "split.no has type 3; allowed: 2 (u16)");
}

/* ---- shards of safetensors */

static void text_file(const char *name, const char *text)
{
    make_file(name, text, strlen(text));
}

#define MAP(map) "{\"metadata\":{\"total_size\":1},\"weight_map\":" map "}"

static void save_shards(void)
{
    safetensors(&b, "{" TENSOR("model.norm", 1, 4, 0, 16) "}", 4);
    save("x-1.safetensors");
    safetensors(&b, "{" TENSOR("model.embed_tokens.weight", 3, 2, 0, 24) "}", 6);
    save("x-2.safetensors");
}

static void safetensors_shards(void **state)
{
    static const char map[] = MAP("{\"model.norm\":\"x-1.safetensors\",\"model.embed_tokens."
                                  "weight\":\"x-2.safetensors\",\"z\":\"x-1.safetensors\"}");

    (void)state;
    save_shards();
    fails(folder, NULL, MLTFR_E_DATA, "the directory has 2 files");
    text_file("model.safetensors.index.json", map);
    text_file("vocab.txt", "a\nb\nc\n");
    picks(folder, NULL, "model.embed_tokens.weight");
    picks(path_of("model.safetensors.index.json"), NULL, "model.embed_tokens.weight");
    picks(list_of("x-1.safetensors,x-2.safetensors"), NULL, "model.embed_tokens.weight");
    fails(folder, "model.norm", MLTFR_E_DATA, "x-1.safetensors: tensor 'model.norm' has 1 rows");
    fails(list_of("x-2.safetensors,x-2.safetensors"), NULL, MLTFR_E_DATA,
          "two tensors of the files are named");
    text_file("model.safetensors.index.json", MAP("{\"a\":\"x-3.safetensors\"}"));
    fails(folder, NULL, MLTFR_E_IO, "x-3.safetensors: No such file");
    split(0, 1, "a.weight", 3);
    save("m.gguf");
    fails(list_of("m.gguf,x-1.safetensors"), NULL, MLTFR_E_DATA, "it is split 1 of 1");
    fails(list_of("x-1.safetensors,m.gguf"), NULL, MLTFR_E_DATA, "not parts of one model");
}

static void bad_indices(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"{}", "there is no weight_map with files"},
        {MAP("{}"), "there is no weight_map with files"},
        {MAP("[\"a\"]"), "no plain name"}, /* a list of names says as much; none is there */
        {MAP("3"), "there is no weight_map with files"},
        {MAP("{\"a\":1}"), "weight_map is no map of tensors to files"},
        {MAP("{\"a\":{\"b\":\"c\"}}"), "weight_map is no map of tensors to files"},
        {MAP("{\"a\":\"\"}"), "'' is no plain name of a file beside the index"},
        {MAP("{\"a\":\"../x\"}"), "'../x' is no plain name"},
        {MAP("{\"a\":\"/etc/passwd\"}"), "'/etc/passwd' is no plain name"},
        {MAP("{\"a\":\"..\"}"), "'..' is no plain name"},
        {MAP("{\"a\":\"x\\u002f\"}"), "is no plain name"},
        {MAP("{\"a\":\"x\""), "not valid JSON"},
        {"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text_file("m.index.json", cases[i].text);
        fails(path_of("m.index.json"), NULL, i == 2 ? MLTFR_E_IO : MLTFR_E_DATA,
              i == 2 ? "a: No such file" : cases[i].reason);
        made_count = 0;
    }
    make_file("m.index.json", "", 0);
}

/* ---- which tensor */

#define PAIR(first, second)                                                                        \
    "{" TENSOR(first, 4, 2, 0, 32) "," TENSOR(second, 4, 2, 32, 64) "," TENSOR(                    \
        "position.embeddings.weight", 2, 2, 64, 80) "}"

static void the_rule(void **state)
{
    static const struct {
        const char *header, *name; /* NULL: it is not clear */
    } cases[] = {
        {PAIR("token_embd.weight", "output.weight"), "token_embd.weight"},
        {PAIR("lm_head.weight", "model.embed_tokens.weight"), "model.embed_tokens.weight"},
        {PAIR("shared.weight", "lm_head.weight"), "shared.weight"},
        {PAIR("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"), NULL},
        {PAIR("gpt_neox.embed_in.weight", "embed_out.weight"), "gpt_neox.embed_in.weight"},
        {PAIR("type.embeddings.weight", "my_wte.weight"), "type.embeddings.weight"},
        {PAIR("a", "b"), NULL},
    };

    (void)state;
    text_file("vocab.txt", "a\nb\nc\nd\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        safetensors(&b, cases[i].header, 20);
        save("m.safetensors");
        made_count = 1;
        if (cases[i].name != NULL)
            picks(path_of("m.safetensors"), NULL, cases[i].name);
        else
            fails(path_of("m.safetensors"), NULL, MLTFR_E_DATA, "it is not clear which tensor");
    }
    make_file("m.safetensors", b.data, b.bytes);
    picks(path_of("m.safetensors"), "b", "b");
    fails(path_of("m.safetensors"), "position.embeddings.weight", MLTFR_E_DATA, "has 2 rows, but ");
    fails(path_of("m.safetensors"), "c\n", MLTFR_E_DATA, "no tensor is named 'c\\x0a'");
}

/* Rows without a string are special, up to a share. */
static void padded_tables(void **state)
{
    static const struct {
        int rows, strings;
        bool fits;
    } cases[] = {{4, 4, true},  {4, 3, true},     {4, 2, false},
                 {3, 4, false}, {600, 345, true}, {600, 344, false}};
    mltfr_table *t;
    size_t bytes;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[128];

        snprintf(header, sizeof header,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 1), }", cases[i].rows);
        npy(&b, 1, header, cases[i].rows);
        save("t.npy");
        b.bytes = 0;
        for (int k = 0; k < cases[i].strings; k++)
            put_text(&b, "x\n");
        save("vocab.txt");
        made_count = 0;
        if (!cases[i].fits) {
            fails(path_of("t.npy"), NULL, MLTFR_E_DATA, "allowed: a row for each");
            continue;
        }
        ok(mltfr_table_open(path_of("t.npy"), NULL, &t));
        assert_int_equal(mltfr_table_strings(t), cases[i].strings);
        assert_false(mltfr_table_special(t, cases[i].strings - 1));
        for (int k = cases[i].strings; k < cases[i].rows; k++) {
            assert_true(mltfr_table_special(t, k));
            assert_non_null(mltfr_table_string(t, k, &bytes));
            assert_int_equal(bytes, 0);
        }
        mltfr_table_close(&t);
    }
    make_file("t.npy", "", 0);
    make_file("vocab.txt", "", 0);
}

/* Version 2 differs in nothing a reader of little-endian files sees. */
static void gguf_version_2(void **state)
{
    mltfr_table *two, *three;
    static buffer old;

    (void)state;
    gguf_model(&b);
    old = b;
    old.data[4] = 2;
    ok(mltfr_table_open_memory("3.gguf", b.data, b.bytes, NULL, &three));
    ok(mltfr_table_open_memory("2.gguf", old.data, old.bytes, NULL, &two));
    are_equal(two, three);
    assert_true(mltfr_table_digest(two) == mltfr_table_digest(three));
    mltfr_table_close(&two);
    mltfr_table_close(&three);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(pieces_are_read_as_one),
        TEST(pieces_that_do_not_fit),
        TEST(a_name_with_a_comma),
        TEST(gguf_splits),
        TEST(gguf_splits_that_do_not_fit),
        TEST(safetensors_shards),
        TEST(bad_indices),
        TEST(the_rule),
        TEST(padded_tables),
        TEST(gguf_version_2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
