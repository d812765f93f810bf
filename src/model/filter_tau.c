/* Calibration of tau (C13): the mean entropy of softmax(tau s) falls as tau rises, from log m to
 * 0, so a bisection on log tau finds the level asked for. */
#include <mltfr/filter.h>

#include <math.h>

/* With e_j = exp(tau (s_j - max s)): entropy = log sum e - sum e_j log e_j / sum e. */
static double row_entropy(int64_t m, const float *s, double tau)
{
    double sum = 0, weighted = 0, max = s[0];

    for (int64_t j = 1; j < m; j++)
        max = s[j] > max ? s[j] : max;
    for (int64_t j = 0; j < m; j++) {
        double x = tau * (s[j] - max), e = exp(x);

        sum += e;
        weighted += e > 0 ? e * x : 0;
    }
    return log(sum) - weighted / sum;
}

double mltfr_filter_entropy(int64_t n, int64_t m, const float *s, double tau)
{
    double total = 0;

    for (int64_t i = 0; i < n; i++)
        total += row_entropy(m, s + i * m, tau);
    return total;
}

double mltfr_filter_calibrate(mltfr_entropy_of *mean_entropy, void *context, double target)
{
    double low = -12, high = 12, middle = 0;

    while (middle > low && middle < high) { /* until no number lies between them */
        if (mean_entropy(context, middle) > target)
            low = middle;
        else
            high = middle;
        middle = (low + high) / 2;
    }
    return middle;
}
