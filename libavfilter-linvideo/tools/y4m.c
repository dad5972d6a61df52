/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/tools.h"

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

int lv_y4m_header(LvFile *out, const LvCanvas *p, int rate_num, int rate_den)
{
    const char *chroma = p->format == LINVIDEO_YUV420P ? "420mpeg2" : "444";

    lv_file_print(out, "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 C%s XCOLORRANGE=LIMITED\n",
                  p->width, p->height, rate_num, rate_den, chroma);
    return lv_file_flush(out);
}

int lv_y4m_frame(LvFile *out, const LvCanvas *p)
{
    lv_file_put(out, "FRAME\n", 6);
    lv_file_put(out, p->frame.data[0], p->size);
    return lv_file_flush(out);
}
