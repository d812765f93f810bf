/* Loads one YAML document and walks it.  libyaml resolves aliases to the same node, so nothing
 * here can grow beyond the text, and the reader descends a fixed number of levels. */
#include "config_yaml.h"

#include <stdio.h>
#include <string.h>

static mltfr_status syntax_error(const yaml_source *source, const yaml_parser_t *parser)
{
    const char *problem = parser->problem != NULL ? parser->problem : "cannot be read";

    if (!source->is_file)
        return mltfr_fail(MLTFR_E_USAGE, "%s: not YAML: %s", source->name, problem);
    if (parser->error == YAML_READER_ERROR)
        return mltfr_fail(MLTFR_E_USAGE, "%s: not YAML: byte %zu: %s", source->name,
                          parser->problem_offset, problem);
    return mltfr_fail(MLTFR_E_USAGE, "%s:%zu: not YAML: %s", source->name,
                      parser->problem_mark.line + 1, problem);
}

/* After the document nothing may follow. */
static mltfr_status nothing_follows(const yaml_source *source, yaml_parser_t *parser)
{
    mltfr_status st = MLTFR_OK;
    yaml_document_t next;

    if (!yaml_parser_load(parser, &next))
        return syntax_error(source, parser);
    if (yaml_document_get_root_node(&next) != NULL)
        st = mltfr_fail(MLTFR_E_USAGE, "%s: more than one YAML document", source->name);
    yaml_document_delete(&next);
    return st;
}

mltfr_status yaml_open(yaml_source *source, const char *name, bool is_file, const char *text)
{
    mltfr_status st = MLTFR_OK;
    yaml_parser_t parser;

    *source = (yaml_source){.name = name, .is_file = is_file};
    if (!yaml_parser_initialize(&parser))
        return mltfr_fail(MLTFR_E_NOMEM, "out of memory: YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    if (!yaml_parser_load(&parser, &source->document))
        MLTFR_TRY(syntax_error(source, &parser));
    source->is_open = true;
    if (yaml_root(source) != NULL)
        MLTFR_TRY(nothing_follows(source, &parser));
done:
    yaml_parser_delete(&parser);
    return st;
}

void yaml_close(yaml_source *source)
{
    if (source->is_open)
        yaml_document_delete(&source->document);
    *source = (yaml_source){0};
}

yaml_node_t *yaml_root(yaml_source *source)
{
    return yaml_document_get_root_node(&source->document);
}

const char *yaml_where(const yaml_source *source, const yaml_node_t *node,
                       char where[YAML_WHERE_BYTES])
{
    if (source->is_file)
        snprintf(where, YAML_WHERE_BYTES, "%s:%zu", source->name, node->start_mark.line + 1);
    else
        snprintf(where, YAML_WHERE_BYTES, "%s", source->name);
    return where;
}

const char *yaml_scalar(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return NULL;
    const char *text = (const char *)node->data.scalar.value;

    return strlen(text) == node->data.scalar.length ? text : NULL; /* "\0" is no text */
}

bool yaml_is_empty(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0 &&
           node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

const char *yaml_describe(const yaml_node_t *node)
{
    const char *text = yaml_scalar(node);

    if (text != NULL)
        return *text != '\0' ? text : "an empty value";
    return node->type == YAML_SEQUENCE_NODE  ? "a list"
           : node->type == YAML_MAPPING_NODE ? "a map"
                                             : "a text with a zero byte";
}

bool yaml_pair(const yaml_source *source, const yaml_node_t *map, int64_t i, yaml_node_t **key,
               yaml_node_t **value)
{
    yaml_document_t *document = (yaml_document_t *)&source->document;

    if (map == NULL || map->type != YAML_MAPPING_NODE)
        return false;
    const yaml_node_pair_t *pair = map->data.mapping.pairs.start + i;

    if (pair >= map->data.mapping.pairs.top)
        return false;
    *key = yaml_document_get_node(document, pair->key);
    *value = yaml_document_get_node(document, pair->value);
    return true;
}

int64_t yaml_count(const yaml_node_t *list)
{
    if (list->type != YAML_SEQUENCE_NODE)
        return -1;
    return list->data.sequence.items.top - list->data.sequence.items.start;
}

yaml_node_t *yaml_item(const yaml_source *source, const yaml_node_t *list, int64_t i)
{
    return yaml_document_get_node((yaml_document_t *)&source->document,
                                  list->data.sequence.items.start[i]);
}
