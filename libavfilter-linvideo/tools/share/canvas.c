/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/canvas.h"

#include <errno.h>
#include <stdlib.h>

int lv_canvas_alloc(LvCanvas *p, enum LinvideoFormat format, int width,
                     int height)
{
    int packed = format == LINVIDEO_RGB24, half = format == LINVIDEO_YUV420P;
    uint8_t *data;

    *p = (LvCanvas) { .format = format, .width = width, .height = height };
    for (int i = 0; i < (packed ? 1 : 3); i++) {
        size_t w = half && i ? (width + 1) / 2 : packed ? 3 * width : width;
        size_t h = half && i ? (height + 1) / 2 : height;

        p->frame.stride[i] = w;
        p->size += w * h;
    }
    data = malloc(p->size);
    if (!data)
        return -ENOMEM;
    p->frame.data[0] = data;
    if (!packed) {
        size_t chroma_h = half ? (height + 1) / 2 : height;

        p->frame.data[1] = data + (size_t)width * height;
        p->frame.data[2] = p->frame.data[1] + p->frame.stride[1] * chroma_h;
    }
    return 0;
}

void lv_canvas_free(LvCanvas *p)
{
    free(p->frame.data[0]);
    *p = (LvCanvas) { 0 };
}
