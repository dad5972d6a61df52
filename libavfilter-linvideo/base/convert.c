/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/convert.h"

#include <string.h>

#include "base/half.h"
#include "base/quant.h"

static float small(uint8_t v, LvDtype dtype)
{
    return dtype == LV_F8_E4M3 ? lv_e4m3_f32(v) : lv_f16_f32((uint16_t)(v << 8));
}

/* n elements of fp8: many are looked up. */
static int read_small(float *dst, const uint8_t *p, LvDtype dtype, size_t n)
{
    enum { NB = 256 };
    float table[NB];

    if (n < NB) {
        for (size_t i = 0; i < n; i++)
            dst[i] = small(p[i], dtype);
        return 0;
    }
    for (int i = 0; i < NB; i++)
        table[i] = small((uint8_t)i, dtype);
    for (size_t i = 0; i < n; i++)
        dst[i] = table[p[i]];
    return 0;
}

/* n elements of a type, one after the other, as f32. */
#define READ_EACH(type, value)                                                            \
    for (size_t i = 0; i < n; i++) {                                                      \
        type v;                                                                           \
        memcpy(&v, p + sizeof(v) * i, sizeof(v));                                         \
        dst[i] = (float)(value);                                                          \
    }                                                                                     \
    return 0

int lv_to_f32(float *dst, const void *src, LvDtype dtype, size_t n)
{
    const uint8_t *p = src;

    switch (dtype) {
    case LV_F32:
        memcpy(dst, p, n * sizeof(*dst));
        return 0;
    case LV_F64:     READ_EACH(double, v);
    case LV_F16:     READ_EACH(uint16_t, lv_f16_f32(v));
    case LV_BF16:    READ_EACH(uint16_t, lv_bf16_f32(v));
    case LV_F8_E4M3:
    case LV_F8_E5M2: return read_small(dst, p, dtype, n);
    case LV_I8:      READ_EACH(int8_t, v);
    case LV_I16:     READ_EACH(int16_t, v);
    case LV_I32:     READ_EACH(int32_t, v);
    case LV_I64:     READ_EACH(int64_t, v);
    case LV_U8:      READ_EACH(uint8_t, v);
    case LV_U16:     READ_EACH(uint16_t, v);
    case LV_U32:     READ_EACH(uint32_t, v);
    case LV_U64:     READ_EACH(uint64_t, v);
    default:
        return lv_block_decode(dst, src, dtype, n);
    }
}

/* Elements are looked at in pieces, without a branch in the inner loop. */
enum { PIECE = 4096 };

/* Elements side by side in a word: magnitude + (top bit - limit) has the top bit set when
 * the magnitude is the limit or more. */
typedef struct Lanes {
    size_t size;                   /* of an element */
    uint64_t magnitude, add, top;  /* of all elements of a word */
} Lanes;

static Lanes lanes_of(LvDtype dtype, LvDtype as)
{
    const uint64_t two = 0x100000001ull, four = 0x1000100010001ull;
    const uint64_t eight = 0x101010101010101ull;
    uint64_t limit = dtype == LV_F16 ? 0x7C00 : dtype == LV_BF16 ? 0x7F80
                   : as == LV_BF16 ? 0x7F7F8000 : 0x7F800000;

    if (dtype == LV_F8_E4M3)
        return (Lanes) { 1, 0x7F * eight, eight, 0x80 * eight };
    if (dtype == LV_F32)
        return (Lanes) { 4, 0x7FFFFFFF * two, (0x80000000 - limit) * two, 0x80000000 * two };
    return (Lanes) { 2, 0x7FFF * four, (0x8000 - limit) * four, 0x8000 * four };
}

typedef uint64_t Words __attribute__((vector_size(64)));

/* What is beyond its limit in whole vectors of p: their top bits. */
static uint64_t beyond_in(const Lanes *l, const uint8_t *p, size_t bytes)
{
    Words found = { 0 }, v;
    uint64_t any = 0;

    for (size_t i = 0; i < bytes; i += sizeof(v)) {
        memcpy(&v, p + i, sizeof(v));
        found |= (v & l->magnitude) + l->add;
    }
    for (size_t i = 0; i < sizeof(v) / sizeof(any); i++)
        any |= found[i];
    return any;
}

static int has_beyond(const Lanes *l, const uint8_t *p, size_t n)
{
    size_t bytes = n * l->size, i = bytes / sizeof(Words) * sizeof(Words);
    uint64_t found = beyond_in(l, p, i), v;

    for (; i < bytes; i += sizeof(v)) {
        v = 0;
        memcpy(&v, p + i, LV_MIN(sizeof(v), bytes - i));
        found |= (v & l->magnitude) + l->add;
    }
    return (found & l->top) != 0;
}

size_t lv_find_nonfinite(const void *src, LvDtype dtype, LvDtype as, size_t n)
{
    const uint8_t *p = src;
    const Lanes l = lanes_of(dtype, as);
    size_t end, i;

    if (dtype != LV_F32 && dtype != LV_F16 && dtype != LV_BF16 && dtype != LV_F8_E4M3)
        return n;
    for (i = 0; i < n && !has_beyond(&l, p + i * l.size, LV_MIN(PIECE, n - i)); i += PIECE)
        ;
    for (end = LV_MIN(n, i + PIECE); i < end && !has_beyond(&l, p + i * l.size, 1); i++)
        ;
    return LV_MIN(i, n);
}

/* Lanes of a vector, and the same bits. */
enum { LANES = 4 };

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Codes __attribute__((vector_size(4 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

/* b where the mask is all ones, else a */
static inline Codes choose(Codes a, Codes b, Codes mask)
{
    return (a & ~mask) | (b & mask);
}

/* As lv_f32_e4m3(), lane by lane. */
static inline Bytes codes_of(Floats x)
{
    Codes u = (Codes)x, a = u & 0x7FFFFFFF, zero = { 0 };
    Codes normal = (a - 0x3C000000 + 0x7FFFF + (a >> 20 & 1)) >> 20;
    Codes small  = (Codes)((Floats)a + 0x1p14f) & 15;
    Codes code   = choose(small, normal, (Codes)(a >= 0x3C800000));

    code = choose(code, zero + 0x7E, (Codes)(a >= 0x43E00000));
    code = choose(code, zero + 0x7F, (Codes)(a > 0x7F800000));
    return __builtin_convertvector(code | (u >> 24 & 0x80), Bytes);
}

void lv_to_e4m3(uint8_t *dst, const float *src, float by, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        Floats x;
        Bytes b;

        memcpy(&x, src + i, sizeof(x));
        b = codes_of(x * by);
        memcpy(dst + i, &b, sizeof(b));
    }
    for (; i < n; i++)
        dst[i] = lv_f32_e4m3(src[i] * by);
}
