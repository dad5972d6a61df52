/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Captions of reels.
 * Floor train/reel: knows reels, no pixels.
 */

#ifndef LINVIDEO_TRAIN_REEL_WORDS_H
#define LINVIDEO_TRAIN_REEL_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "train/reel/reel.h"

/** Bytes that hold every caption. */
#define LV_REEL_CAPTION_SIZE 320

/**
 * Describe a reel in one of many wordings, chosen by (seed, index): English, now and then
 * with a capital, a full stop or a slip of the pen; what people leave out is left out
 * now and then.
 *
 * @param buf holds size bytes, LV_REEL_CAPTION_SIZE suffices; cut when it does not
 */
void lv_reel_caption(char *buf, size_t size, const LvReel *r, uint64_t seed, uint64_t index);

/** Describe it in the plainest wording, with nothing left out. */
void lv_reel_caption_plain(char *buf, size_t size, const LvReel *r);

/** All words that captions have, in lower case, sorted, with spaces between.
 *  @return bytes, or -1 when buf is too small */
int lv_reel_words(char *buf, size_t size);

/** Name of an effect in plain words, "fireworks". */
const char *lv_effect_name(LvEffect effect);

#endif /* LINVIDEO_TRAIN_REEL_WORDS_H */
