/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Softmax attention in bf16 for heads of 64 and 128 channels, forward and backward.
 *
 *   forward   s = scale q k^T + key_bias; o = softmax(s) v; lse = ln sum exp s
 *   backward  p = exp(s - lse), delta = sum do o, ds = p (do v^T - delta);
 *             dq = scale ds k, dk = scale ds^T q, dv = p^T do
 *
 * Tiles: a block of four warps owns 64 or 128 queries (forward, dq) or keys (dk, dv) of
 * one head, a warp MT times 16 of them. It walks the other side in tiles of NT rows,
 * two of them in shared memory, the next one on its way while one is used; its own rows
 * stay there too. MT and NT were chosen by measuring. Scores stay in registers: as the
 * accumulators of one product they are the first operand of the next. dk and dv work on
 * s^T, so that no value crosses threads. Every output element is summed by one warp in
 * the order of tiles.
 *
 * FLOPs: 4 Lq Lk D a head forward, 14 backward (scores and do v^T are made twice, in
 * return for sums in a fixed order). Bytes: q, k, v, o once and k, v again for each
 * block, from the second-level cache: bound by the tensor cores and by exp.
 */

#include "attention.cuh"

enum { WARPS = 4, THREADS = WARPS * WARP };

/* Chunk (of 8 channels) of a row of a tile [..][D]; the swizzle lets eight rows be read
 * at once. */
template <int D> LV_INLINE uint4 *chunk_of(uint4 *tile, int row, int chunk)
{
    return tile + row * (D / 8) + (chunk ^ (row & 7));
}

/* Start to copy a tile of ROWS rows of src, those from `rows` on being zeros. */
template <int D, int ROWS>
LV_INLINE void start_tile(uint4 *tile, const uint16_t *src, size_t stride, int rows)
{
    int row = threadIdx.x / (D / 8), chunk = threadIdx.x % (D / 8);
    const uint16_t *at = src + row * stride + chunk * 8;

#pragma unroll
    for (int n = 0; n < ROWS * D / 8 / THREADS; n++) {
        copy_async(chunk_of<D>(tile, row, chunk), at, row < rows);
        row += THREADS * 8 / D;
        at += THREADS * 8 / D * stride;
    }
}

/* c[MT 16,NT] += rows `first` on of left[..][D] times right[NT][D]^T */
template <int D, int MT, int NT>
LV_INLINE void product_nt(float c[MT][NT / 8][4], uint4 *left, int first, uint4 *right)
{
    int l = threadIdx.x % WARP, row = l / 16 * 8 + l % 8, chunk = l / 8 % 2;

#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        uint32_t a[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++)
            load_matrices(a[m], chunk_of<D>(left, first + 16 * m + l % 16,
                                            kk * 2 + l / 16));
#pragma unroll
        for (int p = 0; p < NT / 16; p++) {
            uint32_t b[4];
            load_matrices(b, chunk_of<D>(right, p * 16 + row, kk * 2 + chunk));
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma_bf16(c[m][2 * p], a[m], b[0], b[1]);
                mma_bf16(c[m][2 * p + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* c[MT 16,D] += s[MT 16,NT] right[NT][D], s being accumulators */
template <int D, int MT, int NT>
LV_INLINE void product_nn(float c[MT][D / 8][4], const float s[MT][NT / 8][4],
                          uint4 *right)
{
    int l = threadIdx.x % WARP, row = l / 8 % 2 * 8 + l % 8, chunk = l / 16;

#pragma unroll
    for (int kk = 0; kk < NT / 16; kk++) {
        uint32_t a[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                a[m][e] = pack2(s[m][2 * kk + e / 2][e % 2 * 2],
                                s[m][2 * kk + e / 2][e % 2 * 2 + 1]);
#pragma unroll
        for (int p = 0; p < D / 16; p++) {
            uint32_t b[4];
            load_matrices_t(b, chunk_of<D>(right, kk * 16 + row, p * 2 + chunk));
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma_bf16(c[m][2 * p], a[m], b[0], b[1]);
                mma_bf16(c[m][2 * p + 1], a[m], b[2], b[3]);
            }
        }
    }
}

template <int MT, int N> LV_INLINE void clear(float c[MT][N][4])
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int i = 0; i < N; i++)
            c[m][i][0] = c[m][i][1] = c[m][i][2] = c[m][i][3] = 0;
}

/* Scores times scale, both in units of ln 2; keys are columns. */
template <int MT, int NT>
LV_INLINE void scale_keys(float s[MT][NT / 8][4], float scale, const float *key_bias,
                          int keys)
{
    int t = threadIdx.x % 4 * 2;

    if (!key_bias && keys >= NT) {
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < NT / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    s[m][n][e] *= scale;
        return;
    }
#pragma unroll
    for (int n = 0; n < NT / 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int j   = n * 8 + t + e;
            float b = j >= keys ? -INFINITY : key_bias ? key_bias[j] * LOG2E : 0;
#pragma unroll
            for (int m = 0; m < MT; m++) {
                s[m][n][e]     = s[m][n][e] * scale + b;
                s[m][n][e + 2] = s[m][n][e + 2] * scale + b;
            }
        }
}

/* The running softmax of rows r (h = 0) and r + 8 (h = 1): s becomes exp2(s - max),
 * sums and o are brought to the new maximum. */
template <int D, int NT>
LV_INLINE void softmax_step(float s[NT / 8][4], float o[D / 8][4], float max[2],
                            float sum[2])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float now = max[h], part = 0, base, corr;
#pragma unroll
        for (int n = 0; n < NT / 8; n++)
            now = fmaxf(now, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
        now  = quad_max(now);
        base = now == -INFINITY ? 0 : now;
        corr = exp2f(max[h] - base);
#pragma unroll
        for (int n = 0; n < NT / 8; n++) {
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

/* What a block works on. blockIdx.x: its rows; blockIdx.y: sample heads + head. */
typedef struct Block {
    int first;          ///< row of it that is the warp's first
    int start;          ///< of it in the sample
    int head;
    size_t query, key;  ///< first rows of the sample
    size_t stats;       ///< place of its lse and delta
} Block;

template <int MT> LV_INLINE Block my_block(int heads, int lq, int lk)
{
    int sample = blockIdx.y / heads;
    Block b = { (int)threadIdx.x / WARP * 16 * MT, (int)blockIdx.x * WARPS * 16 * MT,
                (int)blockIdx.y % heads, (size_t)sample * lq, (size_t)sample * lk,
                (size_t)blockIdx.y * lq };

    return b;
}

/* Rows of a tensor from `row` on, columns of the block's head. */
template <int D>
LV_INLINE const uint16_t *head_rows(const void *data, const Block &b, size_t row,
                                    size_t c)
{
    return (const uint16_t *)data + row * c + b.head * D;
}

/* Forward. shared: own queries, two tiles of keys, two of values. */
template <int D, int MT, int NT> static __device__ void forward(const LvAttnArgs &a)
{
    LV_DYNAMIC uint4 shared[];
    enum { SIZE = NT * D / 8, ROWS = WARPS * 16 * MT, OWN = ROWS * D / 8 };
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch, c = a.q.dim[1];
    Block b = my_block<MT>(a.heads, lq, lk);
    const uint16_t *k = head_rows<D>(a.k.data, b, b.key, c);
    const uint16_t *v = head_rows<D>(a.v.data, b, b.key, c);
    const float *bias = has(a.key_bias) ? (const float *)a.key_bias.data + b.key : NULL;
    float o[MT][D / 8][4], max[MT][2], sum[MT][2];
    uint4 *tiles = shared + OWN;

    start_tile<D, ROWS>(shared, head_rows<D>(a.q.data, b, b.query + b.start, c), c,
                  lq - b.start);
    start_tile<D, NT>(tiles, k, c, lk);
    start_tile<D, NT>(tiles + 2 * SIZE, v, c, lk);
    copy_commit();
    clear<MT, D / 8>(o);
#pragma unroll
    for (int m = 0; m < MT; m++) {
        max[m][0] = max[m][1] = -INFINITY;
        sum[m][0] = sum[m][1] = 0;
    }
    for (int j = 0, stage = 0; j < lk; j += NT, stage ^= 1) {
        float s[MT][NT / 8][4];
        copy_wait<0>();
        __syncthreads();
        if (j + NT < lk) {
            uint4 *next = tiles + (stage ^ 1) * SIZE;
            start_tile<D, NT>(next, k + (size_t)(j + NT) * c, c, lk - j - NT);
            start_tile<D, NT>(next + 2 * SIZE, v + (size_t)(j + NT) * c, c,
                              lk - j - NT);
            copy_commit();
        }
        clear<MT, NT / 8>(s);
        product_nt<D, MT, NT>(s, shared, b.first, tiles + stage * SIZE);
        scale_keys<MT, NT>(s, a.scale * LOG2E, bias ? bias + j : NULL, lk - j);
#pragma unroll
        for (int m = 0; m < MT; m++)
            softmax_step<D, NT>(s[m], o[m], max[m], sum[m]);
        product_nn<D, MT, NT>(o, s, tiles + (stage + 2) * SIZE);
    }
#pragma unroll
    for (int m = 0; m < MT; m++) {
        int i0 = b.start + b.first + 16 * m;
        float f[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int i = i0 + threadIdx.x % WARP / 4 + 8 * h;
            sum[m][h] = quad_sum(sum[m][h]);
            f[h]      = sum[m][h] > 0 ? 1 / sum[m][h] : 0;
            if (has(a.lse) && threadIdx.x % 4 == 0 && i < lq)
                ((float *)a.lse.data)[b.stats + i] = max[m][h] * LN2 + logf(sum[m][h]);
        }
        store_rows<D>(a.o, o[m], b.query + i0, b.head * D, lq - i0, f, 0);
    }
}

#define ATTENTION extern "C" __global__ void __launch_bounds__(THREADS)

ATTENTION lv_attn_bf16_d64(LV_ARG LvAttnArgs a)
{
    forward<64, 1, 64>(a);
}

ATTENTION lv_attn_bf16_d128(LV_ARG LvAttnArgs a)
{
    forward<128, 2, 64>(a);
}

/* delta [B H,Lq] = sum of do o; eight threads for each row and head. */
LV_KERNEL lv_attn_delta(LV_ARG LvAttnDxArgs a, float *delta)
{
    int lq = a.q.dim[0] / a.batch, c = a.q.dim[1], d = c / a.heads;
    size_t group = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / 8;
    size_t row = group / a.heads, head = group % a.heads;
    float sum = 0, x[8], y[8];

    for (int e = threadIdx.x % 8 * 8; e < d && row < a.q.dim[0]; e += 64) {
        size_t at = row * c + head * d + e;
        if (d % 8 == 0) {
            load8(a.o, at, (size_t)-1, x);
            load8(a.dy, at, (size_t)-1, y);
        }
#pragma unroll
        for (int n = 0; n < 8; n++)
            if (d % 8 == 0)
                sum += x[n] * y[n];
            else if (e + n < d)
                sum += get1(a.o, at + n) * get1(a.dy, at + n);
    }
    sum = quad_sum(sum);
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 4);
    if (row < a.q.dim[0] && threadIdx.x % 8 == 0)
        delta[(row / lq * a.heads + head) * lq + row % lq] = sum;
}

/* lse in units of ln 2; infinite, so that p is 0, when there is no such query or all
 * its keys are masked. */
LV_INLINE float lse_of(const LvAttnDxArgs &a, const Block &b, int i, int lq)
{
    float x = i < lq ? ((const float *)a.lse.data)[b.stats + i] : -INFINITY;

    return x == -INFINITY ? INFINITY : x * LOG2E;
}

/* dq. dy is that of o in bf16. shared: own queries and dy, then as forward. */
template <int D, int MT, int NT>
static __device__ void backward_q(const LvAttnDxArgs &a, const uint16_t *dy,
                                  const float *delta)
{
    LV_DYNAMIC uint4 shared[];
    enum { SIZE = NT * D / 8, ROWS = WARPS * 16 * MT, OWN = ROWS * D / 8 };
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch, c = a.q.dim[1];
    Block b = my_block<MT>(a.heads, lq, lk);
    const uint16_t *k = head_rows<D>(a.k.data, b, b.key, c);
    const uint16_t *v = head_rows<D>(a.v.data, b, b.key, c);
    const float *bias = has(a.key_bias) ? (const float *)a.key_bias.data + b.key : NULL;
    float dq[MT][D / 8][4], lse[MT][2], dl[MT][2];
    const float f[2] = { a.scale, a.scale };
    uint4 *grads = shared + OWN, *tiles = grads + OWN;

    start_tile<D, ROWS>(shared, head_rows<D>(a.q.data, b, b.query + b.start, c), c,
                  lq - b.start);
    start_tile<D, ROWS>(grads, head_rows<D>(dy, b, b.query + b.start, c), c,
                  lq - b.start);
    start_tile<D, NT>(tiles, k, c, lk);
    start_tile<D, NT>(tiles + 2 * SIZE, v, c, lk);
    copy_commit();
    clear<MT, D / 8>(dq);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int i = b.start + b.first + 16 * m + threadIdx.x % WARP / 4 + 8 * h;
            lse[m][h] = lse_of(a, b, i, lq);
            dl[m][h]  = i < lq ? delta[b.stats + i] : 0;
        }
    for (int j = 0, stage = 0; j < lk; j += NT, stage ^= 1) {
        uint4 *kt = tiles + stage * SIZE, *vt = kt + 2 * SIZE;
        float s[MT][NT / 8][4], dp[MT][NT / 8][4];
        copy_wait<0>();
        __syncthreads();
        if (j + NT < lk) {
            uint4 *next = tiles + (stage ^ 1) * SIZE;
            start_tile<D, NT>(next, k + (size_t)(j + NT) * c, c, lk - j - NT);
            start_tile<D, NT>(next + 2 * SIZE, v + (size_t)(j + NT) * c, c,
                              lk - j - NT);
            copy_commit();
        }
        clear<MT, NT / 8>(s);
        clear<MT, NT / 8>(dp);
        product_nt<D, MT, NT>(s, shared, b.first, kt);
        product_nt<D, MT, NT>(dp, grads, b.first, vt);
        scale_keys<MT, NT>(s, a.scale * LOG2E, bias ? bias + j : NULL, lk - j);
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < NT / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    s[m][n][e] = exp2f(s[m][n][e] - lse[m][e / 2]) *
                                 (dp[m][n][e] - dl[m][e / 2]);
        product_nn<D, MT, NT>(dq, s, kt);
    }
#pragma unroll
    for (int m = 0; m < MT; m++) {
        int i0 = b.start + b.first + 16 * m;
        store_rows<D>(a.dq, dq[m], b.query + i0, b.head * D, lq - i0, f, a.add & 1);
    }
}

#define BACKWARD_ARGS LV_ARG LvAttnDxArgs a, const uint16_t *dy, const float *delta

ATTENTION lv_attn_dq_bf16_d64(BACKWARD_ARGS)
{
    backward_q<64, 1, 64>(a, dy, delta);
}

ATTENTION lv_attn_dq_bf16_d128(BACKWARD_ARGS)
{
    backward_q<128, 2, 32>(a, dy, delta);
}

/* lse and delta of a tile of queries from i on. */
template <int NT>
LV_INLINE void load_stats(float *mem, const LvAttnDxArgs &a, const Block &b,
                          const float *delta, int i, int lq)
{
    for (int n = threadIdx.x; n < NT; n += blockDim.x) {
        mem[n]      = lse_of(a, b, i + n, lq);
        mem[NT + n] = i + n < lq ? delta[b.stats + i + n] : 0;
    }
}

/* p^T and ds^T of 16 keys (rows) and a tile of queries (columns), from s^T in s and
 * (do v^T)^T in dp. */
template <int NT>
LV_INLINE void scores_of_keys(float s[NT / 8][4], float dp[NT / 8][4], float scale,
                              const float bias[2], const float *stats)
{
    int t = threadIdx.x % 4 * 2;

#pragma unroll
    for (int n = 0; n < NT / 8; n++) {
        float2 lse = *(const float2 *)(stats + n * 8 + t);
        float2 dl  = *(const float2 *)(stats + NT + n * 8 + t);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float p  = exp2f(s[n][e] * scale + (bias[e / 2] - (e % 2 ? lse.y : lse.x)));
            s[n][e]  = p;
            dp[n][e] = p * (dp[n][e] - (e % 2 ? dl.y : dl.x));
        }
    }
}

/* dk and dv. shared: own keys and values, two tiles of q, two of dy, and what
 * load_stats() leaves of those. */
template <int D, int MT, int NT>
static __device__ void backward_kv(const LvAttnDxArgs &a, const uint16_t *dy,
                                   const float *delta)
{
    LV_DYNAMIC uint4 shared[];
    enum { SIZE = NT * D / 8, ROWS = WARPS * 16 * MT, OWN = ROWS * D / 8 };
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch, c = a.q.dim[1];
    Block b = my_block<MT>(a.heads, lq, lk);
    const uint16_t *q = head_rows<D>(a.q.data, b, b.query, c);
    float dk[MT][D / 8][4], dv[MT][D / 8][4], bias[MT][2];
    const float f[2] = { a.scale, a.scale }, one[2] = { 1, 1 };
    uint4 *values = shared + OWN, *tiles = values + OWN;
    float *stats = (float *)(tiles + 4 * SIZE);

    dy = head_rows<D>(dy, b, b.query, c);
    start_tile<D, ROWS>(shared, head_rows<D>(a.k.data, b, b.key + b.start, c), c,
                  lk - b.start);
    start_tile<D, ROWS>(values, head_rows<D>(a.v.data, b, b.key + b.start, c), c,
                  lk - b.start);
    start_tile<D, NT>(tiles, q, c, lq);
    start_tile<D, NT>(tiles + 2 * SIZE, dy, c, lq);
    copy_commit();
    load_stats<NT>(stats, a, b, delta, 0, lq);
    clear<MT, D / 8>(dk);
    clear<MT, D / 8>(dv);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int j = b.start + b.first + 16 * m + threadIdx.x % WARP / 4 + 8 * h;
            bias[m][h] = has(a.key_bias) && j < lk ?
                ((const float *)a.key_bias.data)[b.key + j] * LOG2E : 0;
        }
    for (int i = 0, stage = 0; i < lq; i += NT, stage ^= 1) {
        uint4 *qt = tiles + stage * SIZE, *dt = qt + 2 * SIZE;
        float s[MT][NT / 8][4], dp[MT][NT / 8][4];
        copy_wait<0>();
        __syncthreads();
        if (i + NT < lq) {
            uint4 *next = tiles + (stage ^ 1) * SIZE;
            start_tile<D, NT>(next, q + (size_t)(i + NT) * c, c, lq - i - NT);
            start_tile<D, NT>(next + 2 * SIZE, dy + (size_t)(i + NT) * c, c,
                              lq - i - NT);
            copy_commit();
            load_stats<NT>(stats + (stage ^ 1) * 2 * NT, a, b, delta, i + NT, lq);
        }
        clear<MT, NT / 8>(s);
        clear<MT, NT / 8>(dp);
        product_nt<D, MT, NT>(s, shared, b.first, qt);
        product_nt<D, MT, NT>(dp, values, b.first, dt);
#pragma unroll
        for (int m = 0; m < MT; m++)
            scores_of_keys<NT>(s[m], dp[m], a.scale * LOG2E, bias[m],
                               stats + stage * 2 * NT);
        product_nn<D, MT, NT>(dv, s, dt);
        product_nn<D, MT, NT>(dk, dp, qt);
    }
#pragma unroll
    for (int m = 0; m < MT; m++) {
        int j0 = b.start + b.first + 16 * m;
        if (has(a.dk))
            store_rows<D>(a.dk, dk[m], b.key + j0, b.head * D, lk - j0, f, a.add & 2);
        if (has(a.dv))
            store_rows<D>(a.dv, dv[m], b.key + j0, b.head * D, lk - j0, one, a.add & 4);
    }
}

ATTENTION lv_attn_dkv_bf16_d64(BACKWARD_ARGS)
{
    backward_kv<64, 1, 32>(a, dy, delta);
}

ATTENTION lv_attn_dkv_bf16_d128(BACKWARD_ARGS)
{
    backward_kv<128, 1, 64>(a, dy, delta);
}
