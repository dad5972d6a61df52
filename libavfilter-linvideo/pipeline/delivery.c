/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/delivery.h"

#include "base/deliver.h"

int lv_delivery_new(LvDelivery *d)
{
    const LvVideoConfig *v = &d->env->cfg->video;

    if (!d->scaled)
        return 0;
    return lv_resize_new(&d->resize, d->rows, d->cols, v->height, v->width) < 0
         ? lv_fail(d->env->msg, LV_ERR(ENOMEM), "out of memory") : 0;
}

void lv_delivery_free(LvDelivery *d)
{
    lv_resize_free(&d->resize);
}

int lv_delivery_run(const LvDelivery *d, const LvPlanes *out, const float *rgb)
{
    const LvOpArgs a = { .frame = {
        .rgb = { .data = (void *)(uintptr_t)rgb, .dtype = LV_F32, .rank = 3,
                 .dim = { d->rows, d->cols, 3, 1, 1 } },
        .out = *out,
    } };

    if (d->on_device)
        return lv_device_run(d->env->dev, LV_OP_FRAME, &a);
    if (d->scaled)
        lv_resize_deliver(&d->resize, out, rgb);
    else
        lv_deliver(out, rgb, d->rows, d->cols);
    return 0;
}
