/* The metadata of GGUF after table_gguf.c has read where it is: the tokenizer's strings with what
 * they are (control, unused, byte, ..), what it says of splits, and values as text. */
#include "table_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3, TOKEN_UNUSED = 5, TOKEN_BYTE = 6 };

const uint8_t mltfr_gguf_value_bytes[GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

const mltfr_table_key *mltfr_gguf_key_find(const mltfr_table_file *f, const char *name)
{
    for (int64_t i = 0; i < f->key_count; i++)
        if (mltfr_slice_is(f->keys[i].name, name))
            return &f->keys[i];
    return NULL;
}

/* An array of the tokenizer, of one of two element types and of `count` elements where that is
 * not negative; *out is NULL where the file has none. */
static mltfr_status tokenizer_array(const mltfr_table_file *f, const char *name, uint32_t type,
                                    uint32_t other, int64_t count, const mltfr_table_key **out)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_table_key *key = mltfr_gguf_key_find(f, name);

    *out = key;
    if (key == NULL)
        goto done;
    if (key->type != GGUF_ARRAY || (key->element != type && key->element != other))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte %zu: %s is no array of type %" PRIu32, f->image.path,
                   key->at, name, type);
    if (key->count > MLTFR_TABLE_STRINGS || (count >= 0 && key->count != (uint64_t)count))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte %zu: %s has %" PRIu64 " elements; allowed: %" PRId64,
                   f->image.path, key->at, name, key->count,
                   count >= 0 ? count : (int64_t)MLTFR_TABLE_STRINGS);
done:
    return st;
}

/* The strings of a key: their lengths were checked when the key was read. */
static mltfr_status read_strings(const mltfr_table_file *f, size_t at, mltfr_table_vocab *vocab)
{
    mltfr_status st = MLTFR_OK;

    for (int64_t i = 0; i < vocab->count; i++) {
        uint64_t bytes;

        memcpy(&bytes, f->image.data + at, sizeof bytes);
        at += sizeof bytes;
        if (bytes > MLTFR_TABLE_STRING_BYTES)
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s: byte %zu: tokenizer.ggml.tokens: string %" PRId64 " has %" PRIu64
                       " bytes; allowed: up to %d",
                       f->image.path, at, i, bytes, MLTFR_TABLE_STRING_BYTES);
        mltfr_slice text = {(const char *)f->image.data + at, (size_t)bytes};
        MLTFR_TRY(mltfr_vocab_put(vocab, f->image.path, i, text, 0));
        at += (size_t)bytes;
    }
done:
    return st;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

/* <0xHH>, the form of a byte-fallback token. */
static bool is_byte_token(mltfr_slice s)
{
    return s.bytes == 6 && memcmp(s.data, "<0x", 3) == 0 && is_hex(s.data[3]) &&
           is_hex(s.data[4]) && s.data[5] == '>';
}

static mltfr_status read_token_types(const mltfr_table_file *f, size_t at, mltfr_table_vocab *vocab)
{
    mltfr_status st = MLTFR_OK;
    char quoted[MLTFR_QUOTE_BYTES];

    for (int64_t i = 0; i < vocab->count; i++) {
        mltfr_slice s = mltfr_vocab_string(vocab, i);
        int32_t type;

        memcpy(&type, f->image.data + at + 4 * (size_t)i, sizeof type);
        if (type == TOKEN_BYTE && !is_byte_token(s))
            MLTFR_FAIL(MLTFR_E_DATA,
                       "%s: tokenizer.ggml.tokens: byte token %" PRId64 " is '%s'; "
                       "allowed: <0x00> to <0xFF>",
                       f->image.path, i, mltfr_slice_quote(s, quoted));
        if (type == TOKEN_UNKNOWN || type == TOKEN_CONTROL || type == TOKEN_UNUSED ||
            type == TOKEN_BYTE)
            vocab->list[i] |= MLTFR_VOCAB_SPECIAL;
    }
done:
    return st;
}

mltfr_status mltfr_gguf_read_vocab(const mltfr_table_file *f, mltfr_table_vocab *vocab)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_table_key *tokens, *types, *scores;

    MLTFR_TRY(tokenizer_array(f, "tokenizer.ggml.tokens", GGUF_STRING, GGUF_STRING, -1, &tokens));
    if (tokens == NULL || tokens->count == 0)
        goto done;
    int64_t count = (int64_t)tokens->count;
    MLTFR_TRY(tokenizer_array(f, "tokenizer.ggml.token_type", GGUF_I32, GGUF_U32, count, &types));
    MLTFR_TRY(tokenizer_array(f, "tokenizer.ggml.scores", GGUF_F32, GGUF_F32, count, &scores));
    MLTFR_TRY(MLTFR_NEW(vocab->list, count));
    vocab->count = count;
    vocab->text = (const char *)f->image.data;
    MLTFR_TRY(read_strings(f, tokens->at, vocab));
    if (types != NULL)
        MLTFR_TRY(read_token_types(f, types->at, vocab));
done:
    return st;
}

/* split.no and split.count; `absent` where there is no such key. */
static mltfr_status split_value(const mltfr_table_file *f, const char *name, int64_t absent,
                                int64_t *out)
{
    const mltfr_table_key *key = mltfr_gguf_key_find(f, name);
    uint16_t value;

    *out = absent;
    if (key == NULL)
        return MLTFR_OK;
    if (key->type != GGUF_U16)
        return mltfr_fail(MLTFR_E_DATA, "%s: byte %zu: %s has type %" PRIu32 "; allowed: %d (u16)",
                          f->image.path, key->at, name, key->type, GGUF_U16);
    memcpy(&value, f->image.data + key->at, sizeof value);
    *out = value;
    return MLTFR_OK;
}

mltfr_status mltfr_gguf_split_check(const mltfr_table_file *f, int64_t number, int64_t count)
{
    mltfr_status st = MLTFR_OK;
    int64_t own_number, own_count;

    MLTFR_TRY(split_value(f, "split.no", 0, &own_number));
    MLTFR_TRY(split_value(f, "split.count", 1, &own_count));
    if (own_count == 0 && count == 1) /* as some programs write a file that was not split */
        goto done;
    if (own_number != number || own_count != count)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: it is split %" PRId64 " of %" PRId64 ", read as %" PRId64 " of %" PRId64
                   "; allowed: all of them, in order, separated by commas",
                   f->image.path, own_number + 1, own_count, number + 1, count);
done:
    return st;
}

static int64_t signed_value(uint32_t type, const uint8_t *p)
{
    uint64_t bits = 0;
    int unused = 64 - 8 * mltfr_gguf_value_bytes[type];

    memcpy(&bits, p, mltfr_gguf_value_bytes[type]);
    return (int64_t)(bits << unused) >> unused;
}

void mltfr_gguf_key_print(const mltfr_table_file *f, const mltfr_table_key *key, char *out,
                          size_t bytes)
{
    static const char *const names[GGUF_TYPES] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                                  "i32", "f32", "bool", "string", "array",
                                                  "u64", "i64", "f64"};
    const uint8_t *p = f->image.data + key->at;
    char quoted[MLTFR_QUOTE_BYTES];
    uint64_t number = 0;
    double real = 0;
    float single = 0;

    if (key->type == GGUF_ARRAY) {
        snprintf(out, bytes, "%" PRIu64 " x %s", key->count, names[key->element]);
    } else if (key->type == GGUF_STRING) {
        memcpy(&number, p, 8);
        mltfr_slice text = {(const char *)p + 8, (size_t)number};
        snprintf(out, bytes, "'%s'", mltfr_slice_quote(text, quoted));
    } else if (key->type == GGUF_F32) {
        memcpy(&single, p, sizeof single);
        snprintf(out, bytes, "%.9g", (double)single);
    } else if (key->type == GGUF_F64) {
        memcpy(&real, p, sizeof real);
        snprintf(out, bytes, "%.17g", real);
    } else if (key->type % 2 == 1 && key->type != GGUF_BOOL) {
        snprintf(out, bytes, "%" PRId64, signed_value(key->type, p));
    } else {
        memcpy(&number, p, mltfr_gguf_value_bytes[key->type]);
        snprintf(out, bytes, "%" PRIu64, number);
    }
}
