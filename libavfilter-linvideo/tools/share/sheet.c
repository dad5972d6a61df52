/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/sheet.h"

#include <errno.h>
#include <string.h>

#include "base/common.h"
#include "base/file.h"
#include "base/deliver.h"
#include "tools/share/canvas.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/png.h"

enum { COLUMNS = 6, GAP = 4 };

int lv_sheet_new(LvSheet *s, int width, int height, int frames, int rows)
{
    int ret;

    *s = (LvSheet) { .width = width, .height = height, .frames = frames,
                     .columns = LV_MIN(frames, COLUMNS) };
    ret = lv_canvas_alloc(&s->canvas, LINVIDEO_RGB24, s->columns * (width + GAP) - GAP,
                          rows * (height + GAP) - GAP);
    if (!ret)
        memset(s->canvas.frame.data[0], 255, s->canvas.size);
    return ret;
}

void lv_sheet_paste(LvSheet *s, int row, const float *rgb)
{
    size_t size = (size_t)3 * s->width * s->height;
    ptrdiff_t stride = s->canvas.frame.stride[0];

    for (int i = 0; i < s->columns; i++) {
        int frame = s->columns > 1 ? i * (s->frames - 1) / (s->columns - 1) : 0;
        LvPlanes cell = { .width = s->width, .height = s->height, .format = LV_RGB24,
                           .stride = { stride } };

        cell.data[0] = s->canvas.frame.data[0] + row * (s->height + GAP) * stride +
                       3 * i * (s->width + GAP);
        lv_deliver(&cell, rgb + frame * size, s->height, s->width);
    }
}

int lv_sheet_write(const LvSheet *s, const char *path)
{
    LvFile out;
    int ret = lv_file_output(&out, path, &lv_tool_msg);

    if (ret < 0)
        return ret;
    if ((ret = lv_png_write(&out, &s->canvas, NULL)) == -ENOMEM) {
        lv_file_abandon(&out);
        return lv_tool_fail(ret, "%s: out of memory", path);
    }
    return lv_tool_finish(&out);
}

void lv_sheet_free(LvSheet *s)
{
    lv_canvas_free(&s->canvas);
}
