/* The strings of a vocabulary, 8 bytes each besides their text: where it begins, its length and
 * what it is.  Also vocab.txt, and which file beside a table has its strings. */
#include "table_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MOST = 1 << 30 };

/* Bits of a packed string: length 0-15, flags 16-18, in the side text 19, place 20-63. */
enum { LENGTH_MASK = 0xffff, FLAG_MASK = 7 << 16, IN_SIDE = 1 << 19, PLACE_SHIFT = 20 };

mltfr_slice mltfr_vocab_string(const mltfr_table_vocab *v, int64_t id)
{
    uint64_t packed = v->list[id];
    const char *base = packed & IN_SIDE ? v->side : v->text;

    return (mltfr_slice){base + (packed >> PLACE_SHIFT), packed & LENGTH_MASK};
}

int mltfr_vocab_flags(const mltfr_table_vocab *v, int64_t id)
{
    return (int)(v->list[id] & FLAG_MASK);
}

mltfr_status mltfr_vocab_put(mltfr_table_vocab *v, const char *path, int64_t id, mltfr_slice text,
                             int flags)
{
    uintptr_t side = (uintptr_t)v->side, at = (uintptr_t)text.data;
    bool in_side = v->side != NULL && at >= side && at - side < v->side_bytes;
    uint64_t place = in_side ? at - side : at - (uintptr_t)v->text;

    if (text.bytes > MLTFR_TABLE_STRING_BYTES || place >> (64 - PLACE_SHIFT) != 0)
        return mltfr_fail(MLTFR_E_DATA, "%s: string %" PRId64 " has %zu bytes; allowed: up to %d",
                          path, id, text.bytes, MLTFR_TABLE_STRING_BYTES);
    v->list[id] = place << PLACE_SHIFT | (in_side ? IN_SIDE : 0) | (uint64_t)flags | text.bytes;
    return MLTFR_OK;
}

/* What a file that cannot mark its special tokens is taken to mean. */
static const char *const special_strings[] = {"[CLS]",  "[SEP]",  "[PAD]",        "[UNK]",
                                              "[MASK]", "<s>",    "</s>",         "<pad>",
                                              "<unk>",  "<mask>", "<|endoftext|>"};

bool mltfr_vocab_is_special(mltfr_slice text)
{
    for (size_t i = 0; i < sizeof special_strings / sizeof *special_strings; i++)
        if (mltfr_slice_is(text, special_strings[i]))
            return true;
    return false;
}

/* ---- vocab.txt: string ID is line ID */

static int64_t count_lines(const mltfr_image *image)
{
    int64_t lines = image->bytes > 0 && image->data[image->bytes - 1] != '\n';

    for (size_t i = 0; i < image->bytes; i++)
        lines += image->data[i] == '\n';
    return lines;
}

static mltfr_status parse_lines(mltfr_table_vocab *v)
{
    mltfr_status st = MLTFR_OK;
    const char *at = v->text, *end = at + v->image.bytes;
    int64_t count = count_lines(&v->image);

    if (count == 0 || count > MLTFR_TABLE_STRINGS)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %" PRId64 " lines; allowed: 1 to %d", v->image.path, count,
                   MLTFR_TABLE_STRINGS);
    MLTFR_TRY(MLTFR_NEW(v->list, count));
    for (; v->count < count; v->count++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        mltfr_slice line = {at, (size_t)((stop != NULL ? stop : end) - at)};

        at = stop != NULL ? stop + 1 : end;
        if (line.bytes > 0 && line.data[line.bytes - 1] == '\r')
            line.bytes--;
        MLTFR_TRY(mltfr_vocab_put(v, v->image.path, v->count, line,
                                  mltfr_vocab_is_special(line) ? MLTFR_VOCAB_SPECIAL : 0));
    }
done:
    return st;
}

/* ---- files */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

mltfr_status mltfr_table_vocab_parse(mltfr_image *image, mltfr_table_vocab *out)
{
    mltfr_status st = MLTFR_OK;

    memset(out, 0, sizeof *out);
    out->image = *image;
    out->text = (const char *)image->data;
    memset(image, 0, sizeof *image);
    const char *path = out->image.path;
    if (out->image.bytes > FILE_MOST)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: %zu bytes; allowed for a vocabulary: up to %d", path,
                   out->image.bytes, FILE_MOST);
    if (mltfr_has_ending(path, ".txt"))
        MLTFR_TRY(parse_lines(out));
    else
        MLTFR_TRY(mltfr_vocab_parse_json(out, strcmp(base_name(path), "vocab.json") == 0));
done:
    if (st != MLTFR_OK)
        mltfr_table_vocab_close(out);
    return st;
}

mltfr_status mltfr_table_vocab_beside(const char *path, mltfr_table_vocab *out)
{
    static const char *const names[] = {"tokenizer.json", "vocab.txt", "vocab.json"};
    mltfr_status st = MLTFR_OK;
    mltfr_image image;
    char *beside = NULL;
    int directory = (int)(base_name(path) - path);
    size_t bytes = (size_t)directory + 32;

    memset(out, 0, sizeof *out);
    MLTFR_TRY(MLTFR_NEW(beside, bytes));
    for (int i = 0; i < 3; i++) {
        snprintf(beside, bytes, "%.*s%s", directory, path, names[i]);
        if (access(beside, F_OK) != 0)
            continue;
        MLTFR_TRY(mltfr_image_map(beside, &image));
        MLTFR_TRY(mltfr_table_vocab_parse(&image, out));
        break;
    }
done:
    MLTFR_FREE(beside);
    return st;
}

void mltfr_table_vocab_close(mltfr_table_vocab *vocab)
{
    mltfr_image_close(&vocab->image);
    MLTFR_FREE(vocab->side);
    MLTFR_FREE(vocab->list);
    memset(vocab, 0, sizeof *vocab);
}
