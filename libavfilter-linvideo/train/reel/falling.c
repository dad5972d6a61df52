/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Everything that falls or flies leaves on one side and comes in again on the other, or
 * fades, so that clips may have any length.
 */

#include "train/reel/falling.h"

#include <math.h>

#include "base/common.h"
#include "train/clips/brush.h"
#include "train/reel/noise.h"

#define TURN 6.28318531f

static float fraction(float x)
{
    return x - floorf(x);
}

/* Number of things where a square picture has `few` to `many`. */
static int number(const LvPaint *p, const LvLook *l, float few, float many)
{
    float square = (float)p->width / p->unit * (float)p->height / p->unit;

    return (int)ceilf((few + l->amount * (many - few)) * square);
}

/* Height, in pixels, of what falls (speed > 0) or rises: at `start` of its way at first. */
static float fall(const LvPaint *p, float start, float speed, float margin, float seconds)
{
    float way = (float)p->height / p->unit + 2 * margin;

    return (way * fraction(start + seconds * speed / way) - margin) * p->unit;
}

static float sway(const LvLook *l, float phase, float rate, LvClock at)
{
    return sinf(TURN * (phase + rate * l->speed * at.seconds));
}

/* 0 at both ends of a life, 1 in between. */
static float life(float part)
{
    return LV_MIN(1, 6 * LV_MIN(part, 1 - part));
}

void lv_fx_snow(LvPaint *p, const LvLook *l, LvClock at)
{
    for (int i = 0, n = number(p, l, 25, 170); i < n; i++) {
        float r[4], near, x, y;

        lv_look_numbers(r, l, i);
        near = r[2] * r[2];
        y = fall(p, r[1], l->speed * (0.12f + 0.22f * near), 0.05f, at.seconds);
        x = r[0] * (float)p->width + 0.025f * p->unit * sway(l, r[3], 0.3f, at);
        lv_brush_disc(p, x, y, (0.006f + 0.015f * near) * p->unit,
                      (0.006f + 0.01f * near) * p->unit, l->front[0], 0.55f + 0.45f * near);
    }
}

void lv_fx_rain(LvPaint *p, const LvLook *l, LvClock at)
{
    float slant = 0.25f * (l->free[0] - 0.5f);

    for (int i = 0, n = number(p, l, 30, 190); i < n; i++) {
        float r[4], a[2], b[2], length;

        lv_look_numbers(r, l, i);
        length = (0.07f + 0.09f * r[2]) * p->unit;
        b[1] = fall(p, r[1], l->speed * (0.9f + 0.5f * r[2]), 0.2f, at.seconds);
        b[0] = r[0] * 1.3f * (float)p->width - 0.15f * (float)p->width - slant * b[1];
        a[0] = b[0] + slant * length;
        a[1] = b[1] - length;
        lv_brush_streak(p, a, b, LV_MAX(0.0036f * p->unit, 0.7f), l->front[0],
                        0.35f + 0.4f * r[3]);
    }
}

void lv_fx_confetti(LvPaint *p, const LvLook *l, LvClock at)
{
    for (int i = 0, n = number(p, l, 14, 80); i < n; i++) {
        float r[4], q[4], turn, side;

        lv_look_numbers(r, l, 2 * i);
        lv_look_numbers(q, l, 2 * i + 1);
        turn = TURN * (q[1] + (q[2] - 0.5f) * 0.9f * l->speed * at.seconds);
        side = fabsf(sinf(TURN * (q[0] + 0.5f * l->speed * at.seconds)));
        lv_brush_card(p, r[0] * (float)p->width + 0.03f * p->unit * sway(l, q[0], 0.4f, at),
                      fall(p, r[1], l->speed * (0.22f + 0.16f * r[2]), 0.05f, at.seconds),
                      (0.014f + 0.008f * q[3]) * p->unit,
                      0.024f * p->unit * (0.25f + 0.75f * side), turn,
                      l->front[(int)(r[3] * 2.999f) % l->colors]);
    }
}

void lv_fx_particles(LvPaint *p, const LvLook *l, LvClock at)
{
    for (int i = 0, n = number(p, l, 20, 130); i < n; i++) {
        float r[4], q[4], rgb[3], x, y, size;

        lv_look_numbers(r, l, 2 * i);
        lv_look_numbers(q, l, 2 * i + 1);
        size = 0.007f + 0.02f * r[2] * r[2] * r[2];
        x = r[0] * (float)p->width + 0.07f * p->unit * sway(l, q[0], 0.13f, at);
        y = fall(p, r[1], -l->speed * (0.03f + 0.07f * q[1]), 0.05f, at.seconds);
        lv_look_color(rgb, l, r[3]);
        lv_brush_disc(p, x, y, 0.3f * size * p->unit, 1.4f * size * p->unit + 1, rgb,
                      (0.55f + 0.45f * sway(l, q[2], 0.35f, at)) * 0.95f);
    }
}

/* One shell: sparks fly out of (x, y), slow down and sink; age 0..1. */
static void shell(LvPaint *p, const LvLook *l, int i, float x, float y, float age,
                  const float color[3])
{
    float out = 1 - (1 - age) * (1 - age) * (1 - age), fade = life(0.1f + 0.9f * age);

    for (int k = 0; k < 46; k++) {
        float r[4], a[2], b[2], way, angle, back = 0.06f * (1 - age);

        lv_look_numbers(r, l, 1000 + 64 * i + k);
        angle = TURN * ((float)k / 46 + 0.03f * r[0]);
        way  = (0.25f + 0.11f * r[1]) * (k % 3 ? 1 : 0.6f);
        b[0] = x + way * out * cosf(angle) * p->unit;
        b[1] = y + (way * out * sinf(angle) + 0.11f * age * age) * p->unit;
        a[0] = b[0] - back * cosf(angle) * p->unit;
        a[1] = b[1] - back * sinf(angle) * p->unit;
        lv_brush_streak(p, a, b, LV_MAX(0.0055f * p->unit, 0.7f), color,
                        fade * (0.6f + 0.4f * r[3]));
    }
}

void lv_fx_fireworks(LvPaint *p, const LvLook *l, LvClock at)
{
    int shells = 3 + (int)(4 * l->amount);

    for (int i = 0; i < shells; i++) {
        float r[4], t, round, age, rgb[3];
        float x, y;

        lv_look_numbers(r, l, i);
        t = r[0] + 0.42f * l->speed * at.seconds;
        round = floorf(t);
        age = t - round;
        lv_look_numbers(r, l, 100 + i + 16 * (int)round);
        x = (0.12f + 0.76f * r[0]) * (float)p->width;
        y = (0.14f + 0.4f * r[1]) * (float)p->height;
        lv_look_color(rgb, l, l->colors > 1 ? floorf(r[2] * (float)l->colors) /
                                              (float)(l->colors - 1) : 0);
        if (age < 0.22f) {
            float up = age / 0.22f, b[2] = { x, (float)p->height + up * (y - (float)p->height) };
            float a[2] = { x, b[1] + 0.05f * p->unit };
            lv_brush_streak(p, a, b, LV_MAX(0.004f * p->unit, 0.6f), rgb, 0.8f * (1 - up * up));
        } else {
            shell(p, l, i, x, y, (age - 0.22f) / 0.78f, rgb);
        }
    }
}

void lv_fx_bubbles(LvPaint *p, const LvLook *l, LvClock at)
{
    static const float white[3] = { 1, 1, 1 };

    for (int i = 0, n = number(p, l, 8, 36); i < n; i++) {
        float r[4], x, y, radius, a[2], b[2];

        lv_look_numbers(r, l, i);
        radius = (0.014f + 0.05f * r[2] * r[2]) * p->unit;
        x = r[0] * (float)p->width + 0.03f * p->unit * sway(l, r[3], 0.35f, at);
        y = fall(p, r[1], -l->speed * (0.12f + 0.14f * r[3]), 0.08f, at.seconds);
        lv_brush_disc(p, x, y, radius, 1, l->front[0], 0.16f);
        for (int k = 0; k < 20; k++) {
            float u = TURN * (float)k / 20, v = TURN * (float)(k + 1) / 20;
            a[0] = x + radius * cosf(u);
            a[1] = y + radius * sinf(u);
            b[0] = x + radius * cosf(v);
            b[1] = y + radius * sinf(v);
            lv_brush_streak(p, a, b, LV_MAX(0.0025f * p->unit, 0.6f), l->front[0], 0.5f);
        }
        lv_brush_disc(p, x - 0.38f * radius, y - 0.42f * radius, 0.12f * radius, 1.2f, white,
                      0.85f);
    }
}

/* A leaf or petal of half-length u: two arcs that meet at both ends. */
static void leaf(LvPaint *p, float cx, float cy, float u, float plump, float angle,
                 const float color[3], int vein)
{
    float c = cosf(angle), s = sinf(angle), reach = u + 1, black[3] = { 0, 0, 0 }, rgb[3];
    int x0 = LV_MAX((int)(cx - reach), 0), x1 = LV_MIN((int)(cx + reach) + 1, p->width);
    int y0 = LV_MAX((int)(cy - reach), 0), y1 = LV_MIN((int)(cy + reach) + 1, p->height);

    for (int y = y0; y < y1; y++) {
        for (int x = x0; x < x1; x++) {
            float dx = (float)x + 0.5f - cx, dy = (float)y + 0.5f - cy;
            float along = (c * dx + s * dy) / u, across = c * dy - s * dx;
            float edge = u * plump * (1 - along * along) - fabsf(across);

            if (along * along > 1)
                continue;
            lv_color_mix(rgb, color, black,
                         vein ? 0.4f * lv_cover(fabsf(across) - 0.06f * u) : 0.15f * fabsf(along));
            lv_paint_dot(p, x, y, rgb, lv_cover(-edge));
        }
    }
}

static void leaves(LvPaint *p, const LvLook *l, LvClock at, float size, float plump, int vein)
{
    for (int i = 0, n = number(p, l, 7, 40); i < n; i++) {
        float r[4], q[4], rgb[3], tilt;

        lv_look_numbers(r, l, 2 * i);
        lv_look_numbers(q, l, 2 * i + 1);
        lv_look_color(rgb, l, r[3]);
        tilt = 0.35f + 0.65f * fabsf(sway(l, q[2], 0.2f, at));
        leaf(p, fraction(r[0] + (l->free[1] - 0.3f) * 0.08f * l->speed * at.seconds) *
             1.2f * (float)p->width - 0.1f * (float)p->width +
             0.06f * p->unit * sway(l, q[0], 0.22f, at),
             fall(p, r[1], l->speed * (0.1f + 0.1f * r[2]), 0.1f, at.seconds),
             size * (0.6f + 0.8f * q[1]) * p->unit, plump * tilt,
             TURN * (q[3] + 0.13f * l->speed * at.seconds) + sway(l, q[0], 0.22f, at), rgb, vein);
    }
}

void lv_fx_leaves(LvPaint *p, const LvLook *l, LvClock at)
{
    leaves(p, l, at, 0.068f, 0.52f, 1);
}

void lv_fx_petals(LvPaint *p, const LvLook *l, LvClock at)
{
    leaves(p, l, at, 0.034f, 0.72f, 0);
}

void lv_fx_sparks(LvPaint *p, const LvLook *l, LvClock at)
{
    for (int i = 0, n = number(p, l, 20, 110); i < n; i++) {
        float r[4], q[4], rgb[3], part, a[2], b[2], wind;

        lv_look_numbers(r, l, 2 * i);
        lv_look_numbers(q, l, 2 * i + 1);
        part = fraction(r[1] + l->speed * at.seconds * (0.16f + 0.2f * r[2]));
        wind = 0.05f * sinf(TURN * (q[0] + 2 * part)) + 0.1f * (q[1] - 0.5f) * part;
        b[0] = r[0] * (float)p->width + wind * p->unit;
        b[1] = (1.03f - 1.06f * part) * (float)p->height;
        a[0] = b[0] - 0.02f * cosf(TURN * (q[0] + 2 * part)) * p->unit * q[2];
        a[1] = b[1] + (0.012f + 0.02f * r[2]) * p->unit;
        lv_look_color(rgb, l, r[3]);
        lv_brush_streak(p, a, b, LV_MAX((0.004f + 0.004f * q[3]) * p->unit, 0.7f), rgb,
                        life(part) * (1 - 0.6f * part));
    }
}

typedef struct Ribbons {
    const LvLook *look;
    float time;
} Ribbons;

/* Bands one over the other; light falls where a band turns. */
static void ribbon_color(float rgba[4], const void *opaque, float x, float y)
{
    const Ribbons *r = opaque;
    const LvLook *l = r->look;

    for (int c = 0; c < 4; c++)
        rgba[c] = 0;
    for (int k = 0; k < 4; k++) {
        float phase = l->free[k] * 7 + (float)k, t = r->time * (0.5f + 0.12f * (float)k);
        float slope = 1.9f * x + phase + t, mid = 0.26f * ((float)k - 1.5f) +
                      0.16f * sinf(slope) + 0.06f * sinf(2.3f * slope + t);
        float half = 0.075f + 0.045f * sinf(1.3f * x - 0.8f * t + phase), at = (y - mid) / half;
        float part = LV_CLAMP((1 - fabsf(at)) * half * 90, 0, 1), rgb[3];
        float light = 0.72f + 0.32f * cosf(2.1f * at + 2.6f * cosf(slope));

        lv_look_color(rgb, l, (float)(k % 3) / 2);
        for (int c = 0; c < 3; c++)
            rgba[c] += part * (rgb[c] * light - rgba[c]);
        rgba[3] += part * (1 - rgba[3]);
    }
    for (int c = 0; c < 3 && rgba[3] > 0; c++)
        rgba[c] /= rgba[3];
}

void lv_fx_ribbons(LvPaint *p, const LvLook *l, LvClock at)
{
    Ribbons r = { l, l->speed * at.seconds };

    lv_paint_field(p, 2, ribbon_color, &r);
}

typedef struct Haze {
    const LvLook *look;
    float time;
} Haze;

static void smoke_color(float rgba[4], const void *opaque, float x, float y)
{
    const Haze *h = opaque;
    const LvLook *l = h->look;
    float bend = 0.35f * lv_noise(1.3f * x, 1.3f * y + 0.5f * h->time, 0.2f * h->time,
                                  l->key[1]);
    float n = lv_fbm(2.4f * x + 1.6f * bend, 1.7f * y + 0.75f * h->time + bend,
                     0.25f * h->time, 4, l->key[0]);
    float plume = 1 - 1.1f * fabsf(x - 0.5f * bend) + 0.5f * y;

    lv_look_color(rgba, l, 0.5f + n);
    rgba[3] = LV_CLAMP((n + 0.12f + 0.3f * l->amount) * 1.5f * LV_MAX(plume, 0), 0, 0.95f);
}

void lv_fx_smoke(LvPaint *p, const LvLook *l, LvClock at)
{
    Haze h = { l, l->speed * at.seconds };

    lv_paint_field(p, 4, smoke_color, &h);
}

static void fog_color(float rgba[4], const void *opaque, float x, float y)
{
    const Haze *h = opaque;
    const LvLook *l = h->look;
    float n = lv_fbm(1.1f * x + 0.16f * h->time, 2 * y, 0.1f * h->time, 4, l->key[0]) +
              0.5f * lv_noise(0.6f * x - 0.1f * h->time, 1.4f * y, 0.07f * h->time, l->key[1]);

    lv_look_color(rgba, l, 0.5f + n);
    rgba[3] = LV_CLAMP(0.3f + 0.35f * l->amount + 1.1f * n + 0.5f * y, 0, 0.96f);
}

void lv_fx_fog(LvPaint *p, const LvLook *l, LvClock at)
{
    Haze h = { l, l->speed * at.seconds };

    lv_paint_field(p, 8, fog_color, &h);
}

/* Warm light from beyond the edges, added. */
static void leak_color(float rgba[4], const void *opaque, float x, float y)
{
    const Haze *h = opaque;
    const LvLook *l = h->look;
    float sum = 0;

    for (int c = 0; c < 4; c++)
        rgba[c] = 0;
    for (int k = 0; k < 3; k++) {
        float a = TURN * (l->free[k] + 0.045f * h->time * (k % 2 ? 1 : -1));
        float dx = x - 1.0f * cosf(a), dy = y - 0.62f * sinf(a), rgb[3];
        float part = 1 / (1 + 5.5f * (dx * dx + dy * dy) * (1.2f - 0.5f * l->amount));

        part *= part * (0.8f + 0.2f * sinf(TURN * (l->free[3] + 0.2f * h->time) + (float)k));
        lv_look_color(rgb, l, (float)k / 2);
        for (int c = 0; c < 3; c++)
            rgba[c] += part * rgb[c];
        sum += part;
    }
    for (int c = 0; c < 3; c++)
        rgba[c] /= LV_MAX(sum, 1e-6f);
    rgba[3] = LV_CLAMP(1.15f * sum, 0, 0.93f);
}

void lv_fx_light_leaks(LvPaint *p, const LvLook *l, LvClock at)
{
    Haze h = { l, l->speed * at.seconds };

    lv_paint_field(p, 8, leak_color, &h);
}

/* From a to b by halves, each middle moved aside. */
static void bolt(LvPaint *p, const LvLook *l, const float a[2], const float b[2], int depth,
                 int id, float part)
{
    float r[4], mid[2], length = hypotf(b[0] - a[0], b[1] - a[1]), tip[2];

    if (depth == 0) {
        lv_brush_streak(p, a, b, LV_MAX(0.004f * p->unit, 0.7f), l->front[0], part);
        return;
    }
    lv_look_numbers(r, l, id);
    mid[0] = 0.5f * (a[0] + b[0]) + (r[0] - 0.5f) * 0.42f * length;
    mid[1] = 0.5f * (a[1] + b[1]) + (r[1] - 0.5f) * 0.2f * length;
    bolt(p, l, a, mid, depth - 1, 2 * id, part);
    bolt(p, l, mid, b, depth - 1, 2 * id + 1, part);
    if (depth > 2 && r[2] < 0.55f) {
        tip[0] = mid[0] + (r[3] - 0.5f) * 1.5f * length;
        tip[1] = mid[1] + 0.45f * length;
        bolt(p, l, mid, tip, depth - 2, 2 * id + 7001, 0.6f * part);
    }
}

void lv_fx_lightning(LvPaint *p, const LvLook *l, LvClock at)
{
    float t = 0.62f * l->speed * at.seconds + l->free[0], round = floorf(t), age = t - round;
    float glow = LV_MAX(0, 1 - 2.1f * age), r[4], a[2], b[2];

    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            lv_paint_dot(p, x, y, l->front[0], 0.3f * glow * glow);
    lv_look_numbers(r, l, 90 + (int)round);
    a[0] = (0.2f + 0.6f * r[0]) * (float)p->width;
    a[1] = -0.02f * p->unit;
    b[0] = a[0] + (r[1] - 0.5f) * 0.6f * p->unit;
    b[1] = (0.75f + 0.3f * r[2]) * (float)p->height;
    if (glow > 0)
        bolt(p, l, a, b, 6, 3 + 128 * ((int)round % 7), glow);
}
