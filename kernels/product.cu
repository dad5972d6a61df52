/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * y = act(x' w^T + bias + r) in bf16: a matrix times weights, or a convolution whose
 * unrolled pictures x' are never written (see LvProductArgs).
 *
 * Tiles: a block of four warps owns 128 rows and 128 (or 64) columns of y, a warp
 * 64 x 64 (32 x 64). K goes by in steps of 64 through three stages of shared memory,
 * filled by asynchronous copies of 16 bytes; for convolutions each thread keeps the tap
 * it is at, and copies zeros outside the picture. The sums of 16 rows of a warp then
 * pass through shared memory, so that each thread has eight neighbours: bias, residual,
 * activation and the one rounding happen there, and y is written 16 bytes at a time.
 *
 * FLOPs: 2 rows K O; bytes: x, w, r and y once, x again for each 128 columns and each
 * tap, from the caches. With K of some hundred and an activation behind it, writing y
 * takes as long as the products do: hence no second pass over y.
 */

#include "lv_device.cuh"

enum { ROWS = 128, STEP = 64, STAGES = 3, THREADS = 128, COPIES = 8 };

/* Chunk (8 values) of a row of a tile [..][64]; the swizzle lets eight rows be read at
 * once. */
LV_INLINE uint4 *chunk_of(uint4 *tile, int row, int chunk)
{
    return tile + row * 8 + (chunk ^ (row & 7));
}

/* What a thread copies: chunk threadIdx.x % 8 of each step of eight rows of x'. */
typedef struct Source {
    const uint16_t *picture[COPIES]; ///< NULL: no such row
    int y[COPIES], x[COPIES];        ///< place there of tap (0,0)
    int u, v, c;                     ///< tap and channel of the next step
} Source;

LV_INLINE void open_source(const LvProductArgs &a, Source *s, int i0)
{
#pragma unroll
    for (int n = 0; n < COPIES; n++) {
        int row = i0 + threadIdx.x / 8 + n * 16;
        int j = row % a.xo, i = row / a.xo % a.yo, b = row / (a.xo * a.yo);
        s->picture[n] = row < a.rows ?
            (const uint16_t *)a.x + (size_t)b * a.yi * a.xi * a.c : NULL;
        s->y[n] = i * a.stride - a.pad_y;
        s->x[n] = j * a.stride - a.pad_x;
    }
    s->u = s->v = 0;
    s->c = threadIdx.x % 8 * 8;
    while (s->c >= a.c && s->u < a.kh)
        s->c -= a.c, s->v + 1 < a.kw ? s->v++ : (s->v = 0, s->u++);
}

/* Start to copy the next step's chunk of row n. */
LV_INLINE void copy_pixel(const LvProductArgs &a, const Source *s, int n, uint4 *dst)
{
    int y = s->y[n] + s->u, x = s->x[n] + s->v;
    int there = s->picture[n] && s->u < a.kh && y >= 0 && x >= 0;

    if (a.spread > 1) {
        there = there && y % a.spread == 0 && x % a.spread == 0;
        y /= a.spread;
        x /= a.spread;
    }
    there = there && y < a.yi && x < a.xi;
    copy_async(dst, there ? s->picture[n] + ((size_t)y * a.xi + x) * a.c + s->c : a.x,
               there);
}

template <int COLS>
LV_INLINE void start_stage(const LvProductArgs &a, Source *s, int j0, int k0, uint4 *left)
{
    int row = threadIdx.x / 8, chunk = threadIdx.x % 8, k = k0 + chunk * 8;
    int depth = a.kh * a.kw * a.c;
    uint4 *right = left + ROWS * 8;

#pragma unroll
    for (int n = 0; n < COPIES; n++)
        copy_pixel(a, s, n, chunk_of(left, row + n * 16, chunk));
#pragma unroll
    for (int n = 0; n < COLS / 16; n++) {
        int j = j0 + row + n * 16, there = j < a.o && k < depth;
        copy_async(chunk_of(right, row + n * 16, chunk),
                   (const uint16_t *)a.w + (there ? (size_t)j * depth + k : 0), there);
    }
    s->c += STEP;
    while (s->c >= a.c && s->u < a.kh)
        s->c -= a.c, s->v + 1 < a.kw ? s->v++ : (s->v = 0, s->u++);
}

/* c [16 TALL,64] of a warp += its rows wi on of left times rows wj on of right. */
template <int TALL>
LV_INLINE void multiply_stage(float c[TALL][8][4], uint4 *left, int wi, int wj)
{
    int l = threadIdx.x % WARP;
    uint4 *right = left + ROWS * 8;

#pragma unroll
    for (int kk = 0; kk < STEP / 16; kk++) {
        uint32_t x[TALL][4];
#pragma unroll
        for (int h = 0; h < TALL; h++)
            load_matrices(x[h], chunk_of(left, wi + 16 * h + l % 16, kk * 2 + l / 16));
#pragma unroll
        for (int n = 0; n < 4; n++) {
            uint32_t y[4];
            load_matrices(y, chunk_of(right, wj + 16 * n + l / 16 * 8 + l % 8,
                                      kk * 2 + l / 8 % 2));
#pragma unroll
            for (int h = 0; h < TALL; h++) {
                mma_bf16(c[h][2 * n], x[h], y[0], y[1]);
                mma_bf16(c[h][2 * n + 1], x[h], y[2], y[3]);
            }
        }
    }
}

LV_INLINE void add8(float v[8], const float w[8])
{
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] += w[k];
}

/* Eight sums of row i from column j on, to y. */
LV_INLINE void finish8(const LvProductArgs &a, int i, int j, float v[8])
{
    float w[8];

    if (i >= a.rows || j >= a.o)
        return;
    if (a.bias) {
        row_get8(a.bias, LV_F32, 0, j, a.o, w);
        add8(v, w);
    }
    if (a.r) {
        row_get8(a.r, a.r_type, i, j, a.o, w);
        add8(v, w);
    }
    if (a.act != LV_ACT_NONE) {
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = act(a.act, v[k]);
    }
    if (a.add) {
        row_get8(a.y, a.y_type, i, j, a.o, w);
        add8(v, w);
    }
    row_put8(a.y, a.y_type, i, j, a.o, v);
}

enum { PITCH = 64 + 4 }; /* floats of a row of sums in shared memory */

/* Sixteen rows from i on, columns j on, of the warp, by way of its memory. */
LV_INLINE void store_sums(const LvProductArgs &a, const float c[8][4], int i, int j,
                          float *mem)
{
    int l = threadIdx.x % WARP;

    __syncwarp();
#pragma unroll
    for (int n = 0; n < 8; n++) {
        float *at = mem + l / 4 * PITCH + 8 * n + l % 4 * 2;
        *(float2 *)at               = make_float2(c[n][0], c[n][1]);
        *(float2 *)(at + 8 * PITCH) = make_float2(c[n][2], c[n][3]);
    }
    __syncwarp();
#pragma unroll 1
    for (int n = 0; n < 4; n++) {
        int row = n * 4 + l / 8, col = l % 8 * 8;
        float v[8];
        get8(mem, LV_F32, row * PITCH + col, (size_t)-1, v);
        finish8(a, i + row, j + col, v);
    }
}

template <int COLS> static __device__ void product(const LvProductArgs &a)
{
    extern __shared__ uint4 shared[];
    enum { STAGE = (ROWS + COLS) * 8, TALL = COLS == 128 ? 4 : 2 };
    int tiles = (a.o + COLS - 1) / COLS, warp = threadIdx.x / WARP;
    int j0 = blockIdx.x % tiles * COLS, i0 = blockIdx.x / tiles * ROWS;
    int wi = COLS == 128 ? warp / 2 * 64 : warp * 32, wj = COLS == 128 ? warp % 2 * 64 : 0;
    int steps = (a.kh * a.kw * a.c + STEP - 1) / STEP;
    float c[TALL][8][4] = { 0 }, *mem = (float *)shared + warp * 16 * PITCH;
    Source source;

    open_source(a, &source, i0);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps)
            start_stage<COLS>(a, &source, j0, s * STEP, shared + s * STAGE);
        copy_commit();
    }
    for (int s = 0; s < steps; s++) {
        int next = s + STAGES - 1;
        copy_wait<STAGES - 2>();
        __syncthreads();
        if (next < steps)
            start_stage<COLS>(a, &source, j0, next * STEP, shared + next % STAGES * STAGE);
        copy_commit();
        multiply_stage<TALL>(c, shared + s % STAGES * STAGE, wi, wj);
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < TALL; h++)
        store_sums(a, c[h], i0 + wi + 16 * h, j0 + wj, mem);
}

#define PRODUCT extern "C" __global__ void __launch_bounds__(THREADS, 2)

PRODUCT lv_product_bf16_wide(LV_ARG LvProductArgs a)
{
    product<128>(a);
}

PRODUCT lv_product_bf16_slim(LV_ARG LvProductArgs a)
{
    product<64>(a);
}
