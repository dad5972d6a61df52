/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * ISA kernels for AVX-512 (F, BW, VL, DQ): sixteen lanes, masked ends. HALF takes BF16 too,
 * which a device with bf16 matmuls has.
 */

#include <immintrin.h>
#include <math.h>

#include "backend/cpu/dsp.h"

typedef __m512 V;
#define VL 16
#define MASK(k) ((__mmask16)((1u << (k)) - 1))
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define LOADN(p, k, fill) _mm512_mask_loadu_ps(_mm512_set1_ps(fill), MASK(k), p)
#define STOREN(p, v, k) _mm512_mask_storeu_ps(p, MASK(k), v)
#define SET1(a) _mm512_set1_ps(a)
#define ADD(a, b) _mm512_add_ps(a, b)
#define SUB(a, b) _mm512_sub_ps(a, b)
#define MUL(a, b) _mm512_mul_ps(a, b)
#define DIV(a, b) _mm512_div_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define MAX(a, b) _mm512_max_ps(a, b)
#define MIN(a, b) _mm512_min_ps(a, b)
#define SQRT(a) _mm512_sqrt_ps(a)
#define ROUND(a) _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define POW2(n) _mm512_scalef_ps(_mm512_set1_ps(1), n)
#define LESS(a, b, x, y) _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x)
#define PAIRS(v) _mm512_permute_ps(v, 0xB1)
#define EVENS(v) _mm512_moveldup_ps(v)
#define ODDS(v) _mm512_movehdup_ps(v)
#define SIGNS                                                                     \
    _mm512_setr_ps(-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1)
#define HSUM(v) _mm512_reduce_add_ps(v)
#define HMAX(v) _mm512_reduce_max_ps(v)
#define HMIN(v) _mm512_reduce_min_ps(v)
#define FROM_BF16(p) widen(_mm256_loadu_si256((const __m256i *)(p)))
#define FROM_BF16N(p, k) widen(_mm256_maskz_loadu_epi16(MASK(k), p))
#define TO_BF16(p, v) _mm256_storeu_si256((__m256i *)(p), narrow(v))
#define HALF(p, v) _mm256_storeu_si256((__m256i *)(p), (__m256i)_mm512_cvtneps_pbh(v))
#define HALFN(p, v, k)                                                            \
    _mm256_mask_storeu_epi16(p, MASK(k), (__m256i)_mm512_cvtneps_pbh(v))
#define TO_U8(p, v)                                                               \
    _mm_storeu_si128((__m128i *)(p), _mm512_cvtusepi32_epi8(_mm512_cvtps_epu32(v)))
#define TO_U8N(p, v, k)                                                           \
    _mm512_mask_cvtusepi32_storeu_epi8(p, MASK(k), _mm512_cvtps_epu32(v))
#define DIFF_I32(c, d)                                                            \
    _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(c), _mm512_loadu_si512(d)))
#define DIFF_I32N(c, d, k)                                                        \
    _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_maskz_loadu_epi32(MASK(k), c),      \
                                        _mm512_maskz_loadu_epi32(MASK(k), d)))
#define WEAVE(y, a, b)                                                            \
    _mm512_storeu_si512(y, _mm512_or_si512(wide(a), _mm512_slli_epi32(wide(b), 16)))
#define TURN turn_block
#define TO_BF16N(p, v, k) _mm256_mask_storeu_epi16(p, MASK(k), narrow(v))

static inline __m512i wide(const uint16_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p)));
}

static inline V widen(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

static inline __m256i narrow(V v)
{
    __m512i u = _mm512_castps_si512(v), odd, even, quiet;
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);

    odd   = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    even  = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    u     = _mm512_mask_blend_epi32(nan, even, quiet);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(u, 16));
}

/* Rows of 4 x 4 blocks: r[4 g + c] holds column 4 l + c of rows 4 g to 4 g + 3 in its
 * 128-bit lane l. */
static inline void turn_quads(V r[VL], const float *x, size_t lx)
{
    for (int g = 0; g < VL; g += 4, x += 4 * lx) {
        V a = LOAD(x), b = LOAD(x + lx), c = LOAD(x + 2 * lx), d = LOAD(x + 3 * lx);
        V lo = _mm512_unpacklo_ps(a, b), hi = _mm512_unpackhi_ps(a, b);
        V lo2 = _mm512_unpacklo_ps(c, d), hi2 = _mm512_unpackhi_ps(c, d);
        r[g]     = _mm512_shuffle_ps(lo, lo2, 0x44);
        r[g + 1] = _mm512_shuffle_ps(lo, lo2, 0xEE);
        r[g + 2] = _mm512_shuffle_ps(hi, hi2, 0x44);
        r[g + 3] = _mm512_shuffle_ps(hi, hi2, 0xEE);
    }
}

static inline void turn_block(uint32_t *y, size_t ly, const uint32_t *x, size_t lx)
{
    V r[VL];

    turn_quads(r, (const float *)x, lx);
    for (int i = 0; i < 4; i++) {
        V a = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
        V b = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xDD);
        V c = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
        V d = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xDD);
        STORE((float *)y + (size_t)i * ly, _mm512_shuffle_f32x4(a, c, 0x88));
        STORE((float *)y + (size_t)(4 + i) * ly, _mm512_shuffle_f32x4(b, d, 0x88));
        STORE((float *)y + (size_t)(8 + i) * ly, _mm512_shuffle_f32x4(a, c, 0xDD));
        STORE((float *)y + (size_t)(12 + i) * ly, _mm512_shuffle_f32x4(b, d, 0xDD));
    }
}

#include "backend/cpu/dsp_tmpl.h"

const LvDsp lv_dsp_avx512 = DSP_TABLE("AVX-512");
