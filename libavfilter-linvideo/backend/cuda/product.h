/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Products of our own kernels.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CUDA_PRODUCT_H
#define LINVIDEO_BACKEND_CUDA_PRODUCT_H

#include "backend/cuda/cuda.h"

/** Run a product of our own kernels: bf16 with what follows it. */
int lv_cuda_product(LvCuda *cu, const LvProductArgs *a);

#endif /* LINVIDEO_BACKEND_CUDA_PRODUCT_H */
