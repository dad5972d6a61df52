/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Attention of heads of more than LV_CUDA_HEAD channels, by matmuls.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CUDA_ATTENTION_WIDE_H
#define LINVIDEO_BACKEND_CUDA_ATTENTION_WIDE_H

#include "backend/cuda/cuda.h"

/** Channels of the widest head of the other kernels. */
enum { LV_CUDA_HEAD = 256 };

/** Scratch of it. */
size_t lv_cuda_wide_bytes(const LvCuda *cu, const LvAttnArgs *a);
size_t lv_cuda_wide_dx_bytes(const LvCuda *cu, const LvAttnDxArgs *a);

/** For build: find the products. @return 0 or a code */
int lv_cuda_wide_build(LvCuda *cu, const LvAttnArgs *a);
int lv_cuda_wide_dx_build(LvCuda *cu, const LvAttnDxArgs *a);

/** For run. @param bucket of the relative bias, filled @param delta of the gradient */
int lv_cuda_wide(LvCuda *cu, const LvAttnArgs *a, const int *bucket, void *scratch);
int lv_cuda_wide_dx(LvCuda *cu, const LvAttnDxArgs *a, const int *bucket,
                    const float *delta, void *scratch);

#endif /* LINVIDEO_BACKEND_CUDA_ATTENTION_WIDE_H */
