/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ops on elements, each alone: y_i = f(a_i, b_i...), and their gradients.
 *
 * Tiles: a thread takes eight elements, a block 2048. Bytes: every tensor once, so
 * 4 to 16 for an element and no products: bound by memory.
 */

#include "lv_device.cuh"

LV_INLINE size_t first8(void)
{
    return ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
}

LV_KERNEL lv_add(LV_ARG LvAddArgs a, size_t n, size_t nb)
{
    size_t i = first8();
    float x[8], b[8];

    if (i >= n)
        return;
    load8(a.a, i, n, x);
    if (nb % 8 == 0) {
        load8(a.b, i % nb, nb, b);
    } else {
        for (int k = 0; k < 8; k++)
            b[k] = get1(a.b, (i + k) % nb);
    }
#pragma unroll
    for (int k = 0; k < 8; k++)
        x[k] += b[k];
    store8(a.y, i, n, x);
}

LV_KERNEL lv_act(LV_ARG LvActArgs a, size_t n)
{
    size_t i = first8();
    float x[8];

    if (i >= n)
        return;
    load8(a.x, i, n, x);
    act8(a.act, x);
    store8(a.y, i, n, x);
}

LV_KERNEL lv_glu(LV_ARG LvGluArgs a, size_t n)
{
    size_t i = first8();
    float x[8], g[8];

    if (i >= n)
        return;
    load8(a.x, i, n, x);
    load8(a.g, i, n, g);
#pragma unroll
    for (int k = 0; k < 8; k++)
        x[k] *= gelu(g[k]);
    store8(a.y, i, n, x);
}

LV_KERNEL lv_mix(LV_ARG LvMixArgs a, size_t n)
{
    size_t i = first8();
    float r = *(const float *)a.r.data, x[8], b[8];

    if (i >= n)
        return;
    load8(a.a, i, n, x);
    load8(a.b, i, n, b);
#pragma unroll
    for (int k = 0; k < 8; k++)
        x[k] = r * x[k] + (1 - r) * b[k];
    store8(a.y, i, n, x);
}

LV_KERNEL lv_fill(LV_ARG LvFillArgs a, size_t n)
{
    size_t i = first8();
    float v[8];

    if (i >= n)
        return;
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] = a.value;
    store8(a.y, i, n, v);
}

/* y [A,times,C] from x [A,C]. */
LV_KERNEL lv_expand(LV_ARG LvExpandArgs a, size_t n, size_t times)
{
    size_t i = first8(), c = a.inner;
    float v[8];

    if (i >= n)
        return;
    if (c % 8 == 0) {
        load8(a.x, i / (c * times) * c + i % c, (size_t)-1, v);
    } else {
        for (int k = 0; k < 8; k++)
            v[k] = i + k < n ? get1(a.x, (i + k) / (c * times) * c + (i + k) % c) : 0;
    }
    store8(a.y, i, n, v);
}

LV_KERNEL lv_act_dx(LV_ARG LvActDxArgs a, size_t n)
{
    size_t i = first8();
    float x[8], d[8];

    if (i >= n)
        return;
    load8(a.x, i, n, x);
    load8(a.dy, i, n, d);
    act_slope8(a.act, x);
#pragma unroll
    for (int k = 0; k < 8; k++)
        d[k] *= x[k];
    grad8(a.dx, i, n, d, a.add, 0);
}

LV_KERNEL lv_glu_dx(LV_ARG LvGluDxArgs a, size_t n)
{
    size_t i = first8();
    float x[8], g[8], d[8];

    if (i >= n)
        return;
    load8(a.x, i, n, x);
    load8(a.g, i, n, g);
    load8(a.dy, i, n, d);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        float dx = d[k] * gelu(g[k]);
        g[k] = d[k] * x[k] * gelu_slope(g[k]);
        d[k] = dx;
    }
    if (has(a.dx))
        grad8(a.dx, i, n, d, a.add, 0);
    if (has(a.dg))
        grad8(a.dg, i, n, g, a.add, 1);
}

LV_KERNEL lv_mix_dx(LV_ARG LvMixDxArgs a, size_t n)
{
    size_t i = first8();
    float r = *(const float *)a.r.data, d[8], da[8], db[8];

    if (i >= n)
        return;
    load8(a.dy, i, n, d);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        da[k] = r * d[k];
        db[k] = (1 - r) * d[k];
    }
    if (has(a.da))
        grad8(a.da, i, n, da, a.add, 0);
    if (has(a.db))
        grad8(a.db, i, n, db, a.add, 1);
}
