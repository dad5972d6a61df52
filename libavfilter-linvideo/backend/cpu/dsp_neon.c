/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * ISA kernels for NEON, which every 64-bit ARM has: four lanes.
 */

#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "backend/cpu/dsp.h"

typedef float32x4_t V;
#define VL 4
#define LOAD(p) vld1q_f32(p)
#define STORE(p, v) vst1q_f32(p, v)
#define LOADN(p, k, fill) loadn(p, k, fill)
#define STOREN(p, v, k) storen(p, v, k)
#define SET1(a) vdupq_n_f32(a)
#define ADD(a, b) vaddq_f32(a, b)
#define SUB(a, b) vsubq_f32(a, b)
#define MUL(a, b) vmulq_f32(a, b)
#define DIV(a, b) vdivq_f32(a, b)
#define FMA(a, b, c) vfmaq_f32(c, a, b)
#define MAX(a, b) select_f32(vcgtq_f32(a, b), a, b)
#define MIN(a, b) select_f32(vcltq_f32(a, b), a, b)
#define SQRT(a) vsqrtq_f32(a)
#define ROUND(a) vrndnq_f32(a)
#define POW2(n)                                                                   \
    vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23))
#define LESS(a, b, x, y) select_f32(vcltq_f32(a, b), x, y)
#define PAIRS(v) vrev64q_f32(v)
#define EVENS(v) vtrn1q_f32(v, v)
#define ODDS(v) vtrn2q_f32(v, v)
#define SIGNS signs()
#define HSUM(v) vaddvq_f32(v)
#define HMAX(v) vmaxvq_f32(v)
#define HMIN(v) vminvq_f32(v)
#define FROM_BF16(p) widen(vld1_u16(p))
#define FROM_BF16N(p, k) widen(load16n(p, k))
#define TO_BF16(p, v) vst1_u16(p, narrow(v))
#define TO_BF16N(p, v, k) store16n(p, narrow(v), k)
#define HALF TO_BF16
#define HALFN TO_BF16N
#define TO_U8(p, v) store8n(p, v, VL)
#define TO_U8N(p, v, k) store8n(p, v, k)
#define DIFF_I32(c, d) vcvtq_f32_s32(vsubq_s32(vld1q_s32(c), vld1q_s32(d)))
#define DIFF_I32N(c, d, k) diff_i32n(c, d, k)
#define WEAVE(y, a, b) vst2_u16(y, ((uint16x4x2_t){ { vld1_u16(a), vld1_u16(b) } }))
#define TURN turn_block

static inline V select_f32(uint32x4_t mask, V a, V b)
{
    return vbslq_f32(mask, a, b);
}

static inline V signs(void)
{
    static const float s[VL] = { -1, 1, -1, 1 };

    return vld1q_f32(s);
}

static inline V loadn(const float *p, size_t k, float fill)
{
    float t[VL] = { fill, fill, fill, fill };

    memcpy(t, p, k * sizeof(*t));
    return vld1q_f32(t);
}

static inline void storen(float *p, V v, size_t k)
{
    float t[VL];

    vst1q_f32(t, v);
    memcpy(p, t, k * sizeof(*t));
}

static inline uint16x4_t load16n(const uint16_t *p, size_t k)
{
    uint16_t t[VL] = { 0 };

    memcpy(t, p, k * sizeof(*t));
    return vld1_u16(t);
}

static inline void store16n(uint16_t *p, uint16x4_t v, size_t k)
{
    uint16_t t[VL];

    vst1_u16(t, v);
    memcpy(p, t, k * sizeof(*t));
}

static inline void store8n(uint8_t *p, V v, size_t k)
{
    uint16x4_t h = vqmovun_s32(vcvtnq_s32_f32(v));
    uint8_t t[2 * VL];

    vst1_u8(t, vqmovn_u16(vcombine_u16(h, h)));
    memcpy(p, t, k);
}

static inline V diff_i32n(const int32_t *c, const int32_t *d, size_t k)
{
    int32_t t[VL] = { 0 }, u[VL] = { 0 };

    memcpy(t, c, k * sizeof(*t));
    memcpy(u, d, k * sizeof(*u));
    return DIFF_I32(t, u);
}

static inline V widen(uint16x4_t h)
{
    return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}

static inline uint16x4_t narrow(V v)
{
    uint32x4_t u = vreinterpretq_u32_f32(v);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    uint32x4_t even = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
    uint32x4_t nan = vorrq_u32(u, vdupq_n_u32(0x400000));

    return vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), even, nan), 16);
}

static inline void turn_block(uint32_t *y, size_t ly, const uint32_t *x, size_t lx)
{
    uint32x4_t a = vld1q_u32(x), b = vld1q_u32(x + lx);
    uint32x4_t c = vld1q_u32(x + 2 * lx), d = vld1q_u32(x + 3 * lx);
    uint64x2_t ab0 = vreinterpretq_u64_u32(vtrn1q_u32(a, b));
    uint64x2_t ab1 = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
    uint64x2_t cd0 = vreinterpretq_u64_u32(vtrn1q_u32(c, d));
    uint64x2_t cd1 = vreinterpretq_u64_u32(vtrn2q_u32(c, d));

    vst1q_u32(y,          vreinterpretq_u32_u64(vtrn1q_u64(ab0, cd0)));
    vst1q_u32(y + ly,     vreinterpretq_u32_u64(vtrn1q_u64(ab1, cd1)));
    vst1q_u32(y + 2 * ly, vreinterpretq_u32_u64(vtrn2q_u64(ab0, cd0)));
    vst1q_u32(y + 3 * ly, vreinterpretq_u32_u64(vtrn2q_u64(ab1, cd1)));
}

#include "backend/cpu/dsp_tmpl.h"

const LvDsp lv_dsp_neon = DSP_TABLE("NEON");
