/** @file mltfr/table.h
 *  Token embedding tables of LLMs, with the strings of their tokenizers.  Layer: io.
 *
 *  A table is [V][D]: row v belongs to token v.  It is read from one of
 *  - GGUF v2 and v3, little-endian; the strings are those of tokenizer.ggml.tokens;
 *  - safetensors, or a NumPy .npy array (C order, float16, float32 or float64); the strings are
 *    those of tokenizer.json, vocab.txt or vocab.json beside the file, in this order, if any.
 *  Stored types: F32 F16 BF16 F64 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K.
 *
 *  Strings are the tokenizer's own, marks and all: U+0120 of byte-level BPE, U+2581 of
 *  SentencePiece, ## of WordPiece (method, C16).  Special (method, E5) is what the tokenizer says
 *  is special; GGUF: control, unknown, unused and byte tokens; vocab.txt and vocab.json, which
 *  cannot say it: [CLS] [SEP] [PAD] [UNK] [MASK] <s> </s> <pad> <unk> <mask> <|endoftext|>.
 *
 *  The file is mapped: a rank that reads some rows touches only those.  Nothing in a file is
 *  believed before it is checked, and no memory is taken for what a header merely claims.
 *  All functions are @local; a caller in a group of ranks agrees afterwards. */
#ifndef MLTFR_TABLE_H
#define MLTFR_TABLE_H

#include <mltfr/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mltfr_table mltfr_table;

/** Open a table and its strings.
 *
 *  Which tensor: the one named `tensor`; else the only one in the file; else the first of these
 *  that ends the name of a two-dimensional tensor: embed_tokens.weight, wte.weight,
 *  word_embeddings.weight, token_embd.weight, embeddings.weight (of several with one ending, that
 *  with as many rows as there are strings); else the only two-dimensional tensor with as many
 *  rows as there are strings.
 *  @param path    a file, or a directory with model.safetensors or one single file of a table
 *  @param tensor  exact name, or NULL: by rule
 *  @param out     owned by the caller; NULL on failure
 *  @return MLTFR_E_IO if a file cannot be opened; MLTFR_E_DATA if it is damaged, no tensor or
 *          several fit, the type is not one of the above, or strings and rows differ in number */
mltfr_status mltfr_table_open(const char *path, const char *tensor, mltfr_table **out);

/** The same from memory; only GGUF then has strings.
 *  @param name   stands for the path in messages; its ending tells the format where bytes do not
 *  @param image  [bytes], kept: must outlive the table */
mltfr_status mltfr_table_open_memory(const char *name, const void *image, size_t bytes,
                                     const char *tensor, mltfr_table **out);

/** Close and set *table to NULL, which is allowed. */
void mltfr_table_close(mltfr_table **table);

/** V and D, both >= 1. */
int64_t mltfr_table_rows(const mltfr_table *table);
int64_t mltfr_table_width(const mltfr_table *table);

/** File, name of the tensor and its stored type ("Q8_0"); they live as long as the table. */
const char *mltfr_table_path(const mltfr_table *table);
const char *mltfr_table_tensor_name(const mltfr_table *table);
const char *mltfr_table_type(const mltfr_table *table);

/** Read rows [first, first + rows) as float32.
 *  @param out  [rows][D]
 *  @return MLTFR_E_DATA naming tensor, row and column of the first NaN or infinite value;
 *          MLTFR_E_INTERNAL for rows outside the table */
mltfr_status mltfr_table_read(const mltfr_table *table, int64_t first, int64_t rows, float *out);

/** Are there strings?  If so, one for each row. */
bool mltfr_table_has_strings(const mltfr_table *table);

/** The string of a row: UTF-8 in general, NOT ended by a zero byte; it lives as long as the
 *  table.  NULL where there are no strings.
 *  @param row    in [0, V)
 *  @param bytes  its length */
const char *mltfr_table_string(const mltfr_table *table, int64_t row, size_t *bytes);

/** Is the token special?  False where there are no strings. */
bool mltfr_table_special(const mltfr_table *table, int64_t row);

/** XXH64 of the stored bytes of the tensor; the first call reads them all. */
uint64_t mltfr_table_digest(mltfr_table *table);

/** Print what a file holds by mltfr_say: format, table, samples of the strings, metadata, and
 *  each tensor with type and shape.  A file without a usable table is described too. */
mltfr_status mltfr_table_describe(const char *path);

#endif
