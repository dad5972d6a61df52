/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Pictures as they leave, and the numbers that make YUV of RGB.
 * Floor F1 (base): types only; kernels read it too.
 */

#ifndef LINVIDEO_BASE_PICTURE_H
#define LINVIDEO_BASE_PICTURE_H

#include <stddef.h>
#include <stdint.h>

/** The same values as enum LinvideoFormat. */
enum LvFormat { LV_YUV420P, LV_YUV444P, LV_GBRP, LV_RGB24, LV_NV12, LV_FORMAT_NB };

/** Where a picture goes. */
typedef struct LvPicture {
    uint8_t *data[3];     ///< memory of the host, or of a device
    ptrdiff_t stride[3];  ///< bytes from row to row; may be negative
    int width, height;    ///< of the picture delivered, >= 1, odd ones too
    int format;           ///< LvFormat
} LvPicture;

/** Pictures of a tile on their way into whole ones (LvDeviceFns.paste); all memory is
 *  the device's, all pictures are [rows,cols,3] f32. */
typedef struct LvPaste {
    float *to;              ///< first value of the tile's place in the first whole picture
    const float *from;      ///< [frames,rows,cols,3]
    const float *wy, *wx;   ///< [rows], [cols]: how much its pixels count
    int frames, rows, cols; ///< of the tile
    int old_rows, old_cols; ///< its first ones, which tiles before it were pasted to
    int64_t to_frame, to_row; ///< values from one whole picture, or row, to the next
    float scale, offset;
} LvPaste;

/** BT.709: share of each colour in luma; differences are scaled to +-0.5. */
#define LV_KR 0.2126f
#define LV_KG 0.7152f
#define LV_KB 0.0722f
#define LV_CB_SCALE (0.5f / (1 - LV_KB))
#define LV_CR_SCALE (0.5f / (1 - LV_KR))

#endif /* LINVIDEO_BASE_PICTURE_H */
