/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/convert.h"

#include <string.h>

#include "base/half.h"
#include "base/quant.h"

static uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

int lv_to_f32(float *dst, const void *src, LvDtype dtype, size_t n)
{
    const uint8_t *p = src;

    switch (dtype) {
    case LV_F32:
        memcpy(dst, p, n * sizeof(*dst));
        return 0;
    case LV_F64:
        for (size_t i = 0; i < n; i++) {
            double v;
            memcpy(&v, p + 8 * i, sizeof(v));
            dst[i] = (float)v;
        }
        return 0;
    case LV_F16:
        for (size_t i = 0; i < n; i++)
            dst[i] = lv_f16_f32(load16(p + 2 * i));
        return 0;
    case LV_BF16:
        for (size_t i = 0; i < n; i++)
            dst[i] = lv_bf16_f32(load16(p + 2 * i));
        return 0;
    case LV_F8_E4M3:
        for (size_t i = 0; i < n; i++)
            dst[i] = lv_e4m3_f32(p[i]);
        return 0;
    case LV_F8_E5M2:
        for (size_t i = 0; i < n; i++)
            dst[i] = lv_f16_f32((uint16_t)(p[i] << 8));
        return 0;
    case LV_I8:
        for (size_t i = 0; i < n; i++)
            dst[i] = (int8_t)p[i];
        return 0;
    default:
        return lv_block_decode(dst, src, dtype, n);
    }
}

/* Magnitudes from `limit` on are looked for in pieces, so that the inner loops have no
 * branch. */
enum { PIECE = 4096 };

static int has_beyond32(const uint8_t *p, uint32_t limit, size_t n)
{
    uint32_t found = 0, v;

    for (size_t i = 0; i < n; i++) {
        memcpy(&v, p + 4 * i, sizeof(v));
        found |= (v & 0x7FFFFFFF) >= limit;
    }
    return found != 0;
}

static int has_beyond16(const uint8_t *p, uint32_t limit, size_t n)
{
    uint16_t found = 0, most = (uint16_t)limit, v;

    for (size_t i = 0; i < n; i++) {
        memcpy(&v, p + 2 * i, sizeof(v));
        found |= (v & 0x7FFF) >= most;
    }
    return found != 0;
}

size_t lv_find_nonfinite(const void *src, LvDtype dtype, LvDtype as, size_t n)
{
    const uint8_t *p = src;
    size_t size = lv_dtype_size(dtype), end, i;
    int (*has)(const uint8_t *p, uint32_t limit, size_t n) = has_beyond32;
    uint32_t limit = as == LV_BF16 ? 0x7F7F8000 : 0x7F800000;

    if (dtype != LV_F32 && dtype != LV_F16 && dtype != LV_BF16)
        return n;
    if (dtype != LV_F32) {
        has   = has_beyond16;
        limit = dtype == LV_F16 ? 0x7C00 : 0x7F80;
    }
    for (i = 0; i < n && !has(p + i * size, limit, LV_MIN(PIECE, n - i)); i += PIECE)
        ;
    for (end = LV_MIN(n, i + PIECE); i < end && !has(p + i * size, limit, 1); i++)
        ;
    return LV_MIN(i, n);
}
