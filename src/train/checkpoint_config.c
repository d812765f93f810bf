/* A run goes on with the configuration it began with.  Both are the text of config.yaml, whose
 * lines are `section:` and `  key: value`, in the order of the table of keys. */
#include "checkpoint.h"

#include <mltfr/text.h>

#include <stdio.h>
#include <string.h>

/* Keys that may change, and sections, which end in a dot.  The content of data and token spaces is
 * told by a digest of its own, wherever it lies and whatever form it has. */
static const char *const may_change[] = {"checkpoint.",     "run.",
                                         "tokens.",         "data.path",
                                         "data.format",     "data.user_field",
                                         "data.item_field", "data.time_field",
                                         "eval.every",      "train.patience",
                                         "bench.",          "item.init"};

/* These too, unless the learning rate follows from how long the training is. */
static const char *const length[] = {"train.epochs", "train.max_steps"};

static bool is_one_of(const char *key, const char *const list[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = strlen(list[i]);
        if (strncmp(key, list[i], bytes) == 0 && (key[bytes] == '\0' || list[i][bytes - 1] == '.'))
            return true;
    }
    return false;
}

/* One key of a text: next moves behind it. */
typedef struct {
    const char *next;
    char section[64], key[128];
    const char *value; /* up to the end of its line */
    size_t bytes;
} reader;

static bool next_key(reader *r)
{
    while (*r->next != '\0') {
        const char *line = r->next, *end = strchr(line, '\n');
        const size_t n = end != NULL ? (size_t)(end - line) : strlen(line);
        const char *colon = memchr(line, ':', n);

        r->next = line + n + (end != NULL);
        if (colon == NULL)
            continue;
        if (line[0] != ' ') {
            snprintf(r->section, sizeof r->section, "%.*s", (int)(colon - line), line);
            continue;
        }
        r->value = colon + 2 <= line + n ? colon + 2 : line + n;
        r->bytes = (size_t)(line + n - r->value);
        line += strspn(line, " ");
        snprintf(r->key, sizeof r->key, "%s.%.*s", r->section, (int)(colon - line), line);
        return true;
    }
    return false;
}

static bool find_key(const char *text, const char *key, reader *r)
{
    *r = (reader){.next = text};
    while (next_key(r))
        if (strcmp(r->key, key) == 0)
            return true;
    return false;
}

static bool is_free(const char *now, const char *key)
{
    static const char constant[] = "constant";
    reader r;

    if (is_one_of(key, may_change, sizeof may_change / sizeof *may_change))
        return true;
    return is_one_of(key, length, sizeof length / sizeof *length) &&
           find_key(now, "train.schedule", &r) && r.bytes == sizeof constant - 1 &&
           memcmp(r.value, constant, r.bytes) == 0;
}

mltfr_status mltfr_checkpoint_compare(const char *path, const char *then, const char *now)
{
    reader mine = {.next = now}, its;

    while (next_key(&mine)) {
        if (is_free(now, mine.key) || !find_key(then, mine.key, &its) ||
            (its.bytes == mine.bytes && memcmp(its.value, mine.value, mine.bytes) == 0))
            continue;
        return mltfr_fail(MLTFR_E_USAGE,
                          "%s: written with %s: %.*s, given now is %.*s; this key cannot change "
                          "within a run (--resume=no starts anew)",
                          path, mine.key, (int)its.bytes, its.value, (int)mine.bytes, mine.value);
    }
    return MLTFR_OK;
}
