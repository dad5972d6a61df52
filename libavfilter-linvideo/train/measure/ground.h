/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The background of a clip, and how far pixels stand out of it.
 * Floor train/measure.
 */

#ifndef LINVIDEO_TRAIN_MEASURE_GROUND_H
#define LINVIDEO_TRAIN_MEASURE_GROUND_H

#include "train/clips/scene.h"

/** Size of a clip. */
typedef struct LvExtent {
    int width, height, frames;
} LvExtent;

/** Colour c at x, y in -1..1 from the middle is at[c][0] + at[c][1] x + at[c][2] y. */
typedef struct LvGround {
    float at[3][3];
} LvGround;

/**
 * Fit a plane to every other frame by iteratively reweighted least squares. The weights
 * are Geman and McClure's, their scale falls from run to run, so that what most of the
 * pixels show is found from a start at the median colour.
 */
void lv_ground_fit(LvGround *g, const float *rgb, LvExtent size);

/** Its colour at x, y in -1..1. */
static inline void lv_ground_color(float rgb[3], const LvGround *g, float x, float y)
{
    for (int c = 0; c < 3; c++)
        rgb[c] = g->at[c][0] + g->at[c][1] * x + g->at[c][2] * y;
}

/** Pattern and colours whose plane is nearest: plain, shaded or blended. `until`
 *  (-1..1) is the row down to which planes are compared. */
void lv_ground_name(LvPattern *pattern, LvColor *back, LvColor *back2,
                    const LvGround *g, float until);

#endif /* LINVIDEO_TRAIN_MEASURE_GROUND_H */
