/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Matrices as small numbers with scales: rows rounded to F8_E4M3, and weights as files store
 * them back to f32 or bf16. Layouts of blocks: base/blocks.h.
 *
 * quantize_rows: a block for a row, which waits in shared memory as f32 for its maximum. Bytes:
 * each element read once, written as one byte. widen: a thread for eight elements, which share
 * their scale in every type. Bytes: each read and written once. Bound by memory, both.
 */

#include "lv_device.cuh"

#include "base/blocks.h"
#include "base/half.h"

enum { THREADS = 256 };

/* Rows */

LV_INLINE float block_max(float x)
{
    __shared__ float part[THREADS / WARP];

    x = warp_max(x);
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_max(part[threadIdx.x % (THREADS / WARP)]);
}

/* Four numbers within 448 as F8_E4M3, the first one in the low byte. */
LV_INLINE uint32_t to_e4m3(const float v[4])
{
#if defined(LV_EMULATED) || !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 890
    return lv_f32_e4m3(v[0]) | lv_f32_e4m3(v[1]) << 8 | lv_f32_e4m3(v[2]) << 16 |
           (uint32_t)lv_f32_e4m3(v[3]) << 24;
#else
    uint16_t lo, hi;

    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(lo) : "f"(v[1]), "f"(v[0]));
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(hi) : "f"(v[3]), "f"(v[2]));
    return lo | (uint32_t)hi << 16;
#endif
}

LV_INLINE void get_any8(const void *p, int dtype, size_t i, float v[8])
{
    if (dtype != LV_F16) {
        get8(p, dtype, i, (size_t)-1, v);
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] = get(p, dtype, i + k);
}

/* Where its maximum is not finite, a row's scale is not either, and the products show it. */
LV_KERNEL lv_quantize_rows(LV_ARG LvQuantizeArgs a)
{
    LV_DYNAMIC uint4 shared[];
    float4 *row = (float4 *)shared;
    size_t first = (size_t)blockIdx.x * a.cols;
    float most = 0, by;

    for (int c = threadIdx.x * 8; c < a.cols; c += THREADS * 8) {
        float v[8];
        get_any8(a.x, a.x_type, first + c, v);
        row[c / 4]     = make_float4(v[0], v[1], v[2], v[3]);
        row[c / 4 + 1] = make_float4(v[4], v[5], v[6], v[7]);
#pragma unroll
        for (int k = 0; k < 8; k++)
            most = fmaxf(most, fabsf(v[k]));
    }
    most = block_max(most);
    by   = most >= LV_F8_LEAST ? 448 / most : 0;
    for (int c = threadIdx.x * 8; c < a.cols; c += THREADS * 8) {
        float4 lo = row[c / 4], hi = row[c / 4 + 1];
        const float v[8] = { lo.x * by, lo.y * by, lo.z * by, lo.w * by,
                             hi.x * by, hi.y * by, hi.z * by, hi.w * by };
        *(uint2 *)(a.y + first + c) = make_uint2(to_e4m3(v), to_e4m3(v + 4));
    }
    if (threadIdx.x == 0)
        a.scale[blockIdx.x] = most / 448;
}

/* Weights of files */

LV_INLINE void widen_scaled(int type, const uint8_t *src, float scale, float v[8])
{
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] = (type == LV_I8 ? (float)(int8_t)src[k] : lv_e4m3_f32(src[k])) * scale;
}

/* Elements e to e + 7 of a block at p. */
LV_INLINE void widen_block(int type, const uint8_t *p, int e, float v[8])
{
#define EACH(at)                                                                    \
    _Pragma("unroll") for (int k = 0; k < 8; k++) v[k] = at(p, e + k);              \
    break
    switch (type) {
    case LV_Q4_0: EACH(lv_q4_0_at);
    case LV_Q4_1: EACH(lv_q4_1_at);
    case LV_Q5_0: EACH(lv_q5_0_at);
    case LV_Q5_1: EACH(lv_q5_1_at);
    case LV_Q8_0: EACH(lv_q8_0_at);
    case LV_Q2_K: EACH(lv_q2_k_at);
    case LV_Q3_K: EACH(lv_q3_k_at);
    case LV_Q4_K: EACH(lv_q4_k_at);
    case LV_Q5_K: EACH(lv_q5_k_at);
    case LV_Q6_K: EACH(lv_q6_k_at);
    }
#undef EACH
}

LV_KERNEL lv_widen(LV_ARG LvWidenArgs a, size_t n)
{
    size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    float v[8];

    if (i >= n)
        return;
    if (a.block == 1)
        widen_scaled(a.src_type, a.src + i, a.scale[i / a.cols], v);
    else
        widen_block(a.src_type, a.src + i / a.block * a.block_bytes, (int)(i % a.block), v);
    put8(a.dst, a.dst_type, i, n, v);
}
