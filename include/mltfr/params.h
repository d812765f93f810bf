/** @file mltfr/params.h
 *  The table of all parameters.  Offsets, checkpoint names, the optimiser and the golden tests walk
 *  this one table; names and layouts are those of the golden files.  Layer: model.  @local
 *
 *      slab item        rows of items this rank owns          item.weight [rows][d]
 *      slab dense       small, the same on every rank         backbone, router, gate, consensus
 *      slab expert k    held by the ranks that share LLM k    expert<k>.wq, wv, log_tau          */
#ifndef MLTFR_PARAMS_H
#define MLTFR_PARAMS_H

#include <mltfr/backbone.h>
#include <mltfr/router.h>
#include <mltfr/status.h>

typedef enum { MLTFR_PLACE_ITEM, MLTFR_PLACE_DENSE, MLTFR_PLACE_EXPERT } mltfr_place;

typedef struct {
    char name[40];
    int ndim;
    int64_t dims[2]; /**< of the whole tensor; dims[1] = 1 for vectors */
    mltfr_place place;
    int64_t expert;      /**< MLTFR_PLACE_EXPERT: k */
    int64_t offset;      /**< floats into its slab */
    bool part_of_sasrec; /**< trained from the first step; the others from the start of experts */
    bool trained;        /**< takes a gradient and has Adam state */
} mltfr_tensor;

/** Values, gradient and Adam's moments of one slab, each [n]; one allocation each. */
typedef struct {
    int64_t n;
    float *w, *g, *m, *v;
} mltfr_slab;

/** What there is to be parametrised. */
typedef struct {
    mltfr_backbone_shape backbone;
    int64_t items;           /**< I */
    bool experts;            /**< false: none of their tensors exist */
    bool inject;             /**< inject.w exists */
    bool train_consensus_wv; /**< fisher.rule none: consensus.wv takes a gradient */
    int64_t K, r_c, r_s;
} mltfr_params_spec;

typedef struct {
    mltfr_params_spec spec;
    int64_t item_first, item_rows; /**< rows of item.weight on this rank */
    int64_t count;
    mltfr_tensor *tensor; /**< [count], in canonical order */
    mltfr_slab item, dense;
    mltfr_slab *expert;                /**< [K]; n = 0 where this rank does not hold LLM k */
    mltfr_backbone_weights backbone_w; /**< views of the dense slab's values */
    mltfr_router_weights router_w;
} mltfr_params;

/** @param holds  [K]: this rank shares LLM k
 *  @param out    zero values; owned by the caller */
mltfr_status mltfr_params_create(const mltfr_params_spec *spec, int64_t item_first,
                                 int64_t item_rows, const bool holds[], mltfr_params **out);
/** Make room for the parameters of LLM k where there is none; zero values. */
mltfr_status mltfr_params_hold(mltfr_params *params, int64_t k);
void mltfr_params_destroy(mltfr_params **params);

/** Views of a copy of the dense slab that starts at its offset `from` (a leaf of gradients). */
void mltfr_params_view_backbone(const mltfr_params *params, float *base, int64_t from,
                                mltfr_backbone_weights *out);
void mltfr_params_view_router(const mltfr_params *params, float *base, int64_t from,
                              mltfr_router_weights *out);

/** Numbers of a backbone's tensors, by formula. */
int64_t mltfr_backbone_numbers(const mltfr_backbone_shape *shape);

/** Offset in the dense slab where the backbone ends and the experts' tensors begin. */
int64_t mltfr_params_backbone_end(const mltfr_params *params);

/** The tensor of this name, or NULL. */
const mltfr_tensor *mltfr_params_find(const mltfr_params *params, const char *name);

/** Its slab. */
mltfr_slab *mltfr_params_slab(mltfr_params *params, const mltfr_tensor *tensor);

/** Elements of a tensor that this rank holds (its rows of item.weight; else all or none). */
int64_t mltfr_params_local(const mltfr_params *params, const mltfr_tensor *tensor);

/** Offset in the dense slab of a tensor that must exist. */
int64_t mltfr_params_offset(const mltfr_params *params, const char *name);

/** Draw the start values (method, Init) by hash of (seed, tensor, global index): W_q with
 *  orthonormal rows (columns where d > r), W_v = 0, gates 0. */
mltfr_status mltfr_params_init(mltfr_params *params, uint64_t seed);

#endif
