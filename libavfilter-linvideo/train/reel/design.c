/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/design.h"

#include <math.h>
#include <string.h>

#include "base/common.h"
#include "train/clips/brush.h"
#include "train/reel/field.h"

static void ground_color(float rgba[4], const void *opaque, float x, float y)
{
    (void)x;
    lv_screen_ground(rgba, opaque, y);
}

static void paint_ground(LvPaint *p, const LvScreen *s)
{
    lv_paint_field(p, 8, ground_color, s);
}

enum { LAYERS = 3, PLACES = 128 };

typedef struct Paper {
    LvScreen sheet;
    float edge[LAYERS][PLACES + 1]; ///< heights of the cuts, from left to right
} Paper;

static float edge_at(const Paper *paper, int k, float x)
{
    float at = LV_CLAMP((x / paper->sheet.width + 0.5f) * PLACES, 0, PLACES - 0.001f);
    int i = (int)at;

    return paper->edge[k][i] + (at - (float)i) * (paper->edge[k][i + 1] - paper->edge[k][i]);
}

/* Paper in layers, each cut along a wave, with a shadow; light wanders over it. */
static void paper_color(float rgba[4], const void *opaque, float x, float y)
{
    static const float black[3] = { 0, 0, 0 }, white[3] = { 1, 1, 1 };
    const Paper *paper = opaque;
    const LvScreen *s = &paper->sheet;
    const LvLook *l = s->look;
    float grain = 1.4f * lv_noise(55 * x, 70 * y, 0, l->key[0]);
    float light = 0.3f * sinf(1.9f * x + 0.6f * y + 0.4f * s->time + LV_TURN * l->free[0]);

    lv_look_color(rgba, l, 0);
    rgba[3] = 1;
    for (int k = 0; k < LAYERS; k++) {
        float above = edge_at(paper, k, x) - y, shadow = 1 / (1 + 22 * LV_MAX(above, 0));
        float over = lv_cover(above / s->pixel), layer[3];

        lv_color_mix(rgba, rgba, black, 0.34f * shadow * shadow * (1 - over));
        lv_look_color(layer, l, (float)(k + 1) / LAYERS);
        lv_color_mix(layer, layer, black, 0.06f * (float)(k + 1));
        lv_color_mix(rgba, rgba, layer, over);
    }
    lv_color_mix(rgba, rgba, white, LV_CLAMP(0.35f * light, 0, 0.3f));
    lv_color_mix(rgba, rgba, black, LV_CLAMP(0.05f + 0.07f * grain - 0.1f * light, 0, 0.3f));
}

void lv_fx_paper(LvPaint *p, const LvLook *l, LvClock at)
{
    Paper paper = { lv_screen(p, l, at), { { 0 } } };
    const LvScreen *s = &paper.sheet;

    for (int k = 0; k < LAYERS; k++)
        for (int i = 0; i <= PLACES; i++) {
            float x = ((float)i / PLACES - 0.5f) * s->width;

            paper.edge[k][i] = 0.16f * (float)k + 0.02f +
                               0.2f * lv_noise(1.2f * x + 5 * (float)k, 0.15f * s->time,
                                               (float)k, l->key[0]);
        }
    lv_paint_field(p, 2, paper_color, &paper);
}

static void plasma_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float t = 0.55f * s->time, cx = x + 0.4f * sinf(0.6f * t), cy = y + 0.4f * cosf(0.5f * t);
    float v = sinf(5 * x + t + LV_TURN * l->free[0]) + sinf(4 * (y + 0.5f * x) - 1.2f * t) +
              sinf(8 * sqrtf(cx * cx + cy * cy + 0.05f) - 1.5f * t);

    lv_look_color(rgba, l, 0.5f + 0.5f * sinf(1.6f * v));
    for (int c = 0; c < 3; c++)
        rgba[c] *= 0.75f + 0.25f * cosf(2.4f * v);
    rgba[3] = 1;
}

void lv_fx_plasma(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, 4, plasma_color);
}

static void liquid_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float sum = 0;

    for (int c = 0; c < 4; c++)
        rgba[c] = 0;
    for (int k = 0; k < 5; k++) {
        float a = LV_TURN * l->free[k % 4] + 2.4f * (float)k, t = 0.3f * s->time, rgb[3];
        float dx = x - 0.75f * sinf(a + t * (0.6f + 0.13f * (float)k));
        float dy = y - 0.42f * cosf(1.7f * a + t * (0.8f - 0.11f * (float)k));
        float w = 1 / (0.05f + dx * dx + dy * dy);

        w *= w;
        lv_look_color(rgb, l, (float)(k % 3) / 2);
        for (int c = 0; c < 3; c++)
            rgba[c] += w * rgb[c];
        sum += w;
    }
    for (int c = 0; c < 3; c++)
        rgba[c] /= sum;
    rgba[3] = 1;
}

void lv_fx_liquid(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, 8, liquid_color);
}

/* A floor of lines below the horizon, seen from above it. */
static void grid_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float down = y - 0.02f, depth, u, v, du, dv, line, glow, rgb[3];

    lv_screen_ground(rgba, s, y);
    lv_look_color(rgb, l, 1);
    glow = expf(-9 * fabsf(down));
    lv_color_mix(rgba, rgba, rgb, 0.55f * glow);
    if (down <= 0.004f)
        return;
    depth = 0.16f / down;
    u  = x * depth * 5;
    v  = depth * 5 + 0.9f * s->time;
    du = fabsf(lv_fraction(u) - 0.5f);
    dv = fabsf(lv_fraction(v) - 0.5f);
    du = (0.5f - du) / (depth * 5) / sqrtf(1 + x * x / (down * down));
    dv = (0.5f - dv) / (depth * depth * 31);
    line = LV_MAX(lv_cover((du - 0.0045f) / s->pixel), lv_cover((dv - 0.0045f) / s->pixel));
    du   = LV_MIN(du, dv);
    line = LV_MAX(line, 0.35f / (1 + 2500 * du * du));
    lv_color_mix(rgba, rgba, l->front[0], line * lv_smooth(0, 0.16f, down));
}

void lv_fx_grid(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, 1, grid_color);
}

static void tunnel_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float cx = x - 0.08f * sinf(0.5f * s->time), cy = y - 0.06f * cosf(0.4f * s->time);
    float round = sqrtf(cx * cx + cy * cy), box = LV_MAX(fabsf(cx), fabsf(cy));
    float r = (l->free[0] < 0.5f ? round : box) + 1e-3f;
    float depth = 0.6f / r + 0.45f * s->time, ring = fabsf(lv_fraction(depth) - 0.5f), rgb[3];
    float soft = LV_MIN(0.6f / (r * r) * s->pixel * 1.5f, 0.25f);
    float lit = lv_smooth(0.2f + soft, 0.2f - soft, ring) * lv_smooth(0.02f, 0.3f, r);

    lv_screen_ground(rgba, s, y);
    lv_look_color(rgb, l, 0.5f + 0.5f * sinf(0.8f * floorf(depth)));
    lv_color_mix(rgba, rgba, rgb, lit);
}

void lv_fx_tunnel(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, 1, tunnel_color);
}

enum { HILLS = 4 };

/* Height of a ridge at x; the nearest is the last and moves the fastest. */
static float ridge(const LvScreen *s, int k, float x)
{
    float near = (float)(k + 1) / HILLS, way = s->look->direction ? -s->time : s->time;
    float u = (x + 0.22f * near * near * way) * (1.3f - 0.2f * near);

    return -0.16f + 0.17f * (float)k -
           (0.26f - 0.03f * (float)k) * lv_fbm(1.2f * u + 9 * (float)k, 0.5f, 0, 4,
                                               s->look->key[0]);
}

/* Haze lies on the far ones. */
static void hill_shade(float rgb[3], const LvLook *l, int k)
{
    float near = (float)(k + 1) / HILLS;

    lv_look_color(rgb, l, 1 - near);
    lv_color_mix(rgb, rgb, l->back[1], 0.45f * (1 - near));
}

void lv_fx_hills(LvPaint *p, const LvLook *l, LvClock at)
{
    LvScreen s = lv_screen(p, l, at);
    float rgb[HILLS][3];

    paint_ground(p, &s);
    for (int k = 0; k < HILLS; k++)
        hill_shade(rgb[k], l, k);
    for (int x = 0; x < p->width; x++)
        for (int k = 0; k < HILLS; k++) {
            float top = ridge(&s, k, ((float)x + 0.5f) * s.pixel - 0.5f * s.width);
            float from = (top + 0.5f * s.height) / s.pixel;

            for (int y = LV_MAX((int)from - 1, 0); y < p->height; y++)
                lv_paint_dot(p, x, y, rgb[k], lv_cover((from - (float)y - 0.5f) / 1.5f));
        }
}

/* Houses of one row at u: top of the house, which it is, and how far from its left wall. */
static float house(const LvScreen *s, int row, float u, int *which, float *inside)
{
    float width = 0.16f - 0.015f * (float)row;

    *which  = (int)floorf(u / width);
    *inside = u - (float)*which * width;
    return 0.16f + 0.1f * (float)row -
           (0.1f + 0.36f * lv_lattice(*which, row, 0, s->look->key[0]) *
                       (1 - 0.2f * (float)row));
}

/* How much of a point is a lit window, so far from the left wall and the roof. */
static float window(const LvScreen *s, int row, int which, float inside, float down)
{
    float wide = 0.026f, high = 0.034f;
    int column = (int)floorf(inside / wide), floor = (int)floorf(down / high);
    float dx = fabsf(lv_fraction(inside / wide) - 0.5f) * wide - 0.0065f;
    float dy = fabsf(lv_fraction(down / high) - 0.5f) * high - 0.009f;

    if (lv_lattice(8 * which + column, floor, row, s->look->key[1]) < 0.55f)
        return 0;
    return lv_cover(dx / s->pixel) * lv_cover(dy / s->pixel);
}

/* Walls are dark, and the far ones lie in haze; windows have the last colour. */
static void skyline_color(float rgba[4], const void *opaque, float x, float y)
{
    static const float black[3] = { 0, 0, 0 };
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float way = l->direction ? -s->time : s->time;

    lv_screen_ground(rgba, s, y);
    for (int k = 0; k < 3; k++) {
        float near = (float)(k + 1) / 3, u = x + 0.1f * near * way, inside, rgb[3];
        int which;
        float down = y - house(s, k, u, &which, &inside), lit;

        if (down < -s->pixel)
            continue;
        lv_color_mix(rgb, l->front[0], black, 0.3f + 0.5f * near);
        lit = k ? window(s, k, which, inside, down) : 0;
        lv_color_mix(rgb, rgb, l->front[l->colors - 1], 0.95f * near * lit);
        lv_color_mix(rgba, rgba, rgb, lv_cover(-down / s->pixel));
    }
}

void lv_fx_skyline(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, 1, skyline_color);
}

static void sea_color(float rgba[4], const void *opaque, float x, float y)
{
    static const float white[3] = { 1, 1, 1 };
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float dx = x - 0.5f * (l->free[0] - 0.5f), dy = y + 0.02f, down = y - 0.06f;
    float r = sqrtf(dx * dx + dy * dy), far, wave, path;

    lv_screen_ground(rgba, s, LV_MIN(y + 0.3f * s->height, 0.5f * s->height));
    lv_color_mix(rgba, rgba, l->front[0], 0.65f * expf(-4 * r));
    lv_color_mix(rgba, rgba, l->front[0], LV_CLAMP((0.15f - r) / s->pixel + 0.5f, 0, 1));
    lv_color_mix(rgba, rgba, white, 0.35f * LV_CLAMP((0.15f - r) / 0.15f, 0, 1));
    if (down < 0)
        return;
    far  = 1 / (0.1f + 1.5f * down);
    wave = lv_fbm(1.3f * x * far, 2.6f * far + 0.35f * s->time, 0.4f * s->time, 4, l->key[0]);
    path = expf(-9 * dx * dx / (0.12f + 2 * down));
    lv_color_mix(rgba, l->front[l->colors - 1], l->back[0], 0.2f);
    lv_color_mix(rgba, rgba, l->front[LV_MIN(1, l->colors - 1)],
                 LV_CLAMP(0.3f + 0.9f * wave, 0, 0.6f));
    lv_color_mix(rgba, rgba, l->front[0], path * lv_smooth(-0.05f, 0.35f, wave));
}

void lv_fx_sunset_waves(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, 2, sea_color);
}

static void wipe_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float across[4] = { x + 0.5f * s->width, 0.5f * s->width - x, y + 0.5f * s->height,
                        0.5f * s->height - y };
    float way = l->direction < 2 ? s->width : s->height;
    float soft = l->free[0] < 0.6f ? s->pixel : 0.14f;
    float edge = (way + soft) * s->part - 0.5f * soft;

    lv_screen_ground(rgba, s, y);
    lv_color_mix(rgba, rgba, l->front[0], lv_cover((across[l->direction] - edge) / soft));
}

void lv_fx_wipe(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, 1, wipe_color);
}

/* Digits as strokes: places x, y in a box of 8 x 16, y in base 17; a blank ends a stroke. */
static const char *const digits[10] = {
    "2060828e6g2g0e0220",
    "13404g",
    "0302206082840g8g",
    "02206082856737 67898e6g2g0e",
    "6g600b8b",
    "80100756788a8d6g2g0e",
    "715023070d2g6g8d8a67270a",
    "00803g",
    "206082856828050220 280a0e2g6g8e8a68",
    "1f3g6d898360200306296986",
};

static int place(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void draw_digit(LvPaint *p, int digit, const float color[3])
{
    const char *d = digits[digit];
    float size = 0.033f * p->unit, a[2] = { 0 }, b[2];
    int begun = 0;

    for (; *d; d += *d == ' ' ? 1 : 2, begun = d[-1] != ' ') {
        if (*d == ' ')
            continue;
        b[0] = 0.5f * (float)p->width + (float)(place(d[0]) - 4) * size;
        b[1] = 0.5f * (float)p->height + (float)(place(d[1]) - 8) * size;
        if (begun)
            lv_brush_streak(p, a, b, 0.03f * p->unit, color, 1);
        memcpy(a, b, sizeof(a));
    }
}

/* The hand of the leader: what it has passed is darker; two rings and a cross. */
static void leader_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float r = sqrtf(x * x + y * y), turn = lv_fraction(atan2f(x, -y) / LV_TURN + 1);
    float passed = lv_fraction(s->time), ring = LV_MIN(fabsf(r - 0.4f), fabsf(r - 0.34f));
    float cross = LV_MIN(fabsf(x), fabsf(y)), line = 0.004f;

    lv_screen_ground(rgba, s, y);
    lv_color_mix(rgba, rgba, l->front[0],
                 0.35f * LV_CLAMP((passed - turn) * r * LV_TURN / s->pixel + 0.5f, 0, 1));
    lv_color_mix(rgba, rgba, l->front[0], 0.8f * lv_cover((cross - line) / s->pixel));
    lv_color_mix(rgba, rgba, l->front[0], lv_cover((ring - 2 * line) / s->pixel));
}

void lv_fx_countdown(LvPaint *p, const LvLook *l, LvClock at)
{
    LvScreen s = lv_screen(p, l, at);
    int from = 3 + (int)(6.999f * l->free[0]);

    lv_paint_field(p, 1, leader_color, &s);
    draw_digit(p, ((from - (int)floorf(s.time)) % 10 + 10) % 10, l->front[0]);
}

void lv_fx_bars(LvPaint *p, const LvLook *l, LvClock at)
{
    LvScreen s = lv_screen(p, l, at);
    int n = 10 + (int)(22 * l->amount);
    float step = (float)p->width / (float)n;

    paint_ground(p, &s);
    for (int i = 0; i < n; i++) {
        float level = 0.42f + 0.75f * lv_noise(0.55f * (float)i, 0.9f * s.time, 0, l->key[0]) +
                      0.3f * lv_noise(3.3f * (float)i, 1.6f * s.time, 7, l->key[1]), rgb[3];
        float tall = LV_CLAMP(level, 0.05f, 0.95f) * 0.9f * (float)p->height;

        lv_look_color(rgb, l, (float)i / (float)(n - 1));
        lv_brush_card(p, ((float)i + 0.5f) * step, (float)p->height - 0.5f * tall, 0.36f * step,
                      0.5f * tall, 0, rgb);
    }
}

static void ray_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    int n = 2 * (4 + (int)(7 * l->amount)); /* even: two colours take turns all around */
    float cy = y - (l->free[0] - 0.5f) * 0.6f * s->height, rgb[3];
    float r = sqrtf(x * x + cy * cy) + 1e-3f;
    float at = (atan2f(cy, x) / LV_TURN + 0.035f * s->time) * (float)n;
    float edge = (fabsf(lv_fraction(at) - 0.5f) - 0.25f) * r * LV_TURN / (float)n;

    lv_screen_ground(rgba, s, y);
    lv_look_color(rgb, l, l->colors > 1 ? lv_fraction(floorf(at) / 2) * 2 : 0);
    lv_color_mix(rgba, rgba, rgb, lv_cover(edge / s->pixel));
}

void lv_fx_rays(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, 1, ray_color);
}

static void rings_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float dx = x - 0.7f * (l->free[0] - 0.5f), dy = y - 0.4f * (l->free[1] - 0.5f), rgb[3];
    float step = 0.24f - 0.13f * l->amount, r = sqrtf(dx * dx + dy * dy);
    float at = r / step - 0.5f * s->time;
    float edge = (fabsf(lv_fraction(at) - 0.5f) - 0.17f) * step;

    lv_screen_ground(rgba, s, y);
    lv_look_color(rgb, l, 0.5f + 0.5f * cosf(1.1f * floorf(at)));
    lv_color_mix(rgba, rgba, rgb, lv_cover(edge / s->pixel) * lv_smooth(1.4f, 0.4f, r));
}

void lv_fx_rings(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, 1, rings_color);
}

enum { TILES = 64 };

typedef struct Mosaic {
    LvScreen sheet;
    float size;          ///< side of a triangle
    float rgb[TILES][TILES][2][3]; ///< by row, column and half of a cell of the lattice
} Mosaic;

static void shade_triangle(float rgb[3], const Mosaic *m, int iu, int iv, int upper)
{
    static const float white[3] = { 1, 1, 1 }, black[3] = { 0, 0, 0 };
    const LvLook *l = m->sheet.look;
    float own = lv_lattice(iu, iv, upper, l->key[0]), time = m->sheet.time;
    float wave = lv_noise(0.9f * ((float)iu - 0.5f * (float)iv) * m->size,
                          0.9f * (float)iv * m->size, 0.3f * time, l->key[1]);
    float shade = 0.35f * sinf(LV_TURN * (own + 0.16f * time)) + 0.8f * wave;

    lv_look_color(rgb, l, LV_CLAMP(0.5f + 1.1f * wave + 0.3f * (own - 0.5f), 0, 1));
    lv_color_mix(rgb, rgb, shade > 0 ? white : black, LV_MIN(0.55f * fabsf(shade), 0.5f));
}

/* Colours of the cells that the picture has. */
static void shade_mosaic(Mosaic *m)
{
    float high = 0.5f * m->sheet.height / (0.866f * m->size);
    int rows = LV_MIN((int)high + 2, TILES / 2);
    int columns = LV_MIN((int)(0.5f * (m->sheet.width / m->size + high)) + 2, TILES / 2);

    for (int v = -rows; v < rows; v++)
        for (int u = -columns; u < columns; u++)
            for (int upper = 0; upper < 2; upper++)
                shade_triangle(m->rgb[v & (TILES - 1)][u & (TILES - 1)][upper], m, u, v, upper);
}

/* Triangles of a slanted lattice, two to a cell, with equal sides. */
static const float *triangle_at(const Mosaic *m, float x, float y)
{
    float v = y / (0.866f * m->size), u = x / m->size + 0.5f * v;
    int iu = (int)floorf(u), iv = (int)floorf(v);

    return m->rgb[iv & (TILES - 1)][iu & (TILES - 1)][v - (float)iv > u - (float)iu];
}

/* Whether an edge of the lattice is within a pixel. */
static int is_near_edge(const Mosaic *m, float x, float y)
{
    float reach = 1.2f * m->sheet.pixel / m->size;
    float v = y / (0.866f * m->size), u = x / m->size + 0.5f * v;
    float fu = fabsf(lv_fraction(u + 0.5f) - 0.5f), fv = fabsf(lv_fraction(v + 0.5f) - 0.5f);

    return fu < reach || fv < reach || fabsf(lv_fraction(u) - lv_fraction(v)) < 1.5f * reach;
}

/* At edges from four places in a pixel, so that they are straight. */
static void mosaic_color(float rgba[4], const void *opaque, float x, float y)
{
    const Mosaic *m = opaque;
    int places = is_near_edge(m, x, y) ? 4 : 1;
    float off = places > 1 ? 0.25f * m->sheet.pixel : 0;

    rgba[0] = rgba[1] = rgba[2] = 0;
    rgba[3] = 1;
    for (int k = 0; k < places; k++) {
        const float *rgb = triangle_at(m, x + (k & 1 ? off : -off), y + (k & 2 ? off : -off));

        for (int c = 0; c < 3; c++)
            rgba[c] += rgb[c] / (float)places;
    }
}

void lv_fx_mosaic(LvPaint *p, const LvLook *l, LvClock at)
{
    Mosaic m = { .sheet = lv_screen(p, l, at), .size = 0.28f - 0.15f * l->amount };

    shade_mosaic(&m);
    lv_paint_field(p, 1, mosaic_color, &m);
}
