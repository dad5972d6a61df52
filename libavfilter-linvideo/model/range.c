/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/range.h"

#include <math.h>
#include <stdio.h>

enum { MAX_SIDE = 8192 };

static const struct {
    int dim, layers;
    LvRange range;
} wan[] = {
    /* 480p in any shape, 854x480 among them; 720p */
    { 1536, 30, { .min_pixels = 480 * 480, .max_pixels = 864 * 480, .max_frames = 81,
                  .lenient = 1 } },
    { 3072, 30, { .min_pixels = 480 * 480, .max_pixels = 1280 * 704, .max_frames = 121,
                  .lenient = 1 } },
    { 5120, 40, { .min_pixels = 480 * 480, .max_pixels = 1280 * 720, .max_frames = 81,
                  .lenient = 1 } },
};

LvRange lv_range_wan(const LvDitConfig *c, const LvVideoConfig *v)
{
    LvRange r;

    for (int i = 0; i < LV_COUNT(wan); i++)
        if (wan[i].dim == c->dim && wan[i].layers == c->layers) {
            r = wan[i].range;
            r.max_pixels = LV_MAX(r.max_pixels, v->width * v->height);
            r.max_frames = LV_MAX(r.max_frames, v->frames);
            return r;
        }
    return (LvRange) { 0 };
}

int lv_range_bounds_size(const LvRange *r)
{
    return r->min_width || r->max_width || r->min_height || r->max_height ||
           r->min_pixels || r->max_pixels;
}

static int is_small(const LvRange *r, int w, int h)
{
    return w < r->min_width || h < r->min_height || w * h < r->min_pixels;
}

/* Bounds of sides are rounded up as sizes are. */
static int is_large(const LvRange *r, const int step[2], int w, int h)
{
    return (r->max_width && w > LV_ROUND_UP(r->max_width, step[0])) ||
           (r->max_height && h > LV_ROUND_UP(r->max_height, step[1])) ||
           (r->max_pixels && w * h > r->max_pixels);
}

/* How far a size is from the one asked for: in shape, and a little in area. */
static double distance(const int asked[2], int w, int h)
{
    double x = log((double)w / asked[0]), y = log((double)h / asked[1]);

    return fabs(x - y) + 0.1 * fabs(x + y);
}

int lv_range_size(const LvRange *r, const int asked[2], const int step[2], int made[2])
{
    int w = LV_ROUND_UP(asked[0], step[0]), h = LV_ROUND_UP(asked[1], step[1]);
    double best = INFINITY, d;
    int large = is_large(r, step, w, h);

    made[0] = asked[0];
    made[1] = asked[1];
    if (!large && (r->lenient || !is_small(r, w, h)))
        return is_small(r, w, h) ? -1 : 0;
    for (w = step[0]; w <= MAX_SIDE; w += step[0])
        for (h = step[1]; h <= MAX_SIDE && !is_large(r, step, w, h); h += step[1])
            if (!is_small(r, w, h) && (d = distance(asked, w, h)) < best) {
                best    = d;
                made[0] = w;
                made[1] = h;
            }
    return made[0] != asked[0] || made[1] != asked[1];
}

int lv_range_frames(const LvRange *r, int asked)
{
    if (r->lenient)
        return asked;
    if (r->max_frames && asked > r->max_frames)
        return r->max_frames;
    return LV_MAX(asked, r->min_frames);
}

const char *lv_range_text(char text[LV_RANGE_TEXT], const LvRange *r)
{
    int sides = r->max_width && r->max_height;

    if (sides && r->min_width == r->max_width && r->min_height == r->max_height)
        snprintf(text, LV_RANGE_TEXT, "%dx%d", r->max_width, r->max_height);
    else if (sides)
        snprintf(text, LV_RANGE_TEXT, "%dx%d to %dx%d", r->min_width, r->min_height,
                 r->max_width, r->max_height);
    else if (r->max_pixels)
        snprintf(text, LV_RANGE_TEXT, "%d to %d pixels", r->min_pixels, r->max_pixels);
    else
        snprintf(text, LV_RANGE_TEXT, "any size, as far as it says");
    return text;
}
