/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Softmax attention for every head size up to 256 and either type, with or without
 * relative bias: the formulas of attention.cu in f32.
 *
 * Tiles: a block of eight warps, each with one query (forward, dq) or one key (dk, dv);
 * it walks the other side in tiles of 32 rows held in shared memory, a lane for each
 * row while scores are made, a lane for every 32nd channel while they are used.
 * FLOPs as there, without tensor cores: for text encoders, odd shapes and f32.
 *
 * Gradient of the relative bias: a warp sums ds along each diagonal j - i of each
 * head, then a thread for each bucket and head adds the diagonals of the bucket.
 */

#include "attention_bias.cuh"

enum { ROWS = 32, WARPS = 8, MAX_PARTS = 8 };

/* bucket[n] of distances 0 to max_distance, of `half` on each side. */
LV_KERNEL lv_attn_buckets(int *bucket, int half, int max_distance)
{
    int n = blockIdx.x * blockDim.x + threadIdx.x, exact = half / 2;

    if (n <= max_distance)
        bucket[n] = n < exact ? n :
            min(half - 1, exact + (int)(log((double)n / exact) /
                                        log((double)max_distance / exact) *
                                        (half - exact)));
}

LV_INLINE float bias_of(const LvTensor &key_bias, const LvTensor &rel,
                        const int *bucket, int max_distance, size_t key, int head,
                        int d)
{
    float b = has(key_bias) ? ((const float *)key_bias.data)[key] : 0;

    if (has(rel)) {
        size_t row = bucket_row(bucket, d, rel.dim[0] / 2, max_distance);
        b += ((const float *)rel.data)[row * rel.dim[1] + head];
    }
    return b;
}

/* Rows first to first + 31 of head columns of t, as f32, at dst[32][d + 1]; those from
 * `rows` on are zeros. By the whole block. */
LV_INLINE void load_head(float *dst, const LvTensor &t, size_t first, int rows,
                         size_t column, int d)
{
    for (int i = threadIdx.x; i < ROWS * d; i += blockDim.x) {
        int r = i / d, c = i % d;
        dst[r * (d + 1) + c] = r < rows ?
            get1(t, (first + r) * t.dim[1] + column + c) : 0;
    }
}

/* One row of it, by one warp. */
LV_INLINE void load_one(float *dst, const LvTensor &t, size_t row, size_t column, int d)
{
    for (int c = threadIdx.x % WARP; c < d; c += WARP)
        dst[c] = get1(t, row * t.dim[1] + column + c);
}

LV_INLINE float dot(const float *x, const float *y, int d)
{
    float sum = 0;

    for (int c = 0; c < d; c++)
        sum += x[c] * y[c];
    return sum;
}

/* acc[k] += sum over 32 rows of w (of lane r) times column lane + 32 k of the row. */
LV_INLINE void add_weighted(float acc[MAX_PARTS], float w, const float *rows, int d)
{
    int lane = threadIdx.x % WARP;

    for (int r = 0; r < ROWS; r++) {
        float wr = __shfl_sync(0xFFFFFFFFu, w, r);
#pragma unroll
        for (int k = 0; k < MAX_PARTS; k++)
            if (lane + WARP * k < d)
                acc[k] += wr * rows[r * (d + 1) + lane + WARP * k];
    }
}

LV_INLINE void store_one(const LvTensor &t, size_t row, size_t column, int d,
                         const float acc[MAX_PARTS], float f, int add)
{
    int lane = threadIdx.x % WARP;

#pragma unroll
    for (int k = 0; k < MAX_PARTS; k++) {
        size_t at = row * t.dim[1] + column + lane + WARP * k;
        if (lane + WARP * k < d)
            put1(t, at, acc[k] * f + (add ? get1(t, at) : 0));
    }
}

/* blockIdx.x: eight queries; blockIdx.y: sample heads + head. */
LV_KERNEL lv_attn_any(LV_ARG LvAttnArgs a, const int *bucket)
{
    LV_DYNAMIC float mem[];
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch;
    int d = a.q.dim[1] / a.heads, head = blockIdx.y % a.heads;
    int lane = threadIdx.x % WARP;
    size_t sample = blockIdx.y / a.heads, key = sample * lk, column = (size_t)head * d;
    int i = blockIdx.x * WARPS + threadIdx.x / WARP;
    float *ks = mem, *vs = ks + ROWS * (d + 1), *q = vs + ROWS * (d + 1);
    float acc[MAX_PARTS] = { 0 }, max = -INFINITY, sum = 0;

    q += threadIdx.x / WARP * d;
    if (i < lq)
        load_one(q, a.q, sample * lq + i, column, d);
    for (int j0 = 0; j0 < lk; j0 += ROWS) {
        float s = -INFINITY, now, corr;
        __syncthreads();
        load_head(ks, a.k, key + j0, lk - j0, column, d);
        load_head(vs, a.v, key + j0, lk - j0, column, d);
        __syncthreads();
        if (i >= lq)
            continue;
        if (j0 + lane < lk)
            s = a.scale * dot(q, ks + lane * (d + 1), d) +
                bias_of(a.key_bias, a.rel_bias, bucket, a.max_distance,
                        key + j0 + lane, head, j0 + lane - i);
        now  = fmaxf(max, warp_max(s));
        corr = now == -INFINITY ? 1 : expf(max - now);
        s    = s == -INFINITY ? 0 : expf(s - now);
        sum  = sum * corr + warp_sum(s);
        max  = now;
#pragma unroll
        for (int k = 0; k < MAX_PARTS; k++)
            acc[k] *= corr;
        add_weighted(acc, s, vs, d);
    }
    if (i >= lq)
        return;
    store_one(a.o, sample * lq + i, column, d, acc, sum > 0 ? 1 / sum : 0, 0);
    if (has(a.lse) && lane == 0)
        ((float *)a.lse.data)[(size_t)blockIdx.y * lq + i] = max + logf(sum);
}

LV_KERNEL lv_attn_dq_any(LV_ARG LvAttnDxArgs a, const float *delta, const int *bucket)
{
    LV_DYNAMIC float mem[];
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch;
    int d = a.q.dim[1] / a.heads, head = blockIdx.y % a.heads;
    int lane = threadIdx.x % WARP;
    size_t sample = blockIdx.y / a.heads, key = sample * lk, column = (size_t)head * d;
    int i = blockIdx.x * WARPS + threadIdx.x / WARP;
    float *ks = mem, *vs = ks + ROWS * (d + 1), *q = vs + ROWS * (d + 1);
    float *dy = q + WARPS * d, acc[MAX_PARTS] = { 0 }, lse = 0, dl = 0;

    q += threadIdx.x / WARP * d;
    dy += threadIdx.x / WARP * d;
    if (i < lq) {
        load_one(q, a.q, sample * lq + i, column, d);
        load_one(dy, a.dy, sample * lq + i, column, d);
        lse = ((const float *)a.lse.data)[(size_t)blockIdx.y * lq + i];
        dl  = delta[(size_t)blockIdx.y * lq + i];
    }
    for (int j0 = 0; j0 < lk; j0 += ROWS) {
        float s = -INFINITY, ds = 0;
        __syncthreads();
        load_head(ks, a.k, key + j0, lk - j0, column, d);
        load_head(vs, a.v, key + j0, lk - j0, column, d);
        __syncthreads();
        if (i >= lq)
            continue;
        if (j0 + lane < lk)
            s = a.scale * dot(q, ks + lane * (d + 1), d) +
                bias_of(a.key_bias, a.rel_bias, bucket, a.max_distance,
                        key + j0 + lane, head, j0 + lane - i);
        if (s != -INFINITY)
            ds = expf(s - lse) * (dot(dy, vs + lane * (d + 1), d) - dl);
        add_weighted(acc, ds, ks, d);
    }
    if (i < lq)
        store_one(a.dq, sample * lq + i, column, d, acc, a.scale, a.add & 1);
}

/* blockIdx.x: eight keys. */
LV_KERNEL lv_attn_dkv_any(LV_ARG LvAttnDxArgs a, const float *delta, const int *bucket)
{
    LV_DYNAMIC float mem[];
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch;
    int d = a.q.dim[1] / a.heads, head = blockIdx.y % a.heads;
    int lane = threadIdx.x % WARP;
    size_t sample = blockIdx.y / a.heads, query = sample * lq;
    size_t column = (size_t)head * d;
    int j = blockIdx.x * WARPS + threadIdx.x / WARP;
    float *qs = mem, *ds = qs + ROWS * (d + 1), *k = ds + ROWS * (d + 1);
    float *v = k + WARPS * d, dk[MAX_PARTS] = { 0 }, dv[MAX_PARTS] = { 0 };

    k += threadIdx.x / WARP * d;
    v += threadIdx.x / WARP * d;
    if (j < lk) {
        load_one(k, a.k, sample * lk + j, column, d);
        load_one(v, a.v, sample * lk + j, column, d);
    }
    for (int i0 = 0; i0 < lq; i0 += ROWS) {
        int i = i0 + lane;
        float s = -INFINITY, p = 0, g = 0;
        __syncthreads();
        load_head(qs, a.q, query + i0, lq - i0, column, d);
        load_head(ds, a.dy, query + i0, lq - i0, column, d);
        __syncthreads();
        if (j >= lk)
            continue;
        if (i < lq)
            s = a.scale * dot(k, qs + lane * (d + 1), d) +
                bias_of(a.key_bias, a.rel_bias, bucket, a.max_distance, sample * lk + j,
                        head, j - i);
        if (s != -INFINITY) {
            size_t at = (size_t)blockIdx.y * lq + i;
            p = expf(s - ((const float *)a.lse.data)[at]);
            g = p * (dot(v, ds + lane * (d + 1), d) - delta[at]);
        }
        add_weighted(dk, g, qs, d);
        add_weighted(dv, p, ds, d);
    }
    if (j < lk && has(a.dk))
        store_one(a.dk, sample * lk + j, column, d, dk, a.scale, a.add & 2);
    if (j < lk && has(a.dv))
        store_one(a.dv, sample * lk + j, column, d, dv, 1, a.add & 4);
}

LV_INLINE float dot_rows(const LvTensor &x, size_t i, const LvTensor &y, size_t j,
                         size_t column, int d)
{
    float sum = 0;

    for (int c = 0; c < d; c++)
        sum += get1(x, i * x.dim[1] + column + c) * get1(y, j * y.dim[1] + column + c);
    return sum;
}

/* part [B H,Lq + Lk - 1]: sums of ds along diagonals, a warp for each. */
LV_KERNEL lv_attn_diagonals(LV_ARG LvAttnDxArgs a, const float *delta,
                            const int *bucket, float *part)
{
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch;
    int d = a.q.dim[1] / a.heads, head = blockIdx.y % a.heads;
    size_t sample = blockIdx.y / a.heads, column = (size_t)head * d;
    int n = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, diff = n - (lq - 1);
    float sum = 0;
    int first = max(0, -diff), end = min(lq, lk - diff);

    if (n >= lq + lk - 1)
        return;
    for (int i = first + threadIdx.x % WARP; i < end; i += WARP) {
        size_t q = sample * lq + i, k = sample * lk + i + diff;
        size_t at = (size_t)blockIdx.y * lq + i;
        float s = a.scale * dot_rows(a.q, q, a.k, k, column, d) +
                  bias_of(a.key_bias, a.rel_bias, bucket, a.max_distance, k, head,
                          diff);
        if (s != -INFINITY)
            sum += expf(s - ((const float *)a.lse.data)[at]) *
                   (dot_rows(a.dy, q, a.v, k, column, d) - delta[at]);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0)
        part[(size_t)blockIdx.y * (lq + lk - 1) + n] = sum;
}

LV_KERNEL lv_attn_drel(LV_ARG LvAttnDxArgs a, const int *bucket, const float *part)
{
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch, n = lq + lk - 1;
    int e = blockIdx.x * blockDim.x + threadIdx.x, head = e % a.heads;
    int row = e / a.heads;
    float sum = 0, *at = (float *)a.drel.data + e;

    if (row >= a.rel_bias.dim[0])
        return;
    for (int i = 0; i < n; i++)
        if (bucket_row(bucket, i - (lq - 1), a.rel_bias.dim[0] / 2,
                       a.max_distance) == row)
            for (int b = 0; b < a.batch; b++)
                sum += part[((size_t)b * a.heads + head) * n + i];
    *at = sum + (a.add & 8 ? *at : 0);
}
