/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * ATTN in F8_E4M3, on compute capability 9.0.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CUDA_ATTENTION_F8_H
#define LINVIDEO_BACKEND_CUDA_ATTENTION_F8_H

#include "backend/cuda/cuda.h"

/** Whether a is made so: asked for, and of sizes that can be. */
int lv_cuda_is_attn_f8(const LvCuda *cu, const LvAttnArgs *a);

/** Scratch that it takes. */
size_t lv_cuda_attn_f8_bytes(const LvAttnArgs *a);

/** Run a. @param scratch lv_cuda_attn_f8_bytes() of the device @return 0 or a code */
int lv_cuda_attn_f8(LvCuda *cu, const LvAttnArgs *a, void *scratch);

#endif /* LINVIDEO_BACKEND_CUDA_ATTENTION_F8_H */
