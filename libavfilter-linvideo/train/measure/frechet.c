/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/measure/frechet.h"

#include <math.h>
#include <string.h>

#include "base/philox.h"

enum { LAYERS = 4, COLUMNS = 48, ROWS = 28, TAPS = 27 };

#define LEAK 0.2f

typedef struct Layer {
    int in, out;
    int stride[3]; ///< frames, rows, columns
} Layer;

static const Layer layers[LAYERS] = {
    { 3, 16, { 1, 2, 2 } }, { 16, 32, { 2, 2, 2 } }, { 32, 64, { 1, 1, 1 } },
    { 64, 128, { 2, 2, 2 } },
};

struct LvFeatureNet {
    int width, height;     ///< of clips
    int size[LAYERS + 1][3]; ///< frames, rows, columns before and after each layer
    float *weight[LAYERS]; ///< [27,in,out]
    float *value[LAYERS + 1]; ///< [frames,rows,columns,channels]
};

/* The network */

static size_t weights(int i)
{
    return (size_t)TAPS * layers[i].in * layers[i].out;
}

static size_t values(const LvFeatureNet *n, int i)
{
    return (size_t)n->size[i][0] * n->size[i][1] * n->size[i][2] *
           (i ? layers[i - 1].out : layers[0].in);
}

static void set_sizes(LvFeatureNet *n, int frames)
{
    n->size[0][0] = frames;
    n->size[0][1] = LV_MIN(ROWS, n->height);
    n->size[0][2] = LV_MIN(COLUMNS, n->width);
    for (int i = 0; i < LAYERS; i++)
        for (int d = 0; d < 3; d++)
            n->size[i + 1][d] = (n->size[i][d] - 1) / layers[i].stride[d] + 1;
}

int lv_features_new(LvFeatureNet **out, uint64_t seed, int width, int height,
                    int frames)
{
    LvFeatureNet *n = *out = lv_alloc(sizeof(*n));

    if (!n)
        return LV_ERR(ENOMEM);
    n->width  = width;
    n->height = height;
    set_sizes(n, frames);
    for (int i = 0; i <= LAYERS; i++) {
        n->value[i] = lv_alloc(values(n, i) * sizeof(float));
        if (i < LAYERS)
            n->weight[i] = lv_alloc(weights(i) * sizeof(float));
        if (!n->value[i] || (i < LAYERS && !n->weight[i])) {
            lv_features_free(out);
            return LV_ERR(ENOMEM);
        }
    }
    for (int i = 0; i < LAYERS; i++) {
        float scale = sqrtf(2 / (1 + LEAK * LEAK) / (TAPS * layers[i].in));

        lv_philox_normal(n->weight[i], weights(i), seed, i);
        for (size_t k = 0; k < weights(i); k++)
            n->weight[i][k] *= scale;
    }
    return 0;
}

void lv_features_free(LvFeatureNet **net)
{
    if (!net || !*net)
        return;
    for (int i = 0; i <= LAYERS; i++)
        lv_free((*net)->value[i]);
    for (int i = 0; i < LAYERS; i++)
        lv_free((*net)->weight[i]);
    lv_freep(net);
}

/* Means over the pixels of each square; squares differ by a pixel where they must. */
static void shrink(const LvFeatureNet *n, const float *rgb)
{
    int rows = n->size[0][1], columns = n->size[0][2];
    float *dst = n->value[0];

    for (int f = 0; f < n->size[0][0]; f++) {
        const float *frame = rgb + (size_t)3 * f * n->width * n->height;

        for (int i = 0; i < rows * columns; i++, dst += 3) {
            int y0 = i / columns * n->height / rows;
            int x0 = i % columns * n->width / columns;
            int y1 = (i / columns + 1) * n->height / rows;
            int x1 = (i % columns + 1) * n->width / columns;
            float sum[3] = { 0 };

            for (int y = y0; y < y1; y++)
                for (int x = x0; x < x1; x++)
                    for (int c = 0; c < 3; c++)
                        sum[c] += frame[3 * ((size_t)y * n->width + x) + c];
            for (int c = 0; c < 3; c++)
                dst[c] = sum[c] / ((y1 - y0) * (x1 - x0)) - 0.5f;
        }
    }
}

/* Add one input cell times one tap's weights, [in,out], to a cell of the result. */
static void add_tap(float *restrict y, const float *restrict x, const float *restrict w,
                    int in, int out)
{
    for (int i = 0; i < in; i++) {
        const float *row = w + (size_t)i * out;
        float v = x[i];

#pragma omp simd
        for (int o = 0; o < out; o++)
            y[o] += v * row[o];
    }
}

static void convolve_cell(const LvFeatureNet *n, int layer, const int at[3], float *y)
{
    const Layer *l = &layers[layer];
    const int *size = n->size[layer];

    memset(y, 0, l->out * sizeof(*y));
    for (int tap = 0; tap < TAPS; tap++) {
        int f = at[0] * l->stride[0] + tap / 9 - 1;
        int r = at[1] * l->stride[1] + tap / 3 % 3 - 1;
        int c = at[2] * l->stride[2] + tap % 3 - 1;

        if (f < 0 || r < 0 || c < 0 || f >= size[0] || r >= size[1] || c >= size[2])
            continue;
        add_tap(y, n->value[layer] + (((size_t)f * size[1] + r) * size[2] + c) * l->in,
                n->weight[layer] + (size_t)tap * l->in * l->out, l->in, l->out);
    }
    for (int o = 0; o < l->out; o++)
        y[o] = y[o] < 0 ? LEAK * y[o] : y[o];
}

static void convolve(const LvFeatureNet *n, int layer)
{
    const int *size = n->size[layer + 1];
    float *y = n->value[layer + 1];

    for (int i = 0; i < size[0] * size[1] * size[2]; i++, y += layers[layer].out) {
        const int at[3] = { i / size[2] / size[1], i / size[2] % size[1], i % size[2] };

        convolve_cell(n, layer, at, y);
    }
}

void lv_features_clip(LvFeatureNet *net, const float *rgb, float features[LV_FEATURES])
{
    enum { CHANNELS = LV_FEATURES / 2 };
    double sum[CHANNELS] = { 0 }, squares[CHANNELS] = { 0 };
    const float *y = net->value[LAYERS];
    size_t cells = values(net, LAYERS) / CHANNELS;

    shrink(net, rgb);
    for (int i = 0; i < LAYERS; i++)
        convolve(net, i);
    for (size_t i = 0; i < cells * CHANNELS; i++) {
        sum[i % CHANNELS]     += y[i];
        squares[i % CHANNELS] += (double)y[i] * y[i];
    }
    for (int c = 0; c < CHANNELS; c++) {
        double mean = sum[c] / cells, var = squares[c] / cells - mean * mean;

        features[c]            = (float)mean;
        features[CHANNELS + c] = (float)sqrt(LV_MAX(var, 0));
    }
}

/* Matrices are [d,d], row after row. */

static double dot(const double *a, const double *b, int d)
{
    double sum = 0;

    for (int i = 0; i < d; i++)
        sum += a[i] * b[i];
    return sum;
}

/*
 * One-sided Jacobi (Hestenes): rotate pairs of rows until all are orthogonal. The norms
 * of the rows are then the singular values; of a symmetric positive matrix they are the
 * eigenvalues, and the rows eigenvectors of that length.
 */
static void orthogonalize(double *m, int d)
{
    int rotated = 1;

    for (int sweep = 0; sweep < 40 && rotated; sweep++) {
        rotated = 0;
        for (int p = 0; p < d - 1; p++) {
            for (int q = p + 1; q < d; q++) {
                double *a = m + (size_t)p * d, *b = m + (size_t)q * d;
                double ab = dot(a, b, d), aa = dot(a, a, d), bb = dot(b, b, d), z, t, c;

                if (fabs(ab) <= 1e-13 * sqrt(aa * bb) || ab == 0)
                    continue;
                rotated = 1;
                z = (bb - aa) / (2 * ab);
                t = copysign(1, z) / (fabs(z) + sqrt(1 + z * z));
                c = 1 / sqrt(1 + t * t);
                for (int i = 0; i < d; i++) {
                    double x = a[i], y = b[i];

                    a[i] = c * (x - t * y);
                    b[i] = c * (t * x + y);
                }
            }
        }
    }
}

/* root = m^1/2 for symmetric positive m, which is overwritten. */
static void square_root(double *root, double *m, int d)
{
    memset(root, 0, sizeof(*root) * d * d);
    orthogonalize(m, d);
    for (int k = 0; k < d; k++) {
        const double *v = m + (size_t)k * d;
        double value = sqrt(dot(v, v, d)), scale;

        if (value <= 0)
            continue;
        scale = pow(value, -1.5);
        for (int i = 0; i < d; i++)
            for (int j = 0; j < d; j++)
                root[(size_t)i * d + j] += scale * v[i] * v[j];
    }
}

/* Sum of the singular values of a b. */
static double nuclear(const double *a, const double *b, double *product, int d)
{
    double sum = 0;

    memset(product, 0, sizeof(*product) * d * d);
    for (int i = 0; i < d * d; i++) {
        double *row = product + (size_t)(i / d) * d, value = a[i];
        const double *other = b + (size_t)(i % d) * d;

        for (int j = 0; j < d; j++)
            row[j] += value * other[j];
    }
    orthogonalize(product, d);
    for (int i = 0; i < d; i++)
        sum += sqrt(dot(product + (size_t)i * d, product + (size_t)i * d, d));
    return sum;
}

static double trace(const double *m, int d)
{
    double sum = 0;

    for (int i = 0; i < d; i++)
        sum += m[(size_t)i * d + i];
    return sum;
}

/* Shrink towards the identity times the mean variance. */
static void shrink_covariance(double *m, int n, int d)
{
    double tr = trace(m, d), squares = dot(m, m, d * d), above, below, share;

    above = (1 - 2.0 / d) * squares + tr * tr;
    below = (n + 1 - 2.0 / d) * (squares - tr * tr / d);
    share = below > above ? above / below : 1;
    for (int i = 0; i < d * d; i++)
        m[i] *= 1 - share;
    for (int i = 0; i < d; i++)
        m[(size_t)i * d + i] += share * tr / d;
}

static void statistics(double *mean, double *cov, const float *x, int n, int d)
{
    memset(mean, 0, sizeof(*mean) * d);
    memset(cov, 0, sizeof(*cov) * d * d);
    for (int k = 0; k < n; k++)
        for (int i = 0; i < d; i++)
            mean[i] += (double)x[(size_t)k * d + i] / n;
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < d; i++) {
            double v = (x[(size_t)k * d + i] - mean[i]) / (n - 1);

            for (int j = 0; j < d; j++)
                cov[(size_t)i * d + j] += v * (x[(size_t)k * d + j] - mean[j]);
        }
    }
    shrink_covariance(cov, n, d);
}

int lv_frechet(const float *a, int na, const float *b, int nb, int dim, double *out)
{
    size_t size = (size_t)dim * dim;
    double *room = lv_alloc((4 * size + 2 * dim) * sizeof(*room));
    double *cov_a = room, *cov_b = room + size, *root_a = room + 2 * size;
    double *root_b = room + 3 * size, *mean_a = room + 4 * size, *mean_b = mean_a + dim;
    double sum = 0;

    if (!room)
        return LV_ERR(ENOMEM);
    statistics(mean_a, cov_a, a, na, dim);
    statistics(mean_b, cov_b, b, nb, dim);
    for (int i = 0; i < dim; i++)
        sum += (mean_a[i] - mean_b[i]) * (mean_a[i] - mean_b[i]);
    sum += trace(cov_a, dim) + trace(cov_b, dim);
    square_root(root_a, cov_a, dim);
    square_root(root_b, cov_b, dim);
    sum -= 2 * nuclear(root_a, root_b, cov_a, dim);
    *out = LV_MAX(sum, 0);
    lv_free(room);
    return 0;
}
