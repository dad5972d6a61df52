/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/clips/color.h"

#include <math.h>

#include "base/common.h"

static const struct {
    const char *name;
    float rgb[3];
} palette[LV_COLOR_NB] = {
    [LV_RED]    = { "red",    { 0.86f, 0.10f, 0.12f } },
    [LV_ORANGE] = { "orange", { 0.98f, 0.53f, 0.06f } },
    [LV_YELLOW] = { "yellow", { 0.98f, 0.88f, 0.14f } },
    [LV_GREEN]  = { "green",  { 0.12f, 0.62f, 0.20f } },
    [LV_CYAN]   = { "cyan",   { 0.15f, 0.80f, 0.86f } },
    [LV_BLUE]   = { "blue",   { 0.12f, 0.26f, 0.86f } },
    [LV_PURPLE] = { "purple", { 0.50f, 0.14f, 0.68f } },
    [LV_PINK]   = { "pink",   { 0.98f, 0.55f, 0.75f } },
    [LV_BROWN]  = { "brown",  { 0.45f, 0.26f, 0.11f } },
    [LV_WHITE]  = { "white",  { 0.97f, 0.97f, 0.97f } },
    [LV_GREY]   = { "grey",   { 0.50f, 0.50f, 0.50f } },
    [LV_BLACK]  = { "black",  { 0.05f, 0.05f, 0.05f } },
};

const char *lv_color_name(LvColor color)
{
    return palette[color].name;
}

const float *lv_color_rgb(LvColor color)
{
    return palette[color].rgb;
}

static float linear(float v)
{
    v = LV_CLAMP(v, 0, 1);
    return v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
}

static void oklab(float lab[3], const float rgb[3])
{
    float r = linear(rgb[0]), g = linear(rgb[1]), b = linear(rgb[2]);
    float l = cbrtf(0.4122214708f * r + 0.5363325363f * g + 0.0514459929f * b);
    float m = cbrtf(0.2119034982f * r + 0.6806995451f * g + 0.1073969566f * b);
    float s = cbrtf(0.0883024619f * r + 0.2817188376f * g + 0.6299787005f * b);

    lab[0] = 0.2104542553f * l + 0.7936177850f * m - 0.0040720468f * s;
    lab[1] = 1.9779984951f * l - 2.4285922050f * m + 0.4505937099f * s;
    lab[2] = 0.0259040371f * l + 0.7827717662f * m - 0.8086757660f * s;
}

float lv_color_distance(const float a[3], const float b[3])
{
    float p[3], q[3];

    oklab(p, a);
    oklab(q, b);
    return sqrtf((p[0] - q[0]) * (p[0] - q[0]) + (p[1] - q[1]) * (p[1] - q[1]) +
                 (p[2] - q[2]) * (p[2] - q[2]));
}

LvColor lv_color_nearest(const float rgb[3])
{
    LvColor best = 0;
    float least = INFINITY;

    for (int i = 0; i < LV_COLOR_NB; i++) {
        float d = lv_color_distance(rgb, palette[i].rgb);

        if (d < least) {
            least = d;
            best  = i;
        }
    }
    return best;
}
