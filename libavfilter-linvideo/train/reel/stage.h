/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Reels as pixels. Lengths are in the shorter side of the picture.
 * Floor train/reel: knows reels, no words.
 */

#ifndef LINVIDEO_TRAIN_REEL_STAGE_H
#define LINVIDEO_TRAIN_REEL_STAGE_H

#include "train/reel/art.h"
#include "train/reel/reel.h"

/** Frames first .. first + frames - 1 of a clip of `all`, in width x height pixels. */
typedef struct LvSpan {
    int width, height, first, frames, all;
    double rate;         ///< frames a second
} LvSpan;

/**
 * Render a part of a clip. The same reel gives the same values, up to what the C library's
 * functions differ.
 *
 * @param art  pictures of things; NULL when no actor is one
 * @param[out] rgb [frames,height,width,3] sRGB values in 0..1
 */
void lv_stage_render(const LvReel *r, const LvArt *art, const LvSpan *span, float *rgb);

#endif /* LINVIDEO_TRAIN_REEL_STAGE_H */
