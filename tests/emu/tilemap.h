/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the emulated driver writes into a map of a tensor, in place of the real one's.
 */

#ifndef LINVIDEO_TESTS_EMU_TILEMAP_H
#define LINVIDEO_TESTS_EMU_TILEMAP_H

#include <stdint.h>

#define EMU_TILE_MAP 0x5469E3A9C0FFEEULL

/** Three or four dimensions of bf16 or bytes, boxes of 128 bytes of the first; strides in
 *  bytes. */
typedef struct EmuTileMap {
    uint64_t magic;
    void *data;
    int rank, size; ///< size: bytes of an element
    int64_t dim[4], stride[3];
    int box[4];
} EmuTileMap;

#endif /* LINVIDEO_TESTS_EMU_TILEMAP_H */
