/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/look.h"

#include "base/common.h"
#include "train/clips/dice.h"

/* Columns of points that a field is interpolated between; wider ones are drawn pixel by
 * pixel. */
enum { MAX_COLUMNS = 1024 };

void lv_look_numbers(float out[4], const LvLook *look, int i)
{
    lv_pick_four(out, look->key, i);
}

void lv_look_color(float rgb[3], const LvLook *look, float part)
{
    float at = LV_CLAMP(part, 0, 1) * (float)(look->colors - 1);
    int i = LV_MIN((int)at, LV_MAX(look->colors - 2, 0));

    lv_color_mix(rgb, look->front[i], look->front[LV_MIN(i + 1, look->colors - 1)],
                 at - (float)i);
}

/* What is opaque takes the place of what was there, be it not even a number. */
static void put(float rgb[3], const float rgba[4])
{
    for (int c = 0; c < 3; c++) {
        float v = LV_CLAMP(rgba[c], 0, 1);
        rgb[c] = rgba[3] >= 1 ? v : rgb[c] + LV_MAX(rgba[3], 0) * (v - rgb[c]);
    }
}

/* One row of asked points, [columns][4]. */
static void ask(float (*row)[4], const LvPaint *p, int step, int columns, float y,
                LvShader shader, const void *opaque)
{
    for (int i = 0; i < columns; i++) {
        float x = ((float)(i * step) + 0.5f - 0.5f * (float)p->width) / p->unit;

        shader(row[i], opaque, x, y);
    }
}

/* One row of pixels between two asked rows, `part` of the way to the second. */
static void mix_row(float *rgb, int width, int step, float (*above)[4],
                    float (*below)[4], float part)
{
    for (int x = 0; x < width; x++, rgb += 3) {
        int i = x / step;
        float t = (float)(x - i * step) / (float)step, v[4];

        for (int c = 0; c < 4; c++) {
            float a = above[i][c] + t * (above[i + 1][c] - above[i][c]);
            float b = below[i][c] + t * (below[i + 1][c] - below[i][c]);
            v[c] = a + part * (b - a);
        }
        put(rgb, v);
    }
}

static void paint_points(LvPaint *p, LvShader shader, const void *opaque)
{
    for (int y = 0; y < p->height; y++) {
        float *rgb = p->rgb + 3 * (size_t)y * (size_t)p->width;
        float v[4], py = ((float)y + 0.5f - 0.5f * (float)p->height) / p->unit;

        for (int x = 0; x < p->width; x++, rgb += 3) {
            shader(v, opaque, ((float)x + 0.5f - 0.5f * (float)p->width) / p->unit, py);
            put(rgb, v);
        }
    }
}

void lv_paint_field(LvPaint *p, int step, LvShader shader, const void *opaque)
{
    float rows[2][MAX_COLUMNS][4];
    int columns = (p->width - 1) / LV_MAX(step, 1) + 2;
    float (*above)[4] = rows[0], (*below)[4] = rows[1], (*other)[4];

    if (step <= 1 || columns > MAX_COLUMNS) {
        paint_points(p, shader, opaque);
        return;
    }
    for (int y = 0; y < p->height; y++) {
        if (y % step == 0) {
            float at = ((float)y + 0.5f - 0.5f * (float)p->height) / p->unit;

            if (y == 0)
                ask(below, p, step, columns, at, shader, opaque);
            other = above;
            above = below;
            below = other;
            ask(below, p, step, columns, at + (float)step / p->unit, shader, opaque);
        }
        mix_row(p->rgb + 3 * (size_t)y * (size_t)p->width, p->width, step, above, below,
                (float)(y % step) / (float)step);
    }
}

LvScreen lv_screen(const LvPaint *p, const LvLook *l, LvClock at)
{
    return (LvScreen) { l, l->speed * at.seconds, at.part, (float)p->width / p->unit,
                        (float)p->height / p->unit, 1 / p->unit };
}

void lv_screen_ground(float rgba[4], const LvScreen *s, float y)
{
    lv_color_mix(rgba, s->look->back[0], s->look->back[1],
                 LV_CLAMP(0.5f + y / s->height, 0, 1));
    rgba[3] = 1;
}

void lv_paint_screen(LvPaint *p, const LvLook *l, LvClock at, int step, LvShader shader)
{
    LvScreen s = lv_screen(p, l, at);

    lv_paint_field(p, step, shader, &s);
}
