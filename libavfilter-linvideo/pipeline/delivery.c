/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/delivery.h"

#include <string.h>

#include "base/deliver.h"

int lv_delivery_new(LvDelivery *d)
{
    const LvVideoConfig *v = &d->env->cfg->video;

    if (!d->scaled)
        return 0;
    return lv_resize_new(&d->resize, d->rows, d->cols, v->height, v->width) < 0
         ? lv_fail(d->env->msg, LV_ERR(ENOMEM), "out of memory") : 0;
}

/* Planes of any format, one behind the other. */
static size_t planes_bytes(const LvDelivery *d)
{
    const LvVideoConfig *v = &d->env->cfg->video;

    return d->fetched ? 3 * (size_t)(v->width + 1) * (size_t)(v->height + 1) : 0;
}

LvNeed lv_delivery_need(const LvDelivery *d)
{
    return (LvNeed) { .state = planes_bytes(d), .host = planes_bytes(d) };
}

int lv_delivery_build(LvDelivery *d)
{
    const LvNeed need = lv_delivery_need(d);

    return d->fetched ? lv_memory_new(&d->memory, d->env->dev, &need) : 0;
}

void lv_delivery_free(LvDelivery *d)
{
    if (d->fetched)
        lv_memory_free(&d->memory, d->env->dev);
    lv_resize_free(&d->resize);
}

static void copy_planes(const LvPlanes *to, const LvPlanes *from)
{
    for (int i = 0; i < LV_COUNT(to->data); i++) {
        LvPlaneSize s = lv_plane_size(to->format, i, to->width, to->height);

        for (int y = 0; y < s.rows; y++)
            memcpy(to->data[i] + y * to->stride[i], from->data[i] + y * from->stride[i],
                   (size_t)s.row);
    }
}

static int fetch(const LvDelivery *d, LvOpArgs *a)
{
    LvDevice *dev = d->env->dev;
    LvPlanes out  = a->frame.out, host = out;
    size_t bytes  = lv_planes_lay_out(&host, d->memory.host);
    int ret;

    lv_planes_lay_out(&a->frame.out, d->memory.device);
    if ((ret = lv_device_run(dev, LV_OP_FRAME, a)) < 0 ||
        (ret = lv_device_download(dev, d->memory.host, d->memory.device, bytes)) < 0)
        return ret;
    copy_planes(&out, &host);
    return 0;
}

int lv_delivery_run(const LvDelivery *d, const LvPlanes *out, const float *rgb)
{
    LvOpArgs a = { .frame = {
        .rgb = { .data = (void *)(uintptr_t)rgb, .dtype = LV_F32, .rank = 3,
                 .dim = { d->rows, d->cols, 3, 1, 1 } },
        .out = *out,
    } };

    if (d->fetched)
        return fetch(d, &a);
    if (d->on_device)
        return lv_device_run(d->env->dev, LV_OP_FRAME, &a);
    if (d->scaled)
        lv_resize_deliver(&d->resize, out, rgb);
    else
        lv_deliver(out, rgb, d->rows, d->cols);
    return 0;
}
