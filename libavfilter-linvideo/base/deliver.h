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

/** Planes of a frame: how many; bytes of a row of plane i, without padding, and its rows. */
int lv_planes_count(enum LvFormat format);
size_t lv_plane_row(const LvPlanes *p, int i);
int lv_plane_rows(const LvPlanes *p, int i);

#endif /* LINVIDEO_BASE_DELIVER_H */
