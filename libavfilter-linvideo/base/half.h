/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Scalar conversions of the 16-bit and 8-bit float types; exact, with round to nearest
 * even where bits are dropped. Vector forms are in the CPU device's leaves.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_HALF_H
#define LINVIDEO_BASE_HALF_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define LV_BOTH static __host__ __device__ inline /* of the CPU and of kernels */
#else
#define LV_BOTH static inline
#endif

LV_BOTH float lv_bits_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof(f));
    return f;
}

LV_BOTH uint32_t lv_f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof(u));
    return u;
}

/** bf16 bits to f32. */
LV_BOTH float lv_bf16_f32(uint16_t h)
{
    return lv_bits_f32((uint32_t)h << 16);
}

/** f32 to bf16 bits; NaN stays NaN. */
LV_BOTH uint16_t lv_f32_bf16(float f)
{
    uint32_t u = lv_f32_bits(f);

    if ((u & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

/** f16 bits to f32; subnormals, infinities and NaN kept. */
LV_BOTH float lv_f16_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023;

    if (e == 0)
        return lv_bits_f32(sign | lv_f32_bits((float)m * 0x1p-24f));
    if (e == 31)
        return lv_bits_f32(sign | 0x7F800000 | m << 13);
    return lv_bits_f32(sign | (e + 112) << 23 | m << 13);
}

/** f32 to f16 bits; overflow becomes infinity. */
LV_BOTH uint16_t lv_f32_f16(float f)
{
    uint32_t u = lv_f32_bits(f), sign = u >> 16 & 0x8000;
    uint32_t a = u & 0x7FFFFFFF, m, shift;

    if (a > 0x7F800000)
        return (uint16_t)(sign | 0x7E00);
    if (a >= 0x477FF000)
        return (uint16_t)(sign | 0x7C00);
    if (a >= 0x38800000)
        return (uint16_t)(sign | (a - 0x38000000 + 0xFFF + (a >> 13 & 1)) >> 13);
    if (a < 0x33000000)
        return (uint16_t)sign;
    shift = 126 - (a >> 23);
    m     = (a & 0x7FFFFF) | 0x800000;
    return (uint16_t)(sign | ((m + (1u << (shift - 1)) - 1 + (m >> shift & 1)) >> shift));
}

/** F8_E4M3 bits (the "fn" flavour: no infinities, largest 448) to f32. F8_E5M2 is the
 *  upper byte of an f16. */
LV_BOTH float lv_e4m3_f32(uint8_t h)
{
    uint32_t sign = (uint32_t)(h & 0x80) << 24, e = h >> 3 & 15, m = h & 7;

    if (e == 0)
        return lv_bits_f32(sign | lv_f32_bits((float)m * 0x1p-9f));
    if (e == 15 && m == 7)
        return lv_bits_f32(sign | 0x7FC00000);
    return lv_bits_f32(sign | (e + 120) << 23 | m << 20);
}

/** f32 to F8_E4M3 bits, nearest, ties to even; above 448 becomes 448, NaN stays NaN. Without a
 *  branch, for loops. */
LV_BOTH uint8_t lv_f32_e4m3(float f)
{
    uint32_t u = lv_f32_bits(f), sign = u >> 24 & 0x80, a = u & 0x7FFFFFFF;
    uint32_t normal = (a - 0x3C000000 + 0x7FFFF + (a >> 20 & 1)) >> 20;
    /* Below the normal ones: adding 2^14 leaves multiples of 2^-9. */
    uint32_t small = lv_f32_bits(lv_bits_f32(a) + 0x1p14f) & 15;
    uint32_t code  = a >= 0x3C800000 ? normal : small;

    code = a >= 0x43E00000 ? 0x7E : code;
    code = a > 0x7F800000 ? 0x7F : code;
    return (uint8_t)(sign | code);
}

#endif /* LINVIDEO_BASE_HALF_H */
