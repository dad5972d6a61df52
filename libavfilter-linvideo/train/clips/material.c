/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Material without an object. Everything that falls or flies leaves on one side and
 * comes in again on the other, so that clips may have any length.
 */

#include "train/clips/material.h"

#include <math.h>

#include "base/common.h"
#include "train/clips/brush.h"
#include "train/clips/dice.h"

/* Number of particles for so many in a square picture. */
static int count(const LvPaint *p, float density)
{
    return (int)ceilf(density * p->width / p->unit * p->height / p->unit);
}

static const float white[3] = { 1, 1, 1 };

/* Where something that falls is: at `start` of its way at first. */
static float fall(const LvPaint *p, float start, float speed, float margin, LvClock at)
{
    float way = p->height / p->unit + 2 * margin;

    return (way * lv_fraction(start + at.seconds * speed / way) - margin) * p->unit;
}

/* Kinds */

static void paint_snow(LvPaint *p, const LvScene *s, LvClock at)
{
    for (int i = 0, n = count(p, 34); i < n; i++) {
        float r[4], radius, x, y;

        lv_pick_four(r, s->key, i);
        radius = 0.014f + 0.022f * r[2] * r[2];
        y = fall(p, r[1], 0.25f + 8 * radius, 0.05f, at);
        x = r[0] * p->width +
            0.02f * p->unit * sinf(LV_TURN * (r[3] + 0.5f * at.seconds));
        lv_brush_disc(p, x, y, radius * p->unit, 1.5f, lv_color_rgb(s->color), 1);
    }
}

static void paint_rain(LvPaint *p, const LvScene *s, LvClock at)
{
    float slant = 0.3f * (s->amount - 0.5f);

    for (int i = 0, n = count(p, 40); i < n; i++) {
        float r[4], a[2], b[2], length, start;

        lv_pick_four(r, s->key, i);
        length = (0.09f + 0.07f * r[2]) * p->unit;
        start  = r[0] * (p->width + p->height) - 0.5f * p->height;
        b[1] = fall(p, r[1], 0.9f + 0.15f * r[2], 0.18f, at);
        b[0] = start + slant * b[1];
        a[0] = b[0] - slant * length;
        a[1] = b[1] - length;
        lv_brush_streak(p, a, b, 0.010f * p->unit, lv_color_rgb(s->color),
                        0.75f + 0.25f * r[3]);
    }
}

/* Points of a cloud that comes nearer: what is seen at radius r of depth 1 is seen at
 * r / z of depth z. */
static void paint_stars(LvPaint *p, const LvScene *s, LvClock at)
{
    float wide = 0.5f * p->width / p->unit;

    for (int i = 0; i < 90; i++) {
        float r[4], z, k, radius;

        lv_pick_four(r, s->key, i);
        z = 1 - lv_fraction(r[2] + 0.24f * at.seconds) * 0.8f;
        k = (0.07f + 0.5f * wide * sqrtf(r[1])) / z * p->unit;
        radius = (0.007f + 0.003f * r[3]) / z * p->unit;
        lv_brush_disc(p, 0.5f * p->width + k * cosf(LV_TURN * r[0]),
                      0.5f * p->height + k * sinf(LV_TURN * r[0]), radius, 1.2f,
                      lv_color_rgb(s->color), LV_MIN(1, 4 * (1 - z) + 0.15f));
    }
}

typedef struct Swell {
    float base, height, length, speed, strength;
} Swell;

static void paint_waves(LvPaint *p, const LvScene *s, LvClock at)
{
    static const Swell swells[] = {
        { -0.10f, 0.070f, 0.95f, 0.30f, 0.45f }, { 0.08f, 0.060f, 0.75f, 0.42f, 0.7f },
        { 0.26f, 0.055f, 0.60f, 0.55f, 1.0f },
    };
    float color[3], half = 0.5f * p->height, back[3];

    lv_color_mix(back, lv_color_rgb(s->back), lv_color_rgb(s->back2), 0.5f);
    for (int i = 0; i < LV_COUNT(swells); i++) {
        const Swell *w = &swells[i];
        float k = LV_TURN / w->length / p->unit, a = w->height * p->unit;

        lv_color_mix(color, back, lv_color_rgb(s->color), w->strength);
        for (int x = 0; x < p->width; x++) {
            float at_x = k * (x - s->turn * w->speed * p->unit * at.seconds) +
                         LV_TURN * (s->phase + 0.37f * i);
            float top = half + w->base * p->unit + a * sinf(at_x);
            float steep = sqrtf(1 + k * k * a * a * cosf(at_x) * cosf(at_x));
            int from = LV_MAX((int)(top - steep), 0);

            for (int y = from; y < p->height; y++)
                lv_paint_dot(p, x, y, color, lv_cover((top - y - 0.5f) / steep));
        }
    }
}

static void paint_lights(LvPaint *p, const LvScene *s, LvClock at)
{
    for (int i = 0, n = count(p, 9); i < n; i++) {
        float r[4], q[4], radius, x, y, glow, tint[3];

        lv_pick_four(r, s->key, 2 * i);
        lv_pick_four(q, s->key, 2 * i + 1);
        radius = (0.07f + 0.11f * r[2]) * p->unit;
        x = r[0] * p->width + 0.22f * p->unit * (q[0] - 0.5f) * (at.seconds - 1);
        y = r[1] * p->height + 0.22f * p->unit * (q[1] - 0.5f) * (at.seconds - 1);
        glow = 0.55f + 0.3f * sinf(LV_TURN * (q[2] + (0.3f + 0.2f * q[3]) * at.seconds));
        lv_color_mix(tint, lv_color_rgb(s->color), white, 0.15f * r[3]);
        lv_brush_disc(p, x, y, radius, 0.45f * radius, tint, glow);
    }
}

/* Both colours are in every frame, as the shift is smaller than the slope. */
static void paint_gradient(LvPaint *p, const LvScene *s, LvClock at)
{
    float angle = LV_TURN * (s->phase + s->turn * 0.05f * at.seconds);
    float c = cosf(angle), n = sinf(angle);
    float slope = 2.6f / (fabsf(c) * p->width + fabsf(n) * p->height);
    float turns = 0.5f * s->x + (0.16f + 0.08f * s->amount) * at.seconds;
    float shift = 0.5f * sinf(LV_TURN * turns);

    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            float a = slope * (c * (x - 0.5f * p->width) + n * (y - 0.5f * p->height));

            lv_paint_dot(p, x, y, lv_color_rgb(s->color),
                         0.5f + 0.5f * LV_CLAMP(a + shift, -1, 1));
        }
    }
}

/* How deep a pixel's middle lies in the picture, seen from a side. */
static float depth(const LvPaint *p, LvSide side, int x, int y)
{
    switch (side) {
    case LV_FROM_LEFT:  return x + 0.5f;
    case LV_FROM_RIGHT: return p->width - x - 0.5f;
    case LV_FROM_TOP:   return y + 0.5f;
    default:            return p->height - y - 0.5f;
    }
}

static void paint_wipe(LvPaint *p, const LvScene *s, LvClock at)
{
    float soft = s->amount < 0.6f ? 1 : 0.12f * p->unit;
    float way = s->side <= LV_FROM_RIGHT ? p->width : p->height;
    float edge = (way + soft) * at.part - 0.5f * soft;

    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            lv_paint_dot(p, x, y, lv_color_rgb(s->color),
                         lv_cover((depth(p, s->side, x, y) - edge) / soft));
}

static void paint_confetti(LvPaint *p, const LvScene *s, LvClock at)
{
    static const LvColor bright[] = { LV_RED, LV_ORANGE, LV_YELLOW, LV_GREEN, LV_CYAN,
                                      LV_BLUE, LV_PURPLE, LV_PINK };

    for (int i = 0, n = count(p, 17); i < n; i++) {
        float r[4], q[4], x, y, turn;

        lv_pick_four(r, s->key, 2 * i);
        lv_pick_four(q, s->key, 2 * i + 1);
        x = r[0] * p->width +
            0.03f * p->unit * sinf(LV_TURN * (q[0] + 0.6f * at.seconds));
        y = fall(p, r[1], 0.32f + 0.2f * r[2], 0.05f, at);
        turn = LV_TURN * (q[1] + (q[2] - 0.5f) * 0.8f * at.seconds);
        lv_brush_card(p, x, y, (0.028f + 0.012f * q[3]) * p->unit,
                      0.042f * p->unit * (0.35f + 0.65f * fabsf(sinf(turn))), turn,
                      lv_color_rgb(bright[(int)(r[3] * LV_COUNT(bright))]));
    }
}

typedef void (*Painter)(LvPaint *p, const LvScene *s, LvClock at);

static const Painter painters[LV_SCENE_NB] = {
    [LV_SCENE_SNOW] = paint_snow, [LV_SCENE_RAIN] = paint_rain,
    [LV_SCENE_STARS] = paint_stars, [LV_SCENE_WAVES] = paint_waves,
    [LV_SCENE_LIGHTS] = paint_lights, [LV_SCENE_GRADIENT] = paint_gradient,
    [LV_SCENE_WIPE] = paint_wipe, [LV_SCENE_CONFETTI] = paint_confetti,
};

void lv_paint_material(LvPaint *p, const LvScene *s, LvClock at)
{
    painters[s->kind](p, s, at);
}
