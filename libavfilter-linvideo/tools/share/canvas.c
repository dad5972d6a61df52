/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/canvas.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/deliver.h"

int lv_canvas_alloc(LvCanvas *p, enum LinvideoFormat format, int width,
                     int height)
{
    LvPlanes planes = { .width = width, .height = height, .format = (enum LvFormat)format };
    size_t size     = lv_planes_lay_out(&planes, NULL);
    void *data      = malloc(size);

    *p = (LvCanvas) { .format = format, .width = width, .height = height, .size = size };
    if (!data)
        return -ENOMEM;
    lv_planes_lay_out(&planes, data);
    memcpy(p->frame.data, planes.data, sizeof(planes.data));
    memcpy(p->frame.stride, planes.stride, sizeof(planes.stride));
    return 0;
}

void lv_canvas_free(LvCanvas *p)
{
    free(p->frame.data[0]);
    *p = (LvCanvas) { 0 };
}
