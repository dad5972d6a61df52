/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Statistics that tell kinds of clips apart: of means over squares of 4x4 pixels, and
 * of the parts that stand out.
 * Floor train/measure.
 */

#ifndef LINVIDEO_TRAIN_MEASURE_TRAITS_H
#define LINVIDEO_TRAIN_MEASURE_TRAITS_H

#include "train/measure/blob.h"
#include "train/measure/ground.h"

enum { LV_TRAITS = 18, LV_SQUARE_PIXELS = 4 };

/** Numbers that lv_traits() wants room for. */
static inline size_t lv_traits_room(LvExtent n)
{
    return (size_t)3 * (n.width / LV_SQUARE_PIXELS) * (n.height / LV_SQUARE_PIXELS) *
           n.frames;
}

/** Put the means of squares, less the background, into squares: [frames,height/4,
 *  width/4,3]. Returns the contrast of the clip: a hundredth of the squares is further
 *  away from the background; at least 0.35. */
float lv_squares(float *squares, const float *rgb, LvExtent n, const LvGround *g);

/**
 * Find the traits.
 *
 * @param squares  from lv_squares(), with its contrast
 * @param parts    of each frame
 */
void lv_traits(float traits[LV_TRAITS], const float *squares, LvExtent n,
               float contrast, const LvParts *parts);

#endif /* LINVIDEO_TRAIN_MEASURE_TRAITS_H */
