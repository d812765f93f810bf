/* Known faults of files of token tables, and what is said of each: the lists of the unit tests, and
 * seeds of the fuzzers. */
#ifndef TABLE_FAULTS_H
#define TABLE_FAULTS_H

#include "table_files.h"

/* ---- GGUF: one number of a good file is changed, `delta` bytes after the end of `anchor` */

#define ALL UINT64_MAX

static const struct {
    const char *anchor;
    int delta, width;
    uint64_t value;
    const char *reason;
} patches[] = {
    {"GGUF", -4, 4, 0x46554758, "byte 0: not a GGUF file"},
    {"GGUF", 0, 4, 0, "byte 4: GGUF version 0"},
    {"GGUF", 0, 4, 1, "GGUF version 1"},
    {"GGUF", 0, 4, 4, "GGUF version 4; allowed: 2 and 3"},
    {"GGUF", 0, 4, 0x03000000, "big-endian"},
    {"GGUF", 4, 8, ALL, "byte 8: the number of tensors is 18446744073709551615"},
    {"GGUF", 4, 8, 100000, "the file ends inside its 100000 tensors"},
    {"GGUF", 4, 8, 3, "the name of a tensor of 0 bytes"},
    {"GGUF", 4, 8, UINT64_C(1) << 59, "the number of tensors"},
    {"GGUF", 12, 8, ALL, "byte 16: the number of keys is 18446744073709551615"},
    {"GGUF", 12, 8, 60000, "the file ends inside its 60000 keys"},
    {"GGUF", 12, 8, 5, "the file ends inside the name of a tensor"},
    {"GGUF", 20, 8, 0, "byte 24: the name of a key of 0 bytes"},
    {"GGUF", 20, 8, ALL, "the file ends inside the name of a key"},
    {"GGUF", 20, 8, UINT64_C(1) << 63, "the file ends inside the name of a key"},
    {"general.alignment", 0, 4, 5, "general.alignment has type 5"},
    {"general.alignment", 0, 4, 13, "key 'general.alignment' has values of type 13"},
    {"general.alignment", 4, 4, 0, "general.alignment is 0; allowed: a power of two"},
    {"general.alignment", 4, 4, 13, "general.alignment is 13"},
    {"general.alignment", 4, 4, 0xffffffff, "general.alignment is 4294967295"},
    {"general.alignment", 4, 4, 0x80000000, "but the file has 0 bytes of data"},
    {"ggml.tokens", 0, 4, 0, "the file ends inside"},
    {"ggml.tokens", 4, 4, 9, "no array of arrays"},
    {"ggml.tokens", 4, 4, 99, "has values of type 99"},
    {"ggml.tokens", 8, 8, ALL, "the file ends inside key 'tokenizer.ggml.tokens'"},
    {"ggml.tokens", 16, 8, ALL, "the file ends inside key 'tokenizer.ggml.tokens'"},
    {"ggml.tokens", 16, 8, UINT64_C(1) << 63, "the file ends inside key"},
    {"ggml.tokens", 16, 8, 100000, "the file ends inside key"},
    {"ggml.scores", 4, 4, 5, "tokenizer.ggml.scores is no array of type 6"},
    {"ggml.scores", 4, 4, 10, ""},
    {"ggml.scores", 8, 8, UINT64_C(1) << 62, "the size overflows"},
    {"ggml.scores", 8, 8, ROWS - 1, ""},
    {"ggml.token_type", 4, 4, 6, "tokenizer.ggml.token_type is no array of type 5"},
    {"ggml.token_type", 16, 4, 6, "byte token 0 is '<unk>'; allowed: <0x00> to <0xFF>"},
    {"<0x", 0, 2, 0x5a5a, "byte token 3 is '<0xZZ>'"},
    {"<0x", 0, 2, 0x312d, "byte token 3 is '<0x-1>'"},
    {"token_embd.weight", -25, 8, 0, "the name of a tensor of 0 bytes"},
    {"token_embd.weight", -25, 8, 64, "the name of a tensor of 64 bytes; allowed: 1 to 63"},
    {"token_embd.weight", 0, 4, 5, "tensor 'token_embd.weight' has 5 dimensions"},
    {"token_embd.weight", 0, 4, ALL, "has 4294967295 dimensions"},
    {"token_embd.weight", 4, 8, 0, "has a dimension of 0; allowed: 1 and more"},
    {"token_embd.weight", 4, 8, ALL, "has a dimension of -1"},
    {"token_embd.weight", 4, 8, UINT64_C(1) << 62, "the number of its elements overflows"},
    {"token_embd.weight", 4, 8, (UINT64_C(1) << 42) + 1, "no whole number of blocks"},
    {"token_embd.weight", 4, 8, 33, "no whole number of blocks"},
    {"token_embd.weight", 4, 8, UINT64_C(0x1500000000000000), "its size in bytes overflows"},
    {"token_embd.weight", 4, 8, 64, "but the file has 288 bytes of data"},
    {"token_embd.weight", 12, 8, 8, "tensor 'norm.weight' begins at byte"},
    {"token_embd.weight", 12, 8, 5,
     "tensor 'token_embd.weight' has 5 rows, but "
     "tokenizer.ggml.tokens has 6 strings"},
    {"token_embd.weight", 12, 8, 100, "bytes of data"},
    {"token_embd.weight", 20, 4, 4, "has the unknown type 4"},
    {"token_embd.weight", 20, 4, 0xffffffff, "has the unknown type 4294967295"},
    {"token_embd.weight", 20, 4, 24, "is stored as I8; allowed: F32 F16"},
    {"token_embd.weight", 24, 8, 32, "offset 32 is no multiple of 64"},
    {"token_embd.weight", 24, 8, 64, "begins at byte"},
    {"token_embd.weight", 24, 8, UINT64_C(1) << 40, "bytes at offset 1099511627776, but the file"},
    {"token_embd.weight", 24, 8, ALL - 63, "but the file has"},
    {"norm.weight", 4, 8, UINT64_C(1) << 60, "but the file has"},
    {"norm.weight", 4, 8, UINT64_C(1) << 62, "its size in bytes overflows"},
};

/* ---- safetensors: header and number of floats behind it */

#define ONE(rest) "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]" rest "}"
#define WITH(type, shape, offsets)                                                                 \
    "{\"a\":{\"dtype\":" type ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct {
    const char *header;
    int floats;
    const char *reason;
} headers[] = {
    {"", 4, "byte 0: a header of 0 bytes"},
    {" {}", 4, "byte 8: the header does not begin with {"},
    {"[]", 4, "does not begin with {"},
    {"{", 4, "not valid JSON"},
    {"{\"\xff\xfe\":1}", 0, "not valid JSON"},
    {ONE("}x"), 4, "not valid JSON"},
    {"{\"a\":1}", 4, "tensor 'a': a value of the wrong type"},
    {"{\"a\":[[[[[[]]]]]]}", 0, "tensor 'a': a value of the wrong type"},
    {"{\"a\":{\"shape\":[[[1]]]}}", 0, "nested deeper than 3"},
    {"{\"__metadata__\":{\"a\":{}}}", 0, "wrong type"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "tensor '__metadata__': it is given twice"},
    {"{}", 0, "its two-dimensional tensors: none"},
    {"{}", 1, "the last tensor ends at byte 10 of a file of 14"},
    {ONE("}"), 5, "the last tensor ends at byte"},
    {ONE("}"), 3, "beyond the end of the file"},
    {ONE(",\"dtype\":\"F32\"}"), 4, "a field is given twice"},
    {ONE(",\"order\":1}"), 4, "a field other than dtype, shape, data_offsets"},
    {ONE("},\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[16,16]}"), 4,
     "two tensors are named 'a'"},
    {ONE("},\"b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}"), 4,
     "tensor 'b' begins at byte"},
    {ONE("},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]}"), 6,
     "tensor 'b' begins at byte"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2]}}", 4, "are missing"},
    {WITH("\"F33\"", "[2,2]", "[0,16]"), 4, "tensor 'a': unknown dtype"},
    {WITH("\"Q8_0\"", "[2,2]", "[0,16]"), 4, "unknown dtype"},
    {WITH("4", "[2,2]", "[0,16]"), 4, "wrong type"},
    {WITH("\"F32\"", "[2,2]", "[16,0]"), 4, "data_offsets are not in order"},
    {WITH("\"F32\"", "[2,2]", "[0]"), 4, "are missing"},
    {WITH("\"F32\"", "[2,2]", "[0,16,16]"), 4, "more than two data_offsets"},
    {WITH("\"F32\"", "[2,3]", "[0,16]"), 4, "data_offsets do not fit dtype and shape"},
    {WITH("\"F16\"", "[2,2]", "[0,16]"), 4, "do not fit"},
    {WITH("\"F32\"", "[2,-2]", "[0,16]"), 4, "a number is negative, too large or not whole"},
    {WITH("\"F32\"", "[2,2.0]", "[0,16]"), 4, "a number is negative"},
    {WITH("\"F32\"", "[2,18446744073709551617]", "[0,16]"), 4, "a number is negative"},
    {WITH("\"F32\"", "[4294967296,4294967296]", "[0,16]"), 4, "elements overflows"},
    {WITH("\"F32\"", "[4611686018427387905,1]", "[0,16]"), 4, "size in bytes overflows"},
    {WITH("\"F32\"", "[2,2,1,1,1,1,1,1,1]", "[0,16]"), 4, "more than 8 dimensions"},
    {WITH("\"F32\"", "[4]", "[0,16]"), 4, "has 1 dimensions; a table has 2"},
    {WITH("\"F32\"", "[0,4]", "[0,0]"), 0, "is empty (0x4)"},
    {WITH("\"I32\"", "[2,2]", "[0,16]"), 4, "is stored as I32"},
};

/* ---- .npy: dictionary, version 1, six floats behind it */

#define DICT(type, order, shape)                                                                   \
    "{'descr': " type ", 'fortran_order': " order ", 'shape': " shape "}"

static const struct {
    const char *header, *reason;
} dictionaries[] = {
    {DICT("'>f4'", "False", "(3, 2)"), "descr is not allowed"},
    {DICT("'<i4'", "False", "(3, 2)"), "descr is not allowed"},
    {DICT("[('a', '<f4')]", "False", "(3, 2)"), "descr is not allowed"},
    {DICT("'|O'", "False", "(3, 2)"), "descr is not allowed"},
    {DICT("'<f4'", "True", "(3, 2)"), "the array is not in C order"},
    {DICT("'<f4'", "False", "(3, 3)"), "an array of 36 bytes, but 24 bytes follow"},
    {DICT("'<f4'", "False", "(3, 1)"), "an array of 12 bytes, but 24 bytes follow"},
    {DICT("'<f4'", "False", "(6,)"), "has 1 dimensions"},
    {DICT("'<f4'", "False", "(-3, 2)"), "shape is no list of whole numbers"},
    {DICT("'<f4'", "False", "3, 2)"), "shape is no tuple"},
    {DICT("'<f4'", "False", "(3 2)"), "shape is no tuple"},
    {DICT("'<f4'", "False", "(3, 2"), "shape is no tuple"},
    {DICT("'<f4'", "False", "(99999999999999999999, 2)"), "a dimension is too large"},
    {DICT("'<f4'", "False", "(4294967296, 4294967296)"), "elements overflows"},
    {DICT("'<f4'", "False", "(3, 2, 1, 1, 1, 1, 1, 1, 1)"), "more than 8 dimensions"},
    {DICT("'<f4'", "False", "(3, 2)") "x", "not just the keys"},
    {"{'descr': '<f4', 'descr': '<f4'}", "once each"},
    {"{'descr': '<f4'}", "not just the keys"},
    {"{'descr': '<f4' 'shape': (3, 2)}", "a comma or } is missing"},
    {"import os", "it does not begin with {"},
};

/* ---- vocabularies beside a table of three rows */

#define VOCAB(text)      "{\"model\":{\"vocab\":" text "}}"
#define ADDED(text, map) "{\"added_tokens\":[" text "],\"model\":{\"vocab\":" map "}}"

static const struct {
    const char *file, *text, *reason;
} vocabularies[] = {
    {"vocab.txt", "a\n", "has 3 rows, but "},
    {"vocab.txt", "a\nb\nc\n\n", "has 4 strings"},
    {"vocab.txt", "", "the file is empty"},
    {"vocab.json", "{\"a\":0}", "has 1 strings; allowed: a row for each"},
    {"vocab.json", "[]", "the file is no map of strings to ids"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":\"2\"}", "its id is no whole number"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":-2}", "its id is no whole number"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":1e18}", "its id is no whole number"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":{}}", "its id is no whole number"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":999999999999}", "its id is too large"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":3}", "id 3 among 3 strings"},
    {"vocab.json", "{\"a\":0,\"b\":1,\"c\":1}", "two strings have the id 1"},
    {"vocab.json", "{\"a\":0,\"b\":1", "not valid JSON"},
    {"tokenizer.json", "{}", "there is no model.vocab"},
    {"tokenizer.json", "{\"model\":[]}", "there is no model.vocab"},
    {"tokenizer.json", "{\"model\":{\"vocab\":3}}", "model.vocab is no map and no array"},
    {"tokenizer.json", VOCAB("{}"), "there are no strings"},
    {"vocab.json", "{}", "there are no strings"},
    {"tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"},
    {"tokenizer.json", VOCAB("[[1,\"a\"]]"), "no pair of a string and a score"},
    {"tokenizer.json", VOCAB("[\"a\"]"), "no pair of a string and a score"},
    {"tokenizer.json", VOCAB("[[\"a\"],[\"b\"],[]]"), "its id or its text is missing"},
    {"tokenizer.json", VOCAB("{\"a\":[0]}"), "its id is no whole number"},
    {"tokenizer.json", ADDED("{\"id\":2}", "{\"a\":0,\"b\":1}"), "its text is missing"},
    {"tokenizer.json", ADDED("{\"content\":\"c\"}", "{\"a\":0,\"b\":1}"), "its id or"},
    {"tokenizer.json", ADDED("3", "{\"a\":0}"), "has 1 strings"},
    {"tokenizer.json",
     ADDED("{\"id\":0,\"content\":\"c\"},{\"id\":0,\"content\":\"d\"}", "{\"b\":2}"),
     "no string has the id 1"},
};

#endif
