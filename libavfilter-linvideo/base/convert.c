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
