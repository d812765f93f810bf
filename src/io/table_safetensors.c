/* safetensors: a length (u64), that many bytes of JSON, then the data:
 *
 *   {"__metadata__": {..}, "NAME": {"dtype": "F32", "shape": [V, D], "data_offsets": [b, e]}, ..}
 *
 * Tensors cover the data without overlap or gap, so no byte of a file goes unexplained. */
#include "table_impl.h"

#include <inttypes.h>
#include <string.h>

enum { HEADER_MOST = 100000000, DEPTH = 3 };
enum { HAVE_DTYPE = 1, HAVE_SHAPE = 2, HAVE_OFFSETS = 4, HAVE_ALL = 7 };

typedef struct {
    mltfr_table_file *f;
    size_t header, used;       /* bytes of the header; of f->side */
    int64_t most;              /* tensors there is room for */
    mltfr_table_tensor tensor; /* being read */
    int have, field;           /* HAVE_ bits: fields read; the one being read */
    bool metadata, had_metadata;
    int64_t offsets[2];
    int offset_count;
} reader;

static mltfr_status bad(const reader *r, const char *what)
{
    char quoted[MLTFR_QUOTE_BYTES];

    return mltfr_fail(MLTFR_E_DATA, "%s: header: tensor '%s': %s", r->f->image.path,
                      mltfr_slice_quote(r->tensor.name, quoted), what);
}

/* The name where it stands in the file, or without its escapes beside it. */
static mltfr_status keep_name(reader *r, const mltfr_json_event *e)
{
    mltfr_status st = MLTFR_OK;
    mltfr_table_file *f = r->f;

    r->tensor.name = e->text;
    if (!e->escaped)
        goto done;
    if (f->side == NULL)
        MLTFR_TRY(MLTFR_NEW(f->side, r->header));
    char *to = f->side + r->used;
    r->tensor.name = (mltfr_slice){to, mltfr_json_unescape(e->text, to)};
    r->used += r->tensor.name.bytes;
done:
    return st;
}

static mltfr_status begin_tensor(reader *r, const mltfr_json_event *e)
{
    mltfr_status st = MLTFR_OK;

    memset(&r->tensor, 0, sizeof r->tensor);
    MLTFR_TRY(keep_name(r, e));
    r->have = r->field = r->offset_count = 0;
    r->metadata = mltfr_slice_is(r->tensor.name, "__metadata__");
    if (r->metadata && r->had_metadata)
        return bad(r, "it is given twice");
    r->had_metadata = r->had_metadata || r->metadata;
done:
    return st;
}

static mltfr_status end_tensor(reader *r)
{
    mltfr_table_tensor *tensor = &r->tensor;
    mltfr_table_file *f = r->f;
    size_t base = 8 + r->header, left = f->image.bytes - base;

    if (r->have != HAVE_ALL || r->offset_count != 2)
        return bad(r, "dtype, shape or the two data_offsets are missing");
    if (r->offsets[0] > r->offsets[1] || (uint64_t)r->offsets[1] > left)
        return bad(r, "data_offsets are not in order or beyond the end of the file");
    const char *wrong = mltfr_table_tensor_measure(tensor);
    if (wrong != NULL)
        return bad(r, wrong);
    if (tensor->bytes != (size_t)(r->offsets[1] - r->offsets[0]))
        return bad(r, "data_offsets do not fit dtype and shape");
    if (f->tensor_count == r->most)
        return bad(r, "too many tensors in the file");
    tensor->offset = base + (size_t)r->offsets[0];
    f->tensors[f->tensor_count++] = *tensor;
    return MLTFR_OK;
}

static mltfr_status begin_field(reader *r, const mltfr_json_event *e)
{
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};

    for (int i = 0; i < 3; i++) {
        if (!mltfr_json_is(e, fields[i]))
            continue;
        r->field = 1 << i;
        if (r->have & r->field)
            return bad(r, "a field is given twice");
        r->have |= r->field;
        return MLTFR_OK;
    }
    return bad(r, "a field other than dtype, shape, data_offsets");
}

static mltfr_status read_dtype(reader *r, const mltfr_json_event *e)
{
    r->tensor.kind = mltfr_table_kind_named(e->text);
    return r->tensor.kind != NULL ? MLTFR_OK : bad(r, "unknown dtype");
}

static mltfr_status read_number(reader *r, const mltfr_json_event *e)
{
    int64_t value;

    if (!mltfr_json_natural(e, &value))
        return bad(r, "a number is negative, too large or not whole");
    if (r->field == HAVE_SHAPE) {
        if (r->tensor.ndim == MLTFR_TABLE_DIMS)
            return bad(r, "more than 8 dimensions");
        r->tensor.dims[r->tensor.ndim++] = value;
    } else {
        if (r->offset_count == 2)
            return bad(r, "more than two data_offsets");
        r->offsets[r->offset_count++] = value;
    }
    return MLTFR_OK;
}

/* Inside the map of a tensor: fields at depth 2, numbers of their arrays at depth 3. */
static mltfr_status visit_field(reader *r, const mltfr_json_event *e)
{
    bool array = r->field == HAVE_SHAPE || r->field == HAVE_OFFSETS;

    if (e->depth == 2 && e->kind == MLTFR_JSON_KEY)
        return begin_field(r, e);
    if (e->depth == 2 && e->kind == MLTFR_JSON_STRING && r->field == HAVE_DTYPE)
        return read_dtype(r, e);
    if (e->depth == 2 && array && (e->kind == MLTFR_JSON_ARRAY || e->kind == MLTFR_JSON_ARRAY_END))
        return MLTFR_OK;
    if (e->depth == 3 && array && e->kind == MLTFR_JSON_NUMBER)
        return read_number(r, e);
    return bad(r, "a value of the wrong type");
}

static mltfr_status visit(void *context, const mltfr_json_event *e)
{
    reader *r = context;

    if (e->depth == 0)
        return MLTFR_OK; /* a map: its first byte was checked */
    if (e->depth == 1 && e->kind == MLTFR_JSON_KEY)
        return begin_tensor(r, e);
    if (e->depth == 1 && e->kind == MLTFR_JSON_MAP)
        return MLTFR_OK;
    if (e->depth == 1 && e->kind == MLTFR_JSON_MAP_END)
        return r->metadata ? MLTFR_OK : end_tensor(r);
    if (e->depth == 1)
        return bad(r, "a value of the wrong type");
    if (r->metadata && e->depth == 2 && (e->kind == MLTFR_JSON_KEY || e->kind == MLTFR_JSON_STRING))
        return MLTFR_OK;
    return visit_field(r, e);
}

static mltfr_status read_header(const mltfr_image *image, size_t *header)
{
    mltfr_status st = MLTFR_OK;
    uint64_t length;

    if (image->bytes < 8)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: the file ends inside the header's length (%zu bytes)",
                   image->path, image->bytes);
    mltfr_image_need(image, 0, image->bytes < 9 ? image->bytes : 9);
    memcpy(&length, image->data, sizeof length);
    if (length == 0 || length > HEADER_MOST || length > image->bytes - 8)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: byte 0: a header of %" PRIu64 " bytes in a file of %zu; "
                   "allowed: what the file holds, up to %d",
                   image->path, length, image->bytes, HEADER_MOST);
    if (image->data[8] != '{')
        MLTFR_FAIL(MLTFR_E_DATA, "%s: byte 8: the header does not begin with {", image->path);
    *header = (size_t)length;
    mltfr_image_need(image, 8, *header);
done:
    return st;
}

/* No more tensors than braces that open. */
static int64_t count_braces(const uint8_t *text, size_t bytes)
{
    int64_t count = 0;

    for (size_t i = 0; i < bytes; i++)
        count += text[i] == '{';
    return count < MLTFR_TABLE_TENSORS ? count : MLTFR_TABLE_TENSORS;
}

mltfr_status mltfr_table_parse_safetensors(mltfr_table_file *f)
{
    mltfr_status st = MLTFR_OK;
    reader r = {.f = f};

    MLTFR_TRY(read_header(&f->image, &r.header));
    r.most = count_braces(f->image.data + 8, r.header);
    MLTFR_TRY(MLTFR_NEW(f->tensors, r.most));
    MLTFR_TRY(mltfr_json_walk(&f->image, 8, r.header, DEPTH, visit, &r));
    MLTFR_TRY(mltfr_table_tensors_check(f, 8 + r.header, true));
done:
    return st;
}
