/* The backbones against a plain reference in double: values, gradients by central differences of
 * the reference, causality to the bit, and independence of how rows are cut into blocks. */
#include "backbone_reference.h"

enum { USERS = 4 };

/* sum of out * dh: what the gradients are of. */
static double ref_loss(model *m)
{
    double sum = 0.;

    ref_forward(m);
    for (int64_t i = 0; i < m->n * m->shape.d; i++)
        sum += m->out[i] * draw(3, i);
    return sum;
}

static double central_difference(model *m, double *value)
{
    const double step = 1e-5, middle = *value;

    *value = middle + step;
    double up = ref_loss(m);

    *value = middle - step;
    double down = ref_loss(m);

    *value = middle;
    return (up - down) / (2. * step);
}

static void forward(model *m)
{
    mltfr_backbone_forward(&m->shape, &m->w, &m->block, m->x, m->kept, m->scratch, m->h);
}

static void backward(model *m)
{
    mltfr_backbone_backward(&m->shape, &m->w, &m->block, m->kept, m->scratch, m->dh, &m->dw, m->dx);
}

static void assert_close(double a, double b, double tolerance, int64_t place)
{
    if (!(fabs(a - b) <= tolerance * fmax(1., fabs(b))))
        fail_msg("place %d: %.9g is not %.9g", (int)place, a, b);
}

/* About `samples` weights, and as many inputs, are moved. */
static void check_model(mltfr_backbone_shape shape, const int32_t *off, int64_t samples)
{
    model m;

    make_model(shape, off, USERS, &m);
    forward(&m);
    ref_forward(&m);
    for (int64_t i = 0; i < m.n * shape.d; i++)
        assert_close(m.h[i], m.out[i], 1e-5, i);
    for (int64_t i = 0; i < m.floats; i++)
        m.grad[i] = 1.f;
    backward(&m);
    for (int64_t i = 0; i < m.floats; i += 1 + m.floats / samples)
        assert_close(m.grad[i], 1. + central_difference(&m, &m.weights[i]), 5e-5, i);
    for (int64_t i = 0; i < m.n * shape.d; i += 1 + m.n * shape.d / samples)
        assert_close(m.dx[i], central_difference(&m, &m.rows[i]), 5e-5, i);
    free_model(&m);
}

static const int32_t offsets[USERS + 1] = {0, 1, 8, 11, 17};
static const int32_t long_offsets[USERS + 1] = {0, 37, 38, 54, 59};

static void check_kind(int kind)
{
    check_model(shape_of(kind, 12, 2, 2, 7, 0.f), offsets, 500);
    check_model(shape_of(kind, 12, 2, 3, 9, .3f), offsets, 100);
    check_model(shape_of(kind, 32, 1, 2, 40, .5f), long_offsets, 30);
}

static void sasrec_matches_the_reference(void **state)
{
    (void)state;
    check_kind(MLTFR_MODEL_BACKBONE_SASREC);
    check_model(pre_norm(shape_of(0, 12, 2, 2, 7, 0.f)), offsets, 500);
    check_model(pre_norm(shape_of(0, 12, 3, 1, 9, .3f)), offsets, 100);
}

/* With averages of one row, of a few, and of all; and each branch alone. */
static void bsarec_matches_the_reference(void **state)
{
    mltfr_backbone_shape shape = shape_of(MLTFR_MODEL_BACKBONE_BSAREC, 12, 1, 2, 7, .2f);

    (void)state;
    check_kind(shape.kind);
    for (shape.average = 1; shape.average < 10; shape.average += 8)
        check_model(shape, offsets, 50);
    for (shape.alpha = 0.f; shape.alpha < 1.5f; shape.alpha++)
        check_model(shape, offsets, 50);
}

static void gru4rec_matches_the_reference(void **state)
{
    (void)state;
    check_kind(MLTFR_MODEL_BACKBONE_GRU4REC);
    check_model(shape_of(MLTFR_MODEL_BACKBONE_GRU4REC, 13, 3, 2, 9, .3f), offsets, 100);
}

static void no_layers_is_the_embedding(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        check_model(shape_of(kind, 12, 0, 2, 7, .2f), offsets, 50);
}

/* Changing items after row t of a user, even to Inf and NaN, leaves the rows up to t as they are,
 * and all rows of the other users. */
static void check_causality(mltfr_backbone_shape shape)
{
    const int64_t bytes = (int64_t)sizeof(float) * shape.d;
    float before[59 * 32];
    model m;

    make_model(shape, long_offsets, USERS, &m);
    forward(&m);
    memcpy(before, m.h, sizeof before);
    for (int64_t t = 35; t >= 0; t--) {
        const int64_t after = long_offsets[1] - (t + 1);

        for (int64_t j = 0; j < shape.d; j++)
            m.x[(t + 1) * shape.d + j] = t % 3 ? draw(8, j) : t % 2 ? NAN : INFINITY;
        forward(&m);
        assert_memory_equal(m.h, before, (size_t)((t + 1) * bytes));
        assert_memory_not_equal(m.h + (t + 1) * shape.d, before + (t + 1) * shape.d,
                                (size_t)(after * bytes));
        assert_memory_equal(m.h + 37 * shape.d, before + 37 * shape.d, (size_t)(22 * bytes));
    }
    free_model(&m);
}

static void later_items_change_no_bit(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        check_causality(shape_of(kind, 32, 2, 2, 40, .2f));
    check_causality(pre_norm(shape_of(0, 32, 2, 2, 40, .2f)));
}

/* The same users in one block and in two: the same dropout, the same values to rounding. */
static void check_blocks_do_not_move_dropout(int kind)
{
    const mltfr_backbone_shape shape = shape_of(kind, 12, 2, 2, 7, .5f);
    const int32_t first[] = {0, 1, 8}, second[] = {0, 3, 9};
    float whole[17 * 12];
    model m;

    make_model(shape, offsets, USERS, &m);
    forward(&m);
    memcpy(whole, m.h, sizeof whole);
    m.block.users = 2;
    m.block.off = first;
    forward(&m);
    m.block.off = second;
    m.block.row0 += 8;
    mltfr_backbone_forward(&shape, &m.w, &m.block, m.x + 8 * 12, m.kept, m.scratch, m.h + 8 * 12);
    for (int64_t i = 0; i < 17 * 12; i++)
        assert_close(m.h[i], whole[i], 1e-5, i);
    m.block.row0++;
    mltfr_backbone_forward(&shape, &m.w, &m.block, m.x + 8 * 12, m.kept, m.scratch, m.h + 8 * 12);
    assert_true(fabs(m.h[16 * 12] - whole[16 * 12]) > 1e-3);
    free_model(&m);
}

static void blocks_do_not_move_dropout(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        check_blocks_do_not_move_dropout(kind);
}

/* The same call twice, in memory of another alignment, gives the same bits. */
static void check_repetition_gives_the_same_bits(int kind)
{
    const mltfr_backbone_shape shape = shape_of(kind, 12, 2, 2, 7, .5f);
    float h[17 * 12 + 1], *grad = NULL;
    model m;

    make_model(shape, offsets, USERS, &m);
    assert_int_equal(MLTFR_NEW(grad, m.floats), MLTFR_OK);
    forward(&m);
    backward(&m);
    memcpy(grad, m.grad, sizeof *grad * (size_t)m.floats);
    memset(m.grad, 0, sizeof *grad * (size_t)m.floats);
    for (int64_t i = 0; i < m.n * shape.d; i++)
        m.dh[i] = draw(3, i);
    mltfr_backbone_forward(&shape, &m.w, &m.block, m.x, m.kept, m.scratch, h + 1);
    backward(&m);
    assert_memory_equal(h + 1, m.h, sizeof h - sizeof *h);
    assert_memory_equal(grad, m.grad, sizeof *grad * (size_t)m.floats);
    MLTFR_FREE(grad);
    free_model(&m);
}

static void repetition_gives_the_same_bits(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        check_repetition_gives_the_same_bits(kind);
}

static void an_empty_block_is_nothing(void **state)
{
    const int32_t off[1] = {0};
    model m;

    (void)state;
    for (int kind = 0; kind <= KINDS; kind++) {
        make_model(kind < KINDS ? shape_of(kind, 12, 2, 2, 7, .5f)
                                : pre_norm(shape_of(0, 12, 2, 2, 7, .5f)),
                   off, 0, &m);
        forward(&m);
        backward(&m);
        for (int64_t i = 0; i < m.floats; i++)
            assert_true(m.grad[i] == 0.f);
        free_model(&m);
    }
}

static void kept_is_frugal(void **state)
{
    static const int64_t most[KINDS] = {2 * 17 + 2, 2 * 18 + 3, 2 * 6 + 3};

    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        const mltfr_backbone_shape shape = shape_of(kind, 64, 2, 2, 50, .5f);

        assert_true(mltfr_backbone_kept(&shape, 256) <= 256 * 64 * most[kind]);
    }
}

static void rmsnorm_matches_its_formula(void **state)
{
    enum { N = 3, D = 21 };
    float h[N * D], q[N * D], dq[N * D], dh[N * D];

    (void)state;
    for (int i = 0; i < N * D; i++) {
        h[i] = draw(4, i);
        dq[i] = draw(5, i);
        dh[i] = 1.f;
    }
    mltfr_rmsnorm_forward(N, D, 1e-6f, h, q);
    mltfr_rmsnorm_backward(N, D, 1e-6f, h, dq, dh);
    for (int i = 0; i < N; i++) {
        double squares = 0., along = 0.;

        for (int j = i * D; j < (i + 1) * D; j++) {
            squares += (double)h[j] * h[j] / D;
            along += (double)h[j] * dq[j] / D;
        }
        const double r = 1. / sqrt(squares + 1e-6);

        for (int j = i * D; j < (i + 1) * D; j++) {
            assert_close(q[j], h[j] * r, 1e-6, j);
            assert_close(dh[j], 1. + r * (dq[j] - h[j] * along * r * r), 2e-6, j);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sasrec_matches_the_reference),
        cmocka_unit_test(bsarec_matches_the_reference),
        cmocka_unit_test(gru4rec_matches_the_reference),
        cmocka_unit_test(no_layers_is_the_embedding),
        cmocka_unit_test(later_items_change_no_bit),
        cmocka_unit_test(blocks_do_not_move_dropout),
        cmocka_unit_test(repetition_gives_the_same_bits),
        cmocka_unit_test(an_empty_block_is_nothing),
        cmocka_unit_test(kept_is_frugal),
        cmocka_unit_test(rmsnorm_matches_its_formula),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
