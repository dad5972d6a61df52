/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Colours by name.
 * Floor train/reel: knows names and numbers.
 */

#ifndef LINVIDEO_TRAIN_REEL_TINT_H
#define LINVIDEO_TRAIN_REEL_TINT_H

#include <stdint.h>

/** Number of named colours. */
int lv_tints(void);

/** Name of colour i, 0 to lv_tints() - 1. */
const char *lv_tint_name(int i);

/** Other words for it, parted by |; NULL: none. */
const char *lv_tint_others(int i);

/** Its sRGB value 0xRRGGBB. */
uint32_t lv_tint_hex(int i);

/** 0xRRGGBB as values 0..1. */
void lv_tint_rgb(float rgb[3], uint32_t hex);

#endif /* LINVIDEO_TRAIN_REEL_TINT_H */
