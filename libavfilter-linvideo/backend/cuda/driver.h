/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The CUDA driver and cuBLASLt, opened by name at run time: nothing of the toolkit
 * is needed to compile or link this, and a program runs where neither is installed.
 * Floor F2 (backend): types and entries as their documentation has them, renamed.
 *
 * LINVIDEO_LIBCUDA and LINVIDEO_LIBCUBLASLT in the environment name other files.
 */

#ifndef LINVIDEO_BACKEND_CUDA_DRIVER_H
#define LINVIDEO_BACKEND_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/msg.h"

typedef int CuDevice;
typedef struct CuContextData *CuContext;
typedef struct CuModuleData *CuModule;
typedef struct CuFunctionData *CuFunction;
typedef struct CuStreamData *CuStream;
typedef struct CuEventData *CuEvent;
typedef struct CuGraphData *CuGraph;
typedef struct CuGraphExecData *CuGraphExec;
typedef unsigned long long CuAddress;

/** Results, attributes and flags of the driver that are used here. */
enum {
    CU_SUCCESS           = 0,
    CU_OUT_OF_MEMORY     = 2,
    CU_NO_DEVICE         = 100,
    CU_NOT_READY         = 600, ///< of a query: work is still under way
    CU_NO_BINARY         = 209,
    CU_ATTR_PROCESSORS   = 16, ///< of a device
    CU_ATTR_MAJOR        = 75,
    CU_ATTR_MINOR        = 76,
    CU_ATTR_SHARED       = 97, ///< bytes a block may have
    CU_FUNC_SHARED       = 8,  ///< of a function: bytes of dynamic memory allowed
    CU_STREAM_FREE       = 1,  ///< not ordered with the default stream
    CU_EVENT_NO_TIME     = 2,
    CU_CAPTURE_RELAXED   = 2,
    CU_TILE_BYTES        = 0,  ///< of a map: type, swizzle, what goes to the cache at once
    CU_TILE_BF16         = 9,
    CU_TILE_SWIZZLE_128  = 3,
    CU_TILE_FETCH_256    = 3,
};

/** X(member, symbol, arguments): entries of the driver, all returning a result. */
#define LV_CU_ENTRIES(X)                                                            \
    X(init, cuInit, (unsigned flags))                                               \
    X(driver_version, cuDriverGetVersion, (int *version))                           \
    X(device_count, cuDeviceGetCount, (int *count))                                 \
    X(device_get, cuDeviceGet, (CuDevice *device, int ordinal))                     \
    X(device_name, cuDeviceGetName, (char *name, int size, CuDevice device))        \
    X(device_attribute, cuDeviceGetAttribute, (int *v, int attr, CuDevice device))  \
    X(context_retain, cuDevicePrimaryCtxRetain, (CuContext *ctx, CuDevice device))  \
    X(context_release, cuDevicePrimaryCtxRelease_v2, (CuDevice device))             \
    X(context_set, cuCtxSetCurrent, (CuContext ctx))                                \
    X(context_device, cuCtxGetDevice, (CuDevice *device))                           \
    X(mem_info, cuMemGetInfo_v2, (size_t *free, size_t *total))                     \
    X(mem_alloc, cuMemAlloc_v2, (CuAddress *p, size_t bytes))                       \
    X(mem_free, cuMemFree_v2, (CuAddress p))                                        \
    X(host_register, cuMemHostRegister_v2, (void *p, size_t bytes, unsigned flags)) \
    X(host_unregister, cuMemHostUnregister, (void *p))                              \
    X(mem_set, cuMemsetD8Async, (CuAddress p, unsigned char byte, size_t bytes,     \
                                 CuStream stream))                                  \
    X(upload, cuMemcpyHtoDAsync_v2, (CuAddress dst, const void *src, size_t bytes,  \
                                     CuStream stream))                              \
    X(download, cuMemcpyDtoHAsync_v2, (void *dst, CuAddress src, size_t bytes,      \
                                       CuStream stream))                            \
    X(stream_create, cuStreamCreate, (CuStream *stream, unsigned flags))            \
    X(stream_destroy, cuStreamDestroy_v2, (CuStream stream))                        \
    X(stream_sync, cuStreamSynchronize, (CuStream stream))                          \
    X(stream_query, cuStreamQuery, (CuStream stream))                               \
    X(stream_wait, cuStreamWaitEvent, (CuStream stream, CuEvent event,              \
                                       unsigned flags))                             \
    X(event_create, cuEventCreate, (CuEvent *event, unsigned flags))                \
    X(event_destroy, cuEventDestroy_v2, (CuEvent event))                            \
    X(event_record, cuEventRecord, (CuEvent event, CuStream stream))                \
    X(event_sync, cuEventSynchronize, (CuEvent event))                              \
    X(event_elapsed, cuEventElapsedTime, (float *ms, CuEvent from, CuEvent to))     \
    X(module_load, cuModuleLoadData, (CuModule *module, const void *image))         \
    X(module_unload, cuModuleUnload, (CuModule module))                             \
    X(module_function, cuModuleGetFunction, (CuFunction *f, CuModule module,        \
                                             const char *name))                     \
    X(function_set, cuFuncSetAttribute, (CuFunction f, int attr, int value))        \
    X(launch, cuLaunchKernel, (CuFunction f, unsigned gx, unsigned gy, unsigned gz, \
                               unsigned bx, unsigned by, unsigned bz,               \
                               unsigned shared, CuStream stream, void **args,       \
                               void **extra))                                       \
    X(tile_map, cuTensorMapEncodeTiled, (void *map, int type, unsigned rank,        \
                void *data, const uint64_t *dim, const uint64_t *stride,            \
                const uint32_t *box, const uint32_t *step, int interleave,          \
                int swizzle, int promotion, int fill))                              \
    X(capture_begin, cuStreamBeginCapture_v2, (CuStream stream, int mode))          \
    X(capture_end, cuStreamEndCapture, (CuStream stream, CuGraph *graph))           \
    X(graph_instantiate, cuGraphInstantiateWithFlags, (CuGraphExec *exec,           \
                         CuGraph graph, unsigned long long flags))                  \
    X(graph_launch, cuGraphLaunch, (CuGraphExec exec, CuStream stream))             \
    X(graph_exec_destroy, cuGraphExecDestroy, (CuGraphExec exec))                   \
    X(graph_destroy, cuGraphDestroy, (CuGraph graph))                               \
    X(error_string, cuGetErrorString, (int result, const char **text))

typedef void *LtHandle, *LtMatmulDesc, *LtLayout, *LtPreference;

typedef struct LtAlgo {
    uint64_t data[8];
} LtAlgo;

typedef struct LtHeuristic {
    LtAlgo algo;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} LtHeuristic;

/** Attributes and values of cuBLASLt that are used here. */
enum {
    LT_COMPUTE_F32 = 68, LT_TYPE_F32 = 0, LT_TYPE_BF16 = 14, LT_TYPE_E4M3 = 28,
    LT_DESC_TRANS_A = 3, LT_DESC_TRANS_B = 4,
    LT_DESC_EPILOGUE = 7, LT_DESC_BIAS = 8, LT_DESC_BIAS_TYPE = 26,
    LT_DESC_A_SCALE = 17, LT_DESC_B_SCALE = 18, ///< addresses
    LT_DESC_A_SCALE_MODE = 31, LT_DESC_B_SCALE_MODE = 32,
    LT_SCALE_OUTER = 3,       ///< one for each row of op(A), or column of op(B)
    LT_EPILOGUE_NONE = 1, LT_EPILOGUE_RELU = 2, LT_EPILOGUE_BIAS = 4,
    LT_EPILOGUE_GELU = 32, ///< by tanh
    LT_PREF_WORKSPACE = 1, LT_PREF_REDUCTION = 3, LT_PREF_ALIGN_A = 5,
    LT_PREF_ALIGN_B = 6, LT_PREF_ALIGN_C = 7, LT_PREF_ALIGN_D = 8,
    LT_REDUCTION_F32 = 2, ///< parts of a product are added in the compute type
    LT_WRONG = 7, LT_NOT_SUPPORTED = 15,
};

#define LV_LT_ENTRIES(X)                                                            \
    X(create, cublasLtCreate, (LtHandle *handle))                                   \
    X(destroy, cublasLtDestroy, (LtHandle handle))                                  \
    X(desc_create, cublasLtMatmulDescCreate, (LtMatmulDesc *desc, int compute,      \
                                              int scale_type))                      \
    X(desc_destroy, cublasLtMatmulDescDestroy, (LtMatmulDesc desc))                 \
    X(desc_set, cublasLtMatmulDescSetAttribute, (LtMatmulDesc desc, int attr,       \
                                                 const void *value, size_t size))   \
    X(layout_create, cublasLtMatrixLayoutCreate, (LtLayout *layout, int type,       \
                     uint64_t rows, uint64_t cols, int64_t ld))                     \
    X(layout_destroy, cublasLtMatrixLayoutDestroy, (LtLayout layout))               \
    X(pref_create, cublasLtMatmulPreferenceCreate, (LtPreference *pref))            \
    X(pref_destroy, cublasLtMatmulPreferenceDestroy, (LtPreference pref))           \
    X(pref_set, cublasLtMatmulPreferenceSetAttribute, (LtPreference pref, int attr, \
                                                   const void *value, size_t size)) \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic, (LtHandle handle,                  \
                 LtMatmulDesc desc, LtLayout a, LtLayout b, LtLayout c, LtLayout d, \
                 LtPreference pref, int wanted, LtHeuristic *out, int *found))      \
    X(matmul, cublasLtMatmul, (LtHandle handle, LtMatmulDesc desc,                  \
              const void *alpha, const void *a, LtLayout la, const void *b,         \
              LtLayout lb, const void *beta, const void *c, LtLayout lc, void *d,   \
              LtLayout ld, const LtAlgo *algo, void *workspace,                     \
              size_t workspace_bytes, CuStream stream))

#define LV_DRIVER_MEMBER(member, symbol, args) int (*member) args;

/** Entries of both libraries. */
typedef struct LvDriver {
    void *cuda_file, *lt_file;
    LV_CU_ENTRIES(LV_DRIVER_MEMBER)
    struct {
        LV_LT_ENTRIES(LV_DRIVER_MEMBER)
    } lt;
} LvDriver;

#undef LV_DRIVER_MEMBER

/**
 * Open both libraries.
 *
 * @param[out] d closed with lv_driver_close(), also after an error
 * @return 0 or LV_ERR_DEVICE; the message says what is missing
 */
int lv_driver_open(LvDriver *d, const LvMsg *msg);

/** Close what is open of d, which was zeroed or opened. */
void lv_driver_close(LvDriver *d);

#endif /* LINVIDEO_BACKEND_CUDA_DRIVER_H */
