/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cuda/cuda.h"

#include <stdarg.h>
#include <stdio.h>

int lv_cuda_fail(const LvCuda *cu, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    lv_msg(cu->dev.msg, cu->recording ? LV_MSG_VERBOSE : LV_MSG_ERROR, "%s", text);
    return LV_ERR_DEVICE;
}

static const char *text_of(const LvCuda *cu, int result)
{
    const char *text = NULL;

    cu->drv.error_string(result, &text);
    return text ? text : "unknown error";
}

#define FAILED "cuda: %s failed: %s (%d)"

int lv_cuda_check(const LvCuda *cu, int result, const char *what)
{
    return result == CU_SUCCESS ? 0 : lv_cuda_fail(cu, FAILED, what, text_of(cu, result), result);
}

int lv_cuda_check_for(const LvCuda *cu, int result, const char *what, const LvMsg *msg)
{
    return result == CU_SUCCESS ? 0
         : lv_fail(msg, LV_ERR_DEVICE, FAILED, what, text_of(cu, result), result);
}

/* Kernels: a module for each file of kernels/, loaded when one of it first runs. */

#define FILE_IMAGE(FILE, file) extern const unsigned char lv_kernels_##file[];
LV_KERNEL_FILES(FILE_IMAGE)

#define FILE_ROW(FILE, file) lv_kernels_##file,
static const unsigned char *const images[LV_FILE_NB] = { LV_KERNEL_FILES(FILE_ROW) };

#define FILE_NAME(FILE, file) #file,
static const char *const file_names[LV_FILE_NB] = { LV_KERNEL_FILES(FILE_NAME) };

#define KERNEL_NAME(kernel)    "lv_" #kernel,
#define KERNEL_NAMES(FILE, f)  LV_KERNELS_##FILE(KERNEL_NAME)
static const char *const kernel_names[LV_KERNEL_NB] = { LV_KERNEL_FILES(KERNEL_NAMES) };

#define KERNEL_COUNT(kernel)   + 1
#define FILE_COUNT(FILE, f)    0 LV_KERNELS_##FILE(KERNEL_COUNT),
static const int file_counts[LV_FILE_NB] = { LV_KERNEL_FILES(FILE_COUNT) };

static int load_file(LvCuda *cu, int file, int first)
{
    int ret = cu->drv.module_load(&cu->module[file], images[file]);

    if (ret == CU_NO_BINARY)
        return lv_fail(cu->dev.msg, LV_ERR_DEVICE,
                       "cuda: no kernels for compute capability %d.%d in this build",
                       cu->arch / 10, cu->arch % 10);
    if ((ret = lv_cuda_check(cu, ret, file_names[file])) < 0)
        return ret;
    for (int i = first; i < first + file_counts[file] && ret >= 0; i++) {
        ret = cu->drv.module_function(&cu->kernel[i], cu->module[file], kernel_names[i]);
        ret = lv_cuda_check(cu, ret, kernel_names[i]);
    }
    return ret;
}

static int load_kernel(LvCuda *cu, int kernel)
{
    int file = 0, first = 0;

    while (kernel >= first + file_counts[file])
        first += file_counts[file++];
    return load_file(cu, file, first);
}

/* Dynamic memory that a block has without asking, beside what a kernel has of its own. */
enum { UNASKED = 47 * 1024 };

static int allow_shared(LvCuda *cu, int kernel, size_t bytes)
{
    int ret;

    if (bytes <= UNASKED || bytes <= cu->shared[kernel])
        return 0;
    ret = cu->drv.function_set(cu->kernel[kernel], CU_FUNC_SHARED, (int)bytes);
    cu->shared[kernel] = bytes;
    return lv_cuda_check(cu, ret, kernel_names[kernel]);
}

int lv_cuda_launch_on(LvCuda *cu, CuStream stream, int kernel, LvGrid g, void **args)
{
    int ret = cu->kernel[kernel] ? 0 : load_kernel(cu, kernel);

    if (ret < 0 || (ret = allow_shared(cu, kernel, g.shared)) < 0)
        return ret;
    if (!g.x || !g.y || !g.z)
        return 0;
    ret = cu->drv.launch(cu->kernel[kernel], (unsigned)g.x, (unsigned)g.y,
                         (unsigned)g.z, g.threads, 1, 1, (unsigned)g.shared, stream,
                         args, NULL);
    return lv_cuda_check(cu, ret, kernel_names[kernel]);
}

int lv_cuda_launch(LvCuda *cu, int kernel, LvGrid g, void **args)
{
    return lv_cuda_launch_on(cu, cu->stream, kernel, g, args);
}

void *lv_cuda_carve(void *base, size_t *at, size_t bytes)
{
    char *p = base ? (char *)base + *at : NULL;

    *at += LV_ROUND_UP(bytes, LV_ALIGN);
    return p;
}

int lv_cuda_map(LvCuda *cu, LvTileMap *map, int type, int rank, const void *data,
                const uint64_t *dim, const uint32_t *box)
{
    static const uint32_t step[4] = { 1, 1, 1, 1 };
    uint64_t stride[3] = { (type == CU_TILE_BF16 ? 2 : 1) * dim[0] };
    int ret;

    for (int i = 1; i < rank - 1; i++)
        stride[i] = stride[i - 1] * dim[i];
    ret = cu->drv.tile_map(map, type, (unsigned)rank, (void *)data, dim, stride, box,
                           step, 0, CU_TILE_SWIZZLE_128, CU_TILE_FETCH_256, 0);
    return lv_cuda_check(cu, ret, "a map of a tensor");
}

int lv_cuda_tile_map(LvCuda *cu, LvTileMap *map, const LvTensor *t, int batch, int rows)
{
    const uint64_t dim[3] = { (uint64_t)t->dim[1], (uint64_t)(t->dim[0] / batch),
                              (uint64_t)batch };
    const uint32_t box[3] = { 64, (uint32_t)rows, 1 };

    return lv_cuda_map(cu, map, CU_TILE_BF16, 3, t->data, dim, box);
}
