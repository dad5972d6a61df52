/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A picture being drawn, and when.
 * Floor train/clips: knows pixels, no scenes.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_PAINT_H
#define LINVIDEO_TRAIN_CLIPS_PAINT_H

#include <math.h>
#include <stddef.h>
#include "train/clips/color.h"

/** Radians of a whole turn. */
#define LV_TURN 6.28318531f

/** A picture being drawn. */
typedef struct LvPaint {
    float *rgb;         ///< [height,width,3], sRGB values 0..1
    int width, height;
    float unit;         ///< pixels of the shorter side
} LvPaint;

/** When a frame is. */
typedef struct LvClock {
    float seconds;      ///< since the first frame
    float part;         ///< of the clip, 0 at the first frame, 1 at the last
} LvClock;

/** Mix a colour into pixel (x, y), which is inside. */
static inline void lv_paint_dot(LvPaint *p, int x, int y, const float color[3],
                                float part)
{
    float *px = p->rgb + 3 * ((size_t)y * p->width + x);

    lv_color_mix(px, px, color, part);
}

/** What x has behind its point: 0 up to 1. */
static inline float lv_fraction(float x)
{
    return x - floorf(x);
}

/** From 0 at `from` to 1 at `to`, without corners; `to` may be the smaller. */
static inline float lv_smooth(float from, float to, float x)
{
    float t = (x - from) / (to - from);

    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return t * t * (3 - 2 * t);
}

/** Part of a pixel inside an outline at distance d, in pixels (negative inside). */
static inline float lv_cover(float d)
{
    return d <= -0.5f ? 1 : d >= 0.5f ? 0 : 0.5f - d;
}

#endif /* LINVIDEO_TRAIN_CLIPS_PAINT_H */
