/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * How Wan2.1 and the known models distilled from it are sampled, and what they are called.
 * Floor F4 (model).
 */

#ifndef LINVIDEO_MODEL_PRESETS_H
#define LINVIDEO_MODEL_PRESETS_H

#include "model/config.h"

typedef struct LvPreset {
    const char *name;
    const char *solver;    ///< see pipeline/sample.h
    int steps;
    float shift, guidance; ///< guidance 1: off
    const char *about;
} LvPreset;

/** What Wan's reference puts in place of an empty negative prompt. */
extern const char LV_WAN_NEGATIVE[];

/** Row i of the table; NULL after the last. */
const LvPreset *lv_preset_at(int i);

/** By name; NULL when unknown. "none" is Wan2.1's own. */
const LvPreset *lv_preset_find(const char *name);

/** Set sampler, steps, shift, guidance; and size and rate, to those of Wan2.1. */
void lv_preset_apply(LvVideoConfig *v, const LvPreset *p);

#endif /* LINVIDEO_MODEL_PRESETS_H */
