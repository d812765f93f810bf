/* Small planted examples for tests of training: the synthetic interactions and token spaces, with
 * as many tokens as a test needs, and with what a control does to them. */
#ifndef MLTFR_TEST_PLANTED_H
#define MLTFR_TEST_PLANTED_H

#include <mltfr/settings.h>
#include <mltfr/synthetic.h>

typedef struct {
    mltfr_synthetic_spec synthetic;
    int64_t copies; /**< each token row comes so often, every other time with noise, so that some
                         scores are equal; beyond 1024 rows a space is sharded */
    bool permuted;  /**< rows of the LLMs' spaces in another order */
    int64_t scaled; /**< this LLM's space ... */
    double scale;   /**< ... times this; 0: none */
} planted;

/** 140 users, 70 items, 2 LLMs of 8 + 6 dimensions, one copy.  @local */
planted planted_defaults(void);

/** Write interactions and spaces into one new file.  Ends the program on failure.
 *  @collective{comm} */
void planted_write(mltfr_comm *comm, const char *path, const planted *p);

/** Settings that train such a file fast: d = 16, one block, 40 users a step, experts from epoch 2
 *  on, first consensus 4 steps later, then every 4 steps.  @local */
mltfr_settings planted_settings(const char *path);

#endif
