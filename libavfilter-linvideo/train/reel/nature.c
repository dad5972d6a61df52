/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/nature.h"

#include <math.h>

#include "base/common.h"
#include "train/clips/brush.h"
#include "train/reel/noise.h"

#define TURN 6.28318531f

typedef struct Sky {
    const LvLook *look;
    float time;          ///< seconds by the look's speed
    float height;        ///< of the picture, in its shorter side
} Sky;

static Sky sky_of(const LvPaint *p, const LvLook *l, LvClock at)
{
    return (Sky) { l, l->speed * at.seconds, (float)p->height / p->unit };
}

static float fraction(float x)
{
    return x - floorf(x);
}

static float smooth(float from, float to, float x)
{
    float t = LV_CLAMP((x - from) / (to - from), 0, 1);

    return t * t * (3 - 2 * t);
}

/* The ground: above to below. */
static void ground(float rgba[4], const Sky *s, float y)
{
    lv_color_mix(rgba, s->look->back[0], s->look->back[1],
                 LV_CLAMP(0.5f + y / s->height, 0, 1));
    rgba[3] = 1;
}

static void ground_color(float rgba[4], const void *opaque, float x, float y)
{
    (void)x;
    ground(rgba, opaque, y);
}

static void add(float rgba[4], const float color[3], float part)
{
    for (int c = 0; c < 3; c++)
        rgba[c] += part * color[c];
}

void lv_fx_bokeh(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);
    int n = (int)((10 + 26 * l->amount) * (float)p->width / p->unit);

    lv_paint_field(p, 8, ground_color, &s);
    for (int i = 0; i < n; i++) {
        float r[4], q[4], rgb[3], radius, glow, x, y;

        lv_look_numbers(r, l, 2 * i);
        lv_look_numbers(q, l, 2 * i + 1);
        radius = (0.04f + 0.1f * r[2]) * p->unit;
        x = fraction(r[0] + 0.02f * (q[0] - 0.5f) * s.time) * ((float)p->width + 2 * radius) -
            radius;
        y = fraction(r[1] - (0.01f + 0.02f * q[1]) * s.time) * ((float)p->height + 2 * radius) -
            radius;
        glow = 0.34f + 0.26f * q[2] + 0.16f * sinf(TURN * (q[3] + 0.2f * s.time));
        lv_look_color(rgb, l, r[3]);
        lv_brush_disc(p, x, y, radius, 0.12f * radius + 1, rgb, glow);
        lv_brush_disc(p, x, y, 0.86f * radius, 0.5f * radius, l->front[0], 0.12f * glow);
    }
}

static void cloud_color(float rgba[4], const void *opaque, float x, float y)
{
    const Sky *s = opaque;
    const LvLook *l = s->look;
    float u = x + (l->direction ? -0.16f : 0.16f) * s->time, n, light, part, rgb[3];
    const float grey[3] = { 0.42f, 0.47f, 0.55f };

    n = lv_fbm(1.5f * u, 2.3f * y, 0.06f * s->time, 5, l->key[0]);
    light = lv_fbm(1.5f * u + 0.12f, 2.3f * y + 0.2f, 0.06f * s->time, 3, l->key[0]);
    part = smooth(-0.24f + 0.36f * (1 - l->amount), 0.42f, n + 0.08f);
    ground(rgba, s, y);
    lv_look_color(rgb, l, 0.5f + light);
    lv_color_mix(rgb, rgb, grey, LV_CLAMP(0.55f * (light + 0.05f) + 0.35f * part - 0.2f, 0, 0.6f));
    lv_color_mix(rgba, rgba, rgb, part);
}

void lv_fx_clouds(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);

    lv_paint_field(p, 4, cloud_color, &s);
}

static void fire_color(float rgba[4], const void *opaque, float x, float y)
{
    const Sky *s = opaque;
    const LvLook *l = s->look;
    float up = 0.5f - y / s->height, rise = y + 1.15f * s->time;
    float bend = 0.22f * lv_noise(3 * x, 2.2f * rise, 0.5f * s->time, l->key[1]);
    float n = lv_fbm(2.9f * (x + bend), 1.8f * rise, 0.6f * s->time, 4, l->key[0]);
    float heat = 1.1f + 0.3f * l->amount - 1.75f * up + 1.35f * n, rgb[3];

    ground(rgba, s, y);
    heat = LV_CLAMP(heat, 0, 1.25f);
    lv_look_color(rgb, l, LV_CLAMP(1.15f * (heat - 0.2f), 0, 1));
    lv_color_mix(rgba, rgba, rgb, smooth(0.12f, 0.6f, heat));
}

void lv_fx_fire(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);

    lv_paint_field(p, 3, fire_color, &s);
}

/* Seen from above at a slant: waves are flatter and closer far away. */
static void water_color(float rgba[4], const void *opaque, float x, float y)
{
    const Sky *s = opaque;
    const LvLook *l = s->look;
    float down = 0.5f + y / s->height, far = 1 / (0.35f + 0.9f * down);
    float u = 2.2f * x * far, v = 5.2f * far - 0.25f * s->time, wave, glint, rgb[3];

    wave = lv_fbm(u + 0.1f * s->time, v, 0.35f * s->time, 4, l->key[0]) +
           0.35f * lv_noise(2 * u - 0.2f * s->time, 1.6f * v, 0.5f * s->time, l->key[1]);
    glint = smooth(0.34f, 0.62f, wave);
    ground(rgba, s, y);
    lv_look_color(rgb, l, 0);
    lv_color_mix(rgba, rgba, rgb, LV_CLAMP(0.42f + 0.95f * wave, 0, 0.9f));
    lv_look_color(rgb, l, 1);
    lv_color_mix(rgba, rgba, rgb, 0.85f * glint);
}

void lv_fx_water(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);

    lv_paint_field(p, 2, water_color, &s);
}

static void caustic_color(float rgba[4], const void *opaque, float x, float y)
{
    const Sky *s = opaque;
    const LvLook *l = s->look;
    float bend = 0.3f * lv_noise(1.4f * x, 1.4f * y, 0.3f * s->time, l->key[1]), net[2], light;

    lv_cells(net, 3.4f * x + bend, 3.4f * y - bend, 0.16f * s->time, l->key[0]);
    light = 1 - smooth(0, 0.3f, net[1] - net[0]);
    ground(rgba, s, y);
    lv_color_mix(rgba, rgba, l->front[0], 0.16f + 0.75f * light * light);
}

void lv_fx_caustics(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);

    lv_paint_field(p, 3, caustic_color, &s);
}

/* A drop: dark rim above, bright below, as it turns the view upside down. */
static void drop(LvPaint *p, float x, float y, float radius, const float color[3])
{
    static const float black[3] = { 0, 0, 0 }, white[3] = { 1, 1, 1 };

    lv_brush_disc(p, x, y, radius, 1.2f, black, 0.45f);
    lv_brush_disc(p, x, y + 0.22f * radius, 0.72f * radius, 0.5f * radius, color, 0.6f);
    lv_brush_disc(p, x - 0.25f * radius, y - 0.35f * radius, 0.16f * radius, 1, white, 0.7f);
}

static void run_down(LvPaint *p, const Sky *s, int i)
{
    const LvLook *l = s->look;
    float r[4], q[4], rgb[3], a[2], b[2], part, radius, x;

    lv_look_numbers(r, l, 2000 + 2 * i);
    lv_look_numbers(q, l, 2001 + 2 * i);
    radius = (0.016f + 0.014f * r[2]) * p->unit;
    part = fraction(r[1] + s->time * (0.1f + 0.14f * r[3]));
    x = r[0] * (float)p->width + 0.012f * p->unit * sinf(TURN * (q[0] + 3 * part));
    b[0] = a[0] = x;
    b[1] = (1.3f * part - 0.1f) * (float)p->height;
    a[1] = b[1] - (0.1f + 0.2f * q[1]) * p->unit;
    lv_look_color(rgb, l, q[2]);
    lv_brush_streak(p, a, b, 0.4f * radius, rgb, 0.22f);
    drop(p, x, b[1], radius, rgb);
}

void lv_fx_rain_on_glass(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);
    int drops = (int)((40 + 110 * l->amount) * (float)p->width / p->unit);

    lv_paint_field(p, 8, ground_color, &s);
    for (int i = 0; i < 22; i++) {
        float r[4], rgb[3];

        lv_look_numbers(r, l, i);
        lv_look_color(rgb, l, r[3]);
        lv_brush_disc(p, r[0] * (float)p->width, (0.25f + 0.6f * r[1]) * (float)p->height,
                      (0.03f + 0.06f * r[2]) * p->unit, 0.05f * p->unit, rgb,
                      0.42f + 0.15f * sinf(TURN * (r[2] + 0.1f * s.time)));
    }
    for (int i = 0; i < drops; i++) {
        float r[4];

        lv_look_numbers(r, l, 100 + i);
        drop(p, r[0] * (float)p->width, r[1] * (float)p->height,
             (0.006f + 0.016f * r[2] * r[2]) * p->unit, l->front[i % l->colors]);
    }
    for (int i = 0; i < 9; i++)
        run_down(p, &s, i);
}

static void stars(LvPaint *p, const LvLook *l, int n, float floor_at, float time)
{
    for (int i = 0; i < n; i++) {
        float r[4], q[4], rgb[3], size;

        lv_look_numbers(r, l, 4000 + 2 * i);
        lv_look_numbers(q, l, 4001 + 2 * i);
        size = 0.004f + 0.009f * q[0] * q[0] * q[0];
        lv_look_color(rgb, l, q[1]);
        lv_brush_disc(p, fraction(r[0] + 0.004f * time * (0.4f + q[0])) * (float)p->width,
                      r[1] * floor_at * (float)p->height, 0.4f * size * p->unit,
                      LV_MAX(size * p->unit, 1), rgb,
                      0.6f + 0.38f * sinf(TURN * (q[2] + (0.2f + 0.4f * q[3]) * time)));
    }
}

static void aurora_color(float rgba[4], const void *opaque, float x, float y)
{
    const Sky *s = opaque;
    const LvLook *l = s->look;

    ground(rgba, s, y);
    for (int k = 0; k < 3; k++) {
        float phase = 3.1f * (float)k, rgb[3];
        float hem = 0.12f - 0.14f * (float)k +
                    0.3f * lv_noise(0.9f * x + phase, 0.12f * s->time, phase, l->key[0]) +
                    0.08f * lv_noise(2.6f * x, 0.2f * s->time, phase, l->key[0] + 9);
        float up = hem - y, fold, light;

        if (up < -0.06f)
            continue;
        fold = 0.55f + 0.9f * lv_noise(5 * x + 0.8f * hem + 0.25f * s->time, 0.3f * s->time,
                                       phase + 5, l->key[1]);
        light = smooth(-0.06f, 0.03f, up) * expf(-3.2f * LV_MAX(up, 0)) * LV_CLAMP(fold, 0.1f, 1);
        lv_look_color(rgb, l, LV_CLAMP(1.9f * up, 0, 1));
        add(rgba, rgb, 0.75f * light);
    }
}

void lv_fx_aurora(LvPaint *p, const LvLook *l, LvClock at)
{
    static const float white[3] = { 1, 1, 1 };
    Sky s = sky_of(p, l, at);

    lv_paint_field(p, 2, aurora_color, &s);
    for (int i = 0; i < 70; i++) {
        float r[4];

        lv_look_numbers(r, l, i);
        lv_brush_disc(p, r[0] * (float)p->width, r[1] * (float)p->height, 0.3f,
                      LV_MAX(0.004f * p->unit, 1), white, 0.3f + 0.5f * r[2]);
    }
}

void lv_fx_starfield(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);

    lv_paint_field(p, 8, ground_color, &s);
    stars(p, l, (int)((70 + 240 * l->amount) * (float)p->width / p->unit), 1, s.time);
}

void lv_fx_warp(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);
    int n = (int)((60 + 160 * l->amount) * (float)p->width / p->unit);

    lv_paint_field(p, 8, ground_color, &s);
    for (int i = 0; i < n; i++) {
        float r[4], rgb[3], a[2], b[2], depth, near, angle, x, y;

        lv_look_numbers(r, l, i);
        depth = 1 - fraction(r[2] + 0.4f * s.time);
        near  = LV_MAX(depth, 0.04f);
        angle = TURN * r[0];
        x = cosf(angle) * (0.04f + 0.22f * r[1]) * p->unit;
        y = sinf(angle) * (0.04f + 0.22f * r[1]) * p->unit;
        b[0] = 0.5f * (float)p->width + x / near;
        b[1] = 0.5f * (float)p->height + y / near;
        a[0] = 0.5f * (float)p->width + x / (near + 0.07f);
        a[1] = 0.5f * (float)p->height + y / (near + 0.07f);
        lv_look_color(rgb, l, r[3]);
        lv_brush_streak(p, a, b, LV_MAX(0.0016f / (0.2f + near) * p->unit, 0.6f), rgb,
                        smooth(1, 0.75f, depth));
    }
}

static void galaxy_color(float rgba[4], const void *opaque, float x, float y)
{
    const Sky *s = opaque;
    const LvLook *l = s->look;
    float tilt = 0.5f + 0.4f * l->free[0], v = y / tilt, r = sqrtf(x * x + v * v) + 1e-4f;
    float angle = atan2f(v, x) - 0.22f * s->time, wind = 3.4f * logf(r + 0.08f), arm, dust, rgb[3];
    float cx = cosf(angle), sx = sinf(angle);

    arm  = 0.5f + 0.5f * cosf(2 * angle + 2 * wind + TURN * l->free[1]);
    dust = 0.75f + 0.8f * lv_fbm(5 * r * cx, 5 * r * sx, 3, 3, l->key[0]);
    ground(rgba, s, y);
    lv_look_color(rgb, l, LV_CLAMP(1.7f * r, 0, 1));
    add(rgba, rgb, LV_MAX(dust, 0) * (0.25f + arm * arm) * expf(-4.6f * r * r) * 0.95f);
    add(rgba, l->front[0], 0.9f * expf(-42 * r * r) + 0.35f * expf(-9 * r * r));
}

void lv_fx_galaxy(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);

    lv_paint_field(p, 2, galaxy_color, &s);
    stars(p, l, (int)(90 * (float)p->width / p->unit), 1, 0.3f * s.time);
}

/* Ink that has bent its own ways twice (domain warping, Quilez). */
static void ink_color(float rgba[4], const void *opaque, float x, float y)
{
    const Sky *s = opaque;
    const LvLook *l = s->look;
    float t = 0.16f * s->time;
    float a = lv_fbm(1.3f * x, 1.3f * y, t, 3, l->key[0]);
    float b = lv_fbm(1.3f * x + 3, 1.3f * y + 7, t, 3, l->key[1]);
    float n = lv_fbm(1.5f * x + 1.5f * a, 1.5f * y + 1.5f * b - 0.4f * t, 0.7f * t, 4, l->key[0] + 77);
    float part = smooth(-0.16f, 0.34f, n + 0.25f - 0.55f * (x * x + y * y)), rgb[3];

    ground(rgba, s, y);
    lv_look_color(rgb, l, 0.5f + 1.2f * b);
    lv_color_mix(rgba, rgba, rgb, part * (0.75f + 0.25f * part));
}

void lv_fx_ink(LvPaint *p, const LvLook *l, LvClock at)
{
    Sky s = sky_of(p, l, at);

    lv_paint_field(p, 4, ink_color, &s);
}
