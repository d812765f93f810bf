/* Token tables that are damaged or hostile: each gives one line that names file, place and reason;
 * nothing crashes, leaks, or takes memory for what a header merely claims. */
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
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder();
    return mltfr_mem_now() != 0;
}

/* The failure is of one line, begins with the file and says `reason`. */
static void fails_saying(mltfr_status st, const char *file, const char *reason)
{
    if (st != MLTFR_E_DATA || strstr(mltfr_error_text, reason) == NULL ||
        strncmp(mltfr_error_text, file, strlen(file)) != 0 || strchr(mltfr_error_text, '\n'))
        fail_msg("status %d, '%s'; wanted %s .. '%s'", st, mltfr_error_text, file, reason);
}

/* Opened from an exact copy, so that a sanitizer sees a read beyond it. */
static mltfr_status open_copy(const char *name, const void *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes + (bytes == 0));
    mltfr_table *t = NULL;

    memcpy(copy, data, bytes);
    mltfr_error_text[0] = '\0';
    mltfr_status st = mltfr_table_open_memory(name, copy, bytes, NULL, &t);
    assert_int_equal(st == MLTFR_OK, t != NULL);
    if (t != NULL) {
        float row[256];

        if (mltfr_table_width(t) <= 256)
            mltfr_table_read(t, mltfr_table_rows(t) - 1, 1, row);
        mltfr_table_digest(t);
    }
    mltfr_table_close(&t);
    free(copy);
    assert_int_equal(mltfr_mem_now(), 0);
    return st;
}

/* ---- GGUF: one number of a good file is changed, `delta` bytes after the end of `anchor` */

#define ALL UINT64_MAX

static const struct {
    const char *anchor;
    int delta, width;
    uint64_t value;
    const char *reason;
} patches[] = {
    {"GGUF", -4, 4, 0x46554758, "byte 0: not a GGUF file"},
    {"GGUF", 0, 4, 0, "byte 4: GGUF version 0"},
    {"GGUF", 0, 4, 1, "GGUF version 1"},
    {"GGUF", 0, 4, 4, "GGUF version 4; allowed: 2 and 3"},
    {"GGUF", 0, 4, 0x03000000, "big-endian"},
    {"GGUF", 4, 8, ALL, "byte 8: the number of tensors is 18446744073709551615"},
    {"GGUF", 4, 8, 100000, "the name of a tensor of 0 bytes"},
    {"GGUF", 4, 8, UINT64_C(1) << 59, "the number of tensors"},
    {"GGUF", 12, 8, ALL, "byte 16: the number of keys is 18446744073709551615"},
    {"GGUF", 12, 8, 60000, "the file ends inside"},
    {"GGUF", 20, 8, 0, "byte 24: the name of a key of 0 bytes"},
    {"GGUF", 20, 8, ALL, "the file ends inside the name of a key"},
    {"GGUF", 20, 8, UINT64_C(1) << 63, "the file ends inside the name of a key"},
    {"general.alignment", 0, 4, 5, "general.alignment has type 5"},
    {"general.alignment", 0, 4, 13, "key 'general.alignment' has values of type 13"},
    {"general.alignment", 4, 4, 0, "general.alignment is 0; allowed: a power of two"},
    {"general.alignment", 4, 4, 13, "general.alignment is 13"},
    {"general.alignment", 4, 4, 0xffffffff, "general.alignment is 4294967295"},
    {"general.alignment", 4, 4, 0x80000000, "but the file has 0 bytes of data"},
    {"ggml.tokens", 0, 4, 0, "the file ends inside"},
    {"ggml.tokens", 4, 4, 9, "no array of arrays"},
    {"ggml.tokens", 4, 4, 99, "has values of type 99"},
    {"ggml.tokens", 8, 8, ALL, "the file ends inside key 'tokenizer.ggml.tokens'"},
    {"ggml.tokens", 16, 8, ALL, "the file ends inside key 'tokenizer.ggml.tokens'"},
    {"ggml.tokens", 16, 8, UINT64_C(1) << 63, "the file ends inside key"},
    {"ggml.tokens", 16, 8, 100000, "the file ends inside key"},
    {"ggml.scores", 4, 4, 5, "tokenizer.ggml.scores is no array of type 6"},
    {"ggml.scores", 4, 4, 10, ""},
    {"ggml.scores", 8, 8, UINT64_C(1) << 62, "the size overflows"},
    {"ggml.scores", 8, 8, ROWS - 1, ""},
    {"ggml.token_type", 4, 4, 6, "tokenizer.ggml.token_type is no array of type 5"},
    {"ggml.token_type", 16, 4, 6, "byte token 0 is '<unk>'; allowed: <0x00> to <0xFF>"},
    {"<0x", 0, 2, 0x5a5a, "byte token 3 is '<0xZZ>'"},
    {"<0x", 0, 2, 0x312d, "byte token 3 is '<0x-1>'"},
    {"token_embd.weight", -25, 8, 0, "the name of a tensor of 0 bytes"},
    {"token_embd.weight", -25, 8, 64, "the name of a tensor of 64 bytes; allowed: 1 to 63"},
    {"token_embd.weight", 0, 4, 5, "tensor 'token_embd.weight' has 5 dimensions"},
    {"token_embd.weight", 0, 4, ALL, "has 4294967295 dimensions"},
    {"token_embd.weight", 4, 8, 0, "has a dimension of 0; allowed: 1 and more"},
    {"token_embd.weight", 4, 8, ALL, "has a dimension of -1"},
    {"token_embd.weight", 4, 8, UINT64_C(1) << 62, "the number of its elements overflows"},
    {"token_embd.weight", 4, 8, (UINT64_C(1) << 42) + 1, "no whole number of blocks"},
    {"token_embd.weight", 4, 8, 33, "no whole number of blocks"},
    {"token_embd.weight", 4, 8, UINT64_C(0x1500000000000000), "its size in bytes overflows"},
    {"token_embd.weight", 4, 8, 64, "but the file has 288 bytes of data"},
    {"token_embd.weight", 12, 8, 8, "tensor 'norm.weight' begins at byte"},
    {"token_embd.weight", 12, 8, 7,
     "tensor 'token_embd.weight' has 7 rows, but "
     "tokenizer.ggml.tokens has 6 strings"},
    {"token_embd.weight", 12, 8, 100, "bytes of data"},
    {"token_embd.weight", 20, 4, 4, "has the unknown type 4"},
    {"token_embd.weight", 20, 4, 0xffffffff, "has the unknown type 4294967295"},
    {"token_embd.weight", 20, 4, 24, "is stored as I8; allowed: F32 F16"},
    {"token_embd.weight", 24, 8, 32, "offset 32 is no multiple of 64"},
    {"token_embd.weight", 24, 8, 64, "begins at byte"},
    {"token_embd.weight", 24, 8, UINT64_C(1) << 40, "bytes at offset 1099511627776, but the file"},
    {"token_embd.weight", 24, 8, ALL - 63, "but the file has"},
    {"norm.weight", 4, 8, UINT64_C(1) << 60, "but the file has"},
    {"norm.weight", 4, 8, UINT64_C(1) << 62, "its size in bytes overflows"},
};

static uint8_t *find(const char *anchor)
{
    uint8_t *p = memmem(b.data, b.bytes, anchor, strlen(anchor));

    assert_non_null(p);
    return p + strlen(anchor);
}

static void gguf_patches(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
        gguf_model(&b);
        memcpy(find(patches[i].anchor) + patches[i].delta, &patches[i].value,
               (size_t)patches[i].width);
        fails_saying(open_copy("m.gguf", b.data, b.bytes), "m.gguf: ", patches[i].reason);
        assert_true(mltfr_mem_peak() < 1 << 20);
    }
}

static void gguf_names(void **state)
{
    (void)state;
    gguf_model(&b);
    memcpy(find("ggml.scores") - 6, "tokens", 6);
    fails_saying(open_copy("m.gguf", b.data, b.bytes),
                 "m.gguf: ", "two keys are named 'tokenizer.ggml.tokens'");
    gguf_model(&b);
    b.bytes = 0;
    gguf_header(&b, 2, 0);
    gguf_tensor(&b, "a\nb", 8, 0, 0, 0);
    gguf_tensor(&b, "a\nb", 8, 0, 0, 32);
    align_to(&b, 32);
    put_floats(&b, 16);
    fails_saying(open_copy("m.gguf", b.data, b.bytes),
                 "m.gguf: ", "two tensors are named 'a\\x0ab'");
    gguf_table(&b, 0, 2, 2, "", 0);
    memcpy(find("token_embd.weigh") - 1, "\xff", 1);
    fails_saying(open_copy("m.gguf", b.data, b.bytes),
                 "m.gguf: ", "tensor 'token_embd.weig\\xfft'");
    b.bytes = 0;
    gguf_header(&b, 0, 1);
    gguf_array(&b, "tokenizer.ggml.tokens", 0, 4);
    put_int(&b, 0, 4);
    fails_saying(open_copy("m.gguf", b.data, b.bytes), "m.gguf: ", "is no array of type 8");
    b.bytes = 0;
    gguf_header(&b, 0, 0);
    fails_saying(open_copy("m.gguf", b.data, b.bytes),
                 "m.gguf: ", "its two-dimensional tensors: none");
}

/* A file cut anywhere fails; one with any byte changed does not crash. */
static void cut_and_flipped(void **state)
{
    static buffer good;

    (void)state;
    for (int format = 0; format < 3; format++) {
        static const char *const names[] = {"m.gguf", "m.safetensors", "m.npy"};

        if (format == 0)
            gguf_model(&b);
        else if (format == 1)
            safetensors(&b, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}",
                        4);
        else
            npy(&b, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", 4);
        good = b;
        assert_int_equal(open_copy(names[format], good.data, good.bytes), MLTFR_OK);
        for (size_t n = 0; n < good.bytes; n++)
            fails_saying(open_copy(names[format], good.data, n), names[format], "");
        for (size_t i = 0; i < good.bytes; i++) {
            static const uint8_t flips[] = {0x01, 0x04, 0x20, 0x80, 0xff};

            for (int k = 0; k < 5; k++) {
                b = good;
                b.data[i] ^= flips[k];
                open_copy(names[format], b.data, b.bytes);
            }
        }
        assert_true(mltfr_mem_peak() < 1 << 20);
    }
}

/* ---- safetensors: header and number of floats behind it */

#define ONE(rest) "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]" rest "}"
#define WITH(type, shape, offsets)                                                                 \
    "{\"a\":{\"dtype\":" type ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct {
    const char *header;
    int floats;
    const char *reason;
} headers[] = {
    {"", 4, "byte 0: a header of 0 bytes"},
    {" {}", 4, "byte 8: the header does not begin with {"},
    {"[]", 4, "does not begin with {"},
    {"{", 4, "not valid JSON"},
    {"{\"\xff\xfe\":1}", 0, "not valid JSON"},
    {ONE("}x"), 4, "not valid JSON"},
    {"{\"a\":1}", 4, "tensor 'a': a value of the wrong type"},
    {"{\"a\":[[[[[[]]]]]]}", 0, "tensor 'a': a value of the wrong type"},
    {"{\"a\":{\"shape\":[[[1]]]}}", 0, "nested deeper than 3"},
    {"{\"__metadata__\":{\"a\":{}}}", 0, "wrong type"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "tensor '__metadata__': it is given twice"},
    {"{}", 0, "its two-dimensional tensors: none"},
    {"{}", 1, "the last tensor ends at byte 10 of a file of 14"},
    {ONE("}"), 5, "the last tensor ends at byte"},
    {ONE("}"), 3, "beyond the end of the file"},
    {ONE(",\"dtype\":\"F32\"}"), 4, "a field is given twice"},
    {ONE(",\"order\":1}"), 4, "a field other than dtype, shape, data_offsets"},
    {ONE("},\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[16,16]}"), 4,
     "two tensors are named 'a'"},
    {ONE("},\"b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}"), 4,
     "tensor 'b' begins at byte"},
    {ONE("},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]}"), 6,
     "tensor 'b' begins at byte"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2]}}", 4, "are missing"},
    {WITH("\"F33\"", "[2,2]", "[0,16]"), 4, "tensor 'a': unknown dtype"},
    {WITH("\"Q8_0\"", "[2,2]", "[0,16]"), 4, "unknown dtype"},
    {WITH("4", "[2,2]", "[0,16]"), 4, "wrong type"},
    {WITH("\"F32\"", "[2,2]", "[16,0]"), 4, "data_offsets are not in order"},
    {WITH("\"F32\"", "[2,2]", "[0]"), 4, "are missing"},
    {WITH("\"F32\"", "[2,2]", "[0,16,16]"), 4, "more than two data_offsets"},
    {WITH("\"F32\"", "[2,3]", "[0,16]"), 4, "data_offsets do not fit dtype and shape"},
    {WITH("\"F16\"", "[2,2]", "[0,16]"), 4, "do not fit"},
    {WITH("\"F32\"", "[2,-2]", "[0,16]"), 4, "a number is negative, too large or not whole"},
    {WITH("\"F32\"", "[2,2.0]", "[0,16]"), 4, "a number is negative"},
    {WITH("\"F32\"", "[2,18446744073709551617]", "[0,16]"), 4, "a number is negative"},
    {WITH("\"F32\"", "[4294967296,4294967296]", "[0,16]"), 4, "elements overflows"},
    {WITH("\"F32\"", "[4611686018427387905,1]", "[0,16]"), 4, "size in bytes overflows"},
    {WITH("\"F32\"", "[2,2,1,1,1,1,1,1,1]", "[0,16]"), 4, "more than 8 dimensions"},
    {WITH("\"F32\"", "[4]", "[0,16]"), 4, "has 1 dimensions; a table has 2"},
    {WITH("\"F32\"", "[0,4]", "[0,0]"), 0, "is empty (0x4)"},
    {WITH("\"I32\"", "[2,2]", "[0,16]"), 4, "is stored as I32"},
};

static void safetensors_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        safetensors(&b, headers[i].header, headers[i].floats);
        fails_saying(open_copy("m.safetensors", b.data, b.bytes),
                     "m.safetensors: ", headers[i].reason);
    }
    static const uint64_t lengths[] = {100, 100000001, ALL, ALL - 7, UINT64_C(1) << 63};
    for (int i = 0; i < 5; i++) {
        safetensors(&b, ONE("}"), 4);
        memcpy(b.data, &lengths[i], 8);
        fails_saying(open_copy("m.safetensors", b.data, b.bytes),
                     "m.safetensors: byte 0: ", "a header of");
    }
}

/* ---- .npy: dictionary, version 1, six floats behind it */

#define DICT(type, order, shape)                                                                   \
    "{'descr': " type ", 'fortran_order': " order ", 'shape': " shape "}"

static const struct {
    const char *header, *reason;
} dictionaries[] = {
    {DICT("'>f4'", "False", "(3, 2)"), "descr is not allowed"},
    {DICT("'<i4'", "False", "(3, 2)"), "descr is not allowed"},
    {DICT("[('a', '<f4')]", "False", "(3, 2)"), "descr is not allowed"},
    {DICT("'|O'", "False", "(3, 2)"), "descr is not allowed"},
    {DICT("'<f4'", "True", "(3, 2)"), "the array is not in C order"},
    {DICT("'<f4'", "False", "(3, 3)"), "an array of 36 bytes, but 24 bytes follow"},
    {DICT("'<f4'", "False", "(3, 1)"), "an array of 12 bytes, but 24 bytes follow"},
    {DICT("'<f4'", "False", "(6,)"), "has 1 dimensions"},
    {DICT("'<f4'", "False", "(-3, 2)"), "shape is no list of whole numbers"},
    {DICT("'<f4'", "False", "3, 2)"), "shape is no tuple"},
    {DICT("'<f4'", "False", "(3 2)"), "shape is no tuple"},
    {DICT("'<f4'", "False", "(3, 2"), "shape is no tuple"},
    {DICT("'<f4'", "False", "(99999999999999999999, 2)"), "a dimension is too large"},
    {DICT("'<f4'", "False", "(4294967296, 4294967296)"), "elements overflows"},
    {DICT("'<f4'", "False", "(3, 2, 1, 1, 1, 1, 1, 1, 1)"), "more than 8 dimensions"},
    {DICT("'<f4'", "False", "(3, 2)") "x", "not just the keys"},
    {"{'descr': '<f4', 'descr': '<f4'}", "once each"},
    {"{'descr': '<f4'}", "not just the keys"},
    {"{'descr': '<f4' 'shape': (3, 2)}", "a comma or } is missing"},
    {"import os", "it does not begin with {"},
};

static void npy_dictionaries(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof dictionaries / sizeof *dictionaries; i++) {
        npy(&b, 1, dictionaries[i].header, 6);
        fails_saying(open_copy("t.npy", b.data, b.bytes), "t.npy: ", dictionaries[i].reason);
    }
    npy(&b, 4, DICT("'<f4'", "False", "(3, 2)"), 6);
    fails_saying(open_copy("t.npy", b.data, b.bytes), "t.npy: byte 6: ", ".npy version 4");
}

/* ---- vocabularies beside a table of three rows */

#define VOCAB(text)      "{\"model\":{\"vocab\":" text "}}"
#define ADDED(text, map) "{\"added_tokens\":[" text "],\"model\":{\"vocab\":" map "}}"

static const struct {
    const char *file, *text, *reason;
} vocabularies[] = {
    {"vocab.txt", "a\nb\n", "has 3 rows, but "},
    {"vocab.txt", "a\nb\nc\n\n", "has 4 strings"},
    {"vocab.txt", "", "the file is empty"},
    {"vocab.json", "[]", "the file is no map of strings to ids"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":\"2\"}", "its id is no whole number"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":-2}", "its id is no whole number"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":1e18}", "its id is no whole number"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":{}}", "its id is no whole number"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":999999999999}", "its id is too large"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":3}", "id 3 among 3 strings"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":1}", "two strings have the id 1"},
    {"vocab.json", "{\"a\":0,\"b\":1}", "has 2 strings"},
    {"vocab.json", "{\"a\":0,\"b\":1", "not valid JSON"},
    {"tokenizer.json", "{}", "there is no model.vocab"},
    {"tokenizer.json", "{\"model\":[]}", "there is no model.vocab"},
    {"tokenizer.json", "{\"model\":{\"vocab\":3}}", "model.vocab is no map and no array"},
    {"tokenizer.json", VOCAB("{}"), "there are no strings"},
    {"vocab.json", "{}", "there are no strings"},
    {"tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"},
    {"tokenizer.json", VOCAB("[[1,\"a\"]]"), "no pair of a string and a score"},
    {"tokenizer.json", VOCAB("[\"a\"]"), "no pair of a string and a score"},
    {"tokenizer.json", VOCAB("[[\"a\"],[\"b\"],[]]"), "its id or its text is missing"},
    {"tokenizer.json", VOCAB("{\"a\":[0]}"), "its id is no whole number"},
    {"tokenizer.json", ADDED("{\"id\":2}", "{\"a\":0,\"b\":1}"), "its text is missing"},
    {"tokenizer.json", ADDED("{\"content\":\"c\"}", "{\"a\":0,\"b\":1}"), "its id or"},
    {"tokenizer.json", ADDED("3", "{\"a\":0,\"b\":1}"), "has 2 strings"},
    {"tokenizer.json",
     ADDED("{\"id\":0,\"content\":\"c\"},{\"id\":0,\"content\":\"d\"}", "{\"b\":2}"),
     "no string has the id 1"},
};

static void vocabularies_beside(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        mltfr_table *t;

        npy(&b, 1, DICT("'<f4'", "False", "(3, 2)"), 6);
        make_file("t.npy", b.data, b.bytes);
        make_file(vocabularies[i].file, vocabularies[i].text, strlen(vocabularies[i].text));
        fails_saying(mltfr_table_open(path_of("t.npy"), NULL, &t), folder, vocabularies[i].reason);
        assert_null(t);
        assert_int_equal(mltfr_mem_now(), 0);
        remove_folder();
        make_folder();
    }
}

static void nested_tokenizer(void **state)
{
    enum { DEEP = 100000 };
    char *text = malloc(DEEP);
    mltfr_table *t;

    (void)state;
    memset(text, '[', DEEP);
    memcpy(text, "{\"x\":", 5);
    npy(&b, 1, DICT("'<f4'", "False", "(3, 2)"), 6);
    make_file("t.npy", b.data, b.bytes);
    make_file("tokenizer.json", text, DEEP);
    fails_saying(mltfr_table_open(path_of("t.npy"), NULL, &t), folder, "nested deeper than 64");
    free(text);
}

/* ---- files */

static void files(void **state)
{
    mltfr_table *t;

    (void)state;
    assert_int_equal(mltfr_table_open(path_of("none.gguf"), NULL, &t), MLTFR_E_IO);
    assert_non_null(strstr(mltfr_error_text, "none.gguf: No such file"));
    fails_saying(mltfr_table_open(folder, NULL, &t), folder, "the directory has 0 files");
    assert_int_equal(mltfr_table_open("/dev/zero", NULL, &t), MLTFR_E_IO);
    make_file("empty.gguf", "", 0);
    fails_saying(mltfr_table_open(path_of("empty.gguf"), NULL, &t), folder, "the file is empty");
    make_file("a.npy", "", 0);
    fails_saying(mltfr_table_open(folder, NULL, &t), folder, "the directory has 2 files");
    make_file("m.bin", "PK\3\4 and so on", 14);
    fails_saying(mltfr_table_open(path_of("m.bin"), NULL, &t), folder,
                 "byte 0: not a GGUF, safetensors or .npy file");
    fails_saying(open_copy("p.gguf", "version https://git-lfs.github.com/spec/v1\noid", 47),
                 "p.gguf: ", "a Git LFS pointer");
    npy(&b, 1, DICT("'<f4'", "False", "(3, 2)"), 6);
    fails_saying(mltfr_table_open_memory("t.npy", b.data, b.bytes, "x", &t),
                 "t.npy: ", "no tensor is named 'x'; its two-dimensional tensors: 'array' [3x2]");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(gguf_patches),     TEST(gguf_names),
        TEST(cut_and_flipped),  TEST(safetensors_headers),
        TEST(npy_dictionaries), TEST(vocabularies_beside),
        TEST(nested_tokenizer), TEST(files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
