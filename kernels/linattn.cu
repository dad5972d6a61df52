/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Linear attention, forward and backward, as batches of products over samples, heads
 * and chunks of tokens, with the feature maps between them:
 *
 *   forward   y = x w; phi = map(y); S = 1/L phi_k^T [v, 1]; A = phi_q S; o = A / den
 *   backward  G = [do / den, -(do o) / den]; dphi_q = G S^T; dS = phi_q^T G / L;
 *             dphi_k = [v, 1] dS^T; dv = phi_k dS; dy = map'(y, dphi); dx = dy w^T;
 *             dw = x^T dy
 *
 * Tiles: a product has a block of 64 x 64 of its result; in bf16 four warps of 32 x 32
 * each, K in steps of 32; in f32 256 threads of 4 x 4 each, K in steps of 16. What the
 * operands are, and where, is said by views with strides, so that heads, transposes
 * and the column of ones need no copies. Maps have a warp for each row. Sums over
 * tokens are made in chunks that are then added in order.
 *
 * FLOPs forward: 2 L (2 D P + 2 F (D + 1)) a head; bytes: q, k, v, o, and phi of q and
 * k written and read once each: bound by memory.
 */

#include "lv_device.cuh"

enum { TILE = 64, STEP_BF16 = 32, STEP_F32 = 16, PAD = 8 };

typedef struct Place {
    int sample, head, chunk;
} Place;

LV_INLINE Place my_place(const LvBatchedArgs &a)
{
    int z = blockIdx.z;
    Place p = { z / (a.heads * a.chunks), z / a.chunks % a.heads, z % a.chunks };

    return p;
}

LV_INLINE int64_t view_base(const LvView &v, const Place &p)
{
    return p.sample * v.sample + p.head * v.head + p.chunk * v.chunk;
}

/* Element (row, k) of an operand of `rows` rows and k up to `end`; zeros outside. */
LV_INLINE float view_get(const LvView &v, int64_t base, int row, int rows, int k,
                         int end)
{
    if (row >= rows || k >= end)
        return 0;
    if ((v.ones && row >= v.ones) || (v.ones_k && k >= v.ones_k))
        return 1;
    return get(v.data, v.dtype, base + row * v.row + k * v.col);
}

/* Entry n of a tile of 64 rows and `step` columns: neighbours in memory go to
 * neighbouring threads. */
LV_INLINE void tile_entry(const LvView &v, int n, int step, int *row, int *k)
{
    if (v.col == 1) {
        *row = n / step;
        *k   = n % step;
    } else {
        *row = n % TILE;
        *k   = n / TILE;
    }
}

LV_INLINE void view_put(const LvBatchedArgs &a, int64_t base, int i, int j, float x)
{
    int64_t at = base + i * a.c.row + j * a.c.col;

    if (i >= a.m || j >= a.n)
        return;
    x *= a.alpha;
    put(a.c.data, a.c.dtype, at, a.add ? x + get(a.c.data, a.c.dtype, at) : x);
}

/* A tile in shared memory: as the operand lies in memory, [64][PITCH_K] with columns
 * together, else [32][PITCH_ROWS] with rows together. */
enum { PITCH_K = STEP_BF16 + PAD, PITCH_ROWS = TILE + PAD, MEM = TILE * PITCH_K };

/* Eight neighbours in memory: columns k on of a row, or rows on of a column. */
LV_INLINE void view_get8(const LvView &v, int64_t base, int row, int rows, int k,
                         int end, float x[8])
{
    int by_k = v.col == 1, last_row = by_k ? row : row + 7, last_k = by_k ? k + 7 : k;
    int64_t at = base + row * v.row + k * v.col;

    if (last_row < rows && last_k < end && at % 8 == 0 && (by_k || v.row == 1) &&
        v.dtype != LV_F16 && (!v.ones || last_row < v.ones) &&
        (!v.ones_k || last_k < v.ones_k)) {
        get8(v.data, v.dtype, at, (size_t)-1, x);
        return;
    }
#pragma unroll
    for (int n = 0; n < 8; n++)
        x[n] = by_k ? view_get(v, base, row, rows, k + n, end)
                    : view_get(v, base, row + n, rows, k, end);
}

LV_INLINE void load_operand(uint16_t *mem, const LvView &v, int64_t base, int row0,
                            int rows, int k0, int end)
{
#pragma unroll
    for (int n = 0; n < 2; n++) {
        int i = threadIdx.x + n * 128;
        int row = v.col == 1 ? i / 4 : i % 8 * 8, k = v.col == 1 ? i % 4 * 8 : i / 8;
        float x[8];
        view_get8(v, base, row0 + row, rows, k0 + k, end, x);
        put8(mem + (v.col == 1 ? row * PITCH_K + k : k * PITCH_ROWS + row), LV_BF16, 0,
             8, x);
    }
}

/* Rows 16 and columns 16 of a tile as a first operand, or as two second ones. */
LV_INLINE void first_operand(uint32_t r[4], const uint16_t *mem, int by_k, int row,
                             int k)
{
    int l = threadIdx.x % WARP;

    if (by_k)
        load_matrices(r, mem + (row + l % 16) * PITCH_K + k + l / 16 * 8);
    else
        load_matrices_t(r, mem + (k + l / 16 * 8 + l % 8) * PITCH_ROWS + row +
                        l / 8 % 2 * 8);
}

LV_INLINE void second_operand(uint32_t r[4], const uint16_t *mem, int by_k, int row,
                              int k)
{
    int l = threadIdx.x % WARP;

    if (by_k)
        load_matrices(r, mem + (row + l / 16 * 8 + l % 8) * PITCH_K + k +
                         l / 8 % 2 * 8);
    else
        load_matrices_t(r, mem + (k + l / 8 % 2 * 8 + l % 8) * PITCH_ROWS + row +
                        l / 16 * 8);
}

/* blockIdx: tile of rows, tile of columns, (sample heads + head) chunks + chunk. */
extern "C" __global__ void __launch_bounds__(128)
lv_batched_bf16(LV_ARG LvBatchedArgs a)
{
    __shared__ __align__(16) uint16_t left[MEM], right[MEM];
    Place p = my_place(a);
    int64_t abase = view_base(a.a, p), bbase = view_base(a.b, p);
    int64_t cbase = view_base(a.c, p);
    int i0 = blockIdx.x * TILE, j0 = blockIdx.y * TILE, l = threadIdx.x % WARP;
    int wi = threadIdx.x / WARP / 2 * 32, wj = threadIdx.x / WARP % 2 * 32;
    int k0 = p.chunk * a.k_chunk, end = min(a.k, k0 + a.k_chunk);
    float c[2][4][4] = { 0 };

    for (; k0 < end; k0 += STEP_BF16) {
        __syncthreads();
        load_operand(left, a.a, abase, i0, a.m, k0, end);
        load_operand(right, a.b, bbase, j0, a.n, k0, end);
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < STEP_BF16; kk += 16) {
            uint32_t x[2][4], y[2][4];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                first_operand(x[h], left, a.a.col == 1, wi + 16 * h, kk);
                second_operand(y[h], right, a.b.col == 1, wj + 16 * h, kk);
            }
#pragma unroll
            for (int h = 0; h < 2; h++)
#pragma unroll
                for (int n = 0; n < 4; n++)
                    mma_bf16(c[h][n], x[h], y[n / 2][n % 2 * 2],
                             y[n / 2][n % 2 * 2 + 1]);
        }
    }
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                view_put(a, cbase, i0 + wi + 16 * h + l / 4 + e / 2 * 8,
                         j0 + wj + 8 * n + l % 4 * 2 + e % 2, c[h][n][e]);
}

extern "C" __global__ void __launch_bounds__(256) lv_batched_f32(LV_ARG LvBatchedArgs a)
{
    __shared__ float left[STEP_F32][TILE + 4], right[STEP_F32][TILE + 4];
    Place p = my_place(a);
    int64_t abase = view_base(a.a, p), bbase = view_base(a.b, p);
    int64_t cbase = view_base(a.c, p);
    int i0 = blockIdx.x * TILE, j0 = blockIdx.y * TILE;
    int ti = threadIdx.x / 16 * 4, tj = threadIdx.x % 16 * 4;
    int k0 = p.chunk * a.k_chunk, end = min(a.k, k0 + a.k_chunk);
    float c[4][4] = { 0 };

    for (; k0 < end; k0 += STEP_F32) {
        __syncthreads();
#pragma unroll
        for (int n = 0; n < TILE * STEP_F32 / 256; n++) {
            int row, k;
            tile_entry(a.a, threadIdx.x + n * 256, STEP_F32, &row, &k);
            left[k][row] = view_get(a.a, abase, i0 + row, a.m, k0 + k, end);
            tile_entry(a.b, threadIdx.x + n * 256, STEP_F32, &row, &k);
            right[k][row] = view_get(a.b, bbase, j0 + row, a.n, k0 + k, end);
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < STEP_F32; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    c[i][j] += left[k][ti + i] * right[k][tj + j];
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            view_put(a, cbase, i0 + ti + i, j0 + tj + j, c[i][j]);
}

/* Feature maps: a warp for each row, y [rows,P] to phi [rows,F]. */

LV_INLINE size_t my_row(void)
{
    return (size_t)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
}

/* Softmax of sign y: its maximum and the inverse of its sum. */
LV_INLINE void softmax_of(const float *y, int p, float sign, float *max, float *inv)
{
    float m = -INFINITY, sum = 0;

    for (int i = threadIdx.x % WARP; i < p; i += WARP)
        m = fmaxf(m, sign * y[i]);
    m = warp_max(m);
    for (int i = threadIdx.x % WARP; i < p; i += WARP)
        sum += expf(sign * y[i] - m);
    *max = m;
    *inv = 1 / warp_sum(sum);
}

/* Place of feature y_a y_b of TAYLOR, a < b, behind the first 1 + P. */
LV_INLINE int pair_at(int a, int b, int p)
{
    return a * p - a * (a + 1) / 2 + b - a - 1;
}

LV_INLINE void taylor(const float *y, void *phi, int type, size_t at, int p)
{
    float root = sqrtf((float)p), one = 1 / sqrtf(root);
    int lane = threadIdx.x % WARP, pairs = 1 + p, squares = pairs + p * (p - 1) / 2;

    if (lane == 0)
        put(phi, type, at, 1);
    for (int b = lane; b < p; b += WARP) {
        put(phi, type, at + 1 + b, y[b] * one);
        put(phi, type, at + squares + b, y[b] * y[b] / (root * 1.41421356f));
        for (int a = 0; a < b; a++)
            put(phi, type, at + pairs + pair_at(a, b, p), y[a] / root * y[b]);
    }
}

LV_KERNEL lv_linattn_map(const float *y, void *phi, int type, int map, size_t rows,
                         int p, int f)
{
    size_t row = my_row(), at = row * f;
    float max = 0, inv = 0, least = 0, inv2 = 0;

    if (row >= rows)
        return;
    y += row * p;
    if (map == LV_MAP_TAYLOR) {
        taylor(y, phi, type, at, p);
        return;
    }
    if (map == LV_MAP_HEDGEHOG) {
        softmax_of(y, p, 1, &max, &inv);
        softmax_of(y, p, -1, &least, &inv2);
    }
    for (int i = threadIdx.x % WARP; i < p; i += WARP) {
        if (map == LV_MAP_RELU) {
            put(phi, type, at + i, fmaxf(y[i], 0));
        } else {
            put(phi, type, at + i, expf(y[i] - max) * inv);
            put(phi, type, at + p + i, expf(-y[i] - least) * inv2);
        }
    }
}

/* Softmax of sign y backwards, its gradient at d, added to dy times sign. */
LV_INLINE void softmax_dx(const float *y, const float *d, void *dy, int type, size_t at,
                          int p, float sign, int add)
{
    float max, inv, sum = 0;

    softmax_of(y, p, sign, &max, &inv);
    for (int i = threadIdx.x % WARP; i < p; i += WARP)
        sum += expf(sign * y[i] - max) * inv * d[i];
    sum = warp_sum(sum);
    for (int i = threadIdx.x % WARP; i < p; i += WARP) {
        float x = sign * (expf(sign * y[i] - max) * inv) * (d[i] - sum);
        put(dy, type, at + i, add ? x + get(dy, type, at + i) : x);
    }
}

LV_INLINE float taylor_slope(const float *y, const float *d, int i, int p)
{
    float root = sqrtf((float)p), sum = 0;
    const float *pairs = d + 1 + p, *squares = pairs + p * (p - 1) / 2;

    for (int b = 0; b < p; b++)
        if (b != i)
            sum += pairs[pair_at(min(i, b), max(i, b), p)] * y[b];
    return d[1 + i] / sqrtf(root) + sum / root + squares[i] * y[i] *
           (1.41421356f / root);
}

/* dy [rows,P] f32 from y [rows,P] and dphi [rows,F]. */
LV_KERNEL lv_linattn_map_dx(const float *y, const float *dphi, float *dy, int map,
                            size_t rows, int p, int f)
{
    size_t row = my_row();

    if (row >= rows)
        return;
    y += row * p;
    dphi += row * f;
    if (map == LV_MAP_HEDGEHOG) {
        softmax_dx(y, dphi, dy, LV_F32, row * p, p, 1, 0);
        softmax_dx(y, dphi + p, dy, LV_F32, row * p, p, -1, 1);
        return;
    }
    for (int i = threadIdx.x % WARP; i < p; i += WARP)
        dy[row * p + i] = map == LV_MAP_RELU ? (y[i] > 0 ? dphi[i] : 0)
                                             : taylor_slope(y, dphi, i, p);
}

/* o and den from A [B H L,pitch]: a warp for each row. */
LV_KERNEL lv_linattn_divide(LV_ARG LvLinattnArgs a, const float *sums, size_t rows,
                            int pitch)
{
    int c = a.q.dim[1], d = c / a.heads, l = a.q.dim[0] / a.batch;
    size_t row = my_row(), group = row / l, i = row % l;
    size_t at = (group / a.heads * l + i) * c + group % a.heads * d;
    float den;

    if (row >= rows)
        return;
    sums += row * pitch;
    den = sums[d] + a.eps;
    for (int e = threadIdx.x % WARP; e < d; e += WARP)
        put1(a.o, at + e, den != 0 ? sums[e] / den : 0);
    if (has(a.den) && threadIdx.x % WARP == 0)
        ((float *)a.den.data)[row] = den;
}

/* G [B H L,pitch]. */
LV_KERNEL lv_linattn_grad(LV_ARG LvLinattnDxArgs a, float *grad, size_t rows, int pitch)
{
    int c = a.q.dim[1], d = c / a.heads, l = a.q.dim[0] / a.batch;
    size_t row = my_row(), group = row / l, i = row % l;
    size_t at = (group / a.heads * l + i) * c + group % a.heads * d;
    float den, inv, sum = 0;

    if (row >= rows)
        return;
    grad += row * pitch;
    den = ((const float *)a.den.data)[row];
    inv = den != 0 ? 1 / den : 0;
    for (int e = threadIdx.x % WARP; e < d; e += WARP) {
        float dy = get1(a.dy, at + e);
        sum += dy * get1(a.o, at + e);
        grad[e] = dy * inv;
    }
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0)
        grad[d] = -sum * inv;
}

/* out [items,size] = sum over outer and chunks of part [outer,items,chunks,size]. */
LV_KERNEL lv_linattn_sum(const float *part, float *out, size_t n, size_t size,
                         int outer, int chunks, int add)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x, items = n / size;
    float sum = 0;

    if (i >= n)
        return;
    for (int o = 0; o < outer; o++)
        for (int c = 0; c < chunks; c++)
            sum += part[((o * items + i / size) * chunks + c) * size + i % size];
    out[i] = sum + (add ? out[i] : 0);
}
