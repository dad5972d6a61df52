/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights in another type or order, pictures as matrices, what follows a product.
 *
 * Tiles: a thread for eight elements (cast, columns, epilogue) or one (order). Bytes:
 * each read and written once; bound by memory.
 */

#include "lv_device.cuh"

LV_INLINE size_t my_index(void)
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

LV_KERNEL lv_cast(void *dst, int dst_type, const void *src, int src_type, size_t n)
{
    size_t i = my_index() * 8;
    float v[8];

    if (i >= n)
        return;
    if (src_type == LV_F16) {
        for (int k = 0; k < 8 && i + k < n; k++)
            v[k] = get(src, src_type, i + k);
    } else {
        get8(src, src_type, i, n, v);
    }
    put8(dst, dst_type, i, n, v);
}

/* A thread for each element of the matrix, or with back of the weights. */
LV_KERNEL lv_order(LV_ARG LvOrderArgs a, size_t n)
{
    size_t i = my_index(), o, c, tap, matrix;

    if (i >= n)
        return;
    if (a.back) {
        tap = i % a.taps, c = i / a.taps % a.c, o = i / ((size_t)a.taps * a.c);
        matrix = o * a.cols + tap * a.c + c;
        put(a.dst, a.dst_type, i, get(a.src, a.src_type, matrix) +
                                  (a.add ? get(a.dst, a.dst_type, i) : 0));
        return;
    }
    {
        size_t row = i / a.cols, col = i % a.cols, inner = a.flipped ? a.o : a.c, frame;
        tap = col / inner;
        o   = a.flipped ? col % inner : row;
        c   = a.flipped ? row : col % inner;
        frame = tap / a.taps;
        tap   = tap % a.taps;
        if (a.flipped)
            tap = a.taps - 1 - tap;
        put(a.dst, a.dst_type, i, frame < a.frames ?
            get(a.src, a.src_type, ((frame * a.o + o) * a.c + c) * a.taps + tap) : 0);
    }
}

/* Where element (row, col) of the unrolled pictures lies; -1: outside. */
LV_INLINE int64_t column_place(const LvColumnsArgs &a, size_t row, int col)
{
    int tap = col / a.c, c = col % a.c, u = tap / a.kw, v = tap % a.kw;
    int j = row % a.xo, i = row / a.xo % a.yo;
    int y = i * a.stride + u - a.pad_y, x = j * a.stride + v - a.pad_x;
    size_t b = row / ((size_t)a.xo * a.yo);

    if (tap >= a.kh * a.kw || y < 0 || x < 0 || y % a.spread || x % a.spread ||
        y / a.spread >= a.yi || x / a.spread >= a.xi)
        return -1;
    return ((b * a.yi + y / a.spread) * a.xi + x / a.spread) * a.c + c;
}

LV_KERNEL lv_columns(LV_ARG LvColumnsArgs a, size_t n)
{
    size_t i = my_index() * 8, row = i / a.cols;
    int col = i % a.cols;
    float v[8] = { 0 };

    if (i >= n)
        return;
    if (a.c % 8 == 0) {
        int64_t at = column_place(a, a.first + row, col);
        if (at >= 0)
            get8(a.x, a.x_type, at, (size_t)-1, v);
    } else {
        for (int k = 0; k < 8; k++) {
            int64_t at = column_place(a, a.first + row, col + k);
            v[k] = at < 0 ? 0 : get(a.x, a.x_type, at);
        }
    }
    put8(a.cols_out, a.out_type, i, n, v);
}

LV_KERNEL lv_epilogue(LV_ARG LvEpilogueArgs a, size_t n)
{
    size_t i = my_index() * 8;
    float v[8], r[8];

    if (i >= n)
        return;
    get8(a.sum, LV_F32, i, n, v);
    if (a.row_scale) {
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] *= i + k < n ? a.row_scale[(i + k) / a.n] * a.col_scale[(i + k) % a.n] : 0;
    }
    if (a.bias && a.n % 8 == 0) {
        get8(a.bias, LV_F32, i % a.n, a.n, r);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] += r[k];
    } else if (a.bias) {
        for (int k = 0; k < 8; k++)
            v[k] += a.bias[(i + k) % a.n];
    }
    if (a.r) {
        get8(a.r, a.r_type, i, n, r);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] += r[k];
    }
    act8(a.act, v);
    if (a.add) {
        get8(a.y, a.y_type, i, n, r);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] += r[k];
    }
    put8(a.y, a.y_type, i, n, v);
}
