/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the files of the CUDA device share.
 * Floor F2 (backend): knows ops, never graphs.
 *
 * All work goes to one stream, in order; another one fetches weights. Run entries neither
 * allocate nor wait, so that a whole program can be captured. Sums over blocks are made
 * of partial sums in scratch, in the order of blocks: the same bits every time.
 */

#ifndef LINVIDEO_BACKEND_CUDA_CUDA_H
#define LINVIDEO_BACKEND_CUDA_CUDA_H

#include "backend/cuda/args.h"
#include "backend/cuda/driver.h"
#include "backend/cuda/kernels.h"
#include "backend/device.h"

#define LV_KERNEL_ENUM(kernel)    LV_K_##kernel,
#define LV_KERNELS_ENUM(FILE, f)  LV_KERNELS_##FILE(LV_KERNEL_ENUM)
#define LV_FILE_ENUM(FILE, f)     LV_FILE_##FILE,
enum LvKernel { LV_KERNEL_FILES(LV_KERNELS_ENUM) LV_KERNEL_NB };
enum LvKernelFile { LV_KERNEL_FILES(LV_FILE_ENUM) LV_FILE_NB };
#undef LV_KERNEL_ENUM
#undef LV_KERNELS_ENUM
#undef LV_FILE_ENUM

typedef struct LvGemm LvGemm;

enum { LV_CUDA_BUCKETS = 256, LV_CUDA_WORKSPACE = 32 << 20 };

typedef struct LvCuda {
    LvDevice dev;                ///< first, so that an LvDevice * is an LvCuda *
    LvDriver drv;
    CuDevice device;
    CuContext ctx;
    int foreign;                 ///< 1: ctx is the caller's
    CuStream stream;
    CuStream copies;             ///< of fetch() and send(); NULL before the first
    CuEvent worked, came[LV_SLOTS]; ///< work before a fetch, the last copies of a slot
    CuEvent gone[LV_SENDS];      ///< the last send of a number
    CuStream out_stream;         ///< the caller's, for deliver()
    int recording;               ///< 1: what fails is run once more, without recording
    CuModule module[LV_FILE_NB];
    CuFunction kernel[LV_KERNEL_NB];
    size_t shared[LV_KERNEL_NB]; ///< bytes of dynamic memory a kernel was allowed
    LtHandle lt;
    void *workspace;             ///< of cuBLASLt
    CuEvent *marks;              ///< see LvDeviceFns
    int nb_marks;
    int processors, arch;        ///< multiprocessors; 90 for compute capability 9.0
    int newest;                  ///< see LvDeviceOptions
    size_t scores;               ///< bytes of them that attention by matmuls may hold
    size_t block_bytes;          ///< of shared memory that a block may have
    LvGemm *gemms[LV_CUDA_BUCKETS]; ///< products with their algorithms, by shape
} LvCuda;

static inline LvCuda *lv_cuda(LvDevice *dev)
{
    return (LvCuda *)dev;
}

/** LV_ERR_DEVICE with a message; while recording not one of an error. */
int lv_cuda_fail(const LvCuda *cu, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/** 0, or LV_ERR_DEVICE with a message when result of the driver is an error. */
int lv_cuda_check(const LvCuda *cu, int result, const char *what);

/** The same, with the message to msg, from any thread. */
int lv_cuda_check_for(const LvCuda *cu, int result, const char *what, const LvMsg *msg);

/** Blocks of a launch, threads of a block, bytes of dynamic shared memory. */
typedef struct LvGrid {
    size_t x, y, z;
    unsigned threads;
    size_t shared;
} LvGrid;

/** Start a kernel on the stream. args point at its arguments. With no blocks it is only
 *  made ready. @return 0 or a code */
int lv_cuda_launch(LvCuda *cu, int kernel, LvGrid grid, void **args);

/** The same on another stream. */
int lv_cuda_launch_on(LvCuda *cu, CuStream stream, int kernel, LvGrid grid, void **args);

#define LV_LAUNCH(cu, kernel, grid, ...) \
    lv_cuda_launch(cu, LV_K_##kernel, grid, (void *[]) { __VA_ARGS__ })

static inline size_t lv_cuda_split(size_t n, size_t per)
{
    return (n + per - 1) / per;
}

/** Threads that take eight elements each of n, in blocks of 256. */
static inline LvGrid lv_cuda_grid8(size_t n)
{
    return (LvGrid) { lv_cuda_split(n, 8 * 256), 1, 1, 256, 0 };
}

/** A thread for each of n, in blocks of 256. */
static inline LvGrid lv_cuda_grid1(size_t n)
{
    return (LvGrid) { lv_cuda_split(n, 256), 1, 1, 256, 0 };
}

/** Bytes at the front of memory that is carved up; moves *at on, 64-byte aligned.
 *  With base NULL sizes are counted only. */
void *lv_cuda_carve(void *base, size_t *at, size_t bytes);

/** Columns of matrices made of pictures and their weights are a multiple of this. */
#define LV_PAD 8

/** Map of t [B L,C] in bf16 for boxes of `rows` rows of a sample by 64 channels. 0 or a
 *  code */
int lv_cuda_tile_map(LvCuda *cu, LvTileMap *map, const LvTensor *t, int batch, int rows);

/** Map of a dense tensor of 3 or 4 dimensions, the last one first, of CU_TILE_BF16 or
 *  CU_TILE_BYTES, for boxes whose first side is 128 bytes. 0 or a code */
int lv_cuda_map(LvCuda *cu, LvTileMap *map, int type, int rank, const void *data,
                const uint64_t *dim, const uint32_t *box);

/** Entries of the tables, by file. */
#define LV_CUDA_DECLARE(name, Type)                                                 \
    int lv_cuda_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call);

#define LV_CUDA_OP(NAME, name, Type, in, out) LV_CUDA_DECLARE(name, Type)
LV_OPS(LV_CUDA_OP)
#undef LV_CUDA_OP

/** X(name, Type): ops with a plan entry. */
#define LV_CUDA_PLANS(X)                                                            \
    X(linear, Linear) X(linear_dx, LinearDx) X(conv, Conv) X(conv_dx, ConvDx)       \
    X(conv3, Conv3) X(conv_dw, ConvDw) X(attn, Attn) X(attn_dx, AttnDx)             \
    X(linattn, Linattn) X(linattn_run, LinattnRun) X(linattn_dx, LinattnDx)         \
    X(norm_dx, NormDx)                                                              \
    X(gate_dx, GateDx) X(qknorm_dx, QknormDx) X(reduce, Reduce) X(loss, Loss)       \
    X(sqsum, Sqsum) X(mix_dx, MixDx)

/** X(name, Type): ops with a ready entry. */
#define LV_CUDA_READIES(X) X(linear, Linear) X(attn, Attn)

/** X(name, Type): ops with a build entry. */
#define LV_CUDA_BUILDS(X)                                                           \
    X(linear, Linear) X(linear_dx, LinearDx) X(linear_dw, LinearDw) X(conv, Conv)   \
    X(conv3, Conv3) X(conv_dx, ConvDx) X(conv_dw, ConvDw) X(attn_dx, AttnDx)

#define LV_CUDA_PLAN(name, Type)  LV_CUDA_DECLARE(plan_##name, Type)
#define LV_CUDA_READY(name, Type) LV_CUDA_DECLARE(ready_##name, Type)
#define LV_CUDA_BUILD(name, Type) LV_CUDA_DECLARE(build_##name, Type)
LV_CUDA_PLANS(LV_CUDA_PLAN)
LV_CUDA_READIES(LV_CUDA_READY)
LV_CUDA_BUILDS(LV_CUDA_BUILD)
#undef LV_CUDA_PLAN
#undef LV_CUDA_READY
#undef LV_CUDA_BUILD

#endif /* LINVIDEO_BACKEND_CUDA_CUDA_H */
