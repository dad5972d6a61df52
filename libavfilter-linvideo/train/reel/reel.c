/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/reel.h"

#include <string.h>

#include "base/common.h"
#include "train/clips/dice.h"
#include "train/reel/effect.h"
#include "train/reel/tint.h"

/* Least distance of what is in front to what is behind. */
#define CONTRAST 0.2f

/* Properties of an effect. */
enum {
    AMOUNT   = 1,        /* how much there is */
    VARIED   = 2,        /* any colours are as natural */
    GLOWS    = 4,        /* over a dark ground */
    TWO      = 8,        /* with two named colours at least */
    KEEPS    = 16,       /* its third colour, whatever is named */
};

/* Natural colours: three of what is drawn, two of the ground; how many of the three are
 * used. */
typedef struct Nature {
    uint32_t front[3], back[2];
    int colors;
    unsigned flags;
} Nature;

static const Nature natures[LV_FX_NB] = {
    [LV_FX_SNOW] = { { 0xFFFFFF }, { 0 }, 1, AMOUNT },
    [LV_FX_RAIN] = { { 0xC8DCEB }, { 0 }, 1, AMOUNT },
    [LV_FX_CONFETTI] = { { 0xF0304A, 0xFFD02E, 0x2E9BFF }, { 0 }, 3, AMOUNT | VARIED },
    [LV_FX_PARTICLES] = { { 0xFFD98A, 0xFFF6DC }, { 0 }, 2, AMOUNT | VARIED | GLOWS },
    [LV_FX_FIREWORKS] = { { 0xFF4F3A, 0xFFD34A, 0x5AB0FF }, { 0 }, 3, AMOUNT | VARIED | GLOWS },
    [LV_FX_BUBBLES] = { { 0xCFEFFF }, { 0 }, 1, AMOUNT },
    [LV_FX_LEAVES] = { { 0xC8501E, 0xE0A030, 0x8A3B12 }, { 0 }, 3, AMOUNT },
    [LV_FX_PETALS] = { { 0xFFB7CF, 0xFFE0EA }, { 0 }, 2, AMOUNT },
    [LV_FX_SPARKS] = { { 0xFFB347, 0xFF6A1E }, { 0 }, 2, AMOUNT | GLOWS },
    [LV_FX_RIBBONS] = { { 0xD81E3C, 0xF06A80 }, { 0 }, 2, VARIED },
    [LV_FX_SMOKE] = { { 0xC8C8CC }, { 0 }, 1, AMOUNT },
    [LV_FX_FOG] = { { 0xE6EAEE }, { 0 }, 1, AMOUNT },
    [LV_FX_LIGHT_LEAKS] = { { 0xFF8A3C, 0xFF4A6A, 0xFFD78A }, { 0 }, 3, GLOWS },
    [LV_FX_LIGHTNING] = { { 0xDDE6FF }, { 0 }, 1, GLOWS },
    [LV_FX_BOKEH] = { { 0xFFC873, 0xFF8E5A, 0xFFF0C8 }, { 0x1A1020, 0x0A0810 }, 3,
                      AMOUNT | VARIED },
    [LV_FX_CLOUDS] = { { 0xFFFFFF, 0xDDE6F0 }, { 0x3F86D8, 0x9CC8F0 }, 2, AMOUNT },
    [LV_FX_FIRE] = { { 0xE83A0C, 0xFF9A1E, 0xFFF0A0 }, { 0x0A0402, 0x140602 }, 3, AMOUNT },
    [LV_FX_WATER] = { { 0x9FD8F0, 0xE8FAFF }, { 0x0E4F86, 0x06284E }, 2, 0 },
    [LV_FX_CAUSTICS] = { { 0xD8FFFF }, { 0x1A8FB0, 0x0C5F90 }, 1, 0 },
    [LV_FX_RAIN_ON_GLASS] = { { 0xFFB060, 0x60A0FF, 0xFF6070 }, { 0x141C2C, 0x0A0E18 }, 3,
                              AMOUNT },
    [LV_FX_AURORA] = { { 0x2EE6A0, 0x3CA0F0, 0x9A5CF0 }, { 0x040818, 0x0A1A30 }, 3, 0 },
    [LV_FX_STARFIELD] = { { 0xFFFFFF, 0xCFE0FF }, { 0x02030C, 0x080A1C }, 2, AMOUNT },
    [LV_FX_WARP] = { { 0xFFFFFF, 0x8FB8FF }, { 0x000004, 0x02030E }, 2, AMOUNT },
    [LV_FX_GALAXY] = { { 0xFFE8C0, 0x8FA8FF, 0xD070E0 }, { 0x03030C, 0x06040F }, 3, 0 },
    [LV_FX_INK] = { { 0x1A1E5C, 0x4A2A8C }, { 0xF6F6F2, 0xE4E6EA }, 2, VARIED },
    [LV_FX_PAPER] = { { 0xF0E8D6 }, { 0xF0E8D6, 0xE2D8C2 }, 1, 0 },
    [LV_FX_PLASMA] = { { 0xE0308C, 0x4A3CF0, 0x20D0E0 }, { 0x100820, 0x100820 }, 3,
                       VARIED | TWO },
    [LV_FX_LIQUID] = { { 0xF26A8D, 0x7A5CF0, 0x3CC8E6 }, { 0x20184A, 0x20184A }, 3,
                       VARIED | TWO },
    [LV_FX_GRID] = { { 0xFF3CC8, 0x3CE6FF }, { 0x12062E, 0x05020F }, 2, 0 },
    [LV_FX_TUNNEL] = { { 0x3CC8FF, 0xB43CFF }, { 0x04040E, 0x04040E }, 2, VARIED },
    [LV_FX_HILLS] = { { 0x1E4A3C, 0x3F7A5C, 0x8FB8A0 }, { 0x9CD0F0, 0xFFE6C0 }, 3, 0 },
    [LV_FX_SKYLINE] = { { 0x10142A, 0x2A3050, 0xFFD070 }, { 0x1E2A5C, 0xE0785A }, 3,
                        KEEPS },
    [LV_FX_SUNSET_WAVES] = { { 0xFFB040, 0xFF6A3C, 0x203C6E }, { 0x3C2A6E, 0xFF8A5A }, 3, 0 },
    [LV_FX_WIPE] = { { 0x2E5CE0 }, { 0xF2F2F2, 0xF2F2F2 }, 1, VARIED },
    [LV_FX_COUNTDOWN] = { { 0x202020 }, { 0xD8D2C4, 0xC4BEB0 }, 1, 0 },
    [LV_FX_BARS] = { { 0x3CE6A0, 0xF0E03C, 0xF03C5C }, { 0x0A0C14, 0x0A0C14 }, 3,
                     AMOUNT | VARIED },
    [LV_FX_RAYS] = { { 0xFFD23C, 0xFFAA1E }, { 0xFFE98A, 0xFFE98A }, 2, AMOUNT | VARIED },
    [LV_FX_RINGS] = { { 0xFFFFFF, 0x8FD0FF }, { 0x1446A0, 0x0C2E74 }, 2, AMOUNT | VARIED },
    [LV_FX_MOSAIC] = { { 0x1E3C8C, 0x2E7AD0, 0x8FD0F0 }, { 0x142860, 0x142860 }, 3,
                       AMOUNT | VARIED },
};

/* Random numbers, one after the other */

static int one_of(LvDice *d, int n)
{
    return lv_pick_even(lv_roll(d), n);
}

static int percent(LvDice *d, int share)
{
    return one_of(d, 100) < share;
}

static float unit(LvDice *d)
{
    return lv_pick_unit(lv_roll(d));
}

static int by_share(LvDice *d, const uint8_t *share, int n)
{
    return lv_pick(lv_roll(d), share, n);
}

/* Parts of a reel */

/* A colour; one in thirty has no name. */
static LvHue any_hue(LvDice *d)
{
    LvHue h = { .tint = one_of(d, lv_tints()) };

    h.rgb = lv_tint_hex(h.tint);
    if (percent(d, 3)) {
        h.tint = -1;
        h.rgb  = lv_roll(d) >> 8;
    }
    return h;
}

static float difference(uint32_t a, uint32_t b)
{
    float x[3], y[3];

    lv_tint_rgb(x, a);
    lv_tint_rgb(y, b);
    return lv_color_distance(x, y);
}

/* A colour that stands out from n others. */
static LvHue other_hue(LvDice *d, const LvHue *others, int n)
{
    LvHue h;

    for (int tries = 0, near = 1; near && tries < 50; tries++) {
        h    = any_hue(d);
        near = 0;
        for (int i = 0; i < n; i++)
            near |= difference(h.rgb, others[i].rgb) < CONTRAST;
    }
    return h;
}

static void draw_ground(LvReel *r, LvDice *d)
{
    static const uint8_t share[LV_GROUND_EFFECT] = { 46, 16, 14, 10, 5, 5, 4 };

    r->ground = (LvGround)by_share(d, share, LV_GROUND_EFFECT);
    r->back   = any_hue(d);
    r->back2  = r->ground == LV_GROUND_BLEND ? other_hue(d, &r->back, 1) : r->back;
}

static void natural_colors(LvLook *l, const Nature *n)
{
    for (int i = 0; i < 3; i++)
        lv_tint_rgb(l->front[i], n->front[i]);
    for (int i = 0; i < 2; i++)
        lv_tint_rgb(l->back[i], n->back[i]);
    l->colors = n->colors;
}

/* Colours that captions name; the ground of a picture is a dark shade of the first,
 * or light where the nature is. */
static void named_colors(LvReel *r, LvLook *l, const Nature *n, LvDice *d)
{
    LvHue behind[2] = { r->back, r->back2 };
    float black[3] = { 0 }, white[3] = { 1, 1, 1 }, nature[3];

    l->colors = 1 + one_of(d, n->colors);
    if (n->flags & TWO)
        l->colors = LV_MAX(l->colors, 2);
    r->hues = n->flags & KEEPS ? LV_MIN(l->colors, 2) : l->colors;
    l->colors = n->flags & KEEPS ? 3 : l->colors;
    for (int i = 0; i < r->hues; i++)
        r->hue[i] = i ? other_hue(d, r->hue, i) :
                    lv_effect_is_whole(l->effect) ? any_hue(d) : other_hue(d, behind, 2);
    for (int i = 0; i < 3; i++)
        lv_tint_rgb(l->front[i], r->hue[LV_MIN(i, r->hues - 1)].rgb);
    if (n->flags & KEEPS)
        lv_tint_rgb(l->front[2], n->front[2]);
    for (int i = 0; i < 2; i++) {
        lv_tint_rgb(nature, n->back[i]);
        if (nature[0] + nature[1] + nature[2] < 1.4f)
            lv_color_mix(l->back[i], l->front[0], black, 0.8f + 0.1f * (float)i);
        else
            lv_color_mix(l->back[i], l->front[0], white, 0.8f - 0.1f * (float)i);
    }
    r->named = 1;
}

/* A ground that an effect in its natural colours stands out from; what glows wants a
 * dark one. */
static void draw_ground_for(LvReel *r, LvEffect effect, LvDice *d)
{
    const Nature *n = &natures[effect];
    float far = 0;

    for (int tries = 0; tries < 30 && far < 0.3f; tries++) {
        draw_ground(r, d);
        far = LV_MIN(difference(r->back.rgb, n->front[0]), difference(r->back2.rgb, n->front[0]));
        if (n->flags & GLOWS && difference(r->back.rgb, 0) > 0.45f)
            far = 0;
    }
}

static void draw_look(LvReel *r, LvLook *l, LvEffect effect, LvDice *d)
{
    const Nature *n = &natures[effect];

    l->effect = effect;
    r->named  = 0;
    if (percent(d, n->flags & VARIED ? 75 : 35))
        named_colors(r, l, n, d);
    else
        natural_colors(l, n);
    l->speed     = lv_reel_speed(r);
    l->direction = one_of(d, effect == LV_FX_WIPE ? 4 : 2);
    r->amount    = n->flags & AMOUNT && percent(d, 40) ? (percent(d, 50) ? 1 : -1) : 0;
    l->amount    = 0.5f + 0.38f * (float)r->amount + 0.2f * (unit(d) - 0.5f);
    for (int i = 0; i < 4; i++)
        l->free[i] = unit(d);
    l->key[0] = lv_roll(d);
    l->key[1] = lv_roll(d);
}

/* Share of each motion. */
static const uint8_t move_share[LV_MOVE_NB] = {
    4, 4, 4, 4, 4, 4, 4, 4, 3, 4, 4, 3, 4, 2, 3, 3, 2, 2,
};

static void draw_actor(LvReel *r, LvActor *a, int things, LvDice *d)
{
    static const uint8_t count_share[LV_MAX_COUNT] = { 20, 3, 3, 2, 1, 1 };
    static const uint8_t fill_share[LV_FILL_NB] = { 12, 3, 2, 2, 3 };
    LvHue behind[2] = { r->back, r->back2 };

    a->thing  = percent(d, 68) && things ? one_of(d, things) : -1;
    a->shape  = (LvShape)one_of(d, LV_SHAPE_NB);
    a->fill   = (LvFill)by_share(d, fill_share, LV_FILL_NB);
    a->tinted = a->thing < 0 || percent(d, 12);
    a->hue    = other_hue(d, behind, 2);
    a->shadow = percent(d, 10);
    a->size   = (LvSize)by_share(d, (const uint8_t[]) { 2, 5, 4 }, LV_SIZE_NB);
    a->count  = 1 + by_share(d, count_share, LV_MAX_COUNT);
    a->move   = by_share(d, move_share, LV_MOVE_NB);
    a->place  = percent(d, 25) ? (LvPlace)(1 + one_of(d, LV_PLACE_NB - 1)) : LV_PLACE_ANY;
    a->x      = 2 * unit(d) - 1;
    a->y      = 2 * unit(d) - 1;
    a->amount = unit(d);
    a->phase  = unit(d);
    a->turn   = percent(d, 50) ? 1 : -1;
}

/* Two actors: either keeps to its half, and what it is tells them apart. */
static void part_actors(LvReel *r)
{
    if (r->actors < 2)
        return;
    for (int i = 0; i < 2; i++) {
        r->actor[i].place = i ? LV_PLACE_RIGHT : LV_PLACE_LEFT;
        r->actor[i].count = LV_MIN(r->actor[i].count, 2);
        r->actor[i].size  = LV_MIN(r->actor[i].size, LV_MEDIUM);
    }
}

static void draw_actors(LvReel *r, int things, LvDice *d)
{
    r->actors = percent(d, 18) ? 2 : 1;
    for (int i = 0; i < r->actors; i++)
        draw_actor(r, &r->actor[i], things, d);
    part_actors(r);
}

static LvEffect any_effect(LvDice *d, int whole)
{
    return (LvEffect)(whole ? LV_FX_BOKEH + one_of(d, LV_FX_NB - LV_FX_BOKEH) :
                      one_of(d, LV_FX_BOKEH));
}

float lv_reel_speed(const LvReel *r)
{
    static const float speed[LV_PACE_NB] = { 1, 0.5f, 1.9f };

    return speed[r->pace];
}

/* What kind of picture: of a hundred. */
static void compose(LvReel *r, int things, LvDice *d)
{
    int kind = one_of(d, 100);

    if (kind < 38) {                     /* an effect that fills the picture */
        r->ground = LV_GROUND_EFFECT;
        draw_look(r, &r->effect, any_effect(d, 1), d);
        r->back = r->back2 = (LvHue) { 0, 0x808080 };
        if (kind < 5)
            draw_actors(r, things, d);
        return;
    }
    draw_ground(r, d);
    if (kind < 54) {                     /* an effect over a background */
        LvEffect effect = any_effect(d, 0);
        draw_ground_for(r, effect, d);
        draw_look(r, &r->over, effect, d);
        r->has_over = 1;
        if (kind < 42)
            draw_actors(r, things, d);
    } else if (kind < 98) {
        draw_actors(r, things, d);
    }                                    /* else a background alone */
    if (r->actors && percent(d, 12))
        r->camera = (LvCamera)(1 + one_of(d, LV_CAMERA_NB - 1));
}

void lv_reel_draw(LvReel *r, uint64_t seed, uint64_t index, int things)
{
    static const uint8_t pace_share[LV_PACE_NB] = { 14, 3, 3 };
    static const uint8_t tone_share[LV_TONE_NB] = { 46, 1, 1, 1, 1 };
    LvDice d = lv_dice(seed, index, LV_DICE_REEL);

    memset(r, 0, sizeof(*r));
    r->pace = (LvPace)by_share(&d, pace_share, LV_PACE_NB);
    r->tone = (LvTone)by_share(&d, tone_share, LV_TONE_NB);
    compose(r, things, &d);
}
