/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Memory for a frame.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_CANVAS_H
#define LINVIDEO_TOOLS_SHARE_CANVAS_H

#include <stddef.h>

#include <linvideo/linvideo.h>

/** A frame's memory: planes one after the other, rows without gaps. */
typedef struct LvCanvas {
    enum LinvideoFormat format;
    int width, height;
    LinvideoFrame frame; ///< planes set
    size_t size;         ///< bytes of all planes
} LvCanvas;

/** 0 or -ENOMEM. Free with lv_canvas_free(). */
int lv_canvas_alloc(LvCanvas *p, enum LinvideoFormat format, int width,
                     int height);
void lv_canvas_free(LvCanvas *p);

#endif /* LINVIDEO_TOOLS_SHARE_CANVAS_H */
