/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Convolutions over time and place: for every frame of the result a convolution for each
 * frame of the kernel, which adds to the sum of those before it.
 */

#include "backend/cuda/cuda.h"

static size_t sum_bytes(const LvConv3Args *a)
{
    return sizeof(float) * lv_tensor_numel(&a->y) / (size_t)a->y.dim[0];
}

/* Picture i of t. */
static LvTensor picture(const LvTensor *t, int i)
{
    LvTensor p = *t;

    p.dim[0] = 1;
    p.data   = (char *)p.data + (size_t)i * lv_tensor_bytes(&p);
    return p;
}

static LvTensor tap_of(const LvConv3Args *a, int t)
{
    LvTensor w = a->w;

    w.rank = 4;
    for (int i = 0; i < LV_MAX_RANK; i++)
        w.dim[i] = i < 4 ? a->w.dim[i + 1] : 1;
    w.data = (char *)w.data + (size_t)t * lv_tensor_bytes(&w);
    return w;
}

/* Frame i of prev and x. */
static LvTensor frame_of(const LvConv3Args *a, int i)
{
    int before = a->prev.dim[0];

    return i < before ? picture(&a->prev, i) : picture(&a->x, i - before);
}

/* The convolution of frame t of the kernel for result n: from r or the sum so far, to the
 * sum or, with the last one, to y. */
static LvConvArgs part_of(const LvConv3Args *a, int n, int t, void *sum)
{
    int last = t == a->w.dim[0] - 1;
    LvConvArgs c = { .x = frame_of(a, n * a->step + t), .w = tap_of(a, t),
                     .b = LV_NO_TENSOR, .r = picture(&a->y, n), .y = picture(&a->y, n),
                     .stride = 1, .pad = a->pad };

    c.r.dtype = LV_F32;
    c.r.data  = sum;
    if (!t)
        c.r = lv_has(&a->r) ? picture(&a->r, n) : LV_NO_TENSOR;
    if (last) {
        c.b   = a->b;
        c.act = a->act;
    } else {
        c.y.dtype = LV_F32;
        c.y.data  = sum;
    }
    return c;
}

int lv_cuda_plan_conv3(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    size_t scratch = 0;

    for (int t = 0; t < a->w.dim[0]; t++) {
        LvConvArgs c = part_of(a, 0, t, NULL);
        LvCall one   = { 0 };
        lv_cuda_plan_conv(dev, &c, &one);
        call->weight_bytes += one.weight_bytes;
        scratch = LV_MAX(scratch, one.scratch_bytes);
    }
    lv_cuda_carve(NULL, &call->scratch_bytes, sum_bytes(a));
    call->scratch_bytes += scratch;
    return 0;
}

int lv_cuda_build_conv3(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    int ret = 0;

    for (int t = 0; t < a->w.dim[0] && ret >= 0; t++) {
        LvConvArgs c = part_of(a, 0, t, NULL);
        ret = lv_cuda_build_conv(dev, &c, call);
    }
    return ret;
}

static int copy_frame(LvCuda *cu, LvTensor to, LvTensor from)
{
    int unit = lv_tensor_bytes(&to) % 16 ? (int)lv_dtype_size((LvDtype)to.dtype) : 16;
    size_t n = lv_tensor_bytes(&to) / (size_t)unit;

    return LV_LAUNCH(cu, copy, lv_cuda_grid1(n), &to.data, &from.data, &n, &unit);
}

int lv_cuda_conv3(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    size_t at  = 0;
    void *sum  = lv_cuda_carve(call->scratch, &at, sum_bytes(a));
    LvCall rest = { .scratch = (char *)call->scratch + at };
    int ret = 0;

    for (int n = 0; n < a->y.dim[0]; n++)
        for (int t = 0; t < a->w.dim[0] && ret >= 0; t++) {
            LvConvArgs c = part_of(a, n, t, sum);
            ret = lv_cuda_conv(dev, &c, &rest);
        }
    for (int i = 0; i < a->next.dim[0] && ret >= 0; i++)
        ret = copy_frame(cu, picture(&a->next, i), frame_of(a, a->x.dim[0] + i));
    return ret;
}
