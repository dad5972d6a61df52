/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/convert.h"

#include <string.h>

#include "base/half.h"
#include "base/quant.h"

/* n elements of a type, one after the other, as f32. */
#define READ_EACH(type, value)                                                            \
    for (size_t i = 0; i < n; i++) {                                                      \
        type v;                                                                           \
        memcpy(&v, p + sizeof(v) * i, sizeof(v));                                         \
        dst[i] = (float)(value);                                                          \
    }                                                                                     \
    return 0

int lv_to_f32(float *dst, const void *src, LvDtype dtype, size_t n)
{
    const uint8_t *p = src;

    switch (dtype) {
    case LV_F32:
        memcpy(dst, p, n * sizeof(*dst));
        return 0;
    case LV_F64:     READ_EACH(double, v);
    case LV_F16:     READ_EACH(uint16_t, lv_f16_f32(v));
    case LV_BF16:    READ_EACH(uint16_t, lv_bf16_f32(v));
    case LV_F8_E4M3: READ_EACH(uint8_t, lv_e4m3_f32(v));
    case LV_F8_E5M2: READ_EACH(uint8_t, lv_f16_f32((uint16_t)(v << 8)));
    case LV_I8:      READ_EACH(int8_t, v);
    case LV_I16:     READ_EACH(int16_t, v);
    case LV_I32:     READ_EACH(int32_t, v);
    case LV_I64:     READ_EACH(int64_t, v);
    case LV_U8:      READ_EACH(uint8_t, v);
    case LV_U16:     READ_EACH(uint16_t, v);
    case LV_U32:     READ_EACH(uint32_t, v);
    case LV_U64:     READ_EACH(uint64_t, v);
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
