/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Scenes as pixels.
 * Floor train/clips: knows scenes, no words.
 *
 * Lengths and speeds are in the shorter side of the picture. What goes from here to
 * there (moving, growing, shrinking, wipes) takes the whole clip; what repeats has its
 * period in seconds. Nothing is faster than a twelfth of the width of a 16:9 picture in
 * a frame, at 17 frames and 8 frames a second.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_RENDER_H
#define LINVIDEO_TRAIN_CLIPS_RENDER_H

#include "train/clips/paint.h"
#include "train/clips/scene.h"

/** Where an object is. */
typedef struct LvPose {
    float x, y;         ///< of its middle, from the picture's; y runs downward
    float radius;       ///< of the unit circle
    float angle;        ///< radians, clockwise
    float squash;       ///< width as part of the full one; 1 but for coins
} LvPose;

/** Pose of the scene's object in a picture of width x height at a time. */
LvPose lv_scene_pose(const LvScene *s, int width, int height, LvClock at);

/**
 * Render a clip. The same scene gives the same values, up to what the C library's
 * sinf() and powf() differ. Outlines are antialiased by their distance to the
 * quarters of a pixel.
 *
 * @param width, height, frames each >= 1
 * @param rate frames a second, above 0
 * @param[out] rgb [frames,height,width,3] sRGB values in 0..1
 */
void lv_render(const LvScene *s, int width, int height, int frames, double rate,
               float *rgb);

/** The background alone: one picture. */
void lv_paint_back(LvPaint *p, const LvScene *s);

#endif /* LINVIDEO_TRAIN_CLIPS_RENDER_H */
