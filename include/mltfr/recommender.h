/** @file mltfr/recommender.h
 *  A trained model and the data it was trained on: opened from a checkpoint, then asked.
 *  Layer: train.
 *
 *  Items are scored by the rank that owns them; answers are on rank 0.  The same questions in the
 *  same batches have the same answers, to the last bit, at any number of ranks. */
#ifndef MLTFR_RECOMMENDER_H
#define MLTFR_RECOMMENDER_H

#include <mltfr/evaluate.h>
#include <mltfr/interactions.h>
#include <mltfr/topk.h>

typedef struct mltfr_recommender mltfr_recommender;

/** Read the data, the token spaces and the checkpoint.  @collective{comm}
 *  @param settings    kept: must outlive the recommender
 *  @param checkpoint  must have been written with this data
 *  @return MLTFR_E_DATA or MLTFR_E_IO, the same on every rank */
mltfr_status mltfr_recommender_open(mltfr_comm *comm, const mltfr_settings *settings,
                                    const char *checkpoint, mltfr_recommender **out);

/** Free and set to NULL; NULL is allowed.  @collective{comm} */
void mltfr_recommender_close(mltfr_recommender **recommender);

/** Users, items and their ids; lives as long as the recommender.  @local */
const mltfr_interactions *mltfr_recommender_data(const mltfr_recommender *recommender);

/** What somebody had, oldest first: item ids from 1, at least one.  The last data.max_len of them
 *  are looked at, all of them count as seen. */
typedef struct {
    const int32_t *items;
    int64_t n;
} mltfr_history;

/** All a user of the data had.  @local */
mltfr_history mltfr_recommender_history(const mltfr_recommender *recommender, int64_t user);

/** Histories of one batch: more of them go in several calls. */
enum { MLTFR_RECOMMEND_BATCH = 256 };

/** Width d of the vectors; LLMs that answer (0 without experts, and before they start).  @local */
int64_t mltfr_recommender_width(const mltfr_recommender *recommender);
int64_t mltfr_recommender_experts(const mltfr_recommender *recommender);

/** Vectors E' of the items first + 1 .. first + n, read on rank 0: a score is h' times E'.
 *  @collective{comm}  @param out  [n][d] on rank 0 */
mltfr_status mltfr_recommender_items(mltfr_recommender *recommender, int64_t first, int64_t n,
                                     float *out);

/** Vectors h' that follow from histories.  @collective{comm}
 *  @param n    0 .. MLTFR_RECOMMEND_BATCH
 *  @param out  [n][d], written on every rank */
mltfr_status mltfr_recommender_encode(mltfr_recommender *recommender, int64_t n,
                                      const mltfr_history histories[], float *out);

/** The tokens an expert draws from, on rank 0; without content on other ranks. */
typedef struct {
    const char *name; /**< of the LLM, "consensus" */
    int64_t count;
    int64_t *row;   /**< [count] of the token space, rising */
    int64_t *token; /**< [count] the LLM's token ids; -1: the file does not say */
    char **string;  /**< [count] one block; "" where the file has none */
    float *keys,
        *values; /**< [count][d]: Kt and Vt, what queries are matched with and mixed from */
} mltfr_token_pool;

/** @param k  LLM, or mltfr_recommender_experts for the consensus  @collective{comm} */
mltfr_status mltfr_recommender_pool(mltfr_recommender *recommender, int64_t k,
                                    mltfr_token_pool *out);
void mltfr_token_pool_clear(mltfr_token_pool *pool); /**< @local */

/** The best items for each history, best first, of equal scores the lowest id first.
 *  @collective{comm}
 *  @param n          0 .. MLTFR_RECOMMEND_BATCH; all arguments are the same on every rank
 *  @param exclude    leave out what a history holds
 *  @param allowed    [items] 1 where an item may be named; NULL: all may
 *  @param out        [n][top_k], written on rank 0; behind the last item of a list item is 0
 *  @return MLTFR_E_NUMERIC where a score is not finite, the same on every rank */
mltfr_status mltfr_recommend(mltfr_recommender *recommender, int64_t n,
                             const mltfr_history histories[], bool exclude, const uint8_t *allowed,
                             int64_t top_k, mltfr_scored *out);

/** The held-out cases of a split and where their items rank, the same on every rank. */
typedef struct {
    int64_t count;
    mltfr_case *cases;
    int64_t *rank; /**< [count] from 1 */
} mltfr_ranked_split;

/** @collective{comm} */
mltfr_status mltfr_rank_split(mltfr_recommender *recommender, mltfr_split split,
                              mltfr_ranked_split *out);
void mltfr_ranked_split_clear(mltfr_ranked_split *ranked); /**< @local */

/** Where h' of some histories comes from: h' = h + gate y_c + (1 - gate) sum_k router_k y_k, and y
 *  mixes the tokens kept, by weight (method, E12-E15).  On rank 0; empty on other ranks. */
typedef struct {
    int64_t n, K, m;
    float *gate;    /**< [n] */
    float *router;  /**< [n][K]: 0 where the LLM was not chosen */
    int32_t *token; /**< [n][K + 1][m] entries of the pool, best first; -1: not chosen; the
                         consensus last */
    float *weight;  /**< [n][K + 1][m]; their sum is 1 */
} mltfr_explanation;

/** @param n  0 .. MLTFR_RECOMMEND_BATCH  @collective{comm}
 *  @return MLTFR_E_DATA where no expert has started */
mltfr_status mltfr_explain(mltfr_recommender *recommender, int64_t n,
                           const mltfr_history histories[], mltfr_explanation *out);
void mltfr_explanation_clear(mltfr_explanation *explanation); /**< @local */

/** Fisher weights of the last consensus, and how far each LLM's expert is from it, relative to it.
 *  @collective{comm}  @param phi, distance  [K] */
void mltfr_recommender_consensus(mltfr_recommender *recommender, double phi[], double distance[]);

#endif
