/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * ISA kernels for AVX2 with FMA: eight lanes. Compiled with -mavx2 -mfma.
 */

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "backend/cpu/dsp.h"

typedef __m256 V;
#define VL 8
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define LOADN(p, k, fill) loadn(p, k, fill)
#define STOREN(p, v, k) storen(p, v, k)
#define SET1(a) _mm256_set1_ps(a)
#define ADD(a, b) _mm256_add_ps(a, b)
#define SUB(a, b) _mm256_sub_ps(a, b)
#define MUL(a, b) _mm256_mul_ps(a, b)
#define DIV(a, b) _mm256_div_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define MAX(a, b) _mm256_max_ps(a, b)
#define MIN(a, b) _mm256_min_ps(a, b)
#define SQRT(a) _mm256_sqrt_ps(a)
#define ROUND(a) _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define POW2(n)                                                                   \
    _mm256_castsi256_ps(_mm256_slli_epi32(                                        \
        _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23))
#define LESS(a, b, x, y) _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ))
#define PAIRS(v) _mm256_permute_ps(v, 0xB1)
#define EVENS(v) _mm256_moveldup_ps(v)
#define ODDS(v) _mm256_movehdup_ps(v)
#define SIGNS _mm256_setr_ps(-1, 1, -1, 1, -1, 1, -1, 1)
#define HSUM(v) fold(v, add2)
#define HMAX(v) fold(v, max2)
#define HMIN(v) fold(v, min2)
#define FROM_BF16(p) widen(_mm_loadu_si128((const __m128i *)(p)))
#define FROM_BF16N(p, k) widen(load16n(p, k))
#define TO_BF16(p, v) _mm_storeu_si128((__m128i *)(p), narrow(v))
#define HALF TO_BF16
#define HALFN TO_BF16N
#define TO_U8(p, v) store8n(p, v, VL)
#define TO_U8N(p, v, k) store8n(p, v, k)
#define DIFF_I32(c, d)                                                            \
    _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_loadu_si256((const __m256i *)(c)),  \
                                        _mm256_loadu_si256((const __m256i *)(d))))
#define DIFF_I32N(c, d, k) diff_i32n(c, d, k)
#define WEAVE(y, a, b)                                                            \
    _mm256_storeu_si256((__m256i *)(y),                                           \
                        _mm256_or_si256(wide(a), _mm256_slli_epi32(wide(b), 16)))
#define TURN turn_block
#define TO_BF16N(p, v, k) store16n(p, narrow(v), k)

static inline V loadn(const float *p, size_t k, float fill)
{
    float t[VL] = { fill, fill, fill, fill, fill, fill, fill, fill };

    memcpy(t, p, k * sizeof(*t));
    return _mm256_loadu_ps(t);
}

static inline void storen(float *p, V v, size_t k)
{
    float t[VL];

    _mm256_storeu_ps(t, v);
    memcpy(p, t, k * sizeof(*t));
}

static inline __m128i load16n(const uint16_t *p, size_t k)
{
    uint16_t t[VL] = { 0 };

    memcpy(t, p, k * sizeof(*t));
    return _mm_loadu_si128((const __m128i *)t);
}

static inline void store16n(uint16_t *p, __m128i v, size_t k)
{
    uint16_t t[VL];

    _mm_storeu_si128((__m128i *)t, v);
    memcpy(p, t, k * sizeof(*t));
}

static inline void store8n(uint8_t *p, V v, size_t k)
{
    __m256i i = _mm256_cvtps_epi32(v);
    __m128i h = _mm_packus_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    uint8_t t[2 * VL];

    _mm_storeu_si128((__m128i *)t, _mm_packus_epi16(h, h));
    memcpy(p, t, k);
}

static inline V diff_i32n(const int32_t *c, const int32_t *d, size_t k)
{
    int32_t t[VL] = { 0 }, u[VL] = { 0 };

    memcpy(t, c, k * sizeof(*t));
    memcpy(u, d, k * sizeof(*u));
    return DIFF_I32(t, u);
}

static inline __m256i wide(const uint16_t *p)
{
    return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p)));
}

static inline V widen(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

static inline __m128i narrow(V v)
{
    __m256i u = _mm256_castps_si256(v), odd, even;
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));

    odd  = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    even = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    u    = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    u    = _mm256_srli_epi32(_mm256_blendv_epi8(even, u, nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(u), _mm256_extracti128_si256(u, 1));
}

static inline float add2(float a, float b)
{
    return a + b;
}

static inline float max2(float a, float b)
{
    return a > b ? a : b;
}

static inline float min2(float a, float b)
{
    return a < b ? a : b;
}

static inline float fold(V v, float (*f)(float, float))
{
    float t[VL];

    _mm256_storeu_ps(t, v);
    return f(f(f(t[0], t[4]), f(t[2], t[6])), f(f(t[1], t[5]), f(t[3], t[7])));
}

/* Rows of 4 x 4 blocks: r[4 g + c] holds column 4 l + c of rows 4 g to 4 g + 3 in its
 * 128-bit lane l. */
static inline void turn_quads(V r[VL], const float *x, size_t lx)
{
    for (int g = 0; g < VL; g += 4, x += 4 * lx) {
        V a = LOAD(x), b = LOAD(x + lx), c = LOAD(x + 2 * lx), d = LOAD(x + 3 * lx);
        V lo = _mm256_unpacklo_ps(a, b), hi = _mm256_unpackhi_ps(a, b);
        V lo2 = _mm256_unpacklo_ps(c, d), hi2 = _mm256_unpackhi_ps(c, d);
        r[g]     = _mm256_shuffle_ps(lo, lo2, 0x44);
        r[g + 1] = _mm256_shuffle_ps(lo, lo2, 0xEE);
        r[g + 2] = _mm256_shuffle_ps(hi, hi2, 0x44);
        r[g + 3] = _mm256_shuffle_ps(hi, hi2, 0xEE);
    }
}

static inline void turn_block(uint32_t *y, size_t ly, const uint32_t *x, size_t lx)
{
    V r[VL];

    turn_quads(r, (const float *)x, lx);
    for (int i = 0; i < 4; i++) {
        STORE((float *)y + (size_t)i * ly,
              _mm256_permute2f128_ps(r[i], r[4 + i], 0x20));
        STORE((float *)y + (size_t)(4 + i) * ly,
              _mm256_permute2f128_ps(r[i], r[4 + i], 0x31));
    }
}

#include "backend/cpu/dsp_tmpl.h"

const LvDsp lv_dsp_avx2 = DSP_TABLE("AVX2");
