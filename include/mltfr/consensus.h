/** @file mltfr/consensus.h
 *  From Fisher statistics to the consensus expert (method E17-E19).  Layer: model.  @local
 *
 *  Statistics are double; a set for K experts and width r_c. */
#ifndef MLTFR_CONSENSUS_H
#define MLTFR_CONSENSUS_H

#include <mltfr/status.h>

#include <stdint.h>

/** EMA sums of E17 (C8), global: the same on every rank. */
typedef struct {
    int64_t K, r_c;
    double *num_A;     /**< [K][r_c][r_c] */
    double *sum_omega; /**< [K] */
    double *num_beta;  /**< [K] */
    double *n_rows;    /**< [K] */
} mltfr_fisher;

typedef enum {
    MLTFR_CONSENSUS_KRON,
    MLTFR_CONSENSUS_DIAGONAL,
    MLTFR_CONSENSUS_UNIFORM
} mltfr_consensus_rule;

/** Empty statistics of K experts, owned by the caller; destroy sets *fisher to NULL. */
mltfr_status mltfr_fisher_create(int64_t K, int64_t r_c, mltfr_fisher **out);
void mltfr_fisher_destroy(mltfr_fisher **fisher);

/** S <- decay S + fresh, for all four sums. */
void mltfr_fisher_add(mltfr_fisher *fisher, const mltfr_fisher *fresh, double decay);

/** Ratios (C9: zero where there are no statistics): A [K][r_c][r_c], s, beta [K]; NULL allowed. */
void mltfr_fisher_ratios(const mltfr_fisher *fisher, double *A, double *s, double *beta);

/** phi of E18: tempered by kappa, kept within [1/(clip n), clip/n] with sum 1, 0 where no
 *  statistics.  Uniform rule: 1/n over all K.  */
void mltfr_fisher_phi(const mltfr_fisher *fisher, mltfr_consensus_rule rule, double kappa,
                      double clip, double *phi);

/** Left and right side of E18: lhs [r_c][r_c] = sum phi Ah + lam I,
 *  rhs [r_c][d] = sum phi Ah W_k + lam W_c (kron and uniform; diagonal: Ah = diag(A_k) r_c / tr).
 *  @param W_k  [K] pointers to the shared block of W_v,k, [r_c][d]     @param W_c  [r_c][d] */
void mltfr_consensus_system(const mltfr_fisher *fisher, mltfr_consensus_rule rule,
                            const double *phi, double lam, int64_t d, const float *const W_k[],
                            const float *W_c, double *lhs, double *rhs);

/** Relative residual of the identity in E19:
 *  |sum phi Ah (W - W_k) + lam (W - W_c)| / |rhs|  (must be <= 1e-4). */
double mltfr_consensus_residual(int64_t r_c, int64_t d, const double *lhs, const double *rhs,
                                const double *W);

/** W_c <- (1 - eta) W_c + eta W. */
void mltfr_consensus_blend(int64_t count, double eta, const double *W, float *W_c);

/** E19: W_k -= lr rho (1 + low) (W_k - W_c), `low` = load_k < .5 mean load. */
void mltfr_consensus_pull(int64_t count, double lr, double rho, int low, const float *W_c,
                          float *W_k);

#endif
