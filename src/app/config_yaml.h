/* YAML nodes with their place, for config.c: a thin cover of libyaml's documents. */
#ifndef MLTFR_CONFIG_YAML_H
#define MLTFR_CONFIG_YAML_H

#include <mltfr/status.h>

#include <stdbool.h>
#include <stdint.h>
#include <yaml.h>

enum { YAML_WHERE_BYTES = 512 };

/* One parsed document; {0} before yaml_open and after yaml_close. */
typedef struct {
    const char *name; /* borrowed */
    bool is_file;     /* places have a line */
    bool is_open;
    yaml_document_t document;
} yaml_source;

/* Parse; MLTFR_E_USAGE with the place where it is not YAML or holds more than one document. */
mltfr_status yaml_open(yaml_source *source, const char *name, bool is_file, const char *text);
void yaml_close(yaml_source *source);

/* The root node, NULL for an empty document. */
yaml_node_t *yaml_root(yaml_source *source);

/* "FILE:LINE" of a node, or the name alone; returns `where`. */
const char *yaml_where(const yaml_source *source, const yaml_node_t *node,
                       char where[YAML_WHERE_BYTES]);

/* The text of a scalar, or NULL. */
const char *yaml_scalar(const yaml_node_t *node);

/* Is there nothing after the colon? */
bool yaml_is_empty(const yaml_node_t *node);

/* A node for messages: a scalar's text, or "a list", "a map". */
const char *yaml_describe(const yaml_node_t *node);

/* Pair i of a map; false past its end, and for what is not a map. */
bool yaml_pair(const yaml_source *source, const yaml_node_t *map, int64_t i, yaml_node_t **key,
               yaml_node_t **value);

/* Items of a list, -1 for what is not a list; and item i. */
int64_t yaml_count(const yaml_node_t *list);
yaml_node_t *yaml_item(const yaml_source *source, const yaml_node_t *list, int64_t i);

#endif
