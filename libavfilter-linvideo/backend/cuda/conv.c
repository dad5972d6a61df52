/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Convolutions: one kernel that never writes the unrolled pictures where types and
 * channels allow (bf16, multiples of LV_PAD), else unrolled pictures in pieces, and
 * cuBLASLt.
 */

#include "backend/cuda/cast.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/product.h"

/* Bytes of unrolled pictures held at once, about. */
enum { PIECE_BYTES = 64 << 20 };

/* A convolution as a product: pictures x with weights in some form, to pictures y. */
typedef struct Conv {
    LvProductArgs p; /* all but x, w and y */
    int type;        /* LvDtype of the products */
    int form;        /* enum LvFormKind of the weights */
    int cols;        /* of unrolled pictures, padded */
    int fused;
} Conv;

static Conv conv_of(const LvTensor *x, const LvTensor *y, int kh, int kw)
{
    const int *i = x->dim, *o = y->dim;
    Conv c = { { .rows = o[0] * o[1] * o[2], .yi = i[1], .xi = i[2], .c = i[3],
                 .yo = o[1], .xo = o[2], .o = o[3], .kt = 1, .kh = kh, .kw = kw, .step = 1,
                 .stride = 1, .spread = 1, .y_type = y->dtype, .x = x->data, .y = y->data },
               .type = x->dtype, .form = LV_FORM_TAPS,
               .cols = LV_ROUND_UP(kh * kw * i[3], LV_PAD) };

    c.fused = x->dtype == LV_BF16 && i[3] % LV_PAD == 0 && kh * kw <= LV_TAPS;
    return c;
}

static Conv forward_conv(const LvConvArgs *a)
{
    Conv c = conv_of(&a->x, &a->y, a->w.dim[2], a->w.dim[3]);

    c.p.stride = a->stride;
    c.p.pad_y  = c.p.pad_x = a->pad;
    c.p.act    = a->act;
    c.p.bias   = lv_has(&a->b) ? a->b.data : NULL;
    c.p.r      = lv_has(&a->r) ? a->r.data : NULL;
    c.p.r_type = a->r.dtype;
    return c;
}

/* dx is a convolution of dy, spread by the stride, with the weights turned round. */
static Conv backward_conv(const LvConvDxArgs *a)
{
    int kh = a->w.dim[2], kw = a->w.dim[3];
    Conv c = conv_of(&a->dy, &a->dx, kh, kw);

    c.p.spread = a->stride;
    c.p.pad_y  = kh - 1 - a->pad;
    c.p.pad_x  = kw - 1 - a->pad;
    c.p.add    = a->add & 1;
    c.form     = LV_FORM_FLIPPED;
    return c;
}

/* Rows unrolled at once. */
static int piece_rows(const Conv *c)
{
    size_t row = (size_t)c->cols * lv_dtype_size((LvDtype)c->type);

    return (int)LV_MIN((size_t)c->p.rows, LV_MAX(PIECE_BYTES / row / 128 * 128, 128));
}

static LvGemmKey piece_key(const Conv *c, int rows)
{
    return (LvGemmKey) { .m = rows, .n = c->p.o, .k = c->cols, .tb = 1,
                         .type = (uint8_t)c->type, .out = LV_F32 };
}

/* Rows of the last piece. */
static int last_rows(const Conv *c)
{
    int rows = piece_rows(c), rest = c->p.rows % rows;

    return rest ? rest : rows;
}

static int plan_conv(const Conv *c, const LvTensor *w, LvCall *call)
{
    size_t rows = (size_t)piece_rows(c), size = lv_dtype_size((LvDtype)c->type);

    lv_cuda_plan_form(w, c->form, c->type, call, &call->scratch_bytes);
    if (c->fused)
        return 0;
    lv_cuda_carve(NULL, &call->scratch_bytes, rows * (size_t)c->cols * size);
    lv_cuda_carve(NULL, &call->scratch_bytes, rows * (size_t)c->p.o * 4);
    return 0;
}

static int build_conv(LvCuda *cu, const Conv *c, const LvTensor *w)
{
    LvGemmKey full = piece_key(c, piece_rows(c)), last = piece_key(c, last_rows(c));
    int ret = lv_cuda_build_form(cu, w, c->form, c->type);

    if (ret < 0 || c->fused)
        return ret;
    return lv_cuda_gemm_get(cu, &full) && lv_cuda_gemm_get(cu, &last) ? 0 :
           LV_ERR_UNSUPPORTED;
}

static int unroll(LvCuda *cu, const Conv *c, int first, int rows, void *out)
{
    const LvProductArgs *p = &c->p;
    LvColumnsArgs a = {
        .x = p->x, .cols_out = out, .x_type = c->type, .out_type = c->type,
        .first = first, .rows = rows, .cols = c->cols, .yi = p->yi, .xi = p->xi,
        .c = p->c, .yo = p->yo, .xo = p->xo, .kh = p->kh, .kw = p->kw,
        .stride = p->stride, .pad_y = p->pad_y, .pad_x = p->pad_x, .spread = p->spread,
    };
    size_t n = (size_t)rows * (size_t)c->cols;

    return LV_LAUNCH(cu, columns, lv_cuda_grid8(n), &a, &n);
}

/* Bias, residual, activation of a piece. */
static int finish_piece(LvCuda *cu, const Conv *c, int first, int rows,
                        const float *sum)
{
    const LvProductArgs *p = &c->p;
    size_t n = (size_t)rows * (size_t)p->o, at = (size_t)first * (size_t)p->o;
    LvEpilogueArgs e = {
        .sum = sum, .bias = p->bias, .r_type = p->r_type, .y_type = p->y_type,
        .rows = rows, .n = p->o, .act = p->act, .add = p->add,
        .r = p->r ? (const char *)p->r + at * lv_dtype_size((LvDtype)p->r_type) : NULL,
        .y = (char *)p->y + at * lv_dtype_size((LvDtype)p->y_type),
    };

    return LV_LAUNCH(cu, epilogue, lv_cuda_grid8(n), &e, &n);
}

static int run_conv(LvCuda *cu, Conv *c, const LvTensor *w, LvCall *call)
{
    size_t at = 0, size = lv_dtype_size((LvDtype)c->type);
    int piece = piece_rows(c), ret = 0;
    void *matrix, *sum;

    if (!(c->p.w = lv_cuda_form(cu, w, c->form, c->type, call->scratch, &at)))
        return LV_ERR_DEVICE;
    if (c->fused)
        return lv_cuda_product(cu, &c->p);
    matrix = lv_cuda_carve(call->scratch, &at, (size_t)piece * (size_t)c->cols * size);
    sum    = lv_cuda_carve(call->scratch, &at, (size_t)piece * (size_t)c->p.o * 4);
    for (int i = 0; i < c->p.rows && ret >= 0; i += piece) {
        int rows = LV_MIN(piece, c->p.rows - i);
        LvGemmKey key = piece_key(c, rows);
        if ((ret = unroll(cu, c, i, rows, matrix)) >= 0 &&
            (ret = lv_cuda_gemm(cu, &key, matrix, c->p.w, sum, 0)) >= 0)
            ret = finish_piece(cu, c, i, rows, sum);
    }
    return ret;
}

int lv_cuda_plan_conv(LvDevice *dev, const LvConvArgs *a, LvCall *call)
{
    Conv c = forward_conv(a);

    (void)dev;
    return plan_conv(&c, &a->w, call);
}

int lv_cuda_build_conv(LvDevice *dev, const LvConvArgs *a, LvCall *call)
{
    Conv c = forward_conv(a);

    (void)call;
    return build_conv(lv_cuda(dev), &c, &a->w);
}

int lv_cuda_conv(LvDevice *dev, const LvConvArgs *a, LvCall *call)
{
    Conv c = forward_conv(a);

    return run_conv(lv_cuda(dev), &c, &a->w, call);
}

int lv_cuda_plan_conv_dx(LvDevice *dev, const LvConvDxArgs *a, LvCall *call)
{
    Conv c = backward_conv(a);

    (void)dev;
    return plan_conv(&c, &a->w, call);
}

int lv_cuda_build_conv_dx(LvDevice *dev, const LvConvDxArgs *a, LvCall *call)
{
    Conv c = backward_conv(a);

    (void)call;
    return build_conv(lv_cuda(dev), &c, &a->w);
}

int lv_cuda_conv_dx(LvDevice *dev, const LvConvDxArgs *a, LvCall *call)
{
    Conv c = backward_conv(a);

    return run_conv(lv_cuda(dev), &c, &a->w, call);
}

/* dw: dy^T times the unrolled pictures of x, piece after piece. */

static Conv weight_conv(const LvConvDwArgs *a)
{
    Conv c = conv_of(&a->x, &a->dy, a->dw.dim[2], a->dw.dim[3]);

    c.p.stride = a->stride;
    c.p.pad_y  = c.p.pad_x = a->pad;
    return c;
}

static LvGemmKey weight_key(const Conv *c, int rows)
{
    return (LvGemmKey) { .m = c->p.o, .n = c->cols, .k = rows, .ta = 1,
                         .type = (uint8_t)c->type, .out = LV_F32 };
}

int lv_cuda_plan_conv_dw(LvDevice *dev, const LvConvDwArgs *a, LvCall *call)
{
    Conv c = weight_conv(a);
    size_t rows = (size_t)piece_rows(&c), size = lv_dtype_size((LvDtype)c.type);

    (void)dev;
    lv_cuda_carve(NULL, &call->scratch_bytes, rows * (size_t)c.cols * size);
    lv_cuda_carve(NULL, &call->scratch_bytes, (size_t)c.p.o * (size_t)c.cols * 4);
    return 0;
}

int lv_cuda_build_conv_dw(LvDevice *dev, const LvConvDwArgs *a, LvCall *call)
{
    Conv c = weight_conv(a);
    LvGemmKey full = weight_key(&c, piece_rows(&c));
    LvGemmKey last = weight_key(&c, last_rows(&c));

    (void)call;
    return lv_cuda_gemm_get(lv_cuda(dev), &full) &&
           lv_cuda_gemm_get(lv_cuda(dev), &last) ?
           0 : LV_ERR_UNSUPPORTED;
}

int lv_cuda_conv_dw(LvDevice *dev, const LvConvDwArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    Conv c = weight_conv(a);
    size_t at = 0, n = lv_tensor_numel(&a->dw), size = lv_dtype_size((LvDtype)c.type);
    int piece = piece_rows(&c), ret = 0;
    void *matrix = lv_cuda_carve(call->scratch, &at,
                                 (size_t)piece * (size_t)c.cols * size);
    void *sum = lv_cuda_carve(call->scratch, &at, (size_t)c.p.o * (size_t)c.cols * 4);
    LvOrderArgs order = { .src = sum, .dst = a->dw.data, .src_type = LV_F32,
                          .dst_type = LV_F32, .frames = 1, .o = c.p.o, .c = c.p.c,
                          .taps = c.p.kh * c.p.kw, .cols = c.cols, .back = 1,
                          .add = a->add & 1 };

    for (int i = 0; i < c.p.rows && ret >= 0; i += piece) {
        int rows = LV_MIN(piece, c.p.rows - i);
        LvGemmKey key = weight_key(&c, rows);
        const char *dy = (const char *)a->dy.data + (size_t)i * (size_t)c.p.o * size;
        if ((ret = unroll(cu, &c, i, rows, matrix)) >= 0)
            ret = lv_cuda_gemm(cu, &key, dy, matrix, sum, i > 0);
    }
    return ret < 0 ? ret : LV_LAUNCH(cu, order, lv_cuda_grid1(n), &order, &n);
}
