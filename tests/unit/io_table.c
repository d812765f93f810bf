/* Token tables that are right: formats, stored types, strings, the choice of the tensor. */
#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/table.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

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

static mltfr_table *from_memory(const char *name, const char *tensor)
{
    mltfr_table *t;

    ok(mltfr_table_open_memory(name, b.data, b.bytes, tensor, &t));
    return t;
}

static mltfr_table *from_file(const char *name, const char *tensor)
{
    mltfr_table *t;

    ok(mltfr_table_open(path_of(name), tensor, &t));
    return t;
}

static void string_is(const mltfr_table *t, int64_t row, const char *text, bool special)
{
    size_t bytes;
    const char *s = mltfr_table_string(t, row, &bytes);

    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(s, text, bytes);
    assert_int_equal(mltfr_table_special(t, row), special);
}

static void shape_is(const mltfr_table *t, int64_t rows, int64_t width, const char *type)
{
    assert_int_equal(mltfr_table_rows(t), rows);
    assert_int_equal(mltfr_table_width(t), width);
    assert_string_equal(mltfr_table_type(t), type);
}

static void gguf(void **state)
{
    static const bool special[ROWS] = {true, true, false, true, false, true};
    float x[2 * WIDTH];

    (void)state;
    gguf_model(&b);
    mltfr_table *t = from_memory("model.gguf", NULL);
    shape_is(t, ROWS, WIDTH, "Q8_0");
    assert_string_equal(mltfr_table_tensor_name(t), "token_embd.weight");
    assert_string_equal(mltfr_table_path(t), "model.gguf");
    assert_true(mltfr_table_has_strings(t));
    for (int i = 0; i < ROWS; i++)
        string_is(t, i, gguf_strings[i], special[i]);
    ok(mltfr_table_read(t, 2, 2, x));
    for (int j = 0; j < WIDTH; j++) {
        assert_true(x[j] == 3.0f * (float)(j - 16));
        assert_true(x[WIDTH + j] == 4.0f * (float)(j - 16));
    }
    ok(mltfr_table_read(t, ROWS, 0, x));
    assert_int_equal(mltfr_table_read(t, ROWS - 1, 2, x), MLTFR_E_INTERNAL);
    assert_int_equal(mltfr_table_read(t, -1, 1, x), MLTFR_E_INTERNAL);
    mltfr_table_close(&t);
    assert_null(t);
}

static void digest_follows_the_bytes_of_the_table(void **state)
{
    uint64_t digest[3];

    (void)state;
    gguf_model(&b);
    for (int i = 0; i < 3; i++) {
        if (i > 0)
            b.data[b.bytes - (i == 1 ? 4 : 33 + 6 * 34)] ^= 1; /* another tensor; then the table */
        mltfr_table *t = from_memory("model.gguf", NULL);
        digest[i] = mltfr_table_digest(t);
        assert_true(digest[i] == mltfr_table_digest(t));
        mltfr_table_close(&t);
    }
    assert_true(digest[0] == digest[1]);
    assert_true(digest[0] != digest[2]);
}

/* ---- stored types, each value from its definition, one at a time and in double */

static double half_at(const uint8_t *p)
{
    int h = p[0] | p[1] << 8, e = h >> 10 & 31, f = h & 1023;
    double x = e == 0 ? ldexp(f, -24) : ldexp(1024 + f, e - 25);

    return h & 0x8000 ? -x : x;
}

static int bit(const uint8_t *p, int i)
{
    return p[i / 8] >> i % 8 & 1;
}

/* Value i of 32: low nibbles of 16 bytes, then high ones. */
static int four(const uint8_t *p, int i)
{
    return i < 16 ? p[i] & 15 : p[i - 16] >> 4;
}

static double q4_0(const uint8_t *p, int i)
{
    return half_at(p) * (four(p + 2, i) - 8);
}

static double q4_1(const uint8_t *p, int i)
{
    return half_at(p) * four(p + 4, i) + half_at(p + 2);
}

static double q5_0(const uint8_t *p, int i)
{
    return half_at(p) * (four(p + 6, i) + 16 * bit(p + 2, i) - 16);
}

static double q5_1(const uint8_t *p, int i)
{
    return half_at(p) * (four(p + 8, i) + 16 * bit(p + 4, i)) + half_at(p + 2);
}

static double q8_0(const uint8_t *p, int i)
{
    return half_at(p) * (int8_t)p[2 + i];
}

/* Six-bit number k of 0..15 (8 scales, 8 minima) in 12 bytes: the last eight keep their two high
 * bits above the first eight. */
static int six_bits(const uint8_t *s, int k)
{
    int j = k % 8, minimum = k / 8;

    if (j < 4)
        return s[j + 4 * minimum] & 63;
    return (s[j + 4] >> 4 * minimum & 15) + (s[j - 4 + 4 * minimum] >> 6) * 16;
}

static double q4_k(const uint8_t *p, int i)
{
    int group = i / 32, q = p[16 + group / 2 * 32 + i % 32] >> 4 * (group % 2) & 15;

    return half_at(p) * six_bits(p + 4, group) * q - half_at(p + 2) * six_bits(p + 4, 8 + group);
}

static double q5_k(const uint8_t *p, int i)
{
    int group = i / 32, q = p[48 + group / 2 * 32 + i % 32] >> 4 * (group % 2) & 15;

    q += 16 * (p[16 + i % 32] >> group & 1);
    return half_at(p) * six_bits(p + 4, group) * q - half_at(p + 2) * six_bits(p + 4, 8 + group);
}

static double q6_k(const uint8_t *p, int i)
{
    int in_half = i % 128, low = p[i / 128 * 64 + in_half % 64] >> 4 * (in_half / 64) & 15;
    int high = p[128 + i / 128 * 32 + in_half % 32] >> 2 * (in_half / 32) & 3;

    return half_at(p + 208) * (int8_t)p[192 + i / 16] * (low + 16 * high - 32);
}

static double f16(const uint8_t *p, int i)
{
    return half_at(p + 2 * i);
}

static double bf16(const uint8_t *p, int i)
{
    uint32_t bits = (uint32_t)(p[2 * i] | p[2 * i + 1] << 8) << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static double f64(const uint8_t *p, int i)
{
    double x;

    memcpy(&x, p + 8 * i, sizeof x);
    return (float)x;
}

static const struct {
    const char *name;
    uint32_t number;
    int block, bytes, halves[2]; /* where scales are; -1: none */
    double (*value)(const uint8_t *, int);
} kinds[] = {
    {"Q4_0", 2, 32, 18, {0, -1}, q4_0},   {"Q4_1", 3, 32, 20, {0, 2}, q4_1},
    {"Q5_0", 6, 32, 22, {0, -1}, q5_0},   {"Q5_1", 7, 32, 24, {0, 2}, q5_1},
    {"Q8_0", 8, 32, 34, {0, -1}, q8_0},   {"Q4_K", 12, 256, 144, {0, 2}, q4_k},
    {"Q5_K", 13, 256, 176, {0, 2}, q5_k}, {"Q6_K", 14, 256, 210, {208, -1}, q6_k},
    {"F16", 1, 1, 2, {0, -1}, f16},       {"BF16", 30, 1, 2, {0, -1}, bf16},
    {"F64", 28, 1, 8, {6, -1}, f64},
};

/* Random bytes with finite scales. */
static void random_blocks(uint8_t *data, int blocks, size_t kind)
{
    uint64_t key = mltfr_rng_key(kind, MLTFR_RNG_SYNTHETIC, 0);
    int bytes = kinds[kind].bytes;

    for (int i = 0; i < blocks * bytes; i++)
        data[i] = (uint8_t)mltfr_rng_bits(key, (uint64_t)i);
    for (int k = 0; k < blocks; k++)
        for (int h = 0; h < 2; h++)
            if (kinds[kind].halves[h] >= 0)
                data[k * bytes + kinds[kind].halves[h] + 1] &= 0xbf; /* |x| < 2 in any format */
}

static void every_stored_type(void **state)
{
    static uint8_t data[8 * 256];
    static float x[1024];

    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        int width = kinds[k].block == 256 ? 512 : 64, blocks = 2 * width / kinds[k].block;
        size_t bytes = (size_t)blocks * (size_t)kinds[k].bytes;

        random_blocks(data, blocks, k);
        gguf_table(&b, kinds[k].number, 2, (uint64_t)width, data, bytes);
        mltfr_table *t = from_memory("t.gguf", NULL);
        shape_is(t, 2, width, kinds[k].name);
        assert_false(mltfr_table_has_strings(t));
        ok(mltfr_table_read(t, 0, 2, x));
        for (int i = 0; i < 2 * width; i++) {
            const uint8_t *block = data + i / kinds[k].block * kinds[k].bytes;
            double want = kinds[k].value(block, i % kinds[k].block);

            if (fabs(x[i] - want) > 1.2e-7 * fabs(want) + 1e-300)
                fail_msg("%s: value %d is %.9g, not %.9g", kinds[k].name, i, (double)x[i], want);
        }
        mltfr_table_close(&t);
    }
}

static void every_half(void **state)
{
    static uint8_t data[4096];
    static float x[2048];

    (void)state;
    for (int part = 0; part < 64; part += 2) { /* exponents of all ones are left out */
        for (int i = 0; i < 2048; i++) {
            int h = (part % 32) * 1024 + i + (part / 32) * 32768;

            h = (h & 0x7c00) == 0x7c00 ? 0 : h;
            data[2 * i] = (uint8_t)h;
            data[2 * i + 1] = (uint8_t)(h >> 8);
        }
        gguf_table(&b, 1, 1, 2048, data, sizeof data);
        mltfr_table *t = from_memory("t.gguf", NULL);
        ok(mltfr_table_read(t, 0, 1, x));
        for (int i = 0; i < 2048; i++)
            assert_true((double)x[i] == half_at(data + 2 * i));
        mltfr_table_close(&t);
    }
}

static void values_that_are_not_finite(void **state)
{
    float data[3][4] = {{0}}, x[12];
    uint16_t halves[2][2] = {{0, 0}, {0x7c00, 0}};
    mltfr_table *t;

    (void)state;
    data[1][2] = NAN;
    gguf_table(&b, 0, 3, 4, data, sizeof data);
    t = from_memory("nan.gguf", NULL);
    ok(mltfr_table_read(t, 0, 1, x));
    assert_int_equal(mltfr_table_read(t, 0, 3, x), MLTFR_E_DATA);
    assert_string_equal(mltfr_error_text, "nan.gguf: tensor 'token_embd.weight': row 1, column 2 "
                                          "is NaN; allowed: finite float32 values");
    ok(mltfr_table_read(t, 2, 1, x));
    mltfr_table_close(&t);
    gguf_table(&b, 1, 2, 2, halves, sizeof halves);
    t = from_memory("inf.gguf", NULL);
    assert_int_equal(mltfr_table_read(t, 0, 2, x), MLTFR_E_DATA);
    assert_non_null(strstr(mltfr_error_text, "row 1, column 0 is infinite"));
    mltfr_table_close(&t);
}

/* ---- safetensors and .npy */

#define TENSOR(name, rows, width, from, to)                                                        \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" #rows "," #width "],\"data_offsets\":[" #from    \
    "," #to "]}"

static void safetensors_by_rule(void **state)
{
    float x[8];

    (void)state;
    safetensors(&b,
                "{\"__metadata__\":{\"format\":\"pt\"},"
                "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[16,16]},"
                "\"scalar\":{\"shape\":[],\"data_offsets\":[48,52],\"dtype\":\"I32\"}," TENSOR(
                    "pos_embeddings.weight", 2, 2, 0, 16) "," TENSOR("m.embed_tokens.weight", 4, 2,
                                                                     16, 48) "}     ",
                13);
    mltfr_table *t = from_memory("m.safetensors", NULL);
    shape_is(t, 4, 2, "F32");
    assert_string_equal(mltfr_table_tensor_name(t), "m.embed_tokens.weight");
    ok(mltfr_table_read(t, 1, 2, x));
    assert_true(x[0] == 6.0f && x[3] == 9.0f);
    mltfr_table_close(&t);
    t = from_memory("m.safetensors", "pos_embeddings.weight");
    shape_is(t, 2, 2, "F32");
    mltfr_table_close(&t);
}

static const char two_tables[] = "{" TENSOR("a", 3, 2, 0, 24) "," TENSOR("b", 4, 2, 24, 56) "}";

static void strings_choose_the_tensor(void **state)
{
    mltfr_table *t;

    (void)state;
    safetensors(&b, two_tables, 14);
    make_file("model.safetensors", b.data, b.bytes);
    assert_int_equal(mltfr_table_open(folder, NULL, &t), MLTFR_E_DATA);
    assert_non_null(strstr(mltfr_error_text, "'a' [3x2], 'b' [4x2]"));
    assert_null(t);
    make_file("vocab.txt", "[PAD]\r\nthe\r\n##s\r\n[unused0]", 26);
    make_file("other.npy", "", 0);
    t = from_file("", NULL);
    assert_string_equal(mltfr_table_tensor_name(t), "b");
    string_is(t, 0, "[PAD]", true);
    string_is(t, 1, "the", false);
    string_is(t, 2, "##s", false);
    string_is(t, 3, "[unused0]", false);
    mltfr_table_close(&t);
}

#define NPY(type, shape) "{'descr': '" type "', 'fortran_order': False, 'shape': " shape ", }  \n"

static void npy_of_all_types(void **state)
{
    float x[6];

    (void)state;
    for (int version = 1; version <= 3; version++) {
        npy(&b, version, NPY("<f4", "(3, 2)"), 6);
        mltfr_table *t = from_memory("t.npy", NULL);
        shape_is(t, 3, 2, "F32");
        ok(mltfr_table_read(t, 0, 3, x));
        assert_true(x[5] == 5.0f);
        mltfr_table_close(&t);
    }
    npy(&b, 1, "{'shape':(1,3),'fortran_order':False,'descr':'<f8'}", 6);
    mltfr_table *t = from_memory("t.npy", NULL);
    shape_is(t, 1, 3, "F64");
    mltfr_table_close(&t);
    npy(&b, 1, NPY("<f2", "(4, 3,)"), 6);
    t = from_memory("t.npy", "array");
    shape_is(t, 4, 3, "F16");
    mltfr_table_close(&t);
}

/* ---- vocabularies beside a table of three rows */

static void strings_are(const char *file, const char *text, const char *const want[3],
                        const bool special[3])
{
    npy(&b, 1, NPY("<f4", "(3, 2)"), 6);
    make_file("t.npy", b.data, b.bytes);
    make_file(file, text, strlen(text));
    mltfr_table *t = from_file("t.npy", NULL);
    for (int i = 0; i < 3; i++)
        string_is(t, i, want[i], special[i]);
    mltfr_table_close(&t);
    remove_folder();
    make_folder();
}

static void tokenizers(void **state)
{
    static const bool first[3] = {true, false, false}, last[3] = {false, false, true};

    (void)state;
    strings_are("tokenizer.json",
                "{\"added_tokens\":[{\"id\":2,\"content\":\"<|end|>\",\"lstrip\":false,"
                "\"special\":true}],\"normalizer\":{\"vocab\":[1]},\"model\":{\"type\":\"BPE\","
                "\"vocab\":{\"b\\u0120\":1,\"a\":0},\"merges\":[[\"a\",\"b\"]]}}",
                (const char *const[]){"a", "b\xc4\xa0", "<|end|>"}, last);
    strings_are("tokenizer.json",
                "{\"model\":{\"vocab\":{\"old\":0,\"x\":1,\"##\\\"y\":2}},"
                "\"added_tokens\":[{\"special\":true,\"content\":\"new\",\"id\":0}]}",
                (const char *const[]){"new", "x", "##\"y"}, first);
    strings_are("tokenizer.json",
                "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true}],\"model\":"
                "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<s>\",0.0],[\"\xe2\x96\x81"
                "a\",-1.5],[\"\",-2]]}}",
                (const char *const[]){"<s>",
                                      "\xe2\x96\x81"
                                      "a",
                                      ""},
                first);
    strings_are("vocab.json", "{\"[UNK]\":0,\"b\":2,\"a\":1}",
                (const char *const[]){"[UNK]", "a", "b"}, first);
    strings_are("vocab.txt", "[CLS]\na\nb\n", (const char *const[]){"[CLS]", "a", "b"}, first);
}

static void description(void **state)
{
    (void)state;
    gguf_model(&b);
    make_file("m.gguf", b.data, b.bytes);
    ok(mltfr_table_describe(path_of("m.gguf"), NULL, false));
    ok(mltfr_table_describe(path_of("m.gguf"), "token_embd.weight", true));
    ok(mltfr_table_describe(folder, NULL, true));
    assert_int_equal(mltfr_table_describe(folder, "norm.weight", false), MLTFR_E_DATA);
    safetensors(&b, two_tables, 14);
    make_file("n.safetensors", b.data, b.bytes);
    ok(mltfr_table_describe(path_of("n.safetensors"), NULL, true));
    assert_int_equal(mltfr_table_describe(path_of("none"), NULL, false), MLTFR_E_IO);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(gguf),
        TEST(digest_follows_the_bytes_of_the_table),
        TEST(every_stored_type),
        TEST(every_half),
        TEST(values_that_are_not_finite),
        TEST(safetensors_by_rule),
        TEST(strings_choose_the_tensor),
        TEST(npy_of_all_types),
        TEST(tokenizers),
        TEST(description),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
