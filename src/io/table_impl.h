/* Token tables from the inside: what the readers of the formats share.  Layer: io.
 *
 * A reader turns the bytes of a file (image) into a list of tensors and, where it can, a
 * vocabulary; table.c picks the tensor and serves its rows.  All functions are local. */
#ifndef MLTFR_TABLE_IMPL_H
#define MLTFR_TABLE_IMPL_H

#include <mltfr/mem.h>
#include <mltfr/table.h>

/* Limits far above every real file; they bound time and memory for the others. */
enum {
    MLTFR_TABLE_DIMS = 8,
    MLTFR_TABLE_TENSORS = 1 << 17,
    MLTFR_TABLE_KEYS = 1 << 16,
    MLTFR_TABLE_STRINGS = 1 << 22,
    MLTFR_TABLE_STRING_BYTES = 65535
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

/* ---- the bytes of a file: table_image.c */
typedef struct {
    char *path; /* for messages */
    const uint8_t *data;
    size_t bytes;
    bool mapped;
} mltfr_image;

mltfr_status mltfr_image_map(const char *path, mltfr_image *out);
mltfr_status mltfr_image_borrow(const char *name, const void *data, size_t bytes, mltfr_image *out);
void mltfr_image_close(mltfr_image *image);

/* Room for one more object in a growing array of `*room`; contents move, new room is zeroed. */
mltfr_status mltfr_table_grow(void *array, int64_t used, int64_t *room, size_t size);

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

/* ---- tensors: table_tensor.c */
typedef struct {
    mltfr_slice name;
    const mltfr_table_kind *kind;
    int ndim;
    int64_t dims[MLTFR_TABLE_DIMS]; /* slowest first */
    size_t offset, bytes;           /* in the image */
} mltfr_table_tensor;

typedef struct {
    mltfr_table_tensor *list;
    int64_t count, room;
} mltfr_table_tensors;

/* No two names are equal; sorts them. */
mltfr_status mltfr_table_names_check(const mltfr_image *image, const char *what, mltfr_slice *names,
                                     int64_t count);

/* Bytes of a tensor from its kind and shape; a text of what is wrong, or NULL. */
const char *mltfr_table_tensor_measure(mltfr_table_tensor *tensor);

/* No two tensors of one name, or of common bytes; `dense`: no bytes between them either.
 * Sorts the list by offset. */
mltfr_status mltfr_table_tensors_check(const mltfr_image *image, mltfr_table_tensors *tensors,
                                       size_t base, bool dense);

/* The tensor of the rule in mltfr/table.h; `strings` is their number, 0 for none. */
mltfr_status mltfr_table_tensors_pick(const mltfr_image *image, const mltfr_table_tensors *tensors,
                                      const char *wanted, int64_t strings,
                                      const mltfr_table_tensor **out);

/* ---- vocabularies: table_strings.c */
typedef struct {
    const char *text;
    uint32_t bytes;
    bool special;
} mltfr_table_string_of;

typedef struct {
    mltfr_image image; /* of a file of its own */
    char *side;        /* strings that stand in no image as they are */
    mltfr_table_string_of *list;
    int64_t count;
} mltfr_table_vocab;

/* The vocabulary beside the file `path`; none gives count 0. */
mltfr_status mltfr_table_vocab_beside(const char *path, mltfr_table_vocab *out);
/* From an open image, by the ending of its name: .txt, else JSON; the image is taken. */
mltfr_status mltfr_table_vocab_parse(mltfr_image *image, mltfr_table_vocab *out);
void mltfr_table_vocab_close(mltfr_table_vocab *vocab);

/* ---- metadata of GGUF: table_gguf.c, table_gguf_keys.c */
enum {
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

typedef struct {
    mltfr_slice name;
    uint32_t type, element; /* equal, but for arrays */
    uint64_t count;
    size_t at; /* of the value */
} mltfr_table_key;

struct mltfr_table {
    mltfr_image image;
    const char *format;
    char *side; /* names of tensors that stand in no image as they are */
    mltfr_table_tensors tensors;
    mltfr_table_key *keys;
    int64_t key_count;
    mltfr_table_vocab vocab;
    const mltfr_table_tensor *tensor; /* the table */
    char *name;                       /* its name */
    uint64_t digest;
    bool digested;
};

/* Tensors, keys and own vocabulary of a file: table_gguf.c, table_safetensors.c, table_npy.c.
 * What was made before a failure is left for mltfr_table_close. */
mltfr_status mltfr_table_parse_gguf(mltfr_table *t);
mltfr_status mltfr_table_parse_safetensors(mltfr_table *t);
mltfr_status mltfr_table_parse_npy(mltfr_table *t);

const mltfr_table_key *mltfr_gguf_key_find(const mltfr_table *t, const char *name);
mltfr_status mltfr_gguf_read_vocab(mltfr_table *t);
/* A value as text, shortened. */
void mltfr_gguf_key_print(const mltfr_table *t, const mltfr_table_key *key, char *out,
                          size_t bytes);

/* All but the choice of the tensor: path or (path, data, bytes). */
mltfr_status mltfr_table_load(const char *path, const void *data, size_t bytes, mltfr_table **out);
mltfr_status mltfr_table_choose(mltfr_table *t, const char *tensor);

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
 * same. */
typedef struct {
    mltfr_json_kind kind;
    int depth;
    mltfr_slice text; /* of a key, string or number, for the call only unless within the image */
} mltfr_json_event;

typedef mltfr_status mltfr_json_visitor(void *context, const mltfr_json_event *event);

/* Walk through bytes [at, at + bytes) of the image, which are one JSON value. */
mltfr_status mltfr_json_walk(const mltfr_image *image, size_t at, size_t bytes, int max_depth,
                             mltfr_json_visitor *visit, void *context);

/* The number is written in digits only and below 2^63. */
bool mltfr_json_natural(const mltfr_json_event *event, int64_t *out);

/* Text that lives as long as the image: itself where it stands there, else a copy in `side`,
 * which gets room for `most` bytes at first use. */
mltfr_status mltfr_json_keep(const mltfr_image *image, size_t most, char **side, size_t *used,
                             mltfr_slice text, mltfr_slice *out);

#endif
