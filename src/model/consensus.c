/* From Fisher statistics to the consensus expert (E17-E19).  Ah_k = A_k r_c / tr A_k does not
 * depend on the scale of A_k, so the system is built from the sums themselves. */
#include <mltfr/consensus.h>
#include <mltfr/kernel.h>
#include <mltfr/mem.h>

#include <math.h>

mltfr_status mltfr_fisher_create(int64_t K, int64_t r_c, mltfr_fisher **out)
{
    mltfr_status st = MLTFR_OK;
    mltfr_fisher *fisher = NULL;

    *out = NULL;
    MLTFR_TRY(MLTFR_NEW(fisher, 1));
    fisher->K = K;
    fisher->r_c = r_c;
    MLTFR_TRY(MLTFR_NEW(fisher->num_A, K * r_c * r_c));
    MLTFR_TRY(MLTFR_NEW(fisher->sum_omega, K));
    MLTFR_TRY(MLTFR_NEW(fisher->num_beta, K));
    MLTFR_TRY(MLTFR_NEW(fisher->n_rows, K));
    *out = fisher;
    fisher = NULL;
done:
    mltfr_fisher_destroy(&fisher);
    return st;
}

void mltfr_fisher_destroy(mltfr_fisher **fisher)
{
    if (*fisher == NULL)
        return;
    MLTFR_FREE((*fisher)->num_A);
    MLTFR_FREE((*fisher)->sum_omega);
    MLTFR_FREE((*fisher)->num_beta);
    MLTFR_FREE((*fisher)->n_rows);
    MLTFR_FREE(*fisher);
}

static void decay_add(int64_t count, double decay, double *sum, const double *fresh)
{
    for (int64_t i = 0; i < count; i++)
        sum[i] = decay * sum[i] + fresh[i];
}

void mltfr_fisher_add(mltfr_fisher *fisher, const mltfr_fisher *fresh, double decay)
{
    int64_t K = fisher->K;

    decay_add(K * fisher->r_c * fisher->r_c, decay, fisher->num_A, fresh->num_A);
    decay_add(K, decay, fisher->sum_omega, fresh->sum_omega);
    decay_add(K, decay, fisher->num_beta, fresh->num_beta);
    decay_add(K, decay, fisher->n_rows, fresh->n_rows);
}

static double ratio(double numerator, double denominator)
{
    return denominator > 0 ? numerator / denominator : 0;
}

void mltfr_fisher_ratios(const mltfr_fisher *fisher, double *A, double *s, double *beta)
{
    int64_t size = fisher->r_c * fisher->r_c;

    for (int64_t k = 0; k < fisher->K; k++) {
        double omega = fisher->sum_omega[k];

        for (int64_t i = 0; A != NULL && i < size; i++)
            A[k * size + i] = ratio(fisher->num_A[k * size + i], omega);
        if (s != NULL)
            s[k] = ratio(omega, fisher->n_rows[k]);
        if (beta != NULL)
            beta[k] = ratio(fisher->num_beta[k], omega);
    }
}

/* Trace of expert k's sum of omega x x^T. */
static double trace(const mltfr_fisher *fisher, int64_t k)
{
    double sum = 0;

    for (int64_t i = 0; i < fisher->r_c; i++)
        sum += fisher->num_A[(k * fisher->r_c + i) * fisher->r_c + i];
    return sum;
}

/* (s_k beta_k tr A_k)^kappa; 0 where there are no statistics (C9). */
static double raw_weight(const mltfr_fisher *fisher, int64_t k, double kappa)
{
    double omega = fisher->sum_omega[k], s = ratio(omega, fisher->n_rows[k]);
    double information = s * ratio(fisher->num_beta[k], omega) * ratio(trace(fisher, k), omega);

    return information > 0 ? pow(information, kappa) : 0;
}

static double clipped(double x, double clip, int64_t n)
{
    double low = 1 / clip / (double)n, high = clip / (double)n;

    return x < low ? low : x > high ? high : x;
}

static double clipped_sum(int64_t K, const double *w, double c, double clip, int64_t n)
{
    double sum = 0;

    for (int64_t k = 0; k < K; k++)
        sum += w[k] > 0 ? clipped(c * w[k], clip, n) : 0;
    return sum;
}

/* phi = clip(c w) over the n positive w, c such that the sum is 1: it grows with c. */
static void bound(int64_t K, double clip, double *w)
{
    int64_t n = 0;
    double total = 0, low = -60, high = 60;

    for (int64_t k = 0; k < K; k++) {
        n += w[k] > 0;
        total += w[k];
    }
    for (int64_t k = 0; n > 0 && k < K; k++)
        w[k] /= total;
    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2;

        if (clipped_sum(K, w, exp(middle), clip, n) < 1)
            low = middle;
        else
            high = middle;
    }
    for (int64_t k = 0; k < K; k++)
        w[k] = w[k] > 0 ? clipped(exp((low + high) / 2) * w[k], clip, n) : 0;
}

void mltfr_fisher_phi(const mltfr_fisher *fisher, mltfr_consensus_rule rule, double kappa,
                      double clip, double *phi)
{
    int64_t K = fisher->K;

    for (int64_t k = 0; k < K; k++)
        phi[k] = rule == MLTFR_CONSENSUS_UNIFORM ? 1. / (double)K : raw_weight(fisher, k, kappa);
    if (rule != MLTFR_CONSENSUS_UNIFORM)
        bound(K, clip, phi);
}

/* Element (i, j) of phi_k Ah_k before scaling: A_k, its diagonal, or the identity. */
static double element(const mltfr_fisher *fisher, mltfr_consensus_rule rule, int64_t k, int64_t i,
                      int64_t j)
{
    if (rule != MLTFR_CONSENSUS_KRON && i != j)
        return 0;
    if (rule == MLTFR_CONSENSUS_UNIFORM)
        return 1;
    return fisher->num_A[(k * fisher->r_c + i) * fisher->r_c + j];
}

/* rhs_row += g W_row. */
MLTFR_KERNEL
static void add_row(int64_t d, double g, const float *W, double *rhs)
{
    for (int64_t c = 0; c < d; c++)
        rhs[c] += g * W[c];
}

void mltfr_consensus_system(const mltfr_fisher *fisher, mltfr_consensus_rule rule,
                            const double *phi, double lam, int64_t d, const float *const W_k[],
                            const float *W_c, double *lhs, double *rhs)
{
    int64_t r_c = fisher->r_c;

    for (int64_t i = 0; i < r_c * r_c; i++)
        lhs[i] = i / r_c == i % r_c ? lam : 0;
    for (int64_t i = 0; i < r_c * d; i++)
        rhs[i] = lam * W_c[i];
    for (int64_t k = 0; k < fisher->K; k++) {
        double scale = rule == MLTFR_CONSENSUS_UNIFORM ? 1 : ratio((double)r_c, trace(fisher, k));

        if (!(phi[k] > 0))
            continue;
        for (int64_t i = 0; i < r_c; i++)
            for (int64_t j = 0; j < r_c; j++) {
                double g = phi[k] * scale * element(fisher, rule, k, i, j);

                lhs[i * r_c + j] += g;
                if (g != 0)
                    add_row(d, g, W_k[k] + j * d, rhs + i * d);
            }
    }
}

double mltfr_consensus_residual(int64_t r_c, int64_t d, const double *lhs, const double *rhs,
                                const double *W)
{
    double off = 0, size = 0;

    for (int64_t i = 0; i < r_c; i++)
        for (int64_t c = 0; c < d; c++) {
            double r = -rhs[i * d + c];

            for (int64_t j = 0; j < r_c; j++)
                r += lhs[i * r_c + j] * W[j * d + c];
            off += r * r;
            size += rhs[i * d + c] * rhs[i * d + c];
        }
    return off == 0 ? 0 : sqrt(off / size);
}

void mltfr_consensus_blend(int64_t count, double eta, const double *W, float *W_c)
{
    for (int64_t i = 0; i < count; i++)
        W_c[i] = (float)((1 - eta) * W_c[i] + eta * W[i]);
}

void mltfr_consensus_pull(int64_t count, double lr, double rho, int low, const float *W_c,
                          float *W_k)
{
    double rate = lr * rho * (low ? 2 : 1);

    for (int64_t i = 0; i < count; i++)
        W_k[i] = (float)(W_k[i] - rate * ((double)W_k[i] - W_c[i]));
}
