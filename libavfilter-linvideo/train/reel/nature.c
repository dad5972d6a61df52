/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/nature.h"

#include <math.h>

#include "base/common.h"
#include "train/clips/brush.h"
#include "train/reel/field.h"

static const float black[3] = { 0, 0, 0 }, white[3] = { 1, 1, 1 };

/* How many pixels apart a field is asked for, when that is `step` in a picture of 288
 * lines: the same look in larger ones. */
static int step_of(const LvPaint *p, int step)
{
    int scaled = (int)((float)step * p->unit / 288 + 0.5f);

    return LV_CLAMP(scaled, 2, 6);
}

/* A number of things in a picture, when a square one has so many. */
static int count(const LvScreen *s, float many)
{
    return (int)ceilf(many * s->width * s->height);
}

/* Light, added so that nothing grows beyond white. */
static void add(float rgb[3], const float color[3], float part)
{
    for (int c = 0; c < 3; c++)
        rgb[c] += part * color[c] * (1 - LV_CLAMP(rgb[c], 0, 1));
}

/* How bright a round light is at a distance (0 at its middle, 1 at its rim), of which
 * `pixel` is one pixel. */
typedef float (*Glow)(float d, float pixel);

static float star_glow(float d, float pixel)
{
    float t = 1 - d * d;

    (void)pixel;
    return t * t * t;
}

/* What is out of focus is brighter at its rim. */
static float lens_glow(float d, float pixel)
{
    float edge = LV_MAX(0.1f, 1.5f * pixel);

    return LV_MIN((1 - d) / edge, 1) * (0.62f + 0.38f * d * d * d * d);
}

/* A round light; places are in pixels. */
static void paint_light(LvPaint *p, const float at[2], float radius, Glow glow,
                        const float color[3], float part)
{
    int x0 = LV_MAX((int)(at[0] - radius), 0), y0 = LV_MAX((int)(at[1] - radius), 0);
    int x1 = LV_MIN((int)(at[0] + radius + 1), p->width);
    int y1 = LV_MIN((int)(at[1] + radius + 1), p->height);

    for (int y = y0; y < y1; y++) {
        float *px = p->rgb + 3 * ((size_t)y * (size_t)p->width + (size_t)x0);

        for (int x = x0; x < x1; x++, px += 3) {
            float dx = (float)x + 0.5f - at[0], dy = (float)y + 0.5f - at[1];
            float d2 = (dx * dx + dy * dy) / (radius * radius);

            if (d2 < 1)
                add(px, color, part * glow(sqrtf(d2), 1 / radius));
        }
    }
}

/* Bokeh */

static void paint_blur(LvPaint *p, const LvScreen *s, int i, int far)
{
    float r[4], q[4], rgb[3], radius, glow, at[2];

    lv_look_numbers(r, s->look, 2 * i);
    lv_look_numbers(q, s->look, 2 * i + 1);
    radius = (far ? 0.018f + 0.03f * r[2] : 0.05f + 0.1f * r[2]) * p->unit;
    at[0] = lv_fraction(r[0] + 0.025f * (q[0] - 0.5f) * s->time);
    at[1] = lv_fraction(r[1] - (far ? 0.008f : 0.015f + 0.02f * q[1]) * s->time);
    at[0] = at[0] * ((float)p->width + 2 * radius) - radius;
    at[1] = at[1] * ((float)p->height + 2 * radius) - radius;
    glow = 0.42f + 0.28f * q[2] + 0.2f * sinf(LV_TURN * (q[3] + (0.1f + 0.1f * r[2]) * s->time));
    lv_look_color(rgb, s->look, r[3]);
    paint_light(p, at, radius, lens_glow, rgb, glow);
}

/* Dark at the top, warm with light where the lamps are. */
static void bokeh_ground(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    float n = lv_noise(1.1f * x, 1.1f * y, 0.08f * s->time, s->look->key[0]), rgb[3];

    lv_screen_ground(rgba, s, y);
    lv_look_color(rgb, s->look, 0.5f + n);
    add(rgba, rgb, 0.07f + 0.16f * n);
}

void lv_fx_bokeh(LvPaint *p, const LvLook *l, LvClock at)
{
    LvScreen s = lv_screen(p, l, at);
    int n = count(&s, 8 + 20 * l->amount);

    lv_paint_field(p, 8, bokeh_ground, &s);
    for (int i = 0; i < 2 * n; i++)
        paint_blur(p, &s, i, i < n);
}

/* Clouds */

/* In the shade of a cloud there is the light of the sky alone. */
static const float cloud_grey[3] = { 0.33f, 0.38f, 0.47f };

static void cloud_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float u = 1.35f * (x + (l->direction ? -0.14f : 0.14f) * s->time) + 5 * l->free[0];
    float v = 2.1f * y, t = 0.05f * s->time, n, above, thick, lit, rgb[3], shade[3];

    n = lv_fbm(u, v, t, 5, l->key[0]);
    above = lv_fbm(u + 0.1f, v - 0.22f, t, 3, l->key[0]);
    thick = n + 0.52f * l->amount - 0.24f;
    lit = LV_CLAMP(0.62f + 1.5f * (n - above) - 0.5f * thick, 0, 1);
    lv_screen_ground(rgba, s, y);
    lv_look_color(rgb, l, 1 - lit);
    lv_color_mix(shade, rgb, cloud_grey, 0.6f);
    lv_color_mix(rgb, rgb, shade, 0.9f * lv_smooth(0.55f, 0, lit));
    lv_color_mix(rgb, rgb, white, 0.4f * lv_smooth(0.55f, 1, lit));
    lv_color_mix(rgba, rgba, rgb, lv_smooth(-0.06f, 0.26f, thick));
}

void lv_fx_clouds(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, step_of(p, 4), cloud_color);
}

/* Fire */

/* The colour of heat 0..1: dark at the rim of a flame, white-hot in its heart. */
static void hot_color(float rgb[3], const LvLook *l, float heat)
{
    int one = l->colors == 1;

    lv_look_color(rgb, l, 1.35f * heat - 0.3f);
    lv_color_mix(rgb, rgb, black, (one ? 0.8f : 0.55f) * lv_smooth(one ? 0.7f : 0.4f, 0, heat));
    lv_color_mix(rgb, rgb, white, one ? 0.75f * lv_smooth(0.55f, 1.15f, heat) :
                                        0.35f * lv_smooth(0.7f, 1.15f, heat));
}

/* Tongues: noise that is long upward, bent more the higher it is. */
static float flame(const LvScreen *s, float x, float y, float up, float scale, uint32_t key)
{
    float rise = y + 0.52f * s->time / sqrtf(scale);
    float bend = (0.1f + 0.34f * up) *
                 lv_noise(2.2f * x * scale, 1.9f * rise * scale, 0.4f * s->time, key + 40);
    float n = lv_fbm(2.9f * scale * (x + bend), 1.25f * scale * rise, 0.45f * s->time, 3, key);

    return 1.15f - 2.3f * fabsf(n);
}

static void fire_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float up = 0.5f - y / s->height, tall = 0.62f + 0.5f * l->amount, left = 1 - up / tall;
    float big = flame(s, x, y, up, 1, l->key[0]), rgb[3];
    float small = flame(s, x, y, up, 1.9f, l->key[1]);
    float heat = 1.25f * left + 0.75f * (big - 0.8f) + 0.5f * (small - 0.75f) - 0.12f;

    lv_screen_ground(rgba, s, y);
    add(rgba, l->front[0], 0.3f * LV_CLAMP(left, 0, 1) * LV_CLAMP(left, 0, 1));
    heat = LV_CLAMP(heat, 0, 1.2f);
    hot_color(rgb, l, heat * (0.62f + 0.42f * LV_CLAMP(0.5f * (big + small), 0, 1)));
    lv_color_mix(rgba, rgba, rgb, lv_smooth(0.03f, 0.3f, heat));
}

static void paint_ember(LvPaint *p, const LvScreen *s, int i)
{
    float r[4], q[4], rgb[3], at[2], way;

    lv_look_numbers(r, s->look, 2 * i);
    lv_look_numbers(q, s->look, 2 * i + 1);
    way   = lv_fraction(r[1] + (0.16f + 0.2f * r[2]) * s->time);
    at[0] = r[0] * (float)p->width +
            0.05f * p->unit * sinf(LV_TURN * (q[0] + (0.8f + q[1]) * way));
    at[1] = (1.02f - 1.1f * way) * (float)p->height;
    lv_look_color(rgb, s->look, 0.4f + 0.6f * q[2]);
    paint_light(p, at, LV_MAX((0.006f + 0.007f * q[3]) * p->unit, 1.6f), star_glow, rgb,
                lv_smooth(0, 0.1f, way) * lv_smooth(1, 0.6f, way));
}

void lv_fx_fire(LvPaint *p, const LvLook *l, LvClock at)
{
    LvScreen s = lv_screen(p, l, at);

    lv_paint_field(p, step_of(p, 3), fire_color, &s);
    for (int i = 0, n = count(&s, 8 + 16 * l->amount); i < n; i++)
        paint_ember(p, &s, i);
}

/* Water */

typedef struct Sea {
    LvScreen sky;
    float apart;             ///< of the points that are asked
} Sea;

/* How high the water is, on the whole in [0] and in ripples in [1]; those that are too
 * fine to be seen, `dense` to a point, fade. */
static void waves(float high[2], const Sea *sea, float u, float v, float dense)
{
    const uint32_t *key = sea->sky.look->key;
    float t = sea->sky.time;

    high[0] = lv_noise(u + 0.1f * t, v, 0.3f * t, key[0]);
    high[1] = lv_smooth(0.5f, 0.15f, dense) *
              lv_noise(2.3f * u - 0.12f * t + 1.4f * high[0], 2.1f * v, 0.5f * t, key[1]);
    if (dense < 0.25f)
        high[1] += 0.5f * lv_smooth(0.25f, 0.07f, dense) *
                   lv_noise(4.9f * u + 0.2f * t, 4.2f * v + 2 * high[0], 0.7f * t, key[1] + 1);
}

/* Seen from above at a slant: waves are flatter and closer far away. */
static void water_color(float rgba[4], const void *opaque, float x, float y)
{
    const Sea *sea = opaque;
    const LvLook *l = sea->sky.look;
    float far = 1 / (0.92f + y / sea->sky.height), dense = 9.7f * far * far * sea->apart;
    float high[2], crest, glint, rgb[3];

    waves(high, sea, 2 * x * far, 4.6f * far + 0.12f * sea->sky.time, dense);
    crest = 1 - LV_MIN(2.7f / (1 + 5 * dense) * fabsf(high[1] + 0.6f * high[0]), 1);
    glint = lv_smooth(0.62f, 1, crest) * lv_smooth(-0.1f, 0.35f, high[0] - 0.35f * high[1]) *
            lv_smooth(0.4f, 0.1f, dense);
    lv_screen_ground(rgba, &sea->sky, y);
    lv_color_mix(rgba, rgba, l->front[0],
                 LV_CLAMP(0.2f + 0.75f * high[0] + 0.42f * crest * crest, 0, 0.85f));
    lv_look_color(rgb, l, 1);
    lv_color_mix(rgb, rgb, white, 0.5f);
    lv_color_mix(rgba, rgba, rgb, 0.95f * glint);
}

void lv_fx_water(LvPaint *p, const LvLook *l, LvClock at)
{
    Sea sea = { lv_screen(p, l, at), 2 / p->unit };

    lv_paint_field(p, 2, water_color, &sea);
}

/* Caustics: light through a surface of plane waves, each of which gathers it by
 * `strain` at its crests. */

enum { WAVES = 9 };

typedef struct Pool {
    LvScreen sky;
    float x[WAVES], y[WAVES];            ///< radians a unit
    float phase[WAVES], strain[WAVES];
} Pool;

static void fill_pool(Pool *w)
{
    for (int i = 0; i < WAVES; i++) {
        float r[4], k, angle;

        lv_look_numbers(r, w->sky.look, i);
        k     = 13 + 17 * ((float)i + r[0]) / WAVES;
        angle = LV_TURN * (0.381966f * (float)i + 0.1f * r[1]);
        w->x[i] = k * cosf(angle);
        w->y[i] = k * sinf(angle);
        w->phase[i]  = fmodf(LV_TURN * r[2] + 0.32f * sqrtf(k) * w->sky.time, LV_TURN);
        w->strain[i] = 0.23f + 0.1f * r[3];
    }
}

/* Where the light that reaches (x, y) of the floor came through the surface. */
static void trace_back(float at[2], const Pool *w, float x, float y)
{
    at[0] = x;
    at[1] = y;
    for (int k = 0; k < 2; k++) {
        float px = x, py = y;

        for (int i = 0; i < WAVES; i++) {
            float kk = w->x[i] * w->x[i] + w->y[i] * w->y[i];
            float d = w->strain[i] / kk * sinf(w->x[i] * at[0] + w->y[i] * at[1] + w->phase[i]);

            px += d * w->x[i];
            py += d * w->y[i];
        }
        at[0] = px;
        at[1] = py;
    }
}

/* Light there, 1 on the whole: a small piece of surface lights a piece of floor that is
 * larger by the determinant of how the light spreads. */
static float gathered(const Pool *w, const float at[2])
{
    float xx = 1, yy = 1, xy = 0, area;

    for (int i = 0; i < WAVES; i++) {
        float kk = w->x[i] * w->x[i] + w->y[i] * w->y[i];
        float c = w->strain[i] / kk * cosf(w->x[i] * at[0] + w->y[i] * at[1] + w->phase[i]);

        xx -= c * w->x[i] * w->x[i];
        yy -= c * w->y[i] * w->y[i];
        xy -= c * w->x[i] * w->y[i];
    }
    area = fabsf(xx * yy - xy * xy);
    return 1 / (0.16f + area);
}

static void caustic_color(float rgba[4], const void *opaque, float x, float y)
{
    const Pool *w = opaque;
    const LvLook *l = w->sky.look;
    float at[2], light;

    trace_back(at, w, x, y);
    light = gathered(w, at);
    lv_screen_ground(rgba, &w->sky, y);
    lv_color_mix(rgba, rgba, l->front[0], LV_CLAMP(0.24f * light - 0.06f, 0, 0.9f));
    lv_color_mix(rgba, rgba, white, 0.6f * lv_smooth(2.6f, 6, light));
}

void lv_fx_caustics(LvPaint *p, const LvLook *l, LvClock at)
{
    Pool w = { lv_screen(p, l, at), { 0 }, { 0 }, { 0 }, { 0 } };

    fill_pool(&w);
    lv_paint_field(p, step_of(p, 3), caustic_color, &w);
}

/* Rain on glass: drops that turn round what is behind them. */

enum { LAMPS = 22 };

typedef struct Window {
    LvScreen sky;
    float x[LAMPS], y[LAMPS], radius[LAMPS], rgb[LAMPS][3];
} Window;

static void fill_window(Window *w)
{
    for (int i = 0; i < LAMPS; i++) {
        float r[4], q[4], part;

        lv_look_numbers(r, w->sky.look, i);
        lv_look_numbers(q, w->sky.look, 50 + i);
        w->x[i] = (((float)i + r[0]) / LAMPS - 0.5f) * w->sky.width +
                  0.02f * sinf(LV_TURN * (q[1] + 0.05f * w->sky.time));
        w->y[i] = (0.75f * r[1] - 0.32f) * w->sky.height;
        w->radius[i] = 0.08f + 0.14f * r[2];
        part = 0.6f + 0.3f * q[0] + 0.1f * sinf(LV_TURN * (q[2] + 0.2f * w->sky.time));
        lv_look_color(w->rgb[i], w->sky.look, q[3]);
        for (int c = 0; c < 3; c++)
            w->rgb[i][c] *= part;
    }
}

/* The blurred street behind the window. */
static void street_color(float rgba[4], const void *opaque, float x, float y)
{
    const Window *w = opaque;

    lv_screen_ground(rgba, &w->sky, y);
    for (int i = 0; i < LAMPS; i++) {
        float dx = x - w->x[i], dy = y - w->y[i];
        float d2 = (dx * dx + dy * dy) / (w->radius[i] * w->radius[i]);

        if (d2 < 1)
            add(rgba, w->rgb[i], (1 - d2 * d2) * (1 - d2));
    }
}

/* A pixel of a drop at (u, v) of its middle, in its radius. */
static void drop_color(float rgba[4], const Window *w, const float at[2], float u, float v)
{
    float d2 = u * u + v * v, spot = (u + 0.35f) * (u + 0.35f) + (v + 0.42f) * (v + 0.42f);

    street_color(rgba, w, at[0] - 0.3f * u, 0.6f * at[1] - 0.42f * v);
    add(rgba, white, 0.07f + 0.3f * LV_MAX(v, 0) * d2);
    lv_color_mix(rgba, rgba, black, lv_smooth(0.5f, 1, d2) * (0.42f - 0.34f * v));
    lv_color_mix(rgba, rgba, white, 0.75f * lv_smooth(0.09f, 0.02f, spot));
}

/* A drop whose middle is at `at`, in units of the picture from its middle. */
static void paint_drop(LvPaint *p, const Window *w, const float at[2], float radius,
                       float long_by, float part)
{
    float r = radius * p->unit, cx = at[0] * p->unit + 0.5f * (float)p->width;
    float cy = at[1] * p->unit + 0.5f * (float)p->height;
    int x0 = LV_MAX((int)(cx - r), 0), x1 = LV_MIN((int)(cx + r + 1), p->width);
    int y0 = LV_MAX((int)(cy - long_by * r), 0);
    int y1 = LV_MIN((int)(cy + long_by * r + 1), p->height);

    for (int y = y0; y < y1; y++) {
        for (int x = x0; x < x1; x++) {
            float rgba[4], u = ((float)x + 0.5f - cx) / r;
            float v = ((float)y + 0.5f - cy) / (long_by * r);
            float narrow = v < 0 ? 1 + 0.5f * (long_by - 1) * v * v : 1;
            float cover = lv_cover((sqrtf(u * u * narrow * narrow + v * v) - 1) * r + 0.5f);

            if (cover <= 0)
                continue;
            drop_color(rgba, w, at, u * narrow, v);
            lv_paint_dot(p, x, y, rgba, part * cover);
        }
    }
}

/* Where a drop that runs down is across, when it is so far down. */
static float run_x(const float r[4], float start, float y)
{
    return start + 0.012f * sinf(7 * y + LV_TURN * r[2]) + 0.006f * sinf(19 * y + LV_TURN * r[3]);
}

/* A drop that runs down and leaves beads, which dry up. */
static void run_down(LvPaint *p, const Window *w, int i, int n)
{
    float r[4], q[4], at[2], radius, start, way = w->sky.height + 1, gap = 0.045f;

    lv_look_numbers(r, w->sky.look, 2000 + 2 * i);
    lv_look_numbers(q, w->sky.look, 2001 + 2 * i);
    radius = 0.026f + 0.014f * r[0];
    start  = (((float)i + q[0]) / (float)n - 0.5f) * w->sky.width;
    at[1]  = r[1] * way + (0.12f + 0.16f * q[1]) * w->sky.time +
             0.05f * sinf(1.7f * w->sky.time + LV_TURN * q[2]);
    at[1]  = way * lv_fraction(at[1] / way) - 0.5f * w->sky.height - 0.08f;
    for (int k = (int)ceilf(at[1] / gap) - 1; (float)k * gap > at[1] - 0.75f; k--) {
        float bead[2] = { run_x(r, start, (float)k * gap), (float)k * gap };
        float age = (at[1] - bead[1]) / 0.75f, size = 0.3f + 0.3f * lv_lattice(k, i, 0, 5);

        if (age > 0.02f)
            paint_drop(p, w, bead, radius * size * (1 - age) * lv_smooth(0.02f, 0.06f, age), 1.1f,
                       lv_smooth(1, 0.8f, age));
    }
    at[0] = run_x(r, start, at[1]);
    paint_drop(p, w, at, radius, 1.5f, 1);
}

void lv_fx_rain_on_glass(LvPaint *p, const LvLook *l, LvClock at)
{
    Window w = { .sky = lv_screen(p, l, at) };
    int drops = count(&w.sky, 90 + 190 * l->amount), runs = count(&w.sky, 5 + 6 * l->amount);

    fill_window(&w);
    lv_paint_field(p, step_of(p, 4), street_color, &w);
    for (int i = 0; i < drops; i++) {
        float r[4], place[2];

        lv_look_numbers(r, l, 100 + i);
        place[0] = (r[0] - 0.5f) * w.sky.width;
        place[1] = (r[1] - 0.5f) * w.sky.height;
        paint_drop(p, &w, place, 0.007f + 0.034f * r[2] * r[2] * r[2], 1 + 0.2f * r[3], 1);
    }
    for (int i = 0; i < runs; i++)
        run_down(p, &w, i, runs);
}

/* Stars */

/* Star i of those that drift over the picture, the nearer the larger and the faster. */
static void paint_star(LvPaint *p, const LvScreen *s, int i, float drift)
{
    float r[4], q[4], rgb[3], at[2], near, radius, twinkle, margin = 0.1f * p->unit;

    lv_look_numbers(r, s->look, 4000 + 2 * i);
    lv_look_numbers(q, s->look, 4001 + 2 * i);
    near    = q[0] * q[0] * q[0];
    radius  = LV_MAX((0.005f + 0.012f * near) * p->unit, 1.4f);
    at[0]   = lv_fraction(r[0] + drift * (0.4f + near) * s->time) *
              ((float)p->width + 2 * margin) - margin;
    at[1]   = lv_fraction(r[1] + 0.4f * drift * (0.4f + near) * s->time) *
              ((float)p->height + 2 * margin) - margin;
    twinkle = 0.75f + 0.25f * sinf(LV_TURN * (q[2] + (0.15f + 0.45f * q[3]) * s->time));
    lv_look_color(rgb, s->look, q[1]);
    lv_color_mix(rgb, rgb, white, 0.35f * near);
    paint_light(p, at, radius, star_glow, rgb,
                twinkle * LV_MIN(0.45f + 0.5f * r[2] + near, 1));
    if (near > 0.84f)
        paint_light(p, at, 4.5f * radius, star_glow, rgb, 0.3f * twinkle * near);
}

static void paint_stars(LvPaint *p, const LvScreen *s, float many, float drift)
{
    for (int i = 0, n = count(s, many); i < n; i++)
        paint_star(p, s, i, drift);
}

/* The sky with a band of far stars too many to see one by one. */
static void deep_sky_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float angle = LV_TURN * 0.5f * l->free[0], rgb[3];
    float off = x * sinf(angle) - y * cosf(angle) + 0.2f * (l->free[1] - 0.5f);
    float u = x + 0.004f * s->time;
    float n = lv_fbm(1.8f * u, 1.8f * y, 0.02f * s->time, 4, l->key[1]);
    float band = 1 / (1 + 9 * (off + 0.3f * n) * (off + 0.3f * n));

    lv_screen_ground(rgba, s, y);
    lv_look_color(rgb, l, 0.6f + n);
    add(rgba, rgb, LV_CLAMP(0.15f * band * (0.6f + 1.3f * n), 0, 1));
}

void lv_fx_starfield(LvPaint *p, const LvLook *l, LvClock at)
{
    LvScreen s = lv_screen(p, l, at);

    lv_paint_field(p, 8, deep_sky_color, &s);
    paint_stars(p, &s, 110 + 330 * l->amount, 0.008f);
}

/* Aurora: three curtains. What depends on the place across alone is told in advance. */

enum { CURTAINS = 3, COLUMNS = 256 };

typedef struct Fold {
    float hem, glow, reach;  ///< where it ends below; light there; how far up it goes
} Fold;

typedef struct Aurora {
    LvScreen sky;
    Fold fold[CURTAINS][COLUMNS + 1];
} Aurora;

static Fold fold_at(const LvScreen *s, int k, float x)
{
    const LvLook *l = s->look;
    float z = 3.7f * (float)k, t = s->time, bend, rays, big;

    bend = lv_noise(0.8f * x + z, 0.1f * t, z, l->key[0]);
    big  = lv_noise(1.5f * x - z + 0.06f * t, 0.16f * t, z, l->key[0] + 3);
    rays = lv_noise(7 * x + 3 * bend + 0.15f * t, 0.3f * t, z, l->key[1]) +
           0.7f * lv_noise(17 * x + 5 * bend - 0.2f * t, 0.4f * t, z, l->key[1] + 1);
    return (Fold) {
        .hem   = 0.2f - 0.15f * (float)k + 0.34f * bend + 0.07f * big + 0.03f * rays,
        .glow  = LV_CLAMP(0.55f + 1.1f * big, 0.08f, 1) *
                 LV_CLAMP(0.75f + 0.9f * rays, 0.25f, 1.4f),
        .reach = 0.17f + 0.14f * LV_CLAMP(0.5f + rays + big, 0, 1),
    };
}

static void fill_aurora(Aurora *a)
{
    for (int k = 0; k < CURTAINS; k++)
        for (int i = 0; i <= COLUMNS; i++)
            a->fold[k][i] = fold_at(&a->sky, k,
                                    ((float)i / COLUMNS - 0.5f) * a->sky.width);
}

static Fold fold_between(const Fold *f, float at)
{
    int i = (int)LV_CLAMP(at, 0, COLUMNS - 1);
    float t = at - (float)i;

    return (Fold) { f[i].hem + t * (f[i + 1].hem - f[i].hem),
                    f[i].glow + t * (f[i + 1].glow - f[i].glow),
                    f[i].reach + t * (f[i + 1].reach - f[i].reach) };
}

static void aurora_color(float rgba[4], const void *opaque, float x, float y)
{
    const Aurora *a = opaque;
    float at = (x / a->sky.width + 0.5f) * COLUMNS;

    lv_screen_ground(rgba, &a->sky, y);
    for (int k = 0; k < CURTAINS; k++) {
        Fold f = fold_between(a->fold[k], at);
        float up = (f.hem - y) / f.reach, light, rgb[3];

        if (up < -0.3f || up > 4)
            continue;
        light = f.glow * lv_smooth(-0.3f, 0.25f, up) * expf(-1.1f * LV_MAX(up, 0)) *
                lv_smooth(4, 2.5f, up);
        lv_look_color(rgb, a->sky.look, 0.42f * up - 0.1f);
        add(rgba, rgb, LV_MIN(1.25f * light, 0.95f));
        add(rgba, white, 0.3f * light * lv_smooth(1, 0.1f, fabsf(up)));
    }
}

void lv_fx_aurora(LvPaint *p, const LvLook *l, LvClock at)
{
    Aurora a = { .sky = lv_screen(p, l, at) };

    fill_aurora(&a);
    lv_paint_field(p, step_of(p, 2), aurora_color, &a);
    paint_stars(p, &a.sky, 90, 0.001f);
}

/* Warp */

/* A streak that is bright and wide at b and fades towards a. */
static void paint_tail(LvPaint *p, const float a[2], const float b[2], float r,
                       const float color[3], float part)
{
    float ex = b[0] - a[0], ey = b[1] - a[1], length2 = ex * ex + ey * ey + 1e-6f;
    int x0 = LV_MAX((int)(LV_MIN(a[0], b[0]) - r), 0);
    int x1 = LV_MIN((int)(LV_MAX(a[0], b[0]) + r + 2), p->width);
    int y0 = LV_MAX((int)(LV_MIN(a[1], b[1]) - r), 0);
    int y1 = LV_MIN((int)(LV_MAX(a[1], b[1]) + r + 2), p->height);

    for (int y = y0; y < y1; y++) {
        float *px = p->rgb + 3 * ((size_t)y * (size_t)p->width + (size_t)x0);

        for (int x = x0; x < x1; x++, px += 3) {
            float wx = (float)x + 0.5f - a[0], wy = (float)y + 0.5f - a[1];
            float t = (wx * ex + wy * ey) / length2, dx, dy, d2;

            t  = LV_CLAMP(t, 0, 1);
            dx = wx - t * ex;
            dy = wy - t * ey;
            d2 = (dx * dx + dy * dy) / (r * r * (0.4f + 0.6f * t) * (0.4f + 0.6f * t));
            if (d2 < 1)
                add(px, color, part * (1 - d2) * t);
        }
    }
}

/* A star of depth z, that is seen at radius `off` at depth 1. */
static void paint_flyby(LvPaint *p, const LvScreen *s, int i)
{
    float r[4], rgb[3], a[2], b[2], z, off, c, n, far;

    lv_look_numbers(r, s->look, i);
    z   = 0.12f + 1.9f * (1 - lv_fraction(r[2] + 0.07f * s->time));
    off = (0.1f + 0.5f * r[1]) * p->unit;
    far = 1.12f * z + 0.13f;
    c   = cosf(LV_TURN * r[0]);
    n   = sinf(LV_TURN * r[0]);
    b[0] = 0.5f * (float)p->width + off * c / z;
    b[1] = 0.5f * (float)p->height + off * n / z;
    a[0] = 0.5f * (float)p->width + off * c / far;
    a[1] = 0.5f * (float)p->height + off * n / far;
    lv_look_color(rgb, s->look, r[3]);
    paint_tail(p, a, b, LV_MAX(0.0035f / (0.25f + z) * p->unit, 1.1f), rgb,
               lv_smooth(2.02f, 1.5f, z));
}

static void warp_ground(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;

    lv_screen_ground(rgba, s, y);
    add(rgba, s->look->front[s->look->colors - 1], 0.3f / (1 + 16 * (x * x + y * y)) - 0.03f);
}

void lv_fx_warp(LvPaint *p, const LvLook *l, LvClock at)
{
    LvScreen s = lv_screen(p, l, at);

    lv_paint_field(p, step_of(p, 4), warp_ground, &s);
    for (int i = 0, n = count(&s, 150 + 380 * l->amount); i < n; i++)
        paint_flyby(p, &s, i);
}

/* Galaxy */

typedef struct Spiral {
    LvScreen sky;
    float flat;              ///< of the disc, as it is seen at a slant
    float lean[2], turn[2];  ///< cosine and sine of its slope and of its turn
} Spiral;

static void galaxy_color(float rgba[4], const void *opaque, float x, float y)
{
    const Spiral *g = opaque;
    const LvLook *l = g->sky.look;
    float a = g->lean[0] * x + g->lean[1] * y, b = (g->lean[0] * y - g->lean[1] * x) / g->flat;
    float r2 = a * a + b * b + 1e-5f, r = sqrtf(r2), wind = 2.6f * logf(r + 0.03f);
    float u = (g->turn[0] * a + g->turn[1] * b) / r, v = (g->turn[0] * b - g->turn[1] * a) / r;
    float cw = cosf(wind), sw = sinf(wind), n = lv_fbm(5 * r * u, 5 * r * v, 2, 3, l->key[0]);
    float along = u * cw - v * sw, arm = (along + 0.16f * n) * (along + 0.16f * n), light;
    float rgb[3];

    light = (0.12f + arm * (0.3f + 0.7f * arm)) * LV_MAX(0.8f + 1.2f * n, 0.1f) *
            (1 - 0.5f * along * (u * sw + v * cw)) * 1.8f * lv_smooth(1, 0, 1.05f * r);
    lv_screen_ground(rgba, &g->sky, y);
    lv_look_color(rgb, l, LV_CLAMP(2.1f * r - 0.05f, 0, 1));
    add(rgba, rgb, light / (1 + 0.5f * light));
    add(rgba, l->front[0], LV_MIN(1.1f / (1 + 90 * r2 + 2400 * r2 * r2), 0.95f));
    add(rgba, white, 0.8f / (1 + 300 * r2 + 30000 * r2 * r2));
}

void lv_fx_galaxy(LvPaint *p, const LvLook *l, LvClock at)
{
    LvScreen s = lv_screen(p, l, at);
    float lean = 0.8f * (l->free[2] - 0.5f), turn = LV_TURN * l->free[1] + 0.2f * s.time;
    Spiral g = { s, 0.45f + 0.4f * l->free[0], { cosf(lean), sinf(lean) },
                 { cosf(turn), sinf(turn) } };

    lv_paint_field(p, step_of(p, 2), galaxy_color, &g);
    paint_stars(p, &s, 110, 0.0015f);
}

/* Ink that has bent its own ways twice (domain warping, Quilez): it sinks in clouds with
 * round edges, thin ones pale. */
static void ink_color(float rgba[4], const void *opaque, float x, float y)
{
    const LvScreen *s = opaque;
    const LvLook *l = s->look;
    float t = 0.12f * s->time, fall = y - 0.09f * s->time, a, b, n, thick, rgb[3];

    a = lv_fbm(1.2f * x, 1.2f * fall, t, 2, l->key[0]);
    b = lv_fbm(1.2f * x + 3, 1.2f * fall + 7, t, 2, l->key[1]);
    n = fabsf(lv_noise(2.4f * x + 2.2f * a, 2.4f * fall + 2.2f * b, t, l->key[0] + 77)) +
        0.5f * fabsf(lv_noise(5 * x + 3 * b, 5 * fall + 3 * a, 1.5f * t, l->key[0] + 78)) +
        0.25f * fabsf(lv_noise(11 * x + 4 * a, 11 * fall - 4 * b, 2 * t, l->key[0] + 79));
    thick = 0.46f + 1.2f * a - 0.4f * y / s->height - n;
    lv_screen_ground(rgba, s, y);
    lv_look_color(rgb, l, 0.5f + 1.6f * b);
    lv_color_mix(rgb, rgb, black, 0.3f * lv_smooth(0.2f, 0.8f, thick));
    lv_color_mix(rgba, rgba, rgb, 0.4f * lv_smooth(-0.2f, 0.16f, thick) +
                                  0.58f * lv_smooth(-0.02f, 0.5f, thick));
}

void lv_fx_ink(LvPaint *p, const LvLook *l, LvClock at)
{
    lv_paint_screen(p, l, at, step_of(p, 3), ink_color);
}
