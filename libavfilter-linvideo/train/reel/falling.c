/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What falls, flies and flashes. Most effects are many small sprites; what goes over one
 * edge comes in again at the other. Lengths and speeds are in shorter sides of the
 * picture (a second), so that every size looks the same.
 */

#include "train/reel/falling.h"

#include <math.h>

#include "base/common.h"
#include "train/clips/brush.h"
#include "train/reel/field.h"

static float between(float a, float b, float t)
{
    return a + t * (b - a);
}

/* 0 below `from`, 1 above `to`, smooth between. */
static float ramp(float x, float from, float to)
{
    float t = (x - from) / (to - from);

    t = LV_CLAMP(t, 0, 1);
    return t * t * (3 - 2 * t);
}

/* How many things there are, from so many to so many in a square picture. */
static int crowd(const LvPaint *p, const LvLook *look, float few, float many)
{
    float area = (float)p->width * (float)p->height / (p->unit * p->unit);

    return (int)ceilf(between(few, many, look->amount) * area);
}

/* One of the colours, not a mixture. */
static const float *own_color(const LvLook *look, int i)
{
    return look->front[i % look->colors];
}

/* Towards white (above 0) or black (below 0). */
static void shade(float out[3], const float rgb[3], float part)
{
    static const float black[3] = { 0, 0, 0 }, white[3] = { 1, 1, 1 };

    lv_color_mix(out, rgb, part < 0 ? black : white, fabsf(part));
}

/* -1 where the look goes left, 1 where right, else a breeze. */
static float wind(const LvLook *look)
{
    return look->direction == 0 ? -1 : look->direction == 1 ? 1 : 0.5f * (look->free[0] - 0.5f);
}

/* Place, in pixels, of what starts at `start` (0..1 of the way) and moves on at v. */
static float pass(float start, float v, float seconds, float margin, int pixels, float unit)
{
    float way = (float)pixels / unit + 2 * margin;

    return (way * lv_fraction(start + v * seconds / way) - margin) * unit;
}

/* Sprites */

typedef struct Sprite {
    float x, y;             ///< middle, in pixels
    float along, across;    ///< half-sides, in pixels
    float c, s;             ///< cosine and sine of the angle
    float color[3], part;
    const void *more;       ///< for its shape
} Sprite;

/* Colour and part at (u, v), -1..1 along and across; rgba holds the sprite's own. */
typedef void (*Shape)(float rgba[4], const Sprite *s, float u, float v);

static void turn(Sprite *s, float angle)
{
    s->c = cosf(angle);
    s->s = sinf(angle);
}

static void stamp(LvPaint *p, const Sprite *s, Shape shape)
{
    float rx = fabsf(s->c) * s->along + fabsf(s->s) * s->across + 1;
    float ry = fabsf(s->s) * s->along + fabsf(s->c) * s->across + 1;
    int left = LV_MAX((int)(s->x - rx), 0), right = LV_MIN((int)(s->x + rx) + 1, p->width);
    int top = LV_MAX((int)(s->y - ry), 0), low = LV_MIN((int)(s->y + ry) + 1, p->height);

    for (int y = top; y < low; y++) {
        float dy = (float)y + 0.5f - s->y;

        for (int x = left; x < right; x++) {
            float dx = (float)x + 0.5f - s->x;
            float rgba[4] = { s->color[0], s->color[1], s->color[2], 1 };

            shape(rgba, s, (s->c * dx + s->s * dy) / s->along,
                  (s->c * dy - s->s * dx) / s->across);
            if (rgba[3] > 0)
                lv_paint_dot(p, x, y, rgba, s->part * rgba[3]);
        }
    }
}

/* Light that fades from the middle. */
static void shape_glow(float rgba[4], const Sprite *s, float u, float v)
{
    float q = LV_MAX(1 - u * u - v * v, 0);

    (void)s;
    rgba[3] = q * q;
}

static void stamp_glow(LvPaint *p, float x, float y, float r, const float color[3],
                       float part)
{
    Sprite s = { .x = x, .y = y, .along = r, .across = r, .c = 1, .part = part,
                 .color = { color[0], color[1], color[2] } };

    if (part > 0.004f)
        stamp(p, &s, shape_glow);
}

/* Bright at the head, thin and dim at the tail. */
static void shape_trail(float rgba[4], const Sprite *s, float u, float v)
{
    float t = LV_CLAMP(0.5f + 0.5f * u, 0, 1), side = LV_MAX(1 - v * v, 0);
    float head = LV_CLAMP((1 - u) * s->along / s->across, 0, 1);

    rgba[3] = t * side * head;
}

/* A trail from a to b, its head. */
static void stamp_trail(LvPaint *p, const float a[2], const float b[2], float r,
                        const float color[3], float part)
{
    float ex = b[0] - a[0], ey = b[1] - a[1];
    float length = LV_MAX(sqrtf(ex * ex + ey * ey), 1e-3f);
    Sprite s = { .x = 0.5f * (a[0] + b[0]), .y = 0.5f * (a[1] + b[1]),
                 .along = 0.5f * length + r, .across = r, .c = ex / length,
                 .s = ey / length, .part = part,
                 .color = { color[0], color[1], color[2] } };

    if (part > 0.004f)
        stamp(p, &s, shape_trail);
}

/* Snow */

/* Six arms with twigs. */
static void shape_crystal(float rgba[4], const Sprite *s, float u, float v)
{
    float across, twig, line = LV_MAX(0.085f * s->along, 0.7f);

    u = fabsf(u);
    v = fabsf(v);
    if (v > 0.57735f * u) {     /* mirror the plane into one arm's 30 degrees */
        float t = 0.5f * u + 0.866025f * v;

        v = fabsf(0.866025f * u - 0.5f * v);
        u = t;
    }
    across = v * s->along - line;
    twig = LV_MIN(fabsf(0.8f * (u - 0.30f) - 0.6f * v), fabsf(0.8f * (u - 0.58f) - 0.6f * v));
    twig = LV_MAX(twig * s->along - 0.8f * line, (v - 0.30f * (1.25f - u)) * s->along);
    rgba[3] = lv_cover(LV_MIN(across, twig)) * lv_cover((u - 0.95f) * s->along);
}

static void draw_flake(LvPaint *p, const LvLook *look, int i, float depth, float seconds)
{
    float r[4], x, y, size, unit = p->unit;

    lv_look_numbers(r, look, i);
    size = 0.0045f + 0.013f * depth * depth * depth * (0.6f + 0.8f * r[2]);
    x = pass(r[0], wind(look) * (0.05f + 0.13f * depth), seconds, 0.08f, p->width, unit) +
        0.018f * unit * sinf(LV_TURN * (r[3] + (0.10f + 0.1f * r[2]) * seconds));
    y = pass(r[1], 0.09f + 0.17f * depth, seconds, 0.06f, p->height, unit);
    if (depth > 0.8f && look->free[2] > 0.5f) {
        Sprite s = { .x = x, .y = y, .part = 0.95f, .along = 1.9f * size * unit,
                     .across = 1.9f * size * unit };

        shade(s.color, own_color(look, i), 0);
        turn(&s, LV_TURN * (r[3] + (r[2] - 0.5f) * 0.15f * seconds));
        stamp(p, &s, shape_crystal);
    } else {
        stamp_glow(p, x, y, 2.2f * LV_MAX(size * unit, 0.8f), own_color(look, i),
                   0.65f + 0.35f * depth);
    }
}

void lv_fx_snow(LvPaint *p, const LvLook *look, LvClock at)
{
    for (int i = 0, n = crowd(p, look, 70, 330); i < n; i++)
        draw_flake(p, look, i, ((float)i + 0.5f) / (float)n, at.seconds * look->speed);
}

/* Rain */

void lv_fx_rain(LvPaint *p, const LvLook *look, LvClock at)
{
    float slant = 0.25f * wind(look), unit = p->unit;

    for (int i = 0, n = crowd(p, look, 55, 230); i < n; i++) {
        float r[4], a[2], b[2], depth = ((float)i + 0.5f) / (float)n, v, length;

        lv_look_numbers(r, look, i);
        v = 0.95f + 0.45f * depth + 0.1f * r[2];
        length = (0.07f + 0.13f * depth) * unit;
        b[0] = pass(r[0], slant * v, at.seconds * look->speed, 0.12f, p->width, unit);
        b[1] = pass(r[1], v, at.seconds * look->speed, 0.22f, p->height, unit);
        a[0] = b[0] - slant * length;
        a[1] = b[1] - length;
        stamp_trail(p, a, b, LV_MAX((0.0022f + 0.0028f * depth) * unit, 1),
                    own_color(look, i), 0.40f + 0.55f * depth);
    }
}

/* Confetti */

static void shape_card(float rgba[4], const Sprite *s, float u, float v)
{
    rgba[3] = lv_cover((fabsf(u) - 1) * s->along) * lv_cover((fabsf(v) - 1) * s->across);
}

static void shape_coin(float rgba[4], const Sprite *s, float u, float v)
{
    rgba[3] = lv_cover((sqrtf(u * u + v * v) - 1) * LV_MIN(s->along, s->across));
}

/* A curl of paper: a wave along a strip. */
static void shape_curl(float rgba[4], const Sprite *s, float u, float v)
{
    float d = fabsf(v - 0.6f * sinf(5 * u)) - 0.3f;

    rgba[3] = lv_cover(0.6f * d * s->across) * lv_cover((fabsf(u) - 0.95f) * s->along);
    shade(rgba, s->color, -0.25f + 0.25f * cosf(5 * u));
}

static void draw_paper(LvPaint *p, const LvLook *look, int i, float depth, float seconds)
{
    static const Shape shapes[] = { shape_card, shape_card, shape_card, shape_coin,
                                    shape_curl };
    float r[4], q[4], tumble, size;
    int kind;
    Sprite s = { .part = 1 };

    lv_look_numbers(r, look, 2 * i);
    lv_look_numbers(q, look, 2 * i + 1);
    kind = (int)(q[0] * 4.99f);
    size = (0.011f + 0.011f * depth) * p->unit;
    tumble = cosf(LV_TURN * (q[1] + (0.25f + 0.35f * q[2]) * seconds));
    s.x = pass(r[0], 0.12f * wind(look), seconds, 0.08f, p->width, p->unit) +
          0.03f * p->unit * sinf(LV_TURN * (r[3] + 0.22f * seconds));
    s.y = pass(r[1], 0.16f + 0.14f * depth + 0.06f * q[3], seconds, 0.06f, p->height,
               p->unit);
    s.along = size * (kind == 4 ? 2.4f : kind == 3 ? 0.9f : 1.25f);
    s.across = kind == 4 ? 0.7f * size : LV_MAX(0.85f * size * fabsf(tumble), 0.7f);
    shade(s.color, own_color(look, i), 0.30f * tumble);
    turn(&s, LV_TURN * (r[2] + (q[3] - 0.5f) * 0.5f * seconds));
    stamp(p, &s, shapes[kind]);
}

void lv_fx_confetti(LvPaint *p, const LvLook *look, LvClock at)
{
    for (int i = 0, n = crowd(p, look, 40, 170); i < n; i++)
        draw_paper(p, look, i, ((float)i + 0.5f) / (float)n, at.seconds * look->speed);
}

/* Particles */

static void draw_mote(LvPaint *p, const LvLook *look, int i, float depth, float seconds)
{
    static const float ways[4][2] = { { -1, 0.1f }, { 1, -0.1f }, { 0.1f, -1 }, { -0.1f, 1 } };
    const float *way = ways[look->direction & 3];
    float r[4], q[4], x, y, v = 0.03f + 0.06f * depth, light, size, core[3];

    lv_look_numbers(r, look, 2 * i);
    lv_look_numbers(q, look, 2 * i + 1);
    x = pass(r[0], v * way[0] + 0.03f * (q[0] - 0.5f), seconds, 0.12f, p->width, p->unit) +
        0.035f * p->unit * sinf(LV_TURN * (q[2] + (0.05f + 0.06f * q[3]) * seconds));
    y = pass(r[1], v * way[1] + 0.03f * (q[1] - 0.5f), seconds, 0.12f, p->height, p->unit) +
        0.035f * p->unit * cosf(LV_TURN * (q[3] + (0.05f + 0.06f * q[2]) * seconds));
    light = 0.62f + 0.38f * sinf(LV_TURN * (r[2] + (0.15f + 0.25f * q[1]) * seconds));
    size = (0.003f + 0.0065f * r[3] * r[3] * r[3]) * p->unit;
    if (depth > 0.94f) {        /* near and out of focus */
        stamp_glow(p, x, y, 9 * size + 0.03f * p->unit, own_color(look, i), 0.30f * light);
        return;
    }
    shade(core, own_color(look, i), 0.55f);
    stamp_glow(p, x, y, 6 * size, own_color(look, i), 0.42f * light);
    stamp_glow(p, x, y, LV_MAX(1.9f * size, 1.3f), core, light);
}

void lv_fx_particles(LvPaint *p, const LvLook *look, LvClock at)
{
    for (int i = 0, n = crowd(p, look, 55, 240); i < n; i++)
        draw_mote(p, look, i, ((float)i + 0.5f) / (float)n, at.seconds * look->speed);
}

/* Fireworks */

enum { SHELL_SPARKS = 120 };

#define SHELL_RISES  1.5f       /* seconds */
#define SHELL_BURNS  2.5f

typedef struct Shell {
    float x, y;         ///< where it bursts, in pixels
    float radius;       ///< pixels
    const float *color, *tip;
    int seed;
} Shell;

/* Where a spark that left towards `way` is, `age` after the burst. */
static void fly(float at[2], const Shell *s, const float way[2], float age, float unit)
{
    float far = s->radius * (1 - expf(-1.9f * age));

    at[0] = s->x + far * way[0];
    at[1] = s->y + far * way[1] + 0.035f * unit * age * age;
}

static void draw_burst(LvPaint *p, const LvLook *look, const Shell *s, float age)
{
    float fade = 1 - ramp(age, 0.4f * SHELL_BURNS, SHELL_BURNS), core[3];

    stamp_glow(p, s->x, s->y, 1.5f * s->radius, s->color, 0.40f * expf(-2.5f * age) *
               ramp(age, 0, 0.12f));
    for (int i = 0; i < SHELL_SPARKS; i++) {
        float r[4], way[2], a[2], b[2], light, z, flat, reach;

        lv_look_numbers(r, look, s->seed + i);
        z = 2 * ((float)i + 0.5f) / SHELL_SPARKS - 1;
        reach = (i % 3 ? 0.9f : 0.55f) + 0.1f * r[1];
        flat = sqrtf(1 - z * z);
        way[0] = reach * flat * cosf(2.39996f * (float)i + 0.5f * r[0]);
        way[1] = reach * z;
        fly(b, s, way, age, p->unit);
        fly(a, s, way, LV_MAX(0.72f * age - 0.22f, 0), p->unit);
        light = fade * (0.8f + 0.2f * sinf(LV_TURN * (r[3] + 1.5f * age)));
        stamp_trail(p, a, b, LV_MAX(0.0055f * p->unit, 1.1f), i % 3 ? s->color : s->tip, light);
        shade(core, i % 3 ? s->color : s->tip, 0.7f);
        stamp_glow(p, b[0], b[1], LV_MAX(0.0095f * p->unit, 1.4f), core, light);
    }
}

static void draw_rocket(LvPaint *p, const Shell *s, float age)
{
    float t = age / SHELL_RISES, left = 1 - t, core[3];
    float from = (float)p->height + 0.03f * p->unit;
    float b[2] = { s->x, s->y + (from - s->y) * left * (0.8f + 0.2f * left) };
    float a[2] = { s->x, b[1] + 0.11f * p->unit * left };

    shade(core, s->color, 0.5f);
    stamp_trail(p, a, b, LV_MAX(0.004f * p->unit, 1), core, 0.9f * ramp(left, 0, 0.2f));
}

void lv_fx_fireworks(LvPaint *p, const LvLook *look, LvClock at)
{
    int n = 3 + (int)(look->amount * 4.99f);
    float period = SHELL_RISES + SHELL_BURNS;

    for (int i = 0; i < n; i++) {
        float turns = ((float)i + look->free[0]) / (float)n + at.seconds * look->speed / period;
        float lap = floorf(turns), age = (turns - lap) * period, r[4];
        int launch = i + n * (int)lap;
        Shell s = { .seed = 1000 * launch, .color = own_color(look, launch),
                    .tip = own_color(look, launch + 1) };

        lv_look_numbers(r, look, 7 + s.seed);
        s.x = (float)p->width *
              (0.12f + 0.76f * lv_fraction(0.618f * (float)launch + look->free[1]));
        s.y = (0.20f + 0.28f * r[1]) * (float)p->height;
        s.radius = (0.19f + 0.13f * r[2]) * p->unit;
        if (age < SHELL_RISES)
            draw_rocket(p, &s, age);
        else
            draw_burst(p, look, &s, age - SHELL_RISES);
    }
}

/* Bubbles */

/* A film: seen at the rim, with the window's light above and its image below. */
static void shape_bubble(float rgba[4], const Sprite *s, float u, float v)
{
    float d2 = u * u + v * v, d = sqrtf(d2), rim, light;
    float wx = u + 0.42f, wy = v + 0.46f, ix = u - 0.40f, iy = v - 0.46f;

    if (d2 > 1.5f) {
        rgba[3] = 0;
        return;
    }
    rim = ramp(d, 0.62f, 0.98f);
    lv_look_color(rgba, s->more, 0.5f + 0.45f * sinf(2.2f * u - 2.6f * v + 5 * s->part));
    light = LV_MAX(1 - 16 * (wx * wx + 1.6f * wy * wy - 1.3f * wx * wy), 0);
    light += 0.5f * LV_MAX(1 - 22 * (ix * ix + 1.6f * iy * iy - 1.3f * ix * iy), 0);
    light = LV_MIN(light, 1);
    shade(rgba, rgba, LV_MAX(light, -0.25f * rim * (u + v)));
    rgba[3] = (0.08f + 0.80f * rim * rim) * (1 - light) + 0.95f * light;
    rgba[3] *= lv_cover((d - 1) * s->along);
}

static void draw_bubble(LvPaint *p, const LvLook *look, int i, float depth, float seconds)
{
    float r[4], size;
    Sprite s = { .c = 1, .more = look };

    lv_look_numbers(r, look, i);
    size = 0.012f + 0.085f * depth * depth * depth + 0.012f * r[2];
    s.along = s.across = size * p->unit;
    s.part = 0.86f + 0.14f * r[3];
    s.x = pass(r[0], 0.06f * wind(look), seconds, 0.13f, p->width, p->unit) +
          (0.012f + 0.2f * size) * p->unit *
              sinf(LV_TURN * (r[3] + (0.12f + 0.1f * r[2]) * seconds));
    s.y = pass(r[1], -0.07f - 0.08f * depth - 0.05f * r[2], seconds, 0.13f, p->height, p->unit);
    stamp(p, &s, shape_bubble);
}

void lv_fx_bubbles(LvPaint *p, const LvLook *look, LvClock at)
{
    for (int i = 0, n = crowd(p, look, 13, 60); i < n; i++)
        draw_bubble(p, look, i, ((float)i + 0.5f) / (float)n, at.seconds * look->speed);
}

/* Leaves and petals */

/* Half an outline, from the tip round to the foot: {across, along} from a middle that
 * sees every point. */
typedef struct Outline {
    int n;
    float at[14][2];
    float stem;         ///< where the stem ends, 0: none
    float fold;         ///< difference of the two halves' shades
} Outline;

static const Outline maple = { 13, {
    { 0, 1 }, { 0.13f, 0.72f }, { 0.25f, 0.77f }, { 0.19f, 0.36f }, { 0.42f, 0.56f },
    { 0.48f, 0.43f }, { 0.74f, 0.49f }, { 0.67f, 0.30f }, { 0.95f, 0.16f },
    { 0.50f, -0.14f }, { 0.56f, -0.34f }, { 0.10f, -0.28f }, { 0, -0.27f } }, -0.85f, 0.16f };
static const Outline beech = { 10, {
    { 0, 1 }, { 0.12f, 0.80f }, { 0.28f, 0.52f }, { 0.38f, 0.22f }, { 0.40f, -0.02f },
    { 0.36f, -0.24f }, { 0.27f, -0.44f }, { 0.15f, -0.58f }, { 0.05f, -0.65f },
    { 0, -0.66f } }, -1.0f, 0.2f };
static const Outline petal = { 12, {
    { 0, 0.74f }, { 0.10f, 0.86f }, { 0.22f, 0.92f }, { 0.36f, 0.84f }, { 0.50f, 0.64f },
    { 0.58f, 0.36f }, { 0.56f, 0.06f }, { 0.46f, -0.26f }, { 0.32f, -0.54f },
    { 0.17f, -0.78f }, { 0.07f, -0.88f }, { 0, -0.90f } }, 0, 0.05f };

/* Distance outside the edge that is seen from the middle towards (a, l). */
static float outside(const Outline *o, float a, float l)
{
    const float (*q)[2] = o->at;
    float ea, el;
    int i = 1;

    while (i < o->n - 1 && a * q[i][1] - l * q[i][0] > 0)
        i++;
    ea = q[i][0] - q[i - 1][0];
    el = q[i][1] - q[i - 1][1];
    return ((l - q[i - 1][1]) * ea - (a - q[i - 1][0]) * el) / sqrtf(ea * ea + el * el);
}

static void shape_leaf(float rgba[4], const Sprite *s, float u, float v)
{
    const Outline *o = s->more;
    float a = fabsf(v), d, pixels = 0.5f * (s->along + s->across), rib;

    if (u * u + a * a > 1.7f) {
        rgba[3] = 0;
        return;
    }
    d = outside(o, a, u);
    rib = o->stem < 0 ? lv_cover((a - 0.02f) * s->across) : 0;
    if (o->stem < 0) {
        float vein = fabsf(lv_fraction(3.2f * (u - 0.75f * a)) - 0.5f);

        d = LV_MIN(d, LV_MAX(a - 0.035f, LV_MAX(o->stem - u, u)));
        rib = LV_MAX(rib, 0.45f * ramp(vein, 0.38f, 0.5f));
    }
    shade(rgba, rgba, -0.35f * rib + o->fold * (v > 0 ? 0.8f : -0.8f) * (1 - rib));
    if (o->stem == 0)
        shade(rgba, rgba, 0.45f * ramp(u, -0.5f, 0.9f) * (1 - 0.6f * a));
    rgba[3] = lv_cover(d * pixels);
}

/* Something flat that rocks as it falls. */
typedef struct Faller {
    float size[2];      ///< half a length, far and near
    float fall;         ///< a second, near
    float rock;         ///< of an angle, in turns
} Faller;

static void draw_faller(LvPaint *p, const LvLook *look, int i, float depth, float seconds,
                        const Faller *f, const Outline *o)
{
    float r[4], q[4], swing, size, phase;
    Sprite s = { .part = 1, .more = o };

    lv_look_numbers(r, look, 2 * i);
    lv_look_numbers(q, look, 2 * i + 1);
    phase = LV_TURN * (r[3] + (0.16f + 0.12f * q[0]) * seconds);
    swing = sinf(phase);
    size = between(f->size[0], f->size[1], depth * depth) * (0.85f + 0.3f * q[1]);
    s.x = pass(r[0], (0.05f + 0.10f * depth) * wind(look), seconds, 0.15f, p->width, p->unit) +
          0.05f * p->unit * swing;
    s.y = pass(r[1], f->fall * (0.5f + 0.4f * depth + 0.2f * q[2]), seconds, 0.15f, p->height,
               p->unit) - 0.012f * p->unit * cosf(2 * phase);
    s.along = size * p->unit;
    s.across = s.along *
               (0.68f + 0.32f * sinf(LV_TURN * (q[3] + (0.12f + 0.15f * q[1]) * seconds)));
    shade(s.color, own_color(look, i), 0.18f * (q[2] - 0.5f) - 0.06f * (1 - depth));
    turn(&s, LV_TURN * (r[2] + f->rock * swing + (q[0] - 0.5f) * 0.12f * seconds));
    stamp(p, &s, shape_leaf);
}

void lv_fx_leaves(LvPaint *p, const LvLook *look, LvClock at)
{
    static const Faller leaf = { { 0.034f, 0.095f }, 0.20f, 0.10f };

    for (int i = 0, n = crowd(p, look, 12, 50); i < n; i++) {
        const Outline *o = lv_fraction(0.618f * (float)i) < 0.35f + 0.5f * look->free[2] ? &maple
                                                                                 : &beech;

        draw_faller(p, look, i, ((float)i + 0.5f) / (float)n, at.seconds * look->speed, &leaf, o);
    }
}

void lv_fx_petals(LvPaint *p, const LvLook *look, LvClock at)
{
    static const Faller flat = { { 0.017f, 0.052f }, 0.15f, 0.13f };

    for (int i = 0, n = crowd(p, look, 20, 95); i < n; i++)
        draw_faller(p, look, i, ((float)i + 0.5f) / (float)n, at.seconds * look->speed, &flat,
                    &petal);
}

/* Sparks */

typedef struct Rise {
    const LvPaint *p;
    float x, v;         ///< where it starts, pixels; how fast it rises
    float side, phase[2];
} Rise;

static void ember_at(float at[2], const Rise *e, float age)
{
    float unit = e->p->unit;

    at[0] = e->x +
            unit * (e->side * age +
                    0.028f * age * sinf(LV_TURN * (e->phase[0] + 0.45f * age)) +
                    0.012f * sinf(LV_TURN * (e->phase[1] + 0.9f * age)));
    at[1] = (float)e->p->height + unit * (0.03f - e->v * age);
}

static void draw_ember(LvPaint *p, const LvLook *look, int i, float seconds)
{
    float r[4], q[4], life, turns, lap, age, a[2], b[2], light, size, core[3];
    Rise e = { .p = p };

    lv_look_numbers(r, look, 2 * i);
    life = 2.2f + 2.2f * r[2];
    turns = r[0] + seconds / life;
    lap = floorf(turns);
    age = (turns - lap) * life;
    lv_look_numbers(q, look, 2 * i + 1 + 4096 * (int)lap);
    e.x = q[0] * (float)p->width;
    e.v = 0.16f + 0.20f * q[1];
    e.side = 0.10f * wind(look) + 0.08f * (q[2] - 0.5f);
    e.phase[0] = q[3];
    e.phase[1] = r[3];
    ember_at(b, &e, age);
    ember_at(a, &e, age - 0.11f);
    light = ramp(age, 0, 0.25f) * (1 - ramp(age, 0.45f * life, life)) *
            (0.82f + 0.18f * sinf(LV_TURN * (r[1] + 0.9f * age)));
    size = LV_MAX((0.0030f + 0.0042f * r[3] * r[3]) * p->unit, 0.8f) * (1 - 0.4f * age / life);
    shade(core, own_color(look, i), 0.5f);
    stamp_glow(p, b[0], b[1], 5 * size, own_color(look, i), 0.32f * light);
    stamp_trail(p, a, b, LV_MAX(1.5f * size, 1), own_color(look, i), light);
    stamp_glow(p, b[0], b[1], LV_MAX(1.6f * size, 1.2f), core, light);
}

typedef struct Hearth {
    const float *color;
    float low, seconds;
    uint32_t key;
} Hearth;

/* The light of the fire that is below the picture. */
static void hearth_light(float rgba[4], const void *opaque, float x, float y)
{
    const Hearth *h = opaque;
    float near = LV_MAX(1 - 2.6f * (h->low - y), 0);

    shade(rgba, h->color, 0);
    rgba[3] = near * near * (0.34f + 0.3f * lv_noise(1.5f * x, 1.5f * y + h->seconds * 0.3f,
                                                     0.4f * h->seconds, h->key));
}

void lv_fx_sparks(LvPaint *p, const LvLook *look, LvClock at)
{
    Hearth h = { look->front[0], 0.5f * (float)p->height / p->unit, at.seconds * look->speed,
                 look->key[0] };

    lv_paint_field(p, 8, hearth_light, &h);
    for (int i = 0, n = crowd(p, look, 45, 190); i < n; i++)
        draw_ember(p, look, i, at.seconds * look->speed);
}

/* Ribbons */

typedef struct Ribbon {
    float y, half;          ///< shorter sides
    float phase[4];         ///< of its waves
    float seconds;
    const float *color;
} Ribbon;

/* Height of the middle at x, and its slope. */
static float wave(const Ribbon *b, float x, float *slope)
{
    float one = 1.9f * x + 0.55f * b->seconds + b->phase[0];
    float two = 3.7f * x + 0.80f * b->seconds + b->phase[1];

    *slope = 1.9f * 0.12f * cosf(one) + 3.7f * 0.045f * cosf(two);
    return b->y + 0.12f * sinf(one) + 0.045f * sinf(two);
}

static void draw_column(LvPaint *p, const Ribbon *b, int column, float x)
{
    float slope, mid = wave(b, x, &slope) * p->unit + 0.5f * (float)p->height;
    float level = 1 / sqrtf(1 + slope * slope);
    float twist = 2.1f * x + 0.6f * b->seconds + b->phase[2] +
                  0.9f * sinf(1.3f * x + 0.3f * b->seconds + b->phase[3]);
    float side = cosf(twist), half = b->half * p->unit * side;
    float thick = LV_MAX(fabsf(half), 0.8f) / level;
    int from = LV_MAX((int)(mid - thick - 2), 0);
    int to = LV_MIN((int)(mid + thick + 3), p->height);

    half = (half < 0 ? -thick : thick);
    for (int y = from; y < to; y++) {
        float d = (float)y + 0.5f - mid, v = d / half, color[3], light;

        light = sinf(2 * twist + 1.5f * v) * 0.5f + 0.12f * sinf(9 * v + 2 * twist);
        light += 0.30f * ramp(fabsf(v), 0.86f, 1) - (side < 0 ? 0.22f : 0);
        shade(color, b->color, LV_CLAMP(light, -0.62f, 0.62f));
        lv_paint_dot(p, column, y, color, 0.94f * lv_cover((fabsf(d) - thick) * level));
    }
}

void lv_fx_ribbons(LvPaint *p, const LvLook *look, LvClock at)
{
    int n = 2 + (int)(look->amount * 3.99f);

    for (int i = 0; i < n; i++) {
        float r[4], place = ((float)i + 0.5f) / (float)n - 0.5f;
        Ribbon b = { .seconds = at.seconds * look->speed * (look->direction == 1 ? -1 : 1),
                     .color = own_color(look, i) };

        lv_look_numbers(r, look, i);
        b.y = 0.62f * place * (float)p->height / p->unit + 0.06f * (r[0] - 0.5f);
        b.half = 0.075f + 0.05f * r[1];
        for (int k = 0; k < 4; k++)
            b.phase[k] = LV_TURN * r[k] + 0.7f * (float)i;
        b.seconds *= 0.8f + 0.3f * r[2];
        for (int x = 0; x < p->width; x++)
            draw_column(p, &b, x, ((float)x + 0.5f - 0.5f * (float)p->width) / p->unit);
    }
}

/* Smoke and fog */

enum { PLUMES = 3 };

typedef struct Haze {
    const LvLook *look;
    float seconds, low;         ///< low: y of the picture's lower edge
    float plumes[PLUMES];       ///< x of their feet
    int n;
} Haze;

/* How much smoke of one plume there is `up` above its foot and `x` beside it. */
static float plume(const Haze *z, int i, float x, float up)
{
    float t = z->seconds, grow = logf(up + 0.45f), width = 0.075f + 0.24f * up, e, n;
    uint32_t key = z->look->key[0] + 97 * (uint32_t)i;

    x -= z->plumes[i] + 0.30f * up * wind(z->look) +
         0.5f * up * lv_noise(1.6f * grow - 0.35f * t, 0.3f * (float)i, 0.1f * t, key);
    e = x / width;
    if (e * e > 5)
        return 0;
    n = lv_noise(0.9f * e, 2.4f * grow - 0.7f * t, 0.2f * t, key + 5);
    e += 0.8f * n;
    n = lv_fbm(1.0f * e + 0.7f * n, 2.7f * grow - 0.8f * t, 0.25f * t, 3, key + 9);
    return ramp(n + 0.85f - 0.62f * e * e, 0, 1.35f) * (1 - 0.75f * ramp(up, 0.15f, 1.1f));
}

static void smoke_at(float rgba[4], const void *opaque, float x, float y)
{
    const Haze *z = opaque;
    float clear = 1, up = LV_MAX(z->low + 0.04f - y, 0), first = 0;

    for (int i = 0; i < z->n; i++) {
        float d = plume(z, i, x, up);

        clear *= 1 - 0.95f * d;
        first += d * (float)i;
    }
    lv_look_color(rgba, z->look, LV_CLAMP(first, 0, 1));
    shade(rgba, rgba, 0.25f - 0.55f * clear);
    rgba[3] = (1 - clear) * (0.72f + 0.25f * z->look->amount);
}

void lv_fx_smoke(LvPaint *p, const LvLook *look, LvClock at)
{
    float wide = (float)p->width / p->unit;
    Haze z = { look, at.seconds * look->speed, 0.5f * (float)p->height / p->unit, { 0 },
               1 + (int)(look->amount * 2.99f) };

    for (int i = 0; i < z.n; i++)
        z.plumes[i] = wide * (((float)i + 0.25f + 0.5f * look->free[i]) / (float)z.n - 0.5f);
    lv_paint_field(p, LV_CLAMP((int)(p->unit / 72), 3, 8), smoke_at, &z);
}

static void fog_at(float rgba[4], const void *opaque, float x, float y)
{
    const Haze *z = opaque;
    float t = z->seconds * (z->look->direction == 0 ? 1 : -1), depth = y / z->low;
    float far = lv_fbm(1.3f * x + 0.10f * t, 3.4f * y, 0.10f * z->seconds, 4, z->look->key[0]);
    float bend = lv_noise(0.9f * x, 1.3f * y, 0.07f * z->seconds, z->look->key[1]);
    float near = lv_fbm(0.8f * x + 0.20f * t + bend, 2.2f * y + 0.5f * bend,
                        0.13f * z->seconds, 4, z->look->key[0] + 31);
    float dense = 0.14f + 0.36f * z->look->amount + 0.40f * depth;
    float a = ramp(far + dense, -0.45f, 1.15f), b = ramp(near + dense, -0.40f, 1.25f);

    lv_look_color(rgba, z->look, 0.5f + near);
    shade(rgba, rgba, 0.10f + 0.30f * (near + far));
    rgba[3] = (1 - (1 - 0.65f * a) * (1 - 0.8f * b)) * 0.96f;
}

void lv_fx_fog(LvPaint *p, const LvLook *look, LvClock at)
{
    Haze z = { look, at.seconds * look->speed, 0.5f * (float)p->height / p->unit, { 0 }, 0 };

    lv_paint_field(p, 6, fog_at, &z);
}

/* Light leaks */

enum { LEAKS = 4 };

typedef struct Leaks {
    const LvLook *look;
    float seconds;
    float at[LEAKS][5];         ///< x, y, 1 / width, 1 / height, strength
} Leaks;

static void leak_at(float rgba[4], const void *opaque, float x, float y)
{
    const Leaks *l = opaque;
    float clear = 1, heat = 0, n;

    n = lv_noise(1.4f * x, 1.4f * y, 0.15f * l->seconds, l->look->key[0]);
    for (int i = 0; i < LEAKS; i++) {
        const float *q = l->at[i];
        float u = (x - q[0]) * q[2], v = (y - q[1]) * q[3];
        float g = q[4] * expf(-(u * u + v * v) * (1 - 0.7f * n));

        clear *= 1 - LV_MIN(g, 0.97f);
        heat += g;
    }
    lv_look_color(rgba, l->look, ramp(heat, 0.1f, 0.9f));
    shade(rgba, rgba, 0.75f * ramp(heat, 0.65f, 1.5f));
    rgba[3] = 1 - clear;
}

void lv_fx_light_leaks(LvPaint *p, const LvLook *look, LvClock at)
{
    float wide = 0.5f * (float)p->width / p->unit, high = 0.5f * (float)p->height / p->unit;
    Leaks l = { .look = look, .seconds = at.seconds * look->speed };

    for (int i = 0; i < LEAKS; i++) {
        float r[4], side = (i + (look->free[0] > 0.5f)) % 2 ? 1 : -1, t = l.seconds, *q = l.at[i];

        lv_look_numbers(r, look, i);
        q[0] = side * wide * (1.02f - 0.14f * sinf(LV_TURN * (r[0] + 0.09f * t)));
        q[1] = high * (i < 2 ? 0.9f : 0.7f) * sinf(LV_TURN * (r[1] + (0.04f + 0.05f * r[2]) * t));
        q[2] = 1 / (LV_MIN(wide, 0.9f) * (0.29f + 0.24f * r[2] + 0.20f * look->amount));
        q[3] = 1 / (0.40f + 0.45f * r[3]);
        q[4] = (i < 2 ? 1.15f : 0.7f) * (0.72f + 0.28f * sinf(LV_TURN * (r[3] + 0.17f * t)));
    }
    lv_paint_field(p, 8, leak_at, &l);
}

/* Lightning */

enum { MAIN_STEPS = 36, TWIG_STEPS = 12, MAX_SEGMENTS = 128 };

#define STRIKE_EVERY 2.8f       /* seconds, of one place */

typedef struct Bolt {
    const LvLook *look;
    float glow;                     ///< 0..1
    int n, seed;
    float at[MAX_SEGMENTS][5];      ///< x, y, dx, dy, width 0..1
} Bolt;

/* Go on from (x, y) at an angle (0: down) and leave twigs beside the way. */
static void grow(Bolt *b, float x, float y, float angle, int steps, float step, float width)
{
    for (int i = 0; i < steps && b->n < MAX_SEGMENTS; i++) {
        float r[4], way, thin = width * (1 - 0.6f * (float)i / (float)steps);
        float *q = b->at[b->n++];

        lv_look_numbers(r, b->look, b->seed++);
        way = angle + 2.1f * (r[0] - 0.5f);
        q[0] = x;
        q[1] = y;
        q[2] = step * (0.6f + 0.8f * r[1]) * sinf(way);
        q[3] = step * (0.6f + 0.8f * r[1]) * cosf(way);
        q[4] = thin;
        x += q[2];
        y += q[3];
        if (steps == MAIN_STEPS && i % 5 == 2 && r[2] < 0.85f)
            grow(b, x, y, angle + (r[3] < 0.5f ? -0.9f : 0.9f) * (0.6f + 0.6f * r[2]),
                 TWIG_STEPS - i / 5, 0.75f * step, 0.55f * thin);
    }
}

static void bolt_light(float rgba[4], const void *opaque, float x, float y)
{
    const Bolt *b = opaque;
    float best = 9, near, cloud;

    for (int i = 0; i < b->n; i++) {
        const float *q = b->at[i];
        float wx = x - q[0], wy = y - q[1];
        float t = (wx * q[2] + wy * q[3]) / (q[2] * q[2] + q[3] * q[3]), d;

        t = LV_CLAMP(t, 0, 1);
        wx -= t * q[2];
        wy -= t * q[3];
        d = (wx * wx + wy * wy) / (0.35f + 0.65f * q[4]);
        best = LV_MIN(best, d);
    }
    near = 1 / (1 + 26 * sqrtf(best));
    cloud = lv_fbm(1.6f * x, 3 * y, 0.1f * (float)(b->seed % 64), 3, b->look->key[1]);
    cloud = (0.16f + 0.5f * ramp(cloud, -0.3f, 0.6f)) * ramp(-y, -0.5f, 0.6f) / (1 + 3 * best);
    shade(rgba, b->look->front[0], 0.35f * near);
    rgba[3] = b->glow * (0.85f * near + cloud);
}

static void draw_bolt(LvPaint *p, const Bolt *b)
{
    float core[3];

    shade(core, b->look->front[b->look->colors - 1], 0.82f);
    lv_paint_field(p, LV_CLAMP((int)(p->unit / 48), 4, 12), bolt_light, b);
    for (int i = 0; i < b->n; i++) {
        const float *q = b->at[i];
        float r = LV_MAX(0.0052f * q[4], 0.6f / p->unit);
        float trim = LV_MIN(0.7f * r / sqrtf(q[2] * q[2] + q[3] * q[3]), 0.3f), ends[2][2];

        for (int k = 0; k < 2; k++) {   /* round ends that touch and do not add up */
            float t = k ? 1 - trim : trim;

            ends[k][0] = (q[0] + t * q[2]) * p->unit + 0.5f * (float)p->width;
            ends[k][1] = (q[1] + t * q[3]) * p->unit + 0.5f * (float)p->height;
        }
        lv_brush_streak(p, ends[0], ends[1], r * p->unit, core,
                        b->glow * (0.35f + 0.65f * q[4]));
    }
}

void lv_fx_lightning(LvPaint *p, const LvLook *look, LvClock at)
{
    float wide = (float)p->width / p->unit, high = (float)p->height / p->unit;
    int n = 2 + (look->amount > 0.5f);

    for (int i = 0; i < n; i++) {
        float turns = ((float)i + 0.35f + 0.5f * look->free[0]) / (float)n +
                      at.seconds * look->speed / STRIKE_EVERY;
        float lap = floorf(turns), age = (turns - lap) * STRIKE_EVERY, x;
        Bolt b = { .look = look, .seed = 256 * (i + n * (int)lap) };

        b.glow = ramp(age, 0, 0.22f) * expf(-1.0f * LV_MAX(age - 0.2f, 0)) *
                 (1 - ramp(age, 0.55f * STRIKE_EVERY, STRIKE_EVERY));
        if (b.glow < 0.01f)
            continue;
        x = lv_fraction(look->free[1] + 0.618f * (float)(i + n * (int)lap)) - 0.5f;
        grow(&b, 0.8f * wide * x, -0.5f * high - 0.03f, -0.5f * x, MAIN_STEPS,
             1.12f * high / MAIN_STEPS, 1);
        draw_bolt(p, &b);
    }
}
