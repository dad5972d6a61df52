/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The twelve colours of the training clips, and how far apart colours look.
 * Floor train/clips: above model and pipeline, not part of the library.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_COLOR_H
#define LINVIDEO_TRAIN_CLIPS_COLOR_H

typedef enum LvColor {
    LV_RED, LV_ORANGE, LV_YELLOW, LV_GREEN, LV_CYAN, LV_BLUE, LV_PURPLE, LV_PINK,
    LV_BROWN, LV_WHITE, LV_GREY, LV_BLACK,
    LV_COLOR_NB
} LvColor;

/** "red", "orange"... */
const char *lv_color_name(LvColor color);

/** Its three sRGB values, 0..1. */
const float *lv_color_rgb(LvColor color);

/**
 * Perceived difference of two sRGB colours: Euclidean in Oklab (Ottosson 2020); black
 * and white of the palette are 0.82 apart, its nearest two, blue and purple, 0.17.
 * Values outside 0..1 are clamped.
 */
float lv_color_distance(const float a[3], const float b[3]);

/** Of the palette, the one nearest to an sRGB colour. */
LvColor lv_color_nearest(const float rgb[3]);

/** out = a + t (b - a); out may be a or b. */
static inline void lv_color_mix(float out[3], const float a[3], const float b[3],
                                float t)
{
    for (int c = 0; c < 3; c++)
        out[c] = a[c] + t * (b[c] - a[c]);
}

#endif /* LINVIDEO_TRAIN_CLIPS_COLOR_H */
