/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Convolutions over time and place. In bf16 one product of our own, which reads the frames
 * before where they are. Else, for every frame of the result, a convolution for each frame
 * of the kernel, which adds to the sum of those before it; kernels then want frames to
 * begin at whole 16 bytes: where they do not, copies are taken.
 */

#include "backend/cuda/cast.h"
#include "backend/cuda/product.h"

static int is_fused(const LvConv3Args *a)
{
    return a->x.dtype == LV_BF16 && a->x.dim[3] % LV_PAD == 0 &&
           a->w.dim[0] * a->w.dim[3] * a->w.dim[4] <= LV_TAPS;
}

static int run_fused(LvCuda *cu, const LvConv3Args *a, void *scratch)
{
    const int *i = a->x.dim, *o = a->y.dim;
    size_t at = 0;
    LvProductArgs p = {
        .x = a->x.data, .prev = a->prev.data, .bias = lv_has(&a->b) ? a->b.data : NULL,
        .r = lv_has(&a->r) ? a->r.data : NULL, .r_type = a->r.dtype, .y = a->y.data,
        .y_type = a->y.dtype, .rows = o[0] * o[1] * o[2], .yi = i[1], .xi = i[2],
        .c = i[3], .yo = o[1], .xo = o[2], .o = o[3], .kt = a->w.dim[0],
        .kh = a->w.dim[3], .kw = a->w.dim[4], .pad_y = a->pad, .pad_x = a->pad,
        .step = a->step, .before = a->prev.dim[0], .stride = 1, .spread = 1, .act = a->act,
    };

    p.w = lv_cuda_form(cu, &a->w, LV_FORM_TAPS, LV_BF16, scratch, &at);
    return p.w ? lv_cuda_product(cu, &p) : LV_ERR_DEVICE;
}

/* Frame i of t. */
static LvTensor frame_at(const LvTensor *t, int i)
{
    LvTensor p = *t;

    p.dim[0] = 1;
    p.data   = (char *)p.data + (size_t)i * lv_tensor_bytes(&p);
    return p;
}

static size_t frame_bytes(const LvTensor *t)
{
    return lv_has(t) ? lv_tensor_bytes(t) / (size_t)t->dim[0] : 0;
}

static int is_aligned(const LvTensor *t)
{
    return frame_bytes(t) % 16 == 0;
}

/* A result's sum so far, and copies of what is not aligned: NULL for what is. */
typedef struct Work {
    void *sum, *r, *y, *x;
} Work;

static Work carve(const LvConv3Args *a, void *scratch, size_t *at)
{
    Work w = { NULL, NULL, NULL, NULL };

    w.sum = lv_cuda_carve(scratch, at, sizeof(float) * lv_tensor_numel(&a->y) /
                                       (size_t)a->y.dim[0]);
    if (!is_aligned(&a->r))
        w.r = lv_cuda_carve(scratch, at, frame_bytes(&a->r));
    if (!is_aligned(&a->y))
        w.y = lv_cuda_carve(scratch, at, frame_bytes(&a->y));
    if (!is_aligned(&a->x))
        w.x = lv_cuda_carve(scratch, at, frame_bytes(&a->x));
    return w;
}

/* Another place for a frame, where there is one. */
static LvTensor placed(LvTensor p, void *copy)
{
    p.data = copy ? copy : p.data;
    return p;
}

/* Frame i of prev and x. */
static LvTensor frame_of(const LvConv3Args *a, int i)
{
    int before = a->prev.dim[0];

    return i < before ? frame_at(&a->prev, i) : frame_at(&a->x, i - before);
}

/* The convolution of frame t of the kernel for result n: from r or the sum so far, to the
 * sum or, with the last one, to y. */
static LvConvArgs part_of(const LvConv3Args *a, int n, int t, const Work *w)
{
    int last = t == a->w.dim[0] - 1;
    LvConvArgs c = { .x = placed(frame_of(a, n * a->step + t), w->x),
                     .w = lv_conv3_tap(a, t),
                     .b = LV_NO_TENSOR, .r = frame_at(&a->y, n),
                     .y = placed(frame_at(&a->y, n), w->y), .stride = 1, .pad = a->pad };

    c.r.dtype = LV_F32;
    c.r.data  = w->sum;
    if (!t)
        c.r = lv_has(&a->r) ? placed(frame_at(&a->r, n), w->r) : LV_NO_TENSOR;
    if (last) {
        c.b   = a->b;
        c.act = a->act;
    } else {
        c.y.dtype = LV_F32;
        c.y.data  = w->sum;
    }
    return c;
}

static int plan_parts(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    size_t scratch = 0;
    const Work w   = carve(a, NULL, &call->scratch_bytes);

    for (int t = 0; t < a->w.dim[0]; t++) {
        LvConvArgs c = part_of(a, 0, t, &w);
        LvCall one   = { 0 };
        lv_cuda_plan_conv(dev, &c, &one);
        call->weight_bytes += one.weight_bytes;
        scratch = LV_MAX(scratch, one.scratch_bytes);
    }
    call->scratch_bytes += scratch;
    return 0;
}

int lv_cuda_plan_conv3(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    if (!is_fused(a))
        return plan_parts(dev, a, call);
    lv_cuda_plan_form(&a->w, LV_FORM_TAPS, LV_BF16, call, &call->scratch_bytes);
    return 0;
}

static int build_parts(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    const Work w = { NULL, NULL, NULL, NULL };
    int ret = 0;

    for (int t = 0; t < a->w.dim[0] && ret >= 0; t++) {
        LvConvArgs c = part_of(a, 0, t, &w);
        ret = lv_cuda_build_conv(dev, &c, call);
    }
    return ret;
}

int lv_cuda_build_conv3(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    return is_fused(a) ? lv_cuda_build_form(lv_cuda(dev), &a->w, LV_FORM_TAPS, LV_BF16)
                       : build_parts(dev, a, call);
}

static int copy_frame(LvCuda *cu, LvTensor to, LvTensor from)
{
    int unit = lv_tensor_bytes(&to) % 16 ? (int)lv_dtype_size((LvDtype)to.dtype) : 16;
    size_t n = lv_tensor_bytes(&to) / (size_t)unit;

    return LV_LAUNCH(cu, copy, lv_cuda_grid1(n), &to.data, &from.data, &n, &unit);
}

static int run_part(LvCuda *cu, const LvConv3Args *a, int n, int t, const Work *w,
                    LvCall *rest)
{
    LvConvArgs c   = part_of(a, n, t, w);
    LvTensor frame = frame_of(a, n * a->step + t);
    int ret = w->x ? copy_frame(cu, c.x, frame) : 0;

    return ret < 0 ? ret : lv_cuda_conv(&cu->dev, &c, rest);
}

static int run_frame(LvCuda *cu, const LvConv3Args *a, int n, const Work *w, LvCall *rest)
{
    LvTensor y = frame_at(&a->y, n);
    int ret = w->r ? copy_frame(cu, placed(frame_at(&a->r, n), w->r), frame_at(&a->r, n)) : 0;

    for (int t = 0; t < a->w.dim[0] && ret >= 0; t++)
        ret = run_part(cu, a, n, t, w, rest);
    return ret < 0 || !w->y ? ret : copy_frame(cu, y, placed(y, w->y));
}

static int run_frames(LvCuda *cu, const LvConv3Args *a, char *scratch)
{
    size_t at    = 0;
    const Work w = carve(a, scratch, &at);
    LvCall rest  = { .scratch = scratch + at };
    int ret = 0;

    for (int n = 0; n < a->y.dim[0] && ret >= 0; n++)
        ret = run_frame(cu, a, n, &w, &rest);
    return ret;
}

int lv_cuda_conv3(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    int ret    = is_fused(a) ? run_fused(cu, a, call->scratch)
                             : run_frames(cu, a, call->scratch);

    for (int i = 0; i < a->next.dim[0] && ret >= 0; i++)
        ret = copy_frame(cu, frame_at(&a->next, i), frame_of(a, a->x.dim[0] + i));
    return ret;
}
