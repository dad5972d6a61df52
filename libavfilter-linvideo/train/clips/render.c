/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/clips/render.h"

#include <math.h>
#include <string.h>

#include "base/common.h"
#include "train/clips/material.h"
#include "train/clips/shape.h"

/* Widths of stripes and squares. */
#define STRIPE 0.16f
#define CHECK  0.2f

static const float radius_of[LV_SIZE_NB] = { 0.125f, 0.18f, 0.25f };

/* Motions */

typedef struct Room {
    float x, y;    ///< how far the middle may be from the picture's
    float extent;  ///< of the object
} Room;

typedef void (*Mover)(LvPose *p, const LvScene *s, const Room *r, LvClock at);

/* From side to side, along one axis; sign is the direction. */
static float travel(const LvScene *s, float room, float sign, LvClock at)
{
    return sign * room * (0.75f + 0.2f * s->amount) * (2 * at.part - 1);
}

static void move_left(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    p->x = travel(s, r->x, -1, at);
}

static void move_right(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    p->x = travel(s, r->x, 1, at);
}

static void move_up(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    p->y = travel(s, r->y, -1, at);
}

static void move_down(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    p->y = travel(s, r->y, 1, at);
}

static void move_circling(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    float a = LV_TURN * (s->phase + at.seconds / (1.9f + 0.3f * s->amount));
    float radius = LV_MIN(0.26f, r->y + 0.03f);

    p->x = 0.5f * s->x * LV_MAX(r->x - radius, 0) + radius * cosf(a);
    p->y = radius * sinf(a);
}

static void move_bouncing(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    float height = LV_MIN(2 * r->y, 0.34f + 0.04f * s->amount);

    p->y = r->y - height * fabsf(sinf(LV_TURN / 2 * (s->phase + at.seconds / 1.1f)));
}

static void move_spinning(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    float turns = s->phase + at.seconds * (0.24f + 0.06f * s->amount);
    float c = cosf(LV_TURN * (turns + 0.07f * at.seconds));

    (void)r;
    if (s->shape == LV_CIRCLE || s->shape == LV_RING)
        p->squash = sqrtf(0.03f + 0.97f * c * c);
    else
        p->angle = s->turn * LV_TURN * turns;
}

static void move_growing(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    float from = 0.36f + 0.1f * s->amount;

    (void)r;
    p->radius *= from + (1.12f - from) * at.part;
}

static void move_shrinking(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    at.part = 1 - at.part;
    move_growing(p, s, r, at);
}

static void move_pulsing(LvPose *p, const LvScene *s, const Room *r, LvClock at)
{
    (void)r;
    p->radius *= 1 + 0.27f * sinf(LV_TURN * (s->phase + at.seconds));
}

static const Mover movers[LV_MOTION_NB] = {
    move_left, move_right, move_up, move_down, move_circling, move_bouncing,
    move_spinning, move_growing, move_shrinking, move_pulsing, NULL,
};

LvPose lv_scene_pose(const LvScene *s, int width, int height, LvClock at)
{
    float unit = LV_MIN(width, height), radius = radius_of[s->size];
    float extent = radius * lv_shape_extent(s->shape) + 0.02f;
    Room r = { .x = 0.5f * width / unit - extent, .y = 0.5f * height / unit - extent,
               .extent = extent };
    LvPose p = { .radius = radius, .squash = 1 };

    r.x = LV_MAX(r.x, 0);
    r.y = LV_MAX(r.y, 0);
    p.x = 0.7f * s->x * r.x;
    p.y = 0.7f * s->y * r.y;
    if (movers[s->motion])
        movers[s->motion](&p, s, &r, at);
    return p;
}

/* Objects */

/* Signed distance in radii, of a point turned into the shape's own frame. A circle
 * squashed to an ellipse: its distance divided by the length of its gradient. */
static float distance(LvShape shape, float squash, float x, float y)
{
    float u = x / squash, n, g;

    if (squash == 1)
        return lv_shape_distance(shape, x, y);
    n = sqrtf(u * u + y * y);
    g = sqrtf(u * u / (squash * squash) + y * y);
    return lv_shape_distance(shape, u, y) * (g > 0 ? n / g : 1);
}

/* An object on the pixel grid. */
typedef struct Stamp {
    LvShape shape;
    float squash;
    float x, y;        ///< of its middle
    float cos, sin;    ///< of its angle, by its radius in pixels
    float radius;
} Stamp;

static float stamp_distance(const Stamp *s, float x, float y)
{
    x -= s->x;
    y -= s->y;
    return s->radius * distance(s->shape, s->squash, s->cos * x + s->sin * y,
                                s->cos * y - s->sin * x);
}

/* Part of the pixel at (x, y) that is covered. By its quarters where the outline is
 * near: one distance makes corners too round. */
static float stamp_cover(const Stamp *s, int x, int y)
{
    float d = stamp_distance(s, x + 0.5f, y + 0.5f), sum = 0;

    if (fabsf(d) > 0.75f)
        return d < 0;
    for (int i = 0; i < 4; i++)
        sum += lv_cover(2 * stamp_distance(s, x + 0.25f + 0.5f * (i & 1),
                                           y + 0.25f + 0.5f * (i >> 1)));
    return 0.25f * sum;
}

static void paint_object(LvPaint *p, LvShape shape, const LvPose *o,
                         const float color[3])
{
    float radius = o->radius * p->unit, reach = radius * lv_shape_extent(shape) + 1;
    Stamp s = { shape, o->squash, 0.5f * p->width + o->x * p->unit,
                0.5f * p->height + o->y * p->unit, cosf(o->angle) / radius,
                sinf(o->angle) / radius, radius };
    int x0 = LV_MAX((int)floorf(s.x - reach), 0);
    int y0 = LV_MAX((int)floorf(s.y - reach), 0);
    int x1 = LV_MIN((int)ceilf(s.x + reach), p->width);
    int y1 = LV_MIN((int)ceilf(s.y + reach), p->height);

    for (int y = y0; y < y1; y++) {
        for (int x = x0; x < x1; x++) {
            float dx = x + 0.5f - s.x, dy = y + 0.5f - s.y, part = 0;

            if (dx * dx + dy * dy < reach * reach)
                part = stamp_cover(&s, x, y);
            if (part > 0)
                lv_paint_dot(p, x, y, color, part);
        }
    }
}

/* Backgrounds */

/* Triangle wave of period 2 between -0.5 and 0.5, zero at 0. */
static float wave(float x)
{
    return fabsf(x + 0.5f - 2 * floorf(0.5f * (x + 1.5f))) - 0.5f;
}

/* Share of the second shade at a point: pixels x, y from the middle. */
static float shade(const LvPaint *p, LvPattern pattern, float x, float y)
{
    float w = p->width, h = p->height;

    switch (pattern) {
    case LV_SHADED:  return 0.5f + y / h;
    case LV_BLEND:   return 0.5f + 0.5f * (x / w + y / h);
    case LV_STRIPED: return lv_cover(STRIPE * p->unit * wave(x / (STRIPE * p->unit)));
    case LV_CHECKERED: {
        float a = lv_cover(CHECK * p->unit * wave(x / (CHECK * p->unit)));
        float b = lv_cover(CHECK * p->unit * wave(y / (CHECK * p->unit)));

        return a + b - 2 * a * b;
    }
    default: return 0;
    }
}

void lv_paint_back(LvPaint *p, const LvScene *s)
{
    float a[3], b[3];

    lv_scene_shades(a, b, s->pattern, s->back, s->back2);
    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            float part = shade(p, s->pattern, x + 0.5f - 0.5f * p->width,
                               y + 0.5f - 0.5f * p->height);

            lv_color_mix(p->rgb + 3 * ((size_t)y * p->width + x), a, b, part);
        }
    }
}

/* Clips */

void lv_render(const LvScene *s, int width, int height, int frames, double rate,
               float *rgb)
{
    size_t size = (size_t)3 * width * height;
    LvPaint p = { rgb, width, height, LV_MIN(width, height) };

    lv_paint_back(&p, s);
    for (int f = 1; f < frames; f++)
        memcpy(rgb + f * size, rgb, size * sizeof(*rgb));
    for (int f = 0; f < frames; f++, p.rgb += size) {
        LvClock at = { f / rate, frames > 1 ? f / (frames - 1.0f) : 0 };

        if (s->kind == LV_SCENE_OBJECT) {
            LvPose o = lv_scene_pose(s, width, height, at);

            paint_object(&p, s->shape, &o, lv_color_rgb(s->color));
        } else {
            lv_paint_material(&p, s, at);
        }
    }
}
