/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/common.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/half.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[LV_DTYPE_NB] = {
    [LV_NONE] = { "none", 0 },
    [LV_F32]  = { "F32", 4 },  [LV_F64]  = { "F64", 8 },
    [LV_F16]  = { "F16", 2 },  [LV_BF16] = { "BF16", 2 },
    [LV_I8]   = { "I8", 1 },   [LV_I16]  = { "I16", 2 },
    [LV_I32]  = { "I32", 4 },  [LV_I64]  = { "I64", 8 },
    [LV_U8]   = { "U8", 1 },   [LV_U16]  = { "U16", 2 },
    [LV_U32]  = { "U32", 4 },  [LV_U64]  = { "U64", 8 },
    [LV_BOOL] = { "BOOL", 1 },
    [LV_F8_E4M3] = { "F8_E4M3", 1 }, [LV_F8_E5M2] = { "F8_E5M2", 1 },
};

size_t lv_dtype_size(LvDtype dtype)
{
    return dtypes[dtype].size;
}

const char *lv_dtype_name(LvDtype dtype)
{
    return dtypes[dtype].name;
}

LvDtype lv_dtype_by_name(const char *name)
{
    for (int i = LV_NONE + 1; i < LV_DTYPE_NB; i++)
        if (!strcmp(dtypes[i].name, name))
            return (LvDtype)i;
    return LV_NONE;
}

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
    default:
        return LV_ERR_UNSUPPORTED;
    }
}

void *lv_alloc(size_t bytes)
{
    void *p;

    if (bytes > SIZE_MAX - LV_ALIGN)
        return NULL;
    bytes = LV_ROUND_UP(LV_MAX(bytes, 1), LV_ALIGN);
    p     = aligned_alloc(LV_ALIGN, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

void lv_free(void *p)
{
    free(p);
}

double lv_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
