/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Codes and small helpers that every floor uses.
 * Floor F1 (base): knows nothing of tensors, models or devices.
 */

#ifndef LINVIDEO_BASE_COMMON_H
#define LINVIDEO_BASE_COMMON_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

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

/** LV_ALIGN-aligned memory, zeroed; NULL when there is none. lv_free() it. */
void *lv_alloc(size_t bytes);

/** Ask for huge pages in memory that is not there yet: it comes much faster then. Does
 *  nothing on systems without huge pages. */
void lv_huge_pages(void *p, size_t bytes);

/** Free what lv_alloc() gave; NULL is fine. */
void lv_free(void *p);

/** Free *p with lv_free() and set it to NULL. */
#define lv_freep(p) (lv_free(*(p)), *(p) = NULL)

/** a * b in *out; 0, or -1 on overflow. */
static inline int lv_mul(size_t *out, size_t a, size_t b)
{
    return __builtin_mul_overflow(a, b, out) ? -1 : 0;
}

/** Greatest common divisor of numbers from 0 on, one of them above it. */
static inline int64_t lv_gcd(int64_t a, int64_t b)
{
    return b ? lv_gcd(b, a % b) : a;
}

/** Cores that this process may use, at least 1. */
int lv_cores(void);

/** Seconds of a steady clock. */
double lv_seconds(void);

#endif /* LINVIDEO_BASE_COMMON_H */
