/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ops that work on rows or elements, one ISA kernel after another.
 */

#include <math.h>
#include <string.h>

#include "backend/cpu/rows.h"
#include "base/convert.h"

static int rows_job(void *arg, int job, int thread)
{
    const LvRowsJob *j = arg;
    size_t from = (size_t)job * j->per_job, to = LV_MIN(from + j->per_job, j->rows);
    float *tmp  = lv_cpu_slab(j->cpu, thread, 0);

    for (size_t i = from; i < to; i++)
        j->row(j, i, tmp);
    return 0;
}

int lv_cpu_each_row(LvDevice *dev, const void *args, size_t rows, size_t cols,
                    LvRow row)
{
    LvRowsJob j = { lv_cpu(dev), args, rows, cols,
                    LV_MAX(LV_JOB_ELEMENTS / cols, 1), row };

    return lv_cpu_jobs(j.cpu, rows_job, &j, lv_cpu_split(rows, j.per_job));
}

static int pieces_job(void *arg, int job, int thread)
{
    const LvPiecesJob *j = arg;
    size_t from = (size_t)job * LV_JOB_ELEMENTS;
    size_t to   = LV_MIN(from + LV_JOB_ELEMENTS, j->n);

    for (; from < to; from += LV_PIECE)
        j->piece(j, from, LV_MIN((size_t)LV_PIECE, to - from),
                 lv_cpu_slab(j->cpu, thread, 0));
    return 0;
}

int lv_cpu_each_piece(LvDevice *dev, const void *args, size_t n, LvPiece piece)
{
    LvPiecesJob j = { lv_cpu(dev), args, n, piece };

    return lv_cpu_jobs(j.cpu, pieces_job, &j, lv_cpu_split(n, LV_JOB_ELEMENTS));
}

/* norm */

/* y = n(x) A + B with A = w (1 + scale), B = b (1 + scale) + shift, made once for
 * all rows of a sample in the op's scratch, [B,2,C]. */
typedef struct NormRun {
    const LvNormArgs *a;
    const float *fold;
} NormRun;

int lv_cpu_plan_norm(LvDevice *dev, const LvNormArgs *a, LvCall *call)
{
    (void)dev;
    call->scratch_bytes = 2 * sizeof(float) * (size_t)a->batch * (size_t)a->x.dim[1];
    return lv_cpu_plan_tmp(call, 2 * (size_t)a->x.dim[1]);
}

static void fold_modulation(const LvNormArgs *a, int sample, float *scale,
                            float *shift)
{
    const float *w = a->w.data, *b = a->b.data;
    const float *mul = lv_cpu_mod(&a->mod, a->batch, sample, a->scale);
    const float *add = lv_cpu_mod(&a->mod, a->batch, sample, a->shift);
    size_t c = (size_t)a->x.dim[1];

    for (size_t i = 0; i < c; i++) {
        float s = mul ? 1 + mul[i] : 1;
        float t = add ? add[i] : 0;
        scale[i] = lv_has(&a->w) ? w[i] * s : s;
        shift[i] = lv_has(&a->b) ? b[i] * s + t : t;
    }
}

/* An activation of a norm's row, as it was stored. */
static void act_row(const LvRowsJob *j, const LvNormArgs *a, size_t i, float *tmp)
{
    float *y = lv_cpu_out(&a->y, i, j->cols, tmp);

    j->cpu->dsp->act[a->act](y, lv_cpu_row(j->cpu, &a->y, i, j->cols, tmp), j->cols);
    lv_cpu_put(j->cpu, &a->y, i, j->cols, y);
}

static void norm_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const NormRun *r = j->args;
    const LvNormArgs *a = r->a;
    const LvDsp *dsp = j->cpu->dsp;
    const float *x = lv_cpu_row(j->cpu, &a->x, i, j->cols, tmp);
    float *y    = lv_cpu_out(&a->y, i, j->cols, tmp + j->cols);
    const float *fold = r->fold + lv_cpu_sample(j, a->batch, i) * 2 * j->cols;
    float n     = (float)j->cols;
    float mean  = a->kind == LV_NORM_LAYER ? dsp->sum(x, j->cols) / n : 0;
    float rstd  = 1 / sqrtf(dsp->sum_sq(x, mean, j->cols) / n + a->eps);

    dsp->norm(y, x, fold, fold + j->cols, mean, rstd, j->cols);
    lv_cpu_put(j->cpu, &a->y, i, j->cols, y);
    if (a->act)
        act_row(j, a, i, tmp + j->cols);
    if (lv_has(&a->mean))
        ((float *)a->mean.data)[i] = mean;
    if (lv_has(&a->rstd))
        ((float *)a->rstd.data)[i] = rstd;
}

static NormRun fold_all(const LvNormArgs *a, LvCall *call)
{
    size_t c = (size_t)a->x.dim[1];
    float *fold = call->scratch;

    for (int b = 0; b < a->batch; b++, fold += 2 * c)
        fold_modulation(a, b, fold, fold + c);
    return (NormRun) { a, call->scratch };
}

int lv_cpu_norm(LvDevice *dev, const LvNormArgs *a, LvCall *call)
{
    NormRun r = fold_all(a, call);

    return lv_cpu_each_row(dev, &r, (size_t)a->x.dim[0], (size_t)a->x.dim[1], norm_row);
}

/* gate */

int lv_cpu_plan_gate(LvDevice *dev, const LvGateArgs *a, LvCall *call)
{
    (void)dev;
    return lv_cpu_plan_tmp(call, 3 * (size_t)a->r.dim[1]);
}

static void gate_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const LvGateArgs *a = j->args;
    size_t c = j->cols;
    float *y = lv_cpu_out(&a->y, i, c, tmp);
    int sample = (int)lv_cpu_sample(j, a->batch, i);

    j->cpu->dsp->madd(y, lv_cpu_row(j->cpu, &a->r, i, c, tmp + c),
                      lv_cpu_mod(&a->mod, a->batch, sample, a->row),
                      lv_cpu_row(j->cpu, &a->x, i, c, tmp + 2 * c), c);
    lv_cpu_put(j->cpu, &a->y, i, c, y);
}

int lv_cpu_gate(LvDevice *dev, const LvGateArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_row(dev, a, (size_t)a->r.dim[0], (size_t)a->r.dim[1], gate_row);
}

/* A gate and the norm of what it made, which is in the nearest cache then. */
typedef struct GateNormRun {
    LvGateArgs gate;
    NormRun norm;
} GateNormRun;

int lv_cpu_plan_gate_norm(LvDevice *dev, const LvGateNormArgs *a, LvCall *call)
{
    LvNormArgs n = lv_norm_part(a);

    lv_cpu_plan_norm(dev, &n, call);
    return lv_cpu_plan_tmp(call, 3 * (size_t)a->r.dim[1]);
}

static void gate_norm_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const GateNormRun *r = j->args;
    LvRowsJob gate = *j, norm = *j;

    gate.args = &r->gate;
    norm.args = &r->norm;
    gate_row(&gate, i, tmp);
    norm_row(&norm, i, tmp);
}

int lv_cpu_gate_norm(LvDevice *dev, const LvGateNormArgs *a, LvCall *call)
{
    LvNormArgs n  = lv_norm_part(a);
    GateNormRun r = { lv_gate_part(a), fold_all(&n, call) };

    return lv_cpu_each_row(dev, &r, (size_t)a->r.dim[0], (size_t)a->r.dim[1],
                           gate_norm_row);
}

/* qknorm */

int lv_cpu_plan_qknorm(LvDevice *dev, const LvQknormArgs *a, LvCall *call)
{
    (void)dev;
    return lv_cpu_plan_tmp(call, 2 * (size_t)a->x.dim[1]);
}

static void qknorm_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const LvQknormArgs *a = j->args;
    const LvDsp *dsp = j->cpu->dsp;
    size_t c = j->cols, d = c / (size_t)a->heads;
    const float *x = lv_cpu_row(j->cpu, &a->x, i, c, tmp);
    float *y    = lv_cpu_out(&a->y, i, c, tmp + c);
    float rstd  = 1 / sqrtf(dsp->sum_sq(x, 0, c) / (float)c + a->eps);

    dsp->norm(y, x, a->w.data, NULL, 0, rstd, c);
    if (lv_has(&a->rope))
        for (size_t h = 0; h < c; h += d)
            dsp->rope(y + h, y + h, lv_cpu_turn(&a->rope, i), d);
    lv_cpu_put(j->cpu, &a->y, i, c, y);
    if (lv_has(&a->rstd))
        ((float *)a->rstd.data)[i] = rstd;
}

int lv_cpu_qknorm(LvDevice *dev, const LvQknormArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_row(dev, a, (size_t)a->x.dim[0], (size_t)a->x.dim[1],
                           qknorm_row);
}

/* mix */

int lv_cpu_plan_mix(LvDevice *dev, const LvMixArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return lv_cpu_plan_tmp(call, 3 * LV_PIECE);
}

static void mix_piece(const LvPiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvMixArgs *a = j->args;
    float r = *(const float *)a->r.data, *y = lv_cpu_target(&a->y, from, tmp);

    j->cpu->dsp->axpby(y, r, lv_cpu_get(j->cpu, &a->a, from, n, tmp + LV_PIECE), 1 - r,
                       lv_cpu_get(j->cpu, &a->b, from, n, tmp + 2 * LV_PIECE), n);
    lv_cpu_set(j->cpu, &a->y, from, n, y);
}

int lv_cpu_mix(LvDevice *dev, const LvMixArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_piece(dev, a, lv_tensor_numel(&a->y), mix_piece);
}

/* add */

int lv_cpu_plan_add(LvDevice *dev, const LvAddArgs *a, LvCall *call)
{
    (void)dev;
    return lv_cpu_plan_tmp(call, 3 * lv_tensor_numel(&a->b));
}

static void add_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const LvAddArgs *a = j->args;
    size_t c = j->cols;
    float *y = lv_cpu_out(&a->y, i, c, tmp);

    j->cpu->dsp->madd(y, lv_cpu_row(j->cpu, &a->a, i, c, tmp + c), NULL,
                      lv_cpu_row(j->cpu, &a->b, 0, c, tmp + 2 * c), c);
    lv_cpu_put(j->cpu, &a->y, i, c, y);
}

int lv_cpu_add(LvDevice *dev, const LvAddArgs *a, LvCall *call)
{
    size_t c = lv_tensor_numel(&a->b);

    (void)call;
    return lv_cpu_each_row(dev, a, lv_tensor_numel(&a->a) / c, c, add_row);
}

/* act, glu */

int lv_cpu_plan_act(LvDevice *dev, const LvActArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return lv_cpu_plan_tmp(call, 2 * LV_PIECE);
}

static void act_piece(const LvPiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvActArgs *a = j->args;
    float *y = lv_cpu_target(&a->y, from, tmp);

    j->cpu->dsp->act[a->act](y, lv_cpu_get(j->cpu, &a->x, from, n, tmp + LV_PIECE), n);
    lv_cpu_set(j->cpu, &a->y, from, n, y);
}

int lv_cpu_act(LvDevice *dev, const LvActArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_piece(dev, a, lv_tensor_numel(&a->y), act_piece);
}

int lv_cpu_plan_glu(LvDevice *dev, const LvGluArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return lv_cpu_plan_tmp(call, 3 * LV_PIECE);
}

static void glu_piece(const LvPiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvGluArgs *a = j->args;
    float *y = lv_cpu_target(&a->y, from, tmp);

    j->cpu->dsp->glu(y, lv_cpu_get(j->cpu, &a->x, from, n, tmp + LV_PIECE),
                     lv_cpu_get(j->cpu, &a->g, from, n, tmp + 2 * LV_PIECE), n);
    lv_cpu_set(j->cpu, &a->y, from, n, y);
}

int lv_cpu_glu(LvDevice *dev, const LvGluArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_piece(dev, a, lv_tensor_numel(&a->y), glu_piece);
}

/* embed */

int lv_cpu_plan_embed(LvDevice *dev, const LvEmbedArgs *a, LvCall *call)
{
    (void)dev;
    return lv_cpu_plan_tmp(call, (size_t)a->table.dim[1]);
}

static void embed_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const LvEmbedArgs *a = j->args;
    int32_t id = ((const int32_t *)a->ids.data)[i];
    float *y   = lv_cpu_out(&a->y, i, j->cols, tmp);

    if (id < 0 || id >= a->table.dim[0])
        memset(y, 0, j->cols * sizeof(*y));
    else
        lv_to_f32(y, lv_at(&a->table, (size_t)id, j->cols, 0),
                  (LvDtype)a->table.dtype, j->cols);
    lv_cpu_put(j->cpu, &a->y, i, j->cols, y);
}

int lv_cpu_embed(LvDevice *dev, const LvEmbedArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_row(dev, a, (size_t)a->ids.dim[0], (size_t)a->table.dim[1],
                           embed_row);
}

/* sinusoid */

int lv_cpu_sinusoid(LvDevice *dev, const LvSinusoidArgs *a, LvCall *call)
{
    const float *t = a->t.data;
    float *y = a->y.data;
    int n    = a->y.dim[1] / 2;

    (void)dev, (void)call;
    for (int b = 0; b < a->t.dim[0]; b++, y += 2 * n)
        for (int i = 0; i < n; i++) {
            double angle = (double)t[b] * pow(10000, -(double)i / n);
            y[i]     = (float)cos(angle);
            y[n + i] = (float)sin(angle);
        }
    return 0;
}

/* expand, fill */

int lv_cpu_plan_expand(LvDevice *dev, const LvExpandArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return lv_cpu_plan_tmp(call, 2 * LV_PIECE);
}

static void expand_piece(const LvPiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvExpandArgs *a = j->args;
    size_t c = (size_t)a->inner, times = j->n / lv_tensor_numel(&a->x), len;
    float *y = lv_cpu_target(&a->y, from, tmp);

    for (size_t i = 0; i < n; i += len) {
        size_t row = (from + i) / c, col = (from + i) % c;
        len = LV_MIN(c - col, n - i);
        memcpy(y + i, lv_cpu_get(j->cpu, &a->x, row / times * c + col, len,
                                 tmp + LV_PIECE), len * sizeof(*y));
    }
    lv_cpu_set(j->cpu, &a->y, from, n, y);
}

int lv_cpu_expand(LvDevice *dev, const LvExpandArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_piece(dev, a, lv_tensor_numel(&a->y), expand_piece);
}

int lv_cpu_plan_fill(LvDevice *dev, const LvFillArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return lv_cpu_plan_tmp(call, LV_PIECE);
}

static void fill_piece(const LvPiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvFillArgs *a = j->args;
    float *y = lv_cpu_target(&a->y, from, tmp);

    for (size_t i = 0; i < n; i++)
        y[i] = a->value;
    lv_cpu_set(j->cpu, &a->y, from, n, y);
}

int lv_cpu_fill(LvDevice *dev, const LvFillArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_piece(dev, a, lv_tensor_numel(&a->y), fill_piece);
}

/* nag */

int lv_cpu_plan_nag(LvDevice *dev, const LvNagArgs *a, LvCall *call)
{
    (void)dev;
    return lv_cpu_plan_tmp(call, 3 * (size_t)a->p.dim[1]);
}

static void nag_row(const LvRowsJob *j, size_t i, float *tmp)
{
    const LvNagArgs *a = j->args;
    const LvDsp *dsp   = j->cpu->dsp;
    const float *p = lv_cpu_row(j->cpu, &a->p, i, j->cols, tmp + j->cols);
    const float *n = lv_cpu_row(j->cpu, &a->n, i, j->cols, tmp + 2 * j->cols);
    float *g    = tmp, *y = lv_cpu_out(&a->y, i, j->cols, tmp);
    float size  = dsp->extrapolate(g, a->scale - 1, p, n, j->cols);
    float most  = a->tau * dsp->sum_abs(p, j->cols);
    float share = size > most ? most / (size + 1e-7f) : 1;

    dsp->interpolate(y, a->alpha, p, share, g, j->cols);
    lv_cpu_put(j->cpu, &a->y, i, j->cols, y);
}

int lv_cpu_nag(LvDevice *dev, const LvNagArgs *a, LvCall *call)
{
    (void)call;
    return lv_cpu_each_row(dev, a, (size_t)a->p.dim[0], (size_t)a->p.dim[1], nag_row);
}
