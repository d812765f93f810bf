/** @file mltfr/settings.h
 *  The configuration as a plain struct, made from the table of keys.  Layer: base.
 *
 *  Key `section.key` is the field `section_key`: int64_t, double, bool, int (an enumerator
 *  MLTFR_<SECTION>_<KEY>_<WORD>) or a text.  A key that takes `auto` holds 0 for it.  Texts and
 *  lists are borrowed: a struct may be copied freely while its mltfr_config (mltfr/config.h), or
 *  whatever its strings belong to, lives. */
#ifndef MLTFR_SETTINGS_H
#define MLTFR_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

/** An LLM's token table: its name, the file or directory it is in, and the tensor there; NULL: by
 *  the rule of mltfr/table.h. */
typedef struct {
    const char *name, *path, *tensor;
} mltfr_named_path;

/* The enumerations of keys of kind CHOICE. */
#define INT(section, key, initial, lo, hi, unit, help)
#define AUTO(section, key, initial, lo, hi, unit, help)
#define REAL(section, key, initial, lo, hi, unit, help)
#define BOOL(section, key, initial, help)
#define CHOICE(section, key, initial, help, options) enum { options };
#define OPTION(name, word)                           name,
#define TEXT(section, key, initial, unit, help)
#define TABLES(section, key, help)
#include <mltfr/options.def>

typedef struct {
#define INT(section, key, initial, lo, hi, unit, help)  int64_t section##_##key;
#define AUTO(section, key, initial, lo, hi, unit, help) int64_t section##_##key;
#define REAL(section, key, initial, lo, hi, unit, help) double section##_##key;
#define BOOL(section, key, initial, help)               bool section##_##key;
#define CHOICE(section, key, initial, help, options)    int section##_##key;
#define TEXT(section, key, initial, unit, help)         const char *section##_##key;
#define TABLES(section, key, help)                                                                 \
    const mltfr_named_path *section##_##key;                                                       \
    int64_t section##_##key##_count;
#include <mltfr/options.def>
} mltfr_settings;

/** Settings with every key at its default.  @local */
static inline mltfr_settings mltfr_settings_defaults(void)
{
    return (mltfr_settings){
#define INT(section, key, initial, lo, hi, unit, help)  .section##_##key = initial,
#define AUTO(section, key, initial, lo, hi, unit, help) .section##_##key = initial,
#define REAL(section, key, initial, lo, hi, unit, help) .section##_##key = initial,
#define BOOL(section, key, initial, help)               .section##_##key = initial,
#define CHOICE(section, key, initial, help, options)    .section##_##key = initial,
#define TEXT(section, key, initial, unit, help)         .section##_##key = initial,
#define TABLES(section, key, help)                      .section##_##key = 0, .section##_##key##_count = 0,
#include <mltfr/options.def>
    };
}

#endif
