/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/blank.h"

void lv_tool_blank(LinvideoParams *p, int nb)
{
    static const uint8_t black[16 * 9 * 3];
    static const LinvideoImage image = { black, 16 * 3, 16, 9 };

    if (nb > 0)
        p->image_data = &image;
    if (nb > 1)
        p->last_image_data = &image;
}
