/* Shared by conditioning*.c. */
#ifndef MLTFR_CONDITIONING_IMPL_H
#define MLTFR_CONDITIONING_IMPL_H

#include <mltfr/conditioning.h>
#include <mltfr/grid.h>

/* ---- rows (conditioning_rows.c) ------------------------------------------------------------- */

/** Rows of numbers, kept as float or as double. */
typedef struct {
    int64_t rows, width;
    bool wide;
    void *data;
} mltfr_rows;

/** Zero rows; and free them.  @local */
mltfr_status mltfr_rows_create(mltfr_rows *rows, int64_t count, int64_t width, bool wide);
void mltfr_rows_destroy(mltfr_rows *rows);

/** Where row i begins; bytes of one element.  @local */
void *mltfr_rows_at(const mltfr_rows *rows, int64_t i);
size_t mltfr_rows_element(const mltfr_rows *rows);

/** The first `cols` numbers of row i, less those of `centre` where it is given; and the way in.
 *  @local */
void mltfr_rows_get(const mltfr_rows *rows, int64_t i, int64_t cols, const double *centre,
                    double *out);
void mltfr_rows_put(mltfr_rows *rows, int64_t i, const double *in);

/** Multiply row i by a number; its Euclidean norm.  @local */
void mltfr_rows_scale(mltfr_rows *rows, int64_t i, double factor);
double mltfr_rows_norm(const mltfr_rows *rows, int64_t i);

/* ---- blocks (conditioning_rows.c) ----------------------------------------------------------- */

/** Things 0 .. count - 1 (token ids, or anchors) in blocks of `size`, the blocks shared out among
 *  the ranks: this one has the blocks [first, last), the things [begin, end). */
typedef struct {
    int64_t count, size, blocks;
    int64_t first, last, begin, end;
} mltfr_blocks;

mltfr_blocks mltfr_blocks_of(const mltfr_comm *comm, int64_t count, int64_t size);

/** First thing of a block (count for the block past the last); first thing of a rank.  @local */
int64_t mltfr_blocks_begin(const mltfr_blocks *blocks, int64_t block);
int64_t mltfr_blocks_rank(const mltfr_blocks *blocks, const mltfr_comm *comm, int rank);

/** Sum of one vector a block, in the order of the blocks.  @collective{comm}
 *  @param mine   [last - first][width]
 *  @param total  [width], the same bits for any number of ranks */
mltfr_status mltfr_blocks_sum(mltfr_comm *comm, const mltfr_blocks *blocks, int64_t width,
                              const double *mine, double *total);

/* ---- state ---------------------------------------------------------------------------------- */

/** One LLM on its way. */
typedef struct {
    mltfr_table_source source;
    int64_t V, D;
    mltfr_blocks tokens;
    mltfr_rows raw;         /**< this rank's tokens [tokens.begin, tokens.end) */
    int64_t count, *kept;   /**< [count] token ids left by E5, of all ranks: the rows of Z */
    int64_t *kept_before;   /**< [blocks + 1] kept rows before a block */
    double *mean;           /**< [D] over kept rows */
    double *mean_anchor;    /**< [D] over fitted anchors */
    double *lam, *lam_res;  /**< [D] eigenvalues of E7 (or the PCA), E9; falling */
    double *U, *U_spec;     /**< [D][r_c], [D][r_s], the same on every rank */
    mltfr_rows anchor_rows; /**< this rank's anchors; zero rows where the LLM lacks one */
    mltfr_rows Z;           /**< this rank's kept rows [first_kept, + Z.rows) */
    int64_t first_kept;
} mltfr_llm;

/** E6: surface forms that two or more LLMs have. */
typedef struct {
    int64_t count, K;
    char *bytes;      /**< the forms in byte order */
    int64_t *offsets; /**< [count + 1] */
    int64_t *ids;     /**< [count][K] token ids, -1 where missing */
    uint8_t *held;    /**< [count] held out? */
    int64_t held_count;
    mltfr_blocks blocks;
} mltfr_anchors;

typedef struct {
    mltfr_comm *comm;
    const mltfr_conditioning_options *options;
    mltfr_conditioning_report *report;
    int64_t K, r_c, r_s;
    bool pca;
    mltfr_llm *llms; /**< [K] */
    mltfr_grid *grid;
    mltfr_anchors anchors;
    int64_t total_width, narrowest;  /**< sum and least of D_k */
    double *lam_R;                   /**< [total_width] eigenvalues of E8 */
    mltfr_matrix *W[MLTFR_MAX_LLMS]; /**< C_k E_k, D_k x narrowest */
    mltfr_rows Zc;                   /**< this rank's rows [Zc_first, + Zc.rows) of Zc_total */
    int64_t Zc_first, Zc_total;
    double clock;
} mltfr_conditioner;

/* ---- steps; @collective{c->comm} where nothing is said --------------------------------------- */

/** conditioning_clean.c: E5. */
bool mltfr_token_is_odd(const char *s, size_t bytes); /**< byte fallback or unused.  @local */
mltfr_status mltfr_llm_load(mltfr_conditioner *c, mltfr_llm *llm);
mltfr_status mltfr_llm_clean(mltfr_conditioner *c, mltfr_llm *llm, mltfr_llm_report *report);

/** conditioning_llm.c: kept rows of block b, centred, [rows][cols]; how many.  @local */
int64_t mltfr_llm_fill(void *llm, int64_t block, int64_t cols, double *X);
int64_t mltfr_llm_kept_index(const mltfr_llm *llm, int64_t id);
mltfr_status mltfr_llm_mean(mltfr_conditioner *c, mltfr_llm *llm);
mltfr_status mltfr_llm_gram(mltfr_conditioner *c, mltfr_llm *llm, mltfr_matrix **S);
/** Mean cosine of two different rows of `rows`: those of the kept tokens. */
mltfr_status mltfr_llm_cosine(mltfr_conditioner *c, const mltfr_llm *llm, bool finished,
                              double *out);
void mltfr_llm_destroy(mltfr_llm *llm);

/** conditioning_anchors.c: E6.  All but the last are @local. */
size_t mltfr_anchor_form(const char *s, size_t bytes, char *form);
mltfr_status mltfr_anchors_find(const mltfr_llm llms[], int64_t K, bool whole_words,
                                mltfr_anchors *out);
mltfr_status mltfr_anchors_hold_out(mltfr_anchors *anchors,
                                    const mltfr_conditioning_options *options);
void mltfr_anchors_destroy(mltfr_anchors *anchors);
/** Present in LLM k, and used for the fit (or, held, for the judgement).  @local */
bool mltfr_anchor_in(const mltfr_anchors *anchors, int64_t a, int64_t k, bool held);

/** conditioning_exchange.c: the rows of LLM k's anchors, to the ranks that have the anchors; from
 *  the table, or (finished) from Z. */
mltfr_status mltfr_anchor_rows(mltfr_conditioner *c, const mltfr_llm *llm, bool finished,
                               int64_t cols, mltfr_rows *out);

/** conditioning_gcca.c: E7, E8; sets W, lam_R, and per LLM mean_anchor and lam. */
mltfr_status mltfr_gcca(mltfr_conditioner *c);
/** The first r_c columns of W as U. */
mltfr_status mltfr_gcca_maps(mltfr_conditioner *c);
/** LLM's anchor rows of block b that are fitted (held false) or held out; zero rows where held out
 * and missing.  [rows][cols], centred.  @local */
int64_t mltfr_anchor_block(const mltfr_conditioner *c, const mltfr_llm *llm, bool held,
                           int64_t block, int64_t cols, double *X);

/** conditioning_judge.c: C19. */
mltfr_status mltfr_judge_correlation(mltfr_conditioner *c);
mltfr_status mltfr_judge_retrieval(mltfr_conditioner *c);

/** conditioning_maps.c: columns of eigenvectors times (lam + eps mean(lam))^-1/2; E9; and the PCA
 *  that stands for E7-E9. */
mltfr_status mltfr_whiten_columns(mltfr_conditioner *c, const mltfr_llm *llm,
                                  mltfr_matrix *vectors);
mltfr_status mltfr_specific(mltfr_conditioner *c, mltfr_llm *llm);
mltfr_status mltfr_pca(mltfr_conditioner *c, mltfr_llm *llm);

/** conditioning_finish.c: E10. */
mltfr_status mltfr_finish(mltfr_conditioner *c, mltfr_llm *llm);
mltfr_status mltfr_consensus_space(mltfr_conditioner *c);

/** conditioning_write.c */
mltfr_status mltfr_conditioning_write(mltfr_conditioner *c, const char *path);

/** conditioning.c: everything up to the file; and the end of it. */
mltfr_status mltfr_conditioner_run(mltfr_conditioner *c, mltfr_comm *comm,
                                   const mltfr_table_source tables[], int64_t K,
                                   const mltfr_conditioning_options *options,
                                   mltfr_conditioning_report *report);
void mltfr_conditioner_destroy(mltfr_conditioner *c);

#endif
