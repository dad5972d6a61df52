/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the kernels of the HEDGEHOG map share: tiles of 128 tokens in shared memory, the
 * projection to y and its softmaxes, with 16 tokens in the registers of each warp.
 */

#ifndef LINVIDEO_KERNELS_HEDGEHOG_CUH
#define LINVIDEO_KERNELS_HEDGEHOG_CUH

#include "lv_device.cuh"

enum { TOKENS = 128, THREADS = 256 };

#define LOG2E 1.4426950408889634f

/* Chunk of 8 of a row of a tile [..][COLS]; swizzled. */
template <int COLS> LV_INLINE uint4 *chunk_of(uint4 *tile, int row, int chunk)
{
    return tile + row * (COLS / 8) + (chunk ^ (row & 7));
}

/* Start to copy a tile of 128 rows of src, those from `rows` on being zeros. */
template <int D>
LV_INLINE void start_tile(uint4 *tile, const uint16_t *src, size_t stride, int rows)
{
#pragma unroll
    for (int n = 0; n < TOKENS * D / 8 / THREADS; n++) {
        int i = threadIdx.x + n * THREADS, row = i / (D / 8), chunk = i % (D / 8);
        copy_async(chunk_of<D>(tile, row, chunk),
                   src + (row < rows ? row : 0) * stride + chunk * 8, row < rows);
    }
}

/* tile[ROWS][COLS] in bf16 from a matrix of pitch `pitch`, of any float type. */
template <int COLS>
LV_INLINE void load_matrix(uint4 *tile, const void *src, int dtype, size_t first,
                           int rows, int pitch)
{
    for (int i = threadIdx.x; i < rows * (COLS / 8); i += THREADS) {
        int row = i / (COLS / 8), chunk = i % (COLS / 8);
        float v[8];
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = get(src, dtype, first + (size_t)row * pitch + chunk * 8 + k);
        put8(chunk_of<COLS>(tile, row, chunk), LV_BF16, 0, 8, v);
    }
}

/* y [16,P]: the warp's tokens of tile [128][D] times w [D][P]. */
template <int D, int P>
LV_INLINE void project(float y[P / 8][4], uint4 *tile, uint4 *w)
{
    int l = threadIdx.x % WARP, first = threadIdx.x / WARP * 16;

#pragma unroll
    for (int n = 0; n < P / 8; n++)
        y[n][0] = y[n][1] = y[n][2] = y[n][3] = 0;
#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        uint32_t a[4];
        load_matrices(a, chunk_of<D>(tile, first + l % 16, kk * 2 + l / 16));
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            uint32_t b[4];
            load_matrices_t(b, chunk_of<P>(w, kk * 16 + l / 8 % 2 * 8 + l % 8,
                                           p * 2 + l / 16));
            mma_bf16(y[2 * p], a, b[0], b[1]);
            mma_bf16(y[2 * p + 1], a, b[2], b[3]);
        }
    }
}

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

/* phi = softmax(sign y), times `there` of the rows. */
template <int P>
LV_INLINE void softmax_rows(float phi[P / 8][4], const float y[P / 8][4], float sign,
                            const float there[2])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float max = -INFINITY, sum = 0;
#pragma unroll
        for (int n = 0; n < P / 8; n++)
            max = fmaxf(max, fmaxf(sign * y[n][2 * h], sign * y[n][2 * h + 1]));
        max = quad_max(max) * LOG2E;
#pragma unroll
        for (int n = 0; n < P / 8; n++)
#pragma unroll
            for (int e = 2 * h; e < 2 * h + 2; e++) {
                phi[n][e] = fast_exp2(sign * LOG2E * y[n][e] - max);
                sum += phi[n][e];
            }
        sum = there[h] / quad_sum(sum);
#pragma unroll
        for (int n = 0; n < P / 8; n++) {
            phi[n][2 * h] *= sum;
            phi[n][2 * h + 1] *= sum;
        }
    }
}

/* The warp's 16 rows of features to columns `half` P on of mem [128][2 P]. */
template <int P>
LV_INLINE void keep_features(uint4 *mem, const float phi[P / 8][4], int half)
{
    int row = threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4, t = threadIdx.x % 4;

#pragma unroll
    for (int n = 0; n < P / 8; n++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            ((uint32_t *)chunk_of<2 * P>(mem, row + 8 * h, half * (P / 8) + n))[t] =
                pack2(phi[n][2 * h], phi[n][2 * h + 1]);
}

/* c [16,COLS] += a [16,INNER], accumulators, times rows `first` on of right. */
template <int COLS, int INNER>
LV_INLINE void multiply_rows(float c[COLS / 8][4], const float a[INNER / 8][4],
                             uint4 *right, int first)
{
    int l = threadIdx.x % WARP;

#pragma unroll
    for (int kk = 0; kk < INNER / 16; kk++) {
        uint32_t x[4];
#pragma unroll
        for (int e = 0; e < 4; e++)
            x[e] = pack2(a[2 * kk + e / 2][e % 2 * 2],
                         a[2 * kk + e / 2][e % 2 * 2 + 1]);
#pragma unroll
        for (int p = 0; p < COLS / 16; p++) {
            uint32_t b[4];
            load_matrices_t(b, chunk_of<COLS>(right,
                                              first + kk * 16 + l / 8 % 2 * 8 + l % 8,
                                              p * 2 + l / 16));
            mma_bf16(c[2 * p], x, b[0], b[1]);
            mma_bf16(c[2 * p + 1], x, b[2], b[3]);
        }
    }
}

/* Where a block works: tokens from `from` to `to` of its sample and head. blockIdx.x:
 * chunk; blockIdx.y: sample heads + head. */
typedef struct Chunk {
    int head, from, to;
    size_t row;      ///< first row of the sample
} Chunk;

LV_INLINE Chunk my_chunk(const LvTensor &q, int heads, int batch, int size)
{
    int l = q.dim[0] / batch, from = blockIdx.x * size;
    Chunk c = { (int)blockIdx.y % heads, from, min(l, from + size),
                (size_t)(blockIdx.y / heads) * l };

    return c;
}

#endif /* LINVIDEO_KERNELS_HEDGEHOG_CUH */
