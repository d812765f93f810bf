/* The configuration as it is read: YAML by libyaml, keys and limits by the table of options.def.
 * Nodes keep their line, so a fault is reported where it was written.  Settings change only by
 * the functions below; strings stay in a list of blocks until the configuration goes. */
#include <mltfr/config.h>

#include "config_yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block {
    struct block *next;
    char bytes[];
};

struct mltfr_config {
    mltfr_settings settings;
    struct block *blocks;
};

enum { MOST_TABLES = 64, LONGEST_NAME = 63 };

mltfr_status mltfr_config_create(mltfr_config **out)
{
    mltfr_status st = MLTFR_NEW(*out, 1);

    if (st == MLTFR_OK)
        (*out)->settings = mltfr_settings_defaults();
    return st;
}

void mltfr_config_destroy(mltfr_config **config)
{
    while (*config != NULL && (*config)->blocks != NULL) {
        struct block *next = (*config)->blocks->next;

        MLTFR_FREE((*config)->blocks);
        (*config)->blocks = next;
    }
    MLTFR_FREE(*config);
}

const mltfr_settings *mltfr_config_settings(const mltfr_config *config)
{
    return &config->settings;
}

/* Memory that lives as long as the configuration. */
static mltfr_status config_hold(mltfr_config *config, size_t bytes, void *out)
{
    struct block *block = NULL;
    mltfr_status st = mltfr_alloc(&block, 1, sizeof *block + bytes);
    void *held;

    if (st != MLTFR_OK)
        return st;
    block->next = config->blocks;
    config->blocks = block;
    held = block->bytes;
    memcpy(out, &held, sizeof held);
    return MLTFR_OK;
}

static mltfr_status config_hold_text(mltfr_config *config, const char *text, const char **out)
{
    char *copy = NULL;
    mltfr_status st = config_hold(config, strlen(text) + 1, &copy);

    if (st == MLTFR_OK)
        *out = strcpy(copy, text);
    return st;
}

static const mltfr_key *key_find(const char *name)
{
    for (const mltfr_key *key = mltfr_keys; key->name != NULL; key++)
        if (strcmp(key->name, name) == 0)
            return key;
    return NULL;
}

static bool section_is(const char *name)
{
    for (const mltfr_section *section = mltfr_sections; section->name != NULL; section++)
        if (strcmp(section->name, name) == 0)
            return true;
    return false;
}

static mltfr_status unknown_key(const char *where, const char *name)
{
    mltfr_nearest nearest = {.word = name};

    for (const mltfr_key *key = mltfr_keys; key->name != NULL; key++)
        mltfr_nearest_try(&nearest, key->name);
    return mltfr_fail(MLTFR_E_USAGE, "%s: unknown key '%s' (did you mean '%s'?)", where, name,
                      nearest.name);
}

static mltfr_status unknown_section(const char *where, const char *name)
{
    mltfr_nearest nearest = {.word = name};

    for (const mltfr_section *section = mltfr_sections; section->name != NULL; section++)
        mltfr_nearest_try(&nearest, section->name);
    return mltfr_fail(MLTFR_E_USAGE, "%s: unknown section '%s' (did you mean '%s'?)", where, name,
                      nearest.name);
}

static mltfr_status bad_value(const char *where, const mltfr_key *key, const char *value)
{
    mltfr_status st = MLTFR_OK;
    mltfr_text allowed = {0};
    char *text = NULL;

    mltfr_key_allowed(key, &allowed);
    if (key->unit != NULL && key->kind != MLTFR_KEY_TEXT)
        mltfr_text_add(&allowed, " (%s)", key->unit);
    MLTFR_TRY(mltfr_text_take(&allowed, &text));
    st = mltfr_fail(MLTFR_E_USAGE, "%s: %s: %s is not allowed: must be %s", where, key->name, value,
                    text);
done:
    MLTFR_FREE(text);
    return st;
}

/* A scalar as a value of a key of any kind but TEXT and TABLES; false where it is not allowed. */
static bool scalar_store(const mltfr_key *key, const char *value, void *field)
{
    int64_t i = 0;
    double x = 0;

    switch (key->kind) {
    case MLTFR_KEY_AUTO:
        if (strcmp(value, "auto") == 0)
            return *(int64_t *)field = 0, true;
        /* fall through */
    case MLTFR_KEY_INT:
        if (!mltfr_text_to_i64(value, &i) || (double)i < key->lo || (double)i > key->hi)
            return false;
        return *(int64_t *)field = i, true;
    case MLTFR_KEY_REAL:
        if (!mltfr_text_to_f64(value, &x) || x < key->lo || x > key->hi)
            return false;
        return *(double *)field = x, true;
    case MLTFR_KEY_BOOL:
        *(bool *)field = strcmp(value, "true") == 0;
        return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
    default:
        for (i = 0; key->words[i] != NULL; i++)
            if (strcmp(key->words[i], value) == 0)
                return *(int *)field = (int)i, true;
        return false;
    }
}

/* Fill one {name, path, tensor}; the last may be left out. */
static mltfr_status table_read(mltfr_config *config, const yaml_source *source, yaml_node_t *node,
                               mltfr_named_path *out)
{
    mltfr_status st = MLTFR_OK;
    yaml_node_t *key, *value;
    char where[YAML_WHERE_BYTES];

    for (int64_t i = 0; yaml_pair(source, node, i, &key, &value); i++) {
        const char *word = yaml_scalar(key), *text = yaml_scalar(value);
        const char **to = NULL;

        if (word != NULL && strcmp(word, "name") == 0)
            to = &out->name;
        else if (word != NULL && strcmp(word, "path") == 0)
            to = &out->path;
        else if (word != NULL && strcmp(word, "tensor") == 0)
            to = &out->tensor;
        if (to == NULL || *to != NULL || text == NULL || *text == '\0')
            MLTFR_FAIL(MLTFR_E_USAGE,
                       "%s: a token table is {name: NAME, path: FILE}, and may have tensor: NAME",
                       yaml_where(source, key, where));
        MLTFR_TRY(config_hold_text(config, text, to));
    }
    if (out->name == NULL || out->path == NULL)
        MLTFR_FAIL(MLTFR_E_USAGE, "%s: a token table is {name: NAME, path: FILE}",
                   yaml_where(source, node, where));
    if (strlen(out->name) > LONGEST_NAME)
        MLTFR_FAIL(MLTFR_E_USAGE, "%s: the name of a token table has at most %d bytes",
                   yaml_where(source, node, where), LONGEST_NAME);
done:
    return st;
}

static mltfr_status tables_read(mltfr_config *config, const yaml_source *source,
                                const mltfr_key *key, yaml_node_t *node)
{
    mltfr_status st = MLTFR_OK;
    mltfr_named_path *tables = NULL;
    int64_t count = yaml_count(node);
    char where[YAML_WHERE_BYTES];

    if (count < 0)
        return bad_value(yaml_where(source, node, where), key, yaml_describe(node));
    if (count > MOST_TABLES)
        MLTFR_FAIL(MLTFR_E_USAGE, "%s: %lld token tables, at most %d are allowed",
                   yaml_where(source, node, where), (long long)count, MOST_TABLES);
    MLTFR_TRY(config_hold(config, (size_t)count * sizeof *tables, &tables));
    for (int64_t i = 0; i < count; i++) {
        MLTFR_TRY(table_read(config, source, yaml_item(source, node, i), &tables[i]));
        for (int64_t j = 0; j < i; j++)
            if (strcmp(tables[i].name, tables[j].name) == 0)
                MLTFR_FAIL(MLTFR_E_USAGE, "%s: two token tables are named '%s'",
                           yaml_where(source, yaml_item(source, node, i), where), tables[i].name);
    }
    config->settings.tokens_tables = tables;
    config->settings.tokens_tables_count = count;
done:
    return st;
}

/* Give a key the value of a node. */
static mltfr_status key_read(mltfr_config *config, const yaml_source *source, const mltfr_key *key,
                             yaml_node_t *node)
{
    char *field = (char *)&config->settings + key->offset, where[YAML_WHERE_BYTES];
    const char *value = yaml_scalar(node);

    if (key->kind == MLTFR_KEY_TABLES)
        return tables_read(config, source, key, node);
    if (value != NULL && key->kind == MLTFR_KEY_TEXT)
        return config_hold_text(config, value, (const char **)field);
    if (value != NULL && scalar_store(key, value, field))
        return MLTFR_OK;
    return bad_value(yaml_where(source, node, where), key, yaml_describe(node));
}

/* lines[k] is where key k was given in this file, 0 if it was not yet. */
static mltfr_status section_read(mltfr_config *config, const yaml_source *source, const char *name,
                                 yaml_node_t *section, size_t lines[])
{
    mltfr_status st = MLTFR_OK;
    char full[2 * LONGEST_NAME], where[YAML_WHERE_BYTES];
    yaml_node_t *word, *value;

    for (int64_t i = 0; yaml_pair(source, section, i, &word, &value); i++) {
        const char *text = yaml_scalar(word);

        snprintf(full, sizeof full, "%s.%s", name, text != NULL ? text : "");
        const mltfr_key *key = key_find(full);

        yaml_where(source, word, where);
        if (key == NULL)
            return unknown_key(where, full);
        if (lines[key - mltfr_keys] != 0)
            MLTFR_FAIL(MLTFR_E_USAGE, "%s: %s was given before, in line %zu", where, full,
                       lines[key - mltfr_keys]);
        lines[key - mltfr_keys] = word->start_mark.line + 1;
        MLTFR_TRY(key_read(config, source, key, value));
    }
done:
    return st;
}

static mltfr_status root_read(mltfr_config *config, const yaml_source *source, yaml_node_t *root)
{
    mltfr_status st = MLTFR_OK;
    size_t lines[sizeof(mltfr_settings)] = {0}; /* more than there are keys */
    char where[YAML_WHERE_BYTES];
    yaml_node_t *name, *section;

    if (root != NULL && root->type != YAML_MAPPING_NODE)
        MLTFR_FAIL(MLTFR_E_USAGE, "%s: expected sections such as 'train:' with keys below",
                   yaml_where(source, root, where));
    for (int64_t i = 0; yaml_pair(source, root, i, &name, &section); i++) {
        const char *text = yaml_scalar(name);

        yaml_where(source, name, where);
        if (text == NULL || !section_is(text))
            return unknown_section(where, text != NULL ? text : "");
        if (section->type != YAML_MAPPING_NODE && !yaml_is_empty(section))
            MLTFR_FAIL(MLTFR_E_USAGE, "%s: section '%s' holds keys, not %s", where, text,
                       yaml_describe(section));
        MLTFR_TRY(section_read(config, source, text, section, lines));
    }
done:
    return st;
}

mltfr_status mltfr_config_read(mltfr_config *config, const char *name, const char *yaml)
{
    mltfr_status st = MLTFR_OK;
    yaml_source source = {0};

    MLTFR_TRY(yaml_open(&source, name, true, yaml));
    MLTFR_TRY(root_read(config, &source, yaml_root(&source)));
done:
    yaml_close(&source);
    return st;
}

mltfr_status mltfr_config_set(mltfr_config *config, const char *assignment)
{
    mltfr_status st = MLTFR_OK;
    yaml_source source = {0};
    const char *equals = strchr(assignment, '=');
    size_t length = equals != NULL ? (size_t)(equals - assignment) : 0;
    char name[2 * LONGEST_NAME];

    if (equals == NULL)
        return mltfr_fail(MLTFR_E_USAGE, "--set: '%s' is not of the form section.key=VALUE",
                          assignment);
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name),
             assignment);
    const mltfr_key *key = key_find(name);

    if (key == NULL)
        return unknown_key("--set", name);
    if (key->kind == MLTFR_KEY_TEXT && equals[1] == '\0')
        return mltfr_config_put(config, name, "");
    MLTFR_TRY(yaml_open(&source, "--set", false, equals + 1));
    if (yaml_root(&source) == NULL)
        MLTFR_TRY(bad_value("--set", key, "an empty value"));
    MLTFR_TRY(key_read(config, &source, key, yaml_root(&source)));
done:
    yaml_close(&source);
    return st;
}

mltfr_status mltfr_config_put(mltfr_config *config, const char *name, const char *text)
{
    const mltfr_key *key = key_find(name);

    if (key == NULL || key->kind != MLTFR_KEY_TEXT)
        return mltfr_fail(MLTFR_E_INTERNAL, "%s is not a key of kind text", name);
    return config_hold_text(config, text, (const char **)((char *)&config->settings + key->offset));
}
