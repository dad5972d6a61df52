/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Matmuls and convolutions by oneDNN (2.6 and 3.x), each small enough for one
 * thread: the ops cut their work into tiles of a fixed size and run one of these
 * for each, so that results do not depend on the number of threads.
 * Floor F2 (backend). The only file that knows oneDNN's API.
 *
 * Everything is made while building; running allocates nothing of ours.
 */

#ifndef LINVIDEO_BACKEND_CPU_DNN_H
#define LINVIDEO_BACKEND_CPU_DNN_H

#include <stddef.h>

#include "backend/cpu/dsp.h"
#include "base/common.h"
#include "base/msg.h"

typedef struct LvDnn LvDnn;
typedef struct LvGemm LvGemm;
typedef struct LvConv LvConv;

/** Open for so many threads; packing uses ISA kernels of dsp. 0, -ENOMEM or
 *  LV_ERR_DEVICE. */
int lv_dnn_open(LvDnn **dnn, int threads, const LvDsp *dsp, const LvMsg *msg);

/** Free *dnn with all matmuls and convolutions. NULL is fine. */
void lv_dnn_close(LvDnn **dnn);

/** Whether this CPU multiplies bf16 faster than f32. */
int lv_dnn_has_bf16(const LvDnn *dnn);

/** Whether it multiplies 8-bit numbers, faster still. */
int lv_dnn_has_i8(const LvDnn *dnn);

/**
 * C[m,n] = A[m,k] B[k,n] (+ bias[n]) (+ C)
 * A and B of one type, f32 or bf16; C f32, or bf16 when A and B are; or A of unsigned
 * bytes, B of signed ones and C of 32-bit integers. B packed (lv_pack_*). A and C are
 * dense: oneDNN 2.6 has no fast matmul for rows that lie further apart than they are
 * long.
 */
typedef struct LvGemmDesc {
    int m, n, k;
    int ldb;        ///< columns of the whole packed B, of which this uses a slice
    LvDtype type;   ///< of B, and of A, whose bytes are unsigned
    LvDtype c_type; ///< of C
    int transposed; ///< A is stored as [k,m]
    int bias;       ///< 1: bias is added
    int sum;        ///< 1: C is added to (f32 only)
} LvGemmDesc;

/** The matmul for a description; made once, kept by dnn. NULL after an error,
 *  which was put. */
const LvGemm *lv_gemm_get(LvDnn *dnn, const LvGemmDesc *desc);

/** Code of the error after which lv_gemm_get() or lv_conv_get() gave NULL. */
int lv_dnn_error(const LvDnn *dnn);

/** Run on the calling thread, whose number (0 to threads - 1) is thread. */
int lv_gemm_run(const LvGemm *gemm, int thread, const void *a, const void *b,
                const float *bias, void *c);

/*
 * Packing of B. The layout has blocks of 64 columns outermost, so that a slice of
 * columns starting at a multiple of 64 is contiguous and is packed data again.
 * Rows are padded with zeros to the layout's block, columns to 64.
 */

/** Bytes of a packed B[k,n]. */
size_t lv_pack_bytes(const LvDnn *dnn, int type, int k, int n);

/** Bytes from the start of packed data to column n0, a multiple of 64. */
size_t lv_pack_offset(const LvDnn *dnn, int type, int k, int n0);

/** Pack columns n0 to n0 + 63 (fewer at the end) of B[k,n] into the whole packed
 *  matrix at dst. src is element (0, n0) of B, of the type itself, rows being ld
 *  elements apart. */
void lv_pack_rows(const LvDnn *dnn, int type, void *dst, const void *src, int k,
                  int n, int ld, int n0);

/** The same for B given transposed, as [n,k]: columns are ld elements apart; for bytes a
 *  multiple of 4 that is not below k, and zeros behind k. */
void lv_pack_cols(const LvDnn *dnn, int type, void *dst, const void *src, int k,
                  int n, int ld, int n0);

/** What a convolution computes. */
enum LvConvWhat {
    LV_CONV_Y,  ///< y from x and w
    LV_CONV_DX, ///< the gradient of x from that of y and w
    LV_CONV_DW  ///< the gradient of w from x and that of y
};

/**
 * One convolution over `out_rows` output rows of channels-last frames, to which the
 * input rows belong that are described; the rest is padded with zeros.
 */
typedef struct LvConvDesc {
    enum LvConvWhat what;
    int batch;                 ///< frames
    int in_rows, cols, c;      ///< input: rows, columns, channels
    int out_rows, out_cols, o; ///< output
    int kh, kw, stride;
    int pad_top, pad_left;     ///< bottom and right follow from the sizes
    LvDtype type;              ///< of what is read
    LvDtype out_type;          ///< of what is written; f32 for LV_CONV_DW
    int bias;                  ///< 1: bias is added; LV_CONV_Y only
    int relu;                  ///< 1: max(y, 0) comes last; LV_CONV_Y only
    int sum;                   ///< 1: y is added to; LV_CONV_Y and f32 only
} LvConvDesc;

/** What a convolution runs on; what it computes is written. */
typedef struct LvConvData {
    void *x, *w, *y; ///< w packed
    const float *bias;
} LvConvData;

/** As lv_gemm_get(). All convolutions of one weight must share its layout: the
 *  first one made for (what, c, o, kh, kw, type, cols, stride) decides, later ones
 *  follow. */
const LvConv *lv_conv_get(LvDnn *dnn, const LvConvDesc *desc);

/** Bytes of the packed weight. */
size_t lv_conv_weight_bytes(const LvConv *conv);

/** Pack [o,c,kh,kw] weights of type f32; for LV_CONV_DW, bring the packed gradient to
 *  that form. For one caller at a time. */
int lv_conv_reorder(const LvConv *conv, void *dst, const void *src);

/** Run on the calling thread. */
int lv_conv_run(const LvConv *conv, int thread, const LvConvData *data);

#endif /* LINVIDEO_BACKEND_CPU_DNN_H */
