/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Shape and motion from an object's blobs, one for each frame.
 * Floor train/measure.
 */

#ifndef LINVIDEO_TRAIN_MEASURE_TRACK_H
#define LINVIDEO_TRAIN_MEASURE_TRACK_H

#include "train/clips/scene.h"
#include "train/measure/blob.h"

/** All shapes in all sizes, upright and turned. */
enum { LV_OUTLINES = LV_SHAPE_NB * LV_SIZE_NB * 2 };

/** Blobs to compare with; number i shows shape i % LV_SHAPE_NB. */
typedef struct LvOutlines {
    LvBlob blob[LV_OUTLINES];
} LvOutlines;

/** Shape whose outline is nearest in most of the frames where the object is large. */
LvShape lv_track_shape(const LvBlob *blobs, int frames, const LvOutlines *outlines);

/** Motion; frames without a blob are left out. unit: pixels of the shorter side. */
LvMotion lv_track_motion(const LvBlob *blobs, int frames, float unit);

#endif /* LINVIDEO_TRAIN_MEASURE_TRACK_H */
