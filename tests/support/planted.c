#include "planted.h"

#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/spaces.h>

#include <stdio.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) != MLTFR_OK)                                                                    \
            mltfr_panic("%s: %s", #call, mltfr_error_text);                                        \
    } while (0)

planted planted_defaults(void)
{
    return (planted){.synthetic = {.users = 140,
                                   .items = 70,
                                   .clusters = 7,
                                   .llms = 2,
                                   .shared_dim = 8,
                                   .specific_dim = 6,
                                   .seed = 3},
                     .copies = 1};
}

/* Row `to` of what is written comes from row `from` of the synthetic space. */
static void copy_row(const planted *p, int64_t k, int64_t from, int64_t rows, int64_t width,
                     const float *synthetic, float *to)
{
    const uint64_t key =
        mltfr_rng_key(p->synthetic.seed + 1, MLTFR_RNG_SYNTHETIC, (uint64_t)(k << 32 | from));
    const float noise = from / rows % 2 == 0 ? 0.f : .05f;
    const float scale = k == p->scaled && p->scale > 0. ? (float)p->scale : 1.f;

    for (int64_t j = 0; j < width; j++)
        to[j] = scale * (synthetic[from % rows * width + j] +
                         noise * (float)mltfr_rng_normal(key, (uint64_t)j));
}

/* This rank's rows of space k; the consensus space has one copy, in order. */
static void make_space(mltfr_comm *comm, const planted *p, int64_t k, float **Z, mltfr_space *out)
{
    const bool consensus = k == p->synthetic.llms;
    const int size = mltfr_comm_size(comm), rank = mltfr_comm_rank(comm);
    int64_t rows, width;
    float *synthetic;

    MUST(mltfr_synthetic_space(&p->synthetic, k, &rows, &width, &synthetic));
    out->name = consensus ? NULL : "planted";
    out->rows = consensus ? rows : rows * p->copies;
    out->first = mltfr_share_first(out->rows, size, rank);
    out->count = mltfr_share_first(out->rows, size, rank + 1) - out->first;
    MUST(MLTFR_NEW(*Z, out->count * width));
    for (int64_t i = 0; i < out->count; i++) {
        int64_t from = out->first + i;
        if (p->permuted && !consensus)
            from = (int64_t)mltfr_rng_permute(99, (uint64_t)out->rows, (uint64_t)from);
        copy_row(p, k, from, rows, width, synthetic, *Z + i * width);
    }
    out->Z = *Z;
    MLTFR_FREE(synthetic);
}

void planted_write(mltfr_comm *comm, const char *path, const planted *p)
{
    const mltfr_synthetic_spec *spec = &p->synthetic;
    float *Z[MLTFR_MAX_LLMS + 1] = {0};
    mltfr_space spaces[MLTFR_MAX_LLMS + 1] = {{0}};
    mltfr_interactions *data;
    mltfr_file *file;

    MUST(mltfr_synthetic_make(spec, &data));
    MUST(mltfr_interactions_write(comm, path, data));
    mltfr_interactions_destroy(&data);
    for (int64_t k = 0; k <= spec->llms; k++)
        make_space(comm, p, k, &Z[k], &spaces[k]);
    MUST(mltfr_file_append(comm, path, &file));
    MUST(mltfr_spaces_write(comm, file, spec->llms, spec->shared_dim, spec->specific_dim, "planted",
                            spaces));
    MUST(mltfr_file_seal(&file));
    for (int64_t k = 0; k <= spec->llms; k++)
        MLTFR_FREE(Z[k]);
}

mltfr_settings planted_settings(const char *path)
{
    mltfr_settings set = mltfr_settings_defaults();

    set.data_path = path;
    set.data_max_len = 20;
    set.model_dim = 16;
    set.model_blocks = 1;
    set.model_dropout = .2;
    set.filter_pool = 48;
    set.filter_top_m = 6;
    set.fisher_start = 4;
    set.fisher_every = 4;
    set.fisher_sample_every = 2;
    set.fisher_rows = 100;
    set.train_batch = 40;
    set.train_epochs = 4;
    set.train_warmup_epochs = 1;
    set.train_lr = 5e-3;
    return set;
}
