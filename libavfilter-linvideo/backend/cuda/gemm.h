/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Products by cuBLASLt.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CUDA_GEMM_H
#define LINVIDEO_BACKEND_CUDA_GEMM_H

#include "backend/cuda/cuda.h"

/**
 * c = a b, or c + a b, all row-major: c [m,n], a [m,k] ([k,m] when ta), b [k,n] ([n,k]
 * when tb). a and b of one type, f32, bf16, or F8_E4M3: that with tb alone, n and k multiples of
 * 16.
 */
typedef struct LvGemmKey {
    int m, n, k;
    int lda, ldb, ldc; ///< elements from row to row; 0: dense
    int align;     ///< bytes that a, b and c begin at a multiple of; 0: LV_ALIGN
    uint8_t ta, tb;
    uint8_t type;  ///< LvDtype of a and b
    uint8_t out;   ///< of c: f32, or bf16 when type is not
    uint8_t after; ///< what follows, of LT_EPILOGUE_*; 0: nothing. bf16 alone, no adding
    uint8_t scaled; ///< 1: rows of a, and of b with tb, have scales, of F8_E4M3; no adding
} LvGemmKey;

/** LT_EPILOGUE_* of an activation; 0: cuBLASLt does not know it, or LV_ACT_NONE. */
static inline uint8_t lv_cuda_gemm_act(enum LvAct act)
{
    return act == LV_ACT_RELU ? LT_EPILOGUE_RELU : act == LV_ACT_GELU ? LT_EPILOGUE_GELU : 0;
}

/** For build and run: find the product's algorithm, and keep it.
 *  NULL when there is none (a message was put). */
const LvGemm *lv_cuda_gemm_get(LvCuda *cu, const LvGemmKey *key);

/** The same for a key with scales, or something after the product. @return 1, 0: cuBLASLt does
 *  not do that (no message), or a code */
int lv_cuda_gemm_has(LvCuda *cu, const LvGemmKey *key);

/** Run a product. @param add 1: added to c @return 0 or a code */
int lv_cuda_gemm(LvCuda *cu, const LvGemmKey *key, const void *a, const void *b,
                 void *c, int add);

/** What else a key may ask for. */
typedef struct LvGemmMore {
    const void *bias;              ///< [n] of type `out`, when `after` has it
    const float *a_scale, *b_scale; ///< [m], [n], when `scaled`
} LvGemmMore;

/** Run a product with scales, or something after it. */
int lv_cuda_gemm_more(LvCuda *cu, const LvGemmKey *key, const void *a, const void *b, void *c,
                      const LvGemmMore *more);

void lv_cuda_free_gemms(LvCuda *cu);

#endif /* LINVIDEO_BACKEND_CUDA_GEMM_H */
