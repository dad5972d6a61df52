/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Frames as they leave, and the numbers that make YUV of RGB.
 * Floor F1 (base): types only; kernels read it too.
 */

#ifndef LINVIDEO_BASE_PLANES_H
#define LINVIDEO_BASE_PLANES_H

#include <stddef.h>
#include <stdint.h>

/** The same values as enum LinvideoFormat. */
enum LvFormat { LV_YUV420P, LV_YUV444P, LV_GBRP, LV_RGB24, LV_NV12, LV_FORMAT_NB };

/** How RGB becomes YUV: each colour's share in luma, and what scales the differences of
 *  blue and red from it to +-0.5. */
typedef struct LvMatrix {
    float r, g, b, cb, cr;
} LvMatrix;

#define LV_MATRIX(r, g, b) { r, g, b, 0.5f / (1 - (b)), 0.5f / (1 - (r)) }
#define LV_MATRIX_BT709 LV_MATRIX(0.2126f, 0.7152f, 0.0722f)
#define LV_MATRIX_BT601 LV_MATRIX(0.299f, 0.587f, 0.114f)

/** Where a frame goes. */
typedef struct LvPlanes {
    uint8_t *data[3];     ///< memory of the host, or of a device
    ptrdiff_t stride[3];  ///< bytes from row to row; may be negative
    int width, height;    ///< of the frame delivered, >= 1, odd ones too
    enum LvFormat format;
    LvMatrix matrix;      ///< of the formats that are YUV
} LvPlanes;

#endif /* LINVIDEO_BASE_PLANES_H */
