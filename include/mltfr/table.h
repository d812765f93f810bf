/** @file mltfr/table.h
 *  Token embedding tables of LLMs, with the strings of their tokenizers.  Layer: io.
 *
 *  A table is [V][D]: row v belongs to token v.  It is read from one of
 *  - GGUF v2 and v3, little-endian; the strings are those of tokenizer.ggml.tokens;
 *  - safetensors, or a NumPy .npy array (C order, float16, float32 or float64); the strings are
 *    those of tokenizer.json, vocab.txt or vocab.json beside the file, in this order, if any.
 *  Stored types: F32 F16 BF16 F64 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K.
 *
 *  A path is one of
 *  - a file; of GGUF splits, NAME-00001-of-00003.gguf, any one stands for all;
 *  - a directory: its model.safetensors; or the shards named by its model.safetensors.index.json;
 *    or its only file of a table;
 *  - NAME.index.json, for the shards it names, which lie beside it;
 *  - several files separated by commas, in order.  Where each begins like a model (GGUF splits,
 *    shards of safetensors) their tensors are put together; otherwise they are pieces of one file,
 *    read one after the other.
 *
 *  Strings are the tokenizer's own, marks and all: U+0120 of byte-level BPE, U+2581 of
 *  SentencePiece, ## of WordPiece (method, C16).  Special (method, E5) is what the tokenizer says
 *  is special; GGUF: control, unknown, unused and byte tokens; vocab.txt and vocab.json, which
 *  cannot say it: [CLS] [SEP] [PAD] [UNK] [MASK] <s> </s> <pad> <unk> <mask> <|endoftext|>.
 *  Models pad their tables: rows beyond the strings, up to a sixteenth of them (255 of few), are
 *  special too.
 *
 *  Files are mapped: a rank that reads some rows touches only those.  Nothing in a file is
 *  believed before it is checked; what is allocated is at most the file's size plus 16 MiB.
 *  All functions are @local; a caller in a group of ranks agrees afterwards. */
#ifndef MLTFR_TABLE_H
#define MLTFR_TABLE_H

#include <mltfr/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mltfr_table mltfr_table;

/** Open a table and its strings; a note tells of rows without a string.
 *
 *  Which tensor: the one named `tensor`; else the only one; else, of the two-dimensional tensors
 *  whose rows fit the strings (of all, if there are no strings or none fits), the one whose name is
 *  or ends, behind a dot, in the first of these that just one name ends in: token_embd.weight,
 *  embed_tokens.weight, wte.weight, word_embeddings.weight, tok_embeddings.weight, embed_in.weight,
 *  shared.weight, embeddings.weight, embedding.weight; else the only one of them.  The input table
 *  of an untied model is meant; its output matrix must be named.
 *  @param path    see above
 *  @param tensor  exact name, or NULL: by rule
 *  @param out     owned by the caller; NULL on failure
 *  @return MLTFR_E_IO if a file cannot be opened; MLTFR_E_DATA if it is damaged, no tensor or
 *          several fit, the type is not one of the above, or its rows do not fit the strings */
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

/** File it is in, name of the tensor and its stored type ("Q8_0"); they live as long as the table.
 */
const char *mltfr_table_path(const mltfr_table *table);
const char *mltfr_table_tensor_name(const mltfr_table *table);
const char *mltfr_table_type(const mltfr_table *table);

/** Read rows [first, first + rows) as float32.
 *  @param out  [rows][D]
 *  @return MLTFR_E_DATA naming tensor, row and column of the first NaN or infinite value;
 *          MLTFR_E_INTERNAL for rows outside the table */
mltfr_status mltfr_table_read(const mltfr_table *table, int64_t first, int64_t rows, float *out);

/** The rows are not needed soon: those read so far no longer count as this process's memory.
 *  Reading them again brings them back. */
void mltfr_table_forget(const mltfr_table *table);

/** Are there strings?  And how many: as many as rows, or fewer where the table is padded. */
bool mltfr_table_has_strings(const mltfr_table *table);
int64_t mltfr_table_strings(const mltfr_table *table);

/** The string of a row: UTF-8 in general, NOT ended by a zero byte; it lives as long as the
 *  table.  Empty for a row of padding, NULL where there are no strings.
 *  @param row    in [0, V)
 *  @param bytes  its length */
const char *mltfr_table_string(const mltfr_table *table, int64_t row, size_t *bytes);

/** Is the token special, or padding?  False where there are no strings. */
bool mltfr_table_special(const mltfr_table *table, int64_t row);

/** XXH64 of the stored bytes of the tensor; the first call reads them all. */
uint64_t mltfr_table_digest(mltfr_table *table);

/** Print what a file holds by mltfr_say: files and formats, the table and what else could be one,
 *  samples of the strings, metadata, and each tensor with type and shape.  A file without a usable
 *  table is described too, unless `tensor` names it.
 *  @param tensor  as for mltfr_table_open
 *  @param verify  add the XXH64 of each tensor; a value of the table that is not finite is
 *                 MLTFR_E_DATA */
mltfr_status mltfr_table_describe(const char *path, const char *tensor, bool verify);

/** Does the path end like a file of token tables? */
bool mltfr_table_is(const char *path);

#endif
