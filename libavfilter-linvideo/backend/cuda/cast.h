/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights in the form products want, and other types.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CUDA_CAST_H
#define LINVIDEO_BACKEND_CUDA_CAST_H

#include "backend/cuda/cuda.h"

enum LvFormKind {
    LV_FORM_PLAIN,   ///< only another type
    LV_FORM_TAPS,    ///< [T,O,C,kh,kw] or [O,C,kh,kw] as [O, T kh kw C], columns padded
                     ///< to LV_PAD
    LV_FORM_FLIPPED, ///< [O,C,kh,kw] as [C, kh kw O], taps from last to first, padded
    LV_FORM_ROWS,    ///< [N,K] as F8_E4M3, scales of rows behind it; see LvLinearArgs
};

/** Taps of a convolution that our own kernels do as one product, at most. */
#define LV_TAPS 32

/** Bytes that the form of w takes; 0 when w itself is of it. */
size_t lv_cuda_form_bytes(const LvTensor *w, int form, int type);

/** For plan: count the form of w in call, as a weight when fixed, else as scratch
 *  from *at on: stored weights (lv_tensor_is_stored()) are widened at every run. */
void lv_cuda_plan_form(const LvTensor *w, int form, int type, LvCall *call, size_t *at);

/** For build: make the form of a fixed weight. @return 0 or a code */
int lv_cuda_build_form(LvCuda *cu, const LvTensor *w, int form, int type);

/** For run: the form of w, made at *at in scratch when w is not fixed.
 *  NULL when a launch failed. */
const void *lv_cuda_form(LvCuda *cu, const LvTensor *w, int form, int type,
                         void *scratch, size_t *at);

/** Rows of a matrix as F8_E4M3, scales behind them: [rows,cols] of any float type. */
int lv_cuda_quantize(LvCuda *cu, void *dst, const void *src, int src_type, size_t rows,
                     size_t cols);

/** Bytes of that. */
size_t lv_cuda_quantized_bytes(size_t rows, size_t cols);

/** dst of another type from n elements of src. */
int lv_cuda_cast(LvCuda *cu, void *dst, int dst_type, const void *src, int src_type,
                 size_t n);

#endif /* LINVIDEO_BACKEND_CUDA_CAST_H */
