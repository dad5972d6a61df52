/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Discs, lines and cards, antialiased. Places and lengths are in pixels.
 * Floor train/clips: knows pixels, no scenes.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_BRUSH_H
#define LINVIDEO_TRAIN_CLIPS_BRUSH_H

#include "train/clips/paint.h"

/** A disc whose edge is `soft` wide. */
void lv_brush_disc(LvPaint *p, float cx, float cy, float radius, float soft,
                   const float color[3], float part);

/** A line of half-width r from a to b, with round ends. */
void lv_brush_streak(LvPaint *p, const float a[2], const float b[2], float r,
                     const float color[3], float part);

/** A rectangle of half-sides u and v, turned by an angle. */
void lv_brush_card(LvPaint *p, float cx, float cy, float u, float v, float angle,
                   const float color[3]);

#endif /* LINVIDEO_TRAIN_CLIPS_BRUSH_H */
