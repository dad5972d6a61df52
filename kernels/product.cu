/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * y = act(x' w^T + bias + r) in bf16: a matrix times weights, or a convolution, over time
 * or not, whose unrolled pictures x' are never written (see LvProductArgs).
 *
 * Tiles: a block of four warps owns 128 rows and 128 (or 64) columns of y, a warp 64 x
 * 64 (32 x 64). K goes by in steps of 64 through three stages of shared memory, filled
 * by asynchronous copies of 16 bytes; each thread keeps the tap it is at, and for its
 * rows which taps lie in the picture: zeros are copied for others. The sums of 16 rows
 * of a warp then pass through shared memory, so that each thread has eight neighbours:
 * bias, residual, activation and the one rounding happen there, and y is written 16
 * bytes at a time.
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

/* What a thread copies: chunk threadIdx.x % 8 of every 16th row of x' and of w. Places
 * are in chunks of eight values. With spread z, tap u of a row that starts at y meets
 * row floor((y + z - 1) / z) + floor(u / z) where it meets any. */
typedef struct Source {
    int at[COPIES];         ///< place of tap (0,0) of the row of x'
    uint32_t taps[COPIES];  ///< bit n: tap n lies in the picture
    int w;                  ///< place of the first row of w
    int t, u, v, tap, c, k; ///< tap, channel and column of the next step
} Source;

/* Whether a tap at place y of a side of n, spread by z, is in the picture. */
LV_INLINE int inside(int y, int n, int z)
{
    return y >= 0 && y % z == 0 && y / z < n;
}

LV_INLINE void open_row(const LvProductArgs &a, Source *s, int n, int row)
{
    int j = row % a.xo, i = row / a.xo % a.yo, b = row / (a.xo * a.yo), z = a.spread;
    int y = i * a.stride - a.pad_y, x = j * a.stride - a.pad_x;
    int up = (y + z - 1) >> (z - 1), left = (x + z - 1) >> (z - 1);

    s->at[n]   = ((b * a.step * a.yi + up) * a.xi + left) * (a.c / 8);
    s->taps[n] = 0;
    for (int t = 0, tap = 0; t < a.kt && row < a.rows; t++)
        for (int u = 0; u < a.kh; u++)
            for (int v = 0; v < a.kw; v++, tap++)
                if (inside(y + u, a.yi, z) && inside(x + v, a.xi, z))
                    s->taps[n] |= 1u << tap;
}

/* On to the tap that holds channel s->c. */
LV_INLINE void settle(const LvProductArgs &a, Source *s)
{
    while (s->c >= a.c) {
        s->c -= a.c;
        s->tap++;
        if (++s->v == a.kw) {
            s->v = 0;
            s->u++;
        }
        if (s->u == a.kh) {
            s->u = 0;
            s->t++;
        }
    }
}

LV_INLINE void open_source(const LvProductArgs &a, Source *s, int i0, int j0)
{
    int row = threadIdx.x / 8;

    s->t = s->u = s->v = s->tap = s->c = 0;
#pragma unroll
    for (int n = 0; n < COPIES; n++)
        open_row(a, s, n, i0 + row + n * 16);
    s->k = s->c = threadIdx.x % 8 * 8;
    s->w = (j0 + row) * (a.kt * a.kh * a.kw * a.c / 8);
    settle(a, s);
}

/* A chunk of x, whose first frames are those of prev. */
LV_INLINE const uint4 *chunk_at(const LvProductArgs &a, int at)
{
    int before = a.before * a.yi * a.xi * (a.c / 8);

    return at < before ? (const uint4 *)a.prev + at : (const uint4 *)a.x + (at - before);
}

/* Start to copy the next step's chunks. */
template <int COLS>
LV_INLINE void start_stage(const LvProductArgs &a, Source *s, int j0, uint4 *left)
{
    int row = threadIdx.x / 8, chunk = threadIdx.x % 8, z = a.spread - 1;
    int depth = a.kt * a.kh * a.kw * a.c;
    int step = ((s->t * a.yi + (s->u >> z)) * a.xi + (s->v >> z)) * (a.c / 8) + s->c / 8;
    const uint4 *w = (const uint4 *)a.w + s->w + s->k / 8;
    uint4 *right = left + ROWS * 8;

#pragma unroll
    for (int n = 0; n < COPIES; n++)
        copy_async(chunk_of(left, row + n * 16, chunk), chunk_at(a, step + s->at[n]),
                   s->tap < 32 && s->taps[n] >> s->tap & 1);
#pragma unroll
    for (int n = 0; n < COLS / 16; n++)
        copy_async(chunk_of(right, row + n * 16, chunk), w + n * 16 * (depth / 8),
                   j0 + row + n * 16 < a.o && s->k < depth);
    s->k += STEP;
    s->c += STEP;
    settle(a, s);
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

LV_INLINE void load_bias(const LvProductArgs &a, int j, float bias[8])
{
#pragma unroll
    for (int k = 0; k < 8; k++)
        bias[k] = a.bias && j + k < a.o ? a.bias[j + k] : 0;
}

/* Eight sums of row i from column j on, to y. */
LV_INLINE void finish8(const LvProductArgs &a, int i, int j, const float bias[8],
                       float v[8])
{
    float w[8];

    if (i >= a.rows || j >= a.o)
        return;
    add8(v, bias);
    if (a.r) {
        row_get8(a.r, a.r_type, i, j, a.o, w);
        add8(v, w);
    }
    act8(a.act, v);
    if (a.add) {
        row_get8(a.y, a.y_type, i, j, a.o, w);
        add8(v, w);
    }
    row_put8(a.y, a.y_type, i, j, a.o, v);
}

enum { PITCH = 64 + 4 }; /* floats of a row of sums in shared memory */

/* Sixteen rows from i on, columns j on, of the warp, by way of its memory. */
LV_INLINE void store_sums(const LvProductArgs &a, const float c[8][4], int i, int j,
                          const float bias[8], float *mem)
{
    int l = threadIdx.x % WARP, col = l % 8 * 8;
    float v[4][8];

    __syncwarp();
#pragma unroll
    for (int n = 0; n < 8; n++) {
        float *at = mem + l / 4 * PITCH + 8 * n + l % 4 * 2;
        *(float2 *)at               = make_float2(c[n][0], c[n][1]);
        *(float2 *)(at + 8 * PITCH) = make_float2(c[n][2], c[n][3]);
    }
    __syncwarp();
#pragma unroll
    for (int n = 0; n < 4; n++)
        get8(mem, LV_F32, (n * 4 + l / 8) * PITCH + col, (size_t)-1, v[n]);
#pragma unroll
    for (int n = 0; n < 4; n++)
        finish8(a, i + n * 4 + l / 8, j + col, bias, v[n]);
}

template <int COLS> static __device__ void product(const LvProductArgs &a)
{
    LV_DYNAMIC uint4 shared[];
    enum { STAGE = (ROWS + COLS) * 8, TALL = COLS == 128 ? 4 : 2 };
    int tiles = (a.o + COLS - 1) / COLS, warp = threadIdx.x / WARP;
    int j0 = blockIdx.x % tiles * COLS, i0 = blockIdx.x / tiles * ROWS;
    int wi = COLS == 128 ? warp / 2 * 64 : warp * 32;
    int wj = COLS == 128 ? warp % 2 * 64 : 0;
    int steps = (a.kt * a.kh * a.kw * a.c + STEP - 1) / STEP;
    float c[TALL][8][4] = { 0 }, *mem = (float *)shared + warp * 16 * PITCH, bias[8];
    Source source;

    open_source(a, &source, i0, j0);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps)
            start_stage<COLS>(a, &source, j0, shared + s * STAGE);
        copy_commit();
    }
    for (int s = 0; s < steps; s++) {
        int next = s + STAGES - 1;
        copy_wait<STAGES - 2>();
        __syncthreads();
        if (next < steps)
            start_stage<COLS>(a, &source, j0, shared + next % STAGES * STAGE);
        copy_commit();
        multiply_stage<TALL>(c, shared + s % STAGES * STAGE, wi, wj);
    }
    load_bias(a, j0 + wj + threadIdx.x % 8 * 8, bias);
    __syncthreads();
#pragma unroll
    for (int h = 0; h < TALL; h++)
        store_sums(a, c[h], i0 + wi + 16 * h, j0 + wj, bias, mem);
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
