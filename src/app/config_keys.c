/* The table of keys made from options.def, and how a value looks in YAML. */
#include <mltfr/config.h>

#include <string.h>

#define FIELD(section, key) #section, #key, #section "." #key
#define AT(section, key)    offsetof(mltfr_settings, section##_##key)

const mltfr_key mltfr_keys[] = {
#define INT(section, key, initial, lo, hi, unit, help)                                             \
    {FIELD(section, key), MLTFR_KEY_INT, AT(section, key), lo, hi, unit, help, NULL},
#define AUTO(section, key, initial, lo, hi, unit, help)                                            \
    {FIELD(section, key), MLTFR_KEY_AUTO, AT(section, key), lo, hi, unit, help, NULL},
#define REAL(section, key, initial, lo, hi, unit, help)                                            \
    {FIELD(section, key), MLTFR_KEY_REAL, AT(section, key), lo, hi, unit, help, NULL},
#define BOOL(section, key, initial, help)                                                          \
    {FIELD(section, key), MLTFR_KEY_BOOL, AT(section, key), 0, 1, NULL, help, NULL},
#define CHOICE(section, key, initial, help, options)                                               \
    {FIELD(section, key),                                                                          \
     MLTFR_KEY_CHOICE,                                                                             \
     AT(section, key),                                                                             \
     0,                                                                                            \
     0,                                                                                            \
     NULL,                                                                                         \
     help,                                                                                         \
     (const char *const[]){options NULL}},
#define OPTION(name, word) word,
#define TEXT(section, key, initial, unit, help)                                                    \
    {FIELD(section, key), MLTFR_KEY_TEXT, AT(section, key), 0, 0, unit, help, NULL},
#define TABLES(section, key, help)                                                                 \
    {FIELD(section, key), MLTFR_KEY_TABLES, AT(section, key), 0, 0, NULL, help, NULL},
#include <mltfr/options.def>
    {.name = NULL},
};

const mltfr_section mltfr_sections[] = {
#define SECTION(section, help) {#section, help},
#define INT(section, key, initial, lo, hi, unit, help)
#define AUTO(section, key, initial, lo, hi, unit, help)
#define REAL(section, key, initial, lo, hi, unit, help)
#define BOOL(section, key, initial, help)
#define CHOICE(section, key, initial, help, options)
#define TEXT(section, key, initial, unit, help)
#define TABLES(section, key, help)
#include <mltfr/options.def>
    {.name = NULL},
};

static void add_tables(const mltfr_settings *settings, mltfr_text *out)
{
    mltfr_text_add(out, "[");
    for (int64_t i = 0; i < settings->tokens_tables_count; i++) {
        mltfr_text_add(out, i == 0 ? "{name: " : ", {name: ");
        mltfr_text_add_quoted(out, settings->tokens_tables[i].name);
        mltfr_text_add(out, ", path: ");
        mltfr_text_add_quoted(out, settings->tokens_tables[i].path);
        if (settings->tokens_tables[i].tensor != NULL) {
            mltfr_text_add(out, ", tensor: ");
            mltfr_text_add_quoted(out, settings->tokens_tables[i].tensor);
        }
        mltfr_text_add(out, "}");
    }
    mltfr_text_add(out, "]");
}

static void add_int(mltfr_key_kind kind, int64_t x, mltfr_text *out)
{
    if (kind == MLTFR_KEY_AUTO && x == 0)
        mltfr_text_add(out, "auto");
    else
        mltfr_text_add(out, "%lld", (long long)x);
}

void mltfr_key_value(const mltfr_key *key, const mltfr_settings *settings, mltfr_text *out)
{
    mltfr_settings defaults = mltfr_settings_defaults();
    const char *field = (const char *)(settings != NULL ? settings : &defaults) + key->offset;

    switch (key->kind) {
    case MLTFR_KEY_INT:
    case MLTFR_KEY_AUTO:
        add_int(key->kind, *(const int64_t *)field, out);
        break;
    case MLTFR_KEY_REAL:
        mltfr_text_add_real(out, *(const double *)field);
        break;
    case MLTFR_KEY_BOOL:
        mltfr_text_add(out, *(const bool *)field ? "true" : "false");
        break;
    case MLTFR_KEY_CHOICE:
        mltfr_text_add(out, "%s", key->words[*(const int *)field]);
        break;
    case MLTFR_KEY_TEXT:
        mltfr_text_add_quoted(out, *(const char *const *)field);
        break;
    case MLTFR_KEY_TABLES:
        add_tables(settings != NULL ? settings : &defaults, out);
        break;
    }
}

static void add_range(const mltfr_key *key, const char *what, mltfr_text *out)
{
    mltfr_text_add(out, "%s from ", what);
    if (key->kind == MLTFR_KEY_REAL) {
        mltfr_text_add_real(out, key->lo);
        mltfr_text_add(out, " to ");
        mltfr_text_add_real(out, key->hi);
    } else {
        mltfr_text_add(out, "%.0f to %.0f", key->lo, key->hi);
    }
    if (key->kind == MLTFR_KEY_AUTO)
        mltfr_text_add(out, ", or auto");
}

void mltfr_key_allowed(const mltfr_key *key, mltfr_text *out)
{
    switch (key->kind) {
    case MLTFR_KEY_INT:
    case MLTFR_KEY_AUTO:
        add_range(key, "a whole number", out);
        break;
    case MLTFR_KEY_REAL:
        add_range(key, "a number", out);
        break;
    case MLTFR_KEY_BOOL:
        mltfr_text_add(out, "true or false");
        break;
    case MLTFR_KEY_CHOICE:
        for (const char *const *word = key->words; *word != NULL; word++)
            mltfr_text_add(out, "%s%s", word == key->words ? "one of " : ", ", *word);
        break;
    case MLTFR_KEY_TEXT:
        mltfr_text_add(out, "a text");
        break;
    case MLTFR_KEY_TABLES:
        mltfr_text_add(out, "a list of {name: NAME, path: FILE}");
        break;
    }
}

mltfr_status mltfr_config_text(const mltfr_settings *settings, char **out)
{
    mltfr_text text = {0};
    const char *section = "";

    for (const mltfr_key *key = mltfr_keys; key->name != NULL; key++) {
        if (strcmp(section, key->section) != 0)
            mltfr_text_add(&text, "%s:\n", key->section);
        section = key->section;
        mltfr_text_add(&text, "  %s: ", key->word);
        mltfr_key_value(key, settings, &text);
        mltfr_text_add(&text, "\n");
    }
    return mltfr_text_take(&text, out);
}
