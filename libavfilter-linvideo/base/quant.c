/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/quant.h"

#include <math.h>
#include <string.h>

#include "base/blocks.h"
#include "base/half.h"

enum { SMALL = 32, LARGE = 256 };

static void put_half(uint8_t *p, float f)
{
    uint16_t h = lv_f32_f16(f);

    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* Reading */

#define DECODE(type, elements)                                                      \
    static void decode_##type(float *restrict x, const uint8_t *restrict p)         \
    {                                                                               \
        for (int e = 0; e < elements; e++)                                          \
            x[e] = lv_##type##_at(p, e);                                            \
    }

/* What 32 elements share is made once. */
#define DECODE_K(type)                                                              \
    static void decode_##type(float *restrict x, const uint8_t *restrict p)         \
    {                                                                               \
        for (int i = 0; i < LARGE; i += 32) {                                       \
            const LvStep step = lv_k_step(p, i / 32);                               \
            for (int e = i; e < i + 32; e++)                                        \
                x[e] = lv_step_value(step, lv_##type##_number(p, e));               \
        }                                                                           \
    }

DECODE(q4_0, SMALL) DECODE(q4_1, SMALL) DECODE(q5_0, SMALL) DECODE(q5_1, SMALL)
DECODE(q8_0, SMALL) DECODE(q2_k, LARGE) DECODE(q3_k, LARGE) DECODE_K(q4_k) DECODE_K(q5_k)
DECODE(q6_k, LARGE)

/* Writing */

static int nearest(float x, float step, int low, int high)
{
    long n = step != 0 ? lrintf(x / step) : 0;

    return (int)LV_CLAMP(n, low, high);
}

static float largest(const float *x, int n)
{
    float top = 0;

    for (int i = 0; i < n; i++)
        top = fmaxf(top, fabsf(x[i]));
    return top;
}

static void encode_q8_0(uint8_t *p, const float *x)
{
    float d;

    put_half(p, largest(x, SMALL) / 127);
    d = lv_half_at(p);
    for (int i = 0; i < SMALL; i++)
        p[2 + i] = (uint8_t)nearest(x[i], d, -127, 127);
}

static float lowest(const float *x, int n)
{
    float low = 0;

    for (int i = 0; i < n; i++)
        low = fminf(low, x[i]);
    return low;
}

static float highest(const float *x, int n)
{
    float high = 0;

    for (int i = 0; i < n; i++)
        high = fmaxf(high, x[i]);
    return high;
}

static void put_scale_min(uint8_t *s, int i, int scale, int min)
{
    if (i < 4) {
        s[i]     |= (uint8_t)scale;
        s[i + 4] |= (uint8_t)min;
    } else {
        s[i + 4] |= (uint8_t)((scale & 15) | (min & 15) << 4);
        s[i - 4] |= (uint8_t)(scale >> 4 << 6);
        s[i]     |= (uint8_t)(min >> 4 << 6);
    }
}

static int rounded_up(float x, float step)
{
    return step != 0 ? (int)LV_MIN(ceilf(x / step), 63) : 0;
}

static void encode_q4_k(uint8_t *p, const float *x)
{
    float step[8], depth[8], d, dmin;
    int min[8];

    memset(p, 0, 144);
    for (int i = 0; i < 8; i++)
        depth[i] = -lowest(x + 32 * i, 32);
    put_half(p + 2, largest(depth, 8) / 63);
    dmin = lv_half_at(p + 2);
    for (int i = 0; i < 8; i++) {
        min[i]  = rounded_up(depth[i], dmin);
        step[i] = (highest(x + 32 * i, 32) + dmin * (float)min[i]) / 15;
    }
    put_half(p, largest(step, 8) / 63);
    d = lv_half_at(p);
    for (int i = 0; i < 8; i++) {
        int scale = rounded_up(step[i], d);

        put_scale_min(p + 4, i, scale, min[i]);
        for (int l = 0; l < 32; l++) {
            float up = x[32 * i + l] + dmin * (float)min[i];
            int n    = nearest(up, d * (float)scale, 0, 15);
            p[16 + 32 * (i / 2) + l] |= (uint8_t)(n << 4 * (i % 2));
        }
    }
}

static void put_q6(uint8_t *p, int e, int n)
{
    int half = e / 128, r = e % 128 / 32, l = e % 32;

    p[64 * half + l + 32 * (r % 2)] |= (uint8_t)((n & 15) << (r < 2 ? 0 : 4));
    p[128 + 32 * half + l]          |= (uint8_t)(n >> 4 << 2 * r);
}

static void encode_q6_k(uint8_t *p, const float *x)
{
    float step[16], d;

    memset(p, 0, 210);
    for (int i = 0; i < 16; i++)
        step[i] = largest(x + 16 * i, 16) / 31;
    put_half(p + 208, largest(step, 16) / 127);
    d = lv_half_at(p + 208);
    for (int i = 0; i < 16; i++) {
        int scale = d != 0 ? (int)LV_MIN(ceilf(step[i] / d), 127) : 0;

        p[192 + i] = (uint8_t)scale;
        for (int l = 0; l < 16; l++)
            put_q6(p, 16 * i + l,
                   nearest(x[16 * i + l], d * (float)scale, -32, 31) + 32);
    }
}

/* The types */

static const LvBlock blocks[] = {
    { LV_Q4_0, decode_q4_0, NULL, 1, { 0 } },
    { LV_Q4_1, decode_q4_1, NULL, 2, { 0, 2 } },
    { LV_Q5_0, decode_q5_0, NULL, 1, { 0 } },
    { LV_Q5_1, decode_q5_1, NULL, 2, { 0, 2 } },
    { LV_Q8_0, decode_q8_0, encode_q8_0, 1, { 0 } },
    { LV_Q2_K, decode_q2_k, NULL, 2, { 80, 82 } },
    { LV_Q3_K, decode_q3_k, NULL, 1, { 108 } },
    { LV_Q4_K, decode_q4_k, encode_q4_k, 2, { 0, 2 } },
    { LV_Q5_K, decode_q5_k, NULL, 2, { 0, 2 } },
    { LV_Q6_K, decode_q6_k, encode_q6_k, 1, { 208 } },
};

const LvBlock *lv_block(LvDtype dtype)
{
    for (int i = 0; i < LV_COUNT(blocks); i++)
        if (blocks[i].dtype == dtype)
            return &blocks[i];
    return NULL;
}

int lv_block_decode(float *dst, const void *src, LvDtype dtype, size_t n)
{
    const LvBlock *b = lv_block(dtype);
    const uint8_t *p = src;
    size_t step = lv_dtype_block(dtype), bytes;

    if (!b || lv_dtype_bytes(&bytes, dtype, step) < 0 || n % step)
        return LV_ERR_UNSUPPORTED;
    for (size_t i = 0; i < n; i += step, p += bytes)
        b->decode(dst + i, p);
    return 0;
}

static int is_finite(const LvBlock *b, const uint8_t *p)
{
    for (int i = 0; i < b->halves; i++)
        if (!isfinite(lv_half_at(p + b->half[i])))
            return 0;
    return 1;
}

size_t lv_block_find_nonfinite(const void *src, LvDtype dtype, size_t n)
{
    const LvBlock *b = lv_block(dtype);
    const uint8_t *p = src;
    size_t step = lv_dtype_block(dtype), bytes = 0, i;

    lv_dtype_bytes(&bytes, dtype, step);
    for (i = 0; b && i < n && is_finite(b, p); i += step)
        p += bytes;
    return LV_MIN(i, n);
}

int lv_block_encode(void *dst, const float *src, LvDtype dtype, size_t n)
{
    const LvBlock *b = lv_block(dtype);
    uint8_t *p = dst;
    size_t step = lv_dtype_block(dtype), bytes;

    if (!b || !b->encode || lv_dtype_bytes(&bytes, dtype, step) < 0 || n % step)
        return LV_ERR_UNSUPPORTED;
    for (size_t i = 0; i < n; i += step, p += bytes)
        b->encode(p, src + i);
    return 0;
}
