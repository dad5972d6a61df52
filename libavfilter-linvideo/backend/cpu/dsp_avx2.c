/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Leaves for AVX2 with FMA: eight lanes. Compiled with -mavx2 -mfma.
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

#include "backend/cpu/dsp_tmpl.h"

const LvDsp lv_dsp_avx2 = DSP_TABLE("AVX2");
