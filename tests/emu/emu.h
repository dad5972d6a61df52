/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The part of CUDA C++ that kernels/ uses, on the CPU, for tests: included before each
 * kernel file, with LV_EMULATED defined. Threads of a block are fibres of one thread of
 * the CPU; blocks run one after the other. A fibre runs until it meets a barrier, a
 * shuffle or a product of its warp. What the kernels get wrong there ends the process
 * with a message: lanes of a warp in different operations, threads of a block at
 * different barriers, a barrier that some never reach; for memory see checks.h.
 * Asynchronous copies land when they are waited for, not before; shared memory holds
 * NaNs when a block begins. tests/emu/planted.cu has an example of each error.
 */

#ifndef LINVIDEO_TESTS_EMU_EMU_H
#define LINVIDEO_TESTS_EMU_EMU_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
/* blocks run one after the other */
#define __shared__ static __attribute__((section("emu_shared")))
#define LV_DYNAMIC extern

struct uint3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { uint32_t x, y; };
struct alignas(16) uint4 { uint32_t x, y, z, w; };

static inline float2 make_float2(float x, float y) { return { x, y }; }
static inline float4 make_float4(float x, float y, float z, float w)
{
    return { x, y, z, w };
}
static inline uint2 make_uint2(uint32_t x, uint32_t y) { return { x, y }; }
static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
    return { x, y, z, w };
}

/** Place of the fibre that runs, and sizes of the launch. */
extern uint3 emu_thread, emu_block, emu_block_size, emu_grid_size;

#define threadIdx emu_thread
#define blockIdx  emu_block
#define blockDim  emu_block_size
#define gridDim   emu_grid_size

/** Wait for all threads of the block, in a line of the source. @return the or of what
 *  they bring */
int emu_block_barrier(int value, int line);

/** Bring size bytes to operation op of the warp and wait for the other lanes; then
 *  emu_lane() gives what lane brought, until the operation after the next. */
void emu_warp_barrier(int op, const void *bring, size_t size);
const void *emu_lane(int lane);

/** Asynchronous copies of 16 bytes, or zeros, of the running fibre. */
void emu_copy(void *dst, const void *src, int there);
void emu_commit(void);
void emu_wait(int groups);

#define __syncthreads()     ((void)emu_block_barrier(0, __LINE__))
#define __syncthreads_or(v) emu_block_barrier(v, __LINE__)
static inline void __syncwarp(void) { emu_warp_barrier(1, "", 1); }

template <typename T> static inline T emu_shuffle(int op, T x, int from)
{
    emu_warp_barrier(op, &x, sizeof(x));
    return *(const T *)emu_lane(from);
}

/* Bytes 0 to 7 of a and b, chosen by the digits of `which`. */
static inline uint32_t __byte_perm(uint32_t a, uint32_t b, uint32_t which)
{
    const uint64_t all = (uint64_t)b << 32 | a;
    uint32_t y = 0;

    for (int i = 0; i < 4; i++)
        y |= (uint32_t)(all >> (which >> 4 * i & 7) * 8 & 0xFF) << 8 * i;
    return y;
}

template <typename T> static inline T __shfl_sync(unsigned, T x, int lane)
{
    return emu_shuffle(2, x, lane % 32);
}

template <typename T> static inline T __shfl_xor_sync(unsigned, T x, int mask)
{
    return emu_shuffle(3, x, (int)(emu_thread.x % 32) ^ mask);
}

static inline unsigned __ballot_sync(unsigned, int v)
{
    unsigned all = 0;

    emu_warp_barrier(9, &v, sizeof(v));
    for (int i = 0; i < 32; i++)
        all |= (unsigned)!!*(const int *)emu_lane(i) << i;
    return all;
}

static inline int __ffs(int x) { return __builtin_ffs(x); }

template <typename A, typename B> static inline auto min(A a, B b)
{
    typedef typename std::common_type<A, B>::type T;
    return (T)a < (T)b ? (T)a : (T)b;
}

template <typename A, typename B> static inline auto max(A a, B b)
{
    typedef typename std::common_type<A, B>::type T;
    return (T)a > (T)b ? (T)a : (T)b;
}

static inline uint32_t __float_as_uint(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

static inline float __uint_as_float(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof(f));
    return f;
}

#define __expf expf
template <typename T> static inline T __ldg(const T *p) { return *p; }
static inline float fast_exp2(float x) { return exp2f(x); }
static inline float __fdividef(float x, float y) { return x / y; }
static inline float __fadd_rn(float x, float y) { return x + y; }
static inline float __fmul_rn(float x, float y) { return x * y; }

/* Half precision, by their bits. */

typedef uint16_t __half, __nv_bfloat16;
struct __nv_bfloat162 { uint16_t x, y; };

static inline uint16_t __float2bfloat16_rn(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof(u));
    if (x != x)
        return 0x7FFF;
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static inline uint16_t __bfloat16_as_ushort(uint16_t x) { return x; }
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return { __float2bfloat16_rn(x), __float2bfloat16_rn(y) };
}

static inline float __half2float(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    float x = e == 31 ? (m ? NAN : INFINITY) :
              e ? ldexpf((float)(m + 1024), e - 25) : ldexpf((float)m, -24);

    return h & 0x8000 ? -x : x;
}

/* Tensor cores and their operands, as lv_device.cuh describes them. */

void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1);
void load_matrices(uint32_t r[4], const void *row);
void load_matrices_t(uint32_t r[4], const void *row);

static inline void copy_async(void *dst, const void *src, int there)
{
    emu_copy(dst, src, there);
}

static inline void copy_commit(void) { emu_commit(); }
template <int n> static inline void copy_wait(void) { emu_wait(n); }

/* Compute capability 9.0 */

#include "tests/emu/hopper.h"

/* Kernels by name */

typedef struct EmuKernel {
    const char *name;
    void (*run)(void **args);
    const size_t *sizes; ///< of the arguments, ended by 0
} EmuKernel;

/** Make a kernel known. */
void emu_register(const char *name, void (*run)(void **args), const size_t *sizes);

/* Arguments are read from memory of the host. */
#define EMU_UNCHECKED __attribute__((no_sanitize("kernel-address")))

template <typename... A, size_t... I>
EMU_UNCHECKED static inline void emu_apply(void (*kernel)(A...), void **args,
                             std::integer_sequence<size_t, I...>)
{
    kernel(*(typename std::remove_const<A>::type *)args[I]...);
}

template <typename... A>
EMU_UNCHECKED static inline void emu_call(void (*kernel)(A...), void **args)
{
    emu_apply(kernel, args, std::make_index_sequence<sizeof...(A)>());
}

template <typename... A> static inline const size_t *emu_sizes(void (*)(A...))
{
    static const size_t sizes[] = { sizeof(A)..., 0 };

    return sizes;
}

#endif /* LINVIDEO_TESTS_EMU_EMU_H */
