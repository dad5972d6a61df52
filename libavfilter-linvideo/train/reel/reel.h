/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What a clip of the reel shows, as plain data: things and shapes that move over a
 * ground, an effect, or both. Drawn at random by number.
 * Floor train/reel: knows neither words nor pixels.
 */

#ifndef LINVIDEO_TRAIN_REEL_REEL_H
#define LINVIDEO_TRAIN_REEL_REEL_H

#include <stdint.h>

#include "train/clips/scene.h"
#include "train/reel/look.h"

/** A colour as captions name it. */
typedef struct LvHue {
    int tint;            ///< number of a named colour; -1: named by its hexadecimal digits
    uint32_t rgb;        ///< 0xRRGGBB
} LvHue;

typedef enum LvGround {
    LV_GROUND_PLAIN,
    LV_GROUND_SHADED,    ///< lighter above, darker below
    LV_GROUND_BLEND,     ///< from one colour above to another below
    LV_GROUND_GLOW,      ///< light in the middle, dark at the edges
    LV_GROUND_STRIPED, LV_GROUND_CHECKERED, LV_GROUND_DOTTED,
    LV_GROUND_EFFECT,    ///< an effect that fills the picture
    LV_GROUND_NB
} LvGround;

typedef enum LvFill {
    LV_FILL_SOLID, LV_FILL_OUTLINE, LV_FILL_STRIPES, LV_FILL_DOTS, LV_FILL_GLOSSY,
    LV_FILL_NB
} LvFill;

/** Motions beyond those of LvMotion, which come first. */
enum {
    LV_MOVE_SWINGING = LV_MOTION_NB, ///< as a pendulum, hung above
    LV_MOVE_FLOATING,    ///< up and down, a little
    LV_MOVE_SHAKING, LV_MOVE_ROLLING_LEFT, LV_MOVE_ROLLING_RIGHT,
    LV_MOVE_ZIGZAG,      ///< to the right, up and down
    LV_MOVE_FADING,      ///< comes in out of nothing
    LV_MOVE_NB
};

typedef enum LvPlace {
    LV_PLACE_ANY, LV_PLACE_LEFT, LV_PLACE_RIGHT, LV_PLACE_TOP, LV_PLACE_BOTTOM,
    LV_PLACE_MIDDLE, LV_PLACE_NB
} LvPlace;

/** A thing or a shape, once or several times. */
typedef struct LvActor {
    int thing;           ///< number of lv_thing(); -1: a shape
    LvShape shape;
    LvFill fill;         ///< of a shape
    int tinted;          ///< the colour counts: always of a shape
    LvHue hue;
    int shadow;
    LvSize size;
    int count;           ///< 1 to 6
    int move;            ///< LvMotion or above
    LvPlace place;
    float x, y;          ///< -1..1: resting place, as part of the room there is
    float amount, phase; ///< 0..1
    int turn;            ///< 1 or -1
} LvActor;

typedef enum LvCamera {
    LV_CAMERA_STILL, LV_CAMERA_ZOOM_IN, LV_CAMERA_ZOOM_OUT, LV_CAMERA_PAN_LEFT,
    LV_CAMERA_PAN_RIGHT, LV_CAMERA_NB
} LvCamera;

typedef enum LvPace { LV_PACE_NORMAL, LV_PACE_SLOW, LV_PACE_FAST, LV_PACE_NB } LvPace;

typedef enum LvTone {
    LV_TONE_PLAIN, LV_TONE_DARK, LV_TONE_LIGHT, LV_TONE_WARM, LV_TONE_COLD, LV_TONE_NB
} LvTone;

enum { LV_MAX_ACTORS = 2, LV_MAX_COUNT = 6 };

typedef struct LvReel {
    LvGround ground;
    LvHue back, back2;   ///< back2: of LV_GROUND_BLEND
    LvLook effect;       ///< of LV_GROUND_EFFECT
    LvLook over;         ///< an effect over it all, when has_over
    int has_over;
    LvHue hue[3];        ///< colours of the effect that is there, as captions name them
    int hues;            ///< of them that count
    int named;           ///< 1: captions name hue; 0: the effect has its natural colours
    LvActor actor[LV_MAX_ACTORS];
    int actors;
    LvCamera camera;     ///< moves over actors and pattern, not over effects
    LvPace pace;
    LvTone tone;
    int amount;          ///< of the effect, as captions tell it: -1 few, 0 unsaid, 1 many
} LvReel;

/** Draw reel number `index` of the stream `seed`.
 *  @param things the first so many of lv_thing() may be in it; 0: shapes alone */
void lv_reel_draw(LvReel *r, uint64_t seed, uint64_t index, int things);

/** Seconds of the reel's own time for a second of the clip: its pace. */
float lv_reel_speed(const LvReel *r);

#endif /* LINVIDEO_TRAIN_REEL_REEL_H */
