/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Frames made at one size and delivered at another.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_RESIZE_H
#define LINVIDEO_PIPELINE_RESIZE_H

#include "base/planes.h"

/** What each sample along an axis is made of. */
typedef struct LvAxis {
    int nb, taps;
    int *first;     ///< [nb]: the first of the samples that it is made of
    float *weight;  ///< [nb,taps]: how much each counts; their sum is 1
} LvAxis;

/** Freed with lv_resize_free(); all zero is free of anything. */
typedef struct LvResize {
    int cols;       ///< of what comes in
    LvAxis y, x;
    float *row;     ///< [3 cols]
    float *band;    ///< [2,x.nb,3]
} LvResize;

/**
 * Prepare to scale frames of rows x cols so that they fill height x width, with one
 * factor both ways: what is too much of one side is cut off in equal parts. The kernel is
 * Catmull and Rom's cubic, stretched where frames become smaller.
 *
 * @return 0 or -ENOMEM, without a message; r is to be freed in any case
 */
int lv_resize_new(LvResize *r, int rows, int cols, int height, int width);

void lv_resize_free(LvResize *r);

/** lv_deliver() of a scaled frame; out is of the size prepared for.
 *  @param rgb [rows,cols,3] */
void lv_resize_deliver(const LvResize *r, const LvPlanes *out, const float *rgb);

#endif /* LINVIDEO_PIPELINE_RESIZE_H */
