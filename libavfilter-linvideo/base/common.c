/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/common.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/half.h"
#include "base/quant.h"

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
    [LV_Q4_0] = { "Q4_0", 0 }, [LV_Q4_1] = { "Q4_1", 0 },
    [LV_Q5_0] = { "Q5_0", 0 }, [LV_Q5_1] = { "Q5_1", 0 },
    [LV_Q8_0] = { "Q8_0", 0 }, [LV_Q2_K] = { "Q2_K", 0 },
    [LV_Q3_K] = { "Q3_K", 0 }, [LV_Q4_K] = { "Q4_K", 0 },
    [LV_Q5_K] = { "Q5_K", 0 }, [LV_Q6_K] = { "Q6_K", 0 },
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
        if (dtypes[i].size && !strcmp(dtypes[i].name, name))
            return (LvDtype)i;
    return LV_NONE;
}

size_t lv_dtype_block(LvDtype dtype)
{
    const LvBlock *b = lv_block(dtype);

    return b ? (size_t)b->elements : 1;
}

int lv_dtype_bytes(size_t *bytes, LvDtype dtype, size_t n)
{
    const LvBlock *b = lv_block(dtype);

    if (!b)
        return lv_mul(bytes, n, lv_dtype_size(dtype));
    return n % (size_t)b->elements ? -1 :
           lv_mul(bytes, n / (size_t)b->elements, (size_t)b->bytes);
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
