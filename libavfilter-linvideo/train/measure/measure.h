/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What a clip shows, found from its frames alone, by rules: nothing here is learned.
 * And how much a clip flickers or differs from another.
 * Floor train/measure.
 *
 * The background is a plane in place for each channel, fitted robustly. What stands out
 * of it is cut into connected parts. The kind of clip is that of the nearest of clips
 * rendered for comparison, by some statistics of grid and parts. An object's shape is
 * that of the nearest outline by the magnitudes of its angular harmonics on rings about
 * its centroid, which neither size nor rotation changes; its motion follows from the
 * tracks of centroid, area, aspect and orientation.
 */

#ifndef LINVIDEO_TRAIN_MEASURE_MEASURE_H
#define LINVIDEO_TRAIN_MEASURE_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "train/clips/scene.h"

typedef struct LvMeasure LvMeasure;

/** What was found. Fields mean what those of LvScene mean. */
typedef struct LvMeasured {
    LvSceneKind kind;
    LvShape shape;       ///< of an object
    LvMotion motion;     ///< of an object
    LvSide side;         ///< of a wipe
    LvColor color;
    LvPattern pattern;   ///< LV_PLAIN (stripes and squares too), LV_SHADED or LV_BLEND
    LvColor back, back2;
    float rgb[3];        ///< mean colour of what is in front
} LvMeasured;

/** Bits of lv_measure_matches(). */
enum {
    LV_MATCH_COLOR = 1,
    LV_MATCH_SHAPE = 2,  ///< without an object: the kind of material
    LV_MATCH_MOTION = 4, ///< of material: the kind, and the side of a wipe
    LV_MATCH_BACK = 8,   ///< the colour or colours behind
    LV_MATCH_ALL = 15,
};

/**
 * Prepare to measure clips of one size: memory and the clips to compare with; takes
 * about a second. Freed with lv_measure_free(). One is for one thread.
 *
 * @param width, height at least 32
 * @param frames at least 5
 * @param rate frames a second
 * @return 0 or -ENOMEM
 */
int lv_measure_new(LvMeasure **out, int width, int height, int frames, double rate);

/** Free *m and set it to NULL. NULL is fine. */
void lv_measure_free(LvMeasure **m);

/** Measure a clip, [frames,height,width,3] sRGB values about 0..1. */
void lv_measure_clip(LvMeasure *m, const float *rgb, LvMeasured *found);

/** What of a scene was found: bits. */
int lv_measure_matches(const LvMeasured *found, const LvScene *s);

/**
 * Make a clip worse, about as a small decoder does: blur by 1 2 1 across and down, and
 * nearly normal noise; some 27 dB remain.
 *
 * @param rgb    [frames,height,width,3], changed
 * @param room   as many values, overwritten
 * @param stream which noise
 */
void lv_measure_degrade(float *rgb, float *room, int width, int height, int frames,
                        uint64_t stream);

/** n 8-bit values as f32 in 0..1. */
void lv_measure_from_u8(float *dst, const unsigned char *src, size_t n);

/** Peak signal-to-noise ratio in dB of two clips of n values in 0..1; INFINITY when
 *  they are equal. */
double lv_measure_psnr(const float *a, const float *b, size_t n);

typedef struct LvFlicker {
    double d1;    ///< RMS of x[f+1] - x[f]
    double d2;    ///< RMS of x[f+2] - 2 x[f+1] + x[f]
    double index; ///< mean square of the second by that of the first; 0 when all stands
} LvFlicker;

/** Flicker of a clip of `frames` frames of n values each. */
LvFlicker lv_measure_flicker(const float *clip, int frames, size_t n);

#endif /* LINVIDEO_TRAIN_MEASURE_MEASURE_H */
