/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/preview_png.h"

#include <errno.h>
#include <string.h>

#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/png.h"

int lv_preview_check(const LvPreviewFile *f, int overwrite, const char *output)
{
    if (!f->path)
        return 0;
    if (!lv_tool_ends_with(f->path, ".png") || lv_file_is_stream(f->path))
        return lv_tool_fail(-EINVAL, "preview: expected the name of a .png file, got %s", f->path);
    if (!strcmp(f->path, output) || lv_file_same(f->path, output))
        return lv_tool_fail(-EINVAL, "preview: %s is the output too; choose another name", f->path);
    return lv_tool_may_write(f->path, overwrite);
}

/* Frames of a row: about as many as there are rows. */
static int columns_of(const LinvideoPreview *p)
{
    int n = 1;

    while (n * n < p->frames)
        n++;
    return n;
}

static void put_frame(LvCanvas *c, const LinvideoPreview *p, int frame, int columns)
{
    const uint8_t *from = p->data + (ptrdiff_t)frame * p->height * p->width * 3;
    int top  = frame / columns * p->height * LV_PREVIEW_ZOOM;
    int left = frame % columns * p->width * LV_PREVIEW_ZOOM;

    for (int y = 0; y < p->height * LV_PREVIEW_ZOOM; y++)
        for (int x = 0; x < p->width * LV_PREVIEW_ZOOM; x++)
            memcpy(c->frame.data[0] + (top + y) * c->frame.stride[0] + 3 * (ptrdiff_t)(left + x),
                   from + 3 * (y / LV_PREVIEW_ZOOM * p->width + x / LV_PREVIEW_ZOOM), 3);
}

static int write_canvas(const LvPreviewFile *f, const LvCanvas *c)
{
    LvFile file;
    int ret = lv_file_create(&file, f->path, &lv_tool_msg);

    if (ret < 0)
        return ret;
    return lv_file_end(&file, lv_png_write(&file, c, NULL), NULL, NULL, &lv_tool_msg);
}

static int write_frames(const LvPreviewFile *f, const LinvideoPreview *p)
{
    int columns = columns_of(p), rows = (p->frames + columns - 1) / columns, ret;
    LvCanvas c;

    ret = lv_canvas_alloc(&c, LINVIDEO_RGB24, columns * p->width * LV_PREVIEW_ZOOM,
                          rows * p->height * LV_PREVIEW_ZOOM);
    if (ret < 0)
        return lv_tool_fail(ret, "preview: out of memory");
    memset(c.frame.data[0], 0, c.size);
    for (int i = 0; i < p->frames; i++)
        put_frame(&c, p, i, columns);
    ret = write_canvas(f, &c);
    lv_canvas_free(&c);
    return ret;
}

void lv_preview_write(LvPreviewFile *f, const LinvideoPreview *p)
{
    if (f->path && !f->error)
        f->error = write_frames(f, p);
}
