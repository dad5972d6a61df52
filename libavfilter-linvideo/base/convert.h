/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Elements of any type as f32, and those that are no finite numbers.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_CONVERT_H
#define LINVIDEO_BASE_CONVERT_H

#include "base/common.h"

/**
 * Read n elements of a float type (F32, F64, F16, BF16, F8), of integers, or n in whole
 * blocks, as f32.
 *
 * @param src need not be aligned
 * @return 0 or LV_ERR_UNSUPPORTED when dtype is none of them; says nothing
 */
int lv_to_f32(float *dst, const void *src, LvDtype dtype, size_t n);

/**
 * Index of the first of n elements that is NaN or infinite, or, with `as` LV_BF16, would
 * be once it is rounded to bf16; n when there is none.
 *
 * @param dtype F32, F16, BF16 or F8_E4M3; for all others the answer is n
 * @param src   need not be aligned
 */
size_t lv_find_nonfinite(const void *src, LvDtype dtype, LvDtype as, size_t n);

/** dst[i] = lv_f32_e4m3(src[i] by), many at a time. */
void lv_to_e4m3(uint8_t *dst, const float *src, float by, size_t n);

#endif /* LINVIDEO_BASE_CONVERT_H */
