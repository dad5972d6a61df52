/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * LINEAR with matmuls of F8_E4M3: rows of x are rounded while it runs, those of w when it is
 * built, unless they are stored so.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CUDA_LINEAR_F8_H
#define LINVIDEO_BACKEND_CUDA_LINEAR_F8_H

#include "backend/cuda/cuda.h"

/** Whether a is multiplied so: asked for, and of sizes that can be. */
static inline int lv_cuda_is_f8(const LvLinearArgs *a)
{
    return a->of == LV_MATMUL_F8 && a->w.dim[0] % 16 == 0 && a->w.dim[1] % 16 == 0 &&
           (a->w.dtype == LV_F8_E4M3 || !lv_tensor_is_stored(&a->w));
}

/** Entries of the tables for it. */
int lv_cuda_plan_linear_f8(LvDevice *dev, const LvLinearArgs *a, LvCall *call);
int lv_cuda_build_linear_f8(LvDevice *dev, const LvLinearArgs *a, LvCall *call);
int lv_cuda_ready_linear_f8(LvDevice *dev, const LvLinearArgs *a);
int lv_cuda_linear_f8(LvDevice *dev, const LvLinearArgs *a, LvCall *call);

#endif /* LINVIDEO_BACKEND_CUDA_LINEAR_F8_H */
