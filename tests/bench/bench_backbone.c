/* Rates of the backbone, forward and backward, and of the softmax tile on one core:
 * bench_backbone [d layers heads].  GF/s counts the products of weights and of attention. */
#include <mltfr/attention.h>
#include <mltfr/backbone.h>
#include <mltfr/log.h>
#include <mltfr/mem.h>
#include <mltfr/rng.h>
#include <mltfr/softmax.h>

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 256, LENGTH = 50 };

static mltfr_status random_floats(int64_t n, float scale, float **out)
{
    mltfr_status st = MLTFR_NEW(*out, n);

    for (int64_t i = 0; st == MLTFR_OK && i < n; i++)
        (*out)[i] =
            scale * (float)mltfr_rng_normal(mltfr_rng_key(1, MLTFR_RNG_SYNTHETIC, 0), (uint64_t)i);
    return st;
}

/* Views into a slab; returns its floats (slab may be NULL: count only). */
static int64_t cut_weights(const mltfr_backbone_shape *s, float *slab, mltfr_backbone_weights *w)
{
    const int64_t d = s->d, sizes[16] = {d, d, d * d, d * d, d * d,     d * d, d,         d,
                                         d, d, d,     d,     4 * d * d, 4 * d, 4 * d * d, d};
    int64_t used = s->max_len * d + 2 * d;

    *w = (mltfr_backbone_weights){.pos = slab};
    if (slab) {
        w->emb_ln_w = slab + s->max_len * d;
        w->emb_ln_b = w->emb_ln_w + d;
    }
    for (int64_t b = 0; b < s->layers; b++) {
        struct mltfr_layer_weights *l = &w->layer[b];
        float **field[16] = {&l->ln1_w, &l->ln1_b, &l->wq, &l->wk, &l->wv,    &l->wo,
                             &l->bq,    &l->bk,    &l->bv, &l->bo, &l->ln2_w, &l->ln2_b,
                             &l->w1,    &l->b1,    &l->w2, &l->b2};

        for (int i = 0; i < 16; used += sizes[i++])
            *field[i] = slab ? slab + used : NULL;
    }
    return used;
}

static double flop_per_row(const mltfr_backbone_shape *s, double length)
{
    const double d = (double)s->d;

    return (double)s->layers * (3. * 2. * 12. * d * d + 7. * (length + 1.) * d);
}

static mltfr_status bench_backbone(const mltfr_backbone_shape *s, int32_t length)
{
    mltfr_status st = MLTFR_OK;
    mltfr_backbone_weights w, dw;
    int32_t off[ROWS + 1] = {0};
    const int64_t users = ROWS / length, n = users * length, floats = cut_weights(s, NULL, &w);
    float *slab = NULL, *grad = NULL, *x = NULL, *h = NULL, *kept = NULL, *scratch = NULL;
    const mltfr_user_block block = {users, off, 0, 1, 1, true};
    double seconds[2] = {0., 0.};
    int rounds = 0;

    for (int64_t u = 0; u < users; u++)
        off[u + 1] = off[u] + length;
    MLTFR_TRY(random_floats(floats, .1f, &slab));
    MLTFR_TRY(random_floats(floats, 0.f, &grad));
    MLTFR_TRY(random_floats(n * s->d, 1.f, &x));
    MLTFR_TRY(random_floats(n * s->d, 1.f, &h));
    MLTFR_TRY(MLTFR_NEW(kept, mltfr_backbone_kept(s, n)));
    MLTFR_TRY(MLTFR_NEW(scratch, mltfr_backbone_scratch(s, n)));
    cut_weights(s, slab, &w);
    cut_weights(s, grad, &dw);
    for (double start = mltfr_seconds(); mltfr_seconds() < start + 1.; rounds++) {
        double t0 = mltfr_seconds(), t1;

        mltfr_backbone_forward(s, &w, &block, x, kept, scratch, h);
        t1 = mltfr_seconds();
        mltfr_backbone_backward(s, &w, &block, kept, scratch, h, &dw, x);
        seconds[0] += t1 - t0;
        seconds[1] += mltfr_seconds() - t1;
    }
    double rows = (double)n * rounds, both = seconds[0] + seconds[1];

    printf("backbone d=%d layers=%d heads=%d length=%-3d %9.0f rows/s %6.1f GF/s"
           " (forward %.2f us/row, backward %.2f us/row)\n",
           (int)s->d, (int)s->layers, (int)s->heads, length, rows / both,
           rows * flop_per_row(s, length) / both * 1e-9, seconds[0] / rows * 1e6,
           seconds[1] / rows * 1e6);
done:
    MLTFR_FREE(slab);
    MLTFR_FREE(grad);
    MLTFR_FREE(x);
    MLTFR_FREE(h);
    MLTFR_FREE(kept);
    MLTFR_FREE(scratch);
    return st;
}

static mltfr_status bench_attention(int64_t d, int64_t heads, int64_t n)
{
    mltfr_status st = MLTFR_OK;
    float *x = NULL, *scratch = NULL;
    double seconds[2] = {0., 0.}, rows = 0.;

    MLTFR_TRY(random_floats(9 * n * d, 1.f, &x));
    MLTFR_TRY(MLTFR_NEW(scratch, mltfr_attention_scratch(n, d, heads)));
    float *part[9];

    for (int i = 0; i < 9; i++)
        part[i] = x + i * n * d;
    const mltfr_attention att = {n, d, heads, part[0], part[1], part[2]};
    const mltfr_attention_grad grad = {part[5], part[6], part[7]};

    for (double start = mltfr_seconds(); mltfr_seconds() < start + .3; rows += (double)(100 * n)) {
        double t0 = mltfr_seconds(), t1;

        for (int i = 0; i < 100; i++)
            mltfr_attention_forward(&att, scratch, part[8], part[3]);
        t1 = mltfr_seconds();
        for (int i = 0; i < 100; i++)
            mltfr_attention_backward(&att, part[8], part[3], part[4], scratch, &grad);
        seconds[0] += t1 - t0;
        seconds[1] += mltfr_seconds() - t1;
    }
    printf("attention n=%-3d forward %.3f us/row %5.1f GF/s, backward %.3f us/row %5.1f GF/s\n",
           (int)n, seconds[0] / rows * 1e6, 2. * (double)((n + 1) * d) * rows / seconds[0] * 1e-9,
           seconds[1] / rows * 1e6, 5. * (double)((n + 1) * d) * rows / seconds[1] * 1e-9);
done:
    MLTFR_FREE(x);
    MLTFR_FREE(scratch);
    return st;
}

static mltfr_status bench_tile(int64_t cols)
{
    mltfr_status st = MLTFR_OK;
    float *tile = NULL, *top = NULL, *sum = NULL;
    double start, count = 0.;

    MLTFR_TRY(random_floats(ROWS * cols, 1.f, &tile));
    MLTFR_TRY(MLTFR_NEW(top, cols));
    MLTFR_TRY(MLTFR_NEW(sum, cols));
    for (start = mltfr_seconds(); mltfr_seconds() < start + .5; count += (double)(ROWS * cols))
        mltfr_tile_exp(ROWS, cols, tile, cols, top, sum);
    printf("softmax tile %d x %d: %.2f G exp/s\n", ROWS, (int)cols,
           count / (mltfr_seconds() - start) * 1e-9);
done:
    MLTFR_FREE(tile);
    MLTFR_FREE(top);
    MLTFR_FREE(sum);
    return st;
}

int main(int argc, char **argv)
{
    mltfr_backbone_shape shape = {0, 64, 2, 2, LENGTH, false, 1e-5f, .5f, 0, 0.f};
    mltfr_status st = MLTFR_OK;

    if (argc > 3) {
        shape.d = atoi(argv[1]);
        shape.layers = atoi(argv[2]);
        shape.heads = atoi(argv[3]);
    }
    MLTFR_TRY(bench_backbone(&shape, LENGTH));
    MLTFR_TRY(bench_backbone(&shape, 6));
    MLTFR_TRY(bench_attention(shape.d, shape.heads, LENGTH));
    MLTFR_TRY(bench_attention(shape.d, shape.heads, 6));
    MLTFR_TRY(bench_tile(192));
    MLTFR_TRY(bench_tile(1600));
done:
    if (st != MLTFR_OK)
        fprintf(stderr, "bench_backbone: %s\n", mltfr_error_text);
    return mltfr_status_exit(st);
}
