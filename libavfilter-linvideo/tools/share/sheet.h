/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Clips as one picture.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_SHEET_H
#define LINVIDEO_TOOLS_SHARE_SHEET_H

#include "tools/share/canvas.h"

/** A contact sheet: clips below each other, a row of frames each, evenly spread from
 *  the first to the last. */
typedef struct LvSheet {
    LvCanvas canvas;
    int width, height, frames; ///< of the clips
    int columns;               ///< frames of a row: 6, or all when they are fewer
} LvSheet;

/** 0 or -ENOMEM. Free with lv_sheet_free(). */
int lv_sheet_new(LvSheet *s, int width, int height, int frames, int rows);
void lv_sheet_free(LvSheet *s);

/** Put a clip, [frames,height,width,3] in 0..1, into a row. */
void lv_sheet_paste(LvSheet *s, int row, const float *rgb);

/** Write it as a PNG to path, "-" for standard output. 0, or -errno after a message. */
int lv_sheet_write(const LvSheet *s, const char *path);

#endif /* LINVIDEO_TOOLS_SHARE_SHEET_H */
