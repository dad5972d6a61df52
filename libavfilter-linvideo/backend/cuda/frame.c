/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Frames: tiles into whole ones, and these into the caller's memory.
 */

#include "backend/cuda/cuda.h"
#include "base/deliver.h"

int lv_cuda_blend(LvDevice *dev, const LvBlendArgs *a, LvCall *call)
{
    size_t n = (size_t)a->x.dim[0] * (size_t)a->x.dim[1] * (size_t)a->x.dim[2];

    (void)call;
    return LV_LAUNCH(lv_cuda(dev), blend, lv_cuda_grid1(n), (void *)a, &n);
}

/* The caller's stream may hold work that still reads the planes, and its order is all that
 * is known of it; so ours is waited for, and then that. */
int lv_cuda_frame(LvDevice *dev, const LvFrameArgs *a, LvCall *call)
{
    LvCuda *cu   = lv_cuda(dev);
    const LvPlanes *out = &a->out;
    int half     = lv_planes_halve(out->format);
    int rows     = a->rgb.dim[0], cols = a->rgb.dim[1];
    size_t top   = (size_t)(rows - out->height) / 2, left = (size_t)(cols - out->width) / 2;
    size_t w     = lv_cuda_split((size_t)out->width, half ? 2 : 1);
    size_t h     = lv_cuda_split((size_t)out->height, half ? 2 : 1), pitch = 3 * (size_t)cols;
    LvGrid grid  = { lv_cuda_split(w, 128), h, 1, 128, 0 };
    CuStream out_stream = cu->foreign ? cu->out_stream : cu->stream;
    const float *first = (const float *)a->rgb.data + top * pitch + 3 * left;
    int ret = lv_device_sync(dev);

    (void)call;
    if (ret >= 0)
        ret = lv_cuda_launch_on(cu, out_stream, LV_K_deliver, grid,
                                (void *[]) { (void *)(uintptr_t)out, &first, &pitch });
    return ret < 0 ? ret : lv_cuda_check(cu, cu->drv.stream_sync(out_stream), "a frame");
}
