/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights in the form products want: made once when their contents never change.
 */

#include "backend/cuda/cast.h"

#include "backend/form.h"

/* Weights of a convolution, over time or not. */
typedef struct Shape {
    int frames, o, c, taps; /* taps of a frame */
} Shape;

static Shape shape_of(const LvTensor *w)
{
    const int *d = w->dim + (w->rank == 5);

    return (Shape) { w->rank == 5 ? w->dim[0] : 1, d[0], d[1], d[2] * d[3] };
}

/* Columns of the matrix of a form, and its rows. */
static void matrix_of(const LvTensor *w, int form, size_t *rows, size_t *cols)
{
    const Shape s = shape_of(w);
    int flipped   = form == LV_FORM_FLIPPED;

    if (form == LV_FORM_PLAIN) {
        *rows = 1;
        *cols = lv_tensor_numel(w);
    } else {
        *rows = (size_t)(flipped ? s.c : s.o);
        *cols = (size_t)s.frames * (size_t)s.taps * (size_t)(flipped ? s.o : s.c);
        *cols = LV_ROUND_UP(*cols, LV_PAD);
    }
}

/* One tap and no padding: the order of TAPS is that of the weights. */
static int is_itself(const LvTensor *w, int form, int type)
{
    const Shape s = shape_of(w);

    if (w->dtype != type || form == LV_FORM_FLIPPED)
        return 0;
    return form == LV_FORM_PLAIN || (s.frames * s.taps == 1 && s.c % LV_PAD == 0);
}

size_t lv_cuda_quantized_bytes(size_t rows, size_t cols)
{
    return rows * cols + sizeof(float) * rows;
}

size_t lv_cuda_form_bytes(const LvTensor *w, int form, int type)
{
    size_t rows, cols;

    if (is_itself(w, form, type))
        return 0;
    if (form == LV_FORM_ROWS)
        return lv_cuda_quantized_bytes((size_t)w->dim[0], (size_t)w->dim[1]);
    matrix_of(w, form, &rows, &cols);
    return rows * cols * lv_dtype_size((LvDtype)type);
}

/* Whether its forms are made once. */
static int is_kept(const LvTensor *w)
{
    return lv_is_fixed(w) && !lv_tensor_is_stored(w);
}

void lv_cuda_plan_form(const LvTensor *w, int form, int type, LvCall *call, size_t *at)
{
    size_t bytes = lv_cuda_form_bytes(w, form, type);

    if (is_kept(w))
        call->weight_bytes += bytes;
    else if (bytes)
        lv_cuda_carve(NULL, at, bytes);
}

int lv_cuda_cast(LvCuda *cu, void *dst, int dst_type, const void *src, int src_type,
                 size_t n)
{
    return LV_LAUNCH(cu, cast, lv_cuda_grid8(n), &dst, &dst_type, &src, &src_type, &n);
}

/* Bytes of a row that the registers of a warp hold. */
enum { SHORT_ROW = 8 * 16 * 32 };

int lv_cuda_quantize(LvCuda *cu, void *dst, const void *src, int src_type, size_t rows,
                     size_t cols)
{
    LvQuantizeArgs a = { .x = src, .y = dst, .scale = (float *)((char *)dst + rows * cols),
                         .x_type = src_type, .rows = (int)rows, .cols = (int)cols };
    const LvGrid block = { rows, 1, 1, 256, 0 }, warp = { lv_cuda_split(rows, 8), 1, 1, 256, 0 };

    return lv_dtype_size((LvDtype)src_type) * cols <= SHORT_ROW
         ? LV_LAUNCH(cu, quantize_short, warp, &a) : LV_LAUNCH(cu, quantize_rows, block, &a);
}

static int widen(LvCuda *cu, const LvTensor *w, int type, void *dst)
{
    size_t n = lv_tensor_numel(w), block = lv_dtype_block((LvDtype)w->dtype), bytes = 0;
    LvWidenArgs a;

    lv_dtype_bytes(&bytes, (LvDtype)w->dtype, block);
    a = (LvWidenArgs) { .src = w->data, .scale = (const float *)((const char *)w->data + n),
                        .dst = dst, .src_type = w->dtype, .dst_type = type, .cols = w->dim[1],
                        .block = (int)block, .block_bytes = (int)bytes };
    return LV_LAUNCH(cu, widen, lv_cuda_grid8(n), &a, &n);
}

static int fill_form(LvCuda *cu, const LvTensor *w, int form, int type, void *dst)
{
    const Shape s = shape_of(w);
    size_t rows, cols, n;
    LvOrderArgs a;

    if (lv_tensor_is_stored(w))
        return widen(cu, w, type, dst);
    if (form == LV_FORM_ROWS)
        return lv_cuda_quantize(cu, dst, w->data, w->dtype, (size_t)w->dim[0],
                                (size_t)w->dim[1]);
    if (form == LV_FORM_PLAIN)
        return lv_cuda_cast(cu, dst, type, w->data, w->dtype, lv_tensor_numel(w));
    matrix_of(w, form, &rows, &cols);
    n = rows * cols;
    a = (LvOrderArgs) { .src = w->data, .dst = dst, .src_type = w->dtype,
                        .dst_type = type, .frames = s.frames, .o = s.o, .c = s.c,
                        .taps = s.taps, .cols = (int)cols,
                        .flipped = form == LV_FORM_FLIPPED };
    return LV_LAUNCH(cu, order, lv_cuda_grid1(n), &a, &n);
}

int lv_cuda_build_form(LvCuda *cu, const LvTensor *w, int form, int type)
{
    size_t bytes = lv_cuda_form_bytes(w, form, type);
    LvForm *f;
    int ret;

    if (!is_kept(w) || !bytes || lv_form_find(w, &cu->dev, form, type, bytes))
        return 0;
    ret = lv_form_new(&f, &cu->dev, w, form, type, bytes);
    if (ret < 0 || (ret = fill_form(cu, w, form, type, f->data)) < 0) {
        lv_form_free(&f);
        return ret;
    }
    lv_form_keep(w->w, f);
    return 0;
}

const void *lv_cuda_form(LvCuda *cu, const LvTensor *w, int form, int type,
                         void *scratch, size_t *at)
{
    size_t bytes = lv_cuda_form_bytes(w, form, type);
    const LvForm *f;
    void *dst;

    if (!bytes)
        return w->data;
    if (is_kept(w) && (f = lv_form_find(w, &cu->dev, form, type, bytes)))
        return f->data;
    dst = lv_cuda_carve(scratch, at, bytes);
    return fill_form(cu, w, form, type, dst) < 0 ? NULL : dst;
}
