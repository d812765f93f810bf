/* Token tables that are damaged or hostile: each gives one line that names file, place and reason;
 * nothing crashes, leaks, or takes memory for what a header merely claims. */
#include <mltfr/mem.h>
#include <mltfr/table.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "table_faults.h"

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

/* ---- GGUF */

static uint8_t *after(const char *anchor)
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
        memcpy(after(patches[i].anchor) + patches[i].delta, &patches[i].value,
               (size_t)patches[i].width);
        fails_saying(open_copy("m.gguf", b.data, b.bytes), "m.gguf: ", patches[i].reason);
        assert_true(mltfr_mem_peak() < 1 << 20);
    }
}

static void gguf_names(void **state)
{
    (void)state;
    gguf_model(&b);
    memcpy(after("ggml.scores") - 6, "tokens", 6);
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
    memcpy(after("token_embd.weigh") - 1, "\xff", 1);
    fails_saying(open_copy("m.gguf", b.data, b.bytes),
                 "m.gguf: ", "tensor 'token_embd.weig\\xfft'");
    b.bytes = 0;
    gguf_header(&b, 0, 1);
    gguf_array(&b, "tokenizer.ggml.tokens", 0, 4);
    put_int(&b, 0, 4);
    fails_saying(open_copy("m.gguf", b.data, b.bytes), "m.gguf: ", "is no array of type 8");
    b.bytes = 0;
    gguf_header(&b, 0, 2);
    gguf_array(&b, "tokenizer.ggml.tokens", 8, 1);
    put_string(&b, "a");
    gguf_array(&b, "tokenizer.ggml.scores", 6, 2);
    put_int(&b, 0, 8);
    fails_saying(open_copy("m.gguf", b.data, b.bytes),
                 "m.gguf: ", "tokenizer.ggml.scores has 2 elements; allowed: 1");
    gguf_model(&b);
    put_floats(&b, 20);
    fails_saying(open_copy("m.gguf", b.data, b.bytes),
                 "m.gguf: ", "80 bytes follow the last tensor");
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

/* ---- safetensors */

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

/* ---- .npy */

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

/* ---- vocabularies */

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
        assert_true(mltfr_mem_peak() < 1 << 20);
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
