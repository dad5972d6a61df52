/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Gradients of convolutions by those of oneDNN.
 *
 * Of x: a job is a band of ROWS rows of one frame of dx, made from the rows of dy
 * that read them. Of w: a job is a part of the rows of dy, some frames or a band of
 * one, and gives the whole gradient in oneDNN's layout; parts are added in order. Their
 * number, at most MAX_PARTS, depends on shapes alone.
 */

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/conv.h"

enum { ROWS = 16, MAX_PARTS = 16, PARTS = 10, MIN_ROWS = 8, PIECE = 4096 };

/* Gradient of x */

typedef struct DxPriv {
    const void *packed;   /* the weight; NULL: packed at every run */
    const LvConv *conv[]; /* of each band; NULL: no row of dy there */
} DxPriv;

typedef struct DxJob {
    LvCpu *cpu;
    const LvConvDxArgs *a;
    const DxPriv *priv;
    const void *packed;
    int bands;
} DxJob;

static LvConvShape dx_shape(const LvConvDxArgs *a)
{
    return (LvConvShape) { &a->dx, &a->w, &a->dy, a->stride, a->pad, a->dy.dtype };
}

static int dx_bands(const LvConvDxArgs *a)
{
    return lv_cpu_split((size_t)a->dx.dim[1], ROWS);
}

/* Rows of dx, and the rows of dy that belong to them: none when b.rows is 0. */
static LvBand dx_band(const LvConvDxArgs *a, int band)
{
    LvBand b  = { .x0 = band * ROWS };
    int first = b.x0 + a->pad - a->w.dim[2] + a->stride, end;

    b.in_rows = LV_MIN(ROWS, a->dx.dim[1] - b.x0);
    b.y0      = LV_MAX(first, 0) / a->stride;
    end       = LV_MIN((b.x0 + b.in_rows - 1 + a->pad) / a->stride + 1, a->dy.dim[1]);
    b.rows    = LV_MAX(end - b.y0, 0);
    b.pad_top = b.x0 + a->pad - b.y0 * a->stride;
    return b;
}

/* Whether oneDNN writes dx itself. */
static int dx_direct(const LvConvDxArgs *a)
{
    return !a->add && (a->dy.dtype == LV_BF16 || a->dx.dtype == LV_F32);
}

static size_t dx_row(const LvConvDxArgs *a)
{
    return (size_t)a->dx.dim[2] * a->dx.dim[3];
}

int lv_cpu_plan_conv_dx(LvDevice *dev, const LvConvDxArgs *a, LvCall *call)
{
    LvConvShape s = dx_shape(a);

    if (lv_is_fixed(&a->w))
        call->weight_bytes = lv_conv_room(&s) * lv_dtype_size((LvDtype)s.type);
    else
        call->scratch_bytes = lv_conv_scratch(&s);
    call->thread_bytes = 4 * ROWS * dx_row(a);
    return lv_cpu_has_type(lv_cpu(dev), s.type);
}

int lv_cpu_build_conv_dx(LvDevice *dev, const LvConvDxArgs *a, LvCall *call)
{
    LvCpu *cpu    = lv_cpu(dev);
    LvConvShape s = dx_shape(a);
    int bands     = dx_bands(a), ret;
    DxPriv *p     = calloc(1, sizeof(*p) + (size_t)bands * sizeof(p->conv[0]));

    if (!(call->priv = p))
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int band = 0; band < bands; band++) {
        LvBand b     = dx_band(a, band);
        LvConvDesc d = lv_conv_desc(&s, &b, 1, LV_CONV_DX,
                                    dx_direct(a) ? a->dx.dtype : LV_F32);
        if (b.rows > 0 && !(p->conv[band] = lv_conv_get(cpu->dnn, &d)))
            return lv_dnn_error(cpu->dnn);
    }
    ret = lv_conv_fits(cpu, &s, p->conv[0], lv_dtype_size((LvDtype)s.type));
    if (ret < 0 || !lv_is_fixed(&a->w))
        return ret;
    p->packed = lv_conv_weight(cpu, &s, p->conv[0], LV_PACK_CONV_DX, NULL);
    return p->packed ? 0 : cpu->pack_error;
}

static int dx_job(void *arg, int job, int thread)
{
    const DxJob *j = arg;
    const LvConvDxArgs *a = j->a;
    int frame = job / j->bands, band = job % j->bands, ret = 0;
    LvBand b    = dx_band(a, band);
    size_t at   = (size_t)frame * a->dx.dim[1] + (size_t)b.x0, n = dx_row(a);
    float *slab = lv_cpu_slab(j->cpu, thread, 0);
    int direct  = dx_direct(a) && b.rows > 0;
    LvConvData data = {
        .x = direct ? lv_at(&a->dx, at, n, 0) : slab, .w = (void *)j->packed,
        .y = lv_at(&a->dy, (size_t)frame * a->dy.dim[1] + (size_t)b.y0,
                   (size_t)a->dy.dim[2] * a->dy.dim[3], 0),
    };

    if (b.rows > 0)
        ret = lv_conv_run(j->priv->conv[band], thread, &data);
    else
        memset(slab, 0, (size_t)b.in_rows * n * sizeof(*slab));
    if (ret >= 0 && !direct)
        lv_cpu_store(j->cpu, a->dx.dtype, lv_at(&a->dx, at, n, 0), slab,
                     (size_t)b.in_rows * n, a->add);
    return ret;
}

int lv_cpu_conv_dx(LvDevice *dev, const LvConvDxArgs *a, LvCall *call)
{
    LvCpu *cpu    = lv_cpu(dev);
    LvConvShape s = dx_shape(a);
    DxJob j       = { cpu, a, call->priv, NULL, dx_bands(a) };

    j.packed = j.priv->packed ? j.priv->packed
             : lv_conv_weight(cpu, &s, j.priv->conv[0], LV_PACK_CONV_DX, call->scratch);
    return j.packed ? lv_cpu_jobs(cpu, dx_job, &j, a->dx.dim[0] * j.bands)
                    : cpu->pack_error;
}

/* Gradient of w */

typedef struct DwPriv {
    const LvConv *conv[MAX_PARTS];
} DwPriv;

typedef struct DwJob {
    LvCpu *cpu;
    const LvConvDwArgs *a;
    const DwPriv *priv;
    float *parts; /* [parts][room] */
    float *plain; /* the sum as [O,C,kh,kw] */
    size_t room;
} DwJob;

/* Parts: groups of `group` frames, or `bands` bands of `rows` rows for each. */
typedef struct Cut {
    int group, groups, rows, bands;
} Cut;

static LvConvShape dw_shape(const LvConvDwArgs *a)
{
    return (LvConvShape) { &a->x, &a->dw, &a->dy, a->stride, a->pad, a->dy.dtype };
}

static Cut cut_of(const LvConvDwArgs *a)
{
    int frames = a->dy.dim[0], rows = a->dy.dim[1];
    Cut c = { .group = lv_cpu_split((size_t)frames, PARTS) };

    c.groups = lv_cpu_split((size_t)frames, (size_t)c.group);
    c.bands  = LV_CLAMP(LV_MIN(PARTS / c.groups, rows / MIN_ROWS), 1, MAX_PARTS);
    c.rows   = lv_cpu_split((size_t)rows, (size_t)c.bands);
    c.bands  = lv_cpu_split((size_t)rows, (size_t)c.rows);
    return c;
}

static int parts_of(const LvConvDwArgs *a)
{
    Cut c = cut_of(a);

    return c.groups * c.bands;
}

static LvBand dw_band(const LvConvDwArgs *a, int part)
{
    LvConvShape s = dw_shape(a);
    Cut c  = cut_of(a);
    int y0 = part % c.bands * c.rows;

    return lv_conv_band(&s, y0, LV_MIN(c.rows, a->dy.dim[1] - y0));
}

int lv_cpu_plan_conv_dw(LvDevice *dev, const LvConvDwArgs *a, LvCall *call)
{
    LvConvShape s = dw_shape(a);

    call->scratch_bytes = 4 * ((size_t)parts_of(a) * lv_conv_room(&s) +
                               (a->add ? lv_tensor_numel(&a->dw) : 0));
    return lv_cpu_has_type(lv_cpu(dev), s.type);
}

int lv_cpu_build_conv_dw(LvDevice *dev, const LvConvDwArgs *a, LvCall *call)
{
    LvCpu *cpu    = lv_cpu(dev);
    LvConvShape s = dw_shape(a);
    DwPriv *p     = call->priv = calloc(1, sizeof(*p));
    Cut c         = cut_of(a);

    if (!p)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < c.groups * c.bands; i++) {
        LvBand b  = dw_band(a, i);
        int batch = LV_MIN(a->dy.dim[0] - i / c.bands * c.group, c.group);
        LvConvDesc d = lv_conv_desc(&s, &b, batch, LV_CONV_DW, LV_F32);
        if (!(p->conv[i] = lv_conv_get(cpu->dnn, &d)))
            return lv_dnn_error(cpu->dnn);
    }
    return lv_conv_fits(cpu, &s, p->conv[0], sizeof(float));
}

static int part_job(void *arg, int part, int thread)
{
    const DwJob *j = arg;
    const LvConvDwArgs *a = j->a;
    Cut c     = cut_of(a);
    LvBand b  = dw_band(a, part);
    size_t at = (size_t)(part / c.bands * c.group);
    LvConvData data = {
        .x = lv_at(&a->x, at * a->x.dim[1] + (size_t)b.x0,
                   (size_t)a->x.dim[2] * a->x.dim[3], 0),
        .w = j->parts + (size_t)part * j->room,
        .y = lv_at(&a->dy, at * a->dy.dim[1] + (size_t)b.y0,
                   (size_t)a->dy.dim[2] * a->dy.dim[3], 0),
    };

    return lv_conv_run(j->priv->conv[part], thread, &data);
}

static int sum_job(void *arg, int job, int thread)
{
    const DwJob *j = arg;
    size_t from = (size_t)job * PIECE;
    size_t n    = LV_MIN(lv_conv_weight_bytes(j->priv->conv[0]) / 4 - from, PIECE);
    float *sum  = j->parts + from;

    (void)thread;
    for (int i = 1; i < parts_of(j->a); i++)
        j->cpu->dsp->madd(sum, sum, NULL, sum + (size_t)i * j->room, n);
    return 0;
}

static int add_job(void *arg, int job, int thread)
{
    const DwJob *j = arg;
    size_t from = (size_t)job * PIECE;
    size_t n    = LV_MIN(lv_tensor_numel(&j->a->dw) - from, PIECE);

    (void)thread;
    lv_cpu_store(j->cpu, LV_F32, (float *)j->a->dw.data + from, j->plain + from, n, 1);
    return 0;
}

int lv_cpu_conv_dw(LvDevice *dev, const LvConvDwArgs *a, LvCall *call)
{
    LvCpu *cpu    = lv_cpu(dev);
    LvConvShape s = dw_shape(a);
    DwJob j       = { cpu, a, call->priv, call->scratch, a->dw.data, lv_conv_room(&s) };
    int parts     = parts_of(a), ret;

    if (a->add)
        j.plain = j.parts + (size_t)parts * j.room;
    ret = lv_cpu_jobs(cpu, part_job, &j, parts);
    if (ret >= 0 && parts > 1)
        ret = lv_cpu_jobs(cpu, sum_job, &j,
            lv_cpu_split(lv_conv_weight_bytes(j.priv->conv[0]) / 4, PIECE));
    if (ret >= 0)
        ret = lv_conv_reorder(j.priv->conv[0], j.plain, j.parts);
    if (ret >= 0 && a->add)
        ret = lv_cpu_jobs(cpu, add_job, &j,
                          lv_cpu_split(lv_tensor_numel(&a->dw), PIECE));
    return ret;
}
