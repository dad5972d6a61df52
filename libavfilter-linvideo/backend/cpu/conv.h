/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What convolutions and their gradients share: bands of rows, packing of weights.
 * Floor F2 (backend).
 */

#ifndef LINVIDEO_BACKEND_CPU_CONV_H
#define LINVIDEO_BACKEND_CPU_CONV_H

#include "backend/cpu/cpu.h"

/** A convolution: frames x and y (or their gradients), weight w (or its own). */
typedef struct LvConvShape {
    const LvTensor *x, *w, *y;
    int stride, pad;
    LvDtype type; ///< of matmuls
} LvConvShape;

/** Rows of y, and the rows of x that belong to them. */
typedef struct LvBand {
    int y0, rows;
    int x0, in_rows;
    int pad_top;
} LvBand;

/** Band of `rows` rows of y from y0 on, and all rows of x that they read. */
LvBand lv_conv_band(const LvConvShape *s, int y0, int rows);

/** The convolution of a band of `batch` frames; what: LvConvWhat. */
LvConvDesc lv_conv_desc(const LvConvShape *s, const LvBand *band, int batch, int what,
                        int out_type);

/** Elements of a packed weight, at most. */
size_t lv_conv_room(const LvConvShape *s);

/** Bytes of scratch that packing w takes at every run. */
size_t lv_conv_scratch(const LvConvShape *s);

/** 0, or LV_ERR_DEVICE with a message when a packed weight of elements of `size` bytes
 *  takes more than lv_conv_room() says. */
int lv_conv_fits(const LvCpu *cpu, const LvConvShape *s, const LvConv *conv,
                 size_t size);

/** The packed weight: the kept one of a fixed w when scratch is NULL (kind: of enum
 *  LvPackKind), else made in scratch. NULL after an error. */
const void *lv_conv_weight(LvCpu *cpu, const LvConvShape *s, const LvConv *conv,
                           int kind, void *scratch);

/** How rows of a result are ended. */
typedef struct LvConvEnd {
    const LvTensor *r, *y;
    enum LvAct act;
} LvConvEnd;

/** y = act(t + r) over `rows` rows of frames, from row `at` of them all on; t and, behind
 *  it, room for a row more lie in the thread's slab. */
void lv_conv_end(const LvCpu *cpu, const LvConvEnd *e, float *t, float *tmp, size_t at,
                 int rows);

#endif /* LINVIDEO_BACKEND_CPU_CONV_H */
