/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/clips/brush.h"

#include <math.h>

#include "base/common.h"

typedef struct Box {
    int x0, y0, x1, y1;
} Box;

/* Pixels within reach of (x, y). */
static Box around(const LvPaint *p, float x, float y, float reach)
{
    return (Box) { LV_MAX((int)floorf(x - reach), 0), LV_MAX((int)floorf(y - reach), 0),
                   LV_MIN((int)ceilf(x + reach), p->width),
                   LV_MIN((int)ceilf(y + reach), p->height) };
}

void lv_brush_disc(LvPaint *p, float cx, float cy, float radius, float soft,
                   const float color[3], float part)
{
    Box b = around(p, cx, cy, radius + soft + 1);

    for (int y = b.y0; y < b.y1; y++) {
        for (int x = b.x0; x < b.x1; x++) {
            float d = hypotf(x + 0.5f - cx, y + 0.5f - cy) - radius;

            lv_paint_dot(p, x, y, color, part * lv_cover(d / soft));
        }
    }
}

void lv_brush_streak(LvPaint *p, const float a[2], const float b[2], float r,
                     const float color[3], float part)
{
    float ex = b[0] - a[0], ey = b[1] - a[1], length2 = ex * ex + ey * ey;
    Box box = around(p, 0.5f * (a[0] + b[0]), 0.5f * (a[1] + b[1]),
                     0.5f * sqrtf(length2) + r + 1);

    for (int y = box.y0; y < box.y1; y++) {
        for (int x = box.x0; x < box.x1; x++) {
            float wx = x + 0.5f - a[0], wy = y + 0.5f - a[1];
            float t = (wx * ex + wy * ey) / length2;

            t = LV_CLAMP(t, 0, 1);
            lv_paint_dot(p, x, y, color,
                         part * lv_cover(hypotf(wx - t * ex, wy - t * ey) - r));
        }
    }
}

void lv_brush_card(LvPaint *p, float cx, float cy, float u, float v, float angle,
                   const float color[3])
{
    float c = cosf(angle), s = sinf(angle);
    Box b = around(p, cx, cy, hypotf(u, v) + 1);

    for (int y = b.y0; y < b.y1; y++) {
        for (int x = b.x0; x < b.x1; x++) {
            float dx = x + 0.5f - cx, dy = y + 0.5f - cy;
            float along = fabsf(c * dx + s * dy) - u;
            float across = fabsf(c * dy - s * dx) - v;

            lv_paint_dot(p, x, y, color, lv_cover(along) * lv_cover(across));
        }
    }
}
