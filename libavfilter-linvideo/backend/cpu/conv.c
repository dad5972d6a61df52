/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Convolutions: a job is a band of ROWS output rows of one frame, one convolution
 * of oneDNN over the input rows that belong to it. A bias and ReLU are part of it;
 * a residual or another activation is done by ISA kernels from the thread's slab.
 */

#include <stdlib.h>

#include "backend/cpu/conv.h"
#include "base/convert.h"

enum { ROWS = 16 };

/* Bands and weights */

LvBand lv_conv_band(const LvConvShape *s, int y0, int rows)
{
    LvBand b  = { .y0 = y0, .rows = rows };
    int start = y0 * s->stride - s->pad;
    int end   = (y0 + rows - 1) * s->stride - s->pad + s->w->dim[2];

    b.x0      = LV_MAX(start, 0);
    b.pad_top = b.x0 - start;
    b.in_rows = LV_MIN(end, s->x->dim[1]) - b.x0;
    return b;
}

LvConvDesc lv_conv_desc(const LvConvShape *s, const LvBand *b, int batch, int what,
                        int out_type)
{
    return (LvConvDesc) {
        .what = what, .batch = batch,
        .in_rows = b->in_rows, .cols = s->x->dim[2], .c = s->x->dim[3],
        .out_rows = b->rows, .out_cols = s->y->dim[2], .o = s->y->dim[3],
        .kh = s->w->dim[2], .kw = s->w->dim[3], .stride = s->stride,
        .pad_top = b->pad_top, .pad_left = s->pad, .type = s->type,
        .out_type = out_type,
    };
}

/* Channels as the widest of oneDNN's layouts pads them. */
static size_t padded(int channels)
{
    size_t n = (size_t)channels;

    return LV_MAX(LV_ROUND_UP(n, 64), LV_ROUND_UP(n, 24));
}

size_t lv_conv_room(const LvConvShape *s)
{
    return padded(s->w->dim[0]) * padded(s->w->dim[1]) *
           (size_t)(s->w->dim[2] * s->w->dim[3]);
}

static size_t packed_room(const LvConvShape *s)
{
    return LV_ROUND_UP(lv_conv_room(s) * lv_dtype_size((LvDtype)s->type), LV_ALIGN);
}

size_t lv_conv_scratch(const LvConvShape *s)
{
    return packed_room(s) + (s->w->dtype == LV_F32 ? 0 : 4 * lv_tensor_numel(s->w));
}

int lv_conv_fits(const LvCpu *cpu, const LvConvShape *s, const LvConv *conv,
                 size_t size)
{
    size_t takes = lv_conv_weight_bytes(conv), room = lv_conv_room(s) * size;

    return takes <= room ? 0 : lv_fail(cpu->dev.msg, LV_ERR_DEVICE,
                                       "cpu: weight takes %zu bytes, not %zu", takes,
                                       room);
}

typedef struct PackArg {
    const LvTensor *w;
    const LvConv *conv;
    float *plain; /* room for the weight as f32; NULL: allocated when needed */
} PackArg;

static int pack_weight(LvCpu *cpu, void *dst, void *arg)
{
    const PackArg *p = arg;
    int is_f32 = p->w->dtype == LV_F32 && p->w->data, ret = 0;
    float *own = is_f32 || p->plain ? NULL : lv_alloc(lv_tensor_numel(p->w) * sizeof(*own));
    float *src = is_f32 ? p->w->data : p->plain ? p->plain : own;

    if (!src)
        return lv_fail(cpu->dev.msg, LV_ERR(ENOMEM), "cpu: out of memory");
    if (!is_f32)
        ret = lv_cpu_weight_f32(cpu, src, p->w, 0, (size_t)p->w->dim[0]);
    if (ret >= 0)
        ret = lv_conv_reorder(p->conv, dst, src);
    lv_free(own);
    return ret;
}

const void *lv_conv_weight(LvCpu *cpu, const LvConvShape *s, const LvConv *conv,
                           int kind, void *scratch)
{
    PackArg arg = { .w = s->w, .conv = conv };

    if (!scratch)
        return lv_cpu_packed(cpu, s->w, kind + LV_PACK_NB * s->x->dim[2], s->type,
                             lv_conv_weight_bytes(conv),
                             pack_weight, &arg);
    arg.plain = (float *)(void *)((char *)scratch + packed_room(s));
    cpu->pack_error = pack_weight(cpu, scratch, &arg);
    return cpu->pack_error < 0 ? NULL : scratch;
}

void lv_conv_end(const LvCpu *cpu, const LvConvEnd *e, float *t, float *tmp, size_t at,
                 int rows)
{
    const LvDsp *dsp = cpu->dsp;
    size_t n = (size_t)e->y->dim[2] * (size_t)e->y->dim[3];

    for (int i = 0; i < rows; i++, t += n) {
        size_t row = at + (size_t)i;
        if (lv_has(e->r))
            dsp->madd(t, t, NULL, lv_cpu_row(cpu, e->r, row, n, tmp), n);
        if (e->y->dtype == LV_F32) {
            dsp->act[e->act]((float *)e->y->data + row * n, t, n);
        } else {
            dsp->act[e->act](t, t, n);
            lv_cpu_put(cpu, e->y, row, n, t);
        }
    }
}

/* The op */

typedef struct ConvPriv {
    const void *packed;   /* the weight; NULL: packed at every run */
    const LvConv *conv[]; /* of each band */
} ConvPriv;

typedef struct ConvJob {
    LvCpu *cpu;
    const LvConvArgs *a;
    const ConvPriv *priv;
    const void *packed;
    int bands;
} ConvJob;

static LvConvShape shape_of(const LvConvArgs *a)
{
    return (LvConvShape) { &a->x, &a->w, &a->y, a->stride, a->pad, a->x.dtype };
}

static int bands_of(const LvConvArgs *a)
{
    return lv_cpu_split((size_t)a->y.dim[1], ROWS);
}

static LvBand band_of(const LvConvArgs *a, int band)
{
    LvConvShape s = shape_of(a);

    return lv_conv_band(&s, band * ROWS, LV_MIN(ROWS, a->y.dim[1] - band * ROWS));
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

int lv_cpu_plan_conv(LvDevice *dev, const LvConvArgs *a, LvCall *call)
{
    LvConvShape s = shape_of(a);

    if (lv_is_fixed(&a->w))
        call->weight_bytes = lv_conv_room(&s) * lv_dtype_size((LvDtype)s.type);
    else
        call->scratch_bytes = lv_conv_scratch(&s);
    call->thread_bytes = is_direct(a) ? 0 : 4 * (ROWS + 1) * row_size(a);
    return lv_cpu_has_type(lv_cpu(dev), a->x.dtype);
}

static const LvConv *band_conv(LvCpu *cpu, const LvConvArgs *a, int band)
{
    LvConvShape s = shape_of(a);
    LvBand b      = band_of(a, band);
    LvConvDesc d  = lv_conv_desc(&s, &b, 1, LV_CONV_Y,
                                 is_direct(a) ? a->y.dtype : LV_F32);

    d.bias = lv_has(&a->b);
    d.relu = is_direct(a) && a->act == LV_ACT_RELU;
    return lv_conv_get(cpu->dnn, &d);
}

int lv_cpu_build_conv(LvDevice *dev, const LvConvArgs *a, LvCall *call)
{
    LvCpu *cpu    = lv_cpu(dev);
    LvConvShape s = shape_of(a);
    int bands     = bands_of(a), ret;
    ConvPriv *p   = calloc(1, sizeof(*p) + (size_t)bands * sizeof(p->conv[0]));

    if (!(call->priv = p))
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int band = 0; band < bands; band++)
        if (!(p->conv[band] = band_conv(cpu, a, band)))
            return lv_dnn_error(cpu->dnn);
    ret = lv_conv_fits(cpu, &s, p->conv[0], lv_dtype_size((LvDtype)s.type));
    if (ret < 0 || !lv_is_fixed(&a->w))
        return ret;
    p->packed = lv_conv_weight(cpu, &s, p->conv[0], LV_PACK_CONV, NULL);
    return p->packed ? 0 : cpu->pack_error;
}

static int band_job(void *arg, int job, int thread)
{
    const ConvJob *j = arg;
    const LvConvArgs *a = j->a;
    int frame = job / j->bands, band = job % j->bands;
    LvBand b    = band_of(a, band);
    size_t at   = (size_t)frame * a->y.dim[1] + (size_t)b.y0;
    LvConvData data = {
        .x = lv_at(&a->x, (size_t)frame * a->x.dim[1] + (size_t)b.x0,
                   (size_t)a->x.dim[2] * a->x.dim[3], 0),
        .w = (void *)j->packed, .bias = a->b.data,
        .y = is_direct(a) ? lv_at(&a->y, at, row_size(a), 0)
                          : lv_cpu_slab(j->cpu, thread, 0),
    };
    int ret = lv_conv_run(j->priv->conv[band], thread, &data);

    if (ret >= 0 && !is_direct(a))
        lv_conv_end(j->cpu, &(LvConvEnd) { &a->r, &a->y, a->act }, data.y,
                    (float *)data.y + ROWS * row_size(a), at, b.rows);
    return ret;
}

int lv_cpu_conv(LvDevice *dev, const LvConvArgs *a, LvCall *call)
{
    LvCpu *cpu    = lv_cpu(dev);
    LvConvShape s = shape_of(a);
    ConvJob j     = { cpu, a, call->priv, NULL, bands_of(a) };

    j.packed = j.priv->packed ? j.priv->packed
             : lv_conv_weight(cpu, &s, j.priv->conv[0], LV_PACK_CONV, call->scratch);
    return j.packed ? lv_cpu_jobs(cpu, band_job, &j, a->y.dim[0] * j.bands)
                    : cpu->pack_error;
}
