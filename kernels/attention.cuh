/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the files of softmax attention share. Accumulators are those of mma_bf16(): four
 * threads hold a row.
 */

#ifndef LINVIDEO_KERNELS_ATTENTION_CUH
#define LINVIDEO_KERNELS_ATTENTION_CUH

#include "lv_device.cuh"

#define LOG2E 1.4426950408889634f
#define LN2   0.6931471805599453f

LV_INLINE float quad_sum(float x)
{
    x += __shfl_xor_sync(0xFFFFFFFFu, x, 1);
    return x + __shfl_xor_sync(0xFFFFFFFFu, x, 2);
}

LV_INLINE float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 2));
}

/* Store row r (h = 0) or r + 8 (h = 1) of 16 times f; with add to what is there. */
template <int D>
LV_INLINE void store_row(const LvTensor &y, const float o[D / 8][4], int h, size_t row,
                         size_t column, float f, int add)
{
    size_t at = row * y.dim[1] + column + threadIdx.x % 4 * 2;

#pragma unroll
    for (int n = 0; n < D / 8; n++, at += 8) {
        float x = o[n][2 * h] * f, z = o[n][2 * h + 1] * f;
        if (add) {
            x += get1(y, at);
            z += get1(y, at + 1);
        }
        if (y.dtype == LV_F32)
            *(float2 *)((float *)y.data + at) = make_float2(x, z);
        else
            *(uint32_t *)((uint16_t *)y.data + at) = pack2(x, z);
    }
}

/* Store those of 16 rows that are there. */
template <int D>
LV_INLINE void store_rows(const LvTensor &y, const float o[D / 8][4], size_t first,
                          size_t column, int rows, const float f[2], int add)
{
    int r = threadIdx.x % WARP / 4;

#pragma unroll
    for (int h = 0; h < 2; h++)
        if (r + 8 * h < rows)
            store_row<D>(y, o, h, first + r + 8 * h, column, f[h], add);
}

#endif /* LINVIDEO_KERNELS_ATTENTION_CUH */
