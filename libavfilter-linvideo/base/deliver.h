/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Frames out: pixel formats and the cut to the delivered size.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_DELIVER_H
#define LINVIDEO_BASE_DELIVER_H

#include "base/common.h"
#include "base/planes.h"

/**
 * Convert a frame and cut out the middle. The op FRAME does the same on a device, to the
 * same bytes.
 *
 * YUV is of out->matrix, limited range, 8 bits, rounded to nearest. 4:2:0 chroma is sited
 * left (MPEG-2): weights 1 2 1 across (edge repeated), 1 1 down; an odd last row
 * or column stands alone. Values are clamped to 0..1 first; NaN becomes 0.
 *
 * @param rgb    [rows,cols,3] f32, 0..1, channels last
 * @param rows   >= out->height
 * @param cols   >= out->width
 */
void lv_deliver(const LvPlanes *out, const float *rgb, int rows, int cols);

/** Whether planes behind the first have half of its rows and columns, rounded up. */
int lv_planes_halve(enum LvFormat format);

typedef struct LvPlaneSize {
    int row, rows; ///< bytes of a row without padding, and rows; 0: the format lacks the plane
} LvPlaneSize;

/** The size of plane 0 to 2 of a frame. */
LvPlaneSize lv_plane_size(enum LvFormat format, int plane, int width, int height);

/** Set data and stride of planes, by their size and format: one behind the other, without
 *  padding. @param base NULL: only the sizes are wanted @return bytes of all */
size_t lv_planes_lay_out(LvPlanes *p, void *base);

#endif /* LINVIDEO_BASE_DELIVER_H */
