/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Matrices as small numbers with scales: rows rounded to F8_E4M3, and weights as files store
 * them back to f32 or bf16. Layouts of blocks: base/blocks.h.
 *
 * quantize_rows: a block for a row, or a warp where rows are short, which keeps it in registers
 * until its maximum is known; of long rows what does not fit is read again. Bytes: each element
 * read once, written as one byte. widen: a thread for eight elements, which share their scale in
 * every type. Bytes: each read and written once. Bound by memory, both.
 */

#include "lv_device.cuh"

#include "base/blocks.h"

/* HELD: words of 16 bytes that a thread keeps. */
enum { THREADS = 256, HELD = 8 };

/* Rows */

/* Of the threads that have a row: a warp, or the block. */
template <int threads> LV_INLINE float row_max(float x);

template <> __device__ __forceinline__ float row_max<WARP>(float x)
{
    return warp_max(x);
}

template <> __device__ __forceinline__ float row_max<THREADS>(float x)
{
    __shared__ float part[THREADS / WARP];

    x = warp_max(x);
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_max(part[threadIdx.x % (THREADS / WARP)]);
}

LV_INLINE float from_f16(uint16_t u)
{
    __half h;

    memcpy(&h, &u, sizeof(h));
    return __half2float(h);
}

/* The numbers of a word: eight, or four of f32. */
LV_INLINE void numbers_of(uint4 word, int type, float v[8])
{
    const uint32_t w[4] = { word.x, word.y, word.z, word.w };

#pragma unroll
    for (int k = 0; k < 4; k++)
        if (type == LV_F32) {
            v[k] = __uint_as_float(w[k]);
        } else if (type == LV_BF16) {
            v[2 * k]     = __uint_as_float(w[k] << 16);
            v[2 * k + 1] = __uint_as_float(w[k] & 0xFFFF0000u);
        } else {
            v[2 * k]     = from_f16((uint16_t)w[k]);
            v[2 * k + 1] = from_f16((uint16_t)(w[k] >> 16));
        }
}

LV_INLINE float word_max(uint4 word, int type)
{
    float v[8], most = 0;

    numbers_of(word, type, v);
#pragma unroll
    for (int k = 0; k < 8; k++)
        if (k < 4 || type != LV_F32)
            most = fmaxf(most, fabsf(v[k]));
    return most;
}

LV_INLINE void word_round(uint8_t *y, uint4 word, int type, float by)
{
    float v[8];

    numbers_of(word, type, v);
#pragma unroll
    for (int k = 0; k < 8; k++)
        if (k < 4 || type != LV_F32)
            v[k] *= by;
    if (type == LV_F32)
        *(uint32_t *)y = to_e4m3(v);
    else
        *(uint2 *)y = make_uint2(to_e4m3(v), to_e4m3(v + 4));
}

/* Where its maximum is not finite, a row's scale is not either, and the products show it. */
template <int threads> static __device__ void quantize_row(const LvQuantizeArgs &a, int row)
{
    const int each = a.x_type == LV_F32 ? 4 : 8, words = a.cols / each, at = threadIdx.x % threads;
    const uint4 *x = (const uint4 *)a.x + (size_t)row * words;
    uint8_t *y     = a.y + (size_t)row * a.cols;
    uint4 held[HELD];
    float most = 0, by;

#pragma unroll
    for (int k = 0; k < HELD; k++)
        held[k] = at + k * threads < words ? x[at + k * threads] : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int k = 0; k < HELD; k++)
        most = fmaxf(most, word_max(held[k], a.x_type));
    for (int w = at + HELD * threads; w < words; w += threads)
        most = fmaxf(most, word_max(x[w], a.x_type));
    most = row_max<threads>(most);
    by   = most >= LV_F8_LEAST ? 448 / most : 0;
#pragma unroll
    for (int k = 0; k < HELD; k++)
        if (at + k * threads < words)
            word_round(y + (at + k * threads) * each, held[k], a.x_type, by);
    for (int w = at + HELD * threads; w < words; w += threads)
        word_round(y + w * each, x[w], a.x_type, by);
    if (at == 0)
        a.scale[row] = most / 448;
}

LV_KERNEL lv_quantize_rows(LV_ARG LvQuantizeArgs a)
{
    quantize_row<THREADS>(a, blockIdx.x);
}

LV_KERNEL lv_quantize_short(LV_ARG LvQuantizeArgs a)
{
    int row = blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;

    if (row < a.rows)
        quantize_row<WARP>(a, row);
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
