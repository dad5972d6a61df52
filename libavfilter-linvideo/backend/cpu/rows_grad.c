/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Gradients of the ops on rows and elements. Those of parameters are sums over rows:
 * every job has its own, which are added in order.
 */

#include <string.h>

#include "backend/cpu/reduce.h"
#include "backend/cpu/rows.h"

/* norm: S0 = sum of dy, S1 = sum of dy n(x) over the rows of a sample give dw, db and
 * dmod. The scratch holds w (1 + scale) of every sample, then the sums. */
typedef struct NormDxRun {
    const LvNormDxArgs *a;
    float *fold; ///< [B,C]
} NormDxRun;

static void norm_dx_row(const LvSumsJob *j, size_t i, size_t col, size_t n, float *s,
                        float *tmp)
{
    const NormDxRun *r = j->args;
    const LvNormDxArgs *a = r->a;
    const LvDsp *dsp = j->cpu->dsp;
    const float *x  = lv_cpu_get(j->cpu, &a->x, i * n, n, tmp + n);
    const float *dy = lv_cpu_get(j->cpu, &a->dy, i * n, n, tmp + 2 * n);
    const float *w  = r->fold + i / (j->rows / j->groups) * n;
    float mean = lv_has(&a->mean) ? ((const float *)a->mean.data)[i] : 0;
    float rstd = ((const float *)a->rstd.data)[i], sums[2], *dx;

    (void)col;
    dsp->norm_sums(sums, s, s ? s + n : NULL, x, dy, w, mean, rstd, n);
    if (!lv_has(&a->dx))
        return;
    dx = lv_cpu_into(&a->dx, a->add & 1, i * n, tmp);
    if (a->kind == LV_NORM_RMS)
        sums[0] = 0;
    dsp->norm_dx(dx, x, dy, w, mean, rstd, sums[0] / (float)n, sums[1] / (float)n, n);
    lv_cpu_finish(j->cpu, &a->dx, a->add & 1, i * n, n, dx, tmp + 3 * n);
}

static LvSumsJob norm_dx_sums(LvDevice *dev, const LvNormDxArgs *a)
{
    size_t c = (size_t)a->x.dim[1];
    int sums = lv_has(&a->dw) || lv_has(&a->db) || lv_has(&a->dmod) ? 2 : 0;
    LvSumsJob j = { .groups = (size_t)a->batch, .rows = (size_t)a->x.dim[0], .cols = c,
                    .block = c, .sums = (size_t)sums, .row = norm_dx_row };

    lv_cpu_sums_init(&j, dev);
    return j;
}

int lv_cpu_plan_norm_dx(LvDevice *dev, const LvNormDxArgs *a, LvCall *call)
{
    LvSumsJob j = norm_dx_sums(dev, a);

    call->scratch_bytes = (j.groups * j.cols + lv_cpu_sums_floats(&j)) * sizeof(float);
    return lv_cpu_plan_tmp(call, 4 * j.cols);
}

static void fold_gain(const LvNormDxArgs *a, int sample, float *fold)
{
    const float *w = a->w.data;
    const float *scale = lv_cpu_mod(&a->mod, a->batch, sample, a->scale);

    for (int i = 0; i < a->x.dim[1]; i++)
        fold[i] = (lv_has(&a->w) ? w[i] : 1) * (scale ? 1 + scale[i] : 1);
}

/* What the sums of one sample give to all parameters. */
static void norm_parameters(const LvNormDxArgs *a, int sample, const float *s0,
                            const float *s1)
{
    const float *w = a->w.data, *b = a->b.data;
    const float *scale = lv_cpu_mod(&a->mod, a->batch, sample, a->scale);
    float *dscale = lv_cpu_mod(&a->dmod, a->batch, sample, a->scale);
    float *dshift = lv_cpu_mod(&a->dmod, a->batch, sample, a->shift);
    float *dw = a->dw.data, *db = a->db.data;

    for (int i = 0; i < a->x.dim[1]; i++) {
        float s = scale ? 1 + scale[i] : 1;
        if (lv_has(&a->dw))
            dw[i] = (sample || a->add & 2 ? dw[i] : 0) + s * s1[i];
        if (lv_has(&a->db))
            db[i] = (sample || a->add & 4 ? db[i] : 0) + s * s0[i];
        if (dscale) {
            dscale[i] += (lv_has(&a->w) ? w[i] : 1) * s1[i] +
                         (lv_has(&a->b) ? b[i] : 0) * s0[i];
            dshift[i] += s0[i];
        }
    }
}

int lv_cpu_norm_dx(LvDevice *dev, const LvNormDxArgs *a, LvCall *call)
{
    LvSumsJob j = norm_dx_sums(dev, a);
    NormDxRun r = { a, call->scratch };
    int ret;

    j.args    = &r;
    j.partial = r.fold + j.groups * j.cols;
    for (int b = 0; b < a->batch; b++)
        fold_gain(a, b, r.fold + (size_t)b * j.cols);
    ret = lv_cpu_sum_rows(&j);
    for (int b = 0; b < a->batch && ret >= 0 && j.sums; b++) {
        const float *s = lv_cpu_totals(&j, (size_t)b);
        norm_parameters(a, b, s, s + j.cols);
    }
    return ret;
}

/* gate */

static void gate_dx_row(const LvSumsJob *j, size_t i, size_t col, size_t n, float *s,
                        float *tmp)
{
    const LvGateDxArgs *a = j->args;
    int sample = (int)(i / (j->rows / j->groups));
    const float *mod = lv_cpu_mod(&a->mod, a->batch, sample, a->row);
    const float *dy  = lv_cpu_get(j->cpu, &a->dy, i * n, n, tmp + n);
    float *dx;

    (void)col;
    if (s)
        j->cpu->dsp->madd(s, s, dy,
                          lv_cpu_get(j->cpu, &a->x, i * n, n, tmp + 2 * n), n);
    if (!lv_has(&a->dx))
        return;
    dx = lv_cpu_into(&a->dx, a->add & 1, i * n, tmp);
    if (mod)
        j->cpu->dsp->mul(dx, dy, mod, n);
    else
        j->cpu->dsp->act[LV_ACT_NONE](dx, dy, n);
    lv_cpu_finish(j->cpu, &a->dx, a->add & 1, i * n, n, dx, tmp + 2 * n);
}

static LvSumsJob gate_dx_sums(LvDevice *dev, const LvGateDxArgs *a)
{
    size_t c = (size_t)a->dy.dim[1];
    LvSumsJob j = { .args = a, .groups = (size_t)a->batch, .rows = (size_t)a->dy.dim[0],
                    .cols = c, .block = c, .sums = (size_t)lv_has(&a->dmod),
                    .row = gate_dx_row };

    lv_cpu_sums_init(&j, dev);
    return j;
}

int lv_cpu_plan_gate_dx(LvDevice *dev, const LvGateDxArgs *a, LvCall *call)
{
    LvSumsJob j = gate_dx_sums(dev, a);

    call->scratch_bytes = lv_cpu_sums_floats(&j) * sizeof(float);
    return lv_cpu_plan_tmp(call, 3 * j.cols);
}

int lv_cpu_gate_dx(LvDevice *dev, const LvGateDxArgs *a, LvCall *call)
{
    LvSumsJob j = gate_dx_sums(dev, a);
    int ret;

    j.partial = call->scratch;
    ret = lv_cpu_sum_rows(&j);
    for (int b = 0; b < a->batch && ret >= 0 && j.sums; b++) {
        float *d = lv_cpu_mod(&a->dmod, a->batch, b, a->row);
        j.cpu->dsp->madd(d, d, NULL, lv_cpu_totals(&j, (size_t)b), j.cols);
    }
    return ret;
}

/* qknorm: the rotation is undone, then as a norm without mean */

static void qknorm_dx_row(const LvSumsJob *j, size_t i, size_t col, size_t n, float *s,
                          float *tmp)
{
    const LvQknormDxArgs *a = j->args;
    const LvDsp *dsp = j->cpu->dsp;
    const float *x = lv_cpu_get(j->cpu, &a->x, i * n, n, tmp + n), *w = a->w.data;
    const float *u = lv_cpu_get(j->cpu, &a->dy, i * n, n, tmp + 2 * n);
    float rstd = ((const float *)a->rstd.data)[i], sums[2], *dx;

    (void)col;
    if (lv_has(&a->rope)) {
        for (size_t h = 0, d = n / (size_t)a->heads; h < n; h += d)
            dsp->unrope(tmp + 2 * n + h, u + h, lv_cpu_turn(&a->rope, i), d);
        u = tmp + 2 * n;
    }
    dsp->norm_sums(sums, NULL, s, x, u, w, 0, rstd, n);
    if (!lv_has(&a->dx))
        return;
    dx = lv_cpu_into(&a->dx, a->add & 1, i * n, tmp);
    dsp->norm_dx(dx, x, u, w, 0, rstd, 0, sums[1] / (float)n, n);
    lv_cpu_finish(j->cpu, &a->dx, a->add & 1, i * n, n, dx, tmp + 3 * n);
}

static LvSumsJob qknorm_dx_sums(LvDevice *dev, const LvQknormDxArgs *a)
{
    size_t c = (size_t)a->x.dim[1];
    LvSumsJob j = { .args = a, .groups = 1, .rows = (size_t)a->x.dim[0], .cols = c,
                    .block = c, .sums = (size_t)lv_has(&a->dw), .row = qknorm_dx_row };

    lv_cpu_sums_init(&j, dev);
    return j;
}

int lv_cpu_plan_qknorm_dx(LvDevice *dev, const LvQknormDxArgs *a, LvCall *call)
{
    LvSumsJob j = qknorm_dx_sums(dev, a);

    call->scratch_bytes = lv_cpu_sums_floats(&j) * sizeof(float);
    return lv_cpu_plan_tmp(call, 4 * j.cols);
}

int lv_cpu_qknorm_dx(LvDevice *dev, const LvQknormDxArgs *a, LvCall *call)
{
    LvSumsJob j = qknorm_dx_sums(dev, a);
    int ret;

    j.partial = call->scratch;
    ret = lv_cpu_sum_rows(&j);
    if (ret >= 0 && lv_has(&a->dw))
        lv_cpu_finish(j.cpu, &a->dw, a->add & 2, 0, j.cols, lv_cpu_totals(&j, 0), NULL);
    return ret;
}

/* mix: the scratch holds dr of each job */

typedef struct MixDxRun {
    const LvMixDxArgs *a;
    double *dr;
} MixDxRun;

static size_t mix_jobs(const LvMixDxArgs *a)
{
    return (size_t)lv_cpu_split(lv_tensor_numel(&a->a), LV_JOB_ELEMENTS);
}

int lv_cpu_plan_mix_dx(LvDevice *dev, const LvMixDxArgs *a, LvCall *call)
{
    (void)dev;
    call->scratch_bytes = mix_jobs(a) * sizeof(double);
    return lv_cpu_plan_tmp(call, 5 * LV_PIECE);
}

static void scaled(const LvPiecesJob *j, const LvTensor *t, int add, size_t from,
                   size_t n, float r, const float *dy, float *tmp)
{
    float *y = lv_cpu_into(t, add, from, tmp);

    j->cpu->dsp->affine(y, r, dy, NULL, n);
    lv_cpu_finish(j->cpu, t, add, from, n, y, tmp + LV_PIECE);
}

static void mix_dx_piece(const LvPiecesJob *j, size_t from, size_t n, float *tmp)
{
    const MixDxRun *r = j->args;
    const LvMixDxArgs *a = r->a;
    const float *dy = lv_cpu_get(j->cpu, &a->dy, from, n, tmp + 2 * LV_PIECE);
    float share = *(const float *)a->r.data;

    if (lv_has(&a->dr))
        r->dr[from / LV_JOB_ELEMENTS] += j->cpu->dsp->dot_diff_f64(
            dy, lv_cpu_get(j->cpu, &a->a, from, n, tmp + 3 * LV_PIECE),
            lv_cpu_get(j->cpu, &a->b, from, n, tmp + 4 * LV_PIECE), n);
    if (lv_has(&a->da))
        scaled(j, &a->da, a->add & 1, from, n, share, dy, tmp);
    if (lv_has(&a->db))
        scaled(j, &a->db, a->add & 2, from, n, 1 - share, dy, tmp);
}

int lv_cpu_mix_dx(LvDevice *dev, const LvMixDxArgs *a, LvCall *call)
{
    MixDxRun r = { a, call->scratch };
    double sum = a->add & 4 && lv_has(&a->dr) ? (double)*(float *)a->dr.data : 0;
    int ret;

    memset(r.dr, 0, mix_jobs(a) * sizeof(*r.dr));
    ret = lv_cpu_each_piece(dev, &r, lv_tensor_numel(&a->a), mix_dx_piece);
    for (size_t i = 0; i < mix_jobs(a); i++)
        sum += r.dr[i];
    if (ret >= 0 && lv_has(&a->dr))
        *(float *)a->dr.data = (float)sum;
    return ret;
}

/* act, glu */

int lv_cpu_plan_act_dx(LvDevice *dev, const LvActDxArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return lv_cpu_plan_tmp(call, 3 * LV_PIECE);
}

static void act_dx_piece(const LvPiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvActDxArgs *a = j->args;
    float *dx = lv_cpu_into(&a->dx, a->add, from, tmp);

    j->cpu->dsp->act_dx[a->act](
        dx, lv_cpu_get(j->cpu, &a->x, from, n, tmp + LV_PIECE),
        lv_cpu_get(j->cpu, &a->dy, from, n, tmp + 2 * LV_PIECE), n);
    lv_cpu_finish(j->cpu, &a->dx, a->add, from, n, dx, tmp + LV_PIECE);
}

int lv_cpu_act_dx(LvDevice *dev, const LvActDxArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_piece(dev, a, lv_tensor_numel(&a->dx), act_dx_piece);
}

int lv_cpu_plan_glu_dx(LvDevice *dev, const LvGluDxArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return lv_cpu_plan_tmp(call, 5 * LV_PIECE);
}

/* dg first, for dx may lie on dy. */
static void glu_dx_piece(const LvPiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvGluDxArgs *a = j->args;
    const LvDsp *dsp = j->cpu->dsp;
    const float *x  = lv_cpu_get(j->cpu, &a->x, from, n, tmp + 2 * LV_PIECE);
    const float *g  = lv_cpu_get(j->cpu, &a->g, from, n, tmp + 3 * LV_PIECE);
    const float *dy = lv_cpu_get(j->cpu, &a->dy, from, n, tmp + 4 * LV_PIECE);
    float *d;

    if (lv_has(&a->dg)) {
        d = lv_cpu_into(&a->dg, a->add & 2, from, tmp);
        dsp->act_dx[LV_ACT_GELU](d, g, dy, n);
        dsp->mul(d, d, x, n);
        lv_cpu_finish(j->cpu, &a->dg, a->add & 2, from, n, d, tmp + LV_PIECE);
    }
    if (lv_has(&a->dx)) {
        d = lv_cpu_into(&a->dx, a->add & 1, from, tmp);
        dsp->glu(d, dy, g, n);
        lv_cpu_finish(j->cpu, &a->dx, a->add & 1, from, n, d, tmp + LV_PIECE);
    }
}

int lv_cpu_glu_dx(LvDevice *dev, const LvGluDxArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_piece(dev, a, lv_tensor_numel(&a->x), glu_dx_piece);
}

/* embed: a job is a block of columns, whose ids it walks in order */

enum { EMBED_BLOCK = 128 };

int lv_cpu_plan_embed_dx(LvDevice *dev, const LvEmbedDxArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return lv_cpu_plan_tmp(call, EMBED_BLOCK);
}

typedef struct EmbedDxJob {
    LvCpu *cpu;
    const LvEmbedDxArgs *a;
} EmbedDxJob;

static int embed_dx_job(void *arg, int job, int thread)
{
    const EmbedDxJob *j = arg;
    const LvTensor *dy = &j->a->dy, *d = &j->a->dtable;
    const int32_t *ids = j->a->ids.data;
    size_t c = (size_t)d->dim[1], col = (size_t)job * EMBED_BLOCK;
    size_t n = LV_MIN((size_t)EMBED_BLOCK, c - col);

    for (int v = 0; v < d->dim[0] && !j->a->add; v++)
        memset(lv_at(d, (size_t)v, c, col), 0, n * sizeof(float));
    for (int i = 0; i < dy->dim[0]; i++) {
        float *row;
        if (ids[i] < 0 || ids[i] >= d->dim[0])
            continue;
        row = lv_at(d, (size_t)ids[i], c, col);
        j->cpu->dsp->madd(row, row, NULL,
                          lv_cpu_get(j->cpu, dy, (size_t)i * c + col, n,
                                     lv_cpu_slab(j->cpu, thread, 0)), n);
    }
    return 0;
}

int lv_cpu_embed_dx(LvDevice *dev, const LvEmbedDxArgs *a, LvCall *call)
{
    EmbedDxJob j = { lv_cpu(dev), a };

    (void)call;
    return lv_cpu_jobs(j.cpu, embed_dx_job, &j,
                       lv_cpu_split((size_t)a->dtable.dim[1], EMBED_BLOCK));
}

/* recall, upsample: a row is a row of pixels of dx; tmp holds it, then what it is added
 * to, then a pixel of dy */

static int plan_pixels(const LvTensor *dx, LvCall *call)
{
    return lv_cpu_plan_tmp(call, (2 * (size_t)dx->dim[2] + 1) * (size_t)dx->dim[3]);
}

static int each_pixel_row(LvDevice *dev, const void *args, const LvTensor *dx,
                          LvRow row)
{
    return lv_cpu_each_row(dev, args, (size_t)dx->dim[0] * (size_t)dx->dim[1],
                           (size_t)dx->dim[2] * (size_t)dx->dim[3], row);
}

/* y = or += n elements of t from `from` */
static void take(const LvRowsJob *j, float *y, int add, const LvTensor *t, size_t from,
                 size_t n, float *tmp)
{
    const float *x = lv_cpu_get(j->cpu, t, from, n, tmp);

    if (add)
        j->cpu->dsp->madd(y, y, NULL, x, n);
    else
        memcpy(y, x, n * sizeof(*y));
}

int lv_cpu_plan_recall_dx(LvDevice *dev, const LvRecallDxArgs *a, LvCall *call)
{
    (void)dev;
    return plan_pixels(&a->dx, call);
}

static void recall_dx_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const LvRecallDxArgs *a = j->args;
    size_t c = (size_t)a->dx.dim[3], cols = (size_t)a->dx.dim[2];
    size_t next = i + (size_t)a->dx.dim[1];
    float *y = lv_cpu_into(&a->dx, a->add, i * j->cols, tmp);

    for (size_t x = 0; x < cols; x++) {
        take(j, y + x * c, 0, &a->dy, (i * cols + x) * 2 * c, c, tmp + 2 * j->cols);
        if (next < j->rows)
            take(j, y + x * c, 1, &a->dy, (next * cols + x) * 2 * c + c, c,
                 tmp + 2 * j->cols);
    }
    lv_cpu_finish(j->cpu, &a->dx, a->add, i * j->cols, j->cols, y, tmp + j->cols);
}

int lv_cpu_recall_dx(LvDevice *dev, const LvRecallDxArgs *a, LvCall *call)
{
    (void)call;
    return each_pixel_row(dev, a, &a->dx, recall_dx_row);
}

int lv_cpu_plan_upsample_dx(LvDevice *dev, const LvUpsampleDxArgs *a, LvCall *call)
{
    (void)dev;
    return plan_pixels(&a->dx, call);
}

static void upsample_dx_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const LvUpsampleDxArgs *a = j->args;
    size_t c = (size_t)a->dx.dim[3], cols = (size_t)a->dx.dim[2];
    float *y = lv_cpu_into(&a->dx, a->add, i * j->cols, tmp);

    for (size_t x = 0; x < cols; x++)
        for (size_t k = 0; k < 4; k++)
            take(j, y + x * c, k > 0, &a->dy,
                 ((2 * i + k / 2) * 2 * cols + 2 * x + k % 2) * c, c,
                 tmp + 2 * j->cols);
    lv_cpu_finish(j->cpu, &a->dx, a->add, i * j->cols, j->cols, y, tmp + j->cols);
}

int lv_cpu_upsample_dx(LvDevice *dev, const LvUpsampleDxArgs *a, LvCall *call)
{
    (void)call;
    return each_pixel_row(dev, a, &a->dx, upsample_dx_row);
}
