/* E5's and E6's rules on strings, the choice of anchors and of those held out. */
#include "../../src/io/conditioning_impl.h"

#include <mltfr/mem.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_odd_tokens(void **state)
{
    static const char *const odd[] = {"<0x0A>",     "<0xff>",    "[unused0]", "<unused12>",
                                      "<unused_3>", "[unused5>", "<0xAb>"};
    static const char *const fine[] = {"",          "<0x0>",     "<0xGG>",   "<0x0A> ",
                                       "unused1",   "[unused]",  "[unused1", "<unused__1>",
                                       "[unusedx]", "[UNUSED1]", "<0x0A",    "x<0x0A>"};

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_true(mltfr_token_is_odd(odd[i], strlen(odd[i])));
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        assert_false(mltfr_token_is_odd(fine[i], strlen(fine[i])));
}

static void expect_form(const char *s, const char *form)
{
    char out[64] = {0};

    assert_int_equal(mltfr_anchor_form(s, strlen(s), out), strlen(form));
    assert_memory_equal(out, form, strlen(form));
}

static void test_forms(void **state)
{
    (void)state;
    expect_form("the", "the");
    expect_form("\xc4\xa0The", "the");
    expect_form("\xe2\x96\x81THE", "the");
    expect_form(" the", "the");
    expect_form("\xc4\xa0\xc4\xa0the", ""); /* one mark only */
    expect_form("  the", "");
    expect_form("##the", "");
    expect_form("a", "");
    expect_form("\xc4\xa0"
                "a",
                "");
    expect_form("don't", "");
    expect_form("x9", "");
    expect_form("\xc3\xa9t\xc3\xa9", "");
    expect_form("", "");
    expect_form("\xc4", "");
    expect_form("\xe2\x96", "");
}

/* Three LLMs of a few strings. */
typedef struct {
    const char *const *strings;
} words;

static const char *word(void *context, int64_t row, size_t *bytes)
{
    const char *s = ((const words *)context)->strings[row];

    *bytes = strlen(s);
    return s;
}

static int64_t all_ids[] = {0, 1, 2, 3, 4, 5};

static mltfr_llm llm_of(words *w, int64_t count)
{
    return (mltfr_llm){.source = {.context = w, .string = word}, .kept = all_ids, .count = count};
}

static const mltfr_conditioning_options as_in_e6 = {0}; /* any token, the lowest of a form */

static void test_anchors(void **state)
{
    static const char *const a[] = {"Zoo",
                                    "zoo",
                                    "only",
                                    "\xc4\xa0"
                                    "cat",
                                    "##dog",
                                    "cats"};
    static const char *const b[] = {"cat", "CAT", "x1", "dog"};
    static const char *const c[] = {"dog", "\xe2\x96\x81zoo", "own"};
    words w[3] = {{a}, {b}, {c}};
    mltfr_llm llms[3] = {llm_of(&w[0], 6), llm_of(&w[1], 4), llm_of(&w[2], 3)};
    static const int64_t ids[3][3] = {{3, 0, -1}, {-1, 3, 0}, {0, -1, 1}};
    mltfr_anchors an;

    (void)state;
    assert_int_equal(mltfr_anchors_find(llms, 3, &as_in_e6, &an), MLTFR_OK);
    assert_int_equal(an.count, 3);
    assert_memory_equal(an.bytes, "catdogzoo", 9);
    assert_int_equal(an.offsets[3], 9);
    assert_memory_equal(an.ids, ids, sizeof ids);
    mltfr_anchors_destroy(&an);

    llms[1].source.string = NULL; /* without strings: no anchors with the others */
    assert_int_equal(mltfr_anchors_find(llms, 3, &as_in_e6, &an), MLTFR_OK);
    assert_int_equal(an.count, 1);
    assert_memory_equal(an.bytes, "zoo", 3);
    mltfr_anchors_destroy(&an);
    assert_int_equal(mltfr_mem_now(), 0);
}

/* All tokens of a form, by LLM and rising; the marks of whole_words count before. */
static void test_merged_case(void **state)
{
    static const char *const a[] = {"\xc4\xa0owl", "\xc4\xa0Owl", "owl", "\xc4\xa0OWL",
                                    "\xc4\xa0"
                                    "bee"};
    static const char *const b[] = {"bee", "owl", "Bee"};
    static const int64_t marked[] = {4, 0, 2, 0, 1, 3, 1}, every[] = {4, 0, 2, 0, 1, 2, 3, 1};
    static const int64_t ends[] = {0, 1, 3, 6, 7}, ids[] = {4, 0, 0, 1};
    words w[2] = {{a}, {b}};
    mltfr_llm llms[2] = {llm_of(&w[0], 5), llm_of(&w[1], 3)};
    mltfr_conditioning_options o = {.merge_case = true, .whole_words = true};
    mltfr_anchors an;

    (void)state;
    assert_int_equal(mltfr_anchors_find(llms, 2, &o, &an), MLTFR_OK);
    assert_int_equal(an.count, 2);
    assert_memory_equal(an.bytes, "beeowl", 6);
    assert_memory_equal(an.ids, ids, sizeof ids);
    assert_memory_equal(an.begins, ends, sizeof ends);
    assert_memory_equal(an.tokens, marked, sizeof marked);
    mltfr_anchors_destroy(&an);

    o.whole_words = false;
    assert_int_equal(mltfr_anchors_find(llms, 2, &o, &an), MLTFR_OK);
    assert_memory_equal(an.tokens, every, sizeof every);
    mltfr_anchors_destroy(&an);

    assert_int_equal(mltfr_anchors_find(llms, 2, &as_in_e6, &an), MLTFR_OK);
    assert_memory_equal(an.tokens, ids, sizeof ids);
    mltfr_anchors_destroy(&an);
    assert_int_equal(mltfr_mem_now(), 0);
}

/* Which anchor is held out depends on its string and the seed, not on the others. */
static void test_held_out(void **state)
{
    static const char *const a[] = {"cat", "dog", "owl", "ant", "bee", "fox"};
    static const char *const b[] = {"fox", "bee", "owl"};
    words w[2] = {{a}, {b}};
    mltfr_llm full[2] = {llm_of(&w[0], 6), llm_of(&w[0], 6)};
    mltfr_llm part[2] = {llm_of(&w[0], 6), llm_of(&w[1], 3)};
    mltfr_conditioning_options o = mltfr_conditioning_defaults();
    mltfr_anchors x, y;
    int64_t differing = 0;

    (void)state;
    o.held_out = .5;
    for (o.seed = 0; o.seed < 20; o.seed++) { /* bee, fox, owl are 1, 4, 5 of six */
        assert_int_equal(mltfr_anchors_find(full, 2, &as_in_e6, &x), MLTFR_OK);
        assert_int_equal(mltfr_anchors_find(part, 2, &as_in_e6, &y), MLTFR_OK);
        assert_int_equal(mltfr_anchors_hold_out(&x, &o), MLTFR_OK);
        assert_int_equal(mltfr_anchors_hold_out(&y, &o), MLTFR_OK);
        assert_int_equal(y.held[0], x.held[1]);
        assert_int_equal(y.held[1], x.held[4]);
        assert_int_equal(y.held[2], x.held[5]);
        differing += x.held[0] != x.held[1];
        mltfr_anchors_destroy(&x);
        mltfr_anchors_destroy(&y);
    }
    assert_in_range(differing, 3, 17);
}

/* A mask in place of the hash; one of the wrong length is refused. */
static void test_mask(void **state)
{
    static const char *const a[] = {"cat", "dog", "owl"};
    words w = {a};
    mltfr_llm llms[2] = {llm_of(&w, 3), llm_of(&w, 3)};
    mltfr_conditioning_options o = mltfr_conditioning_defaults();
    static const uint8_t mask[] = {0, 1, 0};
    mltfr_anchors an;

    (void)state;
    assert_int_equal(mltfr_anchors_find(llms, 2, &as_in_e6, &an), MLTFR_OK);
    o.held_mask = mask;
    o.held_count = 2;
    assert_int_equal(mltfr_anchors_hold_out(&an, &o), MLTFR_E_DATA);
    o.held_count = 3;
    assert_int_equal(mltfr_anchors_hold_out(&an, &o), MLTFR_OK);
    assert_int_equal(an.held_count, 1);
    assert_true(mltfr_anchor_in(&an, 1, 0, true));
    assert_false(mltfr_anchor_in(&an, 1, 0, false));
    mltfr_anchors_destroy(&an);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_tokens), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_anchors),    cmocka_unit_test(test_merged_case),
        cmocka_unit_test(test_held_out),   cmocka_unit_test(test_mask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
