/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/weight.h"

#include <stdlib.h>

size_t lv_weight_cols(const LvTensor *t)
{
    size_t rows = (size_t)t->dim[0] * (t->rank == 5 ? (size_t)t->dim[1] : 1);

    return lv_tensor_numel(t) / rows;
}

size_t lv_weight_row_bytes(const LvTensor *t)
{
    size_t bytes = 0;

    lv_dtype_bytes(&bytes, (LvDtype)t->dtype, lv_weight_cols(t));
    return bytes;
}

const void *lv_weight_rows(const LvTensor *t, size_t first, size_t rows, void *tmp,
                           const LvMsg *msg)
{
    size_t row = lv_weight_row_bytes(t);

    if (t->data)
        return (const char *)t->data + first * row;
    return t->w->read(t->w, first, rows, tmp, msg) < 0 ? NULL : tmp;
}

enum { STRIP = 256 << 10 };

int lv_weight_check(const LvTensor *t, const LvMsg *msg)
{
    size_t cols = lv_weight_cols(t), row = lv_weight_row_bytes(t);
    size_t rows = lv_tensor_numel(t) / cols, strip = LV_MAX(STRIP / row, 1);
    void *tmp   = malloc(strip * row);
    int ret     = tmp ? 0 : lv_fail(msg, LV_ERR(ENOMEM), "weights: out of memory");

    for (size_t i = 0; i < rows && ret >= 0 && t->w && t->w->read; i += strip)
        ret = t->w->read(t->w, i, LV_MIN(strip, rows - i), tmp, msg);
    free(tmp);
    if (ret < 0 && t->w && t->w->retry)
        t->w->retry(t->w);
    return ret;
}
