/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * How Wan2.1, Wan2.2 and the known models distilled from them are sampled, and what they are
 * called.
 * Floor F4 (model).
 */

#ifndef LINVIDEO_MODEL_PRESETS_H
#define LINVIDEO_MODEL_PRESETS_H

#include "model/config.h"

/** Clips: 832x480, 81 frames at 16 a second; 1280x720, the same; 1280x704, 121 at 24. */
enum LvPresetClip { LV_CLIP_480P, LV_CLIP_720P, LV_CLIP_TI2V };

typedef struct LvPreset {
    const char *name;
    const char *solver;    ///< see pipeline/sample.h
    int steps;
    float shift, guidance; ///< guidance 1: off
    const char *about;
    float guidance_low, boundary; ///< of Wan2.2 A14B; see LvVideoConfig
    int made_for;          ///< LvPresetClip
    LvCausal causal;       ///< block 0: clips stand alone
} LvPreset;

/** What Wan's reference puts in place of an empty negative prompt. */
const char *lv_preset_negative(const LvDitConfig *c);

/** Row i of the table; NULL after the last. */
const LvPreset *lv_preset_at(int i);

/** By name; NULL when unknown. "none" is Wan2.1's own. */
const LvPreset *lv_preset_find(const char *name);

/** How a network is sampled that nothing else is known of; pair: it is one of two. */
const LvPreset *lv_preset_of(const LvDitConfig *c, int pair);

/** Whether clips of a network may begin with an image. */
int lv_preset_takes_image(const LvDitConfig *c);

/** Images that they need: 0, the first one, or the last one too. */
int lv_preset_images(const LvDitConfig *c);

/** That preset for a network of image to video, where it has one of its own; p else. */
const LvPreset *lv_preset_for(const LvPreset *p, const LvDitConfig *c);

/** Set sampler, steps, shift, guidance, blocks; and size and rate. */
void lv_preset_apply(LvVideoConfig *v, const LvPreset *p);

#endif /* LINVIDEO_MODEL_PRESETS_H */
