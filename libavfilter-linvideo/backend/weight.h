/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights by handle: contents that never change, wherever they lie.
 * Floor F2 (backend): knows memory and rows, not files.
 *
 * A tensor of weights carries a handle, LvTensor.w, which stays the same from the description
 * of a network to its end. Contents come and go behind it:
 *
 *   described  no contents: graphs are traced and planned
 *   loaded     `data` says where they lie, in memory of the device (streamed: of the host)
 *   by rows    `read` makes rows of them when they are asked for; the whole lies nowhere.
 *              Devices that pack (LvDevice.packs) ask for strips of rows from all their threads
 *
 * lv_program_build() takes `data` from the handles. So a program is planned before its weights
 * are there, and is built again, not traced again, once they have moved.
 *
 * What a device makes of the contents for its matmuls is a form; see form.h.
 *
 * A tensor without a handle is an activation, or a weight in training: its contents change.
 */

#ifndef LINVIDEO_BACKEND_WEIGHT_H
#define LINVIDEO_BACKEND_WEIGHT_H

#include "backend/ops.h"
#include "base/common.h"
#include "base/msg.h"

typedef struct LvWeight {
    void *data;   ///< NULL: not loaded
    int streamed; ///< 1: data lie on the host and come to the device while a program runs; see
                  ///< graph/slots.h
    /**
     * Write rows `first` to first + rows - 1 to dst, in the tensor's type. From any thread.
     * NULL: rows are where data are.
     *
     * @return 0, or a code after a message
     */
    int (*read)(const struct LvWeight *w, size_t first, size_t rows, void *dst,
                const LvMsg *msg);
    /** Let rows that could not be made be tried again; until then they may fail as they did.
     *  NULL: each read tries. */
    void (*retry)(const struct LvWeight *w);
    struct LvForm *forms; ///< of form.h alone
} LvWeight;

/** Whether t's contents never change, and are there, or can be read, when calls are built. */
static inline int lv_is_fixed(const LvTensor *t)
{
    return t->w && !t->w->streamed;
}

/** Whether t's contents come from the host while a program runs. */
static inline int lv_is_streamed(const LvTensor *t)
{
    return t->w && t->w->streamed;
}

/** Elements of a row as LvWeight.read counts rows: of all dimensions behind the first, or
 *  behind the second of five. */
size_t lv_weight_cols(const LvTensor *t);

/** Bytes of such a row; in F8_E4M3 without its scale. */
size_t lv_weight_row_bytes(const LvTensor *t);

/** Rows of a tensor on the host: where they lie, or at tmp, of their size, where they are made.
 *  NULL after a message. */
const void *lv_weight_rows(const LvTensor *t, size_t first, size_t rows, void *tmp,
                           const LvMsg *msg);

/** Make all rows of a tensor once, to find what is wrong with them. 0, or the code of the first
 *  row that is wrong, after its message; who reads them later tries again. */
int lv_weight_check(const LvTensor *t, const LvMsg *msg);

#endif /* LINVIDEO_BACKEND_WEIGHT_H */
