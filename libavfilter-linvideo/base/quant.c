/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/quant.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

enum { SMALL = 32, LARGE = 256 };

static uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static float half_at(const uint8_t *p)
{
    return lv_f16_f32(load16(p));
}

static void put_half(uint8_t *p, float f)
{
    uint16_t h = lv_f32_f16(f);

    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* Blocks of 32: element i < 16 in the low half of byte i, i + 16 in the high one. */

static int nibble(const uint8_t *q, int i)
{
    return i < 16 ? q[i] & 15 : q[i - 16] >> 4;
}

static int fifth(const uint8_t *h, int i)
{
    return (h[i / 8] >> i % 8 & 1) << 4;
}

static void decode_q4_0(float *x, const uint8_t *p)
{
    float d = half_at(p);

    for (int i = 0; i < SMALL; i++)
        x[i] = d * (float)(nibble(p + 2, i) - 8);
}

static void decode_q4_1(float *x, const uint8_t *p)
{
    float d = half_at(p), m = half_at(p + 2);

    for (int i = 0; i < SMALL; i++)
        x[i] = d * (float)nibble(p + 4, i) + m;
}

static void decode_q5_0(float *x, const uint8_t *p)
{
    float d = half_at(p);

    for (int i = 0; i < SMALL; i++)
        x[i] = d * (float)(nibble(p + 6, i) + fifth(p + 2, i) - 16);
}

static void decode_q5_1(float *x, const uint8_t *p)
{
    float d = half_at(p), m = half_at(p + 2);

    for (int i = 0; i < SMALL; i++)
        x[i] = d * (float)(nibble(p + 8, i) + fifth(p + 4, i)) + m;
}

static void decode_q8_0(float *x, const uint8_t *p)
{
    float d = half_at(p);

    for (int i = 0; i < SMALL; i++)
        x[i] = d * (float)(int8_t)p[2 + i];
}

/* Blocks of 256. */

/* Two bits of element e: four of them share a byte, 32 elements apart. */
static int pair_of(const uint8_t *q, int e)
{
    return q[e / 128 * 32 + e % 32] >> 2 * (e % 128 / 32) & 3;
}

static void decode_q2_k(float *x, const uint8_t *p)
{
    const uint8_t *s = p, *q = p + 16;
    float d = half_at(p + 80), dmin = half_at(p + 82);

    for (int e = 0; e < LARGE; e++)
        x[e] = d * (float)((s[e / 16] & 15) * pair_of(q, e)) -
               dmin * (float)(s[e / 16] >> 4);
}

static int q3_scale(const uint8_t *s, int i)
{
    int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;

    return (low | (s[8 + i % 4] >> 2 * (i / 4) & 3) << 4) - 32;
}

static void decode_q3_k(float *x, const uint8_t *p)
{
    const uint8_t *h = p, *q = p + 32, *s = p + 96;
    float d = half_at(p + 108);

    for (int e = 0; e < LARGE; e++) {
        int top = h[e % 32] >> e / 32 & 1;
        x[e] = d * (float)(q3_scale(s, e / 16) * (pair_of(q, e) - (top ? 0 : 4)));
    }
}

/* Six-bit scale and minimum of sub-block i of Q4_K and Q5_K. */
static void scale_min(const uint8_t *s, int i, int *scale, int *min)
{
    if (i < 4) {
        *scale = s[i] & 63;
        *min   = s[i + 4] & 63;
    } else {
        *scale = (s[i + 4] & 15) | (s[i - 4] >> 6) << 4;
        *min   = s[i + 4] >> 4 | (s[i] >> 6) << 4;
    }
}

/* h: the fifth bits; NULL in Q4_K. */
static void decode_k(float *x, const uint8_t *p, const uint8_t *h, const uint8_t *q)
{
    float d = half_at(p), dmin = half_at(p + 2);

    for (int i = 0; i < 8; i++) {
        int scale, min;
        float a, b;

        scale_min(p + 4, i, &scale, &min);
        a = d * (float)scale;
        b = dmin * (float)min;
        for (int l = 0; l < 32; l++) {
            int n = q[32 * (i / 2) + l] >> 4 * (i % 2) & 15;
            n += h ? (h[l] >> i & 1) << 4 : 0;
            x[32 * i + l] = a * (float)n - b;
        }
    }
}

static void decode_q4_k(float *x, const uint8_t *p)
{
    decode_k(x, p, NULL, p + 16);
}

static void decode_q5_k(float *x, const uint8_t *p)
{
    decode_k(x, p, p + 16, p + 48);
}

static void decode_q6_k(float *x, const uint8_t *p)
{
    const uint8_t *ql = p, *qh = p + 128;
    const int8_t *s   = (const int8_t *)p + 192;
    float d = half_at(p + 208);

    for (int e = 0; e < LARGE; e++) {
        int half = e / 128, r = e % 128 / 32, l = e % 32;
        int low  = ql[64 * half + l + 32 * (r % 2)] >> (r < 2 ? 0 : 4) & 15;
        int n    = (low | pair_of(qh, e) << 4) - 32;
        x[e] = d * (float)s[e / 16] * (float)n;
    }
}

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
    d = half_at(p);
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
    dmin = half_at(p + 2);
    for (int i = 0; i < 8; i++) {
        min[i]  = rounded_up(depth[i], dmin);
        step[i] = (highest(x + 32 * i, 32) + dmin * (float)min[i]) / 15;
    }
    put_half(p, largest(step, 8) / 63);
    d = half_at(p);
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
    d = half_at(p + 208);
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
    { LV_Q4_0, decode_q4_0, NULL },
    { LV_Q4_1, decode_q4_1, NULL },
    { LV_Q5_0, decode_q5_0, NULL },
    { LV_Q5_1, decode_q5_1, NULL },
    { LV_Q8_0, decode_q8_0, encode_q8_0 },
    { LV_Q2_K, decode_q2_k, NULL },
    { LV_Q3_K, decode_q3_k, NULL },
    { LV_Q4_K, decode_q4_k, encode_q4_k },
    { LV_Q5_K, decode_q5_k, NULL },
    { LV_Q6_K, decode_q6_k, encode_q6_k },
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
