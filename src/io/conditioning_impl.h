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
/** The whole row, less `centre`, as float; of rows that are kept as float.  @local */
void mltfr_rows_get_slim(const mltfr_rows *rows, int64_t i, const double *centre, float *out);

/** Multiply row i by a number; its Euclidean norm.  @local */
void mltfr_rows_scale(mltfr_rows *rows, int64_t i, double factor);
double mltfr_rows_norm(const mltfr_rows *rows, int64_t i);

/** sum += factor x;  sum += x^2 by element;  x *= factors by element.  @local */
void mltfr_vector_add(int64_t n, double factor, const double *x, double *sum);
void mltfr_vector_add_squares(int64_t n, const double *x, double *sum);
void mltfr_vector_multiply(int64_t n, const double *factors, double *x);

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
    mltfr_rows page;        /**< the table's rows of block `page_block`, read when asked for */
    int64_t page_block;     /**< -1: none */
    mltfr_status st;        /**< of reading: the first failure */
    mltfr_rows made;        /**< tokens.control: this rank's tokens [tokens.begin, tokens.end) in
                                 place of the table's; no data: the table counts */
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
    int64_t *ids;     /**< [count][K] lowest token ids, -1 where missing */
    /** All tokens of anchor a in LLM k: tokens[begins[a K + k] .. begins[a K + k + 1]), rising;
     * just the lowest where cases are not merged.  The anchor's row is the mean of theirs. */
    int64_t *begins, *tokens;
    uint8_t *held; /**< [count] held out? */
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
    int64_t dims;                    /**< columns of W */
    mltfr_matrix *W[MLTFR_MAX_LLMS]; /**< D_k x dims, the shared directions, best first */
    mltfr_rows Zc;                   /**< this rank's rows [Zc_first, + Zc.rows) of Zc_total */
    int64_t Zc_first, Zc_total;
    double clock, operations, counted; /**< of this rank, outside the grid; before this phase */
} mltfr_conditioner;

/* ---- steps; @collective{c->comm} where nothing is said --------------------------------------- */

/** conditioning_clean.c: E5. */
bool mltfr_token_is_odd(const char *s, size_t bytes); /**< byte fallback or unused.  @local */
mltfr_status mltfr_llm_load(mltfr_conditioner *c, mltfr_llm *llm);
mltfr_status mltfr_llm_clean(mltfr_conditioner *c, mltfr_llm *llm, mltfr_llm_report *report);

/** conditioning_llm.c: the rows of token block b, which is this rank's; row i of them is token
 *  id = *first + i.  Valid until another block is asked for; a failure stays in llm->st.  @local */
const mltfr_rows *mltfr_llm_block(mltfr_llm *llm, int64_t block, int64_t *first);
/** One row of a token this rank has, as it is kept.  @local */
void mltfr_llm_row(mltfr_llm *llm, int64_t id, void *out);
/** Kept rows of block b, centred, [rows][cols]; how many; and as float, whole.  @local */
int64_t mltfr_llm_fill(void *llm, int64_t block, int64_t cols, double *X);
int64_t mltfr_llm_fill_slim(mltfr_llm *llm, int64_t block, float *X);
int64_t mltfr_llm_kept_index(const mltfr_llm *llm, int64_t id);
/** Mean of the kept rows, and mean cosine of two different ones. */
mltfr_status mltfr_llm_mean(mltfr_conditioner *c, mltfr_llm *llm, double *cosine);
/** The mean cosine from [blocks][width] sums of unit rows, those of this rank's blocks. */
mltfr_status mltfr_llm_cosine(mltfr_conditioner *c, const mltfr_llm *llm, int64_t width,
                              const double *sums, double *cosine);
mltfr_status mltfr_llm_gram(mltfr_conditioner *c, mltfr_llm *llm, mltfr_matrix **S);
/** Rows are not needed soon.  @local */
void mltfr_llm_forget(mltfr_llm *llm);
/** Free what is needed no more once there is Z; all of it.  @local */
void mltfr_llm_release(mltfr_llm *llm);
void mltfr_llm_destroy(mltfr_llm *llm);

/** conditioning_anchors.c: E6.  @local.  Bytes of a leading mark: U+0120, U+2581 or a blank. */
size_t mltfr_mark_bytes(const char *s, size_t n);
size_t mltfr_anchor_form(const char *s, size_t bytes, char *form);
mltfr_status mltfr_anchors_find(const mltfr_llm llms[], int64_t K,
                                const mltfr_conditioning_options *options, mltfr_anchors *out);
mltfr_status mltfr_anchors_hold_out(mltfr_anchors *anchors,
                                    const mltfr_conditioning_options *options);
void mltfr_anchors_destroy(mltfr_anchors *anchors);
/** Present in LLM k, and used for the fit (or, held, for the judgement).  @local */
bool mltfr_anchor_in(const mltfr_anchors *anchors, int64_t a, int64_t k, bool held);

/** conditioning_control.c: tokens.control, the tables in place of those that were read. */
mltfr_status mltfr_control_tables(mltfr_conditioner *c);

/** conditioning_exchange.c: the rows of an LLM's anchors, the mean over the tokens of each, to the
 *  ranks that have the anchors; from the table, or (finished) from Z. */
mltfr_status mltfr_anchor_rows(mltfr_conditioner *c, mltfr_llm *llm, bool finished, int64_t cols,
                               mltfr_rows *out);

/** conditioning_gcca.c: E7, E8; sets W, dims, lam_R, and per LLM mean_anchor and lam. */
mltfr_status mltfr_gcca(mltfr_conditioner *c);

/** conditioning_procrustes.c: the same by rotations to a hub; lam_R is not set. */
mltfr_status mltfr_procrustes(mltfr_conditioner *c);

/** conditioning_fit.c: what both fits need.  Anchors of LLM k that are fitted; those that LLM l
 *  has too.  @local */
int64_t mltfr_fitted(const mltfr_conditioner *c, int64_t k, int64_t l);
/** Mean of an LLM's fitted anchors, into mean_anchor. */
mltfr_status mltfr_anchor_mean(mltfr_conditioner *c, mltfr_llm *llm);
/** Centred anchor rows of several LLMs side by side, zero where one lacks the anchor. */
typedef struct {
    const mltfr_conditioner *c;
    int64_t count, llms[MLTFR_MAX_LLMS];
    bool fitted;         /**< only anchors that are not held out */
    bool whole;          /**< only anchors that all of them have; false: that one has */
    bool weighted;       /**< rows times sqrt(count / LLMs that have the anchor) (C17) */
    const double *scale; /**< [K] times this, by LLM; NULL: 1 */
} mltfr_stack;
/** All LLMs, all anchors.  @local */
mltfr_stack mltfr_stack_all(const mltfr_conditioner *c);
/** scale X^T X of the stacked rows X, whose order is the sum of the widths. */
mltfr_status mltfr_stack_gram(mltfr_stack *stack, double scale, mltfr_matrix **S);
/** The block of LLMs j and l in a matrix whose order is the sum of all widths.  @local */
mltfr_view mltfr_stack_block(const mltfr_conditioner *c, mltfr_matrix *M, int64_t j, int64_t l);
/** The first r_c columns of W as U. */
mltfr_status mltfr_shared_maps(mltfr_conditioner *c);
/** LLM's anchor rows of block b that are fitted (held false) or held out; zero rows where held out
 * and missing.  [rows][cols], centred.  @local */
int64_t mltfr_anchor_block(const mltfr_conditioner *c, const mltfr_llm *llm, bool held,
                           int64_t block, int64_t cols, double *X);

/** conditioning_judge.c: C19. */
mltfr_status mltfr_judge_correlation(mltfr_conditioner *c);
mltfr_status mltfr_judge_retrieval(mltfr_conditioner *c);
/** G [held_count][cols] = held-out rows of an LLM (zero where it lacks one) times map [D][cols], on
 *  every rank. */
mltfr_status mltfr_held_project(mltfr_conditioner *c, const mltfr_llm *llm, const double *map,
                                int64_t cols, double *G);
/** The held-out anchors that both LLMs have: their numbers among the held-out ones, into rows
 *  [held_count].  @local */
mltfr_status mltfr_held_common(const mltfr_anchors *an, int64_t j, int64_t l, int64_t *rows,
                               int64_t *count);
/** Pearson correlation of one column of a and of b over the given rows.  @local */
double mltfr_pearson(const double *a, const double *b, int64_t stride, const int64_t *rows,
                     int64_t n);

/** conditioning_canonical.c: canonical correlations of each two LLMs within the shared block. */
mltfr_status mltfr_judge_canonical(mltfr_conditioner *c);

/** conditioning_maps.c: columns of eigenvectors times (lam + eps mean(lam))^-1/2; E9; and the PCA
 *  that stands for E7-E9. */
mltfr_status mltfr_whiten_columns(mltfr_conditioner *c, const mltfr_llm *llm,
                                  mltfr_matrix *vectors);
mltfr_status mltfr_specific(mltfr_conditioner *c, mltfr_llm *llm);
mltfr_status mltfr_pca(mltfr_conditioner *c, mltfr_llm *llm);

/** conditioning_finish.c: E10; and the mean cosine of its rows.  Then what LLM k, in their order,
 *  adds to the consensus space. */
mltfr_status mltfr_finish(mltfr_conditioner *c, mltfr_llm *llm, double *cosine);
/** The failure of a table with fewer dimensions than the spaces are to have.  @local */
mltfr_status mltfr_no_variance(const mltfr_conditioner *c, const mltfr_llm *llm);
mltfr_status mltfr_consensus_add(mltfr_conditioner *c, int64_t k);

/** conditioning_report.c: what the anchors and the finished spaces add to the report; @local.  The
 *  most bytes that a rank has had resident. */
mltfr_status mltfr_report_anchors(mltfr_conditioner *c);
mltfr_status mltfr_report_spaces(mltfr_conditioner *c);
int64_t mltfr_report_memory(mltfr_comm *comm);
/** Their words in the configuration.  @local */
const char *mltfr_align_name(const mltfr_conditioner *c);
const char *mltfr_control_name(mltfr_control control);

/** conditioning_write.c: finish, and write all; one finished LLM's space. */
mltfr_status mltfr_conditioning_write(mltfr_conditioner *c, const char *path);
mltfr_status mltfr_conditioning_put(mltfr_conditioner *c, mltfr_spaces_writer *writer, int64_t k);

/** conditioning.c: E5-E9; E10, where `writer` is given into the file and out of memory; the end. */
mltfr_status mltfr_conditioner_align(mltfr_conditioner *c, mltfr_comm *comm,
                                     const mltfr_table_source tables[], int64_t K,
                                     const mltfr_conditioning_options *options,
                                     mltfr_conditioning_report *report);
mltfr_status mltfr_conditioner_finish(mltfr_conditioner *c, mltfr_spaces_writer *writer);
void mltfr_conditioner_destroy(mltfr_conditioner *c);

#endif
