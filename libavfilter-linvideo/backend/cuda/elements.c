/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ops on elements, losses, sums, the optimizer.
 */

#include "backend/cuda/cuda.h"

/* Blocks that leave a partial sum of n elements. */
static size_t sum_blocks(size_t n)
{
    return LV_MIN(lv_cuda_split(n, 8192), 1024);
}

static LvGrid sum_grid(size_t n, size_t samples)
{
    return (LvGrid) { sum_blocks(n), samples, 1, 256, 0 };
}

static const LvGrid one_block = { 1, 1, 1, 256, 0 };

int lv_cuda_add(LvDevice *dev, const LvAddArgs *a, LvCall *call)
{
    size_t n = lv_tensor_numel(&a->a), nb = lv_tensor_numel(&a->b);

    (void)call;
    return LV_LAUNCH(lv_cuda(dev), add, lv_cuda_grid8(n), (void *)a, &n, &nb);
}

/* Ops whose kernel takes the arguments and the number of elements. */
#define ELEMENTS(name, Type, tensor)                                                \
    int lv_cuda_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call)        \
    {                                                                               \
        size_t n = lv_tensor_numel(&a->tensor);                                     \
                                                                                    \
        (void)call;                                                                 \
        return LV_LAUNCH(lv_cuda(dev), name, lv_cuda_grid8(n), (void *)a, &n);      \
    }

ELEMENTS(act, Act, x)
ELEMENTS(glu, Glu, x)
ELEMENTS(mix, Mix, a)
ELEMENTS(fill, Fill, y)
ELEMENTS(act_dx, ActDx, x)
ELEMENTS(glu_dx, GluDx, x)
ELEMENTS(adamw, Adamw, g)

int lv_cuda_expand(LvDevice *dev, const LvExpandArgs *a, LvCall *call)
{
    size_t n = lv_tensor_numel(&a->y), times = n / lv_tensor_numel(&a->x);

    (void)call;
    return LV_LAUNCH(lv_cuda(dev), expand, lv_cuda_grid8(n), (void *)a, &n, &times);
}

int lv_cuda_plan_mix_dx(LvDevice *dev, const LvMixDxArgs *a, LvCall *call)
{
    (void)dev;
    if (lv_has(&a->dr))
        call->scratch_bytes = 8 * sum_blocks(lv_tensor_numel(&a->a));
    return 0;
}

int lv_cuda_mix_dx(LvDevice *dev, const LvMixDxArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    size_t n   = lv_tensor_numel(&a->a);
    int blocks = (int)sum_blocks(n), add = a->add >> 2 & 1, ret = 0;

    if (lv_has(&a->dr)) {
        ret = LV_LAUNCH(cu, mix_dr, sum_grid(n, 1), (void *)a, &n, &call->scratch);
        if (ret >= 0)
            ret = LV_LAUNCH(cu, sum_f64, one_block, &call->scratch, &blocks,
                            (void *)&a->dr.data, &add);
    }
    if (ret < 0 || (!lv_has(&a->da) && !lv_has(&a->db)))
        return ret;
    return LV_LAUNCH(cu, mix_dx, lv_cuda_grid8(n), (void *)a, &n);
}

int lv_cuda_plan_sqsum(LvDevice *dev, const LvSqsumArgs *a, LvCall *call)
{
    (void)dev;
    call->scratch_bytes = 8 * sum_blocks(lv_tensor_numel(&a->x));
    return 0;
}

int lv_cuda_sqsum(LvDevice *dev, const LvSqsumArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    size_t n   = lv_tensor_numel(&a->x);
    int blocks = (int)sum_blocks(n), add = a->add & 1;
    int ret = LV_LAUNCH(cu, sqsum, sum_grid(n, 1), (void *)a, &n, &call->scratch);

    return ret < 0 ? ret : LV_LAUNCH(cu, sum_f64, one_block, &call->scratch, &blocks,
                                     (void *)&a->y.data, &add);
}

int lv_cuda_plan_loss(LvDevice *dev, const LvLossArgs *a, LvCall *call)
{
    size_t samples = (size_t)a->weight.dim[0];

    (void)dev;
    call->scratch_bytes = 8 * samples * sum_blocks(lv_tensor_numel(&a->x) / samples);
    return 0;
}

int lv_cuda_loss(LvDevice *dev, const LvLossArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    size_t samples = (size_t)a->weight.dim[0], n = lv_tensor_numel(&a->x) / samples;
    LvGrid grid = { samples, 1, 1, 256, 0 };
    int blocks = (int)sum_blocks(n);
    int ret = LV_LAUNCH(cu, loss, sum_grid(n, samples), (void *)a, &n, &call->scratch);

    return ret < 0 ? ret : LV_LAUNCH(cu, loss_sum, grid, &call->scratch, &blocks,
                                     (void *)&a->loss.data);
}
