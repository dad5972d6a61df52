/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/lora_fit.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/common.h"
#include "base/philox.h"

enum { BLOCK = 8 }; /* columns that are found at once */

/* Columns whose length falls to this share of it in making them orthogonal are noise. */
#define NOISE 1e-5

typedef struct Fit {
    float *d;
    size_t rows, cols;
    float *y;      /* [rows,BLOCK], orthonormal columns */
    float *z, *b;  /* [cols,BLOCK] and [BLOCK,cols] */
} Fit;

double lv_lora_norm(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* y = D z */
static void times(const Fit *f)
{
    for (size_t r = 0; r < f->rows; r++) {
        const float *d = f->d + r * f->cols;
        float sum[BLOCK] = { 0 };
        for (size_t c = 0; c < f->cols; c++)
            for (int k = 0; k < BLOCK; k++)
                sum[k] += d[c] * f->z[c * BLOCK + (size_t)k];
        memcpy(f->y + r * BLOCK, sum, sizeof(sum));
    }
}

/* b = y' D */
static void times_left(const Fit *f)
{
    memset(f->b, 0, BLOCK * f->cols * sizeof(*f->b));
    for (size_t r = 0; r < f->rows; r++)
        for (size_t k = 0; k < BLOCK; k++) {
            const float *d = f->d + r * f->cols, y = f->y[r * BLOCK + k];
            float *b = f->b + k * f->cols;
            for (size_t c = 0; c < f->cols; c++)
                b[c] += y * d[c];
        }
}

/* D -= y b */
static void take_away(const Fit *f)
{
    for (size_t r = 0; r < f->rows; r++)
        for (size_t k = 0; k < BLOCK; k++) {
            const float *b = f->b + k * f->cols, y = f->y[r * BLOCK + k];
            float *d = f->d + r * f->cols;
            for (size_t c = 0; c < f->cols; c++)
                d[c] -= y * b[c];
        }
}

/* z = b' */
static void turn(const Fit *f)
{
    for (size_t k = 0; k < BLOCK; k++)
        for (size_t c = 0; c < f->cols; c++)
            f->z[c * BLOCK + k] = f->b[k * f->cols + c];
}

static double dot(const float *x, size_t n, int i, int k)
{
    double sum = 0;

    for (size_t r = 0; r < n; r++)
        sum += (double)x[r * BLOCK + (size_t)i] * (double)x[r * BLOCK + (size_t)k];
    return sum;
}

static void scale(float *x, size_t n, int k, double by)
{
    for (size_t r = 0; r < n; r++)
        x[r * BLOCK + (size_t)k] = (float)(by * (double)x[r * BLOCK + (size_t)k]);
}

/* Column k without what it has of those before it. */
static void separate(float *x, size_t n, int k)
{
    for (int i = 0; i < k; i++) {
        double by = dot(x, n, i, k);
        for (size_t r = 0; r < n; r++)
            x[r * BLOCK + (size_t)k] -= (float)(by * (double)x[r * BLOCK + (size_t)i]);
    }
}

/* Columns of x [n,BLOCK] become orthonormal, or zero where they are of those before them. */
static void straighten(float *x, size_t n)
{
    for (int k = 0; k < BLOCK; k++) {
        double whole = sqrt(dot(x, n, k, k)), rest;
        separate(x, n, k);
        separate(x, n, k);
        rest = sqrt(dot(x, n, k, k));
        scale(x, n, k, rest > NOISE * whole ? 1 / rest : 0);
    }
}

/* Find the next columns, and take what they stand for out of D. */
static void find_block(const Fit *f, int number)
{
    lv_philox_normal(f->z, BLOCK * f->cols, 1, (uint64_t)number);
    times(f);
    straighten(f->y, f->rows);
    times_left(f);
    turn(f);
    straighten(f->z, f->cols);
    times(f);
    straighten(f->y, f->rows);
    times_left(f);
    take_away(f);
}

/* The column that stands for most and is not taken yet. */
static int largest(const double *size, const char *taken)
{
    int best = -1;

    for (int k = 0; k < BLOCK; k++)
        if (!taken[k] && (best < 0 || size[k] > size[best]))
            best = k;
    return best;
}

/* One more column of up, kept as a row, and row of down. size: the length of the latter */
static void add_column(LvLoraFit *fit, const Fit *f, int k, double size)
{
    float *up   = fit->up + (size_t)fit->rank * f->rows;
    float *down = fit->down + (size_t)fit->rank * f->cols;
    double share = sqrt(size);

    for (size_t r = 0; r < f->rows; r++)
        up[r] = (float)(share * (double)f->y[r * BLOCK + (size_t)k]);
    for (size_t c = 0; c < f->cols; c++)
        down[c] = (float)((double)f->b[(size_t)k * f->cols + c] / share);
    fit->rank++;
}

/* Add columns of a block until the bound is met. @return whether it is, or no more is found */
static int add_block(LvLoraFit *fit, const Fit *f, int most, double bound)
{
    double rest = lv_lora_norm(f->d, f->rows * f->cols), size[BLOCK], left = rest * rest;
    char taken[BLOCK] = { 0 };
    int best, first = fit->rank;

    for (int k = 0; k < BLOCK; k++) {
        size[k] = lv_lora_norm(f->b + (size_t)k * f->cols, f->cols);
        left   += size[k] * size[k];
    }
    while (fit->rank < most && left > bound * bound && (best = largest(size, taken)) >= 0 &&
           size[best] > 0) {
        add_column(fit, f, best, size[best]);
        taken[best] = 1;
        left        = rest * rest;
        for (int k = 0; k < BLOCK; k++)
            left += taken[k] ? 0 : size[k] * size[k];
    }
    fit->error = sqrt(left);
    return left <= bound * bound || fit->rank < LV_MIN(first + BLOCK, most);
}

/* Rows become the columns that they stand for. */
static int lay_out(LvLoraFit *fit, size_t rows)
{
    size_t rank = (size_t)fit->rank;
    float *up   = lv_alloc((rank * rows + 1) * sizeof(*up));

    for (size_t k = 0; up && k < rank; k++)
        for (size_t r = 0; r < rows; r++)
            up[r * rank + k] = fit->up[k * rows + r];
    lv_free(fit->up);
    fit->up = up;
    return up ? 0 : LV_ERR(ENOMEM);
}

int lv_lora_fit(LvLoraFit *fit, float *d, size_t rows, size_t cols, int most, double bound)
{
    Fit f = { .d = d, .rows = rows, .cols = cols };
    int ret = 0, number = 0;

    *fit = (LvLoraFit) { .up   = lv_alloc((size_t)most * rows * sizeof(float)),
                         .down = lv_alloc((size_t)most * cols * sizeof(float)),
                         .error = lv_lora_norm(d, rows * cols) };
    f.y = lv_alloc(BLOCK * rows * sizeof(float));
    f.z = lv_alloc(2 * BLOCK * cols * sizeof(float));
    f.b = f.z + (f.z ? BLOCK * cols : 0);
    if (!fit->up || !fit->down || !f.y || !f.z)
        ret = LV_ERR(ENOMEM);
    for (int met = fit->error <= bound; ret >= 0 && !met && fit->rank < most;) {
        find_block(&f, number++);
        met = add_block(fit, &f, most, bound);
    }
    lv_free(f.y);
    lv_free(f.z);
    return ret < 0 ? ret : lay_out(fit, rows);
}

void lv_lora_fit_free(LvLoraFit *fit)
{
    lv_freep(&fit->up);
    lv_freep(&fit->down);
}
