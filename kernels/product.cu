/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * y = act(x' w^T + bias + r) in bf16: a matrix times weights, or a convolution whose
 * unrolled pictures x' are never written (see LvProductArgs).
 *
 * Tiles: a block of eight warps owns 128 rows and 128 (or 64) columns of y, a warp
 * 32 x 64 (32 x 32). K goes by in steps of 32 through four stages of shared memory,
 * filled by asynchronous copies of 16 bytes; for convolutions each copy finds its pixel
 * from its tap, and copies zeros outside the picture. Bias, residual, activation and
 * the one rounding happen on the accumulators.
 *
 * FLOPs: 2 rows K O; bytes: x, w, r and y once, x again for each 128 columns and each
 * tap, from the caches. With K of some hundred and an activation behind it, writing y
 * takes as long as the products do: hence no second pass over y.
 */

#include "lv_device.cuh"

enum { ROWS = 128, STEP = 32, STAGES = 4, THREADS = 256 };

/* Chunk (8 values) of a row of a tile [..][32]; two rows fill 128 bytes. */
LV_INLINE uint4 *chunk_of(uint4 *tile, int row, int chunk)
{
    return tile + row * 4 + (chunk ^ (row / 2 & 3));
}

/* A row of x' that a thread copies: its picture, and its place there for tap (0,0). */
typedef struct Pixel {
    const uint16_t *picture;
    int y, x, there;
} Pixel;

LV_INLINE Pixel pixel_of(const LvProductArgs &a, int row)
{
    int j = row % a.xo, i = row / a.xo % a.yo, b = row / (a.xo * a.yo);
    Pixel p = { (const uint16_t *)a.x + (size_t)b * a.yi * a.xi * a.c,
                i * a.stride - a.pad_y, j * a.stride - a.pad_x, row < a.rows };

    if (!p.there)
        p.picture = (const uint16_t *)a.x;
    return p;
}

/* Start to copy values k to k + 7 of the pixel's row. */
LV_INLINE void copy_pixel(const LvProductArgs &a, const Pixel &p, int k, uint4 *dst)
{
    int tap = 0, c = k, y, x, there;

    if (a.kh * a.kw > 1) {
        tap = k / a.c;
        c   = k - tap * a.c;
    }
    y     = p.y + tap / a.kw;
    x     = p.x + tap % a.kw;
    there = p.there && k < a.kh * a.kw * a.c && y >= 0 && x >= 0;
    if (a.spread > 1) {
        there = there && y % a.spread == 0 && x % a.spread == 0;
        y /= a.spread;
        x /= a.spread;
    }
    there = there && y < a.yi && x < a.xi;
    copy_async(dst, there ? p.picture + ((size_t)y * a.xi + x) * a.c + c : a.x, there);
}

template <int COLS>
LV_INLINE void start_stage(const LvProductArgs &a, const Pixel p[2], int j0, int k0,
                           uint4 *left, uint4 *right)
{
    int row = threadIdx.x / 4, chunk = threadIdx.x % 4, k = k0 + chunk * 8;
    int depth = a.kh * a.kw * a.c;

#pragma unroll
    for (int n = 0; n < 2; n++)
        copy_pixel(a, p[n], k, chunk_of(left, row + n * 64, chunk));
#pragma unroll
    for (int n = 0; n < COLS / 64; n++) {
        int j = j0 + row + n * 64, there = j < a.o && k < depth;
        copy_async(chunk_of(right, row + n * 64, chunk),
                   (const uint16_t *)a.w + (there ? (size_t)j * depth + k : 0), there);
    }
}

template <int COLS>
LV_INLINE void multiply_stage(float c[2][COLS / 16][4], uint4 *left, uint4 *right)
{
    int l = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int wi = warp / 2 * 32, wj = warp % 2 * (COLS / 2);

#pragma unroll
    for (int kk = 0; kk < STEP / 16; kk++) {
        uint32_t x[2][4];
#pragma unroll
        for (int h = 0; h < 2; h++)
            load_matrices(x[h], chunk_of(left, wi + 16 * h + l % 16, kk * 2 + l / 16));
#pragma unroll
        for (int n = 0; n < COLS / 32; n++) {
            uint32_t y[4];
            load_matrices(y, chunk_of(right, wj + 16 * n + l / 16 * 8 + l % 8,
                                      kk * 2 + l / 8 % 2));
#pragma unroll
            for (int h = 0; h < 2; h++) {
                mma_bf16(c[h][2 * n], x[h], y[0], y[1]);
                mma_bf16(c[h][2 * n + 1], x[h], y[2], y[3]);
            }
        }
    }
}

/* One pair of neighbouring results; `both`: O is even, so both are in range. */
LV_INLINE void store_pair(const LvProductArgs &a, int i, int j, float v0, float v1)
{
    size_t at = (size_t)i * a.o + j;
    float v[2] = { v0, v1 };

    if (i >= a.rows || j >= a.o)
        return;
#pragma unroll
    for (int e = 0; e < 2; e++) {
        if (j + e < a.o) {
            if (a.bias)
                v[e] += a.bias[j + e];
            if (a.r)
                v[e] += get(a.r, a.r_type, at + e);
            v[e] = act(a.act, v[e]);
            if (a.add)
                v[e] += get(a.y, a.y_type, at + e);
        }
    }
    if (a.o % 2 == 0 && a.y_type == LV_BF16)
        *(uint32_t *)((uint16_t *)a.y + at) = pack2(v[0], v[1]);
    else if (a.o % 2 == 0)
        *(float2 *)((float *)a.y + at) = make_float2(v[0], v[1]);
    else
        for (int e = 0; e < 2 && j + e < a.o; e++)
            put(a.y, a.y_type, at + e, v[e]);
}

template <int COLS> static __device__ void product(const LvProductArgs &a)
{
    extern __shared__ uint4 shared[];
    enum { LEFT = ROWS * 4, RIGHT = COLS * 4, STAGE = LEFT + RIGHT };
    int tiles = (a.o + COLS - 1) / COLS, l = threadIdx.x % WARP;
    int j0 = blockIdx.x % tiles * COLS, i0 = blockIdx.x / tiles * ROWS;
    int warp = threadIdx.x / WARP, wi = warp / 2 * 32, wj = warp % 2 * (COLS / 2);
    int steps = (a.kh * a.kw * a.c + STEP - 1) / STEP;
    Pixel p[2] = { pixel_of(a, i0 + threadIdx.x / 4),
                   pixel_of(a, i0 + threadIdx.x / 4 + 64) };
    float c[2][COLS / 16][4] = { 0 };

#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps)
            start_stage<COLS>(a, p, j0, s * STEP, shared + s * STAGE,
                              shared + s * STAGE + LEFT);
        copy_commit();
    }
    for (int s = 0; s < steps; s++) {
        uint4 *now = shared + s % STAGES * STAGE;
        int next = s + STAGES - 1;
        copy_wait<STAGES - 2>();
        __syncthreads();
        if (next < steps)
            start_stage<COLS>(a, p, j0, next * STEP, shared + next % STAGES * STAGE,
                              shared + next % STAGES * STAGE + LEFT);
        copy_commit();
        multiply_stage<COLS>(c, now, now + LEFT);
    }
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int n = 0; n < COLS / 16; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
                store_pair(a, i0 + wi + 16 * h + l / 4 + 8 * e, j0 + wj + 8 * n + l % 4 * 2,
                           c[h][n][2 * e], c[h][n][2 * e + 1]);
}

extern "C" __global__ void __launch_bounds__(THREADS) lv_product_bf16(LV_ARG LvProductArgs a)
{
    if (a.o > 64)
        product<128>(a);
    else
        product<64>(a);
}
