/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What kernels share: reading and writing tensors of either type, sums over a warp or
 * a block in a fixed order, activations, and the tensor core instructions.
 *
 * Types are branches on a field of the arguments, the same for a whole launch: one
 * kernel serves every mix of f32 and bf16. Eight elements are moved at once where the
 * index is a multiple of eight, as tensors begin at multiples of LV_ALIGN.
 */

#ifndef LINVIDEO_KERNELS_LV_DEVICE_CUH
#define LINVIDEO_KERNELS_LV_DEVICE_CUH

#include <stdint.h>

#ifndef LV_EMULATED /* tests/emu has its own of what the toolkit declares */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "backend/cuda/args.h"
#include "backend/ops.h"
#include "base/common.h"
#include "base/half.h"

#define LV_KERNEL extern "C" __global__ void
#define LV_ARG    const __grid_constant__
#define LV_INLINE static __device__ __forceinline__

#ifndef LV_EMULATED
#define LV_DYNAMIC extern __shared__ /* memory whose size the launch says */
#endif

enum { WARP = 32 };

LV_INLINE int has(const LvTensor &t)
{
    return t.id != LV_ID_NONE;
}

/* Elements */

LV_INLINE float from_bf16(uint16_t u)
{
    return __uint_as_float((uint32_t)u << 16);
}

LV_INLINE uint16_t to_bf16(float x)
{
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

LV_INLINE uint32_t pack2(float lo, float hi)
{
    __nv_bfloat162 v = __floats2bfloat162_rn(lo, hi);
    uint32_t u;

    memcpy(&u, &v, sizeof(u));
    return u;
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

/* Element i of memory of any float type. */
LV_INLINE float get(const void *p, int dtype, size_t i)
{
    if (dtype == LV_F32)
        return ((const float *)p)[i];
    if (dtype == LV_BF16)
        return from_bf16(((const uint16_t *)p)[i]);
    return __half2float(((const __half *)p)[i]);
}

LV_INLINE void put(void *p, int dtype, size_t i, float x)
{
    if (dtype == LV_F32)
        ((float *)p)[i] = x;
    else
        ((uint16_t *)p)[i] = to_bf16(x);
}

LV_INLINE float get1(const LvTensor &t, size_t i)
{
    return get(t.data, t.dtype, i);
}

LV_INLINE void put1(const LvTensor &t, size_t i, float x)
{
    put(t.data, t.dtype, i, x);
}

/* Eight elements from i on, a multiple of 8; those from n on are zeros. */
LV_INLINE void get8(const void *p, int dtype, size_t i, size_t n, float v[8])
{
    if (i + 8 > n) {
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = i + k < n ? get(p, dtype, i + k) : 0;
    } else if (dtype == LV_F32) {
        float4 a = *(const float4 *)((const float *)p + i);
        float4 b = *(const float4 *)((const float *)p + i + 4);
        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
        v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
    } else {
        uint4 u = *(const uint4 *)((const uint16_t *)p + i);
        uint32_t w[4] = { u.x, u.y, u.z, u.w };
#pragma unroll
        for (int k = 0; k < 4; k++) {
            v[2 * k]     = __uint_as_float(w[k] << 16);
            v[2 * k + 1] = __uint_as_float(w[k] & 0xFFFF0000u);
        }
    }
}

LV_INLINE void put8(void *p, int dtype, size_t i, size_t n, const float v[8])
{
    if (i + 8 > n) {
#pragma unroll
        for (int k = 0; k < 8; k++)
            if (i + k < n)
                put(p, dtype, i + k, v[k]);
    } else if (dtype == LV_F32) {
        *(float4 *)((float *)p + i)     = make_float4(v[0], v[1], v[2], v[3]);
        *(float4 *)((float *)p + i + 4) = make_float4(v[4], v[5], v[6], v[7]);
    } else {
        *(uint4 *)((uint16_t *)p + i) =
            make_uint4(pack2(v[0], v[1]), pack2(v[2], v[3]), pack2(v[4], v[5]),
                       pack2(v[6], v[7]));
    }
}

LV_INLINE void load8(const LvTensor &t, size_t i, size_t n, float v[8])
{
    get8(t.data, t.dtype, i, n, v);
}

LV_INLINE void store8(const LvTensor &t, size_t i, size_t n, const float v[8])
{
    put8(t.data, t.dtype, i, n, v);
}

/* The gradient v as output number bit of an op whose field add is given. */
LV_INLINE void grad8(const LvTensor &t, size_t i, size_t n, float v[8], int add,
                     int bit)
{
    if (add >> bit & 1) {
        float old[8];
        load8(t, i, n, old);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] += old[k];
    }
    store8(t, i, n, v);
}

/* Eight columns from c on, a multiple of 8, of row i of a matrix of n columns; those
 * from n on are zeros. */
LV_INLINE void row_get8(const void *p, int dtype, size_t i, int c, int n, float v[8])
{
    if (n % 8 == 0) {
        get8(p, dtype, i * n + c, (size_t)-1, v);
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] = c + k < n ? get(p, dtype, i * n + c + k) : 0;
}

LV_INLINE void row_put8(void *p, int dtype, size_t i, int c, int n, const float v[8])
{
    if (n % 8 == 0) {
        put8(p, dtype, i * n + c, (size_t)-1, v);
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++)
        if (c + k < n)
            put(p, dtype, i * n + c + k, v[k]);
}

LV_INLINE void row_load8(const LvTensor &t, size_t i, int c, int n, float v[8])
{
    row_get8(t.data, t.dtype, i, c, n, v);
}

/* The same for an optional vector or matrix of f32; `none` everywhere when absent. */
LV_INLINE void row_param8(const LvTensor &t, size_t i, int c, int n, float none,
                          float v[8])
{
    if (has(t)) {
        row_get8(t.data, LV_F32, i, c, n, v);
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] = none;
}

LV_INLINE void row_grad8(const LvTensor &t, size_t i, int c, int n, float v[8], int add)
{
    if (add & 1) {
        float old[8];
        row_load8(t, i, c, n, old);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] += old[k];
    }
    row_put8(t.data, t.dtype, i, c, n, v);
}

/* Sums */

LV_INLINE float warp_sum(float x)
{
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2)
        x += __shfl_xor_sync(0xFFFFFFFFu, x, d);
    return x;
}

LV_INLINE float warp_max(float x)
{
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, d));
    return x;
}

/* Sum over a block of 256 threads, for all of them. */
LV_INLINE double block_sum_f64(double x)
{
    __shared__ double part[256];

    part[threadIdx.x] = x;
    for (int d = 128; d > 0; d /= 2) {
        __syncthreads();
        if (threadIdx.x < d)
            part[threadIdx.x] += part[threadIdx.x + d];
    }
    __syncthreads();
    return part[0];
}

/* Activations and their slopes */

/* Within 1e-6 of 1 absolutely, which is what the results keep of it. */
LV_INLINE float sigmoid(float x)
{
    return __fdividef(1, 1 + __expf(-x));
}

/* Slope of x sigmoid(u), u' being the slope of u; no difference of near numbers. */
LV_INLINE float swish_slope(float x, float u, float du)
{
    float e = __expf(-u), s = __fdividef(1, 1 + e);

    return s > 0 ? s + x * (e * s * s) * du : 0;
}

LV_INLINE float gelu(float x)
{
    return x * sigmoid(1.5957691216f * (x + 0.044715f * x * x * x));
}

LV_INLINE float gelu_slope(float x)
{
    float u = 1.5957691216f * (x + 0.044715f * x * x * x);

    return fabsf(x) > 9 ? x > 0 :
           swish_slope(x, u, 1.5957691216f * (1 + 0.134145f * x * x));
}

LV_INLINE float gelu_erf(float x)
{
    return x * (0.5f * erfcf(x * -0.70710678f));
}

LV_INLINE float gelu_erf_slope(float x)
{
    return 0.5f * erfcf(x * -0.70710678f) + 0.39894228f * x * __expf(-0.5f * x * x);
}

LV_INLINE float silu(float x)
{
    return x * sigmoid(x);
}

LV_INLINE float silu_slope(float x)
{
    return swish_slope(x, x, 1);
}

LV_INLINE float clamp3(float x)
{
    return 3 * tanhf(x / 3);
}

LV_INLINE float clamp3_slope(float x)
{
    float t = tanhf(x / 3);

    return 1 - t * t;
}

#define LV_EACH8(v, expression)                                                     \
    do {                                                                            \
        _Pragma("unroll") for (int k_ = 0; k_ < 8; k_++) {                          \
            float x = v[k_];                                                        \
            v[k_] = expression;                                                     \
        }                                                                           \
    } while (0)

LV_INLINE void act8(int kind, float v[8])
{
    switch (kind) {
    case LV_ACT_RELU:   LV_EACH8(v, fmaxf(x, 0)); break;
    case LV_ACT_SILU:   LV_EACH8(v, silu(x)); break;
    case LV_ACT_GELU:   LV_EACH8(v, gelu(x)); break;
    case LV_ACT_CLAMP3: LV_EACH8(v, clamp3(x)); break;
    case LV_ACT_GELU_ERF: LV_EACH8(v, gelu_erf(x)); break;
    }
}

LV_INLINE void act_slope8(int kind, float v[8])
{
    switch (kind) {
    case LV_ACT_NONE:   LV_EACH8(v, x == x ? 1 : x); break;
    case LV_ACT_RELU:   LV_EACH8(v, x > 0 ? 1.0f : 0.0f); break;
    case LV_ACT_SILU:   LV_EACH8(v, silu_slope(x)); break;
    case LV_ACT_GELU:   LV_EACH8(v, gelu_slope(x)); break;
    case LV_ACT_CLAMP3: LV_EACH8(v, clamp3_slope(x)); break;
    case LV_ACT_GELU_ERF: LV_EACH8(v, gelu_erf_slope(x)); break;
    }
}

#ifndef LV_EMULATED

/* Tensor cores: c[16,8] += a[16,16] b[8,16]^T in bf16. Thread g 4 + t of a warp holds
 * of c rows g and g + 8, columns 2 t and 2 t + 1; of a the same rows, columns 2 t,
 * 2 t + 1 and those 8 on; of b row g, columns as of a. */
LV_INLINE void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* 2^x, with 0 below 2^-126 */
LV_INLINE float fast_exp2(float x)
{
    float y;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

LV_INLINE uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* Four 8 x 8 matrices of bf16; lane l names row l % 8 of matrix l / 8. */
LV_INLINE void load_matrices(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)) : "memory");
}

LV_INLINE void load_matrices_t(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)) : "memory");
}

/* Start to copy 16 bytes to shared memory; zeros when `there` is 0. */
LV_INLINE void copy_async(void *dst, const void *src, int there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(dst)), "l"(src), "r"(there ? 16 : 0) : "memory");
}

LV_INLINE void copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Wait until at most n groups are under way. */
template <int n> LV_INLINE void copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" :: "n"(n) : "memory");
}

#endif /* LV_EMULATED */

#endif /* LINVIDEO_KERNELS_LV_DEVICE_CUH */
