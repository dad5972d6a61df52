/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * One element of a block of GGUF: lv_TYPE_at(block, e) is element e of it, the same bits on the
 * CPU and in kernels, which read this file too.
 * Floor F1 (base): knows the layout of blocks, not of files.
 *
 * Layouts and formulas: as ggml defines its types.
 */

#ifndef LINVIDEO_BASE_BLOCKS_H
#define LINVIDEO_BASE_BLOCKS_H

#include <stdint.h>

#include "base/half.h"

/* Products and sums are rounded apart: no fused multiply-add. */
#if defined(__CUDA_ARCH__)
#define LV_TIMES(a, b) __fmul_rn(a, b)
#define LV_PLUS(a, b)  __fadd_rn(a, b)
#else
#define LV_TIMES(a, b) ((a) * (b))
#define LV_PLUS(a, b)  ((a) + (b))
#endif

LV_BOTH float lv_half_at(const uint8_t *p)
{
    return lv_f16_f32((uint16_t)(p[0] | p[1] << 8));
}

/* Blocks of 32: element e < 16 in the low half of byte e, e + 16 in the high one. */

LV_BOTH int lv_nibble_at(const uint8_t *q, int e)
{
    return e < 16 ? q[e] & 15 : q[e - 16] >> 4;
}

LV_BOTH int lv_fifth_at(const uint8_t *h, int e)
{
    return (h[e / 8] >> e % 8 & 1) << 4;
}

LV_BOTH float lv_q4_0_at(const uint8_t *p, int e)
{
    return LV_TIMES(lv_half_at(p), (float)(lv_nibble_at(p + 2, e) - 8));
}

LV_BOTH float lv_q4_1_at(const uint8_t *p, int e)
{
    return LV_PLUS(LV_TIMES(lv_half_at(p), (float)lv_nibble_at(p + 4, e)), lv_half_at(p + 2));
}

LV_BOTH float lv_q5_0_at(const uint8_t *p, int e)
{
    int n = lv_nibble_at(p + 6, e) + lv_fifth_at(p + 2, e) - 16;

    return LV_TIMES(lv_half_at(p), (float)n);
}

LV_BOTH float lv_q5_1_at(const uint8_t *p, int e)
{
    int n = lv_nibble_at(p + 8, e) + lv_fifth_at(p + 4, e);

    return LV_PLUS(LV_TIMES(lv_half_at(p), (float)n), lv_half_at(p + 2));
}

LV_BOTH float lv_q8_0_at(const uint8_t *p, int e)
{
    return LV_TIMES(lv_half_at(p), (float)(int8_t)p[2 + e]);
}

/* Blocks of 256. */

/* Two bits of element e: four of them share a byte, 32 elements apart. */
LV_BOTH int lv_pair_at(const uint8_t *q, int e)
{
    return q[e / 128 * 32 + e % 32] >> 2 * (e % 128 / 32) & 3;
}

LV_BOTH float lv_q2_k_at(const uint8_t *p, int e)
{
    float d = lv_half_at(p + 80), dmin = lv_half_at(p + 82);
    int s   = p[e / 16];

    return LV_PLUS(LV_TIMES(d, (float)((s & 15) * lv_pair_at(p + 16, e))),
                   -LV_TIMES(dmin, (float)(s >> 4)));
}

LV_BOTH int lv_q3_scale(const uint8_t *s, int i)
{
    int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;

    return (low | (s[8 + i % 4] >> 2 * (i / 4) & 3) << 4) - 32;
}

LV_BOTH float lv_q3_k_at(const uint8_t *p, int e)
{
    int top = p[e % 32] >> e / 32 & 1;
    int n   = lv_pair_at(p + 32, e) - (top ? 0 : 4);

    return LV_TIMES(lv_half_at(p + 108), (float)(lv_q3_scale(p + 96, e / 16) * n));
}

/* Six-bit scale of 32 elements of Q4_K and Q5_K, and their minimum. */
LV_BOTH int lv_k_scale(const uint8_t *s, int i)
{
    return i < 4 ? s[i] & 63 : (s[i + 4] & 15) | (s[i - 4] >> 6) << 4;
}

LV_BOTH int lv_k_min(const uint8_t *s, int i)
{
    return i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | (s[i] >> 6) << 4;
}

/** What 32 elements share: the value of one is its number times `size`, less `less`. */
typedef struct LvStep {
    float size, less;
} LvStep;

LV_BOTH LvStep lv_k_step(const uint8_t *p, int i)
{
    LvStep step;

    step.size = LV_TIMES(lv_half_at(p), (float)lv_k_scale(p + 4, i));
    step.less = LV_TIMES(lv_half_at(p + 2), (float)lv_k_min(p + 4, i));
    return step;
}

LV_BOTH float lv_step_value(LvStep step, int n)
{
    return LV_PLUS(LV_TIMES(step.size, (float)n), -step.less);
}

LV_BOTH int lv_q4_k_number(const uint8_t *p, int e)
{
    return p[16 + e / 64 * 32 + e % 32] >> 4 * (e / 32 % 2) & 15;
}

LV_BOTH int lv_q5_k_number(const uint8_t *p, int e)
{
    int low = p[48 + e / 64 * 32 + e % 32] >> 4 * (e / 32 % 2) & 15;

    return low | (p[16 + e % 32] >> e / 32 & 1) << 4;
}

LV_BOTH float lv_q4_k_at(const uint8_t *p, int e)
{
    return lv_step_value(lv_k_step(p, e / 32), lv_q4_k_number(p, e));
}

LV_BOTH float lv_q5_k_at(const uint8_t *p, int e)
{
    return lv_step_value(lv_k_step(p, e / 32), lv_q5_k_number(p, e));
}

LV_BOTH float lv_q6_k_at(const uint8_t *p, int e)
{
    int half = e / 128, r = e % 128 / 32, l = e % 32;
    int low  = p[64 * half + l + 32 * (r % 2)] >> (r < 2 ? 0 : 4) & 15;
    int n    = (low | lv_pair_at(p + 128, e) << 4) - 32;

    return LV_TIMES(LV_TIMES(lv_half_at(p + 208), (float)(int8_t)p[192 + e / 16]), (float)n);
}

#endif /* LINVIDEO_BASE_BLOCKS_H */
