/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Outlines of the shapes as signed distances.
 * Floor train/clips.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_SHAPE_H
#define LINVIDEO_TRAIN_CLIPS_SHAPE_H

#include "train/clips/scene.h"

/**
 * Distance of a point to the outline, negative inside; exact (Euclidean). Shapes
 * stand around the origin, y runs downward; their areas are alike (that of the unit
 * circle, less for those with arms).
 */
float lv_shape_distance(LvShape shape, float x, float y);

/** Radius of the circle around the origin that holds the shape. */
float lv_shape_extent(LvShape shape);

#endif /* LINVIDEO_TRAIN_CLIPS_SHAPE_H */
