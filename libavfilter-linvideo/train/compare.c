/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/compare.h"

#include <stdlib.h>

enum { STUDENT, TEACHER, OTHER, SETS };

struct LvComparison {
    LvFeatureNet *net;
    int clips, taken, frames;
    size_t picture;          /* values of a picture */
    float *features[SETS];   /* [clips,LV_FEATURES] */
    double flicker[SETS];    /* sums */
    double same, apart;      /* sums of mean squares */
};

int lv_comparison_new(LvComparison **out, int clips, int width, int height, int frames)
{
    LvComparison *c = *out = calloc(1, sizeof(*c));
    int ret = c ? lv_features_new(&c->net, 0, width, height, frames) : LV_ERR(ENOMEM);

    if (ret >= 0) {
        c->clips   = clips;
        c->frames  = frames;
        c->picture = 3 * (size_t)width * (size_t)height;
        for (int i = 0; i < SETS; i++)
            if (!(c->features[i] = lv_alloc((size_t)clips * LV_FEATURES * sizeof(float))))
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
    size_t n = c->picture * (size_t)c->frames;

    for (int i = 0; i < SETS; i++) {
        lv_features_clip(c->net, clip[i], c->features[i] +
                         (size_t)c->taken * LV_FEATURES);
        c->flicker[i] += lv_measure_flicker(clip[i], c->frames, c->picture).index;
    }
    c->same  += mean_square(student, teacher, n);
    c->apart += mean_square(teacher, other, n);
    c->taken++;
}

static double ratio(double a, double b)
{
    return a / LV_MAX(b, 1e-30);
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
    out->distance         = c->same / c->taken;
    out->distance_teacher = c->apart / c->taken;
    out->frechet_ratio    = ratio(out->frechet, out->frechet_teacher);
    out->flicker_ratio    = ratio(out->flicker, out->flicker_teacher);
    out->distance_ratio   = ratio(out->distance, out->distance_teacher);
    return 0;
}
