/* The moving average, row by row: w additions an entry, in the first cache. */
#include <mltfr/average.h>
#include <mltfr/kernel.h>

static int64_t rows_of(int64_t i, int64_t w)
{
    return i + 1 < w ? i + 1 : w;
}

MLTFR_KERNEL
void mltfr_average_forward(int64_t n, int64_t d, int64_t w, const float *restrict x,
                           float *restrict y)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t rows = rows_of(i, w);
        const float part = 1.f / (float)rows;
        float *out = y + i * d;

        for (int64_t j = 0; j < d; j++)
            out[j] = x[(i - rows + 1) * d + j];
        for (int64_t r = i - rows + 2; r <= i; r++)
            for (int64_t j = 0; j < d; j++)
                out[j] += x[r * d + j];
        for (int64_t j = 0; j < d; j++)
            out[j] *= part;
    }
}

MLTFR_KERNEL
void mltfr_average_backward(int64_t n, int64_t d, int64_t w, const float *restrict dy,
                            float *restrict dx)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t rows = rows_of(i, w);
        const float part = 1.f / (float)rows;

        for (int64_t r = i - rows + 1; r <= i; r++)
            for (int64_t j = 0; j < d; j++)
                dx[r * d + j] += part * dy[i * d + j];
    }
}
