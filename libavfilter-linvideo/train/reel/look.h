/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * How an effect looks, and what the effects are drawn with.
 * Floor train/reel: knows pixels, no words.
 */

#ifndef LINVIDEO_TRAIN_REEL_LOOK_H
#define LINVIDEO_TRAIN_REEL_LOOK_H

#include <stdint.h>

#include "train/clips/paint.h"

typedef enum LvEffect {
    /* over any background */
    LV_FX_SNOW, LV_FX_RAIN, LV_FX_CONFETTI, LV_FX_PARTICLES, LV_FX_FIREWORKS,
    LV_FX_BUBBLES, LV_FX_LEAVES, LV_FX_PETALS, LV_FX_SPARKS, LV_FX_RIBBONS,
    LV_FX_SMOKE, LV_FX_FOG, LV_FX_LIGHT_LEAKS, LV_FX_LIGHTNING,
    /* whole pictures */
    LV_FX_BOKEH, LV_FX_CLOUDS, LV_FX_FIRE, LV_FX_WATER, LV_FX_CAUSTICS,
    LV_FX_RAIN_ON_GLASS, LV_FX_AURORA, LV_FX_STARFIELD, LV_FX_WARP, LV_FX_GALAXY,
    LV_FX_INK, LV_FX_PAPER, LV_FX_PLASMA, LV_FX_LIQUID, LV_FX_GRID, LV_FX_TUNNEL,
    LV_FX_HILLS, LV_FX_SKYLINE, LV_FX_SUNSET_WAVES, LV_FX_WIPE, LV_FX_COUNTDOWN,
    LV_FX_BARS, LV_FX_RAYS, LV_FX_RINGS, LV_FX_MOSAIC,
    LV_FX_NB
} LvEffect;

/** How an effect looks. Colours are sRGB values 0..1. */
typedef struct LvLook {
    LvEffect effect;
    float front[3][3];   ///< colours of what is drawn
    int colors;          ///< of them that count, 1 to 3
    float back[2][3];    ///< ground: above, below; effects over a background leave it be
    float speed;         ///< 0.5 slow, 1, 2 fast
    float amount;        ///< 0 few, thin or small .. 1 many, dense or large
    int direction;       ///< 0 left, 1 right, 2 up, 3 down, for what goes one way
    float free[4];       ///< 0..1, what no caption tells: phase, place...
    uint32_t key[2];     ///< of the random numbers
} LvLook;

/** Colour and part (0..1) of a point: x to the right and y downward, from the picture's
 *  middle, in its shorter side. */
typedef void (*LvShader)(float rgba[4], const void *opaque, float x, float y);

/** Mix a shader into the picture. It is asked at every `step`-th pixel each way (1 for
 *  sharp things, 2 to 8 for soft ones) and interpolated between. */
void lv_paint_field(LvPaint *p, int step, LvShader shader, const void *opaque);

/** Four random numbers in 0..1 that belong to thing `i` of a look. */
void lv_look_numbers(float out[4], const LvLook *look, int i);

/** The colour at `part` (0..1) of the way through look->front. */
void lv_look_color(float rgb[3], const LvLook *look, float part);

/** A frame of a look: what shaders of whole pictures ask for. */
typedef struct LvScreen {
    const LvLook *look;
    float time;          ///< seconds by the look's speed
    float part;          ///< of the clip
    float width, height; ///< of the picture, in its shorter side
    float pixel;         ///< the same of a pixel
} LvScreen;

/** Paint a shader that takes an LvScreen, of a look at a moment: lv_paint_field(). */
void lv_paint_screen(LvPaint *p, const LvLook *l, LvClock at, int step, LvShader shader);

/** That of a picture at a moment. */
LvScreen lv_screen(const LvPaint *p, const LvLook *l, LvClock at);

/** The ground at a height: from look->back[0] above to look->back[1] below, opaque. */
void lv_screen_ground(float rgba[4], const LvScreen *s, float y);

#endif /* LINVIDEO_TRAIN_REEL_LOOK_H */
