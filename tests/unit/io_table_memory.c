/* Large hostile files of token tables: whatever they hold or claim, what is allocated for one is at
 * most its size plus 16 MiB.  Each case runs in a process of its own, since the peak of a process
 * never falls. */
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/table.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <time.h>

#include "table_files.h"

enum { SLACK = 16 << 20 };

/* A file that grows. */
typedef struct {
    char *data;
    size_t bytes, room;
} text;

static void add(text *t, const void *data, size_t bytes)
{
    while (t->bytes + bytes > t->room) {
        t->room = t->room < 1024 ? 4096 : 2 * t->room;
        t->data = realloc(t->data, t->room);
        if (t->data == NULL)
            abort();
    }
    memcpy(t->data + t->bytes, data, bytes);
    t->bytes += bytes;
}

static void add_text(text *t, const char *s)
{
    add(t, s, strlen(s));
}

static void add_int(text *t, uint64_t value, size_t bytes)
{
    add(t, &value, bytes);
}

static void add_string(text *t, const char *s)
{
    add_int(t, strlen(s), 8);
    add_text(t, s);
}

static void add_header(text *t, uint64_t tensors, uint64_t keys)
{
    add_text(t, "GGUF");
    add_int(t, 3, 4);
    add_int(t, tensors, 8);
    add_int(t, keys, 8);
}

static void begin_safetensors(text *t)
{
    add_int(t, 0, 8);
    add_text(t, "{");
}

static void end_safetensors(text *t)
{
    uint64_t header;

    add_text(t, "}");
    header = t->bytes - 8;
    memcpy(t->data, &header, 8);
}

/* ---- the files; `count` as large as the reader allows, or beyond */

static void gguf_tensors(text *t, int count)
{
    char name[16];

    add_header(t, (uint64_t)count, 0);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%x", (unsigned)i);
        add_string(t, name);
        add_int(t, 0, 4); /* a scalar; no type is smaller */
        add_int(t, 0, 4);
        add_int(t, (uint64_t)i * 32, 8);
    }
}

static void gguf_keys(text *t, int count)
{
    char name[16];

    add_header(t, 0, (uint64_t)count);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%x", (unsigned)i);
        add_string(t, name);
        add_int(t, 0, 4);
        add_int(t, 0, 1);
    }
}

static void gguf_strings_of(text *t, int count)
{
    add_header(t, 0, 1);
    add_string(t, "tokenizer.ggml.tokens");
    add_int(t, 9, 4);
    add_int(t, 8, 4);
    add_int(t, (uint64_t)count, 8);
    for (int i = 0; i < count; i++)
        add_int(t, 0, 8);
}

static void safetensors_tensors(text *t, int count)
{
    char entry[96];

    begin_safetensors(t);
    for (int i = 0; i < count; i++) {
        snprintf(entry, sizeof entry,
                 "%s\"%x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                 i > 0 ? "," : "", (unsigned)i);
        add_text(t, entry);
    }
    end_safetensors(t);
}

static void safetensors_braces(text *t, int count)
{
    begin_safetensors(t);
    add_text(t, "\"__metadata__\":{\"x\":\"");
    for (int i = 0; i < count; i++)
        add_text(t, "{");
    add_text(t, "\"}");
    end_safetensors(t);
}

static void safetensors_long_name(text *t, int count)
{
    begin_safetensors(t);
    add_text(t, "\"\\n");
    for (int i = 0; i < count; i++)
        add_text(t, "\\u0041");
    add_text(t, "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}");
    end_safetensors(t);
}

static void lines(text *t, int count)
{
    for (int i = 0; i < count; i++)
        add_text(t, "\n");
}

static void plain_map(text *t, int count)
{
    char entry[32];

    add_text(t, "{");
    for (int i = 0; i < count; i++) {
        snprintf(entry, sizeof entry, "%s\"\\n\":%d", i > 0 ? "," : "", i);
        add_text(t, entry);
    }
    add_text(t, "}");
}

static void unigram(text *t, int count)
{
    add_text(t, "{\"model\":{\"vocab\":[");
    for (int i = 0; i < count; i++)
        add_text(t, i > 0 ? ",[\"\",0]" : "[\"\",0]");
    add_text(t, "]}}");
}

static void long_string(text *t, int count)
{
    add_text(t, "{\"");
    for (int i = 0; i < count; i++)
        add_text(t, "\\t");
}

static void long_number(text *t, int count)
{
    add_text(t, "{\"a\":");
    for (int i = 0; i < count; i++)
        add_text(t, "1");
}

static void deep(text *t, int count)
{
    add_text(t, "{\"a\":");
    for (int i = 0; i < count; i++)
        add_text(t, "[");
}

static const struct {
    const char *file;
    void (*make)(text *, int);
    int count;
    const char *reason;
} cases[] = {
    {"t.gguf", gguf_tensors, 1 << 17, "but the file has"},
    {"t.gguf", gguf_tensors, (1 << 17) + 1, "the number of tensors is 131073; allowed"},
    {"t.gguf", gguf_keys, 1 << 16, "its two-dimensional tensors: none"},
    {"t.gguf", gguf_keys, (1 << 16) + 1, "the number of keys is 65537; allowed"},
    {"t.gguf", gguf_strings_of, 1 << 21, "its two-dimensional tensors: none"},
    {"t.gguf", gguf_strings_of, (1 << 21) + 1, "tokenizer.ggml.tokens has 2097153 elements"},
    {"t.safetensors", safetensors_tensors, 1 << 17, "its two-dimensional tensors: none"},
    {"t.safetensors", safetensors_tensors, (1 << 17) + 1, "too many tensors in the file"},
    {"t.safetensors", safetensors_braces, 1 << 22, "its two-dimensional tensors: none"},
    {"t.safetensors", safetensors_long_name, 1 << 22, "has 1 dimensions"},
    {"vocab.txt", lines, 1 << 21, "has 2097152 strings"},
    {"vocab.txt", lines, (1 << 21) + 1, "2097153 lines; allowed"},
    {"vocab.json", plain_map, 1 << 21, "has 2097152 strings"},
    {"vocab.json", plain_map, (1 << 21) + 1, "its id is too large"},
    {"vocab.json", long_string, 1 << 23, "it ends inside a string"},
    {"vocab.json", long_number, 1 << 23, "its id is no whole number"},
    {"tokenizer.json", unigram, 1 << 21, "has 2097152 strings"},
    {"tokenizer.json", unigram, (1 << 21) + 1, "its id is too large"},
    {"tokenizer.json", deep, 1 << 23, "JSON is nested deeper than 64"},
};

/* In a child: 0 if it fails for the reason, in the memory allowed, and in less than a second. */
/* A quadratic case takes hours; sanitizers make the slowest one take 4 seconds and more. */
#ifdef __SANITIZE_ADDRESS__
enum { MOST_SECONDS = 30 };
#else
enum { MOST_SECONDS = 5 };
#endif

/* Of this process: a loaded machine makes no case slow. */
static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static int try_case(size_t i)
{
    text t = {0};
    mltfr_table *table;
    double begin, seconds;

    cases[i].make(&t, cases[i].count);
    make_file(cases[i].file, t.data, t.bytes);
    if (strchr("vt", cases[i].file[0]) != NULL && cases[i].file[1] != '.') {
        static buffer b;

        npy(&b, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n", 6);
        make_file("t.npy", b.data, b.bytes);
    }
    free(t.data);
    begin = cpu_seconds();
    mltfr_status st = mltfr_table_open(folder, NULL, &table);
    seconds = cpu_seconds() - begin;
    size_t peak = mltfr_mem_peak();
    bool right = st == MLTFR_E_DATA && strstr(mltfr_error_text, cases[i].reason) != NULL &&
                 strchr(mltfr_error_text, '\n') == NULL && peak <= t.bytes + SLACK &&
                 seconds < MOST_SECONDS;
    if (!right)
        print_error("case %zu: status %d '%s', peak %zu for %zu bytes, %.2f s; wanted '%s'\n", i,
                    st, mltfr_error_text, peak, t.bytes, seconds, cases[i].reason);
    return !right;
}

static void hostile_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status;

        make_folder();
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(try_case(i));
        assert_int_equal(waitpid(child, &status, 0), child);
        snprintf(made[made_count++], sizeof made[0], "%s", cases[i].file);
        snprintf(made[made_count++], sizeof made[0], "t.npy");
        remove_folder();
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hostile_files)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
