/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/stage.h"

#include <math.h>
#include <string.h>

#include "base/common.h"
#include "train/clips/render.h"
#include "train/clips/shape.h"
#include "train/reel/effect.h"
#include "train/reel/tint.h"

/* Half a picture's side, in radii of its actor. */
#define PICTURE 1.25f

/* Motions */

/* Radius of each copy, as a share of the radius of one alone. */
static float scale_of(int count)
{
    static const float scale[] = { 1, 0.85f, 0.72f, 0.62f, 0.58f, 0.55f };

    return scale[count - 1];
}

/* Place of number i among `count`, from the middle of all. Up to three in a row. */
static void arrange(LvPose *p, const LvActor *a, int i, float radius)
{
    int rows = a->count > 3 ? 2 : 1, first = (a->count + rows - 1) / rows;
    int row = i / first, in_row = row ? a->count - first : first;
    float step = 2.9f * radius;

    p->x += step * ((float)(i % first) - 0.5f * (float)(in_row - 1));
    p->y += rows > 1 ? step * ((float)row - 0.5f) : 0;
}

static void move_swinging(LvPose *p, const LvActor *a, float phase, LvClock at)
{
    float angle = 0.45f * sinf(LV_TURN * (phase + 0.55f * at.seconds)), rope = 0.35f;

    (void)a;
    p->x += rope * sinf(angle);
    p->y += rope * (cosf(angle) - 1);
    p->angle = -angle;
}

static void move_floating(LvPose *p, const LvActor *a, float phase, LvClock at)
{
    p->y += 0.06f * sinf(LV_TURN * (phase + 0.4f * at.seconds));
    p->angle = 0.08f * (float)a->turn * sinf(LV_TURN * (phase + 0.27f * at.seconds));
}

static void move_shaking(LvPose *p, const LvActor *a, float phase, LvClock at)
{
    (void)a;
    p->x += 0.03f * sinf(LV_TURN * (phase + 2.2f * at.seconds));
    p->angle = 0.16f * sinf(LV_TURN * (phase + 2.2f * at.seconds + 0.2f));
}

static void move_zigzag(LvPose *p, const LvActor *a, float phase, LvClock at)
{
    float t = phase + 0.7f * at.seconds;

    (void)a;
    p->y += 0.5f * (fabsf(t - floorf(t) - 0.5f) - 0.25f);
}

/* What it does beside what a LvMotion does; which LvMotion that is. */
static const struct {
    LvMotion as;
    void (*move)(LvPose *p, const LvActor *a, float phase, LvClock at);
} moves[LV_MOVE_NB - LV_MOTION_NB] = {
    [LV_MOVE_SWINGING - LV_MOTION_NB] = { LV_STILL, move_swinging },
    [LV_MOVE_FLOATING - LV_MOTION_NB] = { LV_STILL, move_floating },
    [LV_MOVE_SHAKING - LV_MOTION_NB] = { LV_STILL, move_shaking },
    [LV_MOVE_ROLLING_LEFT - LV_MOTION_NB] = { LV_LEFT, NULL },
    [LV_MOVE_ROLLING_RIGHT - LV_MOTION_NB] = { LV_RIGHT, NULL },
    [LV_MOVE_ZIGZAG - LV_MOTION_NB] = { LV_RIGHT, move_zigzag },
    [LV_MOVE_FADING - LV_MOTION_NB] = { LV_STILL, NULL },
};

/* Where the resting place is: a number for each of x and y, -1..1. */
static void rest(float at[2], const LvActor *a)
{
    static const float place[LV_PLACE_NB][2] = {
        [LV_PLACE_LEFT] = { -1.1f, 0 }, [LV_PLACE_RIGHT] = { 1.1f, 0 },
        [LV_PLACE_TOP] = { 0, -1.1f }, [LV_PLACE_BOTTOM] = { 0, 1.1f },
    };

    at[0] = a->place == LV_PLACE_ANY ? a->x : place[a->place][0] + 0.15f * a->x;
    at[1] = a->place == LV_PLACE_ANY ? a->y : place[a->place][1] + 0.15f * a->y;
}

/* Where one of an actor's `count` is: number i. */
static LvPose pose_of(const LvActor *a, int i, int width, int height, LvClock at)
{
    int own = a->move >= LV_MOTION_NB;
    LvScene s = { .shape = a->thing < 0 ? a->shape : LV_SQUARE, .size = a->size,
                  .motion = own ? moves[a->move - LV_MOTION_NB].as : (LvMotion)a->move,
                  .amount = a->amount, .turn = a->turn };
    float phase = a->phase + 0.31f * (float)i, from[2];
    LvPose p;

    rest(from, a);
    s.x     = from[0] / (a->count > 1 ? 2.5f : 1);
    s.y     = from[1] / (a->count > 3 ? 2 : 1);
    s.phase = phase - floorf(phase);
    p = lv_scene_pose(&s, width, height, at);
    p.radius *= scale_of(a->count);
    if (own && moves[a->move - LV_MOTION_NB].move)
        moves[a->move - LV_MOTION_NB].move(&p, a, phase, at);
    if (a->move == LV_MOVE_ROLLING_LEFT || a->move == LV_MOVE_ROLLING_RIGHT)
        p.angle = p.x / p.radius;
    arrange(&p, a, i, scale_of(a->count) * (0.125f + 0.0625f * (float)a->size));
    return p;
}

/* An actor on the pixel grid */

typedef struct Stamp {
    const LvActor *actor;
    const LvPicture *picture;   ///< NULL: a shape
    const LvArtLevel *sharp, *soft; ///< of it, as large as it is drawn; for the shadow
    float x, y;          ///< of its middle, in pixels
    float cos, sin, radius, squash;
    float color[3];
    float part;          ///< of it that is seen
} Stamp;

/* A pixel in radii, in the actor's own frame. */
static void own_frame(float at[2], const Stamp *s, float x, float y)
{
    x -= s->x;
    y -= s->y;
    at[0] = (s->cos * x + s->sin * y) / (s->radius * s->squash);
    at[1] = (s->cos * y - s->sin * x) / s->radius;
}

static float shape_cover(const Stamp *s, float x, float y, float soft)
{
    float at[2], d;

    own_frame(at, s, x, y);
    d = lv_shape_distance(s->actor->shape, at[0], at[1]);
    if (s->actor->fill == LV_FILL_OUTLINE)
        d = fabsf(d + 0.11f) - 0.11f;
    return lv_cover(d * s->radius * sqrtf(s->squash) / soft);
}

/* Cover of a pixel by its quarters: one distance makes corners too round. */
static float shape_part(const Stamp *s, float x, float y)
{
    float sum = 0;

    for (int i = 0; i < 4; i++)
        sum += shape_cover(s, x - 0.25f + 0.5f * (float)(i & 1),
                           y - 0.25f + 0.5f * (float)(i >> 1), 0.5f);
    return 0.25f * sum;
}

/* What fills a shape, at a point of its own frame. */
static void fill_color(float rgb[3], const Stamp *s, float u, float v)
{
    static const float white[3] = { 1, 1, 1 }, black[3] = { 0, 0, 0 };
    float width = s->radius, wave, light;

    memcpy(rgb, s->color, 3 * sizeof(*rgb));
    switch (s->actor->fill) {
    case LV_FILL_STRIPES:
        wave = 2.2f * (u + v) - floorf(2.2f * (u + v)) - 0.5f;
        lv_color_mix(rgb, rgb, white, 0.55f * lv_cover((fabsf(wave) - 0.25f) * width / 3.1f));
        break;
    case LV_FILL_DOTS:
        u = 2.4f * u - floorf(2.4f * u) - 0.5f;
        v = 2.4f * v - floorf(2.4f * v) - 0.5f;
        lv_color_mix(rgb, rgb, white,
                     0.6f * lv_cover((sqrtf(u * u + v * v) - 0.27f) * width / 2.4f));
        break;
    case LV_FILL_GLOSSY:
        light = (u + 0.4f) * (u + 0.4f) + (v + 0.5f) * (v + 0.5f);
        lv_color_mix(rgb, rgb, black, LV_CLAMP(0.35f * (v + 0.3f), 0, 0.4f));
        lv_color_mix(rgb, rgb, white, 0.75f * LV_MAX(0, 1 - 2.4f * light));
        break;
    default:
        break;
    }
}

/* Bilinear; outside is clear. */
static void sample(float rgba[4], const LvArtLevel *l, float u, float v)
{
    float x = u * (float)l->width - 0.5f, y = v * (float)l->height - 0.5f;
    int x0 = (int)floorf(x), y0 = (int)floorf(y);

    memset(rgba, 0, 4 * sizeof(*rgba));
    for (int k = 0; k < 4; k++) {
        int px = x0 + (k & 1), py = y0 + (k >> 1);
        float w = (k & 1 ? x - (float)x0 : 1 - x + (float)x0) *
                  (k >> 1 ? y - (float)y0 : 1 - y + (float)y0) / 255;

        if (px < 0 || py < 0 || px >= l->width || py >= l->height)
            continue;
        for (int c = 0; c < 4; c++)
            rgba[c] += w * l->rgba[4 * (py * l->width + px) + c];
    }
}

/* The level whose pixels are no larger than those drawn, and `coarser` ones up. */
static const LvArtLevel *level_of(const Stamp *s, int coarser)
{
    int i = 0;

    while (i < LV_ART_LEVELS - 1 &&
           (float)s->picture->level[i + 1].height >= 2 * PICTURE * s->radius)
        i++;
    return &s->picture->level[LV_MIN(i + coarser, LV_ART_LEVELS - 1)];
}

/* A picture in one colour: dark parts dark, light parts light. */
static void tint(float rgba[4], const float color[3])
{
    float light = 0.3f * rgba[0] + 0.55f * rgba[1] + 0.15f * rgba[2], a = rgba[3];

    for (int c = 0; c < 3; c++) {
        float half = 0.5f * a;
        rgba[c] = light < half ? color[c] * (0.25f * a + 1.5f * light) :
                  color[c] * a + (a - color[c] * a) * 1.6f * (light - half);
        rgba[c] = LV_MIN(rgba[c], a);
    }
}

static void picture_color(float rgba[4], const Stamp *s, const LvArtLevel *l, float x, float y)
{
    float at[2], wide = PICTURE * (float)s->picture->level[0].width /
                        (float)s->picture->level[0].height;

    own_frame(at, s, x, y);
    sample(rgba, l, 0.5f + 0.5f * at[0] / wide, 0.5f + 0.5f * at[1] / PICTURE);
    if (s->actor->tinted)
        tint(rgba, s->color);
}

/* Painting one actor */

typedef void (*Dot)(LvPaint *p, const Stamp *s, int x, int y);

static void shape_dot(LvPaint *p, const Stamp *s, int x, int y)
{
    float px = (float)x + 0.5f, py = (float)y + 0.5f, at[2], rgb[3];
    float part = shape_part(s, px, py);

    if (part <= 0)
        return;
    own_frame(at, s, px, py);
    fill_color(rgb, s, at[0], at[1]);
    lv_paint_dot(p, x, y, rgb, part * s->part);
}

static void picture_dot(LvPaint *p, const Stamp *s, int x, int y)
{
    float *to = p->rgb + 3 * ((size_t)y * (size_t)p->width + (size_t)x), rgba[4];

    picture_color(rgba, s, s->sharp, (float)x + 0.5f, (float)y + 0.5f);
    for (int c = 0; c < 3; c++)
        to[c] += s->part * (rgba[c] - rgba[3] * to[c]);
}

static void shadow_dot(LvPaint *p, const Stamp *s, int x, int y)
{
    static const float black[3] = { 0, 0, 0 };
    float px = (float)x + 0.5f - 0.14f * s->radius, py = (float)y + 0.5f - 0.18f * s->radius;
    float rgba[4];

    if (s->picture)
        picture_color(rgba, s, s->soft, px, py);
    else
        rgba[3] = shape_cover(s, px, py, 0.3f * s->radius);
    lv_paint_dot(p, x, y, black, 0.4f * s->part * rgba[3]);
}

static void paint_stamp(LvPaint *p, const Stamp *s, Dot dot)
{
    float reach = s->radius * (s->picture ? 1.5f * PICTURE : 1.6f) + 2;
    int x0 = LV_MAX((int)floorf(s->x - reach), 0), y0 = LV_MAX((int)floorf(s->y - reach), 0);
    int x1 = LV_MIN((int)ceilf(s->x + reach), p->width);
    int y1 = LV_MIN((int)ceilf(s->y + reach), p->height);

    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            dot(p, s, x, y);
}

/* The camera's view: places are scaled about the middle, then shifted. */
typedef struct View {
    float zoom, shift;
} View;

static void paint_actor(LvPaint *p, const LvActor *a, const LvArt *art, View view, LvClock at)
{
    for (int i = 0; i < a->count; i++) {
        LvPose o = pose_of(a, i, p->width, p->height, at);
        Stamp s = { .actor = a, .picture = a->thing < 0 ? NULL : lv_art_picture(art, a->thing),
                    .x = 0.5f * (float)p->width + view.zoom * (o.x + view.shift) * p->unit,
                    .y = 0.5f * (float)p->height + view.zoom * o.y * p->unit,
                    .cos = cosf(o.angle), .sin = sinf(o.angle),
                    .radius = view.zoom * o.radius * p->unit, .squash = o.squash, .part = 1 };

        if (s.picture) {
            s.sharp = level_of(&s, 0);
            s.soft  = level_of(&s, 3);
        }
        lv_tint_rgb(s.color, a->hue.rgb);
        if (a->move == LV_MOVE_FADING)
            s.part = LV_CLAMP(1.25f * at.part, 0, 1);
        if (a->shadow)
            paint_stamp(p, &s, shadow_dot);
        paint_stamp(p, &s, s.picture ? picture_dot : shape_dot);
    }
}

/* Grounds */

typedef struct Back {
    LvGround ground;
    float first[3], second[3];
    float height;        ///< of the picture, in its shorter side
    float pixel;         ///< size of a pixel
    View view;
} Back;

static float stripe(float x, float period, float pixel)
{
    float at = x / period - floorf(x / period) - 0.5f;

    return lv_cover((fabsf(at) - 0.25f) * period / pixel);
}

static float second_part(const Back *b, float x, float y)
{
    float across = x / b->view.zoom - b->view.shift, down = y / b->view.zoom, u, v;

    switch (b->ground) {
    case LV_GROUND_SHADED: case LV_GROUND_BLEND:
        return 0.5f + y / b->height;
    case LV_GROUND_GLOW:
        return LV_CLAMP(1.1f * sqrtf(0.4f * x * x + y * y), 0, 1);
    case LV_GROUND_STRIPED:
        return stripe(across, 0.22f, b->pixel);
    case LV_GROUND_CHECKERED:
        u = stripe(across, 0.3f, b->pixel);
        v = stripe(down, 0.3f, b->pixel);
        return u + v - 2 * u * v;
    case LV_GROUND_DOTTED:
        u = across / 0.18f - floorf(across / 0.18f) - 0.5f;
        v = down / 0.18f - floorf(down / 0.18f) - 0.5f;
        return lv_cover((sqrtf(u * u + v * v) - 0.24f) * 0.18f / b->pixel);
    default:
        return 0;
    }
}

static void back_color(float rgba[4], const void *opaque, float x, float y)
{
    const Back *b = opaque;

    lv_color_mix(rgba, b->first, b->second, second_part(b, x, y));
    rgba[3] = 1;
}

/* How far towards white the first colour goes, towards black the second. */
static void shades(Back *b, const LvReel *r)
{
    static const float share[LV_GROUND_NB][2] = {
        [LV_GROUND_SHADED] = { 0.25f, 0.35f }, [LV_GROUND_GLOW] = { 0.3f, 0.5f },
        [LV_GROUND_STRIPED] = { 0.08f, 0.14f }, [LV_GROUND_CHECKERED] = { 0.08f, 0.14f },
        [LV_GROUND_DOTTED] = { 0.06f, 0.2f },
    };
    static const float white[3] = { 1, 1, 1 }, black[3] = { 0, 0, 0 };

    lv_tint_rgb(b->first, r->back.rgb);
    lv_tint_rgb(b->second, r->back2.rgb);
    lv_color_mix(b->first, b->first, white, share[r->ground][0]);
    lv_color_mix(b->second, b->second, black, share[r->ground][1]);
}

static void paint_ground(LvPaint *p, const LvReel *r, View view, LvClock at)
{
    Back b = { .ground = r->ground, .height = (float)p->height / p->unit,
               .pixel = 1 / p->unit / view.zoom, .view = view };
    int soft = r->ground <= LV_GROUND_GLOW;

    if (r->ground == LV_GROUND_EFFECT) {
        lv_effect_paint(p, &r->effect, at);
        return;
    }
    shades(&b, r);
    lv_paint_field(p, soft ? 8 : 1, back_color, &b);
}

/* Clips */

static View view_of(const LvReel *r, LvClock at)
{
    float way = (at.part - 0.5f) * (r->pace == LV_PACE_FAST ? 1.6f : 1);

    switch (r->camera) {
    case LV_CAMERA_ZOOM_IN:   return (View) { 1 + 0.5f * way, 0 };
    case LV_CAMERA_ZOOM_OUT:  return (View) { 1 - 0.5f * way, 0 };
    case LV_CAMERA_PAN_LEFT:  return (View) { 1, 0.6f * way };
    case LV_CAMERA_PAN_RIGHT: return (View) { 1, -0.6f * way };
    default:                  return (View) { 1, 0 };
    }
}

static void grade(LvPaint *p, LvTone tone)
{
    static const float gain[LV_TONE_NB][3] = {
        { 1, 1, 1 }, { 0.5f, 0.5f, 0.5f }, { 0.6f, 0.6f, 0.6f }, { 1.12f, 1, 0.78f },
        { 0.8f, 0.98f, 1.14f },
    };
    static const float lift[LV_TONE_NB] = { [LV_TONE_LIGHT] = 0.4f };
    size_t n = (size_t)p->width * (size_t)p->height;

    if (tone == LV_TONE_PLAIN)
        return;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            p->rgb[3 * i + (size_t)c] = gain[tone][c] * p->rgb[3 * i + (size_t)c] + lift[tone];
}

static void clamp(float *rgb, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rgb[i] = LV_CLAMP(rgb[i], 0, 1);
}

/* Slow things cover half the way in a clip, fast ones go from edge to edge. */
static LvClock clock_of(const LvReel *r, LvClock real)
{
    static const float way[LV_PACE_NB] = { 1, 0.5f, 1.35f };

    return (LvClock) { real.seconds * lv_reel_speed(r),
                       0.5f + (real.part - 0.5f) * way[r->pace] };
}

static LvClock real_clock(const LvSpan *s, int frame)
{
    int at = s->first + frame;

    return (LvClock) { (float)(at / s->rate),
                       s->all > 1 ? (float)at / (float)(s->all - 1) : 0.5f };
}

void lv_stage_render(const LvReel *r, const LvArt *art, const LvSpan *span, float *rgb)
{
    size_t size = 3 * (size_t)span->width * (size_t)span->height;
    LvPaint p = { rgb, span->width, span->height, (float)LV_MIN(span->width, span->height) };

    for (int f = 0; f < span->frames; f++, p.rgb += size) {
        LvClock real = real_clock(span, f), at = clock_of(r, real);
        View view = view_of(r, real);

        paint_ground(&p, r, view, real);
        for (int i = 0; i < r->actors; i++)
            paint_actor(&p, &r->actor[i], art, view, at);
        if (r->has_over)
            lv_effect_paint(&p, &r->over, real);
        grade(&p, r->tone);
        clamp(p.rgb, size);
    }
}
