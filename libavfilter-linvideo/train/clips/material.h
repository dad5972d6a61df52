/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Snow, rain, waves and the like.
 * Floor train/clips: knows scenes, no words.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_MATERIAL_H
#define LINVIDEO_TRAIN_CLIPS_MATERIAL_H

#include "train/clips/paint.h"
#include "train/clips/scene.h"

/** Material of a scene that has no object, over what is painted there already. */
void lv_paint_material(LvPaint *p, const LvScene *s, LvClock at);

#endif /* LINVIDEO_TRAIN_CLIPS_MATERIAL_H */
