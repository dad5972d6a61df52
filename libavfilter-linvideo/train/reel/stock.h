/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The clips that a recipe trains on, by number, with their captions: scenes of
 * train/clips ("shapes") or reels ("reel").
 * Floor train/reel.
 */

#ifndef LINVIDEO_TRAIN_REEL_STOCK_H
#define LINVIDEO_TRAIN_REEL_STOCK_H

#include <stddef.h>
#include <stdint.h>

#include "train/reel/art.h"
#include "train/reel/stage.h"

/** Bytes that hold every caption. */
#define LV_STOCK_CAPTION_SIZE 320

typedef struct LvStock {
    int reel;            ///< 1: reels, 0: scenes
    int things;          ///< that reels show
    LvArt *art;          ///< pictures of things; NULL: captions alone are asked for
    uint64_t seed;
} LvStock;

/**
 * Open the clips of a name.
 *
 * @param name  "shapes" or "reel"; "": shapes
 * @param art   path of the font with pictures of things; "": reels without things
 * @param pixels 1: clips will be drawn; 0: captions alone
 * @param[out] s closed with lv_stock_close(), after an error too
 * @return 0; -EINVAL for another name; as lv_art_open()
 */
int lv_stock_open(LvStock *s, const char *name, const char *art, int pixels, uint64_t seed,
                  const LvMsg *msg);

/** Close it; a zeroed one is fine. */
void lv_stock_close(LvStock *s);

/** Render clip `index`: of those for training, or (1) of those held out.
 *  @param[out] rgb [frames,height,width,3] sRGB values in 0..1 */
void lv_stock_clip(const LvStock *s, uint64_t index, int held_out, const LvSpan *span,
                   float *rgb);

/** Caption of a clip, in the wording of number `stream`. */
void lv_stock_caption(const LvStock *s, uint64_t index, int held_out, uint64_t stream,
                      char *buf, size_t size);

/** All words that captions have, in lower case, sorted, with spaces between.
 *  @return bytes, or -1 when buf is too small */
int lv_stock_words(const LvStock *s, char *buf, size_t size);

#endif /* LINVIDEO_TRAIN_REEL_STOCK_H */
