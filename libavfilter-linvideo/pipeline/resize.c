/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Rows first, then columns, two rows at a time: as many as a sample of chroma spans, and
 * no whole frame lies in between.
 */

#include "pipeline/resize.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/common.h"
#include "base/deliver.h"

enum { BAND = 2, RADIUS = 2 };

static double cubic(double x)
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* Sample i lies at `center` of n; what would lie outside is the sample at the edge. */
static void fill_sample(LvAxis *a, int i, double center, double stretch, int n)
{
    int from  = (int)ceil(center - RADIUS * stretch), to = (int)floor(center + RADIUS * stretch);
    int first = LV_MIN(LV_MAX(from, 0), n - a->taps);
    float *w  = a->weight + (size_t)i * (size_t)a->taps;
    double sum = 0;

    a->first[i] = first;
    for (int k = from; k <= to; k++)
        sum += cubic((k - center) / stretch);
    for (int k = from; k <= to; k++)
        w[LV_MIN(LV_MAX(k, 0), n - 1) - first] += (float)(cubic((k - center) / stretch) / sum);
}

/* nb samples, a step apart, in the middle of n. */
static int axis_new(LvAxis *a, int n, int nb, double step)
{
    double stretch = LV_MAX(step, 1), offset = (n - nb * step) / 2;

    a->nb     = nb;
    a->taps   = LV_MIN(n, (int)(2 * RADIUS * stretch) + 1);
    a->first  = calloc((size_t)nb, sizeof(*a->first));
    a->weight = calloc((size_t)nb * (size_t)a->taps, sizeof(*a->weight));
    if (!a->first || !a->weight)
        return LV_ERR(ENOMEM);
    for (int i = 0; i < nb; i++)
        fill_sample(a, i, offset + (i + 0.5) * step - 0.5, stretch, n);
    return 0;
}

int lv_resize_new(LvResize *r, int rows, int cols, int height, int width)
{
    double step = LV_MIN((double)rows / height, (double)cols / width);

    assert(rows >= 1 && cols >= 1 && height >= 1 && width >= 1);
    *r      = (LvResize) { .cols = cols };
    r->row  = calloc(3 * (size_t)cols, sizeof(*r->row));
    r->band = calloc(3 * BAND * (size_t)width, sizeof(*r->band));
    if (!r->row || !r->band || axis_new(&r->y, rows, height, step) < 0)
        return LV_ERR(ENOMEM);
    return axis_new(&r->x, cols, width, step);
}

void lv_resize_free(LvResize *r)
{
    LvAxis *axes[] = { &r->y, &r->x };

    for (int i = 0; i < LV_COUNT(axes); i++) {
        free(axes[i]->first);
        free(axes[i]->weight);
    }
    free(r->row);
    free(r->band);
    *r = (LvResize) { 0 };
}

static void add_rows(const LvResize *r, const float *rgb, int y)
{
    size_t n = 3 * (size_t)r->cols;
    const float *w = r->y.weight + (size_t)y * (size_t)r->y.taps;
    float *restrict sum = r->row;

    for (int k = 0; k < r->y.taps; k++) {
        const float *restrict row = rgb + n * (size_t)(r->y.first[y] + k);
        for (size_t i = 0; i < n; i++)
            sum[i] = (k ? sum[i] : 0) + w[k] * row[i];
    }
}

static void add_columns(const LvResize *r, float *restrict out)
{
    const float *w = r->x.weight;

    for (int i = 0; i < r->x.nb; i++, out += 3, w += r->x.taps) {
        const float *restrict from = r->row + 3 * r->x.first[i];
        float sum[3] = { 0 };
        for (int k = 0; k < r->x.taps; k++)
            for (int c = 0; c < 3; c++)
                sum[c] += w[k] * from[3 * k + c];
        for (int c = 0; c < 3; c++)
            out[c] = sum[c];
    }
}

/* The rows of a frame from y on, which is even. */
static LvPlanes part_of(const LvPlanes *out, int y)
{
    int half = lv_planes_halve(out->format);
    LvPlanes part = *out;

    part.height = LV_MIN(BAND, out->height - y);
    for (int p = 0; p < 3; p++)
        if (part.data[p])
            part.data[p] += (half && p ? y / 2 : y) * out->stride[p];
    return part;
}

void lv_resize_deliver(const LvResize *r, const LvPlanes *out, const float *rgb)
{
    for (int y = 0; y < out->height; y += BAND) {
        LvPlanes part = part_of(out, y);
        for (int i = 0; i < part.height; i++) {
            add_rows(r, rgb, y + i);
            add_columns(r, r->band + 3 * (size_t)i * (size_t)r->x.nb);
        }
        lv_deliver(&part, r->band, part.height, out->width);
    }
}
