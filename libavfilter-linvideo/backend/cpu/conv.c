/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Convolutions: a job is a band of ROWS output rows of one picture, one convolution
 * of oneDNN over the input rows that belong to it. A bias and ReLU are part of it;
 * a residual or another activation is done by leaves from the thread's slab.
 */

#include <stdlib.h>

#include "backend/cpu/cpu.h"

enum { ROWS = 16 };

typedef struct ConvPriv {
    const void *packed;      /* the weight; NULL: packed at every run */
    const LvConv *conv[2][2]; /* [first band][last band] */
} ConvPriv;

typedef struct ConvJob {
    LvCpu *cpu;
    const LvConvArgs *a;
    const ConvPriv *priv;
    const void *packed;
    int bands;
} ConvJob;

/* Rows of a band, and the input rows they need. */
typedef struct Band {
    int y0, rows, x0, in_rows, pad_top;
} Band;

static int bands_of(const LvConvArgs *a)
{
    return lv_cpu_split((size_t)a->y.dim[1], ROWS);
}

static Band band_of(const LvConvArgs *a, int band)
{
    Band b = { .y0 = band * ROWS };
    int start, end;

    b.rows    = LV_MIN(ROWS, a->y.dim[1] - b.y0);
    start     = b.y0 * a->stride - a->pad;
    end       = (b.y0 + b.rows - 1) * a->stride - a->pad + a->w.dim[2];
    b.x0      = LV_MAX(start, 0);
    b.pad_top = b.x0 - start;
    b.in_rows = LV_MIN(end, a->x.dim[1]) - b.x0;
    return b;
}

/* Whether oneDNN writes y itself. */
static int is_direct(const LvConvArgs *a)
{
    return !lv_has(&a->r) && (a->act == LV_ACT_NONE || a->act == LV_ACT_RELU) &&
           (a->x.dtype == LV_BF16 || a->y.dtype == LV_F32);
}

static size_t row_size(const LvConvArgs *a)
{
    return (size_t)a->y.dim[2] * a->y.dim[3];
}

/* Channels as the widest of oneDNN's layouts pads them. */
static size_t padded(int channels)
{
    size_t n = (size_t)channels;

    return LV_MAX(LV_ROUND_UP(n, 64), LV_ROUND_UP(n, 24));
}

static size_t weight_size(const LvConvArgs *a)
{
    return padded(a->w.dim[0]) * padded(a->w.dim[1]) *
           (size_t)(a->w.dim[2] * a->w.dim[3]) * lv_dtype_size((LvDtype)a->x.dtype);
}

int lv_cpu_plan_conv(LvDevice *dev, const LvConvArgs *a, LvCall *call)
{
    if (a->w.fixed)
        call->weight_bytes = weight_size(a);
    else
        call->scratch_bytes = LV_ROUND_UP(weight_size(a), LV_ALIGN) +
                              4 * lv_tensor_numel(&a->w);
    call->thread_bytes = is_direct(a) ? 0 : 4 * (ROWS + 1) * row_size(a);
    return lv_cpu_has_type(lv_cpu(dev), a->x.dtype);
}

static const LvConv *band_conv(LvCpu *cpu, const LvConvArgs *a, int band)
{
    Band b = band_of(a, band);
    LvConvDesc d = {
        .in_rows = b.in_rows, .cols = a->x.dim[2], .c = a->x.dim[3],
        .out_rows = b.rows, .out_cols = a->y.dim[2], .o = a->y.dim[3],
        .kh = a->w.dim[2], .kw = a->w.dim[3], .stride = a->stride,
        .pad_top = b.pad_top, .pad_left = a->pad, .type = a->x.dtype,
        .y_type = is_direct(a) ? a->y.dtype : LV_F32, .bias = lv_has(&a->b),
        .relu = is_direct(a) && a->act == LV_ACT_RELU,
    };

    return lv_conv_get(cpu->dnn, &d);
}

typedef struct PackArg {
    const LvConvArgs *a;
    const LvConv *conv;
    float *plain; /* room for the weight as f32; NULL: allocated */
} PackArg;

static int pack_weight(LvCpu *cpu, void *dst, void *arg)
{
    PackArg *p = arg;
    size_t n   = lv_tensor_numel(&p->a->w);
    float *own = p->plain ? NULL : lv_alloc(n * sizeof(*own));
    float *src = p->plain ? p->plain : own;
    int ret;

    if (!src)
        return lv_fail(cpu->dev.msg, LV_ERR(ENOMEM), "cpu: out of memory");
    lv_to_f32(src, p->a->w.data, (LvDtype)p->a->w.dtype, n);
    ret = lv_conv_pack(p->conv, dst, src);
    lv_free(own);
    return ret;
}

int lv_cpu_build_conv(LvDevice *dev, const LvConvArgs *a, LvCall *call)
{
    LvCpu *cpu  = lv_cpu(dev);
    ConvPriv *p = call->priv = calloc(1, sizeof(*p));
    int bands   = bands_of(a);
    PackArg arg = { .a = a };

    if (!p)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < 4; i++) {
        int first = i / 2, last = i % 2;
        int band  = first ? 0 : last ? bands - 1 : LV_MIN(1, bands - 1);
        if (!(p->conv[first][last] = band_conv(cpu, a, band)))
            return lv_dnn_error(cpu->dnn);
    }
    arg.conv = p->conv[1][0];
    if (lv_conv_weight_bytes(arg.conv) > weight_size(a))
        return lv_fail(dev->msg, LV_ERR_DEVICE, "cpu: weight takes %zu bytes, not %zu",
                       lv_conv_weight_bytes(arg.conv), weight_size(a));
    if (a->w.fixed && !(p->packed = lv_cpu_packed(cpu, &a->w, LV_PACK_CONV, a->x.dtype,
                                                  lv_conv_weight_bytes(arg.conv),
                                                  pack_weight, &arg)))
        return LV_ERR(ENOMEM);
    return 0;
}

/* y = act(t + r) over the rows of a band, from `at` on. */
static void finish_band(const ConvJob *j, float *t, size_t at, int rows)
{
    const LvConvArgs *a = j->a;
    const LvDsp *dsp = j->cpu->dsp;
    size_t n   = row_size(a);
    float *tmp = t + ROWS * n;

    for (int i = 0; i < rows; i++, t += n) {
        if (lv_has(&a->r))
            dsp->madd(t, t, NULL, lv_cpu_row(j->cpu, &a->r, at + (size_t)i, n, tmp), n);
        if (a->y.dtype == LV_F32) {
            dsp->act[a->act]((float *)a->y.data + (at + (size_t)i) * n, t, n);
        } else {
            dsp->act[a->act](t, t, n);
            lv_cpu_put(j->cpu, &a->y, at + (size_t)i, n, t);
        }
    }
}

static int band_job(void *arg, int job, int thread)
{
    const ConvJob *j = arg;
    const LvConvArgs *a = j->a;
    int picture = job / j->bands, band = job % j->bands;
    Band b = band_of(a, band);
    size_t at = (size_t)picture * a->y.dim[1] + (size_t)b.y0;
    const LvConv *conv = j->priv->conv[band == 0][band == j->bands - 1];
    void *y = is_direct(a) ? lv_at(&a->y, at, row_size(a), 0)
                           : lv_cpu_slab(j->cpu, thread, 0);
    int ret = lv_conv_run(conv, thread,
        lv_at(&a->x, (size_t)picture * a->x.dim[1] + (size_t)b.x0,
              (size_t)a->x.dim[2] * a->x.dim[3], 0), j->packed, a->b.data, y);

    if (ret >= 0 && !is_direct(a))
        finish_band(j, y, at, b.rows);
    return ret;
}

int lv_cpu_conv(LvDevice *dev, const LvConvArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    ConvJob j  = { cpu, a, call->priv, NULL, bands_of(a) };

    j.packed = j.priv->packed;
    if (!j.packed) {
        char *plain = (char *)call->scratch + LV_ROUND_UP(weight_size(a), LV_ALIGN);
        PackArg arg = { a, j.priv->conv[1][0], (float *)(void *)plain };
        int ret     = pack_weight(cpu, call->scratch, &arg);
        if (ret < 0)
            return ret;
        j.packed = call->scratch;
    }
    return lv_cpu_jobs(cpu, band_job, &j, a->y.dim[0] * j.bands);
}
