/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What broadcast and screen people loop behind titles: bokeh, clouds, fire... Each is
 * a function of a look and of time, without memory from frame to frame, so that clips
 * of any size, length and rate can be drawn.
 * Floor train/reel: knows pixels, no words.
 */

#ifndef LINVIDEO_TRAIN_REEL_EFFECT_H
#define LINVIDEO_TRAIN_REEL_EFFECT_H

#include "train/reel/look.h"

/**
 * Draw one frame of look->effect into p: an effect over a background mixes into what is
 * there, a whole picture replaces it. Nothing jumps: what leaves fades or goes over
 * the edge.
 */
void lv_effect_paint(LvPaint *p, const LvLook *look, LvClock at);

/** Whether the effect fills the picture. */
int lv_effect_is_whole(LvEffect effect);

#endif /* LINVIDEO_TRAIN_REEL_EFFECT_H */
