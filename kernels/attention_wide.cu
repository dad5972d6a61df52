/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What stands between the matmuls of attention whose heads are too wide for the other
 * files (more than 256 channels), forward and backward. The host runs, for each sample
 * and head and each tile of queries,
 *
 *   forward:  s = q k^T;  p = softmax weights of s;  o = (p v) / sum p
 *   backward: s = q k^T, dp = dy v^T;  p, ds;  dq = ds k, dk += ds^T q, dv += p^T dy
 *
 * with s and dp in f32, p and ds in the type of q. A block of 256 threads owns a row of
 * scores: it reads it twice, its second time from the cache, and writes it once, so that
 * these kernels are bound by bytes: 10 a score forward in bf16, beside 4 D FLOPs.
 */

#include "attention_bias.cuh"

enum { THREADS = 256 };

/* Largest and sum over a block, for all threads. Threads take turns with `part`. */
LV_INLINE float block_max(float x, float *part)
{
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_max(part[threadIdx.x % (THREADS / WARP)]);
}

LV_INLINE float block_sum(float x, float *part)
{
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    x = 0;
#pragma unroll
    for (int w = 0; w < THREADS / WARP; w++)
        x += part[w];
    return x;
}

/* Score of key j for the block's query, scaled and with its biases. */
LV_INLINE float score(const LvScoresArgs &a, const float *s, int j)
{
    float x = a.scale * s[j];

    if (a.key_bias)
        x += a.key_bias[j];
    if (a.rel_bias)
        x += a.rel_bias[bucket_row(a.bucket, j - a.first - (int)blockIdx.x, a.half,
                                   a.max_distance) * a.heads];
    return x;
}

/* The running largest score is never less than this, so that a row all of whose keys are
 * masked gets no weights. */
#define LOWEST -3.402823466e38f

LV_KERNEL lv_attn_weights(LV_ARG LvScoresArgs a)
{
    __shared__ float part[THREADS / WARP];
    const size_t row = (size_t)blockIdx.x * a.pitch;
    const float *s = a.s + row;
    float max = LOWEST, sum = 0;

    for (int j = threadIdx.x; j < a.keys; j += THREADS)
        max = fmaxf(max, score(a, s, j));
    max = block_max(max, part);
    for (int j = threadIdx.x; j < a.keys; j += THREADS) {
        float e = expf(score(a, s, j) - max);
        sum += e;
        put(a.p, a.type, row + j, e);
    }
    sum = block_sum(sum, part);
    if (threadIdx.x)
        return;
    a.factor[blockIdx.x] = sum > 0 ? 1 / sum : 0;
    if (a.lse)
        a.lse[blockIdx.x] = sum > 0 ? max + logf(sum) : -INFINITY;
}

LV_KERNEL lv_attn_weights_dx(LV_ARG LvScoresArgs a, const float *dp, void *ds,
                             const float *delta)
{
    const size_t row = (size_t)blockIdx.x * a.pitch;
    const float lse = a.lse[blockIdx.x], d = delta[blockIdx.x];

    for (int j = threadIdx.x; j < a.keys; j += THREADS) {
        float x = score(a, a.s + row, j);
        float p = x == -INFINITY ? 0 : expf(x - lse), g = p * (dp[row + j] - d);
        put(a.p, a.type, row + j, p);
        put(ds, a.type, row + j, g);
    }
}

/* Rows from `first` on, columns of one head from `column` on, of t: factor scale x, or that
 * more. factor may be NULL. A thread for each element. */
LV_KERNEL lv_attn_rows(LvTensor t, const float *x, const float *factor, int rows,
                       size_t first, int column, int d, float scale, int add)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x, row = i / d;
    size_t at = (first + row) * t.dim[1] + column + i % d;

    if (row < rows)
        put1(t, at, x[i] * scale * (factor ? factor[row] : 1) + (add ? get1(t, at) : 0));
}
