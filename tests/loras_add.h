/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A LoRA added to a whole tensor at once.
 */

#ifndef LINVIDEO_TESTS_LORAS_ADD_H
#define LINVIDEO_TESTS_LORAS_ADD_H

#include <string.h>

#include "model/lora.h"

typedef struct LorasBase {
    const float *data;
    size_t cols;
} LorasBase;

static inline int loras_base(void *opaque, size_t first, size_t rows, float *dst,
                             const LvMsg *msg)
{
    const LorasBase *b = opaque;

    (void)msg;
    memcpy(dst, b->data + first * b->cols, rows * b->cols * sizeof(*dst));
    return 0;
}

/** Note a row's changes and make them: all elements of t, of rank 1 or more, lie at data. */
static inline int loras_add(LvLoras *loras, const LvWeightRow *row, int index, float *data,
                            const LvFileTensor *t, const LvMsg *msg)
{
    LorasBase base = { data, t->numel / (size_t)t->dim[0] };
    LvLoraRows *rows = NULL;
    int ret = lv_loras_note(loras, row, index, t, msg);

    if (ret >= 0)
        ret = lv_loras_ready(&rows, loras, row, index, t, &(LvLoraBase) { loras_base, &base },
                             msg);
    if (ret >= 0)
        ret = lv_loras_change(rows, 0, (size_t)t->dim[0], data, msg);
    lv_loras_unready(&rows);
    return ret;
}

#endif /* LINVIDEO_TESTS_LORAS_ADD_H */
