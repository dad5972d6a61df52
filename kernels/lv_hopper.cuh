/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What compute capability 9.0 has beyond the others, for files whose kernels are only
 * for it: products of a warpgroup, copies of boxes, barriers in shared memory.
 *
 * Tiles lie in shared memory as panels of 64 channels (128 bytes a row), each at a
 * multiple of 1024 bytes, in the swizzle of 128 bytes: chunk c of 16 bytes of row r is
 * where chunk c ^ r % 8 would be. A box that is copied is such a panel.
 *
 * Products are under way until they are waited for: neither the accumulators nor a first
 * operand in registers may be touched before. hold() keeps the compiler to that.
 */

#ifndef LINVIDEO_KERNELS_LV_HOPPER_CUH
#define LINVIDEO_KERNELS_LV_HOPPER_CUH

#include "lv_device.cuh"

#if defined(LV_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define LV_HOPPER 1 /* this pass of the compiler is for it */
#else
#define LV_HOPPER 0
#endif

enum { WARPGROUP = 4 * WARP, PANEL = 64, PANEL_BYTES = 128 /* of a row */ };

#ifndef LV_EMULATED

/* Barriers in shared memory. A phase of one ends when so many threads have arrived, and
 * all bytes that were expected in it. */

LV_INLINE void barrier_make(uint64_t *b, int threads)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
                 :: "r"(shared_address(b)), "r"(threads) : "memory");
}

/* For the thread that made barriers, before a barrier of the block. */
LV_INLINE void barriers_made(void)
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

LV_INLINE void barrier_arrive(uint64_t *b)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];"
                 :: "r"(shared_address(b)) : "memory");
}

/* Arrive, and let the phase wait for bytes. */
LV_INLINE void barrier_expect(uint64_t *b, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :: "r"(shared_address(b)), "r"(bytes) : "memory");
}

/* Wait for the end of phase 0, 2, 4... (parity 0) or 1, 3, 5... (parity 1), whichever is
 * next or just over; before any has ended that of parity 1 counts as over. */
LV_INLINE void barrier_wait(uint64_t *b, int parity)
{
    uint32_t over, at = shared_address(b);

    do
        asm volatile("{\n.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n}"
                     : "=r"(over) : "r"(at), "r"(parity) : "memory");
    while (!over);
}

/* Start to copy a box of a tensor of three dimensions from (x, y, z) on; what lies outside
 * is zeros. b gets its bytes. */
LV_INLINE void copy_box(void *dst, const LvTileMap *map, int x, int y, int z, uint64_t *b)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile"
                 ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];"
                 :: "r"(shared_address(dst)), "l"(map), "r"(x), "r"(y), "r"(z),
                 "r"(shared_address(b)) : "memory");
}

/* The same for four dimensions. */
LV_INLINE void copy_box4(void *dst, const LvTileMap *map, int x, int y, int z, int w,
                         uint64_t *b)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile"
                 ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];"
                 :: "r"(shared_address(dst)), "l"(map), "r"(x), "r"(y), "r"(z), "r"(w),
                 "r"(shared_address(b)) : "memory");
}

/* Start to copy such a box back; what lies outside is not written. Who started copies waits
 * until they have read shared memory, before it changes and before the end. */
LV_INLINE void store_box(const void *src, const LvTileMap *map, int x, int y, int z)
{
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group "
                 "[%0, {%1, %2, %3}], [%4];"
                 :: "l"(map), "r"(x), "r"(y), "r"(z), "r"(shared_address(src)) : "memory");
}

LV_INLINE void stores_read(void)
{
    asm volatile("cp.async.bulk.commit_group;\n"
                 "cp.async.bulk.wait_group.read 0;" ::: "memory");
}

/* Barrier id (1 to 15) of so many threads: wait for them, or only arrive. */
template <int threads> LV_INLINE void turn_wait(int id)
{
    asm volatile("bar.sync %0, %1;" :: "r"(id), "n"(threads) : "memory");
}

template <int threads> LV_INLINE void turn_give(int id)
{
    asm volatile("bar.arrive %0, %1;" :: "r"(id), "n"(threads) : "memory");
}

/* Registers of each thread, for all warps of a warpgroup: up to n, or down to n. */
template <int n> LV_INLINE void registers_up(void)
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(n));
}

template <int n> LV_INLINE void registers_down(void)
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(n));
}

/* Tiles that threads write: 4 or 16 bytes of one. Products, and boxes that go back, may read
 * what stands before panels_put() once they are behind a barrier that is behind it. */

LV_INLINE void panel_store4(void *at, uint32_t v)
{
    *(uint32_t *)at = v;
}

LV_INLINE void panel_store16(void *at, uint4 v)
{
    *(uint4 *)at = v;
}

LV_INLINE void panels_put(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Products */

/* Before the first product, and before one whose registers were touched since. */
LV_INLINE void products_begin(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

LV_INLINE void products_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Wait until at most n groups are under way. */
template <int n> LV_INLINE void products_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(n) : "memory");
}

/* Nothing is done with c before this place that stands behind it. */
template <int N> LV_INLINE void hold(float c[N][4])
{
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            asm volatile("" : "+f"(c[i][e]) :: "memory");
}

/* What stands behind this place stays behind the making of x, which is never negative. The
 * assembler moves a wait up, before work that is to be done while products are under way;
 * beyond a branch it does not. */
LV_INLINE void stay_behind(float x)
{
    if (x < 0)
        __nanosleep(20);
}

/* Registers of an instruction and their operands. */
#define R0_3   "%0, %1, %2, %3"
#define R0_7   R0_3 ", %4, %5, %6, %7"
#define R0_31  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "  \
               "%30, %31"
#define R0_39  R0_31 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define R0_47  R0_31 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "    \
               "%44, %45, %46, %47"
#define R0_63  R0_31 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "    \
               "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, "  \
               "%58, %59, %60, %61, %62, %63"
#define R0_67  R0_63 ", %64, %65, %66, %67"
#define R0_71  R0_63 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define R0_87  R0_71 ", %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, "    \
               "%84, %85, %86, %87"
#define R0_95  R0_87 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define C4(i)  "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define C8(i)  C4(i), C4(i + 1)
#define C32(i) C8(i), C8(i + 2), C8(i + 4), C8(i + 6)

#define PRODUCT(shape, registers, add)                                              \
    "{\n.reg .pred p;\nsetp.ne.b32 p, " add ", 0;\n"                                \
    "wgmma.mma_async.sync.aligned." shape ".f32.bf16.bf16 {" registers "}, "

/* c[64,N] (+)= a[64,16] b[N,16]^T, both in shared memory, channels along rows; c as of
 * mma_bf16(), warp w of the warpgroup holding rows 16 w to 16 w + 15. With add 0 what c
 * holds does not count. */
template <int N>
LV_INLINE void product_shared(float c[N / 8][4], uint64_t a, uint64_t b, int add);

template <> __device__ __forceinline__
void product_shared<16>(float c[2][4], uint64_t a, uint64_t b, int add)
{
    asm volatile(PRODUCT("m64n16k16", R0_7, "%10") "%8, %9, p, 1, 1, 0, 0;\n}"
                 : C8(0) : "l"(a), "l"(b), "r"(add));
}

template <> __device__ __forceinline__
void product_shared<80>(float c[10][4], uint64_t a, uint64_t b, int add)
{
    asm volatile(PRODUCT("m64n80k16", R0_39, "%42") "%40, %41, p, 1, 1, 0, 0;\n}"
                 : C32(0), C8(8) : "l"(a), "l"(b), "r"(add));
}

template <> __device__ __forceinline__
void product_shared<96>(float c[12][4], uint64_t a, uint64_t b, int add)
{
    asm volatile(PRODUCT("m64n96k16", R0_47, "%50") "%48, %49, p, 1, 1, 0, 0;\n}"
                 : C32(0), C8(8), C8(10) : "l"(a), "l"(b), "r"(add));
}

template <> __device__ __forceinline__
void product_shared<128>(float c[16][4], uint64_t a, uint64_t b, int add)
{
    asm volatile(PRODUCT("m64n128k16", R0_63, "%66") "%64, %65, p, 1, 1, 0, 0;\n}"
                 : C32(0), C32(8) : "l"(a), "l"(b), "r"(add));
}

template <> __device__ __forceinline__
void product_shared<192>(float c[24][4], uint64_t a, uint64_t b, int add)
{
    asm volatile(PRODUCT("m64n192k16", R0_95, "%98") "%96, %97, p, 1, 1, 0, 0;\n}"
                 : C32(0), C32(8), C32(16) : "l"(a), "l"(b), "r"(add));
}

template <> __device__ __forceinline__
void product_shared<64>(float c[8][4], uint64_t a, uint64_t b, int add)
{
    asm volatile(PRODUCT("m64n64k16", R0_31, "%34") "%32, %33, p, 1, 1, 0, 0;\n}"
                 : C32(0) : "l"(a), "l"(b), "r"(add));
}

template <> __device__ __forceinline__
void product_shared<144>(float c[18][4], uint64_t a, uint64_t b, int add)
{
    asm volatile(PRODUCT("m64n144k16", R0_71, "%74") "%72, %73, p, 1, 1, 0, 0;\n}"
                 : C32(0), C32(8), C8(16) : "l"(a), "l"(b), "r"(add));
}

template <> __device__ __forceinline__
void product_shared<176>(float c[22][4], uint64_t a, uint64_t b, int add)
{
    asm volatile(PRODUCT("m64n176k16", R0_87, "%90") "%88, %89, p, 1, 1, 0, 0;\n}"
                 : C32(0), C32(8), C8(16), C8(18), C8(20) : "l"(a), "l"(b), "r"(add));
}

/* c[64,N] += a[64,16] b[16,N], a in registers as of mma_bf16(), b in shared memory with
 * its channels, the columns, along rows. */
template <int N>
LV_INLINE void product_held(float c[N / 8][4], const uint32_t a[4], uint64_t b);

template <> __device__ __forceinline__
void product_held<8>(float c[1][4], const uint32_t a[4], uint64_t b)
{
    asm volatile(PRODUCT("m64n8k16", R0_3, "%9") "{%4, %5, %6, %7}, %8, p, 1, 1, 1;\n}"
                 : C4(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

template <> __device__ __forceinline__
void product_held<64>(float c[8][4], const uint32_t a[4], uint64_t b)
{
    asm volatile(PRODUCT("m64n64k16", R0_31, "%37")
                 "{%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}"
                 : C32(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

template <> __device__ __forceinline__
void product_held<128>(float c[16][4], const uint32_t a[4], uint64_t b)
{
    asm volatile(PRODUCT("m64n128k16", R0_63, "%69")
                 "{%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}"
                 : C32(0), C32(8)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

/* Of e4m3: 32 of a row, which is 128 bytes as one of 64 bf16 is, in a step. */
#define PRODUCT8(shape, registers, add)                                             \
    "{\n.reg .pred p;\nsetp.ne.b32 p, " add ", 0;\n"                                \
    "wgmma.mma_async.sync.aligned." shape ".f32.e4m3.e4m3 {" registers "}, "

/* c[64,N] (+)= a[64,32] b[N,32]^T, both in shared memory. */
template <int N>
LV_INLINE void product8_shared(float c[N / 8][4], uint64_t a, uint64_t b, int add);

template <> __device__ __forceinline__
void product8_shared<128>(float c[16][4], uint64_t a, uint64_t b, int add)
{
    asm volatile(PRODUCT8("m64n128k32", R0_63, "%66") "%64, %65, p, 1, 1;\n}"
                 : C32(0), C32(8) : "l"(a), "l"(b), "r"(add));
}

/* The same, a in registers: of rows r and r + 8, elements 4 t to 4 t + 3, then those of
 * elements 16 behind, t being the thread's number among four. */
template <int N>
LV_INLINE void product8_held(float c[N / 8][4], const uint32_t a[4], uint64_t b, int add);

template <> __device__ __forceinline__
void product8_held<136>(float c[17][4], const uint32_t a[4], uint64_t b, int add)
{
    asm volatile(PRODUCT8("m64n136k32", R0_67, "%73") "{%68, %69, %70, %71}, %72, p, 1, 1;\n}"
                 : C32(0), C32(8), C4(16)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

/* c[64,N] += a[16,64]^T b[16,N], both in shared memory, rows and columns of the result along
 * rows of theirs. */
template <int N>
LV_INLINE void product_turned(float c[N / 8][4], uint64_t a, uint64_t b);

template <> __device__ __forceinline__
void product_turned<8>(float c[1][4], uint64_t a, uint64_t b)
{
    asm volatile(PRODUCT("m64n8k16", R0_3, "%6") "%4, %5, p, 1, 1, 1, 1;\n}"
                 : C4(0) : "l"(a), "l"(b), "r"(1));
}

template <> __device__ __forceinline__
void product_turned<64>(float c[8][4], uint64_t a, uint64_t b)
{
    asm volatile(PRODUCT("m64n64k16", R0_31, "%34") "%32, %33, p, 1, 1, 1, 1;\n}"
                 : C32(0) : "l"(a), "l"(b), "r"(1));
}

template <> __device__ __forceinline__
void product_turned<128>(float c[16][4], uint64_t a, uint64_t b)
{
    asm volatile(PRODUCT("m64n128k16", R0_63, "%66") "%64, %65, p, 1, 1, 1, 1;\n}"
                 : C32(0), C32(8) : "l"(a), "l"(b), "r"(1));
}

#undef R0_3
#undef R0_7
#undef R0_31
#undef R0_39
#undef R0_47
#undef R0_63
#undef R0_67
#undef R0_71
#undef R0_87
#undef R0_95
#undef C4
#undef C8
#undef C32
#undef PRODUCT
#undef PRODUCT8

#endif /* LV_EMULATED */

/* Accumulators [64,N] as first operands of products. */
template <int N>
LV_INLINE void pack_operands(uint32_t p[N / 16][4], const float c[N / 8][4])
{
#pragma unroll
    for (int kk = 0; kk < N / 16; kk++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            p[kk][e] = pack2(c[2 * kk + e / 2][e % 2 * 2],
                             c[2 * kk + e / 2][e % 2 * 2 + 1]);
}

/* Chunk of 16 bytes of a row of a panel. */
LV_INLINE unsigned char *panel_chunk(unsigned char *panel, int row, int chunk)
{
    return panel + row * PANEL_BYTES + (chunk ^ (row & 7)) * 16;
}

/* Eight elements; two of them, number `pair` of a chunk. */
LV_INLINE void panel_put8(unsigned char *panel, int row, int chunk, const float v[8])
{
    panel_store16(panel_chunk(panel, row, chunk),
                  make_uint4(pack2(v[0], v[1]), pack2(v[2], v[3]), pack2(v[4], v[5]),
                             pack2(v[6], v[7])));
}

LV_INLINE void panel_put2(unsigned char *panel, int row, int chunk, int pair, uint32_t v)
{
    panel_store4(panel_chunk(panel, row, chunk) + pair * 4, v);
}

/* An operand in shared memory: panels `leading` bytes apart, groups of eight rows of 128
 * bytes `stride` bytes apart. Which of its bytes a product takes first is said by adding
 * bytes / 16: any row and any 16 channels, as the swizzle goes by addresses. */
LV_INLINE uint64_t operand_apart(const void *tile, int leading, int stride)
{
    const uint64_t swizzle_128 = (uint64_t)1 << 62;

    return swizzle_128 | (uint64_t)(stride / 16) << 32 | (uint64_t)(leading / 16) << 16 |
           shared_address(tile) / 16;
}

LV_INLINE uint64_t operand(const void *tile, int leading)
{
    return operand_apart(tile, leading, 8 * PANEL_BYTES);
}

#endif /* LINVIDEO_KERNELS_LV_HOPPER_CUH */
