/** @file mltfr/conditioning.h
 *  From the token tables of several LLMs to their conditioned spaces (method E5-E10).  Layer: io.
 *
 *  Rows of a vocabulary are shared out among the ranks; no rank holds a whole table.  Sums over
 *  rows have the same bits on any number of ranks; eigenvectors agree to rounding, so the spaces
 *  are made once, stored, and read by every run. */
#ifndef MLTFR_CONDITIONING_H
#define MLTFR_CONDITIONING_H

#include <mltfr/spaces.h>
#include <mltfr/table.h>

/** A token table as conditioning sees it.  The calls are @local and used by every rank. */
typedef struct {
    void *context;
    const char *name; /**< of the LLM */
    /** Where it came from, to be recorded: what the user called the file, the tensor in it and its
     *  stored type; NULL members: unknown. */
    const char *path, *tensor, *type;
    int64_t rows, width;
    bool wide; /**< rows are double, not float */
    /** Rows [first, first + rows) into out, float or double. */
    mltfr_status (*read)(void *context, int64_t first, int64_t rows, void *out);
    /** Rows are not needed soon; NULL member: nothing is kept of them. */
    void (*forget)(void *context);
    /** The token's string, `bytes` long, not ended by a 0; NULL member: there are no strings. */
    const char *(*string)(void *context, int64_t row, size_t *bytes);
    /** Does the tokenizer call it special?  NULL member: none is. */
    bool (*special)(void *context, int64_t row);
    /** Hash of the table's content, asked for on rank 0 only; NULL member: 0. */
    uint64_t (*digest)(void *context);
} mltfr_table_source;

/** A table file as a source.  @local
 *  @param path         as it was given to mltfr_table_open
 *  @param table, name  kept, and path: must outlive the source */
mltfr_table_source mltfr_table_as_source(mltfr_table *table, const char *name, const char *path);

/** How the spaces are brought together.
 *
 *  procrustes, for anchors too few for gcca (which wants more than D_k of each LLM): the hub h is
 *  the LLM with the most fitted anchors.  X_k are an LLM's fitted anchor rows less their mean;
 *  X_k^T X_h = U S V^T over the anchors that both have, W_k = U V^T (W_h = 1); H = sum over k != h
 *  of X_h^T X_k W_k / tr S = E Lam E^T; U_k = W_k E[:, :r_c] are the r_c directions of the hub in
 *  which the LLMs agree most.  At most min D_k directions, and fewer than any LLM's anchors in
 *  common with the hub.  E9 and E10 follow. */
typedef enum {
    MLTFR_ALIGN_GCCA,      /**< E6-E9 */
    MLTFR_ALIGN_PCA,       /**< each space on its own; always so for one LLM */
    MLTFR_ALIGN_PROCRUSTES /**< rotations to one LLM */
} mltfr_align;

/** Controls (method, section 8): what a gain must survive.
 *
 *  Gaussian and shuffled tables take the place of the kept rows between E5 and E7; a rank keeps
 *  those of its tokens as float32.  The draws depend on the seed, not on the number of ranks. */
typedef enum {
    MLTFR_CONTROL_NONE,
    MLTFR_CONTROL_GAUSSIAN, /**< each row N(mean, covariance) of its own LLM */
    /** Rows of anchors N(mean, covariance of the anchors) jointly for all LLMs: the covariance of
     *  two LLMs is that over the anchors both have (negative eigenvalues of the whole count as 0),
     *  all tokens of an anchor get one row; all other rows as with gaussian, with a mean and
     *  a covariance of their own. */
    MLTFR_CONTROL_GAUSSIAN_JOINT,
    MLTFR_CONTROL_SHUFFLE, /**< the kept rows of each LLM but the first are permuted */
    MLTFR_CONTROL_SCALE,   /**< Z of the first LLM times 10 after E10; Z_c and all keys stay */
    /** In the file every Z_k is the r x r identity and Z_c the r_c x r_c one, without ids and
     * strings: an expert is a hidden layer of r units.  The report is that of the tables. */
    MLTFR_CONTROL_IDENTITY
} mltfr_control;

typedef struct {
    mltfr_align align;
    mltfr_control control;
    int64_t shared_dim;       /**< r_c; 0: as many as have a held-out correlation above .45 (C19) */
    int64_t specific_dim;     /**< r_s, may be 0 */
    double eps;               /**< ridge of the whitening, in mean eigenvalues */
    double held_out;          /**< share of the anchors held out; 0: none, and no report of C19 */
    double drop;              /**< share of the rows of lowest norm that are dropped */
    uint64_t seed;            /**< which anchors are held out; draws of the controls */
    bool whole_words;         /**< in a vocabulary that marks where words start, only marked tokens
                                   are anchors; false: any token is (C16) */
    bool merge_case;          /**< an anchor's row is the mean of all its tokens' rows (Word, word);
                                   false: the lowest token's (E6) */
    int64_t block_rows;       /**< rows summed at a time: part of the bits of the result */
    const uint8_t *held_mask; /**< [held_count] over the anchors in place of held_out and seed, or
                                   NULL */
    int64_t held_count;
} mltfr_conditioning_options;

/** gcca, 128 + 128, eps .01, a fifth held out, 1 % dropped, whole words.  @local */
mltfr_conditioning_options mltfr_conditioning_defaults(void);

/** Where the time goes. */
typedef enum {
    MLTFR_PHASE_READ,   /**< tables, E5 */
    MLTFR_PHASE_ANCHOR, /**< E6, a control's tables, anchor rows to where they are summed */
    MLTFR_PHASE_ALIGN,  /**< E7, E8, or the PCA */
    MLTFR_PHASE_JUDGE,  /**< C19 */
    MLTFR_PHASE_FINISH, /**< E9, E10 */
    MLTFR_PHASE_WRITE,
    MLTFR_PHASES
} mltfr_conditioning_phase;

/** What became of one LLM's table. */
typedef struct {
    char name[64];
    int64_t rows, width;         /**< V, D */
    int64_t special, odd, low;   /**< rows dropped: special; byte or unused; lowest norm */
    int64_t kept;                /**< V' */
    int64_t anchors;             /**< of its tokens */
    double cosine, cosine_after; /**< mean cosine of two rows, before and after */
    double *spectrum;            /**< [width] eigenvalues of the covariance that was whitened (E7:
                                      of fitted anchors; pca: of kept rows), falling; owned; NULL
                                      with procrustes */
} mltfr_llm_report;

/** What two LLMs j < l have in common. */
typedef struct {
    int64_t j, l, anchors, held_out; /**< anchors both have, and how many of them are held out */
    double *correlation; /**< [dims] held-out correlation by dimension; owned, NULL where there is
                              none */
    double *canonical;   /**< [r_c] held-out correlation of the pair's own canonical directions in
                              the shared block; owned, NULL where there is none */
    double p_at_1[2];    /**< held-out anchors of j found among those of l, and the other way round;
                              NaN where there are none */
} mltfr_pair_report;

typedef struct mltfr_conditioning_report {
    const char *align, *control; /**< their words in the configuration; constant strings */
    int64_t K, r_c, r_s;
    mltfr_llm_report llms[MLTFR_MAX_LLMS];
    mltfr_pair_report *pairs; /**< [pair_count], (0,1), (0,2), .. (1,2), ..; owned */
    int64_t pair_count;
    int64_t hub; /**< the LLM that procrustes turns the others to; -1 for none */
    int64_t anchors, fitted, held_out;
    int64_t dims;        /**< entries of correlation: at most the narrowest width, or 0 */
    double *correlation; /**< [dims] on held-out anchors, mean over pairs (C19); owned */
    int64_t auto_dim;    /**< dimensions before the first with a correlation of .45 or less */
    double p_at_1;       /**< share of held-out anchors found; NaN where nothing was held out */
    double seconds[MLTFR_PHASES];
    double operations[MLTFR_PHASES]; /**< floating-point, of dense algebra, all ranks together */
    int64_t memory;                  /**< most bytes that a rank had resident */
} mltfr_conditioning_report;

/** Condition the tables of K LLMs and write the spaces file.  @collective{comm}
 *
 *  With one LLM, and with align = pca, the first r_c columns of each PCA-whitened space stand for
 *  its shared block, and the consensus space is their mean over the anchors; where tables have no
 *  anchors in common it is the first LLM's shared block.  For two and more LLMs such a consensus
 *  has no meaning, and a warning says so.
 *  @param out_path  replaced as a whole when everything is written
 *  @param report    filled in, to be given to mltfr_conditioning_clear, also after a failure; the
 *                   same on every rank
 *  @return MLTFR_E_USAGE if the widths or the anchors do not allow what is asked for, MLTFR_E_DATA
 *          for a table with values that are not finite, MLTFR_E_NUMERIC, MLTFR_E_IO; the same on
 *          every rank */
mltfr_status mltfr_condition(mltfr_comm *comm, const mltfr_table_source tables[], int64_t K,
                             const mltfr_conditioning_options *options, const char *out_path,
                             mltfr_conditioning_report *report);

/** "read", "anchors", .. : a constant string.  @local */
const char *mltfr_conditioning_phase_name(mltfr_conditioning_phase phase);

/** Dimensions that hold this share of the variance; the spectrum must be there.  @local */
int64_t mltfr_spectrum_dims(const mltfr_llm_report *llm, double share);

/** Print the report, a figure a line, `P@1 0.951` among them.  @local */
void mltfr_conditioning_say(const mltfr_conditioning_report *report);

/** Free what the report owns.  @local */
void mltfr_conditioning_clear(mltfr_conditioning_report *report);

/** Condition the tables of a golden file and write each data set of its `expect` groups at its
 *  own path of a new file.  @collective{comm}
 *  @return MLTFR_E_DATA if the file is no golden file of conditioning */
mltfr_status mltfr_replay_conditioning(mltfr_comm *comm, const char *in, const char *out);

#endif
