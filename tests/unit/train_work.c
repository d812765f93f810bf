/* The formulas of work.h against numbers worked out by hand. */
#include "work.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* d 4, 2 layers, 3 users of 1, 2 and 3 rows: 6 rows, 1 + 3 + 6 = 10 pairs.
 * One layer forward: q, k, v, o: 4 x 2 x 16 = 128 a row; 4 d and back: 2 x 2 x 64 = 256 a row;
 * scores and mixture: 2 x 2 x 4 = 16 a pair.  So 6 x 384 + 160 = 2464; two layers, times 3. */
static void test_backbone(void **state)
{
    mltfr_backbone_shape shape = {.d = 4, .layers = 2, .heads = 2, .max_len = 5};
    int32_t off[] = {0, 1, 3, 6};
    const mltfr_batch batch = {.users = 3, .rows = 6, .off = off};

    (void)state;
    assert_true(mltfr_batch_pairs(&batch) == 10.);
    assert_true(mltfr_flop_backbone(&shape, 6., 10.) == 14784.);
    shape.kind = MLTFR_MODEL_BACKBONE_BSAREC;
    assert_true(mltfr_flop_backbone(&shape, 6., 10.) == 14784.);
    /* two products of 2 x 12 x 4 a row in each layer, and one of 2 x 4 x 4 */
    shape.kind = MLTFR_MODEL_BACKBONE_GRU4REC;
    assert_true(mltfr_flop_backbone(&shape, 6., 10.) == 3. * 6. * (2. * 192. + 32.));
}

/* 6 rows, 7 items, d 4: logits 2 x 6 x 7 x 4 = 336, and twice that back; of a local loss only those
 * of a target and its negatives: 3, and 1. */
static void test_loss(void **state)
{
    mltfr_settings set = mltfr_settings_defaults();

    (void)state;
    set.train_negatives = 3;
    assert_true(mltfr_flop_loss(&set, 6., 7., 4.) == 1008.);
    set.train_loss = MLTFR_TRAIN_LOSS_SAMPLED;
    assert_true(mltfr_flop_loss(&set, 6., 7., 4.) == 576.);
    set.train_loss = MLTFR_TRAIN_LOSS_BCE;
    assert_true(mltfr_flop_loss(&set, 6., 7., 4.) == 288.);
}

/* Two LLMs (pools of 10 tokens, 5 dimensions) and the consensus (8 tokens, 3 dimensions), d 4,
 * m 2; 9 and 2 rows are routed. */
static void test_step(void **state)
{
    int32_t off[] = {0, 1, 3, 6}, count[] = {9, 2};
    mltfr_batch batch = {.users = 3, .rows = 6, .blocks = 1, .off = off};
    mltfr_token_space space[] = {{.M = 10, .width = 5, .rows = 100},
                                 {.M = 10, .width = 5, .rows = 50},
                                 {.M = 8, .width = 3, .rows = 20}};
    mltfr_settings set = mltfr_settings_defaults();
    mltfr_engine e = {.set = &set,
                      .spec = {.backbone = {.d = 4, .layers = 2}, .items = 7},
                      .K = 2,
                      .m = 2,
                      .space = space};

    (void)state;
    e.run = (mltfr_run){.batch = &batch, .mixes = true, .routed = {.count = count}};
    /* scores 2 x 10 x 4 = 80 a row, each use of the 2 kept tokens 16: mixture, weights, Kt, Vt */
    assert_true(mltfr_flop_filter(&e, 0, 9.) == 9. * (80. + 4. * 16.));
    /* 2 x 10 x 4 x 5 = 400 a product: Kt, Vt and their gradients */
    assert_true(mltfr_flop_weights(&e, 0) == 1600.);
    /* consensus: scores 64, three uses of 16; 2 x 8 x 4 x 3 = 192, W_v is not trained */
    assert_true(mltfr_flop_filter(&e, 2, 6.) == 6. * (64. + 48.));
    assert_true(mltfr_flop_weights(&e, 2) == 576.);
    assert_true(mltfr_flop_router(&e, 6.) == 6. * 3. * 2. * 4. * 3.);
    /* (100 + 50) 8 (n + 5) + 20 x 8 (n + 3) */
    assert_true(mltfr_flop_level_a(&e, 11.) == 150. * 8. * 16. + 20. * 8. * 14.);

    const mltfr_work work = mltfr_work_of_step(&e);

    assert_true(work.backbone == 14784. && work.loss == 1008.);
    assert_true(work.experts == 11. * 144. + 2. * 1600. + 672. + 576. + 432.);
    set.filter_detach_query = false;
    assert_true(mltfr_flop_filter(&e, 0, 1.) == 80. + 5. * 16.);
    set.train_loss = MLTFR_TRAIN_LOSS_SAMPLED;
    set.train_negatives = 3;
    assert_true(mltfr_work_of_step(&e).loss == 6. * 6. * 4. * 4.);
    e.run.mixes = false;
    assert_true(mltfr_work_of_step(&e).experts == 0.);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backbone),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
