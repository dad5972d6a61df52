/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Pictures of things, out of a font of colour emoji: NotoColorEmoji.ttf (SIL Open Font
 * License 1.1; Debian: fonts-noto-color-emoji). The font is read when clips are made for
 * training; nothing of it is installed or shipped.
 * Floor train/reel: knows pixels.
 */

#ifndef LINVIDEO_TRAIN_REEL_ART_H
#define LINVIDEO_TRAIN_REEL_ART_H

#include <stdint.h>

#include "base/msg.h"

enum { LV_ART_LEVELS = 6 };

/** A picture at one size: RGBA, sRGB values times alpha. */
typedef struct LvArtLevel {
    uint8_t *rgba;       ///< [height,width,4]
    int width, height;
} LvArtLevel;

/** A thing's picture; each level is half the one before. */
typedef struct LvPicture {
    LvArtLevel level[LV_ART_LEVELS];
} LvPicture;

typedef struct LvArt LvArt;

/**
 * Read the pictures of all lv_things().
 *
 * @param path of the font
 * @param[out] art closed with lv_art_close(); NULL on error
 * @return 0; LV_ERR_UNSUPPORTED in a build without FreeType; LV_ERR_MODEL when the file is
 *         no font of colour bitmaps or lacks a character; -ENOMEM
 */
int lv_art_open(LvArt **art, const char *path, const LvMsg *msg);

/** Free *art and set it to NULL. NULL is fine. */
void lv_art_close(LvArt **art);

/** Picture of thing number i. */
const LvPicture *lv_art_picture(const LvArt *art, int i);

#endif /* LINVIDEO_TRAIN_REEL_ART_H */
