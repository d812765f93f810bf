/* Planted token tables for tests of conditioning, and what is read back of the spaces made of them.
 *
 * Words have a common latent vector, seen through a matrix of an LLM's own, and noise; LLM k lacks
 * every (7 + k)-th word.  The first rows are a special, a byte and an unused token. */
#ifndef MLTFR_TEST_TOKEN_TABLES_H
#define MLTFR_TEST_TOKEN_TABLES_H

#include "mpi_test.h"

#include <mltfr/conditioning.h>
#include <mltfr/log.h>
#include <mltfr/rng.h>

#include <math.h>
#include <string.h>

enum { WORDS = 500, EXTRA = 3, LATENT = 6, LLMS = 5, MOST_WIDTH = 64 };

typedef struct {
    int k;
    int64_t width;
    double scale;
    bool shuffled;
    int64_t bad_row; /* holds a NaN; -1: none */
    int64_t family;  /* words of one family mean nearly the same; 1: none do */
    int64_t named;   /* only the first words have a string that others may share */
    double cased;    /* not 0: words come twice, as Word and word, this far from their mean */
    double turned;   /* rows of LLM 0, of its width, turned and with this noise; 0: as above */
} planted;

static double planted_normal(int what, int64_t i, int64_t j)
{
    return mltfr_rng_normal(mltfr_rng_key((uint64_t)what, MLTFR_RNG_SYNTHETIC, (uint64_t)i),
                            (uint64_t)j);
}

static double latent(const planted *p, int64_t word, int64_t t)
{
    double own = planted_normal(1, word, t);

    return p->family > 1 ? planted_normal(2, word / p->family, t) + .2 * own : own;
}

static double planted_value(const planted *p, int64_t word, int64_t j)
{
    double x = 2 + .3 * planted_normal(10 + p->k, word, j);

    for (int64_t t = 0; t < LATENT; t++)
        x += latent(p, word, t) * planted_normal(20 + p->k, t, j);
    return x;
}

/* A row of fading normals, reflected at as many mirrors as LLM k has numbers: a rotation. */
static void turned_row(const planted *p, int64_t word, double *x)
{
    for (int64_t j = 0; j < p->width; j++)
        x[j] = planted_normal(1, word, j) / (1 + .2 * (double)j) +
               p->turned * planted_normal(10 + p->k, word, j);
    for (int m = 0; m < 4 * p->k; m++) {
        double dot = 0, square = 0;
        for (int64_t j = 0; j < p->width; j++) {
            double n = planted_normal(30 + p->k, m, j);
            dot += n * x[j];
            square += n * n;
        }
        for (int64_t j = 0; j < p->width; j++)
            x[j] -= 2 * dot / square * planted_normal(30 + p->k, m, j);
    }
}

static void make_row(const planted *p, int64_t row, float *out)
{
    int64_t word = row - EXTRA, from = p->shuffled && word >= 0 ? (word * 77 + 13) % WORDS : word;
    double turned[MOST_WIDTH];

    if (p->cased > 0)
        from %= WORDS / 2;
    if (p->turned > 0)
        turned_row(p, from, turned);
    for (int64_t j = 0; j < p->width; j++) {
        double x = p->turned > 0 ? turned[j] : planted_value(p, from, j);
        x += (from == word ? 1 : -1) * p->cased * planted_normal(40 + p->k, from, j);
        out[j] = row == p->bad_row ? NAN : (float)(p->scale * x);
    }
}

/* Tables are read often: the last one made for each LLM is kept. */
static mltfr_status planted_read(void *context, int64_t first, int64_t rows, void *out)
{
    static float kept[LLMS][(WORDS + EXTRA) * MOST_WIDTH];
    static planted made[LLMS];
    const planted *p = context;

    if (memcmp(&made[p->k], p, sizeof *p) != 0)
        for (int64_t i = 0; i < WORDS + EXTRA; i++)
            make_row(p, i, kept[p->k] + i * p->width);
    memcpy(&made[p->k], p, sizeof *p);
    memcpy(out, kept[p->k] + first * p->width, (size_t)(rows * p->width) * sizeof(float));
    return MLTFR_OK;
}

static const char *planted_string(void *context, int64_t row, size_t *bytes)
{
    const planted *p = context;
    static const char *const extra[EXTRA] = {"<s>", "<0x0A>", "<unused7>"};
    static char text[32];
    int64_t word = row - EXTRA;
    char first = p->k == 1 ? 'A' : 'a';

    if (p->cased > 0 && word >= WORDS / 2) {
        word -= WORDS / 2;
        first = 'a';
    }
    if (row < EXTRA)
        snprintf(text, sizeof text, "%s", extra[row]);
    else if (word % (7 + p->k) == 0 || word >= p->named)
        snprintf(text, sizeof text, "#%d", (int)word);
    else
        snprintf(text, sizeof text, "%s%c%c%c", p->k == 0 ? "\xc4\xa0" : "",
                 (char)(first + word / 26 / 26), (char)('a' + word / 26 % 26),
                 (char)('a' + word % 26));
    *bytes = strlen(text);
    return text;
}

static bool planted_special(void *context, int64_t row)
{
    (void)context;
    return row == 0;
}

static inline planted default_table(int k)
{
    static const int64_t widths[LLMS] = {24, 40, 32, 28, 36};

    return (planted){
        .k = k, .width = widths[k], .scale = 1, .bad_row = -1, .family = 1, .named = WORDS};
}

static inline mltfr_table_source source_of(planted *p)
{
    static const char *const names[LLMS] = {"alpha", "beta", "gamma", "delta", "epsilon"};

    return (mltfr_table_source){.context = p,
                                .name = names[p->k],
                                .rows = WORDS + EXTRA,
                                .width = p->width,
                                .read = planted_read,
                                .string = planted_string,
                                .special = planted_special};
}

static inline mltfr_conditioning_options small_options(void)
{
    mltfr_conditioning_options o = mltfr_conditioning_defaults();

    o.shared_dim = LATENT;
    o.specific_dim = 8;
    o.block_rows = 64;
    return o;
}

static inline mltfr_status make(mltfr_comm *comm, planted tables[], int64_t count,
                                const mltfr_conditioning_options *o, const char *path,
                                mltfr_conditioning_report *report)
{
    mltfr_table_source sources[LLMS];

    for (int64_t k = 0; k < count; k++)
        sources[k] = source_of(&tables[k]);
    return mltfr_condition(comm, sources, count, o, path, report);
}

/* All rows of space k on every rank. */
static inline float *read_space(mltfr_comm *comm, const char *path, int64_t k, int64_t *count)
{
    mltfr_spaces *spaces;
    float *Z;

    MUST(mltfr_spaces_open(comm, path, &spaces));
    *count = spaces->rows[k] * (k < spaces->K ? spaces->r_c + spaces->r_s : spaces->r_c);
    MUST(MLTFR_NEW(Z, *count));
    MUST(mltfr_spaces_read(spaces, k, 0, spaces->rows[k], Z));
    mltfr_spaces_close(&spaces);
    return Z;
}

/* The largest difference between space k of two files, of which b's values count `factor` times. */
static inline double differ(mltfr_comm *comm, const char *a, const char *b, int64_t k,
                            double factor)
{
    int64_t n, m;
    float *x = read_space(comm, a, k, &n), *y = read_space(comm, b, k, &m);
    double worst = n == m ? 0 : INFINITY;

    for (int64_t i = 0; n == m && i < n; i++)
        worst = fmax(worst, fabs((double)x[i] - factor * (double)y[i]));
    MLTFR_FREE(x);
    MLTFR_FREE(y);
    return worst;
}

#endif
