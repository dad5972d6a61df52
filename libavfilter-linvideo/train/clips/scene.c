/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/clips/scene.h"

#include <math.h>
#include <string.h>

#include "base/common.h"
#include "base/philox.h"
#include "train/clips/dice.h"

/* Least distance of what is in front to what is behind. */
#define CONTRAST 0.2f

#define HELD_OUT_OF 16

static const char *const kinds[LV_SCENE_NB] = {
    "object", "snow", "rain", "stars", "waves", "lights", "gradient", "wipe",
    "confetti",
};
static const char *const shapes[LV_SHAPE_NB] = {
    "circle", "square", "triangle", "star", "ring", "cross", "heart", "diamond",
};
static const char *const motions[LV_MOTION_NB] = {
    "moving left", "moving right", "moving up", "moving down", "moving in a circle",
    "bouncing", "spinning", "growing", "shrinking", "pulsing", "standing still",
};
static const char *const patterns[LV_PATTERN_NB] = {
    "plain", "gradient", "blend", "striped", "checkered",
};

const char *lv_scene_kind_name(LvSceneKind kind)
{
    return kinds[kind];
}

const char *lv_shape_name(LvShape shape)
{
    return shapes[shape];
}

const char *lv_motion_name(LvMotion motion)
{
    return motions[motion];
}

const char *lv_pattern_name(LvPattern pattern)
{
    return patterns[pattern];
}

/* Shares of what is drawn, in any unit */
static const uint8_t kind_share[LV_SCENE_NB] = { 96, 4, 4, 4, 4, 4, 4, 4, 4 };
static const uint8_t size_share[LV_SIZE_NB] = { 3, 4, 3 };
static const uint8_t motion_share[LV_MOTION_NB] = { 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3 };
static const uint8_t pattern_share[LV_PATTERN_NB] = { 10, 5, 2, 2, 2 };
static const uint8_t pattern_share_material[LV_PATTERN_NB] = { 10, 6, 2 };

void lv_scene_shades(float first[3], float second[3], LvPattern pattern, LvColor back,
                     LvColor back2)
{
    static const float white[3] = { 1, 1, 1 }, black[3] = { 0, 0, 0 };
    static const float share[LV_PATTERN_NB][2] = {
        [LV_SHADED] = { 0.22f, 0.32f }, [LV_STRIPED] = { 0.07f, 0.10f },
        [LV_CHECKERED] = { 0.07f, 0.10f },
    };

    lv_color_mix(first, lv_color_rgb(back), white, share[pattern][0]);
    lv_color_mix(second, lv_color_rgb(pattern == LV_BLEND ? back2 : back), black,
                 share[pattern][1]);
}

int lv_scene_contrasts(LvColor front, LvPattern pattern, LvColor back, LvColor back2)
{
    float a[3], b[3], mid[3];

    lv_scene_shades(a, b, pattern, back, back2);
    for (int i = 0; i <= 4; i++) {
        lv_color_mix(mid, a, b, i / 4.0f);
        if (lv_color_distance(lv_color_rgb(front), mid) < CONTRAST)
            return 0;
    }
    return 1;
}

/* One attempt, from 16 words. */
static void compose(LvScene *s, LvSceneKind kind, const uint32_t *w)
{
    int object = kind == LV_SCENE_OBJECT;

    memset(s, 0, sizeof(*s));
    s->kind = kind;
    if (object) {
        s->shape  = lv_pick_even(w[1], LV_SHAPE_NB);
        s->size   = lv_pick(w[2], size_share, LV_SIZE_NB);
        s->motion = lv_pick(w[3], motion_share, LV_MOTION_NB);
    }
    if (s->kind == LV_SCENE_WIPE)
        s->side = lv_pick_even(w[4], LV_SIDE_NB);
    if (s->kind != LV_SCENE_CONFETTI)
        s->color = lv_pick_even(w[5], LV_COLOR_NB);
    if (s->kind != LV_SCENE_WIPE && s->kind != LV_SCENE_GRADIENT)
        s->pattern = lv_pick(w[6], object ? pattern_share : pattern_share_material,
                          LV_PATTERN_NB);
    s->back   = lv_pick_even(w[7], LV_COLOR_NB);
    s->back2  = s->pattern == LV_BLEND ? lv_pick_even(w[8], LV_COLOR_NB) : (int)s->back;
    s->x      = 2 * lv_pick_unit(w[9]) - 1;
    s->y      = 2 * lv_pick_unit(w[10]) - 1;
    s->amount = lv_pick_unit(w[11]);
    s->phase  = lv_pick_unit(w[12]);
    s->turn   = w[13] & 1 ? 1 : -1;
    s->key[0] = w[14];
    s->key[1] = w[15];
}

static int is_good(const LvScene *s)
{
    if (s->pattern == LV_BLEND && s->kind == LV_SCENE_WAVES)
        return 0;
    if (s->pattern == LV_BLEND &&
        lv_color_distance(lv_color_rgb(s->back), lv_color_rgb(s->back2)) < CONTRAST)
        return 0;
    return s->kind == LV_SCENE_CONFETTI ||
           lv_scene_contrasts(s->color, s->pattern, s->back, s->back2);
}

void lv_scene_draw(LvScene *scene, uint64_t seed, uint64_t index, int held_out)
{
    LvDice dice = lv_dice(seed, index, LV_DICE_SCENE);
    LvSceneKind kind = 0;

    for (int attempt = 0;; attempt++) {
        uint32_t w[16];

        for (int i = 0; i < 16; i++)
            w[i] = lv_roll(&dice);
        /* of the first attempt, or kinds that often fail would be rare */
        if (!attempt)
            kind = lv_pick(w[0], kind_share, LV_SCENE_NB);
        compose(scene, kind, w);
        if (is_good(scene) && lv_scene_held_out(scene) == !!held_out)
            return;
    }
}

int lv_scene_held_out(const LvScene *s)
{
    const uint32_t key[2] = { 0x6C696E76, 0x6964656F };
    const uint32_t ctr[4] = {
        (uint32_t)s->kind << 24 | (uint32_t)s->shape << 16 | (uint32_t)s->motion << 8 |
        (uint32_t)s->side,
        (uint32_t)s->color << 24 | (uint32_t)s->pattern << 16 | (uint32_t)s->back << 8 |
        (uint32_t)s->back2, 0, LV_DICE_HASH,
    };
    uint32_t word[4];

    lv_philox(word, ctr, key);
    return word[0] % HELD_OUT_OF == 0;
}
