/* The configuration: table, reader, --set, checks, and a written form that reads back. */
#include <mltfr/config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static mltfr_config *config;

static int set_up(void **state)
{
    (void)state;
    return mltfr_config_create(&config);
}

static int tear_down(void **state)
{
    (void)state;
    mltfr_config_destroy(&config);
    return mltfr_mem_now() != 0;
}

static const mltfr_settings *settings(void)
{
    return mltfr_config_settings(config);
}

static void reads(const char *yaml)
{
    mltfr_error_text[0] = '\0';
    mltfr_status st = mltfr_config_read(config, "c.yaml", yaml);

    assert_string_equal(mltfr_error_text, "");
    assert_int_equal(st, MLTFR_OK);
}

static void sets(const char *assignment)
{
    mltfr_error_text[0] = '\0';
    mltfr_status st = mltfr_config_set(config, assignment);

    assert_string_equal(mltfr_error_text, "");
    assert_int_equal(st, MLTFR_OK);
}

static void rejects(mltfr_status st, const char *text)
{
    assert_int_equal(st, MLTFR_E_USAGE);
    assert_string_equal(mltfr_error_text, text);
}

#define FILE_FAILS(yaml, text) rejects(mltfr_config_read(config, "c.yaml", yaml), text)
#define SET_FAILS(word, text)  rejects(mltfr_config_set(config, word), text)

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(settings()->data_max_len, 50);
    assert_int_equal(settings()->model_dim, 64);
    assert_int_equal(settings()->train_batch, 256);
    assert_int_equal(settings()->filter_pool, 2048);
    assert_int_equal(settings()->tokens_shared_dim, 128);
    assert_true(settings()->train_lr == 1e-3);
    assert_true(settings()->model_experts);
    assert_int_equal(settings()->fisher_rule, MLTFR_FISHER_RULE_KRON);
    assert_string_equal(settings()->run_dir, "./run");
    assert_int_equal(settings()->tokens_tables_count, 0);
    assert_int_equal(mltfr_config_check(config), MLTFR_OK);
}

/* Each key has a known section, a help, a default within its limits, and words in order. */
static void test_table(void **state)
{
    char assignment[128];

    (void)state;
    for (const mltfr_key *key = mltfr_keys; key->name != NULL; key++) {
        mltfr_text value = {0};

        assert_int_equal(strncmp(key->name, key->section, strlen(key->section)), 0);
        assert_true(strlen(key->help) > 10);
        mltfr_key_value(key, NULL, &value);
        snprintf(assignment, sizeof assignment, "%s=%s", key->name, value.data);
        sets(assignment);
        mltfr_text_destroy(&value);
    }
}

static void test_file(void **state)
{
    (void)state;
    reads("train:\n  lr: .5\n  loss: bce\n  seed: 7\nmodel: {experts: false, norm: \"pre\"}\n"
          "tokens:\n  shared_dim: auto\n  tables:\n  - {name: a, path: x y}\n"
          "  - name: b\n    path: z\neval:\n");
    assert_true(settings()->train_lr == .5);
    assert_int_equal(settings()->train_loss, MLTFR_TRAIN_LOSS_BCE);
    assert_int_equal(settings()->train_seed, 7);
    assert_false(settings()->model_experts);
    assert_int_equal(settings()->model_norm, MLTFR_MODEL_NORM_PRE);
    assert_int_equal(settings()->tokens_shared_dim, 0);
    assert_int_equal(settings()->tokens_tables_count, 2);
    assert_string_equal(settings()->tokens_tables[0].path, "x y");
    assert_string_equal(settings()->tokens_tables[1].name, "b");
    reads("");
    reads("# nothing\n");
    reads("---\ntrain: {batch: 3}\n...\n");
    assert_int_equal(settings()->train_batch, 3);
}

static void test_set(void **state)
{
    (void)state;
    reads("train: {batch: 3}\n");
    sets("train.batch=4");
    sets("train.batch=5");
    assert_int_equal(settings()->train_batch, 5);
    sets("run.stop_after=15");
    assert_string_equal(settings()->run_stop_after, "15");
    sets("data.path=");
    assert_string_equal(settings()->data_path, "");
    sets("data.path='a: b'");
    assert_string_equal(settings()->data_path, "a: b");
    sets("tokens.tables=[{name: a, path: b}]");
    assert_string_equal(settings()->tokens_tables[0].name, "a");
    sets("tokens.tables=[]");
    assert_int_equal(settings()->tokens_tables_count, 0);
    assert_int_equal(mltfr_config_put(config, "data.path", "x: \"#"), MLTFR_OK);
    assert_string_equal(settings()->data_path, "x: \"#");
}

static void test_file_faults(void **state)
{
    (void)state;
    FILE_FAILS("train:\n  bacth: 3\n",
               "c.yaml:2: unknown key 'train.bacth' (did you mean 'train.batch'?)");
    FILE_FAILS("\ntrian:\n  batch: 3\n",
               "c.yaml:2: unknown section 'trian' (did you mean 'train'?)");
    FILE_FAILS("train:\n  lr: 1\n  batch: 0\n",
               "c.yaml:3: train.batch: 0 is not allowed: must be a whole number from 1 to "
               "16777216 (users)");
    FILE_FAILS("train:\n  batch: 1.5\n",
               "c.yaml:2: train.batch: 1.5 is not allowed: must be a whole number from 1 to "
               "16777216 (users)");
    FILE_FAILS("train: {loss: hinge}\n",
               "c.yaml:1: train.loss: hinge is not allowed: must be one of softmax, sampled, bce");
    FILE_FAILS("model: {experts: yes}\n",
               "c.yaml:1: model.experts: yes is not allowed: must be true or false");
    FILE_FAILS("train:\n  seed: 1\n\n  seed: 2\n",
               "c.yaml:4: train.seed was given before, in line 2");
    FILE_FAILS("train: {seed: 1}\ntrain: {seed: 2}\n",
               "c.yaml:2: train.seed was given before, in line 1");
    FILE_FAILS("train: 3\n", "c.yaml:1: section 'train' holds keys, not 3");
    FILE_FAILS("- train\n", "c.yaml:1: expected sections such as 'train:' with keys below");
    FILE_FAILS("train: {seed: 1}\n---\ntrain: {seed: 1}\n", "c.yaml: more than one YAML document");
    assert_int_equal(mltfr_config_read(config, "c.yaml", "train:\n  lr: [1\n"), MLTFR_E_USAGE);
    assert_int_equal(strncmp(mltfr_error_text, "c.yaml:3: not YAML: ", 20), 0);
    assert_int_equal(mltfr_config_read(config, "c.yaml", "run: {dir: \"\xff\"}"), MLTFR_E_USAGE);
}

static void test_set_faults(void **state)
{
    (void)state;
    SET_FAILS("train.bacth=3", "--set: unknown key 'train.bacth' (did you mean 'train.batch'?)");
    SET_FAILS("train.batch", "--set: 'train.batch' is not of the form section.key=VALUE");
    SET_FAILS("train.lr=nan", "--set: train.lr: nan is not allowed: must be a number from 0 to 10 "
                              "(rate)");
    SET_FAILS("train.lr=", "--set: train.lr: an empty value is not allowed: must be a number from "
                           "0 to 10 (rate)");
    SET_FAILS("fisher.start=0", "--set: fisher.start: 0 is not allowed: must be a whole number "
                                "from 1 to 1000000000, or auto (steps)");
    SET_FAILS("run.dir=[a]", "--set: run.dir: a list is not allowed: must be a text");
    SET_FAILS("tokens.tables=x", "--set: tokens.tables: x is not allowed: must be a list of "
                                 "{name: NAME, path: FILE}");
    SET_FAILS("tokens.tables=[{name: a}]", "--set: a token table is {name: NAME, path: FILE}");
    SET_FAILS("tokens.tables=[{name: a, path: b}, {name: a, path: c}]",
              "--set: two token tables are named 'a'");
    SET_FAILS("train.seed=9007199254740993",
              "--set: train.seed: 9007199254740993 is not allowed: must be a whole number from 0 "
              "to 9007199254740991 (number)");
}

static void check_fails(const char *assignment, const char *text)
{
    mltfr_config_destroy(&config);
    assert_int_equal(mltfr_config_create(&config), MLTFR_OK);
    sets(assignment);
    rejects(mltfr_config_check(config), text);
}

static void test_checks(void **state)
{
    (void)state;
    check_fails("model.heads=3", "model.dim = 64 is not a multiple of model.heads = 3");
    check_fails("filter.pool=31", "filter.top_m = 32 is more than filter.pool = 31");
    check_fails("run.dir=", "run.dir is empty; it must name a directory");
    check_fails("run.stop_after=soon", "run.stop_after: soon is not allowed: must be steps (15) or "
                                       "a time (90s, 3h50m)");
    sets("run.stop_after=3h50m");
    sets("tokens.path=x");
    sets("tokens.tables=[{name: a, path: b}]");
    rejects(mltfr_config_check(config),
            "tokens.tables and tokens.path are both given; one of them is allowed");
}

/* Every key away from its default, written, read back and written again. */
static void test_round_trip(void **state)
{
    char *first = NULL, *second = NULL;

    (void)state;
    reads("data: {path: \"a\\tb\\\"\\\\c\", format: hdf5, max_len: 7}\n"
          "tokens: {tables: [{name: \"n #1\", path: 'x: y'}], shared_dim: auto, eps: 0.1}\n"
          "train: {lr: 0.30000000000000004, adam_eps: 1e-12, schedule: cosine}\n"
          "model: {experts: false}\nfisher: {start: 17}\nrun: {dir: \"\\u00fc/\xc3\xa9\"}\n");
    assert_int_equal(mltfr_config_text(settings(), &first), MLTFR_OK);
    mltfr_config_destroy(&config);
    assert_int_equal(mltfr_config_create(&config), MLTFR_OK);
    reads(first);
    assert_int_equal(mltfr_config_text(settings(), &second), MLTFR_OK);
    assert_string_equal(first, second);
    assert_string_equal(settings()->data_path, "a\tb\"\\c");
    assert_string_equal(settings()->tokens_tables[0].name, "n #1");
    assert_true(settings()->train_lr == 0.30000000000000004);
    assert_int_equal(settings()->fisher_start, 17);
    assert_string_equal(settings()->run_dir, "\xc3\xbc/\xc3\xa9");
    MLTFR_FREE(first);
    MLTFR_FREE(second);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),    TEST(test_table),      TEST(test_file),   TEST(test_set),
        TEST(test_file_faults), TEST(test_set_faults), TEST(test_checks), TEST(test_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
