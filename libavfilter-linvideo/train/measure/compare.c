/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/measure/compare.h"

#include <math.h>
#include <stdlib.h>

enum { STUDENT, TEACHER, OTHER, SETS };

struct LvComparison {
    LvFeatureNet *net;
    int clips, taken, frames;
    size_t frame;          /* values of a frame */
    float *features[SETS];   /* [clips,LV_FEATURES] */
    double flicker[SETS];    /* sums */
    double *same, *apart;    /* [clips] mean squares */
};

int lv_comparison_new(LvComparison **out, int clips, int width, int height, int frames)
{
    LvComparison *c = *out = calloc(1, sizeof(*c));
    int ret = c ? lv_features_new(&c->net, 0, width, height, frames) : LV_ERR(ENOMEM);

    if (ret >= 0) {
        c->clips   = clips;
        c->frames  = frames;
        c->frame = 3 * (size_t)width * (size_t)height;
        for (int i = 0; i < SETS; i++)
            if (!(c->features[i] = lv_alloc((size_t)clips * LV_FEATURES * sizeof(float))))
                ret = LV_ERR(ENOMEM);
        c->same  = calloc((size_t)clips, sizeof(*c->same));
        c->apart = calloc((size_t)clips, sizeof(*c->apart));
        if (!c->same || !c->apart)
            ret = LV_ERR(ENOMEM);
    }
    if (ret < 0)
        lv_comparison_free(out);
    return ret;
}

void lv_comparison_free(LvComparison **out)
{
    LvComparison *c = *out;

    if (!c)
        return;
    lv_features_free(&c->net);
    for (int i = 0; i < SETS; i++)
        lv_free(c->features[i]);
    free(c->same);
    free(c->apart);
    free(c);
    *out = NULL;
}

static double mean_square(const float *a, const float *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sum / (double)n;
}

void lv_comparison_add(LvComparison *c, const float *student, const float *teacher,
                       const float *other)
{
    const float *const clip[SETS] = { student, teacher, other };
    size_t n = c->frame * (size_t)c->frames;

    for (int i = 0; i < SETS; i++) {
        lv_features_clip(c->net, clip[i], c->features[i] +
                         (size_t)c->taken * LV_FEATURES);
        c->flicker[i] += lv_measure_flicker(clip[i], c->frames, c->frame).index;
    }
    c->same[c->taken]  = mean_square(student, teacher, n);
    c->apart[c->taken] = mean_square(teacher, other, n);
    c->taken++;
}

static double ratio(double a, double b)
{
    return a / LV_MAX(b, 1e-30);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* @return mean; error: standard error of it; sorts */
static double spread(double *v, int n, double *median, double *error)
{
    double mean = 0, square = 0;

    for (int i = 0; i < n; i++)
        mean += v[i] / n;
    for (int i = 0; i < n; i++)
        square += (v[i] - mean) * (v[i] - mean);
    qsort(v, (size_t)n, sizeof(*v), by_size);
    *median = (v[(n - 1) / 2] + v[n / 2]) / 2;
    *error  = sqrt(square / LV_MAX(n - 1, 1) / n);
    return mean;
}

static void finish_distances(LvComparison *c, LvCompared *out)
{
    double error, unused;

    out->distance         = spread(c->same, c->taken, &out->median, &error);
    out->distance_teacher = spread(c->apart, c->taken, &out->median_teacher, &unused);
    out->distance_ratio   = ratio(out->distance, out->distance_teacher);
    out->distance_error   = ratio(error, out->distance_teacher);
    out->median_ratio     = ratio(out->median, out->median_teacher);
}

int lv_comparison_finish(LvComparison *c, LvCompared *out)
{
    const struct { int a, b; double *to; } pair[] = {
        { STUDENT, OTHER, &out->frechet }, { TEACHER, OTHER, &out->frechet_teacher },
        { STUDENT, TEACHER, &out->frechet_same },
    };

    for (int i = 0; i < LV_COUNT(pair); i++) {
        int ret = lv_frechet(c->features[pair[i].a], c->taken, c->features[pair[i].b],
                             c->taken, LV_FEATURES, pair[i].to);
        if (ret < 0)
            return ret;
    }
    out->flicker          = c->flicker[STUDENT] / c->taken;
    out->flicker_teacher  = c->flicker[TEACHER] / c->taken;
    out->frechet_ratio    = ratio(out->frechet, out->frechet_teacher);
    out->flicker_ratio    = ratio(out->flicker, out->flicker_teacher);
    finish_distances(c, out);
    return 0;
}
