/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What a training clip shows, as plain data: an object that moves on a background, or
 * material for broadcast (snow, waves, wipes...). Drawn at random by number.
 * Floor train/clips: knows neither words nor pixels.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_SCENE_H
#define LINVIDEO_TRAIN_CLIPS_SCENE_H

#include <stdint.h>

#include "train/clips/color.h"

typedef enum LvSceneKind {
    LV_SCENE_OBJECT,   ///< one shape on a background that stands still
    LV_SCENE_SNOW, LV_SCENE_RAIN, LV_SCENE_STARS, LV_SCENE_WAVES, LV_SCENE_LIGHTS,
    LV_SCENE_GRADIENT, ///< two colours, slowly flowing into each other
    LV_SCENE_WIPE,     ///< one colour covers the other from a side
    LV_SCENE_CONFETTI, ///< of all colours
    LV_SCENE_NB
} LvSceneKind;

typedef enum LvShape {
    LV_CIRCLE, LV_SQUARE, LV_TRIANGLE, LV_STAR, LV_RING, LV_CROSS, LV_HEART,
    LV_DIAMOND,
    LV_SHAPE_NB
} LvShape;

typedef enum LvSize { LV_SMALL, LV_MEDIUM, LV_LARGE, LV_SIZE_NB } LvSize;

typedef enum LvMotion {
    LV_LEFT, LV_RIGHT, LV_UP, LV_DOWN, LV_CIRCLING, LV_BOUNCING,
    LV_SPINNING, ///< circles and rings turn as coins do
    LV_GROWING, LV_SHRINKING, LV_PULSING, LV_STILL,
    LV_MOTION_NB
} LvMotion;

/** Side that a wipe comes from. */
typedef enum LvSide {
    LV_FROM_LEFT, LV_FROM_RIGHT, LV_FROM_TOP, LV_FROM_BOTTOM, LV_SIDE_NB
} LvSide;

typedef enum LvPattern {
    LV_PLAIN,
    LV_SHADED,  ///< from lighter above to darker below
    LV_BLEND,   ///< from `back` at the upper left to `back2` at the lower right
    LV_STRIPED, ///< upright stripes of two shades
    LV_CHECKERED,
    LV_PATTERN_NB
} LvPattern;

typedef struct LvScene {
    LvSceneKind kind;
    LvShape shape;     ///< of an object, as size and motion
    LvSize size;
    LvMotion motion;
    LvSide side;       ///< of a wipe
    LvColor color;     ///< not of confetti
    LvPattern pattern; ///< plain for gradient and wipe
    LvColor back;
    LvColor back2;     ///< of LV_BLEND; else the same as back

    /* what no caption tells */
    float x, y;        ///< -1..1: resting place, as part of the room there is
    float amount;      ///< 0..1: extent and speed of the motion
    float phase;       ///< 0..1: of what repeats
    int turn;          ///< 1 or -1: sense of a rotation
    uint32_t key[2];   ///< of the random numbers of flakes, drops...
} LvScene;

/* Names as in the plainest caption: "snow", "star", "bouncing", "striped"... */
const char *lv_scene_kind_name(LvSceneKind kind);
const char *lv_shape_name(LvShape shape);
const char *lv_motion_name(LvMotion motion);
const char *lv_pattern_name(LvPattern pattern);

/**
 * Draw scene number `index` of the stream `seed`. Three of four show an object.
 * What is in front always contrasts with what is behind (0.2 or more by
 * lv_color_distance(), shades of a pattern included).
 *
 * @param held_out 0: a scene for training; 1: one that lv_scene_held_out()
 */
void lv_scene_draw(LvScene *scene, uint64_t seed, uint64_t index, int held_out);

/**
 * 1 for one in 16 of what scenes can be about (kind, shape, colour, motion or side,
 * pattern, colours behind; not size and place): those are never drawn for training.
 * A fixed hash, the same for every seed.
 */
int lv_scene_held_out(const LvScene *scene);

/** Whether front is readable on the background: the rule of lv_scene_draw(). */
int lv_scene_contrasts(LvColor front, LvPattern pattern, LvColor back, LvColor back2);

/**
 * The two shades between which a pattern varies.
 *
 * LV_SHADED: above, below. LV_BLEND: upper left, lower right. LV_STRIPED and
 * LV_CHECKERED: first, second. LV_PLAIN: twice the same.
 */
void lv_scene_shades(float first[3], float second[3], LvPattern pattern, LvColor back,
                     LvColor back2);

#endif /* LINVIDEO_TRAIN_CLIPS_SCENE_H */
