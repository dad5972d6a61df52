/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Frames: tiles into whole ones, and these into the caller's memory.
 */

#include "backend/cpu/rows.h"
#include "base/deliver.h"

/* Row i of all rows of the tile's frames. */
static void blend_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const LvBlendArgs *a = j->args;
    int rows = a->x.dim[1], cols = a->x.dim[2], row = (int)(i % (size_t)rows);
    const float *wx = a->wx.data, wy = ((const float *)a->wy.data)[row];
    const float *x  = (const float *)a->x.data + i * j->cols;
    size_t to = i / (size_t)rows * (size_t)a->y.dim[1] + (size_t)(a->top + row);
    float *y  = (float *)a->y.data + 3 * (to * (size_t)a->y.dim[2] + (size_t)a->left);
    int old   = row < a->old_rows ? cols : a->old_cols;

    (void)tmp;
    for (int k = 0; k < 3 * cols; k++)
        y[k] = (k < 3 * old ? y[k] : 0) + wy * wx[k / 3] * (a->scale * x[k] + a->offset);
}

int lv_cpu_blend(LvDevice *dev, const LvBlendArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_row(dev, a, (size_t)a->x.dim[0] * (size_t)a->x.dim[1],
                           3 * (size_t)a->x.dim[2], blend_row);
}

int lv_cpu_frame(LvDevice *dev, const LvFrameArgs *a, LvCall *call)
{
    (void)dev, (void)call;
    lv_deliver(&a->out, a->rgb.data, a->rgb.dim[0], a->rgb.dim[1]);
    return 0;
}
