/* NumPy .npy, versions 1 to 3:
 *
 *   0x93 "NUMPY" major minor  length:u16 (u32 from version 2)
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (V, D), }  padded, then the data
 *
 * The one array of the file is a tensor named "array". */
#include "table_impl.h"

#include <string.h>

typedef struct {
    const mltfr_image *image;
    const char *at, *end;
} scanner;

static mltfr_status bad(const scanner *s, const char *what)
{
    return mltfr_fail(MLTFR_E_DATA, "%s: byte %zu: header: %s", s->image->path,
                      (size_t)(s->at - (const char *)s->image->data), what);
}

static void skip_blanks(scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n'))
        s->at++;
}

/* Is this the next word?  Then go past it. */
static bool accept(scanner *s, const char *word)
{
    size_t n = strlen(word);

    skip_blanks(s);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return false;
    s->at += n;
    return true;
}

static mltfr_status read_type(scanner *s, mltfr_table_tensor *tensor)
{
    static const char *const written[] = {"'<f4'", "'<f2'", "'<f8'"}, *const names[] = {
                                                                          "F32", "F16", "F64"};

    for (int i = 0; i < 3; i++) {
        if (!accept(s, written[i]))
            continue;
        tensor->kind = mltfr_table_kind_named((mltfr_slice){names[i], strlen(names[i])});
        return MLTFR_OK;
    }
    return bad(s, "descr is not allowed: one of '<f4' '<f2' '<f8' (little-endian floats) is");
}

static mltfr_status read_dimension(scanner *s, mltfr_table_tensor *tensor)
{
    int64_t value = 0;

    skip_blanks(s);
    if (s->at == s->end || *s->at < '0' || *s->at > '9')
        return bad(s, "shape is no list of whole numbers");
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *s->at - '0', &value))
            return bad(s, "a dimension is too large");
    if (tensor->ndim == MLTFR_TABLE_DIMS)
        return bad(s, "more than 8 dimensions");
    tensor->dims[tensor->ndim++] = value;
    return MLTFR_OK;
}

static mltfr_status read_shape(scanner *s, mltfr_table_tensor *tensor)
{
    mltfr_status st = MLTFR_OK;

    if (!accept(s, "("))
        return bad(s, "shape is no tuple");
    while (!accept(s, ")")) {
        MLTFR_TRY(read_dimension(s, tensor));
        if (accept(s, ","))
            continue;
        if (!accept(s, ")"))
            return bad(s, "shape is no tuple");
        break;
    }
done:
    return st;
}

/* One `'key': value` of the dictionary; the bit of the key is added to *have. */
static mltfr_status read_entry(scanner *s, mltfr_table_tensor *tensor, int *have)
{
    static const char *const keys[] = {"'descr':", "'fortran_order':", "'shape':"};
    int key = 0;

    while (key < 3 && !accept(s, keys[key]))
        key++;
    if (key == 3 || (*have & 1 << key) != 0)
        return bad(s, "not the keys descr, fortran_order, shape once each");
    *have |= 1 << key;
    if (key == 0)
        return read_type(s, tensor);
    if (key == 2)
        return read_shape(s, tensor);
    return accept(s, "False") ? MLTFR_OK : bad(s, "the array is not in C order");
}

static mltfr_status read_dictionary(scanner *s, mltfr_table_tensor *tensor)
{
    mltfr_status st = MLTFR_OK;
    int have = 0;

    if (!accept(s, "{"))
        return bad(s, "it does not begin with {");
    while (!accept(s, "}")) {
        MLTFR_TRY(read_entry(s, tensor, &have));
        if (!accept(s, ",") && (s->at == s->end || *s->at != '}'))
            return bad(s, "a comma or } is missing");
    }
    skip_blanks(s);
    if (have != 7 || s->at != s->end)
        return bad(s, "not just the keys descr, fortran_order, shape");
done:
    return st;
}

/* Place of the dictionary. */
static mltfr_status read_preamble(const mltfr_image *image, scanner *s)
{
    mltfr_status st = MLTFR_OK;
    size_t length = 0;

    mltfr_image_need(image, 0, image->bytes < 12 ? image->bytes : 12);
    size_t begin = image->bytes > 6 && image->data[6] == 1 ? 10 : 12;
    if (image->bytes < 6 || memcmp(image->data, "\x93NUMPY", 6) != 0)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte 0: not a .npy file", image->path);
    if (image->bytes < begin)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: the file ends inside the header's length", image->path);
    if (image->data[6] < 1 || image->data[6] > 3)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte 6: .npy version %d; allowed: 1 to 3", image->path,
                   image->data[6]);
    for (size_t i = begin - 1; i >= 8; i--)
        length = length << 8 | image->data[i];
    if (length > image->bytes - begin)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte 8: a header of %zu bytes in a file of %zu", image->path,
                   length, image->bytes);
    mltfr_image_need(image, begin, length);
    s->at = (const char *)image->data + begin;
    s->end = s->at + length;
done:
    return st;
}

mltfr_status mltfr_table_parse_npy(mltfr_table_file *f)
{
    mltfr_status st = MLTFR_OK;
    const mltfr_image *image = &f->image;
    scanner s = {.image = image};

    MLTFR_TRY(read_preamble(image, &s));
    MLTFR_TRY(MLTFR_NEW(f->tensors, 1));
    mltfr_table_tensor *tensor = &f->tensors[0];
    tensor->name = (mltfr_slice){"array", 5};
    MLTFR_TRY(read_dictionary(&s, tensor));
    f->version = image->data[6];
    f->tensor_count = 1;
    tensor->offset = (size_t)(s.end - (const char *)image->data);
    const char *wrong = mltfr_table_tensor_measure(tensor);
    if (wrong != NULL)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: array: %s", image->path, wrong);
    if (tensor->bytes != image->bytes - tensor->offset)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: an array of %zu bytes, but %zu bytes follow the header",
                   image->path, tensor->bytes, image->bytes - tensor->offset);
done:
    return st;
}
