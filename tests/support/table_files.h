/* Small files of token tables, made in memory and in a folder of their own under /tmp. */
#ifndef TABLE_FILES_H
#define TABLE_FILES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    uint8_t data[16384];
    size_t bytes;
} buffer;

static inline void put(buffer *b, const void *data, size_t bytes)
{
    if (bytes > sizeof b->data - b->bytes)
        abort();
    memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
}

static inline void put_int(buffer *b, uint64_t value, size_t bytes)
{
    put(b, &value, bytes); /* little-endian, as the formats */
}

static inline void put_text(buffer *b, const char *text)
{
    put(b, text, strlen(text));
}

static inline void put_string(buffer *b, const char *text)
{
    put_int(b, strlen(text), 8);
    put_text(b, text);
}

/* ---- GGUF */

enum { ROWS = 6, WIDTH = 32 };

static inline void gguf_header(buffer *b, uint64_t tensors, uint64_t keys)
{
    put_text(b, "GGUF");
    put_int(b, 3, 4);
    put_int(b, tensors, 8);
    put_int(b, keys, 8);
}

static inline void gguf_array(buffer *b, const char *name, uint32_t type, uint64_t count)
{
    put_string(b, name);
    put_int(b, 9, 4);
    put_int(b, type, 4);
    put_int(b, count, 8);
}

static inline void gguf_tensor(buffer *b, const char *name, uint64_t width, uint64_t rows,
                               uint32_t type, uint64_t offset)
{
    put_string(b, name);
    put_int(b, rows != 0 ? 2 : 1, 4);
    put_int(b, width, 8);
    if (rows != 0)
        put_int(b, rows, 8);
    put_int(b, type, 4);
    put_int(b, offset, 8);
}

static inline void align_to(buffer *b, size_t alignment)
{
    while (b->bytes % alignment != 0)
        put_int(b, 0, 1);
}

static const char *const gguf_strings[ROWS] = {"<unk>", "<s>", "\xc4\xa0the", "<0x0A>", "ab", "x"};
static const int gguf_types[ROWS] = {2, 3, 1, 6, 4, 5};

/* A whole model: [6][32] Q8_0 of d = row + 1 and q = column - 16, strings, and a vector. */
static inline void gguf_model(buffer *b)
{
    static const uint16_t halves[ROWS] = {0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600};

    b->bytes = 0;
    gguf_header(b, 2, 4);
    put_string(b, "general.alignment");
    put_int(b, 4, 4);
    put_int(b, 64, 4);
    gguf_array(b, "tokenizer.ggml.tokens", 8, ROWS);
    for (int i = 0; i < ROWS; i++)
        put_string(b, gguf_strings[i]);
    gguf_array(b, "tokenizer.ggml.scores", 6, ROWS);
    for (int i = 0; i < ROWS; i++)
        put_int(b, 0, 4);
    gguf_array(b, "tokenizer.ggml.token_type", 5, ROWS);
    for (int i = 0; i < ROWS; i++)
        put_int(b, (uint64_t)gguf_types[i], 4);
    gguf_tensor(b, "token_embd.weight", WIDTH, ROWS, 8, 0);
    gguf_tensor(b, "norm.weight", 8, 0, 0, 256);
    align_to(b, 64);
    for (int row = 0; row < ROWS; row++) {
        put_int(b, halves[row], 2);
        for (int j = 0; j < WIDTH; j++)
            put_int(b, (uint8_t)(j - 16), 1);
    }
    align_to(b, 64);
    for (int i = 0; i < 8; i++)
        put_int(b, 0x3f800000, 4);
}

/* A table alone: token_embd.weight of one type and the bytes of its values. */
static inline void gguf_table(buffer *b, uint32_t type, uint64_t rows, uint64_t width,
                              const void *data, size_t bytes)
{
    b->bytes = 0;
    gguf_header(b, 1, 0);
    gguf_tensor(b, "token_embd.weight", width, rows, type, 0);
    align_to(b, 32);
    put(b, data, bytes);
}

/* ---- safetensors and .npy, with zeros or the floats 0, 1, 2, .. as data */

static inline void put_floats(buffer *b, int count)
{
    for (int i = 0; i < count; i++) {
        float x = (float)i;

        put(b, &x, sizeof x);
    }
}

static inline void safetensors(buffer *b, const char *header, int floats)
{
    b->bytes = 0;
    put_string(b, header);
    put_floats(b, floats);
}

static inline void npy(buffer *b, int version, const char *header, int floats)
{
    b->bytes = 0;
    put_text(b, "\x93NUMPY");
    put_int(b, (uint64_t)version, 2);
    put_int(b, strlen(header), version == 1 ? 2 : 4);
    put_text(b, header);
    put_floats(b, floats);
}

/* ---- files */

static char folder[64];
static char made[32][96];
static int made_count;

static inline const char *path_of(const char *name)
{
    static char path[160];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/mltfr_table_XXXXXX");
    if (mkdtemp(folder) == NULL)
        abort();
}

static inline void make_file(const char *name, const void *data, size_t bytes)
{
    FILE *f = fopen(path_of(name), "wb");

    if (made_count == sizeof made / sizeof *made || f == NULL ||
        fwrite(data, 1, bytes, f) != bytes || fclose(f) != 0)
        abort();
    snprintf(made[made_count++], sizeof made[0], "%s", name);
}

static inline void remove_folder(void)
{
    while (made_count > 0)
        unlink(path_of(made[--made_count]));
    rmdir(folder);
}

#endif
