/* One step of each golden training file, loaded, run and written by the functions of training; and
 * the table of parameters has the names and shapes of the files. */
#include "golden.h"
#include "mpi_test.h"

#include <mltfr/file.h>
#include <mltfr/log.h>
#include <mltfr/params.h>
#include <mltfr/spaces.h>
#include <mltfr/trainer.h>

#include <string.h>
#include <unistd.h>

static void test_replay(mltfr_comm *comm, const char *name)
{
    char out[128];

    snprintf(out, sizeof out, "train_golden.np%d.%s", mltfr_comm_size(comm), name);
    MUST(mltfr_replay(comm, golden_path(name), out));
    const int faults = golden_compare(comm, golden_path(name), out, 1e-4, "expect/logits");

    CHECK(faults == 0, "%s: %d faults", name, faults);
    mltfr_comm_barrier(comm);
    if (mltfr_comm_rank(comm) == 0)
        unlink(out);
}

static int64_t integer(mltfr_file *file, const char *name)
{
    int64_t value = 0;

    MUST(mltfr_file_get_i64(file, "/", name, &value));
    return value;
}

static int backbone(mltfr_file *file)
{
    char *word = NULL;
    int kind = MLTFR_MODEL_BACKBONE_SASREC;

    if (!mltfr_file_has_attr(file, "/", "backbone"))
        return kind;
    MUST(mltfr_file_get_text(file, "/", "backbone", &word));
    kind = word[0] == 'b' ? MLTFR_MODEL_BACKBONE_BSAREC : MLTFR_MODEL_BACKBONE_GRU4REC;
    MLTFR_FREE(word);
    return kind;
}

static mltfr_params_spec spec_of(mltfr_file *file)
{
    return (mltfr_params_spec){.backbone = {.kind = backbone(file),
                                            .d = integer(file, "d"),
                                            .layers = integer(file, "n_layers"),
                                            .heads = integer(file, "n_heads"),
                                            .max_len = integer(file, "L"),
                                            .pre_norm = integer(file, "norm_post") == 0},
                               .items = integer(file, "n_items"),
                               .experts = true,
                               .inject = integer(file, "inject") != 0,
                               .K = integer(file, "K"),
                               .r_c = integer(file, "r_c"),
                               .r_s = integer(file, "r_s")};
}

typedef struct {
    const mltfr_params *params;
    const char *group;
    int64_t count;
} names;

static mltfr_status find_name(void *context, const char *path, const mltfr_shape *shape)
{
    names *x = context;
    const size_t n = strlen(x->group);
    const mltfr_tensor *t;

    if (strncmp(path, x->group, n) != 0)
        return MLTFR_OK;
    x->count++;
    t = mltfr_params_find(x->params, path + n);
    CHECK(t != NULL, "%s is in no table", path);
    for (int i = 0; t != NULL && i < shape->ndim; i++)
        CHECK(shape->ndim == t->ndim && shape->dims[i] == t->dims[i], "%s: shape", path);
    return MLTFR_OK;
}

static void test_names(mltfr_comm *comm, const char *name)
{
    bool holds[MLTFR_MAX_LLMS];
    mltfr_params *params;
    mltfr_file *file;
    int64_t trained = 0;

    memset(holds, true, sizeof holds);
    MUST(mltfr_file_open(comm, golden_path(name), &file));
    const mltfr_params_spec spec = spec_of(file);

    MUST(mltfr_params_create(&spec, 0, spec.items, holds, &params));
    names all = {params, "params/", 0}, moments = {params, "adam/m/", 0};

    MUST(mltfr_file_visit(file, find_name, &all));
    MUST(mltfr_file_visit(file, find_name, &moments));
    for (int64_t i = 0; i < params->count; i++)
        trained += params->tensor[i].trained;
    CHECK(all.count == params->count, "%s: %d tensors, the table has %d", name, (int)all.count,
          (int)params->count);
    CHECK(moments.count == trained, "%s: %d moments, the table has %d", name, (int)moments.count,
          (int)trained);
    mltfr_params_destroy(&params);
    mltfr_file_destroy(&file);
}

int main(int argc, char **argv)
{
    static const char *const files[] = {"golden_small.h5", "golden_top1.h5", "golden_mixed.h5",
                                        "golden_bsarec.h5", "golden_gru4rec.h5"};
    mltfr_comm *comm;

    MUST(mltfr_comm_start(&argc, &argv, &comm));
    mltfr_log_setup(mltfr_comm_rank(comm), true);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        test_replay(comm, files[i]);
        test_names(comm, files[i]);
    }
    return mpi_test_end(&comm);
}
