/* What the backbones share: where a pass is, how memory is cut, norms, dropout, the embedding. */
#ifndef MLTFR_MODEL_BACKBONE_IMPL_H
#define MLTFR_MODEL_BACKBONE_IMPL_H

#include <mltfr/backbone.h>
#include <mltfr/ops.h>

/* Where forward and backward are: the shape and the rows. */
typedef struct {
    const mltfr_backbone_shape *shape;
    const mltfr_user_block *block;
    int64_t n;
} mltfr_backbone_pass;

/* One of them; arguments are those of mltfr/backbone.h. */
typedef struct {
    int64_t (*kept)(const mltfr_backbone_shape *shape, int64_t n);
    int64_t (*scratch)(const mltfr_backbone_shape *shape, int64_t n);
    void (*forward)(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                    const float *x, float *kept, float *scratch, float *h);
    void (*backward)(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                     const float *kept, float *scratch, float *dh, const mltfr_backbone_weights *dw,
                     float *dx);
} mltfr_backbone_kind;

extern const mltfr_backbone_kind mltfr_sasrec, mltfr_bsarec, mltfr_gru4rec;

/* Hands out parts of a buffer, or only counts where it is NULL. */
typedef struct {
    float *base;
    int64_t used;
} mltfr_carver;

float *mltfr_carve(mltfr_carver *carver, int64_t floats);

/* A layer norm's output before gain and bias, and its 1 / sqrt(var + eps). */
typedef struct {
    float *hat, *rstd; /* [n][d], [n] */
} mltfr_norm_kept;

mltfr_norm_kept mltfr_carve_norm(mltfr_carver *carver, int64_t n, int64_t d);

/* A layer norm's gain and bias, and their gradients. */
typedef struct {
    float *w, *b, *dw, *db;
} mltfr_norm_pair;

/* y may be x. */
void mltfr_backbone_norm(const mltfr_backbone_pass *pass, float *w, float *b,
                         const mltfr_norm_kept *kept, const float *x, float *y);
/* The gradient is added to dx, or stored there; dx may then be dy. */
void mltfr_backbone_norm_back(const mltfr_backbone_pass *pass, mltfr_norm_pair p,
                              const mltfr_norm_kept *kept, const float *dy, bool add, float *dx);

/* y = base + drop(x) at a site.  The same call with the gradient for x and NULL for base is the
 * backward.  Sites of layer b: of attention, of the feed-forward, of what else it has. */
#define MLTFR_SITE_EMBEDDING    0
#define MLTFR_SITE_ATTENTION(b) (1 + 2 * (b))
#define MLTFR_SITE_FFN(b)       (2 + 2 * (b))
#define MLTFR_SITE_OTHER(b)     (1 + 2 * MLTFR_MAX_LAYERS + (b))
void mltfr_backbone_drop(const mltfr_backbone_pass *pass, int site, const float *x,
                         const float *base, float *y);

/* E1: x + pos of the right-aligned positions, where there are any, normalised, dropped. */
void mltfr_backbone_embed(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                          const mltfr_norm_kept *kept, const float *x, float *out);
/* dh: gradient of what embed gave, overwritten. */
void mltfr_backbone_embed_back(const mltfr_backbone_pass *pass, const mltfr_backbone_weights *w,
                               const mltfr_norm_kept *kept, float *dh,
                               const mltfr_backbone_weights *dw, float *dx);

#endif
