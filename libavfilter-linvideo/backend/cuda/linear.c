/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Products of activations with weights, and their gradients: cuBLASLt for the bare
 * product, and in bf16 where it knows what follows; else our own kernel in bf16, and in
 * f32 another pass.
 */

#include "backend/cuda/cast.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/linear_f8.h"
#include "backend/cuda/product.h"

/* Whether the product needs no second look. */
static int is_bare(const LvLinearArgs *a)
{
    return !lv_has(&a->b) && a->act == LV_ACT_NONE &&
           (a->y.dtype == LV_F32 || a->x.dtype == LV_BF16);
}

/* Whether one kernel of ours makes product and epilogue. */
static int is_fused(const LvLinearArgs *a)
{
    return !is_bare(a) && a->x.dtype == LV_BF16 && a->x.dim[1] % LV_PAD == 0;
}

/* What cuBLASLt shall do after the product; 0: it does not know how. It adds a bias of
 * the type that it writes, so that one may be rounded to bf16 first. */
static int after(const LvLinearArgs *a)
{
    int act  = lv_cuda_gemm_act(a->act);
    int bias = lv_has(&a->b) ? LT_EPILOGUE_BIAS : 0;

    if (is_bare(a) || a->x.dtype != LV_BF16 ||
        (a->act != LV_ACT_NONE && !act))
        return 0;
    return act | bias;
}

/* Of the product with nothing after it. */
static LvGemmKey bare_key_of(const LvLinearArgs *a)
{
    return (LvGemmKey) {
        .m = a->x.dim[0], .n = a->w.dim[0], .k = a->x.dim[1], .tb = 1,
        .type = a->x.dtype, .out = is_bare(a) ? a->y.dtype : LV_F32,
    };
}

static LvGemmKey key_of(const LvLinearArgs *a)
{
    LvGemmKey key = bare_key_of(a);

    if ((key.after = (uint8_t)after(a)))
        key.out = a->y.dtype;
    return key;
}

int lv_cuda_plan_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    if (a->of == LV_MATMUL_I8)
        return lv_fail(dev->msg, LV_ERR_UNSUPPORTED, "%s: no matmuls of 8-bit integers here",
                       dev->about);
    if (lv_cuda_is_f8(a))
        return lv_cuda_plan_linear_f8(dev, a, call);
    lv_cuda_plan_form(&a->w, LV_FORM_PLAIN, a->x.dtype, call, &call->scratch_bytes);
    if (after(a) & LT_EPILOGUE_BIAS)
        lv_cuda_plan_form(&a->b, LV_FORM_PLAIN, a->y.dtype, call, &call->scratch_bytes);
    if (!is_bare(a) && !is_fused(a) && a->y.dtype != LV_F32)
        lv_cuda_carve(NULL, &call->scratch_bytes, 4 * lv_tensor_numel(&a->y));
    return 0;
}

int lv_cuda_build_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    int ret;

    if (lv_cuda_is_f8(a))
        return lv_cuda_build_linear_f8(dev, a, call);
    ret = lv_cuda_build_form(lv_cuda(dev), &a->w, LV_FORM_PLAIN, a->x.dtype);
    return ret < 0 || !(after(a) & LT_EPILOGUE_BIAS) ? ret
         : lv_cuda_build_form(lv_cuda(dev), &a->b, LV_FORM_PLAIN, a->y.dtype);
}

int lv_cuda_ready_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    LvGemmKey key = key_of(a);
    int ret = 0;

    (void)call;
    if (lv_cuda_is_f8(a))
        return lv_cuda_ready_linear_f8(dev, a);
    if (is_fused(a) && !key.after)
        return 0;
    if (key.after && ((ret = lv_cuda_gemm_has(lv_cuda(dev), &key)) || is_fused(a)))
        return LV_MIN(ret, 0);
    key = bare_key_of(a);
    return lv_cuda_gemm_get(lv_cuda(dev), &key) ? 0 : LV_ERR_UNSUPPORTED;
}

/* With what follows it. @return 1 when that was done, 0 or a code */
static int run_after(LvCuda *cu, const LvLinearArgs *a, const LvGemmKey *key,
                     const void *w, void *scratch, size_t *at)
{
    const void *bias = NULL;
    int ret = key->after ? lv_cuda_gemm_has(cu, key) : 0;

    if (ret <= 0)
        return ret;
    if (key->after & LT_EPILOGUE_BIAS &&
        !(bias = lv_cuda_form(cu, &a->b, LV_FORM_PLAIN, a->y.dtype, scratch, at)))
        return LV_ERR_DEVICE;
    ret = lv_cuda_gemm_more(cu, key, a->x.data, w, a->y.data, &(LvGemmMore) { .bias = bias });
    return ret < 0 ? ret : 1;
}

static int run_fused(LvCuda *cu, const LvLinearArgs *a, const void *w)
{
    int m = a->x.dim[0], n = a->w.dim[0];
    LvProductArgs p = {
        .x = a->x.data, .w = w, .bias = lv_has(&a->b) ? a->b.data : NULL,
        .y = a->y.data, .y_type = a->y.dtype, .rows = m, .yi = 1, .xi = m,
        .c = a->x.dim[1], .yo = 1, .xo = m, .o = n, .kt = 1, .kh = 1, .kw = 1, .step = 1,
        .stride = 1, .spread = 1, .act = a->act,
    };

    return lv_cuda_product(cu, &p);
}

static int run_epilogue(LvCuda *cu, const LvLinearArgs *a, const float *sum)
{
    size_t n = lv_tensor_numel(&a->y);
    LvEpilogueArgs e = {
        .sum = sum, .bias = lv_has(&a->b) ? a->b.data : NULL, .y = a->y.data,
        .y_type = a->y.dtype, .rows = a->y.dim[0], .n = a->y.dim[1], .act = a->act,
    };

    return LV_LAUNCH(cu, epilogue, lv_cuda_grid8(n), &e, &n);
}

int lv_cuda_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    LvCuda *cu    = lv_cuda(dev);
    LvGemmKey key = key_of(a);
    size_t at     = 0;
    void *sum     = a->y.data;
    const void *w;
    int ret;

    if (lv_cuda_is_f8(a))
        return lv_cuda_linear_f8(dev, a, call);
    w = lv_cuda_form(cu, &a->w, LV_FORM_PLAIN, a->x.dtype, call->scratch, &at);
    if (!w)
        return LV_ERR_DEVICE;
    if ((ret = run_after(cu, a, &key, w, call->scratch, &at)))
        return LV_MIN(ret, 0);
    if (is_fused(a))
        return run_fused(cu, a, w);
    key = bare_key_of(a);
    if (!is_bare(a) && a->y.dtype != LV_F32)
        sum = lv_cuda_carve(call->scratch, &at, 4 * lv_tensor_numel(&a->y));
    ret = lv_cuda_gemm(cu, &key, a->x.data, w, sum, 0);
    return ret < 0 || is_bare(a) ? ret : run_epilogue(cu, a, sum);
}

/* Gradients */

static LvGemmKey dx_key(const LvLinearDxArgs *a)
{
    return (LvGemmKey) {
        .m = a->dy.dim[0], .n = a->w.dim[1], .k = a->w.dim[0], .type = a->dy.dtype,
        .out = a->dy.dtype == LV_F32 ? LV_F32 : a->dx.dtype,
    };
}

/* Whether cuBLASLt does not write the type of dx. */
static int dx_needs_cast(const LvLinearDxArgs *a)
{
    return a->dy.dtype == LV_F32 && a->dx.dtype != LV_F32;
}

int lv_cuda_plan_linear_dx(LvDevice *dev, const LvLinearDxArgs *a, LvCall *call)
{
    (void)dev;
    lv_cuda_plan_form(&a->w, LV_FORM_PLAIN, a->dy.dtype, call, &call->scratch_bytes);
    if (dx_needs_cast(a))
        lv_cuda_carve(NULL, &call->scratch_bytes, 4 * lv_tensor_numel(&a->dx));
    return 0;
}

int lv_cuda_build_linear_dx(LvDevice *dev, const LvLinearDxArgs *a, LvCall *call)
{
    LvGemmKey key = dx_key(a);
    int ret = lv_cuda_build_form(lv_cuda(dev), &a->w, LV_FORM_PLAIN, a->dy.dtype);

    (void)call;
    return ret < 0 || lv_cuda_gemm_get(lv_cuda(dev), &key) ? ret : LV_ERR_UNSUPPORTED;
}

int lv_cuda_linear_dx(LvDevice *dev, const LvLinearDxArgs *a, LvCall *call)
{
    LvCuda *cu    = lv_cuda(dev);
    LvGemmKey key = dx_key(a);
    size_t at = 0, n = lv_tensor_numel(&a->dx);
    const void *w = lv_cuda_form(cu, &a->w, LV_FORM_PLAIN, a->dy.dtype, call->scratch,
                                 &at);
    LvEpilogueArgs e = { .y = a->dx.data, .y_type = a->dx.dtype, .rows = a->dx.dim[0],
                         .n = a->dx.dim[1], .add = a->add & 1 };
    int ret;

    if (!w)
        return LV_ERR_DEVICE;
    if (!dx_needs_cast(a))
        return lv_cuda_gemm(cu, &key, a->dy.data, w, a->dx.data, a->add & 1);
    e.sum = lv_cuda_carve(call->scratch, &at, 4 * n);
    ret   = lv_cuda_gemm(cu, &key, a->dy.data, w, (void *)e.sum, 0);
    return ret < 0 ? ret : LV_LAUNCH(cu, epilogue, lv_cuda_grid8(n), &e, &n);
}

static LvGemmKey dw_key(const LvLinearDwArgs *a)
{
    return (LvGemmKey) {
        .m = a->dw.dim[0], .n = a->dw.dim[1], .k = a->x.dim[0], .ta = 1,
        .type = a->x.dtype, .out = LV_F32,
    };
}

int lv_cuda_build_linear_dw(LvDevice *dev, const LvLinearDwArgs *a, LvCall *call)
{
    LvGemmKey key = dw_key(a);

    (void)call;
    return lv_cuda_gemm_get(lv_cuda(dev), &key) ? 0 : LV_ERR_UNSUPPORTED;
}

int lv_cuda_linear_dw(LvDevice *dev, const LvLinearDwArgs *a, LvCall *call)
{
    LvGemmKey key = dw_key(a);

    (void)call;
    return lv_cuda_gemm(lv_cuda(dev), &key, a->dy.data, a->x.data, a->dw.data,
                        a->add & 1);
}
