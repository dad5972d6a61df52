/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Softmax attention in bf16 for heads of 64 and 128 channels, forward and backward.
 *
 *   forward   s = scale q k^T + key_bias; o = softmax(s) v; lse = ln sum exp s
 *   backward  p = exp(s - lse), delta = sum do o, ds = p (do v^T - delta);
 *             dq = scale ds k, dk = scale ds^T q, dv = p^T do
 *
 * Tiles: a block of four warps owns 64 queries (forward, dq) or 64 keys (dk, dv) of one
 * head, a warp 16 of them; it walks the other side in tiles of 64, two of them in
 * shared memory, the next one on its way while one is used. Scores stay in registers:
 * as the accumulators of one product they are the first operand of the next. dk and dv
 * work on s^T, so that no value crosses threads. Every output element is summed by one
 * warp in the order of tiles.
 *
 * FLOPs: 4 Lq Lk D a head forward, 14 backward (scores and do v^T are made twice, in
 * return for sums in a fixed order). Bytes: q, k, v, o once and k, v again for each 64
 * queries, from the second-level cache: bound by the tensor cores and by exp.
 */

#include "lv_device.cuh"

enum { TILE = 64, THREADS = 128 };

#define LOG2E 1.4426950408889634f
#define LN2   0.6931471805599453f

/* Chunk (of 8 channels) of a row of a tile [64][D]; the swizzle lets eight rows be
 * read at once. */
template <int D> LV_INLINE uint4 *chunk_of(uint4 *tile, int row, int chunk)
{
    return tile + row * (D / 8) + (chunk ^ (row & 7));
}

/* Start to copy rows 0 to rows - 1 of src, the rest of the tile being zeros. */
template <int D>
LV_INLINE void start_tile(uint4 *tile, const uint16_t *src, size_t stride, int rows)
{
#pragma unroll
    for (int n = 0; n < TILE * D / 8 / THREADS; n++) {
        int i = threadIdx.x + n * THREADS, row = i / (D / 8), chunk = i % (D / 8);
        copy_async(chunk_of<D>(tile, row, chunk),
                   src + (row < rows ? row : 0) * stride + chunk * 8, row < rows);
    }
}

/* The warp's 16 rows of a matrix, as first operands; rows from `rows` on are zeros. */
template <int D>
LV_INLINE void load_rows(uint32_t a[D / 16][4], const uint16_t *src, size_t stride,
                         int rows)
{
    int r = threadIdx.x % WARP / 4, t = threadIdx.x % 4 * 2;

#pragma unroll
    for (int kk = 0; kk < D / 16; kk++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int row = r + e % 2 * 8;
            a[kk][e] = row < rows ?
                *(const uint32_t *)(src + row * stride + kk * 16 + t + e / 2 * 8) : 0;
        }
}

/* c[16,64] += a[16,D] tile[64,D]^T */
template <int D>
LV_INLINE void product_nt(float c[8][4], const uint32_t a[D / 16][4], uint4 *tile)
{
    int l = threadIdx.x % WARP, row = l / 16 * 8 + l % 8, chunk = l / 8 % 2;

#pragma unroll
    for (int kk = 0; kk < D / 16; kk++)
#pragma unroll
        for (int p = 0; p < 4; p++) {
            uint32_t b[4];
            load_matrices(b, chunk_of<D>(tile, p * 16 + row, kk * 2 + chunk));
            mma_bf16(c[2 * p], a[kk], b[0], b[1]);
            mma_bf16(c[2 * p + 1], a[kk], b[2], b[3]);
        }
}

/* The same with the first operand in rows `first` to first + 15 of a tile. */
template <int D>
LV_INLINE void product_tiles(float c[8][4], uint4 *left, int first, uint4 *tile)
{
    int l = threadIdx.x % WARP, row = l / 16 * 8 + l % 8, chunk = l / 8 % 2;

#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        uint32_t a[4];
        load_matrices(a, chunk_of<D>(left, first + l % 16, kk * 2 + l / 16));
#pragma unroll
        for (int p = 0; p < 4; p++) {
            uint32_t b[4];
            load_matrices(b, chunk_of<D>(tile, p * 16 + row, kk * 2 + chunk));
            mma_bf16(c[2 * p], a, b[0], b[1]);
            mma_bf16(c[2 * p + 1], a, b[2], b[3]);
        }
    }
}

/* c[16,D] += s[16,64] tile[64,D], s being accumulators */
template <int D>
LV_INLINE void product_nn(float c[D / 8][4], const float s[8][4], uint4 *tile)
{
    int l = threadIdx.x % WARP, row = l / 8 % 2 * 8 + l % 8, chunk = l / 16;

#pragma unroll
    for (int kk = 0; kk < 4; kk++) {
        uint32_t a[4] = {
            pack2(s[2 * kk][0], s[2 * kk][1]), pack2(s[2 * kk][2], s[2 * kk][3]),
            pack2(s[2 * kk + 1][0], s[2 * kk + 1][1]),
            pack2(s[2 * kk + 1][2], s[2 * kk + 1][3]),
        };
#pragma unroll
        for (int p = 0; p < D / 16; p++) {
            uint32_t b[4];
            load_matrices_t(b, chunk_of<D>(tile, kk * 16 + row, p * 2 + chunk));
            mma_bf16(c[2 * p], a, b[0], b[1]);
            mma_bf16(c[2 * p + 1], a, b[2], b[3]);
        }
    }
}

template <int N> LV_INLINE void clear(float c[N][4])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        c[i][0] = c[i][1] = c[i][2] = c[i][3] = 0;
}

/* Scores times scale, both in units of ln 2; keys are columns. */
LV_INLINE void scale_keys(float s[8][4], float scale, const float *key_bias, int keys)
{
    int t = threadIdx.x % 4 * 2;

    if (!key_bias && keys >= TILE) {
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                s[n][e] *= scale;
        return;
    }
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int j = n * 8 + t + e % 2;
            s[n][e] = j >= keys ? -INFINITY :
                      s[n][e] * scale + (key_bias ? key_bias[j] * LOG2E : 0);
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

/* The running softmax of rows r (h = 0) and r + 8 (h = 1): s becomes exp2(s - max),
 * sums and o are brought to the new maximum. */
template <int D>
LV_INLINE void softmax_step(float s[8][4], float o[D / 8][4], float max[2], float sum[2])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float now = max[h], part = 0, base, corr;
#pragma unroll
        for (int n = 0; n < 8; n++)
            now = fmaxf(now, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
        now  = quad_max(now);
        base = now == -INFINITY ? 0 : now;
        corr = exp2f(max[h] - base);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            s[n][2 * h]     = exp2f(s[n][2 * h] - base);
            s[n][2 * h + 1] = exp2f(s[n][2 * h + 1] - base);
            part += s[n][2 * h] + s[n][2 * h + 1];
        }
        sum[h] = sum[h] * corr + part;
        max[h] = now;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            o[n][2 * h] *= corr;
            o[n][2 * h + 1] *= corr;
        }
    }
}

/* Store the warp's 16 rows times f; with add to what is there. */
template <int D>
LV_INLINE void store_rows(const LvTensor &y, const float o[D / 8][4], size_t first,
                          size_t stride, size_t column, int rows, const float f[2],
                          int add)
{
    int r = threadIdx.x % WARP / 4, t = threadIdx.x % 4 * 2;

#pragma unroll
    for (int h = 0; h < 2; h++) {
        size_t at = (first + r + 8 * h) * stride + column + t;
        if (r + 8 * h >= rows)
            continue;
#pragma unroll
        for (int n = 0; n < D / 8; n++, at += 8) {
            float x = o[n][2 * h] * f[h], z = o[n][2 * h + 1] * f[h];
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
}

/* Forward. blockIdx.x: tile of queries; blockIdx.y: sample heads + head. */
template <int D> static __device__ void forward(const LvAttnArgs &a)
{
    extern __shared__ uint4 shared[];
    enum { SIZE = TILE * D / 8 };
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch, c = a.q.dim[1];
    int sample = blockIdx.y / a.heads, head = blockIdx.y % a.heads;
    int i0 = blockIdx.x * TILE + threadIdx.x / WARP * 16, tiles = (lk + TILE - 1) / TILE;
    size_t query = (size_t)sample * lq + i0, key = (size_t)sample * lk;
    const uint16_t *q = (const uint16_t *)a.q.data + query * c + head * D;
    const uint16_t *k = (const uint16_t *)a.k.data + key * c + head * D;
    const uint16_t *v = (const uint16_t *)a.v.data + key * c + head * D;
    const float *bias = has(a.key_bias) ? (const float *)a.key_bias.data + key : NULL;
    float o[D / 8][4], max[2] = { -INFINITY, -INFINITY }, sum[2] = { 0, 0 }, f[2];
    uint32_t qa[D / 16][4];

    start_tile<D>(shared, k, c, lk);
    start_tile<D>(shared + 2 * SIZE, v, c, lk);
    copy_commit();
    load_rows<D>(qa, q, c, lq - i0);
    clear<D / 8>(o);
    for (int j = 0; j < tiles; j++) {
        uint4 *kt = shared + j % 2 * SIZE, *vt = kt + 2 * SIZE;
        float s[8][4];
        copy_wait<0>();
        __syncthreads();
        if (j + 1 < tiles) {
            size_t next = (size_t)(j + 1) * TILE;
            start_tile<D>(shared + (j + 1) % 2 * SIZE, k + next * c, c, lk - next);
            start_tile<D>(shared + (2 + (j + 1) % 2) * SIZE, v + next * c, c, lk - next);
            copy_commit();
        }
        clear<8>(s);
        product_nt<D>(s, qa, kt);
        scale_keys(s, a.scale * LOG2E, bias ? bias + j * TILE : NULL, lk - j * TILE);
        softmax_step<D>(s, o, max, sum);
        product_nn<D>(o, s, vt);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int i = i0 + threadIdx.x % WARP / 4 + 8 * h;
        sum[h] = quad_sum(sum[h]);
        f[h]   = sum[h] > 0 ? 1 / sum[h] : 0;
        if (has(a.lse) && threadIdx.x % 4 == 0 && i < lq)
            ((float *)a.lse.data)[(size_t)blockIdx.y * lq + i] =
                max[h] * LN2 + logf(sum[h]);
    }
    store_rows<D>(a.o, o, query, c, head * D, lq - i0, f, 0);
}

extern "C" __global__ void __launch_bounds__(THREADS) lv_attn_bf16_d64(LV_ARG LvAttnArgs a)
{
    forward<64>(a);
}

extern "C" __global__ void __launch_bounds__(THREADS) lv_attn_bf16_d128(LV_ARG LvAttnArgs a)
{
    forward<128>(a);
}

/* delta [B H,Lq] = sum of do o; eight threads for each row and head. */
LV_KERNEL lv_attn_delta(LV_ARG LvAttnDxArgs a, float *delta)
{
    int lq = a.q.dim[0] / a.batch, c = a.q.dim[1], d = c / a.heads;
    size_t group = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / 8;
    size_t row = group / a.heads, head = group % a.heads;
    float sum = 0;

    if (row < a.q.dim[0]) {
        for (int e = threadIdx.x % 8 * 8; e < d; e += 64) {
            size_t at = row * c + head * d + e;
            for (int n = 0; n < 8 && e + n < d; n++)
                sum += get1(a.o, at + n) * get1(a.dy, at + n);
        }
    }
    sum = quad_sum(sum);
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 4);
    if (row < a.q.dim[0] && threadIdx.x % 8 == 0)
        delta[(row / lq * a.heads + head) * lq + row % lq] = sum;
}

/* dq. As forward; dy is that of o in bf16. */
template <int D>
static __device__ void backward_q(const LvAttnDxArgs &a, const uint16_t *dy,
                                  const float *delta)
{
    extern __shared__ uint4 shared[];
    enum { SIZE = TILE * D / 8 };
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch, c = a.q.dim[1];
    int sample = blockIdx.y / a.heads, head = blockIdx.y % a.heads;
    int i0 = blockIdx.x * TILE + threadIdx.x / WARP * 16, tiles = (lk + TILE - 1) / TILE;
    size_t query = (size_t)sample * lq + i0, key = (size_t)sample * lk;
    const uint16_t *k = (const uint16_t *)a.k.data + key * c + head * D;
    const uint16_t *v = (const uint16_t *)a.v.data + key * c + head * D;
    const float *bias = has(a.key_bias) ? (const float *)a.key_bias.data + key : NULL;
    float dq[D / 8][4], lse[2], dl[2];
    const float f[2] = { a.scale, a.scale };
    uint32_t qa[D / 16][4], da[D / 16][4];

    start_tile<D>(shared, k, c, lk);
    start_tile<D>(shared + 2 * SIZE, v, c, lk);
    copy_commit();
    load_rows<D>(qa, (const uint16_t *)a.q.data + query * c + head * D, c, lq - i0);
    load_rows<D>(da, dy + query * c + head * D, c, lq - i0);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int i = i0 + threadIdx.x % WARP / 4 + 8 * h;
        size_t at = (size_t)blockIdx.y * lq + i;
        lse[h] = i < lq ? ((const float *)a.lse.data)[at] * LOG2E : 0;
        dl[h]  = i < lq ? delta[at] : 0;
    }
    clear<D / 8>(dq);
    for (int j = 0; j < tiles; j++) {
        uint4 *kt = shared + j % 2 * SIZE, *vt = kt + 2 * SIZE;
        float s[8][4], dp[8][4];
        copy_wait<0>();
        __syncthreads();
        if (j + 1 < tiles) {
            size_t next = (size_t)(j + 1) * TILE;
            start_tile<D>(shared + (j + 1) % 2 * SIZE, k + next * c, c, lk - next);
            start_tile<D>(shared + (2 + (j + 1) % 2) * SIZE, v + next * c, c, lk - next);
            copy_commit();
        }
        clear<8>(s);
        clear<8>(dp);
        product_nt<D>(s, qa, kt);
        product_nt<D>(dp, da, vt);
        scale_keys(s, a.scale * LOG2E, bias ? bias + j * TILE : NULL, lk - j * TILE);
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float p = s[n][e] == -INFINITY ? 0 : exp2f(s[n][e] - lse[e / 2]);
                s[n][e] = p * (dp[n][e] - dl[e / 2]);
            }
        product_nn<D>(dq, s, kt);
    }
    store_rows<D>(a.dq, dq, query, c, head * D, lq - i0, f, a.add & 1);
}

#define BACKWARD_ARGS LV_ARG LvAttnDxArgs a, const uint16_t *dy, const float *delta

extern "C" __global__ void __launch_bounds__(THREADS) lv_attn_dq_bf16_d64(BACKWARD_ARGS)
{
    backward_q<64>(a, dy, delta);
}

extern "C" __global__ void __launch_bounds__(THREADS) lv_attn_dq_bf16_d128(BACKWARD_ARGS)
{
    backward_q<128>(a, dy, delta);
}

/* p^T and ds^T of the warp's 16 keys (rows) and a tile of queries (columns), of which
 * `queries` are there, from s^T in s and (do v^T)^T in dp. */
LV_INLINE void scores_of_keys(float s[8][4], float dp[8][4], float scale,
                              const float bias[2], const float *lse, const float *delta,
                              int queries)
{
    int t = threadIdx.x % 4 * 2;

#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int i    = n * 8 + t + e % 2;
            float b  = bias[e / 2], p = 0;
            if (i < queries && b != -INFINITY)
                p = exp2f(s[n][e] * scale + b - lse[i] * LOG2E);
            s[n][e]  = p;
            dp[n][e] = i < queries ? p * (dp[n][e] - delta[i]) : 0;
        }
}

/* dk and dv. blockIdx.x: tile of keys; shared: keys, values, two of q, two of dy. */
template <int D>
static __device__ void backward_kv(const LvAttnDxArgs &a, const uint16_t *dy,
                                   const float *delta)
{
    extern __shared__ uint4 shared[];
    enum { SIZE = TILE * D / 8 };
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch, c = a.q.dim[1];
    int sample = blockIdx.y / a.heads, head = blockIdx.y % a.heads;
    int first = threadIdx.x / WARP * 16, j0 = blockIdx.x * TILE;
    int tiles = (lq + TILE - 1) / TILE, mine = lk - j0 - first;
    size_t query = (size_t)sample * lq, key = (size_t)sample * lk + j0;
    const uint16_t *q = (const uint16_t *)a.q.data + query * c + head * D;
    const float *lse = (const float *)a.lse.data + (size_t)blockIdx.y * lq;
    float dk[D / 8][4], dv[D / 8][4], bias[2] = { 0, 0 };
    const float f[2] = { a.scale, a.scale }, one[2] = { 1, 1 };

    dy += query * c + head * D;
    delta += (size_t)blockIdx.y * lq;
    start_tile<D>(shared, (const uint16_t *)a.k.data + key * c + head * D, c, lk - j0);
    start_tile<D>(shared + SIZE, (const uint16_t *)a.v.data + key * c + head * D, c,
                  lk - j0);
    start_tile<D>(shared + 2 * SIZE, q, c, lq);
    start_tile<D>(shared + 4 * SIZE, dy, c, lq);
    copy_commit();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = threadIdx.x % WARP / 4 + 8 * h;
        if (has(a.key_bias) && r < mine)
            bias[h] = ((const float *)a.key_bias.data)[key + first + r] * LOG2E;
    }
    clear<D / 8>(dk);
    clear<D / 8>(dv);
    for (int i = 0; i < tiles; i++) {
        uint4 *qt = shared + (2 + i % 2) * SIZE, *dt = qt + 2 * SIZE;
        float s[8][4], dp[8][4];
        copy_wait<0>();
        __syncthreads();
        if (i + 1 < tiles) {
            size_t next = (size_t)(i + 1) * TILE;
            start_tile<D>(shared + (2 + (i + 1) % 2) * SIZE, q + next * c, c, lq - next);
            start_tile<D>(shared + (4 + (i + 1) % 2) * SIZE, dy + next * c, c, lq - next);
            copy_commit();
        }
        clear<8>(s);
        clear<8>(dp);
        product_tiles<D>(s, shared, first, qt);
        product_tiles<D>(dp, shared + SIZE, first, dt);
        scores_of_keys(s, dp, a.scale * LOG2E, bias, lse + i * TILE, delta + i * TILE,
                       lq - i * TILE);
        product_nn<D>(dv, s, dt);
        product_nn<D>(dk, dp, qt);
    }
    key += first;
    if (has(a.dk))
        store_rows<D>(a.dk, dk, key, c, head * D, mine, f, a.add & 2);
    if (has(a.dv))
        store_rows<D>(a.dv, dv, key, c, head * D, mine, one, a.add & 4);
}

extern "C" __global__ void __launch_bounds__(THREADS) lv_attn_dkv_bf16_d64(BACKWARD_ARGS)
{
    backward_kv<64>(a, dy, delta);
}

extern "C" __global__ void __launch_bounds__(THREADS) lv_attn_dkv_bf16_d128(BACKWARD_ARGS)
{
    backward_kv<128>(a, dy, delta);
}
