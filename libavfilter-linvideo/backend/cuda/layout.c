/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ops that move elements, lookups, sinusoids.
 */

#include "backend/cuda/cuda.h"

/* Bytes moved at once where pieces of n elements of t stay together. */
static int unit_of(const LvTensor *t, size_t n)
{
    int size = (int)lv_dtype_size((LvDtype)t->dtype);

    return n * (size_t)size % 16 == 0 ? 16 : size;
}

static size_t in_units(const LvTensor *t, size_t n, int unit)
{
    return n * lv_dtype_size((LvDtype)t->dtype) / (size_t)unit;
}

int lv_cuda_recall(LvDevice *dev, const LvRecallArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    int unit   = unit_of(&a->x, (size_t)a->x.dim[3]);
    size_t n = in_units(&a->y, lv_tensor_numel(&a->y), unit);
    size_t c = in_units(&a->x, (size_t)a->x.dim[3], unit);
    size_t frame = in_units(&a->x, lv_tensor_numel(&a->prev), unit);
    const char *last = (const char *)a->x.data + lv_tensor_bytes(&a->x) -
                       lv_tensor_bytes(&a->prev);
    int ret = LV_LAUNCH(cu, recall, lv_cuda_grid1(n), (void *)a, &n, &c, &frame, &unit);

    (void)call;
    if (ret < 0 || !lv_has(&a->next))
        return ret;
    return LV_LAUNCH(cu, copy, lv_cuda_grid1(frame), (void *)&a->next.data, &last,
                     &frame, &unit);
}

/* Copying ops whose kernel takes units of the output, of a pixel, and their size. */
#define COPYING(name, Type, piece)                                                  \
    int lv_cuda_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call)        \
    {                                                                               \
        int unit = unit_of(&a->y, (size_t)(piece));                                 \
        size_t n = in_units(&a->y, lv_tensor_numel(&a->y), unit);                   \
        size_t c = in_units(&a->y, (size_t)(piece), unit);                          \
                                                                                    \
        (void)call;                                                                 \
        return LV_LAUNCH(lv_cuda(dev), name, lv_cuda_grid1(n), (void *)a, &n, &c,   \
                         &unit);                                                    \
    }

COPYING(upsample, Upsample, a->x.dim[3])
COPYING(unstack, Unstack, a->y.dim[3])
COPYING(stack, Stack, a->x.dim[3])

/* Ops whose kernel takes a thread for each element of a tensor. */
#define INDEXED(name, Type, tensor)                                                 \
    int lv_cuda_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call)        \
    {                                                                               \
        size_t n = lv_tensor_numel(&a->tensor);                                     \
                                                                                    \
        (void)call;                                                                 \
        return LV_LAUNCH(lv_cuda(dev), name, lv_cuda_grid1(n), (void *)a, &n);      \
    }

INDEXED(patchify, Patchify, y)
INDEXED(unpatchify, Unpatchify, x)
INDEXED(shuffle, Shuffle, y)
INDEXED(unshuffle, Unshuffle, x)
INDEXED(avg_down, AvgDown, y)
INDEXED(dup_up, DupUp, y)
INDEXED(embed, Embed, y)

int lv_cuda_upsample_dx(LvDevice *dev, const LvUpsampleDxArgs *a, LvCall *call)
{
    size_t n = lv_tensor_numel(&a->dx), many = a->dx.dim[3] % 8 ? 1 : 8;

    (void)call;
    return LV_LAUNCH(lv_cuda(dev), upsample_dx, lv_cuda_grid1(n / many), (void *)a, &n);
}

int lv_cuda_recall_dx(LvDevice *dev, const LvRecallDxArgs *a, LvCall *call)
{
    size_t n = lv_tensor_numel(&a->dx);
    size_t frame = (size_t)a->dx.dim[1] * (size_t)a->dx.dim[2];

    (void)call;
    return LV_LAUNCH(lv_cuda(dev), recall_dx, lv_cuda_grid1(n), (void *)a, &n, &frame);
}

int lv_cuda_embed_dx(LvDevice *dev, const LvEmbedDxArgs *a, LvCall *call)
{
    LvGrid grid = { (size_t)a->ids.dim[0], 1, 1, 256, 0 };
    LvFillArgs zero = { a->dtable, 0 };
    int ret = 0;

    if (!(a->add & 1))
        ret = lv_cuda_fill(dev, &zero, call);
    return ret < 0 ? ret : LV_LAUNCH(lv_cuda(dev), embed_dx, grid, (void *)a);
}

int lv_cuda_sinusoid(LvDevice *dev, const LvSinusoidArgs *a, LvCall *call)
{
    LvGrid grid = { lv_cuda_split((size_t)a->y.dim[1] / 2, 128), (size_t)a->t.dim[0], 1,
                    128, 0 };

    (void)call;
    return LV_LAUNCH(lv_cuda(dev), sinusoid, grid, (void *)a);
}
