/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Losses, sums of squares, the optimizer.
 *
 * Sums: each block of 256 threads sums a run of elements in f64 and leaves one value;
 * one block then adds those in order. Bytes: every tensor once; bound by memory.
 */

#include "lv_device.cuh"

/* Elements of n that block `block` of `blocks` takes: from *i to *end, each thread
 * eight at a time; runs are multiples of 2048. */
LV_INLINE void my_run(size_t n, size_t block, size_t blocks, size_t *i, size_t *end)
{
    size_t per = ((n + blocks - 1) / blocks + 2047) / 2048 * 2048;

    *i   = block * per + threadIdx.x * 8;
    *end = min(n, (block + 1) * per);
}

LV_KERNEL lv_mix_dr(LV_ARG LvMixDxArgs a, size_t n, double *part)
{
    size_t i, end;
    double sum = 0;

    for (my_run(n, blockIdx.x, gridDim.x, &i, &end); i < end; i += 2048) {
        float x[8], y[8], d[8];
        load8(a.a, i, end, x);
        load8(a.b, i, end, y);
        load8(a.dy, i, end, d);
#pragma unroll
        for (int k = 0; k < 8; k++)
            sum += (double)d[k] * ((double)x[k] - (double)y[k]);
    }
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
}

LV_KERNEL lv_sqsum(LV_ARG LvSqsumArgs a, size_t n, double *part)
{
    size_t i, end;
    double sum = 0;

    for (my_run(n, blockIdx.x, gridDim.x, &i, &end); i < end; i += 2048) {
        float x[8];
        load8(a.x, i, end, x);
#pragma unroll
        for (int k = 0; k < 8; k++)
            sum += (double)x[k] * (double)x[k];
    }
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
}

/* *y = sum of part[n], or added to it. One block. */
LV_KERNEL lv_sum_f64(const double *part, int n, float *y, int add)
{
    double sum = 0;

    for (int i = threadIdx.x; i < n; i += blockDim.x)
        sum += part[i];
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0)
        *y = (float)(sum + (add ? (double)*y : 0.0));
}

/* Value of the loss of e; *slope as well. */
LV_INLINE double loss_of(int kind, double e, double *slope)
{
    double root;

    if (kind == LV_LOSS_MSE) {
        *slope = 2 * e;
        return e * e;
    }
    if (kind == LV_LOSS_ABS) {
        *slope = (e > 0) - (e < 0);
        return fabs(e);
    }
    root   = sqrt(e * e + 1e-4);
    *slope = e / root;
    return root - 1e-2;
}

/* n elements of each sample; grid: blocks of a sample, samples. */
LV_KERNEL lv_loss(LV_ARG LvLossArgs a, size_t n, double *part)
{
    size_t i, end, from = blockIdx.y * n;
    double w = ((const float *)a.weight.data)[blockIdx.y] / (double)n, sum = 0;

    if (has(a.size))
        w /= (double)fmaxf(((const float *)a.size.data)[blockIdx.y], LV_LOSS_FLOOR);
    for (my_run(n, blockIdx.x, gridDim.x, &i, &end); i < end; i += 2048) {
        for (int k = 0; k < 8 && i + k < end; k++) {
            double slope, e = (double)get1(a.x, from + i + k) -
                              (double)get1(a.target, from + i + k);
            sum += loss_of(a.kind, e, &slope);
            if (has(a.dx))
                put1(a.dx, from + i + k, (float)(w * slope));
        }
    }
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0)
        part[blockIdx.y * gridDim.x + blockIdx.x] = w * sum;
}

/* A block for each sample. */
LV_KERNEL lv_loss_sum(const double *part, int n, float *loss)
{
    double sum = 0;

    for (int i = threadIdx.x; i < n; i += blockDim.x)
        sum += part[(size_t)blockIdx.x * n + i];
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0)
        loss[blockIdx.x] = (float)sum;
}

LV_KERNEL lv_adamw(LV_ARG LvAdamwArgs a, size_t n)
{
    size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    const float *h = (const float *)a.hyper.data;
    float clip = 1, g[8], p[8], m[8], v[8], ema[8];

    if (i >= n)
        return;
    if (has(a.norm) && h[LV_HYPER_CLIP] > 0)
        clip = fminf(1, h[LV_HYPER_CLIP] / sqrtf(*(const float *)a.norm.data));
    load8(a.g, i, n, g);
    load8(a.p, i, n, p);
    load8(a.m, i, n, m);
    load8(a.v, i, n, v);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        float d = g[k] * clip;
        m[k] = h[LV_HYPER_BETA1] * m[k] + (1 - h[LV_HYPER_BETA1]) * d;
        v[k] = h[LV_HYPER_BETA2] * v[k] + (1 - h[LV_HYPER_BETA2]) * d * d;
        d    = m[k] / h[LV_HYPER_BIAS1] /
               (sqrtf(v[k] / h[LV_HYPER_BIAS2]) + h[LV_HYPER_EPS]);
        p[k] -= h[LV_HYPER_LR] * (d + h[LV_HYPER_DECAY] * p[k]);
    }
    store8(a.p, i, n, p);
    store8(a.m, i, n, m);
    store8(a.v, i, n, v);
    if (!has(a.ema))
        return;
    load8(a.ema, i, n, ema);
#pragma unroll
    for (int k = 0; k < 8; k++)
        ema[k] = h[LV_HYPER_EMA] * ema[k] + (1 - h[LV_HYPER_EMA]) * p[k];
    store8(a.ema, i, n, ema);
}
