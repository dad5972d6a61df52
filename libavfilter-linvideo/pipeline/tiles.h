/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Where tiles of a frame lie along an axis, and how they blend: each shares half of itself
 * with the next one, of which the quarters at both ends do not count.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_TILES_H
#define LINVIDEO_PIPELINE_TILES_H

#include <stddef.h>

/** All zero: none. */
typedef struct LvTiles {
    int nb, size;  ///< size in latents
    int *start;    ///< [nb], in latents
    float *weight; ///< [nb,pixels of a tile]: those of all tiles sum up to 1
} LvTiles;

/** Lay out tiles of `size` latents (2 or more; what is larger than n is n) over an axis of n,
 *  a latent being `scale` pixels. @return 0; -ENOMEM without a message. Freed with
 *  lv_tiles_free(), after an error too */
int lv_tiles_new(LvTiles *t, int n, int size, int scale);

void lv_tiles_free(LvTiles *t);

/** Bytes of weight. */
size_t lv_tiles_weight_bytes(const LvTiles *t, int scale);

/** Pixels at the front of tile i that the one before it has too. */
int lv_tiles_shared(const LvTiles *t, int i, int scale);

#endif /* LINVIDEO_PIPELINE_TILES_H */
