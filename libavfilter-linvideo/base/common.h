/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Codes, element types and small helpers that every floor uses.
 * Floor F1 (base): knows nothing of tensors, models or devices.
 */

#ifndef LINVIDEO_BASE_COMMON_H
#define LINVIDEO_BASE_COMMON_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

/** Negative code of a system error: LV_ERR(ENOMEM) is -ENOMEM. */
#define LV_ERR(e) (-(e))

/** Own codes; the same values as the public LINVIDEO_ ones (api/ checks it). */
enum {
    LV_EOF             = -0x4C560001,
    LV_ERR_MODEL       = -0x4C560002,
    LV_ERR_DEVICE      = -0x4C560003,
    LV_ERR_UNSUPPORTED = -0x4C560004,
    LV_ERR_CANCELLED   = -0x4C560005,
};

#define LV_MIN(a, b) ((a) < (b) ? (a) : (b))
#define LV_MAX(a, b) ((a) > (b) ? (a) : (b))
#define LV_CLAMP(x, lo, hi) LV_MIN(LV_MAX(x, lo), hi)
#define LV_COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))
/** x rounded up to a multiple of m. */
#define LV_ROUND_UP(x, m) (((x) + (m) - 1) / (m) * (m))

/** Bytes to which every slab and every tensor within one is aligned. */
#define LV_ALIGN 64

/** Element types of tensors, in files and in memory. */
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

/**
 * Read n elements of a float type (F32, F64, F16, BF16, F8), of I8, or n in whole blocks,
 * as f32.
 *
 * @param src need not be aligned
 * @return 0 or LV_ERR_UNSUPPORTED when dtype is none of them; says nothing
 */
int lv_to_f32(float *dst, const void *src, LvDtype dtype, size_t n);

/** LV_ALIGN-aligned memory, zeroed; NULL when there is none. lv_free() it. */
void *lv_alloc(size_t bytes);

/** Free what lv_alloc() gave; NULL is fine. */
void lv_free(void *p);

/** Free *p with lv_free() and set it to NULL. */
#define lv_freep(p) (lv_free(*(p)), *(p) = NULL)

/** a * b in *out; 0, or -1 on overflow. */
static inline int lv_mul(size_t *out, size_t a, size_t b)
{
    return __builtin_mul_overflow(a, b, out) ? -1 : 0;
}

/** Seconds of a steady clock. */
double lv_seconds(void);

#endif /* LINVIDEO_BASE_COMMON_H */
