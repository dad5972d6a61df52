/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Element types of tensors, in files and in memory.
 * Floor F1 (base): knows sizes and names, not values.
 */

#ifndef LINVIDEO_BASE_DTYPE_H
#define LINVIDEO_BASE_DTYPE_H

#include <stddef.h>

typedef enum LvDtype {
    LV_NONE, ///< no tensor (an optional one that is absent)
    LV_F32, LV_F64, LV_F16, LV_BF16,
    LV_I8, LV_I16, LV_I32, LV_I64,
    LV_U8, LV_U16, LV_U32, LV_U64,
    LV_BOOL, LV_F8_E4M3, LV_F8_E5M2,
    LV_Q4_0, LV_Q4_1, LV_Q5_0, LV_Q5_1, LV_Q8_0, ///< blocks of GGUF, see quant.h
    LV_Q2_K, LV_Q3_K, LV_Q4_K, LV_Q5_K, LV_Q6_K,
    LV_DTYPE_NB
} LvDtype;

/** Bytes of one element; 0 for LV_NONE and for blocks. */
size_t lv_dtype_size(LvDtype dtype);

/** Elements of one block: 32 or 256 for the types of GGUF, 1 for all others. */
size_t lv_dtype_block(LvDtype dtype);

/** Bytes of n elements, whole blocks; 0, or -1 when they are no whole blocks or the
 *  size overflows. */
int lv_dtype_bytes(size_t *bytes, LvDtype dtype, size_t n);

/** Name as safetensors spells it ("F32", "BF16"...), or GGUF ("Q4_K"); "none" for
 *  LV_NONE. */
const char *lv_dtype_name(LvDtype dtype);

/** Type by its safetensors name, LV_NONE when unknown; blocks have no such name. */
LvDtype lv_dtype_by_name(const char *name);

#endif /* LINVIDEO_BASE_DTYPE_H */
