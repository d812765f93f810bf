/* The group "spaces" of a file.  The digest is a sum over rows of hashes of (space, row number,
 * bytes), so it does not depend on which rank holds which row. */
#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/spaces.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { VERSION = 1, NAME = 96 };

static const char FORMAT[] = "mltfr spaces";

/* "spaces/<k>/what", k = K is "c". */
static void array_name(char name[NAME], int64_t k, int64_t K, const char *what)
{
    if (k < K)
        snprintf(name, NAME, "spaces/%lld%s", (long long)k, what);
    else
        snprintf(name, NAME, "spaces/c%s", what);
}

/* ---- digest -------------------------------------------------------------------------------- */

static uint64_t digest_rows(int64_t k, int64_t first, int64_t rows, int64_t width, const float *Z)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < rows; i++)
        sum += XXH3_64bits_withSeed(Z + i * width, (size_t)width * sizeof *Z,
                                    mltfr_rng_key((uint64_t)k, 0, (uint64_t)(first + i)));
    return sum;
}

/* Sum over ranks modulo 2^64, by halves that do not overflow. */
static uint64_t digest_total(mltfr_comm *comm, uint64_t mine)
{
    int64_t half[2] = {(int64_t)(mine & UINT32_MAX), (int64_t)(mine >> 32)};

    mltfr_comm_sum_i64(comm, half, 2);
    return (uint64_t)half[0] + ((uint64_t)half[1] << 32);
}

/* ---- write --------------------------------------------------------------------------------- */

/* Where this rank's bytes begin, and how many there are in all. */
static mltfr_status place_bytes(mltfr_comm *comm, int64_t bytes, int64_t *first, int64_t *total)
{
    int64_t all[mltfr_comm_size(comm)];

    mltfr_comm_allgather(comm, &bytes, sizeof bytes, all);
    *first = *total = 0;
    for (int p = 0; p < mltfr_comm_size(comm); p++) {
        *first += p < mltfr_comm_rank(comm) ? all[p] : 0;
        *total += all[p];
    }
    return MLTFR_OK;
}

static mltfr_status write_strings(mltfr_comm *comm, mltfr_file *file, const mltfr_space *s,
                                  int64_t k, int64_t K)
{
    mltfr_status st = MLTFR_OK;
    int64_t first, total, bytes = s->offsets[s->count], *at = NULL;
    bool last = mltfr_comm_rank(comm) == mltfr_comm_size(comm) - 1;
    char name[NAME];

    MLTFR_TRY(place_bytes(comm, bytes, &first, &total));
    MLTFR_AGREE(comm, MLTFR_NEW(at, s->count + 1));
    for (int64_t i = 0; i <= s->count; i++)
        at[i] = first + s->offsets[i];
    mltfr_shape chars = {MLTFR_U8, 1, {total}}, ends = {MLTFR_I64, 1, {s->rows + 1}};
    array_name(name, k, K, "/strings_bytes");
    MLTFR_TRY(mltfr_file_write(file, name, &chars, first, bytes, s->strings));
    array_name(name, k, K, "/strings_offsets");
    MLTFR_TRY(mltfr_file_write(file, name, &ends, s->first, s->count + (last ? 1 : 0), at));
done:
    MLTFR_FREE(at);
    return st;
}

static mltfr_status write_space(mltfr_comm *comm, mltfr_file *file, const mltfr_space *s, int64_t k,
                                int64_t K, int64_t width)
{
    mltfr_status st = MLTFR_OK;
    mltfr_shape Z = {MLTFR_F32, 2, {s->rows, width}}, ids = {MLTFR_I64, 1, {s->rows}};
    char name[NAME];

    array_name(name, k, K, "/Z");
    MLTFR_TRY(mltfr_file_write(file, name, &Z, s->first, s->count, s->Z));
    if (s->ids != NULL) {
        array_name(name, k, K, "/ids");
        MLTFR_TRY(mltfr_file_write(file, name, &ids, s->first, s->count, s->ids));
    }
    if (s->offsets != NULL)
        MLTFR_TRY(write_strings(comm, file, s, k, K));
    array_name(name, k, K, "");
    if (s->name != NULL)
        MLTFR_TRY(mltfr_file_set_text(file, name, "name", s->name));
done:
    return st;
}

mltfr_status mltfr_spaces_put(mltfr_spaces_writer *w, int64_t k, const mltfr_space *space)
{
    const int64_t width = k < w->K ? w->r_c + w->r_s : w->r_c;

    w->digest += digest_rows(k, space->first, space->count, width, space->Z);
    return write_space(w->comm, w->file, space, k, w->K, width);
}

mltfr_status mltfr_spaces_put_end(const mltfr_spaces_writer *w, const char *align)
{
    mltfr_status st = MLTFR_OK;
    const uint64_t digest = digest_total(w->comm, w->digest);

    MLTFR_TRY(mltfr_file_set_text(w->file, "spaces", "format", FORMAT));
    MLTFR_TRY(mltfr_file_set_i64(w->file, "spaces", "version", VERSION));
    MLTFR_TRY(mltfr_file_set_i64(w->file, "spaces", "K", w->K));
    MLTFR_TRY(mltfr_file_set_i64(w->file, "spaces", "shared_dim", w->r_c));
    MLTFR_TRY(mltfr_file_set_i64(w->file, "spaces", "specific_dim", w->r_s));
    MLTFR_TRY(mltfr_file_set_text(w->file, "spaces", "align", align));
    MLTFR_TRY(mltfr_file_set_i64(w->file, "spaces", "digest", (int64_t)digest));
done:
    return st;
}

mltfr_status mltfr_spaces_write(mltfr_comm *comm, mltfr_file *file, int64_t K, int64_t r_c,
                                int64_t r_s, const char *align, const mltfr_space spaces[])
{
    mltfr_status st = MLTFR_OK;
    mltfr_spaces_writer w = {comm, file, K, r_c, r_s, 0};

    for (int64_t k = 0; k <= K; k++)
        MLTFR_TRY(mltfr_spaces_put(&w, k, &spaces[k]));
    MLTFR_TRY(mltfr_spaces_put_end(&w, align));
done:
    return st;
}

/* ---- read ---------------------------------------------------------------------------------- */

static int64_t width_of(const mltfr_spaces *s, int64_t k)
{
    return k < s->K ? s->r_c + s->r_s : s->r_c;
}

static mltfr_status check_rows(const mltfr_spaces *s, const char *name, int64_t first, int64_t rows,
                               int64_t width, const float *Z)
{
    for (int64_t i = 0; i < rows * width; i++)
        if (!isfinite(Z[i]))
            return mltfr_fail(MLTFR_E_DATA, "%s: array '%s', row %lld: a value is not finite",
                              mltfr_file_path(s->file), name, (long long)(first + i / width));
    return MLTFR_OK;
}

/* Uniform in [-.5, .5). */
static void imagine_rows(int64_t k, int64_t first, int64_t rows, int64_t width, float *Z)
{
    const uint64_t key = mltfr_rng_key((uint64_t)k, MLTFR_RNG_SYNTHETIC, 0);

    for (int64_t i = 0; i < rows * width; i++)
        Z[i] = (float)mltfr_rng_uniform(key, (uint64_t)(first * width + i)) - .5f;
}

mltfr_status mltfr_spaces_imagine(mltfr_comm *comm, int64_t K, int64_t r_c, int64_t r_s,
                                  const int64_t rows[], mltfr_spaces **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_spaces *s = NULL;

    *out = NULL;
    if (K < 1 || K > MLTFR_MAX_LLMS)
        MLTFR_FAIL(MLTFR_E_USAGE, "%lld LLMs are asked for, 1 to %d are allowed", (long long)K,
                   MLTFR_MAX_LLMS);
    MLTFR_TRY(MLTFR_NEW(s, 1));
    s->K = K;
    s->r_c = r_c;
    s->r_s = r_s;
    s->comm = comm;
    for (int64_t k = 0; k <= K; k++)
        s->rows[k] = rows[k];
    for (int64_t k = 0; k < K; k++)
        snprintf(s->names[k], sizeof s->names[k], "random%lld", (long long)k);
    *out = s;
done:
    return st;
}

mltfr_status mltfr_spaces_read(mltfr_spaces *spaces, int64_t k, int64_t first, int64_t rows,
                               float *Z)
{
    mltfr_status st = MLTFR_OK;
    char name[NAME];

    if (spaces->file == NULL) {
        imagine_rows(k, first, rows, width_of(spaces, k), Z);
        return MLTFR_OK;
    }
    array_name(name, k, spaces->K, "/Z");
    MLTFR_TRY(mltfr_file_read(spaces->file, name, MLTFR_F32, first, rows, Z));
    MLTFR_AGREE(spaces->comm, check_rows(spaces, name, first, rows, width_of(spaces, k), Z));
done:
    return st;
}

/* Offsets of `rows` strings, of a file that may be damaged: rising, within `total` bytes. */
static mltfr_status check_offsets(const mltfr_spaces *s, int64_t k, int64_t total, int64_t rows,
                                  const int64_t *offsets)
{
    bool good = offsets[0] >= 0 && offsets[rows] <= total;

    for (int64_t i = 0; i < rows; i++)
        good &= offsets[i] <= offsets[i + 1];
    if (good)
        return MLTFR_OK;
    return mltfr_fail(MLTFR_E_DATA, "%s: the offsets of the strings of space %lld are damaged",
                      mltfr_file_path(s->file), (long long)k);
}

mltfr_status mltfr_spaces_strings(mltfr_spaces *spaces, int64_t k, int64_t first, int64_t rows,
                                  char **bytes, int64_t **offsets)
{
    mltfr_status st = MLTFR_OK;
    mltfr_shape shape;
    char name[NAME], chars[NAME], *b = NULL;
    int64_t *at = NULL;

    *bytes = NULL;
    *offsets = NULL;
    array_name(name, k, spaces->K, "/strings_offsets");
    array_name(chars, k, spaces->K, "/strings_bytes");
    MLTFR_AGREE(spaces->comm, MLTFR_NEW(at, rows + 1));
    if (mltfr_file_has(spaces->file, name)) {
        MLTFR_AGREE(spaces->comm, mltfr_file_shape(spaces->file, chars, &shape));
        MLTFR_TRY(mltfr_file_read_list(spaces->file, name, MLTFR_I64, first, rows + 1, at));
        MLTFR_AGREE(spaces->comm, check_offsets(spaces, k, shape.dims[0], rows, at));
    }
    MLTFR_AGREE(spaces->comm, MLTFR_NEW(b, at[rows] - at[0] + 1));
    if (mltfr_file_has(spaces->file, name))
        MLTFR_TRY(mltfr_file_read_list(spaces->file, chars, MLTFR_U8, at[0], at[rows] - at[0], b));
    for (int64_t i = rows; i >= 0; i--)
        at[i] -= at[0];
    *bytes = b;
    *offsets = at;
    b = NULL;
    at = NULL;
done:
    MLTFR_FREE(b);
    MLTFR_FREE(at);
    return st;
}

/* The digest of what is in the file: each rank its share, some rows at a time. */
static mltfr_status digest_content(mltfr_spaces *s, uint64_t *out)
{
    mltfr_status st = MLTFR_OK;
    const int64_t step = 4096;
    int size = mltfr_comm_size(s->comm), rank = mltfr_comm_rank(s->comm);
    uint64_t sum = 0;
    float *Z = NULL;

    MLTFR_AGREE(s->comm, MLTFR_NEW(Z, step * (s->r_c + s->r_s)));
    for (int64_t k = 0; k <= s->K; k++)
        for (int64_t at = 0; at < s->rows[k]; at += step * size) {
            int64_t first = at + step * rank, left = s->rows[k] - first;
            int64_t rows = left < 0 ? 0 : left < step ? left : step;
            first = first < s->rows[k] ? first : s->rows[k];
            MLTFR_TRY(mltfr_spaces_read(s, k, first, rows, Z));
            sum += digest_rows(k, first, rows, width_of(s, k), Z);
        }
    *out = digest_total(s->comm, sum);
done:
    MLTFR_FREE(Z);
    return st;
}

mltfr_status mltfr_spaces_verify(mltfr_spaces *spaces)
{
    uint64_t digest = 0;
    mltfr_status st = digest_content(spaces, &digest);

    if (st == MLTFR_OK && digest != spaces->digest)
        st = mltfr_fail(MLTFR_E_DATA,
                        "%s: the token spaces are damaged: digest %016llx, written as %016llx",
                        mltfr_file_path(spaces->file), (unsigned long long)digest,
                        (unsigned long long)spaces->digest);
    return st;
}

/* ---- open ---------------------------------------------------------------------------------- */

static mltfr_status check_format(mltfr_file *file)
{
    mltfr_status st = MLTFR_OK;
    const char *path = mltfr_file_path(file);
    char *format = NULL;
    int64_t version;

    if (!mltfr_file_has(file, "spaces"))
        MLTFR_FAIL(MLTFR_E_DATA, "%s: holds no token spaces (group 'spaces')", path);
    MLTFR_TRY(mltfr_file_get_text(file, "spaces", "format", &format));
    MLTFR_TRY(mltfr_file_get_i64(file, "spaces", "version", &version));
    if (strcmp(format, FORMAT) != 0 || version != VERSION)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: token spaces of format '%s' %lld, '%s' %d is read", path,
                   format, (long long)version, FORMAT, VERSION);
done:
    MLTFR_FREE(format);
    return st;
}

static mltfr_status read_sizes(mltfr_spaces *s)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(mltfr_file_get_i64(s->file, "spaces", "K", &s->K));
    MLTFR_TRY(mltfr_file_get_i64(s->file, "spaces", "shared_dim", &s->r_c));
    MLTFR_TRY(mltfr_file_get_i64(s->file, "spaces", "specific_dim", &s->r_s));
    if (s->K < 1 || s->K > MLTFR_MAX_LLMS || s->r_c < 1 || s->r_s < 0)
        MLTFR_FAIL(MLTFR_E_DATA,
                   "%s: %lld token spaces of %lld + %lld dimensions: at least 1 of "
                   "1 + 0 and at most %d are allowed",
                   mltfr_file_path(s->file), (long long)s->K, (long long)s->r_c, (long long)s->r_s,
                   MLTFR_MAX_LLMS);
done:
    return st;
}

/* Rows and name of space k. */
static mltfr_status read_space(mltfr_spaces *s, int64_t k)
{
    mltfr_status st = MLTFR_OK;
    int64_t width = width_of(s, k);
    char name[NAME], *text = NULL;
    mltfr_shape shape;

    array_name(name, k, s->K, "/Z");
    MLTFR_TRY(mltfr_file_shape(s->file, name, &shape));
    if (shape.ndim != 2 || shape.dims[0] < 1 || shape.dims[1] != width)
        MLTFR_FAIL(MLTFR_E_DATA, "%s: array '%s' has %lld x %lld elements, rows of %lld are needed",
                   mltfr_file_path(s->file), name, (long long)(shape.ndim > 0 ? shape.dims[0] : 1),
                   (long long)(shape.ndim > 1 ? shape.dims[1] : 1), (long long)width);
    s->rows[k] = shape.dims[0];
    if (k == s->K)
        goto done;
    array_name(name, k, s->K, "");
    MLTFR_TRY(mltfr_file_get_text(s->file, name, "name", &text));
    snprintf(s->names[k], sizeof s->names[k], "%s", text);
done:
    MLTFR_FREE(text);
    return st;
}

static mltfr_status read_header(mltfr_spaces *s)
{
    mltfr_status st = MLTFR_OK;

    MLTFR_TRY(check_format(s->file));
    MLTFR_TRY(read_sizes(s));
    for (int64_t k = 0; k <= s->K; k++)
        MLTFR_TRY(read_space(s, k));
done:
    return st;
}

static mltfr_status read_digest(mltfr_spaces *s)
{
    mltfr_status st = MLTFR_OK;
    int64_t digest = 0;

    if (!mltfr_file_has_attr(s->file, "spaces", "digest"))
        return digest_content(s, &s->digest);
    MLTFR_AGREE(s->comm, mltfr_file_get_i64(s->file, "spaces", "digest", &digest));
    s->digest = (uint64_t)digest;
done:
    return st;
}

mltfr_status mltfr_spaces_open(mltfr_comm *comm, const char *path, mltfr_spaces **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_spaces *s = NULL;

    *out = NULL;
    MLTFR_AGREE(comm, MLTFR_NEW(s, 1));
    s->comm = comm;
    MLTFR_TRY(mltfr_file_open(comm, path, &s->file));
    MLTFR_AGREE(comm, read_header(s));
    MLTFR_TRY(read_digest(s));
    *out = s;
    s = NULL;
done:
    mltfr_spaces_close(&s);
    return st;
}

void mltfr_spaces_close(mltfr_spaces **spaces)
{
    if (*spaces == NULL)
        return;
    mltfr_file_destroy(&(*spaces)->file);
    MLTFR_FREE(*spaces);
}
