/** @file mltfr/config.h
 *  The configuration: table of keys, YAML reader, writer.  Layer: app.  All functions are @local.
 *
 *  Sources are read in order, and later ones win: defaults, a file, each --set.  An error names
 *  the source, its line, the value and what is allowed; MLTFR_E_USAGE (or MLTFR_E_NOMEM). */
#ifndef MLTFR_CONFIG_H
#define MLTFR_CONFIG_H

#include <mltfr/settings.h>
#include <mltfr/text.h>

typedef enum {
    MLTFR_KEY_INT,
    MLTFR_KEY_AUTO, /**< a whole number or `auto`, which is 0 */
    MLTFR_KEY_REAL,
    MLTFR_KEY_BOOL,
    MLTFR_KEY_CHOICE,
    MLTFR_KEY_TEXT,
    MLTFR_KEY_TABLES
} mltfr_key_kind;

/** One key of the table. */
typedef struct {
    const char *section, *word, *name; /**< "train", "lr", "train.lr" */
    mltfr_key_kind kind;
    size_t offset;            /**< of the field in mltfr_settings */
    double lo, hi;            /**< least and largest number */
    const char *unit, *help;  /**< unit NULL where there is none */
    const char *const *words; /**< of a choice, by enumerator; NULL ends them */
} mltfr_key;

typedef struct {
    const char *name, *help;
} mltfr_section;

/** All keys in the order of options.def, and all sections; a name that is NULL ends each. */
extern const mltfr_key mltfr_keys[];
extern const mltfr_section mltfr_sections[];

/** The value a key has in `settings`, as YAML; the default where settings is NULL. */
void mltfr_key_value(const mltfr_key *key, const mltfr_settings *settings, mltfr_text *out);

/** What a key allows: "a whole number from 1 to 64", "one of a, b". */
void mltfr_key_allowed(const mltfr_key *key, mltfr_text *out);

/** Settings and the strings they borrow. */
typedef struct mltfr_config mltfr_config;

/** Defaults.  @param out  owned by the caller */
mltfr_status mltfr_config_create(mltfr_config **out);

/** Free and set to NULL; NULL is allowed. */
void mltfr_config_destroy(mltfr_config **config);

/** The settings so far; they live as long as the configuration. */
const mltfr_settings *mltfr_config_settings(const mltfr_config *config);

/** Read the text of a YAML file.  @param name  what messages call it, usually the path */
mltfr_status mltfr_config_read(mltfr_config *config, const char *name, const char *yaml);

/** Read `section.key=VALUE`, VALUE being YAML. */
mltfr_status mltfr_config_set(mltfr_config *config, const char *assignment);

/** Set a key of kind TEXT to a string as it is.  @param name  must be in the table */
mltfr_status mltfr_config_put(mltfr_config *config, const char *name, const char *text);

/** What no single key shows: keys that do not go together. */
mltfr_status mltfr_config_check(const mltfr_config *config);

/** Every key with its value as YAML that reads back to the same settings.
 *  @param out  owned by the caller (MLTFR_FREE) */
mltfr_status mltfr_config_text(const mltfr_settings *settings, char **out);

#endif
