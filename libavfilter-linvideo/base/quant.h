/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Quantised blocks of GGUF: a few values that share a scale, some of them a minimum.
 * Floor F1 (base): knows the layout of blocks, not of files.
 *
 * Layouts and formulas: as ggml defines its types.
 */

#ifndef LINVIDEO_BASE_QUANT_H
#define LINVIDEO_BASE_QUANT_H

#include "base/common.h"

/** A type of block. */
typedef struct LvBlock {
    LvDtype dtype; ///< says how many elements and bytes
    void (*decode)(float *dst, const uint8_t *src);
    void (*encode)(uint8_t *dst, const float *src); ///< NULL: is only read
    int halves, half[2]; ///< f16 numbers in it, and where; all else is whole numbers
} LvBlock;

/** Row of the table for dtype; NULL when its elements stand alone. */
const LvBlock *lv_block(LvDtype dtype);

/** Read n elements, whole blocks, as f32. 0, or LV_ERR_UNSUPPORTED when dtype is no
 *  block or n is not whole; says nothing. */
int lv_block_decode(float *dst, const void *src, LvDtype dtype, size_t n);

/** The first of n elements, whole blocks, whose block holds a number that is not finite; n: none
 *  does. */
size_t lv_block_find_nonfinite(const void *src, LvDtype dtype, size_t n);

/** Write n elements, whole blocks, of finite values (Q8_0, Q4_K, Q6_K): each value comes
 *  back within about half a step of its block. As lv_block_decode(). */
int lv_block_encode(void *dst, const float *src, LvDtype dtype, size_t n);

#endif /* LINVIDEO_BASE_QUANT_H */
