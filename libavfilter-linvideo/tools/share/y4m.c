/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/y4m.h"

#include "tools/share/canvas.h"

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
