/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Scenes as text: what people would type to see them.
 * Floor train/clips: knows scenes, no pixels.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_CAPTION_H
#define LINVIDEO_TRAIN_CLIPS_CAPTION_H

#include <stddef.h>
#include <stdint.h>

#include "train/clips/scene.h"

/** Bytes that hold every caption. */
#define LV_CAPTION_SIZE 256

/** Words of the longest caption, at most. */
#define LV_CAPTION_WORDS 24

/**
 * Describe a scene in one of many wordings, chosen by (seed, index): English, lower
 * case, now and then a capital at the start and a full stop. A few in a hundred leave
 * the background out, or what stands still unsaid.
 *
 * @param buf holds size bytes, LV_CAPTION_SIZE suffices; cut when it does not
 */
void lv_caption_write(char *buf, size_t size, const LvScene *s, uint64_t seed,
                      uint64_t index);

/** Describe it in the plainest wording, with nothing left out:
 *  "a large red circle moving right on a blue background". */
void lv_caption_plain(char *buf, size_t size, const LvScene *s);

/** All words that captions have, in lower case, sorted, with spaces between.
 *  @return bytes, or -1 when buf is too small */
int lv_caption_words(char *buf, size_t size);

#endif /* LINVIDEO_TRAIN_CLIPS_CAPTION_H */
