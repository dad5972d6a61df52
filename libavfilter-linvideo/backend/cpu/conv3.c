/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Convolutions over time and place: a job is a band of rows of one result frame, to which
 * a convolution of oneDNN for every frame of the kernel adds its part, in the thread's
 * slab. The band is small enough for the sum to stay in the cache.
 */

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/conv.h"
#include "base/convert.h"

enum { ROWS_MAX = 16, BAND_BYTES = 1 << 19 };

typedef struct Conv3Priv {
    const char *packed;  /* the weight, frame by frame; NULL: packed at every run */
    size_t tap_bytes;    /* of one frame of it */
    const LvConv *conv[]; /* of each band: first frame, others */
} Conv3Priv;

typedef struct Conv3Job {
    LvCpu *cpu;
    const LvConv3Args *a;
    const Conv3Priv *priv;
    const char *packed;
    int rows, bands;
} Conv3Job;

static LvConvShape shape_of(const LvConv3Args *a, const LvTensor *tap)
{
    return (LvConvShape) { &a->x, tap, &a->y, 1, a->pad, a->x.dtype };
}

static size_t row_size(const LvConv3Args *a)
{
    return (size_t)a->y.dim[2] * (size_t)a->y.dim[3];
}

static int rows_of(const LvConv3Args *a)
{
    size_t rows = BAND_BYTES / (sizeof(float) * row_size(a));

    return (int)LV_CLAMP(rows, 1, ROWS_MAX);
}

static int bands_of(const LvConv3Args *a)
{
    return lv_cpu_split((size_t)a->y.dim[1], (size_t)rows_of(a));
}

static LvBand band_of(const LvConv3Args *a, int band)
{
    LvTensor tap  = lv_conv3_tap(a, 0);
    LvConvShape s = shape_of(a, &tap);
    int rows      = rows_of(a);

    return lv_conv_band(&s, band * rows, LV_MIN(rows, a->y.dim[1] - band * rows));
}

static size_t packed_bytes(const LvConv3Args *a)
{
    LvTensor tap  = lv_conv3_tap(a, 0);
    LvConvShape s = shape_of(a, &tap);

    return (size_t)a->w.dim[0] * LV_ROUND_UP(lv_conv_room(&s) *
                                             lv_dtype_size((LvDtype)s.type), LV_ALIGN);
}

int lv_cpu_plan_conv3(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    LvTensor tap = lv_conv3_tap(a, 0);

    if (lv_is_fixed(&a->w))
        call->weight_bytes = packed_bytes(a);
    else
        call->scratch_bytes = packed_bytes(a) + sizeof(float) * lv_tensor_numel(&tap);
    call->thread_bytes = sizeof(float) * ((size_t)rows_of(a) + 1) * row_size(a);
    return lv_cpu_has_type(lv_cpu(dev), a->x.dtype);
}

static const LvConv *band_conv(LvCpu *cpu, const LvConv3Args *a, int band, int sum)
{
    LvTensor tap  = lv_conv3_tap(a, 0);
    LvConvShape s = shape_of(a, &tap);
    LvBand b      = band_of(a, band);
    LvConvDesc d  = lv_conv_desc(&s, &b, 1, LV_CONV_Y, LV_F32);

    d.bias = !sum && lv_has(&a->b);
    d.sum  = sum;
    return lv_conv_get(cpu->dnn, &d);
}

/* Packing */

typedef struct PackArg {
    const LvConv3Args *a;
    const Conv3Priv *priv;
    float *plain; /* room for a frame of the weight as f32; NULL: allocated */
} PackArg;

static int pack_taps(LvCpu *cpu, void *dst, void *arg)
{
    const PackArg *p = arg;
    LvTensor tap = lv_conv3_tap(p->a, 0);
    size_t n     = lv_tensor_numel(&tap);
    float *own   = p->plain ? NULL : lv_alloc(n * sizeof(*own));
    float *plain = p->plain ? p->plain : own;
    int ret = 0;

    if (!plain)
        return lv_fail(cpu->dev.msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int t = 0; t < p->a->w.dim[0] && ret >= 0; t++) {
        ret = lv_cpu_weight_f32(cpu, plain, &p->a->w, (size_t)t * (size_t)tap.dim[0],
                                (size_t)tap.dim[0]);
        if (ret < 0)
            break;
        ret = lv_conv_reorder(p->priv->conv[0], (char *)dst + (size_t)t *
                              p->priv->tap_bytes, plain);
    }
    lv_free(own);
    return ret;
}

int lv_cpu_build_conv3(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    LvCpu *cpu    = lv_cpu(dev);
    LvTensor tap  = lv_conv3_tap(a, 0);
    LvConvShape s = shape_of(a, &tap);
    int bands     = bands_of(a), ret;
    Conv3Priv *p  = calloc(1, sizeof(*p) + 2 * (size_t)bands * sizeof(p->conv[0]));
    PackArg arg   = { .a = a, .priv = p };

    if (!(call->priv = p))
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < 2 * bands; i++)
        if (!(p->conv[i] = band_conv(cpu, a, i / 2, i % 2)))
            return lv_dnn_error(cpu->dnn);
    ret = lv_conv_fits(cpu, &s, p->conv[0], lv_dtype_size((LvDtype)s.type));
    p->tap_bytes = LV_ROUND_UP(lv_conv_weight_bytes(p->conv[0]), LV_ALIGN);
    if (ret < 0 || !lv_is_fixed(&a->w))
        return ret;
    p->packed = lv_cpu_packed(cpu, &a->w, LV_PACK_CONV + LV_PACK_NB * a->x.dim[2], s.type,
                              (size_t)a->w.dim[0] * p->tap_bytes, pack_taps, &arg);
    return p->packed ? 0 : cpu->pack_error;
}

/* Running */

/* Frame i of prev and x. */
static const LvTensor *frame_of(const LvConv3Args *a, int i, int *frame)
{
    int before = a->prev.dim[0];

    *frame = i < before ? i : i - before;
    return i < before ? &a->prev : &a->x;
}

static int band_job(void *arg, int job, int thread)
{
    const Conv3Job *j = arg;
    const LvConv3Args *a = j->a;
    int n = job / j->bands, band = job % j->bands, frame, ret = 0;
    LvBand b  = band_of(a, band);
    float *t  = lv_cpu_slab(j->cpu, thread, 0);
    size_t at = (size_t)n * (size_t)a->y.dim[1] + (size_t)b.y0;

    for (int k = 0; k < a->w.dim[0] && ret >= 0; k++) {
        const LvTensor *x = frame_of(a, n * a->step + k, &frame);
        LvConvData data   = {
            .x = lv_at(x, (size_t)frame * (size_t)x->dim[1] + (size_t)b.x0,
                       (size_t)x->dim[2] * (size_t)x->dim[3], 0),
            .w = (void *)(uintptr_t)(j->packed + (size_t)k * j->priv->tap_bytes),
            .bias = a->b.data, .y = t,
        };
        ret = lv_conv_run(j->priv->conv[2 * band + !!k], thread, &data);
    }
    if (ret >= 0)
        lv_conv_end(j->cpu, &(LvConvEnd) { &a->r, &a->y, a->act }, t,
                    t + (size_t)j->rows * row_size(a), at, b.rows);
    return ret;
}

/* The last frames, in order: where next lies on prev, none is read after it was written. */
static int keep_job(void *arg, int job, int thread)
{
    const LvConv3Args *a = ((const Conv3Job *)arg)->a;
    size_t row = (size_t)a->x.dim[2] * (size_t)a->x.dim[3];
    size_t bytes = row * lv_dtype_size((LvDtype)a->x.dtype);
    int frame, height = a->x.dim[1];

    (void)thread;
    for (int i = 0; i < a->next.dim[0]; i++) {
        const LvTensor *x = frame_of(a, a->x.dim[0] + i, &frame);
        memmove(lv_at(&a->next, (size_t)(i * height + job), row, 0),
                lv_at(x, (size_t)(frame * height + job), row, 0), bytes);
    }
    return 0;
}

int lv_cpu_conv3(LvDevice *dev, const LvConv3Args *a, LvCall *call)
{
    LvCpu *cpu   = lv_cpu(dev);
    Conv3Job j   = { cpu, a, call->priv, NULL, rows_of(a), bands_of(a) };
    PackArg arg  = { .a = a, .priv = j.priv };
    int ret;

    j.packed = j.priv->packed;
    if (!j.packed) {
        arg.plain = (float *)(void *)((char *)call->scratch + packed_bytes(a));
        j.packed  = call->scratch;
        if ((ret = pack_taps(cpu, call->scratch, &arg)) < 0)
            return ret;
    }
    ret = lv_cpu_jobs(cpu, band_job, &j, a->y.dim[0] * j.bands);
    return ret < 0 ? ret : lv_cpu_jobs(cpu, keep_job, &j, a->x.dim[1]);
}
