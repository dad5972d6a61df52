/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Frames on their way out, in the sums and with the roundings of the CPU (backend/cpu/frame,
 * base/deliver), so that the bytes are the same: nothing is fused.
 *
 * blend:   y = wy wx (scale x + offset) + old, for each value of a tile; a thread takes a
 *          pixel. Bytes: 24 to 36 for a pixel.
 * deliver: RGB of 0..1 to bytes; a thread takes a pixel, or two by two of them where
 *          chroma is halved, a block 128 of a row. Bytes: 12 read for a pixel, 1.5 to 3
 *          written.
 *
 * Both are bound by memory, and by far too small to count beside the decoder.
 */

#include "base/planes.h"
#include "lv_device.cuh"

typedef struct Color {
    float r, g, b;
} Color;

LV_INLINE float sum(float a, float b)
{
    return __fadd_rn(a, b);
}

LV_INLINE float times(float a, float b)
{
    return __fmul_rn(a, b);
}

LV_KERNEL lv_blend(LV_ARG LvBlendArgs a, size_t n)
{
    size_t i  = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    int rows  = a.x.dim[1], cols = a.x.dim[2], row, col;
    size_t to;
    float w, *y;
    const float *x = (const float *)a.x.data + 3 * i;

    if (i >= n)
        return;
    col = (int)(i % cols);
    row = (int)(i / cols % rows);
    to  = (i / cols / rows * a.y.dim[1] + a.top + row) * a.y.dim[2] + a.left + col;
    y   = (float *)a.y.data + 3 * to;
    w   = times(((const float *)a.wy.data)[row], ((const float *)a.wx.data)[col]);
#pragma unroll
    for (int c = 0; c < 3; c++) {
        float v = times(w, sum(times(a.scale, x[c]), a.offset));
        y[c]    = row < a.old_rows || col < a.old_cols ? sum(y[c], v) : v;
    }
}

/* Written so that NaN, which compares false, becomes 0. */
LV_INLINE float clamp01(float x)
{
    x = x > 0 ? x : 0;
    return x < 1 ? x : 1;
}

LV_INLINE Color load(const float *rgb, size_t pitch, int y, int x)
{
    const float *p = rgb + y * pitch + 3 * (size_t)x;
    Color c = { clamp01(p[0]), clamp01(p[1]), clamp01(p[2]) };

    return c;
}

/* Round to nearest what is known to be in 0..255. */
LV_INLINE uint8_t to_byte(float x)
{
    return (uint8_t)(int)sum(x, 0.5f);
}

LV_INLINE float luma(const LvMatrix &m, Color c)
{
    return sum(sum(times(m.r, c.r), times(m.g, c.g)), times(m.b, c.b));
}

LV_INLINE uint8_t luma_byte(const LvMatrix &m, Color c)
{
    return to_byte(sum(16, times(219, luma(m, c))));
}

LV_INLINE void put_chroma(uint8_t *cb, uint8_t *cr, const LvMatrix &m, Color c)
{
    float y = luma(m, c);

    *cb = to_byte(sum(128, times(times(224, m.cb), sum(c.b, -y))));
    *cr = to_byte(sum(128, times(times(224, m.cr), sum(c.r, -y))));
}

LV_INLINE uint8_t full_byte(float x)
{
    return to_byte(times(255, x));
}

LV_INLINE uint8_t *at(const LvPlanes &out, int plane, int y, int x)
{
    return out.data[plane] + y * out.stride[plane] + x;
}

LV_INLINE Color add(Color a, Color b)
{
    Color c = { sum(a.r, b.r), sum(a.g, b.g), sum(a.b, b.b) };

    return c;
}

LV_INLINE Color scale(float k, Color a)
{
    Color c = { times(k, a.r), times(k, a.g), times(k, a.b) };

    return c;
}

/* Two rows and columns from (y, x) on, both even, or what there is of them. */
LV_INLINE void put_halved(const LvPlanes &out, const float *rgb, size_t pitch, int y, int x)
{
    int below = min(y + 1, out.height - 1), left = max(x - 1, 0);
    Color a = load(rgb, pitch, y, x), b = load(rgb, pitch, below, x), m = add(a, b), c;

    *at(out, 0, y, x)     = luma_byte(out.matrix, a);
    *at(out, 0, below, x) = luma_byte(out.matrix, b);
    if (x + 1 < out.width) {
        Color l = add(load(rgb, pitch, y, left), load(rgb, pitch, below, left));
        a = load(rgb, pitch, y, x + 1);
        b = load(rgb, pitch, below, x + 1);
        *at(out, 0, y, x + 1)     = luma_byte(out.matrix, a);
        *at(out, 0, below, x + 1) = luma_byte(out.matrix, b);
        c = scale(0.125f, add(add(l, scale(2, m)), add(a, b)));
    } else {
        c = scale(0.5f, m);
    }
    if (out.format == LV_NV12)
        put_chroma(at(out, 1, y / 2, x), at(out, 1, y / 2, x + 1), out.matrix, c);
    else
        put_chroma(at(out, 1, y / 2, x / 2), at(out, 2, y / 2, x / 2), out.matrix, c);
}

LV_INLINE void put_pixel(const LvPlanes &out, Color c, int y, int x)
{
    uint8_t *rgb = at(out, 0, y, 3 * x);

    switch (out.format) {
    case LV_YUV444P:
        *at(out, 0, y, x) = luma_byte(out.matrix, c);
        put_chroma(at(out, 1, y, x), at(out, 2, y, x), out.matrix, c);
        break;
    case LV_GBRP:
        *at(out, 0, y, x) = full_byte(c.g);
        *at(out, 1, y, x) = full_byte(c.b);
        *at(out, 2, y, x) = full_byte(c.r);
        break;
    default:
        rgb[0] = full_byte(c.r);
        rgb[1] = full_byte(c.g);
        rgb[2] = full_byte(c.b);
    }
}

LV_KERNEL lv_deliver(LV_ARG LvPlanes out, const float *rgb, size_t pitch)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;

    if (out.format == LV_YUV420P || out.format == LV_NV12) {
        if (2 * x < out.width)
            put_halved(out, rgb, pitch, 2 * y, 2 * x);
    } else if (x < out.width) {
        put_pixel(out, load(rgb, pitch, y, x), y, x);
    }
}
