/* Token tables from the inside: what the readers of the formats share.  Layer: io.
 *
 *   path -> files (table_files.c) -> bytes (table_image.c, table_join.c)
 *        -> tensors and keys (table_gguf.c, table_safetensors.c, table_npy.c)
 *        -> strings (table_gguf_keys.c, table_strings.c, table_vocab.c)
 *        -> the tensor that is the table (table_tensor.c) -> its rows (table_rows.c)
 *
 * All functions are local. */
#ifndef MLTFR_TABLE_IMPL_H
#define MLTFR_TABLE_IMPL_H

#include <mltfr/mem.h>
#include <mltfr/table.h>

/* Limits far above every real file; they bound time and memory for the others.  Tensors, keys and
 * strings at these numbers take 16 MiB at most beyond the bytes they take in the file. */
enum {
    MLTFR_TABLE_DIMS = 8,
    MLTFR_TABLE_TENSORS = 1 << 17,
    MLTFR_TABLE_KEYS = 1 << 16,
    MLTFR_TABLE_STRINGS = 1 << 21,
    MLTFR_TABLE_STRING_BYTES = 65535,
    MLTFR_TABLE_FILES = 1024
};

/* Text inside something larger: no zero byte ends it. */
typedef struct {
    const char *data;
    size_t bytes;
} mltfr_slice;

bool mltfr_slice_is(mltfr_slice text, const char *word);

/* A readable, single-line, shortened form of text from a file; returns `out`. */
enum { MLTFR_QUOTE_BYTES = 96 };
const char *mltfr_slice_quote(mltfr_slice text, char out[MLTFR_QUOTE_BYTES]);

/* Bytes of the UTF-8 character that begins here, or 0 if it is none. */
size_t mltfr_utf8_bytes(const unsigned char *s, size_t left);

/* ---- the bytes of a file, or of several read as one: table_image.c, table_join.c */
typedef struct mltfr_join mltfr_join;

typedef struct {
    char *path; /* for messages */
    const uint8_t *data;
    size_t bytes;
    bool mapped;
    mltfr_join *join; /* its bytes lie in several files; NULL: they are all there */
} mltfr_image;

mltfr_status mltfr_image_map(const char *path, mltfr_image *out);
mltfr_status mltfr_image_borrow(const char *name, const void *data, size_t bytes, mltfr_image *out);
/* The images one after the other; they are taken. */
mltfr_status mltfr_image_join(const char *name, mltfr_image *pieces, int64_t count,
                              mltfr_image *out);
void mltfr_image_close(mltfr_image *image);
/** Path of the file, or of the first of its pieces.  @local */
const char *mltfr_image_first(const mltfr_image *image);
/* Bytes that are not needed soon no longer count as this process's memory; reading them again
 * brings them back. */
void mltfr_image_forget(const mltfr_image *image, size_t offset, size_t bytes);

/* Make `data` hold bytes [offset, offset + bytes), which are inside: for headers and strings. */
void mltfr_image_need(const mltfr_image *image, size_t offset, size_t bytes);
/* Where the byte at `offset` lies, and how many follow it there: for data, which is not copied. */
const uint8_t *mltfr_image_span(const mltfr_image *image, size_t offset, size_t *left);
/* The same as one piece of `bytes`: in place, or copied to `scratch` where files meet. */
const uint8_t *mltfr_image_view(const mltfr_image *image, size_t offset, size_t bytes,
                                uint8_t *scratch);

void mltfr_join_close(mltfr_join **join);

/* ---- which files a path stands for: table_files.c */
typedef struct {
    char **list;
    int64_t count;
} mltfr_table_paths;

mltfr_status mltfr_table_paths_find(const char *path, mltfr_table_paths *out);
void mltfr_table_paths_close(mltfr_table_paths *paths);
/* The files that an open model.safetensors.index.json names, added with its directory. */
mltfr_status mltfr_table_index_parse(const mltfr_image *image, mltfr_table_paths *out);
bool mltfr_has_ending(const char *name, const char *ending);

/* ---- stored types: table_quant.c */
typedef void mltfr_decode(const uint8_t *in, int64_t blocks, float *out);

typedef struct {
    const char *name;
    int gguf;             /* number in GGUF, or -1 */
    bool safetensors;     /* a dtype of safetensors */
    int16_t block, bytes; /* values in a block, and its bytes */
    mltfr_decode *decode; /* NULL: known by size only */
} mltfr_table_kind;

const mltfr_table_kind *mltfr_table_kind_gguf(uint32_t number);
const mltfr_table_kind *mltfr_table_kind_named(mltfr_slice name);

/* ---- files and their tensors: table_tensor.c */
typedef struct {
    mltfr_slice name;
    const mltfr_table_kind *kind;
    const mltfr_image *image; /* it lies in */
    int ndim;
    int64_t dims[MLTFR_TABLE_DIMS]; /* slowest first */
    size_t offset, bytes;           /* in the image */
} mltfr_table_tensor;

typedef struct {
    mltfr_slice name;
    uint32_t type, element; /* equal, but for arrays */
    uint64_t count;
    size_t at; /* of the value */
} mltfr_table_key;

typedef struct {
    mltfr_image image;
    const char *format;
    uint32_t version; /* of GGUF and .npy */
    char *side;       /* names of tensors that stand in no image as they are */
    mltfr_table_tensor *tensors;
    int64_t tensor_count;
    mltfr_table_key *keys; /* of GGUF */
    int64_t key_count;
} mltfr_table_file;

/* No two names are equal; sorts them. */
mltfr_status mltfr_table_names_check(const char *path, const char *what, mltfr_slice *names,
                                     int64_t count);

/* Bytes of a tensor from its kind and shape; a text of what is wrong, or NULL. */
const char *mltfr_table_tensor_measure(mltfr_table_tensor *tensor);

/* No two tensors of one name, or of common bytes; `dense`: no bytes between them either.
 * Sorts the tensors by offset. */
mltfr_status mltfr_table_tensors_check(mltfr_table_file *file, size_t base, bool dense);

/* May a table of so many rows have so many strings?  Rows beyond them are padding. */
bool mltfr_table_rows_fit(int64_t rows, int64_t strings);

/* ---- vocabularies: table_vocab.c, table_strings.c */
typedef struct {
    mltfr_image image; /* of a file of its own */
    const char *text;  /* the bytes strings stand in */
    char *side;        /* strings that stand there with escapes */
    size_t side_bytes;
    uint64_t *list; /* [count], packed */
    int64_t count;
} mltfr_table_vocab;

enum { MLTFR_VOCAB_SPECIAL = 1 << 16, MLTFR_VOCAB_PIECE = 1 << 17, MLTFR_VOCAB_ADDED = 1 << 18 };

mltfr_slice mltfr_vocab_string(const mltfr_table_vocab *v, int64_t id);
/* Which of the flags it was put with; 0: it was not. */
int mltfr_vocab_flags(const mltfr_table_vocab *v, int64_t id);
/* A string with flags; the text lies in v->text or v->side.  `path` is for the message. */
mltfr_status mltfr_vocab_put(mltfr_table_vocab *v, const char *path, int64_t id, mltfr_slice text,
                             int flags);

/* The vocabulary beside the file `path`; none gives count 0. */
mltfr_status mltfr_table_vocab_beside(const char *path, mltfr_table_vocab *out);
/* From an open image, by the ending of its name: .txt, else JSON; the image is taken. */
mltfr_status mltfr_table_vocab_parse(mltfr_image *image, mltfr_table_vocab *out);
void mltfr_table_vocab_close(mltfr_table_vocab *vocab);

/* tokenizer.json, or vocab.json where `plain`, in v->image: table_strings.c. */
mltfr_status mltfr_vocab_parse_json(mltfr_table_vocab *v, bool plain);
/* Is it a special string of files that cannot mark them? */
bool mltfr_vocab_is_special(mltfr_slice text);

/* ---- metadata of GGUF: table_gguf.c, table_gguf_keys.c */
enum {
    GGUF_U16 = 2,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_F64 = 12,
    GGUF_TYPES = 13
};

/* Bytes of a value; 0 for those without a fixed size. */
extern const uint8_t mltfr_gguf_value_bytes[GGUF_TYPES];

struct mltfr_table {
    mltfr_table_file *files;
    int64_t file_count;
    const mltfr_table_tensor **tensors; /* of all files */
    int64_t tensor_count;
    mltfr_table_vocab vocab;
    const mltfr_table_tensor *tensor; /* the table */
    char *name;                       /* its name */
    uint8_t *seam;                    /* a row that lies in two files */
    uint64_t digest;
    bool digested;
};

/* Tensors and keys of a file: table_gguf.c, table_safetensors.c, table_npy.c.  What was made before
 * a failure is left for mltfr_table_close. */
mltfr_status mltfr_table_parse_gguf(mltfr_table_file *f);
mltfr_status mltfr_table_parse_safetensors(mltfr_table_file *f);
mltfr_status mltfr_table_parse_npy(mltfr_table_file *f);

const mltfr_table_key *mltfr_gguf_key_find(const mltfr_table_file *f, const char *name);
mltfr_status mltfr_gguf_read_vocab(const mltfr_table_file *f, mltfr_table_vocab *vocab);
/* Is it split `number` (from 0) of `count`, by its own keys? */
mltfr_status mltfr_gguf_split_check(const mltfr_table_file *f, int64_t number, int64_t count);
/* A value as text, shortened. */
void mltfr_gguf_key_print(const mltfr_table_file *f, const mltfr_table_key *key, char *out,
                          size_t bytes);

/* All but the choice of the tensor: from path, or from (path, data, bytes). */
mltfr_status mltfr_table_load(const char *path, const void *data, size_t bytes, mltfr_table **out);
/* The tensor of the rule in mltfr/table.h. */
mltfr_status mltfr_table_choose(mltfr_table *t, const char *tensor);
mltfr_status mltfr_table_pick(const mltfr_table *t, const char *wanted,
                              const mltfr_table_tensor **out);
/* XXH64 of the bytes of a tensor. */
mltfr_status mltfr_table_tensor_hash(const mltfr_table_tensor *tensor, uint64_t *out);

/* ---- JSON: table_json.c */
typedef enum {
    MLTFR_JSON_MAP,
    MLTFR_JSON_MAP_END,
    MLTFR_JSON_ARRAY,
    MLTFR_JSON_ARRAY_END,
    MLTFR_JSON_KEY,
    MLTFR_JSON_STRING,
    MLTFR_JSON_NUMBER,
    MLTFR_JSON_TRUE,
    MLTFR_JSON_OTHER /* false, null */
} mltfr_json_kind;

/* `depth` is the number of maps and arrays around the event; a beginning and its end have the
 * same.  The text of a key, string or number stands in the image, escapes and all. */
typedef struct {
    mltfr_json_kind kind;
    int depth;
    mltfr_slice text;
    bool escaped; /* there are escapes */
} mltfr_json_event;

typedef mltfr_status mltfr_json_visitor(void *context, const mltfr_json_event *event);

/* Walk through bytes [at, at + bytes) of the image, which are one JSON value.  Takes no memory. */
mltfr_status mltfr_json_walk(const mltfr_image *image, size_t at, size_t bytes, int max_depth,
                             mltfr_json_visitor *visit, void *context);

/* The number is written in digits only and below 2^63. */
bool mltfr_json_natural(const mltfr_json_event *event, int64_t *out);

/* Is the key or string this word, written without escapes? */
bool mltfr_json_is(const mltfr_json_event *event, const char *word);

/* The text without its escapes into out, which has room for as many bytes; returns how many. */
size_t mltfr_json_unescape(mltfr_slice text, char *out);

#endif
