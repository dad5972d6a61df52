/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cuda/linear_f8.h"

#include "backend/cuda/cast.h"
#include "backend/cuda/gemm.h"

/* What cuBLASLt does of it; each leaves more to the kernel behind it than the one before. */
enum Way {
    WAY_ALL,   /* scales, bias and activation */
    WAY_BIAS,  /* scales and bias */
    WAY_BARE,  /* a sum in f32 */
};

static LvGemmKey key_of(const LvLinearArgs *a, enum Way way)
{
    LvGemmKey key = {
        .m = a->x.dim[0], .n = a->w.dim[0], .k = a->x.dim[1], .tb = 1, .type = LV_F8_E4M3,
        .out = way == WAY_BARE ? LV_F32 : a->y.dtype, .scaled = way != WAY_BARE,
    };

    if (way != WAY_BARE && lv_has(&a->b))
        key.after = LT_EPILOGUE_BIAS;
    if (way == WAY_ALL)
        key.after |= lv_cuda_gemm_act(a->act);
    return key;
}

/* Whether cuBLASLt knows the activation that the way leaves to it. */
static int knows_act(const LvLinearArgs *a, enum Way way)
{
    return way != WAY_ALL || a->act == LV_ACT_NONE || lv_cuda_gemm_act(a->act);
}

/* The first way that there is; or a code. */
static int way_of(LvCuda *cu, const LvLinearArgs *a)
{
    for (int way = WAY_ALL; way < WAY_BARE; way++) {
        LvGemmKey key = key_of(a, (enum Way)way);
        int ret = knows_act(a, (enum Way)way) ? lv_cuda_gemm_has(cu, &key) : 0;

        if (ret)
            return ret < 0 ? ret : way;
    }
    return WAY_BARE;
}

static size_t x_bytes(const LvLinearArgs *a)
{
    return lv_cuda_quantized_bytes((size_t)a->x.dim[0], (size_t)a->x.dim[1]);
}

int lv_cuda_plan_linear_f8(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    size_t *at = &call->scratch_bytes;
    int way;

    if (!dev->f8)
        return lv_fail(dev->msg, LV_ERR_UNSUPPORTED, "%s: no matmuls of fp8 here", dev->about);
    if ((way = way_of(cu, a)) < 0)
        return way;
    lv_cuda_plan_form(&a->w, LV_FORM_ROWS, LV_F8_E4M3, call, at);
    if (way != WAY_BARE && lv_has(&a->b))
        lv_cuda_plan_form(&a->b, LV_FORM_PLAIN, a->y.dtype, call, at);
    lv_cuda_carve(NULL, at, x_bytes(a));
    if (way == WAY_BARE)
        lv_cuda_carve(NULL, at, sizeof(float) * lv_tensor_numel(&a->y));
    return 0;
}

int lv_cuda_build_linear_f8(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    int way = way_of(cu, a), ret;

    (void)call;
    if (way < 0)
        return way;
    ret = lv_cuda_build_form(cu, &a->w, LV_FORM_ROWS, LV_F8_E4M3);
    return ret < 0 || way == WAY_BARE || !lv_has(&a->b) ? ret
         : lv_cuda_build_form(cu, &a->b, LV_FORM_PLAIN, a->y.dtype);
}

int lv_cuda_ready_linear_f8(LvDevice *dev, const LvLinearArgs *a)
{
    LvCuda *cu = lv_cuda(dev);
    int way = way_of(cu, a);
    LvGemmKey key;

    if (way < 0)
        return way;
    key = key_of(a, (enum Way)way);
    return lv_cuda_gemm_get(cu, &key) ? 0 : LV_ERR_UNSUPPORTED;
}

/* Scales of rows behind a matrix. */
static const float *scales_of(const void *matrix, int rows, int cols)
{
    return (const float *)((const char *)matrix + (size_t)rows * (size_t)cols);
}

static int run_scaled(LvDevice *dev, const LvLinearArgs *a, enum Way way, const void *x,
                      const void *w, const void *bias)
{
    const LvGemmKey key   = key_of(a, way);
    const LvGemmMore more = { bias, scales_of(x, key.m, key.k), scales_of(w, key.n, key.k) };
    int ret = lv_cuda_gemm_more(lv_cuda(dev), &key, x, w, a->y.data, &more);

    if (ret < 0 || way == WAY_ALL || a->act == LV_ACT_NONE)
        return ret;
    return lv_cuda_act(dev, &(LvActArgs) { a->y, a->y, a->act }, NULL);
}

static int run_bare(LvCuda *cu, const LvLinearArgs *a, const void *x, const void *w, void *sum)
{
    const LvGemmKey key = key_of(a, WAY_BARE);
    size_t n = lv_tensor_numel(&a->y);
    LvEpilogueArgs e = {
        .sum = sum, .row_scale = scales_of(x, key.m, key.k),
        .col_scale = scales_of(w, key.n, key.k), .bias = lv_has(&a->b) ? a->b.data : NULL,
        .y = a->y.data, .y_type = a->y.dtype, .rows = key.m, .n = key.n, .act = a->act,
    };
    int ret = lv_cuda_gemm(cu, &key, x, w, sum, 0);

    return ret < 0 ? ret : LV_LAUNCH(cu, epilogue, lv_cuda_grid8(n), &e, &n);
}

int lv_cuda_linear_f8(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    int way = way_of(cu, a), ret;
    size_t at = 0;
    const void *w, *bias = NULL;
    void *x;

    if (way < 0)
        return way;
    w = lv_cuda_form(cu, &a->w, LV_FORM_ROWS, LV_F8_E4M3, call->scratch, &at);
    if (way != WAY_BARE && lv_has(&a->b))
        bias = lv_cuda_form(cu, &a->b, LV_FORM_PLAIN, a->y.dtype, call->scratch, &at);
    x = lv_cuda_carve(call->scratch, &at, x_bytes(a));
    if (!w || (way != WAY_BARE && lv_has(&a->b) && !bias))
        return LV_ERR_DEVICE;
    ret = lv_cuda_quantize(cu, x, a->x.data, a->x.dtype, (size_t)a->x.dim[0],
                           (size_t)a->x.dim[1]);
    if (ret < 0)
        return ret;
    return way == WAY_BARE
         ? run_bare(cu, a, x, w, lv_cuda_carve(call->scratch, &at, 4 * lv_tensor_numel(&a->y)))
         : run_scaled(dev, a, (enum Way)way, x, w, bias);
}
